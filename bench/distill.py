"""Without labels against with labels: how much of the gold-label gain a teacher gives, perfect or not, at which price.

The teacher is an oracle (see bench/oracle.py), no language model. A part of a set is taken, because each line is a
whole run, or three of them with other seeds; all runs of a set share it, its corpus and its test queries. Only passages
of training and dev topics are ever shown to the oracle; a run stops if another is.

    python bench/distill.py [medquad] [financial_qa_10k]
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from denizen.api import adapt
from denizen.data.formats import read_source
from denizen.data.tables import read_table, relevant, texts
from denizen.engine.progress import Terminal
from denizen.measuring.significance import paired_difference
from denizen.recipes.config import AdaptConfig
from measuring import RUNS, data, keep, shown
from oracle import Oracle, OracleServer

# column of rows.jsonl that says what belongs together
_TOPIC = {"medquad": "group", "financial_qa_10k": "ticker"}
_TRAIN, _DEV, _TEST, _OTHERS = 1200, 150, 1000, 800
_SEEDS = (42, 43, 44)
# shares of the calls that the perfect oracle's grades took; the queries are the same and cost nothing again
_BUDGETS = {"1/4": 1 / 4, "1/16": 1 / 16, "none": 0.0}
_FULL_GAIN = 0.95


def main(names: list[str]) -> None:
    for name in names:
        folder = RUNS / f"distill-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        part(data(name), folder / "labels", folder / "documents")
        keep(f"distill_{name}", measured(name, folder))


def measured(name: str, folder: Path) -> dict[str, Any]:
    """All runs of a set."""
    store = str(folder / "store")
    runs: dict[str, list[dict[str, Any]]] = {}
    for seed in _SEEDS:
        gold = AdaptConfig(str(folder / "labels"), drop_leaks=True, store=store, seed=seed)
        runs.setdefault("gold labels", []).append(run(folder / f"gold-{seed}", gold))
        runs.setdefault("perfect", []).append(with_oracle(name, folder, f"perfect-{seed}", seed=seed))
        epochs = epochs_of_one_round(folder / f"perfect-{seed}")
        one = with_oracle(name, folder, f"one-round-{seed}", rounds=1, epochs=epochs, seed=seed)
        runs.setdefault("perfect, one round with as many examples", []).append(one)
        runs.setdefault("20 % wrong", []).append(with_oracle(name, folder, f"wrong-{seed}", wrong=0.2, seed=seed))
    full = runs["perfect"][0]
    for title, share in _BUDGETS.items():
        place = f"budget-{share:g}"
        replies = queries_alone(folder / f"perfect-{_SEEDS[0]}/replies.sqlite", folder / f"{place}.sqlite")
        limit = {"replies": str(replies), "budget_calls": max(1, round(share * full["grading_calls"]))}
        runs[f"perfect, {title} of its grades"] = [with_oracle(name, folder, place, seed=_SEEDS[0], **limit)]
    gains = {title: mean(found["gain"] for found in listed) for title, listed in runs.items()}
    lines = {}
    for title, listed in runs.items():
        lines[title] = line = {
            "base": listed[0]["base"],
            "adapted": mean(found["adapted"] for found in listed),
            "gain": gains[title],
            "gains": [found["gain"] for found in listed],
            "share_of_gold_gain": gains[title] / gains["gold labels"],
            "share_of_full_gain": gains[title] / gains["perfect"],
            "grades": round(mean(found.get("grades", 0) for found in listed)),
            "runs": listed,
        }
        print(
            f"{name:<18} {title:<42} MRR@5 {line['base']:.4f} -> {line['adapted']:.4f}  gains "
            f"{', '.join(f'{gain:+.4f}' for gain in line['gains'])}  {line['share_of_gold_gain']:6.1%} of gold  "
            f"{line['grades']:>7,} grades  {sum(found['seconds'] for found in listed) / 60:.1f} min",
            flush=True,
        )
    two = difference(folder, "perfect", "one-round")
    print(f"{name:<18} two rounds - one: {shown(two)}")
    curve = [lines["perfect"], *(lines[f"perfect, {title} of its grades"] for title in _BUDGETS)]
    return {
        "teacher": "an oracle that reads the labels, no language model",
        "runs": lines,
        "fewest grades for 95 % of the full gain": min(
            found["grades"] for found in curve if found["share_of_full_gain"] >= _FULL_GAIN
        ),
        "perfect - gold": difference(folder, "perfect", "gold"),
        "20 % wrong - gold": difference(folder, "wrong", "gold"),
        "two rounds - one": two,
    }


def difference(folder: Path, one: str, other: str) -> dict[str, float]:
    """MRR@5 of one kind of run minus that of another, over queries, each with the mean of its seeds."""
    means = []
    for kind in (one, other):
        of_query: dict[str, list[float]] = {}
        for seed in _SEEDS:
            for row in read_table(folder / f"{kind}-{seed}/test/adapted.metrics.parquet", "metrics").to_pylist():
                if row["measure"] == "MRR@5":
                    of_query.setdefault(row["query_id"], []).append(row["value"])
        means.append({query_id: mean(values) for query_id, values in of_query.items()})
    shared = sorted(means[0].keys() & means[1].keys())
    if len(shared) < max(map(len, means)):
        sys.exit(f"{one} and {other} were not measured on the same queries")
    first, second = (np.array([found[query_id] for query_id in shared]) for found in means)
    return asdict(paired_difference(first, second))


def epochs_of_one_round(out: Path) -> float:
    """How long to train on the examples of the first round to see as many as a run has seen in both."""
    counts = [len(read_table(out / f"round-{number}/examples/examples.parquet", "examples")) for number in (0, 1)]
    return AdaptConfig("").epochs * sum(counts) / counts[0]


def run(out: Path, config: AdaptConfig) -> dict[str, Any]:
    """One run and its figures."""
    began = time.monotonic()
    report = adapt(config, out, progress=Terminal())
    found = report["difference"]["MRR@5"]
    return {
        "base": report["base"]["MRR@5"],
        "adapted": report["adapted"]["MRR@5"],
        "gain": found["value"],
        "low": found["low"],
        "high": found["high"],
        "p": found["p"],
        "test": report["adapted"],
        "best_round": report["best_round"],
        "queries": report["data"]["queries"],
        "seconds": round(time.monotonic() - began, 1),
        "spending": report.get("spending", {}),
    }


def with_oracle(name: str, folder: Path, place: str, wrong: float = 0.0, **settings: Any) -> dict[str, Any]:
    """One run without labels."""
    oracle = known(name, folder, wrong)
    with OracleServer(oracle) as server:
        config = AdaptConfig(
            str(folder / "documents"),
            teacher="llm",
            llm=f"oracle-{wrong:g}",
            endpoint=server.url,
            prices="0/0",
            # the oracle's questions are real ones: all are wanted, once each, and it has no others to invent
            passages=100_000,
            dev_share=0.1,
            round_trip=0,
            persona_queries=0.0,
            styles="question",
            # as an oracle knows no neighbours, its grades are the same as one by one, at a fifth of the calls
            grades_per_call=5,
            store=str(folder / "store"),
            **settings,
        )
        found = run(folder / place, config)
    if oracle.not_to_be_shown:
        sys.exit(f"{oracle.not_to_be_shown} passages were shown that must not be")
    by_stage = found["spending"]["by_stage"]
    found["grading_calls"] = sum(value["calls"] for stage, value in by_stage.items() if stage.endswith("judgments"))
    judged = [read_table(path, "judgments") for path in (folder / place).glob("round-*/judgments/judgments.parquet")]
    found["grades"] = sum(map(len, judged))
    return found


def queries_alone(replies: Path, to: Path) -> Path:
    """A copy of a store of replies in which nothing has been graded."""
    with closing(sqlite3.connect(replies)) as whole, closing(sqlite3.connect(to)) as store:
        whole.backup(store)
        store.execute("DELETE FROM replies WHERE stage != 'synthesis'")
        store.commit()
    return to


def known(name: str, folder: Path, wrong: float) -> Oracle:
    """The oracle of a part: its training and dev labels, and all passages that are not of test topics."""
    source = read_source(str(folder / "labels"))
    rows = {row["query_id"]: row for row in source.queries.to_pylist()}
    column = _TOPIC[name]
    topics = {}
    with (data(name) / "rows.jsonl").open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            topics[row["corpus_id"]] = str(row[column])
    labels = [
        (rows[query_id]["text"], doc_id)
        for query_id, passages in relevant(source.qrels).items()
        if rows[query_id]["split"] != "test"
        for doc_id in passages
    ]
    hidden = {
        doc_id
        for query_id, passages in relevant(source.qrels).items()
        if rows[query_id]["split"] == "test"
        for doc_id in passages
    }
    text_of = dict(zip(source.documents["doc_id"].to_pylist(), texts(source.documents), strict=True))
    shown = {doc_id: text for doc_id, text in text_of.items() if doc_id not in hidden}
    return Oracle(shown, topics, labels, wrong)


def part(source_folder: Path, labels: Path, documents: Path) -> None:
    """Writes a part of a set twice: with all its labels, and with those of dev (to know their side) and test alone."""
    source = read_source(str(source_folder))
    random = np.random.default_rng(0)
    linked = relevant(source.qrels)
    rows = source.queries.to_pylist()
    chosen = []
    for split, count in (("train", _TRAIN), ("dev", _DEV), ("test", _TEST)):
        inside = [row for row in rows if row["split"] == split]
        chosen += [inside[at] for at in random.permutation(len(inside))[:count].tolist()]
    wanted = {doc_id for row in chosen for doc_id in linked[row["query_id"]]}
    # of the others none that a query of the test is about
    of_test = {doc_id for row in rows if row["split"] == "test" for doc_id in linked[row["query_id"]]}
    rest = [doc_id for doc_id in source.documents["doc_id"].to_pylist() if doc_id not in wanted | of_test]
    wanted |= {rest[at] for at in random.permutation(len(rest))[:_OTHERS].tolist()}
    kept = [row for row in source.documents.to_pylist() if row["doc_id"] in wanted]
    for folder, splits in ((labels, ("train", "dev", "test")), (documents, ("dev", "test"))):
        (folder / "qrels").mkdir(parents=True)
        _write(folder / "corpus.jsonl", ({"_id": r["doc_id"], "title": r["title"], "text": r["text"]} for r in kept))
        _write(folder / "queries.jsonl", ({"_id": row["query_id"], "text": row["text"]} for row in chosen))
        for split in splits:
            links = [(r["query_id"], name) for r in chosen if r["split"] == split for name in linked[r["query_id"]]]
            lines = ["query-id\tcorpus-id\tscore", *(f"{query_id}\t{doc_id}\t1" for query_id, doc_id in links)]
            (folder / f"qrels/{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write(path: Path, rows: Iterator[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or list(_TOPIC))
