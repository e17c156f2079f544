"""FinanceBench as arXiv 2512.08088 measures it: all passages of the right document are ranked, by class of document.

The paper calls a chunk relevant if it overlaps an evidence span by a third of the shorter; the data set at hand has
such labels made already (chunks of evidence pages, 70 % of whose tokens stand in the evidence; its README has more).
MRR and nDCG are over the whole ranking of a document. Questions of all splits are measured, since nothing here was
trained on them; those whose document is missing but for its evidence pages are not, since nothing is there to rank
them against.

    python bench/financebench.py MODEL [MODEL ...]
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data import passages as corpus_stage
from denizen.data.formats.beir import read_beir
from denizen.data.tables import relevant
from denizen.engine.progress import Terminal
from denizen.measuring.significance import paired_difference
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.saved import find, load
from denizen.retrievers.searching import search_each
from measuring import data, keep, shown

_CLASSES = {"10K": "10-K", "10Q": "10-Q", "8K": "8-K", "EARNINGS": "earnings"}
_MEASURES = ("MRR", "nDCG")


def main(models: list[str]) -> None:
    folder = data("financebench_chunks")
    source = read_beir(folder)
    corpus = corpus_stage.ordered(corpus_stage.keep_whole(source.documents))
    meta = {}
    for line in (folder / "query_meta.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        meta[row["query_id"]] = "" if row["pdf_missing"] else row["doc_name"]
    known = relevant(source.qrels)
    asked = {row["query_id"]: row["text"] for row in source.queries.to_pylist() if row["query_id"] in known}
    queries = {query_id: text for query_id, text in asked.items() if meta[query_id]}
    print(f"{len(queries)} questions; {len(asked) - len(queries)} left out, whose documents are not there")
    values = {name: measure(model, corpus, queries, known, meta) for name, model in named(models).items()}
    classes = {query_id: class_of(meta[query_id]) for query_id in queries}
    first = next(iter(values))
    result: dict[str, Any] = {}
    for name in [*dict.fromkeys(classes.values()), "all"]:
        inside = [at for at, query_id in enumerate(queries) if name in (classes[query_id], "all")]
        row = result[name] = {"questions": len(inside), "means": {}, "differences": {}}
        for model, found in values.items():
            row["means"][model] = {key: float(found[key][inside].mean()) for key in _MEASURES}
            if model != first:
                changes = {key: paired_difference(found[key][inside], values[first][key][inside]) for key in _MEASURES}
                row["differences"][model] = {key: asdict(change) for key, change in changes.items()}
        for model, means in row["means"].items():
            change = row["differences"].get(model)
            beside = "  ".join(shown(change[key]) for key in _MEASURES) if change else ""
            print(f"{name:<9} {len(inside):>4}  {model:<30} {means['MRR']:.3f} {means['nDCG']:.3f}  {beside}")
    counts = {"questions": len(queries), "left_out": len(asked) - len(queries)}
    keep("financebench", {"models": list(values), **counts, "classes": result})


def named(models: list[str]) -> dict[str, str]:
    """A short name for each model; that of a run is the run's."""
    return {Path(model).parent.name if Path(model).name == "model" else Path(model).name: model for model in models}


def measure(
    model: str, corpus: pa.Table, queries: dict[str, str], known: dict[str, dict[str, int]], meta: dict[str, str]
) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """MRR and nDCG of each query over the passages of its document."""
    document = [re.sub(r"_p\d+_c\d+$", "", doc_id) for doc_id in corpus["doc_id"].to_pylist()]
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as store:
        retriever = load(find(model), Encoding(), Encoders(Path(store)))
        for name in sorted({meta[query_id] for query_id in queries}):
            of_document = corpus.filter(pa.array([parent == name for parent in document]))
            asked = {query_id: text for query_id, text in queries.items() if meta[query_id] == name}
            run = search_each({model: retriever}, asked, of_document, len(of_document), Terminal())[model]
            ranked: dict[str, list[str]] = {}
            for row in run.to_pylist():
                ranked.setdefault(row["query_id"], []).append(row["doc_id"])
            for query_id in asked:
                found[query_id] = of_ranking(ranked[query_id], known[query_id])
    columns = zip(*(found[query_id] for query_id in queries), strict=True)
    return dict(zip(_MEASURES, (np.array(column) for column in columns), strict=True))


def of_ranking(ranked: list[str], known: dict[str, int]) -> tuple[float, float]:
    """Reciprocal rank and nDCG of a whole ranking."""
    ranks = [rank for rank, doc_id in enumerate(ranked, start=1) if doc_id in known]
    if not ranks:
        return 0.0, 0.0
    ideal = sum(1 / np.log2(rank + 1) for rank in range(1, len(known) + 1))
    return 1 / ranks[0], float(sum(1 / np.log2(rank + 1) for rank in ranks) / ideal)


def class_of(document: str) -> str:
    """The paper's class of a document, from its name."""
    found = next((title for part, title in _CLASSES.items() if part in document.upper().split("_")), None)
    if found is None:
        sys.exit(f"{document} is of no class; there are {', '.join(_CLASSES)}")
    return found


if __name__ == "__main__":
    main(sys.argv[1:] or ["all-MiniLM-L6-v2"])
