"""Exact search against faiss-cpu's flat index, an inverted file against exact search, and growth with the corpus.

Vectors are synthetic: about 20,000 centres, so that near neighbours exist, with a spectrum that falls off as that of
embeddings does, and of unit length; queries are drawn the same way. They are written to runs/bench/search and removed
afterwards (7.7 GB at full size). Needs faiss-cpu (the extra `faiss`).

    python bench/search.py [--queries 10000] [--passages 1000000] [--largest 5000000] [--threads 2] [--repetitions 3]
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from denizen.retrievers.search import search, search_ivf
from measuring import RUNS, keep

_DIM, _DEPTH, _CENTRES, _NOISE = 384, 100, 20_000, 0.6
_GROWTH_QUERIES = 1000
# scores of 32-bit floats that are this near may change places
_TIE = 1e-5


def main(asked: argparse.Namespace) -> None:
    import faiss
    import torch

    torch.set_num_threads(asked.threads)
    faiss.omp_set_num_threads(asked.threads)
    folder = RUNS / "search"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        random = np.random.default_rng(0)
        spectrum = np.arange(1, _DIM + 1, dtype=np.float32) ** np.float32(-0.5)
        centres = random.standard_normal((_CENTRES, _DIM), dtype=np.float32) * spectrum
        queries = drawn(random, centres, asked.queries)
        largest = written(folder / "corpus.npy", random, centres, max(asked.passages, asked.largest))
        result = {
            "settings": {**vars(asked), "dim": _DIM, "depth": _DEPTH, "centres": _CENTRES, "noise": _NOISE},
            "exact": against_flat(queries, largest[: asked.passages], asked.repetitions),
            "ivf": inverted_file(queries[:_GROWTH_QUERIES], largest[: max(1, asked.passages // 5)]),
            "growth": growth(queries[:_GROWTH_QUERIES], largest, asked.largest),
        }
    finally:
        shutil.rmtree(folder)
    keep("search", result)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def drawn(random: np.random.Generator, centres: np.ndarray, count: int) -> np.ndarray:
    noise = random.standard_normal((count, _DIM), dtype=np.float32) * centres.std(axis=0) * np.float32(_NOISE)
    return unit(centres[random.integers(0, len(centres), count)] + noise)


def written(path: Path, random: np.random.Generator, centres: np.ndarray, count: int) -> np.ndarray:
    """Vectors in a file, memory-mapped."""
    made = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, _DIM))
    for start in range(0, count, 100_000):
        made[start : start + 100_000] = drawn(random, centres, min(100_000, count - start))
    made.flush()
    del made
    return np.load(path, mmap_mode="r")


def names(count: int) -> list[str]:
    return [f"{number:08d}" for number in range(count)]


def against_flat(queries: np.ndarray, corpus: np.ndarray, repetitions: int) -> dict[str, Any]:
    """Both sides in turn, and whether they find the same; making the flat index is not counted."""
    import faiss

    index = faiss.IndexFlatIP(_DIM)
    for start in range(0, len(corpus), 100_000):
        index.add(np.array(corpus[start : start + 100_000]))
    query_ids, doc_ids = names(len(queries)), names(len(corpus))
    ours, flat, peaks = [], [], []
    for _ in range(repetitions):
        seconds, peak, run = measured(lambda: search(query_ids, queries, doc_ids, corpus, _DEPTH))
        ours.append(seconds)
        peaks.append(peak)
        seconds, _, (scores, positions) = measured(lambda: index.search(queries, _DEPTH))
        flat.append(seconds)
        print(f"exact: ours {ours[-1]:.2f} s, faiss flat {flat[-1]:.2f} s, {flat[-1] / ours[-1]:.2f} times as fast")
    ratios = [theirs / mine for theirs, mine in zip(flat, ours, strict=True)]
    differing = differences(run, scores, positions)
    print(f"exact: {median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f}), {max(peaks):.0f} MiB")
    print(f"exact: {differing} of {len(queries)} queries differ by more than ties of {_TIE}")
    return {
        "seconds": ours,
        "faiss_flat_seconds": flat,
        "ratio": {"median": median(ratios), "low": min(ratios), "high": max(ratios)},
        "peak_mib_above_vectors": max(peaks),
        "differing_queries": differing,
    }


def differences(run: Any, scores: np.ndarray, positions: np.ndarray) -> int:
    """Queries with other passages than faiss finds, but for those as good as the last one."""
    found = np.array(run["doc_id"].to_pylist(), dtype=np.int64).reshape(len(positions), -1)
    values = run["score"].to_numpy().reshape(len(positions), -1)
    differing = 0
    for mine, mine_scores, theirs, their_scores in zip(found, values, positions, scores, strict=True):
        last = max(mine_scores[-1], their_scores[-1]) + _TIE
        sure = {*mine[mine_scores > last]} <= {*theirs} and {*theirs[their_scores > last]} <= {*mine}
        differing += not (sure and np.allclose(mine_scores, np.sort(their_scores)[::-1], atol=_TIE))
    return differing


def inverted_file(queries: np.ndarray, corpus: np.ndarray) -> list[dict[str, float]]:
    """Seconds (clustering, filling and searching; and recall measured on 100 queries) and recall by probes."""
    rows = []
    query_ids, doc_ids = names(len(queries)), names(len(corpus))
    exact, _, _ = measured(lambda: search(query_ids, queries, doc_ids, corpus, _DEPTH))
    for probes in (8, 64):
        seconds, _, (_, recall) = measured(
            lambda probes=probes: search_ivf(query_ids, queries, doc_ids, corpus, _DEPTH, probes=probes)
        )
        rows.append({"passages": len(corpus), "probes": probes, "recall": recall, "seconds": seconds, "exact": exact})
        print(f"ivf: {probes} probes, recall {recall:.3f}, {seconds:.1f} s; exact {exact:.1f} s")
    return rows


def growth(queries: np.ndarray, corpus: np.ndarray, largest: int) -> list[dict[str, float]]:
    rows = []
    query_ids = names(len(queries))
    for count in sorted({*(size for size in (10_000, 100_000, 1_000_000) if size < largest), largest}):
        doc_ids, part = names(count), corpus[:count]
        seconds, peak, _ = measured(lambda ids=doc_ids, part=part: search(query_ids, queries, ids, part, _DEPTH))
        rows.append({"passages": count, "queries": len(queries), "seconds": seconds, "peak_mib_above_vectors": peak})
        print(f"growth: {count:>9,} passages, {seconds:.2f} s, {peak:.0f} MiB")
    return rows


def measured(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, MiB of the process's own memory at its highest above what it was before, and what the work gave."""
    with peak_memory() as peak:
        began = time.perf_counter()
        found = work()
        seconds = time.perf_counter() - began
    return seconds, peak[0], found


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Samples anonymous memory every 10 ms, because the high-water mark of the system counts the mapped vectors too."""
    before = anonymous_mib()
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], anonymous_mib() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def anonymous_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--largest", type=int, default=5_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=3)
    main(parser.parse_args())
