"""Mining end to end: ours against sentence_transformers.util.mine_hard_negatives, on MedQuAD questions and passages.

Both start with texts and a loaded model and end with negatives: embedding, exact search for 100 ranks, exclusion. Ours
also excludes near-duplicates and passages of the same document; making their clusters is timed apart, since a run does
it once and not in every round.

    python bench/mine.py [questions] [passages] [repetitions]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from sentence_transformers.util import mine_hard_negatives

from denizen.data.formats import read_source
from denizen.data.passages import cut, ordered, with_clusters
from denizen.data.tables import relevant, texts
from denizen.retrievers import search as retrieval
from denizen.retrievers.encoder import Encoder
from denizen.retrievers.loading import load_encoder, locate
from denizen.supervision import mining
from measuring import data, keep

_DEPTH, _CEILING, _NEGATIVES = 100, 0.95, 1


def main(questions: int, passages: int, repetitions: int) -> None:
    folder = locate("all-MiniLM-L6-v2")
    plain = load_encoder(folder)
    source = read_source(str(data("medquad/medquad_qa.jsonl.gz")))
    corpus, qrels = cut(source.documents, source.qrels, 1000)
    rows = source.queries.to_pylist()
    chosen = [rows[at] for at in np.random.default_rng(0).permutation(len(rows))[:questions].tolist()]
    known = relevant(qrels)
    wanted = {doc_id for row in chosen for doc_id in known[row["query_id"]]}
    names = corpus["doc_id"].to_pylist()
    others = [name for name in names if name not in wanted][:: max(1, len(names) // passages)]
    inside = wanted | set(others[: max(0, passages - len(wanted))])
    corpus = ordered(corpus.filter(pa.array([name in inside for name in names])))
    began = time.perf_counter()
    corpus = with_clusters(corpus, 0.9)
    clustering = time.perf_counter() - began
    body = dict(zip(corpus["doc_id"].to_pylist(), texts(corpus), strict=True))
    pairs = [(row["text"], body[doc_id]) for row in chosen for doc_id in known[row["query_id"]]]
    dataset = Dataset.from_dict({"anchor": [pair[0] for pair in pairs], "positive": [pair[1] for pair in pairs]})
    seconds: dict[str, list[float]] = {"sentence-transformers": [], "denizen": []}
    found: dict[str, int] = {}
    for _ in range(repetitions):
        began = time.perf_counter()
        mined = mine_hard_negatives(
            dataset,
            plain,
            corpus=list(body.values()),
            range_max=_DEPTH,
            relative_margin=1 - _CEILING,
            num_negatives=_NEGATIVES,
            verbose=False,
        )
        seconds["sentence-transformers"].append(time.perf_counter() - began)
        found["sentence-transformers"] = len(mined)
        began = time.perf_counter()
        found["denizen"] = len(ours(folder, chosen, corpus, qrels))
        seconds["denizen"].append(time.perf_counter() - began)
        print({side: f"{values[-1]:.1f} s" for side, values in seconds.items()})
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    print(
        f"{len(chosen)} questions, {len(corpus)} passages: {statistics.median(ratios):.2f} times as fast "
        f"[{min(ratios):.2f}, {max(ratios):.2f}]; clusters, once a run: {clustering:.1f} s"
    )
    keep(
        "mine",
        {
            "questions": len(chosen),
            "passages": len(corpus),
            "seconds": seconds,
            "ratios": ratios,
            "clustering_seconds": clustering,
            "rows": found,
        },
    )


def ours(folder: Path, questions: list[dict[str, Any]], corpus: pa.Table, qrels: pa.Table) -> pa.Table:
    """Candidates of the questions, with an empty store."""
    with tempfile.TemporaryDirectory() as store:
        encoder = Encoder(folder, Path(store))
        vectors = encoder.encode(texts(corpus), "document")
        asked = encoder.encode([row["text"] for row in questions], "query")
        ids = [row["query_id"] for row in questions]
        run = retrieval.search(ids, asked[:], corpus["doc_id"].to_pylist(), vectors, _DEPTH)
        windows = [(1, 15), (16, _DEPTH)]
        found, _ = mining.mine(run, qrels, corpus, ids, windows, retriever="base", positive_ceiling=_CEILING)
    return found


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*(given + [2000, 10000, 3][len(given) :]))
