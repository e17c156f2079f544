"""Encoding, training and one whole `adapt` on a CUDA device; exit code 2 where there is none.

Encoding: MedQuAD passages by sentence-transformers as it comes and by both of our backends for GPUs. Training: the
triples of bench/train.py, by SentenceTransformerTrainer as it comes and by ours. All sides run in one process, A B A B;
ratios are to the library within each repetition. The job is `adapt` with its defaults on Financial-QA-10k.

    python bench/gpu.py [passages] [triples] [repetitions]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denizen.data.formats import read_source
from denizen.data.passages import cut, ordered
from denizen.data.tables import relevant, texts
from denizen.retrievers.backends import make
from denizen.retrievers.encoder import encode
from denizen.retrievers.loading import load_encoder, locate
from denizen.training.train import Training
from measuring import data, keep, show_comparison, timed_adapt
from train import mined, ours, theirs

BACKENDS = ("torch-bf16", "torch-fp32")
LIBRARY = "sentence-transformers"


def main(passages: int, triples: int, repetitions: int) -> None:
    if not torch.cuda.is_available():
        print("there is no CUDA device here, and this benchmark is of one", file=sys.stderr)
        sys.exit(2)
    folder = locate("all-MiniLM-L6-v2")
    source = read_source(str(data("medquad/medquad_qa.jsonl.gz")))
    corpus, qrels = cut(source.documents, source.qrels, 1000)
    corpus = ordered(corpus)
    bodies = list(dict.fromkeys(texts(corpus)))[:passages]
    questions = source.queries.to_pylist()
    drawn = np.random.default_rng(0).permutation(len(questions))[:triples].tolist()
    rows = mined(folder, corpus, relevant(qrels), [questions[at] for at in drawn])
    result: dict[str, Any] = {
        "encode": encoding(folder, bodies, repetitions),
        "train": training(folder, rows, repetitions),
    }
    for line in table(result):
        print(line)
    result["adapt"] = timed_adapt("gpu", data("financial_qa_10k"), general=(str(data("nq_general")),), drop_leaks=True)
    show_comparison("adapt on Financial-QA-10k", result["adapt"])
    result["peak_gpu_gib"] = torch.cuda.max_memory_allocated() / (1 << 30)
    print(f"at most {result['peak_gpu_gib']:.1f} GiB of the device's memory")
    keep("gpu", result)


def encoding(folder: Path, bodies: Sequence[str], repetitions: int) -> dict[str, Any]:
    """Texts a second of each side, the smallest cosine of ours to the library's, and how many texts there were."""
    plain, model = load_encoder(folder), load_encoder(folder)
    sides: dict[str, Callable[[], Any]] = {LIBRARY: lambda: plain.encode(list(bodies), show_progress_bar=False)}
    for name in BACKENDS:
        backend = make(name, model)
        sides[name] = lambda backend=backend: encode(model, bodies, "document", backend)
    found = {}
    for side in sides.values():
        # a device's first calls load and choose its kernels
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repetitions):
        for name, side in sides.items():
            began = time.perf_counter()
            # vectors in the machine's own memory: the device has ended
            found[name] = side()
            seconds[name].append(time.perf_counter() - began)
    unit = {name: vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for name, vectors in found.items()}
    cosines = {name: float((unit[name] * unit[LIBRARY]).sum(axis=1).min()) for name in BACKENDS}
    return {"texts": len(bodies), "sides": _rates(seconds, len(bodies)), "min_cosine": cosines}


def training(folder: Path, triples: list[tuple[str, str, str]], repetitions: int) -> dict[str, Any]:
    """Examples a second of each side, all that a training does among it, and how many examples there were."""
    sides = {LIBRARY: theirs, "denizen": ours}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(repetitions):
        for name, side in sides.items():
            with tempfile.TemporaryDirectory() as out:
                began = time.perf_counter()
                side(folder, triples, Training(epochs=1.0, seed=42 + repetition), Path(out))
                seconds[name].append(time.perf_counter() - began)
    return {"examples": len(triples), "sides": _rates(seconds, len(triples))}


def _rates(seconds: Mapping[str, Sequence[float]], count: int) -> dict[str, dict[str, list[float]]]:
    return {
        name: {
            "a_second": [count / each for each in of],
            "ratio": [a / b for a, b in zip(seconds[LIBRARY], of, strict=True)],
        }
        for name, of in seconds.items()
    }


def table(result: Mapping[str, Any]) -> list[str]:
    """A line a side: what it does a second, and the ratio to the library with its smallest and largest."""
    lines = [f"{'':<30}{'a second':>12}   times as fast"]
    for work in ("encode", "train"):
        for name, side in result[work]["sides"].items():
            ratios = side["ratio"]
            spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
            lines.append(f"{f'{work} by {name}':<30}{statistics.median(side['a_second']):>12,.1f}   {spread}")
    return lines


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(*(numbers + [20_000, 2_560, 3][len(numbers) :]))
