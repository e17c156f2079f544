"""Four domains with splits that do not leak, and what the adapted models forgot about general questions.

For each set: base, BM25 and adapted on test, with intervals; and base against adapted on nq_general, which nobody
trains on.

    python bench/domains.py [medquad] [financial_qa_10k] [obliqa] [tatqa]
"""

from __future__ import annotations

import sys

from denizen.engine.progress import Terminal
from denizen.recipes.evaluate import evaluate
from measuring import RUNS, data, keep, show_comparison, shown, timed_adapt

SETS = ("financial_qa_10k", "tatqa", "obliqa", "medquad")


def main(names: list[str]) -> None:
    general = data("nq_general")
    results = {name: timed_adapt(name, data(name), drop_leaks=True) for name in names}
    models = [str(RUNS / name / "model") for name in names]
    report = evaluate(["all-MiniLM-L6-v2", *models], general, bm25=False, progress=Terminal())
    base, *adapted = report["means"]
    for name, system in zip(names, adapted, strict=True):
        results[name]["nq_general"] = {
            "base": report["means"][base],
            "adapted": report["means"][system],
            "difference": report["differences"][system],
            "queries": report["queries"],
        }
        show_comparison(name, results[name])
        forgotten = results[name]["nq_general"]["difference"]["nDCG@10"]
        print(f"nq_general nDCG@10: {shown(forgotten)}")
        keep(f"domains_{name}", results[name])


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(SETS)
    if set(chosen) - set(SETS):
        sys.exit(f"unknown set in {chosen}; there are {SETS}")
    main(chosen)
