"""How seconds and memory of the stages grow with the corpus: real passages of all data sets, a fresh process each size.

Draws docs/growth.svg from its own figures and those of bench/search.py (needs matplotlib).

    python bench/growth.py [passages ...]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.formats import read_source
from denizen.data.passages import cut, ordered, with_clusters
from denizen.data.tables import relevant, table, texts
from denizen.retrievers import search as retrieval
from denizen.retrievers.encoder import Encoder
from denizen.retrievers.loading import locate
from denizen.supervision import mining
from measuring import RESULTS, ROOT, data, keep

_SETS = ("medquad", "financial_qa_10k", "obliqa", "tatqa", "nq_general")
_SIZES = (5_000, 10_000, 20_000, 40_000)
_QUERIES = 1000
_STEPS = ("read and cut", "near-duplicates", "embed", "search", "mine")


def main(sizes: list[int]) -> None:
    found = []
    for size in sizes:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(size)], capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
        steps = ", ".join(f"{name} {found[-1][name]['seconds']:.1f} s" for name in _STEPS)
        peak = found[-1]["mine"]["peak_mib"]
        print(f"{found[-1]['passages']:>7,} passages: {steps}; peak {peak:.0f} MiB", flush=True)
    keep("growth", {"sizes": found})
    draw(found)


def one(size: int) -> dict[str, Any]:
    """Seconds of each step, and the highest memory of the process until its end."""
    result: dict[str, Any] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        value = work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        result[name] = {"seconds": round(time.perf_counter() - began, 2), "peak_mib": round(peak)}
        return value

    corpus, qrels, queries = timed("read and cut", lambda: read(size))
    corpus = timed("near-duplicates", lambda: with_clusters(corpus, 0.9))
    known = relevant(qrels)
    asked = [row for row in queries if row["query_id"] in known][:_QUERIES]
    ids = [row["query_id"] for row in asked]
    with tempfile.TemporaryDirectory() as store:
        encoder = Encoder(locate("all-MiniLM-L6-v2"), Path(store))
        vectors = timed("embed", lambda: encoder.encode(texts(corpus), "document"))
        questions = encoder.encode([row["text"] for row in asked], "query")[:]
        doc_ids = corpus["doc_id"].to_pylist()
        run = timed("search", lambda: retrieval.search(ids, questions, doc_ids, vectors, 100))
    timed("mine", lambda: mining.mine(run, qrels, corpus, ids, [(1, 15), (16, 100)], retriever="base"))
    return {"passages": len(corpus), "queries": len(ids), "backend": encoder.backend, **result}


def read(size: int) -> tuple[pa.Table, pa.Table, list[dict[str, Any]]]:
    """The first passages of the sets in their order, with the questions that belong to them."""
    parts, links, queries = [], [], []
    for name in _SETS:
        source = read_source(str(data(name)))
        renamed = source.documents.to_pylist()
        for row in renamed:
            row["doc_id"] = f"{name}-{row['doc_id']}"
        documents = pa.Table.from_pylist(renamed, schema=source.documents.schema)
        linked = [
            {**row, "doc_id": f"{name}-{row['doc_id']}", "query_id": f"{name}-{row['query_id']}"}
            for row in source.qrels.to_pylist()
        ]
        corpus, qrels = cut(documents, pa.Table.from_pylist(linked, schema=source.qrels.schema), 1000)
        parts.append(corpus)
        links.append(qrels)
        queries += [{**row, "query_id": f"{name}-{row['query_id']}"} for row in source.queries.to_pylist()]
        if sum(len(part) for part in parts) >= size:
            break
    corpus = ordered(pa.concat_tables(parts).slice(0, size))
    inside = set(corpus["doc_id"].to_pylist())
    qrels = pa.concat_tables(links)
    kept = [row for row in qrels.to_pylist() if row["doc_id"] in inside]
    columns = {name: [row[name] for row in kept] for name in qrels.schema.names}
    return corpus, table("qrels", columns), queries


def draw(found: list[dict[str, Any]]) -> None:
    """Seconds and memory against passages, both axes logarithmic, so that linear growth is a line of slope one."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    passages = [row["passages"] for row in found]
    for name in _STEPS:
        left.loglog(passages, [row[name]["seconds"] for row in found], marker="o", label=name)
    right.loglog(passages, [row["mine"]["peak_mib"] for row in found], marker="o", label="all stages, whole process")
    path = RESULTS / "search.json"
    if path.is_file():
        growth = json.loads(path.read_text(encoding="utf-8"))["growth"]
        sizes = [row["passages"] for row in growth]
        left.loglog(sizes, [row["seconds"] for row in growth], "k--", marker="s", label="search, synthetic vectors")
        memory = [max(1, row["peak_mib_above_vectors"]) for row in growth]
        right.loglog(sizes, memory, "k--", marker="s", label="search, above the mapped vectors")
    left.set_ylabel("seconds (1,000 queries)")
    right.set_ylabel("MiB at the peak")
    for axis in (left, right):
        axis.set_xlabel("passages")
        axis.grid(visible=True, which="major", alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "growth.svg", metadata={"Date": None})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(int(sys.argv[2]))))
    else:
        main([int(word) for word in sys.argv[1:]] or list(_SIZES))
