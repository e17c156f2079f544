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
    return lines
