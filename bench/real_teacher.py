"""What a small LLM on this machine is worth as a teacher: documents alone are shown to it, the test is labelled.

The corpus and the test queries of a set are those of its cell with 300 labels in bench/few_labels.py, so that what
labels give stands beside it. The same questions are trained on without grades and with them; replies are shared.

    python bench/real_teacher.py teacher.gguf --part SET [--part SET ...] [--ways without tried]
    python bench/real_teacher.py                      # the table of what is there
    python bench/real_teacher.py --questions SET      # a hundred of its questions, to be read

A part goes on where it was stopped. It writes bench/results/real_teacher/SET.json as soon as a way is done.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from denizen.data.tables import read_table
from few_labels import SETS, cell_of, figures, read_labelled, write
from measuring import RESULTS, RUNS, data, keep, shown, timed_adapt

_FOLDER, _GENERAL, _SHOWN = "real_teacher", "nq_general", "MRR@5"
_AGAINST = ("difference_base_hybrid", "difference_bm25")
# about 45 minutes on one core: 6 s a question, of which some are asked for twice, and 4 s a grade
_SETTINGS: dict[str, Any] = {"passages": 120, "persona_queries": 0.0, "rounds": 1, "graded_top": 2}
_CALLS = 420
# a judge of whom more is asked than any has; one that is tried; and one that is asked whatever it is worth
WAYS: dict[str, dict[str, Any]] = {"without": {"least_kappa": 1.0}, "tried": {}, "graded": {"least_kappa": 0.0}}


def measured(file: Path, name: str, way: str) -> dict[str, Any]:
    """The figures of one run."""
    source, built = SETS[name]
    place = f"{_FOLDER}/{name}"
    folder = RUNS / place
    write(folder / "documents", cell_of(built(read_labelled(data(source))), "300", 1))
    shared = {"replies": str(folder / "replies.sqlite"), "store": str(folder / "store")}
    settings = {**_SETTINGS, **WAYS[way], "budget_calls": _CALLS, **shared}
    result = timed_adapt(
        f"{place}/{way}", folder / "documents", teacher="llm", llm=str(file), general=(str(data(_GENERAL)),), **settings
    )
    metrics = result["metrics"]
    told = {name: metrics[name] for name in ("llm", "trial", "spending", "coverage")}
    # folders say where this was run
    kept = {key: value for key, value in result["settings"].items() if key not in (*shared, "general", "llm")}
    return {**figures(result), **told, "written": metrics["data"]["synthesis"], "settings": kept}


def table(results: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """A row a set and way, with what is shipped against the base as it is best read and fused, and labels beside it."""
    rows = [["set", "way", "questions", "base", "BM25", "base, fused", "shipped", "over base, fused", "over BM25"]]
    for name, result in results:
        for way, found in result["ways"].items():
            best = found["shipped"]
            against = (shown(best[key][_SHOWN]) if key in best else "-" for key in _AGAINST)
            means = [_mean(found, system) for system in ("base", "bm25", "base-hybrid")]
            count = str(found["queries"]["train"])
            rows.append([name, way, count, *means, f"{best['means'][_SHOWN]:.3f}", *against])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def _mean(found: Mapping[str, Any], system: str) -> str:
    return f"{found['means'][system][_SHOWN]:.3f}" if system in found["means"] else "-"


def kept() -> list[tuple[str, dict[str, Any]]]:
    """What is there, with the cell of labels beside it where that has run."""
    found = []
    for name in SETS:
        path, cell = RESULTS / f"{_FOLDER}/{name}.json", RESULTS / f"few_labels/{name}-300-1.json"
        if path.is_file():
            result = json.loads(path.read_text(encoding="utf-8"))
            if cell.is_file():
                result["ways"]["labels"] = json.loads(cell.read_text(encoding="utf-8"))
            found.append((name, result))
    return found


def questions(name: str) -> None:
    """Questions that are kept and that are not, spread over all."""
    folder = RUNS / f"{_FOLDER}/{name}/without/synthesis"
    for file in ("queries", "dropped_queries"):
        rows = read_table(folder / f"{file}.parquet", file).to_pylist()
        print(f"\n{file}: {len(rows)}")
        for row in rows[:: -(-len(rows) // 100)]:
            print(f"  {row['source_doc_id']}  {row['origin']:<15}{row.get('reason', ''):<32}{row['text']}")


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("file", type=Path, nargs="?")
    reader.add_argument("--part", action="append", choices=list(SETS), default=[])
    reader.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    reader.add_argument("--questions", choices=list(SETS))
    given = reader.parse_args()
    if given.questions:
        questions(given.questions)
        return
    for name in given.part:
        path = RESULTS / f"{_FOLDER}/{name}.json"
        result = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"ways": {}}
        for way in given.ways:
            result["ways"][way] = measured(given.file, name, way)
            keep(f"{_FOLDER}/{name}", {"set": name, "ways": result["ways"]})
    print(table(kept()))


if __name__ == "__main__":
    main()
