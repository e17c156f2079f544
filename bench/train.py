"""Training speed: ours against SentenceTransformerTrainer as it comes, on the same MedQuAD triples, A B A B.

Theirs: fp32, its default arguments, MultipleNegativesRankingLoss at the same temperature, batch size, learning rate
and number of steps. Each repetition has another seed. Dev MRR@5 of a side's last model is on the questions of another
800 rows, over their passages and 2,000 others.

    python bench/train.py [rows] [repetitions]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from denizen.data.formats import read_source
from denizen.data.passages import cut, ordered
from denizen.data.tables import relevant, texts
from denizen.measuring import retrieval as evaluation
from denizen.retrievers import search as retrieval
from denizen.retrievers.backends import make
from denizen.retrievers.encoder import Encoder, encode
from denizen.retrievers.loading import load_encoder, locate
from denizen.training.bi_encoder import TrainingSet, train
from denizen.training.losses import Relevance
from denizen.training.train import Training
from measuring import data, keep


def main(rows: int, repetitions: int) -> None:
    folder = locate("all-MiniLM-L6-v2")
    source = read_source(str(data("medquad/medquad_qa.jsonl.gz")))
    corpus, qrels = cut(source.documents, source.qrels, 1000)
    corpus = ordered(corpus)
    known = relevant(qrels)
    order = np.random.default_rng(0).permutation(len(source.queries)).tolist()
    questions = source.queries.to_pylist()
    learning, dev = [questions[at] for at in order[:rows]], [questions[at] for at in order[rows : rows + 800]]
    triples = mined(folder, corpus, known, learning)
    seconds: dict[str, list[float]] = {"sentence-transformers": [], "denizen": []}
    scores: dict[str, list[float]] = {"sentence-transformers": [], "denizen": []}
    for repetition in range(repetitions):
        config = Training(epochs=1.0, seed=42 + repetition).of_size(decoder=False, weights=0)
        for side, run in (("sentence-transformers", theirs), ("denizen", ours)):
            with tempfile.TemporaryDirectory() as out:
                began = time.perf_counter()
                run(folder, triples, config, Path(out))
                seconds[side].append(time.perf_counter() - began)
                scores[side].append(dev_mrr(Path(out) / "model", corpus, qrels, known, dev))
            print(f"{side:<24}{len(triples) / seconds[side][-1]:>8.2f} examples/s  dev MRR@5 {scores[side][-1]:.4f}")
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    apart = [b - a for a, b in zip(*scores.values(), strict=True)]
    print(f"ratio {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]; dev MRR@5 {apart}")
    keep("train", {"rows": rows, "seconds": seconds, "dev_mrr5": scores, "ratios": ratios})


def mined(
    folder: Path, corpus: Any, known: dict[str, dict[str, int]], learning: list[dict[str, Any]]
) -> list[tuple[str, str, str]]:
    """Question, a relevant passage, and the best-ranked passage of another document."""
    model = load_encoder(folder)
    backend = make("torch-bf16", model)
    body = dict(zip(corpus["doc_id"].to_pylist(), texts(corpus), strict=True))
    parent = dict(zip(corpus["doc_id"].to_pylist(), corpus["parent_id"].to_pylist(), strict=True))
    passages = [next(iter(known[row["query_id"]])) for row in learning]
    pool = sorted(set(passages))
    vectors = encode(model, [body[name] for name in pool], "document", backend)
    queries = encode(model, [row["text"] for row in learning], "query", backend)
    run = retrieval.search([row["query_id"] for row in learning], queries, pool, vectors, 30)
    found: dict[str, list[str]] = {}
    for query_id, doc_id in zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True):
        found.setdefault(query_id, []).append(doc_id)
    triples = []
    for row, positive in zip(learning, passages, strict=True):
        own = {parent[name] for name in known[row["query_id"]]}
        negative = next(name for name in found[row["query_id"]] if parent[name] not in own)
        triples.append((row["text"], body[positive], body[negative]))
    return triples


def theirs(folder: Path, triples: list[tuple[str, str, str]], config: Training, out: Path) -> None:
    """The library as it comes."""
    model = SentenceTransformer(str(folder))
    model.max_seq_length, own_limit = config.max_tokens, model.max_seq_length
    columns = dict(zip(("anchor", "positive", "negative"), map(list, zip(*triples, strict=True)), strict=True))
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out / "checkpoints"),
        num_train_epochs=1,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        report_to="none",
        save_strategy="no",
        use_cpu=not torch.cuda.is_available(),
    )
    loss = MultipleNegativesRankingLoss(model, scale=1 / config.temperature)
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(columns), loss=loss).train()
    model.max_seq_length = own_limit
    model.save_pretrained(str(out / "model"), create_model_card=False)


def ours(folder: Path, triples: list[tuple[str, str, str]], config: Training, out: Path) -> None:
    """Our trainer with its defaults, on the same triples, each relevant to its own question alone."""
    numbers: dict[str, int] = {}
    documents = np.array([[numbers.setdefault(text, len(numbers)) for text in triple[1:]] for triple in triples])
    columns = dict(zip(("anchor", "positive", "negative_1"), map(list, zip(*triples, strict=True)), strict=True))
    relevance = Relevance(documents, np.arange(len(triples)), [frozenset([row[0]]) for row in documents.tolist()])
    training = TrainingSet({**columns, "label": list(range(len(triples)))}, relevance, 0)
    (out / "model").mkdir()
    anchors = Encoder(folder, out / "embeddings").encode(columns["anchor"], "query")[:]
    train(out / "model", folder, training, config, None, anchors, out)


def dev_mrr(
    folder: Path, corpus: Any, qrels: Any, known: dict[str, dict[str, int]], dev: list[dict[str, Any]]
) -> float:
    """Dev MRR@5, both sides embedded by the same backend."""
    model = load_encoder(folder)
    wanted = {doc_id for row in dev for doc_id in known[row["query_id"]]}
    names = corpus["doc_id"].to_pylist()
    others = np.random.default_rng(1).permutation(len(names))[:2000].tolist()
    rows = sorted({at for at, name in enumerate(names) if name in wanted} | set(others))
    pool = corpus.take(rows)
    backend = make("torch-bf16", model)
    vectors = encode(model, texts(pool), "document", backend)
    queries = encode(model, [row["text"] for row in dev], "query", backend)
    ids = [row["query_id"] for row in dev]
    run = retrieval.search(ids, queries, pool["doc_id"].to_pylist(), vectors, 10)
    return evaluation.means(evaluation.measure(run, qrels, ids))["MRR@5"]


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*(given + [640, 3][len(given) :]))
