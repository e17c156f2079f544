"""What an export was measured to be worth, as lines of a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Rows = list[list[str]]
# dev queries, below which a threshold is a guess
_FEW = 50


def export_lines(report: Mapping[str, Any]) -> Rows:
    """Measures, size and time beside the model as it was evaluated."""
    rows = [["", "as evaluated", report["kind"], "difference"]]
    for name in ("nDCG@10", "MRR@5") if "means" in report else ():
        cells = [f"{report['means'][system][name]:.4f}" for system in ("evaluated", "export")]
        change = report["difference"][name]
        rows.append([name, *cells, f"{change['value']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}]"])
    sizes = report["bytes"]
    share = f"{sizes['export'] / max(1, sizes['evaluated']) - 1:+.0%}"
    rows.append(["MB", *(f"{sizes[system] / 1e6:,.2f}" for system in ("evaluated", "export")), share])
    if "milliseconds" in report:
        rows.append(["ms a query", *(f"{report['milliseconds'][name]:.2f}" for name in ("evaluated", "export")), ""])
    return rows


def export_notes(report: Mapping[str, Any]) -> list[str]:
    """What was measured on, or that nothing was."""
    if "means" not in report:
        cosines = report["cosines"]
        return [
            f"no queries, so nothing was measured; give a run, or --data. Cosine of {cosines['texts']} vectors to the "
            f"model's: {cosines['least']:.4f} at least, {cosines['mean']:.4f} on average"
        ]
    grouped = report["grouped"]
    over = "" if grouped["by"] == "query" else f", drawn by {grouped['by']} ({grouped['groups']:,})"
    notes = [f"{report['queries']:,} test queries; in brackets 95 % intervals: bootstrap{over}"]
    if report["forced"]:
        notes.append(f"taken by --force: it loses more than {report['limit']:g} of nDCG@10")
    return notes


def language_lines(report: Mapping[str, Any]) -> Rows:
    """How probable a token of the same text is before and after, by expert."""
    text = "held-out text" if report["held_out"] else "made-up text"
    rows = [[f"log-likelihood of a token, {text}", "as evaluated", report["kind"], "difference"]]
    for name, of in report["log_likelihood"].items():
        rows.append([name, f"{of['evaluated']:.4f}", f"{of['export']:.4f}", f"{round(of['difference'], 4) + 0.0:+.4f}"])
    return rows


def router_lines(report: Mapping[str, Any]) -> Rows:
    """Thresholds of a semantic router, and how often they are wrong."""
    rows = [["domain", "examples", "threshold", "lets through, of its own", "of others"]]
    for name, of in report["domains"].items():
        rates = [_rate(of[kind]) for kind in ("own", "others")]
        rows.append([name, str(len(of["examples"])), f"{of['threshold']:.4f}", *rates])
    return rows


def _rate(of: Mapping[str, Any] | None) -> str:
    if of is None:
        return "not known"
    return f"{of['value']:.1%} [{of['low']:.1%}, {of['high']:.1%}] of {of['queries']:,}"


def router_notes(report: Mapping[str, Any]) -> list[str]:
    """What is not to be known, and where queries go."""
    right, wrong, none = (report["outcomes"][name] for name in ("right", "wrong", "none"))
    serve = f"denizen serve {report['name']}={report['serves']} --input-type query"
    notes = [f"thresholds by dev, shares on test; serve it: {serve}"]
    if right and len(report["domains"]) > 1:
        notes.append(
            f"of {right['queries']:,} test queries {right['value']:.1%} go to their domain, {wrong['value']:.1%} to "
            f"another one, {none['value']:.1%} to none"
        )
    for name, of in report["domains"].items():
        own, others = of["chosen_on"]
        if not others:
            notes.append(f"{name}: no other queries, so the threshold lets 95 % of its own through; give --data")
        elif min(own, others) < _FEW:
            notes.append(
                f"{name}: {own} own and {others} other dev queries say little of a threshold; {_FEW} or more do"
            )
    return notes
