"""FinanceBench as arXiv 2512.08088 measures it: all passages of the right document are ranked, by class of document.

The paper calls a chunk relevant if it overlaps an evidence span by a third of the shorter; the data set at hand has
such labels made already (chunks of evidence pages, 70 % of whose tokens stand in the evidence; its README has more).
MRR and nDCG are over the whole ranking of a document. Questions of all splits are measured, since nothing here was
trained on them; those whose document is missing but for its evidence pages are not, since nothing is there to rank
them against.

Each model reads passages whole and by windows of 64 tokens, alone and fused with BM25: seven tenths its normalised
score, as nothing here may be chosen on these questions. The first model is the base. All documents have 5.2 million
words, which each model embeds some three times; --documents takes so many of them, drawn by hash.

    python bench/financebench.py MODEL [MODEL ...] [--documents 20]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from denizen.data import passages as corpus_stage
from denizen.data.formats.beir import read_beir
from denizen.data.tables import relevant
from denizen.engine.progress import Silent, Terminal
from denizen.measuring.significance import paired_difference
from denizen.retrievers.bi_encoder import BiEncoder, encoders_in
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.loading import locate
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.searching import search_each
from denizen.retrievers.windows import Reading, reader
from measuring import RUNS, data, keep, shown

_CLASSES = {"10K": "10-K", "10Q": "10-Q", "8K": "8-K", "EARNINGS": "earnings"}
_MEASURES = ("MRR", "nDCG")
_READINGS = {"": Reading(), ", windows": Reading(64, 32)}
_SHARE = 0.7


def main(models: list[str], most: int) -> None:
    folder = data("financebench_chunks")
    source = read_beir(folder)
    corpus = corpus_stage.ordered(corpus_stage.keep_whole(source.documents))
    meta = {}
    for line in (folder / "query_meta.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        meta[row["query_id"]] = "" if row["pdf_missing"] else row["doc_name"]
    known = relevant(source.qrels)
    asked = {row["query_id"]: row["text"] for row in source.queries.to_pylist() if row["query_id"] in known}
    drawn = sorted({meta[query_id] for query_id in asked} - {""}, key=lambda name: sha256(name.encode()).digest())[
        :most
    ]
    queries = {query_id: text for query_id, text in asked.items() if meta[query_id] in drawn}
    gone = sum(not meta[query_id] for query_id in asked)
    print(f"{len(queries)} questions about {len(drawn)} documents; {gone} left out, whose documents are not there")
    names = named(models)
    with encoders_in(str(RUNS / "financebench" / "store")) as encoders:
        made = {name: BiEncoder(locate(model), Encoding(), encoders) for name, model in names.items()}
        values = measure(systems_of(made), corpus, queries, known, meta)
    base = next(iter(names))
    forms = {name: name.replace(own, base, 1) for own in names for name in values if name.startswith(own)}
    classes = {query_id: class_of(meta[query_id]) for query_id in queries}
    result: dict[str, Any] = {}
    for of_class in [*dict.fromkeys(classes.values()), "all"]:
        inside = [at for at, query_id in enumerate(queries) if of_class in (classes[query_id], "all")]
        rows = result[of_class] = {"questions": len(inside), "systems": {}}
        for system, found in values.items():
            means = {key: float(found[key][inside].mean()) for key in _MEASURES}
            # beside the base as it is, and beside the base that is read and fused alike
            beside = {"over_base": base, "over_base_alike": forms.get(system, base)}
            changes = {
                called: {
                    key: asdict(paired_difference(found[key][inside], values[other][key][inside])) for key in _MEASURES
                }
                for called, other in beside.items()
                if other != system
            }
            rows["systems"][system] = {"means": means, **changes}
            told = "  ".join(shown(changes[called]["MRR"]) for called in beside if called in changes)
            print(f"{of_class:<9} {len(inside):>4}  {system:<34} {means['MRR']:.3f} {means['nDCG']:.3f}  {told}")
    counts = {"questions": len(queries), "documents": len(drawn), "left_out": gone}
    keep("financebench", {"models": list(names), "share": _SHARE, **counts, "classes": result})


def named(models: list[str]) -> dict[str, str]:
    """A short name for each model; that of a run is the run's."""
    return {Path(model).parent.name if Path(model).name == "model" else Path(model).name: model for model in models}


def systems_of(models: Mapping[str, BiEncoder]) -> dict[str, Retriever]:
    """Each model in each way of reading."""
    return {
        f"{name}{how}": reader(model, reading) for name, model in models.items() for how, reading in _READINGS.items()
    }


def measure(
    alone: Mapping[str, Retriever],
    corpus: pa.Table,
    queries: Mapping[str, str],
    known: Mapping[str, Mapping[str, int]],
    meta: Mapping[str, str],
) -> dict[str, dict[str, np.ndarray[Any, np.dtype[np.float64]]]]:
    """MRR and nDCG of each system and query, over the passages of the query's document; BM25's alone and with each."""
    places: dict[str, list[int]] = {}
    for at, doc_id in enumerate(corpus["doc_id"].to_pylist()):
        places.setdefault(re.sub(r"_p\d+_c\d+$", "", doc_id), []).append(at)
    names = sorted({meta[query_id] for query_id in queries})
    # what is not asked about is not embedded; a document at a time would be embedded without the fast way
    asked_about = corpus.take(sorted(at for name in names for at in places[name]))
    runs = search_each(alone, queries, asked_about, len(asked_about), Terminal())
    keywords = BM25.fitting(asked_about)
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for name in names:
        of_document = corpus.take(places[name])
        asked = {query_id: text for query_id, text in queries.items() if meta[query_id] == name}
        depth = len(of_document)
        within: dict[str, pa.Table] = {}
        for system, run in runs.items():
            ours = pc.is_in(run["query_id"], pa.array(list(asked))), pc.is_in(run["doc_id"], of_document["doc_id"])
            within[system] = run.filter(pc.and_(*ours))
        within["BM25"] = search_each({"BM25": keywords}, asked, of_document, depth, Silent())["BM25"]
        for system, retriever in alone.items():
            both = Hybrid((retriever, keywords), fusion="convex", weights=(_SHARE, 1 - _SHARE))
            within[f"{system} + BM25"] = both.combine([within[system], within["BM25"]], asked, depth)
        for system, run in within.items():
            ranked: dict[str, list[str]] = {query_id: [] for query_id in asked}
            for row in run.to_pylist():
                ranked[row["query_id"]].append(row["doc_id"])
            for query_id in asked:
                found.setdefault(system, {})[query_id] = of_ranking(ranked[query_id], known[query_id])
    return {
        system: dict(
            zip(_MEASURES, np.array([of_query[query_id] for query_id in queries], dtype=np.float64).T, strict=True)
        )
        for system, of_query in found.items()
    }


def of_ranking(ranked: list[str], known: Mapping[str, int]) -> tuple[float, float]:
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["all-MiniLM-L6-v2"])
    parser.add_argument("--documents", type=int, default=1000)
    given = parser.parse_args()
    main(given.models, given.documents)
