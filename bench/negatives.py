"""What negatives that an LLM writes are worth beside mined ones: at equal count, half of each, and both.

A row is a query and its passage, of the 300 labels of a set's cell in bench/few_labels.py. The LLM writes one passage
for each, and grades it; rows whose passage it calls an answer, or a part of one, are in no way's training, nor are
those for which nothing was mined. So all ways train on the same rows, from the same base, by InfoNCE with negatives in
the batch, and differ in the hard negatives of a row alone. The corpus and the test queries are those of the cell.

    python bench/negatives.py writer.gguf --part SET [--part SET ...] [--rows 300]
    python bench/negatives.py                      # the table of what is there

A part goes on where it was stopped: replies and trained models are kept under runs/bench/negatives. It writes
bench/results/negatives/SET.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.artifacts import Corpus, Examples, Model, Negatives, Qrels, Queries
from denizen.data.near_duplicates import clusters
from denizen.data.tables import each, rows_table, texts, with_column, write_table
from denizen.engine.artifact import Artifact, Value
from denizen.engine.pipeline import Pipeline
from denizen.engine.progress import Silent, Terminal
from denizen.engine.step import Context
from denizen.llm.client import LLM
from denizen.llm.prompts import prompts_digest
from denizen.measuring.retrieval import measure, per_query
from denizen.measuring.significance import paired_difference
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.loading import locate
from denizen.retrievers.model_ref import outside_model
from denizen.retrievers.searching import search_each
from denizen.supervision import mining
from denizen.supervision.asking import Asking
from denizen.supervision.negatives import NegativeWriting, write_negatives
from denizen.training.train import Training, train
from few_labels import SETS, Labelled, cell_of, read_labelled
from measuring import RESULTS, RUNS, data, keep, served, shown

_FOLDER, _BASE, _SEEDS = "negatives", "all-MiniLM-L6-v2", (1, 2, 3)
# of a few hundred rows one is ten steps at most, of which the first hardly moves anything
_EPOCHS = 3.0
_MEASURES = ("MRR@5", "nDCG@10")
# as the settings of a run have them: where hard negatives are, and what scores too near to the answer to be one
_WINDOW, _CEILING, _DEPTH = (1, 15), 0.95, 100
WAYS = ("in the batch alone", "mined", "written", "half of each", "both")
_AGAINST = "mined"


def measured(llm: LLM, name: str, rows: int, base: Path) -> dict[str, Any]:
    """The figures of a set."""
    source, built = SETS[name]
    place = RUNS / _FOLDER / name
    tables = tables_of(cell_of(built(read_labelled(data(source))), "300", 1), place / "tables")
    encoders = Encoders(place / "embeddings")
    resources: dict[type, Any] = {LLM: llm, Asking: Asking(min_coverage=0.5), Encoders: encoders}
    run = Pipeline(place / "run", context=Context(Terminal(), resources=resources))
    params = NegativeWriting(llm=llm.model, synthetic_negatives=rows)
    asked = {key: tables[key] for key in ("corpus", "queries", "pairs")}
    written = run(write_negatives, params, **asked, prompts=Value(prompts_digest("negative", "grade")))
    start = outside_model(base)
    pool = rows_of(written, mined(BiEncoder(base, Encoding(), encoders), tables))
    whole = kept(Corpus, place / "tables/with_written.parquet", [tables["corpus"].table, written.corpus.table])
    values: dict[str, dict[str, list[np.ndarray]]] = {}
    for seed in _SEEDS:
        for way in WAYS:
            made = kept(Examples, place / f"tables/{way}-{seed}.parquet", [examples_of(pool, way, seed)])
            with run.scope(way.replace(" ", "-")), run.scope("seed", seed):
                about = {"corpus": whole, "queries": tables["queries"], "qrels": tables["qrels"]}
                settings = Training(seed=seed, epochs=_EPOCHS, batches="length", near_base=0.0).on_this_machine()
                student = run(train, settings, start=start, examples=made, **about)
            for key, found in tested(student, tables, encoders).items():
                values.setdefault(way, {}).setdefault(key, []).append(found)
    before = tested(start, tables, encoders)
    return {
        "set": name,
        "llm": llm.model,
        "asked_for": rows,
        "rows": len(pool),
        "epochs": _EPOCHS,
        "written": dict(written.facts),
        "seeds": list(_SEEDS),
        "base": {key: float(found.mean()) for key, found in before.items()},
        "ways": {way: summary(values[way], values[_AGAINST], before) for way in WAYS},
    }


def tables_of(found: Labelled, folder: Path) -> dict[str, Any]:
    """A cell as tables: all of its labels are for training, and a pair is a query with one of its passages."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [(key, row.get("title") or "", row["text"], "", "", key) for key, row in sorted(found.passages.items())]
    corpus = rows_table("corpus", rows)
    alike = clusters(texts(corpus), 0.9)
    corpus = with_column(with_column(corpus, "cluster", alike), "parent_cluster", alike)
    sides = {"train": {**found.links["train"], **found.links["dev"]}, "test": found.links["test"]}
    asked = [(name, found.queries[name]["text"], "", side) for side, links in sides.items() for name in sorted(links)]
    links = [
        (name, *link) for links in sides.values() for name in sorted(links) for link in sorted(links[name].items())
    ]
    pairs = [(name, min(sides["train"][name]), 1) for name in sorted(sides["train"])]
    return {
        "corpus": kept(Corpus, folder / "corpus.parquet", [corpus]),
        "queries": kept(Queries, folder / "queries.parquet", [rows_table("queries", asked)]),
        "qrels": kept(Qrels, folder / "qrels.parquet", [rows_table("qrels", links)]),
        "pairs": kept(Qrels, folder / "pairs.parquet", [rows_table("qrels", pairs)]),
    }


