"""The whole job: `adapt` with its defaults against the gold-label triplet recipe in plain library calls, on MedQuAD.

The recipe: encode, semantic_search, triplets, SentenceTransformerTrainer with TripletLoss, all in fp32 and with the
libraries' defaults, training texts cut to 128 tokens as in the preset; two rounds; then base and adapted on test. A
part of the topic split is taken, because all of it would take the recipe hours on two cores; both get the same part.

    python bench/whole_job.py [train queries] [other passages]
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import TripletDistanceMetric, TripletLoss
from sentence_transformers.util import semantic_search

from denizen.api import adapt
from denizen.data.formats import read_source
from denizen.data.tables import read_table, relevant, table, texts
from denizen.engine.progress import Terminal
from denizen.measuring import retrieval as evaluation
from denizen.recipes.config import AdaptConfig
from denizen.retrievers.loading import locate
from denizen.supervision import examples, mining
from measuring import RUNS, data, keep

_DEV, _TEST = 150, 400


def main(train: int, others: int) -> None:
    folder = RUNS / "whole-job"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    part(folder / "data", train, others)
    began = time.perf_counter()
    report = adapt(AdaptConfig(str(folder / "data"), drop_leaks=True), folder / "run", progress=Terminal())
    ours = time.perf_counter() - began
    tables = {name: read_table(folder / f"run/corpus/{name}.parquet", name) for name in ("corpus", "queries", "qrels")}
    began = time.perf_counter()
    scores = plain(folder, tables)
    theirs = time.perf_counter() - began
    result = {
        "queries": report["data"]["queries"],
        "passages": report["data"]["passages"],
        "seconds": {"denizen": ours, "plain gold-triplet": theirs},
        "ratio": theirs / ours,
        "test": {"base": report["base"], "denizen": report["adapted"], "plain gold-triplet": scores},
        "encoding": report["backends"],
    }
    print(f"denizen {ours / 60:.1f} minutes, plain gold-triplet {theirs / 60:.1f}: {theirs / ours:.2f} times as fast")
    for name, means in result["test"].items():
        print(f"{name:<20} test MRR@5 {means['MRR@5']:.4f}")
    keep("whole_job", result)


def part(folder: Path, train: int, others: int) -> None:
    """Writes some queries of each split, their passages and some others as a BEIR folder."""
    source = read_source(str(data("medquad")))
    random = np.random.default_rng(0)
    known = relevant(source.qrels)
    rows = source.queries.to_pylist()
    chosen = []
    for split, count in (("train", train), ("dev", _DEV), ("test", _TEST)):
        inside = [row for row in rows if row["split"] == split]
        chosen += [inside[at] for at in random.permutation(len(inside))[:count].tolist()]
    wanted = {doc_id for row in chosen for doc_id in known[row["query_id"]]}
    documents = source.documents.to_pylist()
    rest = [row["doc_id"] for row in documents if row["doc_id"] not in wanted]
    wanted |= {rest[at] for at in random.permutation(len(rest))[:others].tolist()}
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for row in documents:
            if row["doc_id"] in wanted:
                file.write(json.dumps({"_id": row["doc_id"], "title": row["title"], "text": row["text"]}) + "\n")
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        for row in chosen:
            file.write(json.dumps({"_id": row["query_id"], "text": row["text"]}) + "\n")
    for split in ("train", "dev", "test"):
        links = [
            (row["query_id"], doc_id) for row in chosen if row["split"] == split for doc_id in known[row["query_id"]]
        ]
        lines = ["query-id\tcorpus-id\tscore", *(f"{query_id}\t{doc_id}\t1" for query_id, doc_id in links)]
        (folder / f"qrels/{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def plain(folder: Path, tables: dict[str, pa.Table]) -> dict[str, float]:
    """Two rounds of the recipe; means on test."""
    config = AdaptConfig("medquad", preset="gold-triplet")
    corpus, qrels = tables["corpus"], tables["qrels"]
    passages, doc_ids = texts(corpus), corpus["doc_id"].to_pylist()
    body = dict(zip(doc_ids, passages, strict=True))
    rows = tables["queries"].to_pylist()
    question = {row["query_id"]: row["text"] for row in rows}
    ids = {split: [row["query_id"] for row in rows if row["split"] == split] for split in ("train", "dev", "test")}
    model = SentenceTransformer(str(locate("all-MiniLM-L6-v2")), device="cpu")
    windows = config.supervision.selecting.windows
    pooled: list[Any] = []
    for number in range(config.rounds):
        run = searched(model, ids["train"] + ids["dev"], question, doc_ids, passages)
        found, _ = mining.mine(
            run, qrels, corpus, ids["train"], [windows.hard_negative, windows.easy_negative], retriever="student"
        )
        made = examples.triplets(found, windows, config.easy_per_hard, config.seed + number)
        new = examples.examples_table(made, number)
        pooled = [examples.cumulate(pooled, new)]
        triples = [
            (question[row["query_id"]], body[row["positive_id"]], body[row["negative_ids"][0]])
            for row in pooled[0].to_pylist()
        ]
        print(f"round {number}: {len(triples)} triplets", flush=True)
        learn(model, triples, config, folder / f"plain-{number}")
    # the last student's dev metrics would be read here to choose a round
    searched(model, ids["dev"], question, doc_ids, passages)
    base = SentenceTransformer(str(locate("all-MiniLM-L6-v2")), device="cpu")
    searched(base, ids["test"], question, doc_ids, passages)
    run = searched(model, ids["test"], question, doc_ids, passages)
    return evaluation.means(evaluation.measure(run, qrels, ids["test"]))


def searched(
    model: SentenceTransformer, query_ids: list[str], question: dict[str, str], doc_ids: list[str], passages: list[str]
) -> pa.Table:
    """A run by the library's own functions."""
    vectors = model.encode(passages, convert_to_tensor=True)
    asked = model.encode([question[query_id] for query_id in query_ids], convert_to_tensor=True)
    hits = semantic_search(asked, vectors, top_k=100)
    found = [(query_id, hit) for query_id, ranked in zip(query_ids, hits, strict=True) for hit in ranked]
    columns = {
        "query_id": [query_id for query_id, _ in found],
        "doc_id": [doc_ids[int(hit["corpus_id"])] for _, hit in found],
        "score": [float(hit["score"]) for _, hit in found],
    }
    return table("run", columns)


def learn(model: SentenceTransformer, triples: list[tuple[str, str, str]], config: AdaptConfig, out: Path) -> None:
    """One training by the library as it comes."""
    columns = dict(zip(("anchor", "positive", "negative"), map(list, zip(*triples, strict=True)), strict=True))
    own = model.max_seq_length
    model.max_seq_length = config.max_tokens
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_steps,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
    )
    loss = TripletLoss(model, TripletDistanceMetric.COSINE, config.margin)
    SentenceTransformerTrainer(model=model, args=arguments, train_dataset=Dataset.from_dict(columns), loss=loss).train()
    model.max_seq_length = own


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*(given + [500, 1500][len(given) :]))
