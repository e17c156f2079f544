"""`evaluate`: any bi-encoders and BM25 on a BEIR folder, side by side, with what can be said about the differences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.core.errors import InputError
from denizen.core.formats import is_beir_folder, read_beir
from denizen.core.progress import Progress, Silent
from denizen.core.stage import write_json
from denizen.core.tables import relevant, texts
from denizen.models.encoder import encode, load_encoder, locate, use_bf16
from denizen.recipes.results import SCHEMA, versions
from denizen.stages import corpus as corpus_stage
from denizen.stages import evaluation, retrieval

_DEPTH = 100


def evaluate(
    models: Sequence[str],
    data: Path,
    *,
    split: str = "test",
    out: Path | None = None,
    bm25: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures models on one split of a BEIR folder.

    Args:
        models: Folders or ids; the others are compared with the first.
        data: The BEIR folder.
        split: The name of a qrels file.
        out: Where to write metrics.json, per-query metrics and TREC runs; None: nowhere.
        bm25: Measure BM25, too.
        progress: Receives what a person should see.

    Returns:
        The contents of metrics.json: means, differences to the first model, queries, versions.

    Raises:
        InputError: When the folder, the split or a model is not there.
    """
    progress = progress or Silent()
    if not is_beir_folder(data):
        raise InputError(f"{data} is no BEIR folder (it has no corpus.jsonl or corpus.jsonl.gz)")
    folders = {_name(model, models): locate(model) for model in models}
    source = read_beir(data)
    corpus = corpus_stage.ordered(corpus_stage.keep_whole(source.documents))
    known = relevant(source.qrels)
    rows = [row for row in source.queries.to_pylist() if row["split"] == split and row["query_id"] in known]
    if not rows:
        raise InputError(f"{data} has no query in split {split!r}; it has {sorted(source.splits)}")
    query_ids, queries = [row["query_id"] for row in rows], [row["text"] for row in rows]
    doc_ids, passages = corpus["doc_id"].to_pylist(), texts(corpus)
    bf16 = use_bf16("auto")
    runs: dict[str, pa.Table] = {}
    for name, folder in folders.items():
        with progress.working(name), progress.bar(len(passages) + len(queries), "texts") as advance:
            model = load_encoder(folder)
            vectors: list[np.ndarray[Any, Any]] = [
                encode(model, queries, "query", bf16=bf16, progress=advance),
                encode(model, passages, "document", bf16=bf16, progress=advance),
            ]
            runs[name] = retrieval.search(query_ids, vectors[0], doc_ids, vectors[1], _DEPTH)
    if bm25:
        with progress.working("bm25"), progress.bar(len(queries), "queries") as advance:
            runs["bm25"] = retrieval.search_bm25(query_ids, queries, doc_ids, passages, _DEPTH, advance)
    report = {
        "schema": SCHEMA,
        "data": data.name,
        "split": split,
        **evaluation.write_evaluation(out, runs, source.qrels, query_ids),
        "versions": versions(),
        "arithmetic": "bf16" if bf16 else "fp32",
    }
    if out is not None:
        write_json(out / "metrics.json", report)
    return report


def _name(model: str, models: Sequence[str]) -> str:
    """The shortest end of a model's path that names no other one, with dots for slashes."""
    parts = [Path(other).parts for other in models]
    own = Path(model).parts
    for length in range(1, len(own) + 1):
        if sum(other[-length:] == own[-length:] for other in parts) == 1:
            return ".".join(own[-length:])
    raise InputError(f"model {model!r} is given twice; give each model once")
