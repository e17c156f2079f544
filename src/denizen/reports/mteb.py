"""What `denizen mteb` found, as people read it."""

from __future__ import annotations

from typing import Any


def mteb_table(found: dict[str, Any]) -> list[list[str]]:
    """The contents of its metrics.json as rows of a table: tasks, and averages with how many of theirs were run."""
    rows = [["task", "nDCG@10", "tasks"]]
    rows += [[name, f"{of['nDCG@10']:.4f}", ""] for name, of in found["tasks"].items()]
    rows += [[name, what, ""] for what in ("missing", "failed") for name in found[what]]
    for group, of in found["averages"].items():
        score = "-" if of["nDCG@10"] is None else f"{of['nDCG@10']:.4f}"
        rows.append([f"average, {group}", score, f"{of['tasks']} of {of['of']}"])
    return rows


def mteb_reasons(found: dict[str, Any]) -> list[str]:
    """Why tasks could not be run, a line each."""
    return [f"{what}: {name}: {why}" for what in ("missing", "failed") for name, why in found[what].items()]
