"""What the commands print: tables and closing lines to standard output, progress to standard error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from denizen.engine.errors import GateError

if TYPE_CHECKING:
    from denizen.engine.progress import Progress


def show(report: dict[str, Any], quiet: bool, as_json: bool) -> None:
    """The contents of metrics.json, for people or as JSON."""
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    if quiet:
        return
    from denizen.reports.results import (
        baseline_lines,
        gate_lines,
        gate_sentence,
        result_lines,
        seed_lines,
        teacher_lines,
        unchanged,
    )

    print_table(result_lines(report))
    print_table(baseline_lines(report))
    print_table(seed_lines(report))
    typer.echo(f"{report['queries']:,} test queries; intervals by bootstrap, p by paired randomisation")
    for line in teacher_lines(report):
        typer.echo(line)
    if report["gate"]:
        print_table(gate_lines(report["gate"]))
    typer.echo(gate_sentence(report))
    if report["warning"]:
        typer.echo(report["warning"])
    if why := unchanged(report):
        typer.echo(why)
    typer.echo(f"report: {Path(report['model']).parent.as_posix()}/report.html")
    typer.echo(f"{'adapted ' if report['chosen'] != 'base' else ''}model: {report['model']}")


def print_table(lines: list[list[str]]) -> None:
    """Rows of cells in columns; the first is set left, the others right."""
    if not lines:
        return
    widths = [max(len(row[at]) for row in lines) for at in range(len(lines[0]))]
    for row in lines:
        first, *rest = (
            text.ljust(width) if at == 0 else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        typer.echo("  ".join([first, *rest]))


def make_progress(quiet: bool) -> Progress:
    """What draws on standard error, or nothing."""
    from denizen.engine.progress import Silent, Terminal

    return Silent() if quiet else Terminal()


def check_gate(gate: dict[str, Any] | None) -> None:
    """Ends with exit code 4 where a gate was measured and is not met."""
    if gate is not None and not gate["met"]:
        changes = ", ".join(f"{role} {change:+.4f}" for role, change in gate["change"].items())
        what = f"{gate['measure']} changes by {changes}" if any(gate["change"].values()) else "nothing keeps the limit"
        raise GateError(
            f"the gate is not met: {what}, and a mean may fall by {gate['limit']:g} at most. Train less, merge with "
            "the base, or raise --forgetting-limit"
        )
