"""What the commands print of a run's end, and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def closing_lines(report: dict[str, Any]) -> list[str]:
    """The contents of metrics.json for people."""
    from denizen.reports import results as of

    gained = (of.take_lines, of.result_lines, of.baseline_lines, of.seed_lines, of.dim_lines)
    lines = [of.headline(report), *(line for table in gained for line in in_columns(table(report)))]
    lines += of.analyser_lines(report)
    drawn = f"bootstrap, p by paired randomisation, over {of.drawn_by(report)}"
    lines += [f"{report['queries']:,} test queries; intervals by {drawn}", of.decided_by(report)]
    tables = (of.spending_lines(report), of.coverage_lines(report), of.gate_lines(report["gate"]))
    lines += [*of.teacher_lines(report), *(line for table in tables for line in in_columns(table))]
    lines += filter(
        None, (of.gate_sentence(report), of.reranker_sentence(report), report["warning"], of.unchanged(report))
    )
    run = Path(report["model"]).parent.as_posix()
    lines += [f"report: {run}/report.html", f'retriever: {run}/retriever (denizen search {run} "a question")']
    lines += [f"reranker: {report['reranker']['model']}"] if "reranker" in report else []
    return [*lines, f"{'adapted ' if report['chosen'] != 'base' else ''}model: {report['model']}"]


def experts_closing_lines(report: dict[str, Any]) -> list[str]:
    """The same of a run of experts."""
    from denizen.reports.experts import experts_headline, experts_lines

    lines = [experts_headline(report)]
    for rows, said in experts_lines(report):
        lines += [*(in_columns(rows) if rows else []), *([said] if said else [])]
    lines += filter(None, (report["warning"],))
    run = Path(report["model"]).parent.as_posix()
    return [*lines, f"report: {run}/report.html", f"experts: {run}/experts", f"model: {report['model']}"]


def domains_closing_lines(report: dict[str, Any]) -> list[str]:
    """The same of a comparison of what can be done with several domains."""
    from denizen.reports.domains import domains_headline, domains_lines, domains_warnings

    lines = [domains_headline(report)]
    for rows, said in domains_lines(report):
        lines += [*(in_columns(rows) if rows else []), *([said] if said else [])]
    lines += domains_warnings(report)
    run = Path(report["retriever"]).parent.as_posix()
    searched = f'retriever: {report["retriever"]} (denizen search {run} "a question")'
    return [*lines, f"report: {run}/report.html", f"experts: {run}/experts", searched]


def language_closing_lines(report: dict[str, Any]) -> list[str]:
    """The same of a run of language models."""
    from denizen.reports import language as of
    from denizen.reports.language_experts import experts_lines

    lines = [of.language_headline(report), *in_columns(of.model_lines(report)), *in_columns(of.pair_lines(report))]
    lines.append(of.measured_on(report))
    if report["experts"]:
        for found in experts_lines(report["experts"]):
            lines += [found] if isinstance(found, str) else in_columns(found)
    lines += report["warnings"]
    return [*lines, f"report: {Path(report['model']).parent.as_posix()}/report.html", f"model: {report['model']}"]


def in_columns(rows: list[list[str]]) -> list[str]:
    """Rows of cells as lines; the first column is set left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
