"""The published protocol on MedQuAD: rows split 80/20 at random (seed 42), passages of at most 1000 characters.

The split leaks by construction, so it only serves to compare with published figures. Runs the default preset and
the gold-triplet preset, and looks into why the second loses Recall@100: how far the embeddings of unrelated
passages move together, and what becomes of the relevant passages that the recipe never trains on.

    python bench/medquad_random.py [default] [gold-triplet]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.formats import read_source
from denizen.data.passages import cut
from denizen.data.splitting import split_by_row
from denizen.data.tables import folded, read_table, relevant, texts
from denizen.retrievers.encoder import Encoder
from denizen.retrievers.loading import locate
from measuring import RUNS, data, keep, show_comparison, timed_adapt

PRESETS = ("default", "gold-triplet")


def main(presets: list[str]) -> None:
    source = data("medquad/medquad_qa.jsonl.gz")
    for preset in presets:
        out = RUNS / f"medquad-random-{preset}"
        result = timed_adapt(out.name, source, preset=preset, split="random", seed=42, allow_leak=True, dev_share=0.05)
        result["rounds"] = [diagnose(out, number) for number in range(result["settings"]["rounds"] + 1)]
        result["per_row"] = per_row(out, source)
        show_comparison(f"MedQuAD, row split (leaks), {preset}", result)
        show_rounds(result)
        for system, figures in result["per_row"].items():
            print(f"per row, {system}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
        keep(f"medquad_random_{preset.replace('-', '_')}", result)


def diagnose(out: Path, number: int) -> dict[str, Any]:
    """Geometry and recall of one round's student on dev.

    Returns:
        The mean cosine of 20,000 random pairs of passages (1: all in one place), and the share of relevant passages
        found in the first 100 ranks, separately for each query's best-ranked one and for its others.
    """
    student = out / f"round-{number - 1}/student" if number else locate("all-MiniLM-L6-v2")
    corpus = read_table(out / "corpus/corpus.parquet", "corpus")
    # all of them are in the run's store
    vectors = Encoder(student, out / "embeddings").encode(texts(corpus), "document")[:]
    pairs = np.random.default_rng(0).integers(0, len(vectors), (20_000, 2))
    cosine = float(np.einsum("nd,nd->n", vectors[pairs[:, 0]], vectors[pairs[:, 1]]).mean())
    queries = read_table(out / "corpus/queries.parquet", "queries").to_pylist()
    known = relevant(read_table(out / "corpus/qrels.parquet", "qrels"))
    run = read_table(out / f"round-{number}/run/run.parquet", "run")
    found: dict[str, set[str]] = {}
    for query_id, doc_id in zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True):
        found.setdefault(query_id, set()).add(doc_id)
    best, others, total = 0, 0, 0
    dev = [row["query_id"] for row in queries if row["split"] == "dev"]
    for query_id in dev:
        reached = len(found.get(query_id, set()) & set(known[query_id]))
        best += reached > 0
        others += max(0, reached - 1)
        total += len(known[query_id]) - 1
    metrics = read_table(out / f"round-{number}/run/dev_metrics.parquet", "metrics")
    names, values = np.array(metrics["measure"].to_pylist()), metrics["value"].to_numpy()
    return {
        "round": number,
        "mean_cosine_of_random_passages": cosine,
        "first_relevant_in_100": best / len(dev),
        "other_relevant_in_100": others / max(1, total),
        "dev": {name: float(values[names == name].mean()) for name in dict.fromkeys(names.tolist())},
    }


def per_row(out: Path, source: Path) -> dict[str, dict[str, float]]:
    """The figures as the published protocol counts them: every test row is a query of its own.

    `adapt` makes one query of equal questions, relevant to all their answers; here each row only counts its own.
    """
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    read = read_source(str(source))
    _, qrels = cut(read.documents, read.qrels, config["passage_chars"])
    rows = split_by_row(read.queries, config["dev_share"], config["test_share"], config["seed"]).to_pylist()
    test = [row for row in rows if row["split"] == "test"]
    asked = {
        folded(row["text"]): row["query_id"]
        for row in read_table(out / "corpus/queries.parquet", "queries").to_pylist()
        if row["split"] == "test"
    }
    known = relevant(qrels)
    figures = {}
    for system in ("base", "bm25", "adapted"):
        ranked: dict[str, list[str]] = {}
        for line in (out / f"test/{system}.trec").read_text(encoding="utf-8").splitlines():
            query_id, _, doc_id, *_ = line.split()
            ranked.setdefault(query_id, []).append(doc_id)
        values = []
        for row in test:
            found, wanted = ranked.get(asked[folded(row["text"])], []), known[row["query_id"]]
            ranks = [rank for rank, doc_id in enumerate(found, start=1) if doc_id in wanted]
            reciprocal = 1 / ranks[0] if ranks and ranks[0] <= 5 else 0.0
            values.append([reciprocal, *(sum(rank <= depth for rank in ranks) / len(wanted) for depth in (5, 100))])
        means = np.mean(values, axis=0).tolist()
        figures[system] = dict(zip(("MRR@5", "Recall@5", "Recall@100"), means, strict=True)) | {"rows": len(test)}
    return figures


def show_rounds(result: dict[str, Any]) -> None:
    """Prints the dev figures and the geometry of each round."""
    print("round  MRR@5  Recall@100  mean cosine  first relevant  other relevant  (dev)")
    for row in result["rounds"]:
        print(
            f"{row['round']:>5}  {row['dev']['MRR@5']:.3f}  {row['dev']['Recall@100']:>10.3f}  "
            f"{row['mean_cosine_of_random_passages']:>11.3f}  {row['first_relevant_in_100']:>14.3f}  "
            f"{row['other_relevant_in_100']:>14.3f}"
        )


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(PRESETS)
    if set(chosen) - set(PRESETS):
        sys.exit(f"unknown preset in {chosen}; there are {PRESETS}")
    main(chosen)
