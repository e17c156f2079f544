"""What `thresholds` has measured, as lines of a terminal and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denizen.engine.files import write_text
from denizen.reports import charts
from denizen.reports.rendering import render

Blocks = list[tuple[str, Any]]
# of one domain, beyond which an interval says something
_FEW = 50
_RIGHT_AND_WRONG = (
    "A threshold lets through what is at least as similar. Right: the most similar relevant passage of a query; wrong: "
    "its most similar other one. What is relevant and has no label counts as wrong."
)
_RATES = (("true_positive", "right"), ("false_positive", "wrong"))


def mapping_lines(of: Mapping[str, Any]) -> list[list[str]]:
    """Old thresholds and what replaces them; thresholds that let all through or nothing are left out."""
    rows = [["old threshold", "right", "wrong", "new, as few wrong", "new, as many right"]]
    for row in of["mapping"]:
        equal = row["false_positive"], row["true_positive"]
        if any(equal):
            shares = [f"{row['rates'][kind]:.1%}" for kind, _ in _RATES]
            rows.append([f"{row['threshold']:.2f}", *shares, *(_interval(one) for one in equal)])
    return rows


def at_lines(of: Mapping[str, Any]) -> list[list[str]]:
    """The thresholds at which few queries let something wrong through."""
    rows = [["wrong at most", "base", "right", "adapted", "right"]]
    for base, model in zip(of["at"]["base"], of["at"]["model"], strict=True):
        cells = [cell for row in (base, model) for cell in (f"{row['threshold']:.3f}", f"{row['true_positive']:.1%}")]
        rows.append([f"{base['wanted']:.0%}", *cells])
    return rows


def few_lines(report: Mapping[str, Any]) -> list[str]:
    """What is not to be known of domains with few queries."""
    return [
        f"{name} has {of['queries']} queries: even if none of them lets something wrong through, up to "
        f"{_unseen(of['queries']):.0%} of others may. Give {_FEW} or more."
        for name, of in report["domains"].items()
        if of["queries"] < _FEW
    ]


def thresholds_page(report: Mapping[str, Any], out: Path) -> None:
    """Writes the page."""
    domains = report["domains"]
    sections = [(f"domain-{at}", name, name, _domain(of)) for at, (name, of) in enumerate(domains.items())]
    page = render(
        "report.html.jinja",
        title="Thresholds of similarity under a new model",
        headline=threshold_headline(report),
        warnings=few_lines(report),
        sections=sections,
    )
    write_text(out, page)


def threshold_headline(report: Mapping[str, Any]) -> str:
    """What happens to somebody who keeps the old thresholds."""
    of = report["domains"].get("all") or next(iter(report["domains"].values()))
    base, model = (of["at"][system][1] for system in ("base", "model"))
    return (
        f"At most 5 % of queries let something wrong through from {base['threshold']:.2f} on under the base, from "
        f"{model['threshold']:.2f} on under the adapted model; what is right is let through for "
        f"{base['true_positive']:.1%} and {model['true_positive']:.1%} of queries."
    )


def _domain(of: Mapping[str, Any]) -> Blocks:
    figures = []
    for kind, said in _RATES:
        series = [
            (called, css, [(row["threshold"], row[kind]["value"]) for row in of["rates"][system]])
            for system, called, css in (("base", "base", "base"), ("model", "adapted", "adapted"))
        ]
        alt = f"Share of queries that let something {said} through, by threshold, under the base and the adapted model"
        figures.append((f"Queries that let something {said} through", charts.curves(series, "threshold", alt)))
    rows = [["threshold", *(f"{called}, {said}" for called in ("base", "adapted") for _, said in _RATES)]]
    for base, model in zip(of["rates"]["base"], of["rates"]["model"], strict=True):
        cells = [_interval(row[kind]) for row in (base, model) for kind, _ in _RATES]
        rows.append([f"{base['threshold']:.2f}", *cells])
    return [
        ("charts", figures),
        ("p", _RIGHT_AND_WRONG),
        ("h3", "Which threshold replaces an old one"),
        ("table", mapping_lines(of)),
        ("faint", f"{of['queries']:,} queries. In brackets 95 % intervals: bootstrap, by document."),
        ("h3", "Thresholds for few wrong ones"),
        ("table", at_lines(of)),
        ("fold", ("Every threshold", [("table", rows)], "")),
    ]


def _interval(of: Mapping[str, float] | None) -> str:
    return f"{of['value']:.3f} [{of['low']:.3f}, {of['high']:.3f}]" if of else "-"


def _unseen(count: int) -> float:
    """The upper end of the Wilson interval of none in a number."""
    from scipy.stats import binomtest

    return float(binomtest(0, count).proportion_ci(0.95, method="wilson").high)
