"""`demo`: the main job on embedded data, the docstrings of the scientific packages that are installed anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from denizen.data.formats.docstrings import docstring_source
from denizen.data.formats.source import Source
from denizen.data.tables import rows_table
from denizen.measuring.retrieval_sets import Parts, parts_of
from denizen.recipes.config import AdaptConfig

PACKAGES = ("numpy", "scipy", "sklearn", "torch")
# not adapted to: far from numbers, and near
BESIDE = {
    "general": ("transformers", "huggingface_hub", "datasets", "pydantic"),
    "neighbour": ("sympy", "networkx", "pandas"),
}
# two rounds on this many pairs take about four minutes on two cores with bf16
PAIRS = 2000
# enough to see a fall of a few points, and a minute a model
_PAIRS_BESIDE = 400


def demo_task(full: bool = False) -> tuple[AdaptConfig, Source, list[Parts]]:
    """The settings, the source, and the general and the neighbour set; `full` takes all docstrings."""
    # packages copy docstrings from one another (numpy.ma from numpy, scipy.fftpack from scipy.fft): those leave train
    # cross-fitting would train five times more, which is nothing to wait for at a first look
    config = AdaptConfig("docstrings, all" if full else "docstrings", drop_leaks=True, cross_fitting=False)
    source = docstring_source(PACKAGES, None if full else PAIRS)
    return config, source, [_beside(role, packages, config.seed) for role, packages in BESIDE.items()]


def _beside(role: str, packages: Sequence[str], seed: int) -> Parts:
    found = docstring_source(packages, _PAIRS_BESIDE)
    # their modules say nothing here: half of the queries decide, half measure
    queries = rows_table("queries", found.queries.select(["query_id", "text"]).to_pylist())
    return parts_of(replace(found, queries=queries), f"{role}_docstrings", role, seed)
