"""Rows of tasks, and answers to them, that are not used: each with the reason, counted and shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from denizen.data.tables import rows_table

# of what was dropped for one reason
_SHOWN, _SHOWN_CHARS = 3, 200


@dataclass(frozen=True)
class Dropped:
    """A row that is not used.

    Attributes:
        text: What it asks, or would have asked.
        split: Its side.
        document: What it is about.
        origin: As of a `TaskRow`.
        reason: Why.
    """

    text: str
    split: str
    document: str | None
    origin: str
    reason: str


def told_of(dropped: Sequence[Dropped]) -> dict[str, Any]:
    """How many were dropped for which reason, with some of them."""
    samples: dict[str, list[str]] = {}
    for row in dropped:
        samples.setdefault(row.reason, []).append(row.text[:_SHOWN_CHARS])
    return {
        "dropped": {reason: len(texts) for reason, texts in sorted(samples.items())},
        "samples": {reason: texts[:_SHOWN] for reason, texts in sorted(samples.items())},
    }


def dropped_table(dropped: Sequence[Dropped]) -> pa.Table:
    """A `dropped_queries` table."""
    rows = ((row.text, None, row.split, row.document, row.origin, row.reason) for row in dropped)
    return rows_table("dropped_queries", rows)
