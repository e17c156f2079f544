"""Encoding speed: every backend that is installed against sentence-transformers as it comes, on MedQuAD passages.

All sides run in one process in the order A B C A B C ...; ratios are to sentence-transformers within each repetition.

    python bench/encode.py [passages] [repetitions] [decoder-only LLM]

With an LLM (a GGUF file or a folder) that is what encodes, by torch, and bench/results/encode_decoder.json
is written.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from denizen.data.formats import read_source
from denizen.data.passages import cut, ordered
from denizen.data.tables import relevant, texts
from denizen.measuring import retrieval as evaluation
from denizen.retrievers import search as retrieval
from denizen.retrievers.backends import Vectors, candidates, make
from denizen.retrievers.encoder import encode
from denizen.retrievers.loading import load_encoder, locate, prompts_of
from denizen.retrievers.parity import compare, sample
from measuring import data, keep

BACKENDS = ("torch-bf16", "torch-fp32", "openvino-bf16", "openvino-fp32", "onnx-fp32", "onnx-int8")


def main(passages: int, repetitions: int, llm: str = "") -> None:
    folder = locate(llm or "all-MiniLM-L6-v2")
    plain = load_encoder(folder)
    model = load_encoder(folder)
    source = read_source(str(data("medquad/medquad_qa.jsonl.gz")))
    corpus, qrels = cut(source.documents, source.qrels, 1000)
    corpus = ordered(corpus)
    # each text once: of equal passages with scores that differ in the last bit, chance decides which ranks first
    first = {text: at for at, text in reversed(list(enumerate(texts(corpus))))}
    corpus = corpus.take(sorted(first.values())[:: max(1, len(first) // passages)][:passages])
    bodies = texts(corpus)
    sides: dict[str, Callable[[], Any]] = {
        "sentence-transformers": lambda: plain.encode_document(bodies, show_progress_bar=False),
    }
    for name in BACKENDS[:2] if llm else BACKENDS:
        try:
            backend = make(name, model)
        except Exception as error:  # noqa: BLE001
            print(f"{name}: not measured ({type(error).__name__}: {error})")
            continue
        sides[name] = lambda backend=backend: encode(model, bodies, "document", backend)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    vectors: dict[str, Vectors] = {}
    for _ in range(repetitions):
        for name, run in sides.items():
            began = time.perf_counter()
            vectors[name] = run()
            seconds[name].append(time.perf_counter() - began)
    prompt = prompts_of(model)["document"] or None
    tokens = int(model.preprocess(bodies, prompt=prompt)["attention_mask"].sum())
    peak = matrix_rate()
    result: dict[str, Any] = {
        "passages": len(bodies),
        "tokens_a_passage": tokens / len(bodies),
        "matrix_rate_gflops": peak,
        "weights": sum(weights.numel() for weights in model.parameters()),
        "sides": {},
    }
    queries = source.queries.to_pylist()
    known = relevant(qrels)
    inside = set(corpus["doc_id"].to_pylist())
    asked = [row for row in queries if inside & set(known.get(row["query_id"], {}))][:1000]
    reference = plain.encode_query([row["text"] for row in asked], show_progress_bar=False)
    ids = [row["query_id"] for row in asked]
    parts = sample(bodies)
    exact = [encode(model, part, "document", make("torch-fp32", model)) for part in parts]
    for name in sides:
        run = retrieval.search(ids, reference, corpus["doc_id"].to_pylist(), np.asarray(vectors[name]), 100)
        ndcg = evaluation.means(evaluation.measure(run, qrels, ids))["nDCG@10"]
        rate = [len(bodies) / value for value in seconds[name]]
        ratios = [a / b for a, b in zip(seconds["sentence-transformers"], seconds[name], strict=True)]
        flops = _flops(model) * tokens / statistics.median(seconds[name]) / 1e9
        found = {"texts_a_second": rate, "ratio": ratios, "nDCG@10": ndcg, "share_of_matrix_rate": flops / peak}
        if name != "sentence-transformers":
            gate = compare([encode(model, part, "document", make(name, model)) for part in parts], exact)
            found |= {"min_cosine": gate.cosine, "gate": gate.passed}
        result["sides"][name] = found
        print(
            f"{name:<24}{statistics.median(rate):>8.1f} texts/s  x {statistics.median(ratios):.2f} "
            f"[{min(ratios):.2f}, {max(ratios):.2f}]  nDCG@10 {ndcg:.4f}  {flops / peak:.0%} of the matrix rate  "
            + (f"min cosine {found['min_cosine']:.5f}, gate {found['gate']}" if "gate" in found else "")
        )
    result["chosen_first"] = "torch-bf16" if llm else candidates("auto", "auto")[0]
    keep("encode_decoder" if llm else "encode", result)


def matrix_rate() -> float:
    """What all cores reach on a bf16 product of the model's shapes, in GFLOP/s (fp32 where bf16 is not native)."""
    from denizen.retrievers.backends import bf16_is_native

    kind = torch.bfloat16 if bf16_is_native() else torch.float32
    rows, inner, columns = 4096, 1536, 1536
    one, other = torch.randn(rows, inner).to(kind), torch.randn(columns, inner).to(kind)
    rates = []
    for _ in range(20):
        began = time.perf_counter()
        torch.nn.functional.linear(one, other)
        rates.append(2 * rows * inner * columns / (time.perf_counter() - began) / 1e9)
    return max(rates)


def _flops(model: Any) -> int:
    """Operations a token in the linear layers; attention comes on top and grows with the length."""
    return 2 * sum(module.weight.numel() for module in model.modules() if type(module) is torch.nn.Linear)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    main(*(numbers + [1500, 5][len(numbers) :]), *sys.argv[3:4])
