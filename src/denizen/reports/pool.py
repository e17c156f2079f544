"""What `denizen pool` found, as people read it."""

from __future__ import annotations

from typing import Any

from denizen.reports.results import change


def pool_lines(found: dict[str, Any]) -> list[str]:
    """The contents of pool.json."""
    lines = [f"graded by {found['judge']}, {found['queries']} fresh queries on held-out documents"]
    for title, note in (("random", ""), ("disagreeing", "; optimistic")):
        if title in found:
            part = found[title]
            failed = f"; {part['not_wholly_graded']} failed" if part["not_wholly_graded"] else ""
            lines.append(f"{title} (query, document) pairs: {part['pairs']} graded{note}{failed}; {part['ended']}")
            lines += [
                f"  {measure:<6} {value['mean']:.3f} +- {value['standard_error']:.3f}  {name}"
                + (f"  {change(apart)}" if (apart := part["differences"][measure].get(name)) else "")
                for measure, of_model in part["means"].items()
                for name, value in of_model.items()
            ]
            lines += _by_domain(part["by_domain"])
    return lines


def _by_domain(found: dict[str, Any]) -> list[str]:
    """A line a domain and measure: how many pairs, the base, and each other model with its difference."""
    width = max(map(len, found), default=0)
    lines = []
    for domain, part in found.items():
        for measure, of_model in part["means"].items():
            base, *others = of_model
            changes = {name: change(part["differences"][measure][name], enough=part["enough"]) for name in others}
            lines += [
                f"  {domain:<{width}}  {part['pairs']:>5} pairs  {measure:<6} {of_model[base]['mean']:.3f} -> "
                f"{of_model[name]['mean']:.3f}  {name}  {told}"
                for name, told in changes.items()
            ]
    return lines
