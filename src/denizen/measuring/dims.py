"""What is left of retrievers when their embeddings are cut to their first dimensions; nothing is embedded anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from denizen.engine.progress import Progress
from denizen.measuring import forgetting
from denizen.measuring.probes import Probe
from denizen.measuring.retrieval import write_evaluation
from denizen.retrievers.bi_encoder import BiEncoder
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.searching import search_each
from denizen.retrievers.windows import Windowed

MEASURES = ("MRR@5", "nDCG@10", "Recall@100")


def model_of(retriever: Retriever) -> BiEncoder | None:
    """The bi-encoder whose embeddings can be cut; None for a retriever of another kind."""
    if isinstance(retriever, Windowed):
        return retriever.model
    return retriever if isinstance(retriever, BiEncoder) else None


def cut(retriever: Retriever, dim: int) -> Retriever:
    """A bi-encoder, by whole passages or by windows, with embeddings of so many dimensions; others as they are."""
    if isinstance(retriever, Windowed):
        return replace(retriever, parts=(replace(retriever.model, dim=dim),))
    return replace(retriever, dim=dim) if isinstance(retriever, BiEncoder) else retriever


def there(systems: Mapping[str, Retriever], dims: Sequence[int]) -> list[int]:
    """Those of `dims` that are no more than the embeddings of each system have."""
    models = [model for model in map(model_of, systems.values()) if model is not None]
    whole = [model.encoder.model.get_embedding_dimension() or 0 for model in models]
    return [dim for dim in dims if all(dim <= has for has in whole)]


def by_dim(
    systems: Mapping[str, Retriever],
    dims: Sequence[int],
    queries: Mapping[str, str],
    qrels: pa.Table,
    corpus: pa.Table,
    depth: int,
    progress: Progress,
) -> dict[str, Any]:
    """How good retrievers are at each of some numbers of dimensions.

    Args:
        systems: Name to retriever; the others are compared with the first.
        dims: The numbers.
        queries: Query id to text.
        qrels: What is relevant to them.
        corpus: A `corpus` table.
        depth: How many passages a query gets.
        progress: Receives what a person should see.

    Returns:
        Number, as JSON has its keys, to `means` (system to measure to mean) and `differences` to the first.
    """
    found = {}
    for dim in there(systems, dims):
        runs = search_each({name: cut(of, dim) for name, of in systems.items()}, queries, corpus, depth, progress)
        measured = write_evaluation(None, runs, qrels, list(queries), corpus, MEASURES)
        found[str(dim)] = {name: measured[name] for name in ("means", "differences")}
    return found


def forgotten_by_dim(
    probes: Sequence[Probe], base: Retriever, adapted: Retriever, dims: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Number of dimensions to role to the mean change from a base to a model, both cut to so many."""
    found = {}
    for dim in there({"base": base, "adapted": adapted}, dims):
        changes = [
            forgetting.change(probe.role, probe.values(cut(base, dim)), probe.values(cut(adapted, dim)))
            for probe in probes
        ]
        found[str(dim)] = forgetting.by_role(changes)
    return found
