"""The published protocol on MedQuAD: rows split 80/20 at random (seed 42), passages of at most 1000 characters.

The split leaks by construction, so it only serves to compare with published figures. Runs the default preset and
the gold-triplet preset, and looks into why the second loses Recall@100: how far the embeddings of unrelated
passages move together, and what becomes of the relevant passages that the recipe never trains on.

    python bench/medquad_random.py [default] [gold-triplet]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from denizen.core.tables import read_table, relevant
from measuring import RUNS, data, keep, show_comparison, timed_adapt

PRESETS = ("default", "gold-triplet")


def main(presets: list[str]) -> None:
    source = data("medquad/medquad_qa.jsonl.gz")
    for preset in presets:
        out = RUNS / f"medquad-random-{preset}"
        result = timed_adapt(out.name, source, preset=preset, split="random", seed=42, allow_leak=True, dev_share=0.05)
        result["rounds"] = [diagnose(out, number) for number in range(result["settings"]["rounds"] + 1)]
        show_comparison(f"MedQuAD, row split (leaks), {preset}", result)
        show_rounds(result)
        keep(f"medquad_random_{preset.replace('-', '_')}", result)


def diagnose(out: Path, number: int) -> dict[str, Any]:
    """Geometry and recall of one round's student on dev.

    Returns:
        The mean cosine of 20,000 random pairs of passages (1: all in one place), and the share of relevant passages
        found in the first 100 ranks, separately for each query's best-ranked one and for its others.
    """
    vectors = np.load(out / f"round-{number}" / "embeddings" / "corpus.npy", mmap_mode="r")
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
