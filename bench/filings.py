"""Filings without labels by a small LLM on this machine: what each type of filing gains, as arXiv 2512.08088 tells it.

Passages of a filing are joined to a document again; of the 14 types with most filings in sec_filings_unlabelled at most
eight filings each are taken. One LLM writes the questions of all sides and no other one judges, so a row says how well
the passage is found that a question was written for, not whether the answer is right.

    python bench/filings.py teacher.gguf
    python bench/financebench.py all-MiniLM-L6-v2 runs/bench/filings/run/model runs/bench/filings/run/retriever
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from denizen.reports.finished_run import FinishedRun
from denizen.reports.sections import domain_rows
from measuring import RUNS, data, keep, timed_adapt

_TYPES, _FILINGS = 14, 8
# about forty minutes on one core: 6 s a question
_SETTINGS: dict[str, Any] = {"passages": 10, "persona_queries": 0.0, "rounds": 1, "least_kappa": 1.0}
_CALLS = 400


def documents(file: Path) -> int:
    """Writes the filings as a table of documents, and returns how many there are."""
    texts: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    with gzip.open(data("sec_filings_unlabelled") / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            about = row["metadata"]
            texts[about["form"], about["doc"]].append(row["text"])
    # where two types have as many filings, the one with more passages
    sizes = Counter({form: sum(len(found) for (of, _), found in texts.items() if of == form) for form, _ in texts})
    filings = Counter(form for form, _ in texts)
    types = sorted(filings, key=lambda form: (-filings[form], -sizes[form]))[:_TYPES]
    kept: Counter[str] = Counter()
    with file.open("w", encoding="utf-8") as out:
        for (form, name), passages in sorted(texts.items()):
            if form not in types or kept[form] == _FILINGS:
                continue
            kept[form] += 1
            text = "\n\n".join(passages)
            out.write(json.dumps({"id": name, "title": name, "text": text, "domain": form}) + "\n")
    return kept.total()


def main(llm: Path) -> None:
    folder = RUNS / "filings"
    folder.mkdir(parents=True, exist_ok=True)
    count = documents(folder / "filings.jsonl")
    shared = {"general": (str(data("nq_general")),), "budget_calls": _CALLS}
    result = timed_adapt("filings/run", folder / "filings.jsonl", teacher="llm", llm=str(llm), **shared, **_SETTINGS)
    metrics = result["metrics"]
    names = ("shipped", "spending", "data", "gate", "queries", "llm", "trial", "coverage")
    told = {name: metrics[name] for name in names if name in metrics}
    rows = domain_rows(FinishedRun(folder / "run"))
    keep("filings", {"filings": count, **told, "types": rows, "settings": {**_SETTINGS, "budget_calls": _CALLS}})
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("llm", type=Path)
    main(reader.parse_args().llm)