def kept(kind: type[Any], path: Path, parts: Sequence[pa.Table]) -> Any:
    """Rows on disk as an input of a step."""
    write_table(path, pa.concat_tables(parts))
    return kind.outside(path)


def mined(base: BiEncoder, tables: Mapping[str, Any]) -> dict[str, str]:
    """Training query to its best-ranked negative."""
    asked, corpus = tables["queries"].texts("train"), tables["corpus"].table
    run = search_each({"base": base}, asked, corpus, _DEPTH, Silent())["base"]
    found, _ = mining.mine(
        run, tables["qrels"].table, corpus, list(asked), [_WINDOW], retriever="base", positive_ceiling=_CEILING
    )
    best: dict[str, str] = {}
    for query_id, doc_id, role in each(found, "query_id", "doc_id", "role"):
        if role == "negative":
            best.setdefault(query_id, doc_id)
    return best


def rows_of(written: Negatives, mined: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """Query, positive, mined and written negative, where there are both."""
    rows = each(written.examples.table, "query_id", "positive_id", "negative_ids")
    return sorted((query, own, mined[query], *ids) for query, own, ids in rows if query in mined)


def examples_of(pool: Sequence[tuple[str, str, str, str]], way: str, seed: int) -> pa.Table:
    """The rows with the negatives of a way; of half of each, the seed draws which rows have a written one."""
    drawn = np.random.default_rng(seed).permutation(len(pool))[: len(pool) // 2].tolist()
    halves = set(drawn)
    made = []
    for at, (query, own, near, other) in enumerate(pool):
        negatives = {
            "in the batch alone": [],
            "mined": [near],
            "written": [other],
            "half of each": [other if at in halves else near],
            "both": [near, other],
        }[way]
        made.append({"query_id": query, "positive_id": own, "negative_ids": negatives, "kind": "hard", "round": 0})
    return rows_table("examples", made)


def tested(model: Model | Artifact, tables: Mapping[str, Any], encoders: Encoders) -> dict[str, np.ndarray]:
    """Measure to its value for each test query."""
    asked, corpus = tables["queries"].texts("test"), tables["corpus"].table
    student = BiEncoder(model.path, Encoding(), encoders, model.digest)
    run = search_each({"it": student}, asked, corpus, _DEPTH, Silent())["it"]
    found = per_query(measure(run, tables["qrels"].table, list(asked)))
    return {key: np.array(found[key]) for key in _MEASURES}


def summary(
    own: Mapping[str, Sequence[np.ndarray]], other: Mapping[str, Sequence[np.ndarray]], base: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Means, of each seed and of all, and the differences to mined ones and to the base, by queries' means of seeds."""
    of_query = {key: (np.mean(own[key], axis=0), np.mean(other[key], axis=0)) for key in _MEASURES}
    return {
        "means": {key: float(found.mean()) for key, (found, _) in of_query.items()},
        "of_seeds": {key: [float(found.mean()) for found in own[key]] for key in _MEASURES},
        "over_mined": {key: asdict(paired_difference(*both)) for key, both in of_query.items()},
        "over_base": {key: asdict(paired_difference(found, base[key])) for key, (found, _) in of_query.items()},
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A row a set and way."""
    rows = [["set", "rows", "negatives", "base", "MRR@5", "of seeds", "over mined", "over base"]]
    for result in results:
        for way, found in result["ways"].items():
            seeds = ", ".join(f"{value:.3f}" for value in found["of_seeds"]["MRR@5"])
            against = [shown(found[key]["MRR@5"]) for key in ("over_mined", "over_base")]
            means = [f"{result['base']['MRR@5']:.3f}", f"{mean(found['of_seeds']['MRR@5']):.3f}"]
            rows.append([result["set"], str(result["rows"]), way, *means, seeds, *against])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("file", type=Path, nargs="?")
    reader.add_argument("--part", action="append", choices=list(SETS), default=[])
    reader.add_argument("--rows", type=int, default=300)
    given = reader.parse_args()
    for name in given.part:
        llm = served(given.file, f"{_FOLDER}/{name}")
        keep(f"{_FOLDER}/{name}", measured(llm, name, given.rows, locate(_BASE)))
    paths = (RESULTS / f"{_FOLDER}/{name}.json" for name in SETS)
    print(table([json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]))


if __name__ == "__main__":
    main()
