"""Prints the tables of README.md and docs from bench/results/*.json, so that no figure is typed by hand.

python bench/tables.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
_NAMES = {
    "medquad_random_default": "MedQuAD, row split (leaks), default",
    "medquad_random_gold_triplet": "MedQuAD, row split (leaks), gold-triplet",
    "domains_medquad": "MedQuAD, by topic",
    "domains_financial_qa_10k": "Financial-QA-10k, by company",
    "domains_obliqa": "ObliQA",
    "domains_tatqa": "TAT-QA",
}


def results_table(results: Path = RESULTS) -> str:
    """One row a benchmark: MRR@5 of base, BM25 and adapted on test, what was forgotten, and the minutes of work."""
    header = ["data", "queries", "base", "BM25", "adapted", "adapted - base", "p", "nq_general nDCG@10", "minutes"]
    rows = [header, ["---"] * len(header)]
    for name, title in _NAMES.items():
        path = results / f"{name}.json"
        if path.is_file():
            rows.append([title, *_cells(json.loads(path.read_text(encoding="utf-8")))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def per_row_sentence(results: Path = RESULTS) -> str:
    """How the row split of MedQuAD looks when every test row is a query of its own, as published."""
    result = json.loads((results / "medquad_random_default.json").read_text(encoding="utf-8"))["per_row"]
    base, adapted = result["base"], result["adapted"]
    return (
        f"With each of its {base['rows']:,} test rows as a query of its own, as published, MRR@5 goes from "
        f"{base['MRR@5']:.3f} to {adapted['MRR@5']:.3f}."
    )


def _cells(result: dict[str, Any]) -> list[str]:
    metrics = result["metrics"]
    found = metrics["difference"]["MRR@5"]
    general = result.get("nq_general")
    forgotten = f"{general['base']['nDCG@10']:.3f} -> {general['adapted']['nDCG@10']:.3f}" if general else ""
    return [
        f"{metrics['queries']:,}",
        *(f"{metrics[system]['MRR@5']:.3f}" for system in ("base", "bm25", "adapted")),
        f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]",
        "< .0001" if found["p"] < 0.0001 else f"{found['p']:.4f}",
        forgotten,
        f"{result['seconds'] / 60:.0f}",
    ]


if __name__ == "__main__":
    print(results_table())
    print(per_row_sentence())
