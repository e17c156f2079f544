"""`thresholds`: what a threshold of similarity is worth under an adapted model, and which one replaces an old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.formats.beir import is_beir_folder, read_beir
from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import probe as check_writable
from denizen.measuring.provenance import SCHEMA, versions
from denizen.measuring.retrieval_sets import RetrievalSet, set_of
from denizen.measuring.thresholds import (
    Similarities,
    at_false_positive_rates,
    mapping,
    pooled,
    rates,
    resampled_weights,
    similarities,
)
from denizen.retrievers.bi_encoder import BiEncoder, encoders_in
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.saved import find_each, load

# of the base, that are mapped
_USUAL = tuple(step / 20 for step in range(4, 20))
_ALL = "all"


def thresholds(  # noqa: PLR0913
    model: str,
    base: str,
    data: Sequence[Path],
    *,
    split: str = "dev",
    old: Sequence[float] = (),
    out: Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    store: str = "",
    skip_bad_rows: bool = False,
    progress: Progress | None = None,
    **reading: Any,
) -> dict[str, Any]:
    """Measures thresholds of cosine similarity under a model and its base, domain by domain.

    Args:
        model: A bi-encoder that compares by cosine: a folder or id.
        base: What it was adapted from, the same.
        data: BEIR folders, each a domain.
        split: The name of a qrels file; thresholds are chosen by it, so it should not be the test.
        old: Thresholds of the base that are in use, to be mapped besides .2, .25, ..., .95.
        out: Where to write thresholds.json; None: nowhere.
        backend: As the setting of `adapt`.
        precision: As the setting of `adapt`.
        store: Folder of embeddings to share; empty: none are kept.
        skip_bad_rows: Skip and count unusable rows.
        progress: Receives what a person should see.
        reading: How models that are decoder-only LLMs are read: `pooling`, `attention` and `instruction` of `adapt`.

    Returns:
        For each domain, and for all of them where there are several: `queries`, `rates` of base and model for each
        threshold, `at` the usual false positive rates, and `mapping` from old thresholds to new ones.

    Raises:
        InputError: When a folder, the split or a model is not there, or a model does not compare by cosine, or an old
            threshold is no cosine.
    """
    if wrong := [threshold for threshold in old if not -1 <= threshold <= 1]:
        raise InputError(f"old threshold {wrong[0]:g} is no cosine; it must be between -1 and 1")
    encoding = Encoding.of({"backend": backend, "precision": precision})
    encoding.check()
    folders = dict(zip(("base", "model"), find_each([base, model], reading), strict=True))
    progress, asked = progress or Silent(), _domains(data, split, skip_bad_rows)
    if out:
        check_writable(out)
    found: dict[str, dict[str, Similarities]] = {}
    with encoders_in(store) as encoders:
        models = {name: _by_cosine(load(at, encoding, encoders), at) for name, at in folders.items()}
        for system, bi_encoder in models.items():
            for name, its in asked.items():
                with progress.working(f"{system} on {name}"):
                    found.setdefault(name, {})[system] = similarities(bi_encoder, its, progress)
    weights = {name: resampled_weights(its) for name, its in asked.items()}
    if len(asked) > 1:
        found[_ALL] = {system: pooled({name: found[name][system] for name in asked}) for system in models}
        weights[_ALL] = np.concatenate(list(weights.values()), axis=1)
    usual = sorted({*_USUAL, *old})
    report: dict[str, Any] = {"schema": SCHEMA, "split": split, "models": {n: of.digest for n, of in models.items()}}
    report |= {"old": sorted(set(old)), "versions": versions()}
    report["domains"] = {name: _figures(of, weights[name], usual) for name, of in found.items()}
    if out:
        write_json(out / "thresholds.json", report)
    return report


def _figures(of: Mapping[str, Similarities], weights: Any, old: Sequence[float]) -> dict[str, Any]:
    return {
        "queries": len(of["base"].true_positive),
        "rates": {system: rates(its, weights) for system, its in of.items()},
        "at": {system: at_false_positive_rates(its) for system, its in of.items()},
        "mapping": mapping(of["base"], of["model"], old, weights),
    }


def _domains(data: Sequence[Path], split: str, skip_bad_rows: bool) -> dict[str, RetrievalSet]:
    if not data:
        raise InputError("no data to measure on; give --data, a BEIR folder for each domain")
    found: dict[str, RetrievalSet] = {}
    for folder in data:
        name = folder.resolve().name
        if not is_beir_folder(folder):
            raise InputError(f"{folder} is no BEIR folder (it has no corpus.jsonl or corpus.jsonl.gz)")
        if name == _ALL:
            raise InputError(f"a domain is called {name!r}, as all of them together are; rename the folder {folder}")
        if name in found:
            raise InputError(f"two domains are called {name!r}; rename the folder {folder}")
        found[name] = set_of(read_beir(folder, skip_bad_rows, split), f"split {split!r} of {folder}")
    return found


def _by_cosine(model: Retriever, folder: Path) -> BiEncoder:
    if not isinstance(model, BiEncoder):
        raise InputError(
            f"{folder} holds a retriever of the kind {model.kind}, whose scores are no cosines; give its model"
        )
    if model.lowest is None:
        raise InputError(f"{folder} compares by dot product, which has no scale; thresholds are of cosines")
    return model
