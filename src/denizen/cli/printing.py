"""What the commands print of a run's end and of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def closing_lines(report: dict[str, Any]) -> list[str]:
    """The contents of metrics.json for people."""
    from denizen.reports import results

    gate = report["gate"]
    lines = [
        line
        for table in (results.result_lines, results.baseline_lines, results.seed_lines)
        for line in in_columns(table(report))
    ]
    lines.append(f"{report['queries']:,} test queries; intervals by bootstrap, p by paired randomisation")
    lines += [*results.teacher_lines(report), *in_columns(results.gate_lines(gate) if gate else [])]
    lines += filter(None, (results.gate_sentence(report), report["warning"], results.unchanged(report)))
    lines.append(f"report: {Path(report['model']).parent.as_posix()}/report.html")
    return [*lines, f"{'adapted ' if report['chosen'] != 'base' else ''}model: {report['model']}"]


def in_columns(rows: list[list[str]]) -> list[str]:
    """Rows of cells as lines; the first column is set left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *(map(str.rjust, row[1:], widths[1:]))]) for row in rows]
