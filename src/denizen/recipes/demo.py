"""The embedded default of `denizen demo`: the docstrings of the scientific Python packages that are installed anyway.

The query is a docstring's summary sentence, the document is the rest, with the object's own name and the summary
taken out, so that no shared string gives the answer away. The split is by module: no module is on two sides.
Sources are read as text and parsed; nothing is imported or run.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from denizen.data.formats import Source
from denizen.data.tables import table
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress
from denizen.measuring.retrieval_sets import Parts, parts_of
from denizen.recipes.adapt import adapt
from denizen.recipes.config import AdaptConfig

PACKAGES = ("numpy", "scipy", "sklearn", "torch")
# not adapted to: far from numbers, and near
GENERAL = ("transformers", "huggingface_hub", "datasets", "pydantic")
NEIGHBOURS = ("sympy", "networkx", "pandas")
# enough to see a fall of a few points, and a minute a model
_PAIRS_BESIDE = 400

# two rounds on this many pairs take about four minutes on two cores with bf16
DEMO_PAIRS = 2000
# upper ends: a quarter of the modules for test, 15 % for dev, the rest for train
_SPLIT_ENDS = (("test", 0.25), ("dev", 0.4))
_QUERY_WORDS = (4, 30)
_DOCUMENT_CHARS = (150, 4000)
_SKIPPED_PARTS = {"tests", "test", "testing", "externals", "benchmarks"}


@dataclass(frozen=True)
class Docstring:
    """One documented object: where it lives, what it is called, and its docstring in two parts."""

    module: str
    name: str
    summary: str
    body: str


def docstring_source(limit: int | None = DEMO_PAIRS, packages: Sequence[str] = PACKAGES) -> Source:
    """The demo's documents and queries, split by module.

    Args:
        limit: How many pairs to take, evenly over the modules' order; None: all there are.
        packages: Whose docstrings.

    Raises:
        InputError: When too few of the packages are installed.
    """
    found = list(_distinct(pair for package in packages for pair in _package_docstrings(package)))
    if len(found) < 200:
        raise InputError(
            f"{len(found)} documented objects were found in {', '.join(packages)}; at least 200 are needed. "
            "Install denizen[demo]"
        )
    if limit is not None and len(found) > limit:
        step = len(found) / limit
        found = [found[int(at * step)] for at in range(limit)]
    split_of = {module: _split_of(module) for module in {pair.module for pair in found}}
    ids = [f"{pair.module}.{pair.name}" for pair in found]
    count = len(found)
    return Source(
        documents=table(
            "corpus",
            {
                "doc_id": ids,
                "title": [""] * count,
                "text": [pair.body for pair in found],
                "domain": [pair.module.partition(".")[0] for pair in found],
                "source": [pair.module for pair in found],
            },
        ),
        queries=table(
            "queries",
            {
                "query_id": [f"q-{name}" for name in ids],
                "text": [pair.summary for pair in found],
                "split": [split_of[pair.module] for pair in found],
                "source_doc_id": ids,
                "origin": ["docstring"] * count,
            },
        ),
        qrels=table("qrels", {"query_id": [f"q-{name}" for name in ids], "doc_id": ids, "relevance": [1] * count}),
        cut=False,
        bad_rows=[],
    )


def run_demo(
    out: Path, *, full: bool = False, redo: str | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Runs `adapt` on the docstrings with the default settings.

    Args:
        out: The run's folder.
        full: Use all docstrings.
        redo: The stage from which to do everything anew.
        progress: Receives what a person should see.

    Returns:
        The contents of `metrics.json`.
    """
    # packages copy docstrings from one another (numpy.ma from numpy, scipy.fftpack from scipy.fft): those leave train
    config = AdaptConfig("docstrings, all" if full else "docstrings", drop_leaks=True)
    source = docstring_source(None if full else DEMO_PAIRS)
    beside = {"general": GENERAL, "neighbour": NEIGHBOURS}
    sets = [_beside(role, packages, config.seed) for role, packages in beside.items()]
    return adapt(config, out, redo=redo, progress=progress, source=source, sets=sets)


def _beside(role: str, packages: Sequence[str], seed: int) -> Parts:
    found = docstring_source(_PAIRS_BESIDE, packages)
    # their modules say nothing here: half of the queries decide, half measure
    queries = table("queries", {name: found.queries[name].to_pylist() for name in ("query_id", "text")})
    return parts_of(replace(found, queries=queries), f"{role}_docstrings", role, seed)


def _package_docstrings(package: str) -> Iterator[Docstring]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return
    root = Path(spec.origin).parent
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        private = any(part.startswith("_") for part in parts[:-1])
        if private or _SKIPPED_PARTS.intersection(parts) or path.stat().st_size > 2_000_000:
            continue
        # a module of the demo is a folder of the package: its files share their vocabulary
        module = ".".join([package, *parts[:-1][:1]])
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        yield from _documented(tree, module)


def _documented(tree: ast.Module, module: str) -> Iterator[Docstring]:
    nodes: list[tuple[str, ast.AST]] = [("", node) for node in tree.body]
    while nodes:
        prefix, node = nodes.pop(0)
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        name = f"{prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            nodes += [(f"{name}.", child) for child in node.body]
        pair = _two_parts(ast.get_docstring(node) or "", module, name)
        if pair:
            yield pair


def _two_parts(docstring: str, module: str, name: str) -> Docstring | None:
    first, _, rest = docstring.partition("\n\n")
    own = re.compile(rf"\b{re.escape(name.rpartition('.')[2])}\b")
    summary = own.sub(" ", re.sub(r":\w+:`~?([^`]*)`|[`*]", r"\1", " ".join(first.split())))
    summary = " ".join(summary.split())
    body = " ".join(own.sub(" ", rest.replace(first, " ")).split())[: _DOCUMENT_CHARS[1]]
    words = len(summary.split())
    fits = _QUERY_WORDS[0] <= words <= _QUERY_WORDS[1] and len(body) >= _DOCUMENT_CHARS[0]
    return Docstring(module, name, summary, body) if fits else None


def _distinct(pairs: Iterator[Docstring]) -> Iterator[Docstring]:
    seen: set[str] = set()
    for pair in pairs:
        keys = {pair.summary.lower(), pair.body, f"{pair.module}.{pair.name}"}
        if not keys & seen:
            seen |= keys
            yield pair


def _split_of(module: str) -> str:
    """The side of a module, from its name alone: the same on every machine and for every version."""
    # the prefix was chosen among six by the sizes of the parts alone: 56 % train, 18 % dev, 25 % test
    place = int.from_bytes(hashlib.sha256(f"docstring:{module}".encode()).digest()[:4], "big") / 2**32
    return next((split for split, end in _SPLIT_ENDS if place < end), "train")
