"""Four domains with splits that do not leak, and what the adapted models forgot about general questions.

For each set: base, BM25 and adapted on test, with intervals; and base against adapted on nq_general, which nobody
trains on.

    python bench/domains.py [medquad] [financial_qa_10k] [obliqa] [tatqa]
"""

from __future__ import annotations

import sys
from typing import Any

from denizen.core.progress import Terminal
from denizen.recipes.evaluate import evaluate
from measuring import RUNS, data, keep, timed_adapt

SETS = ("financial_qa_10k", "tatqa", "obliqa", "medquad")


def main(names: list[str]) -> None:
    general = data("nq_general")
    for name in names:
        result = timed_adapt(name, data(name), drop_leaks=True)
        report = evaluate(["all-MiniLM-L6-v2", str(RUNS / name / "model")], general, bm25=False, progress=Terminal())
        result["nq_general"] = {key: report[key] for key in ("means", "differences", "queries")}
        show(name, result)
        keep(f"domains_{name}", result)


def show(name: str, result: dict[str, Any]) -> None:
    metrics = result["metrics"]
    print(f"\n{name}: {result['seconds'] / 60:.1f} minutes, {metrics['queries']} test queries")
    print(f"{'':<12}{'base':>8}{'BM25':>8}{'adapted':>8}   difference with 95 % interval")
    for measure, found in metrics["difference"].items():
        row = "".join(f"{metrics[system][measure]:>8.3f}" for system in ("base", "bm25", "adapted"))
        interval = f"[{found['low']:+.3f}, {found['high']:+.3f}]"
        print(f"{measure:<12}{row}   {found['value']:+.3f} {interval}  p {found['p']:.4f}")
    forgotten = next(iter(result["nq_general"]["differences"].values()))["nDCG@10"]
    interval = f"[{forgotten['low']:+.3f}, {forgotten['high']:+.3f}]"
    print(f"nq_general nDCG@10: {forgotten['value']:+.3f} {interval}  p {forgotten['p']:.4f}")


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(SETS)
    if set(chosen) - set(SETS):
        sys.exit(f"unknown set in {chosen}; there are {SETS}")
    main(chosen)
