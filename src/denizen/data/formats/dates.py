"""Dates of rows and documents: which column holds one, and which day it says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from denizen.data.formats.rows import as_text

# in the order in which they are looked for: when something was made known says more than when it was written
COLUMNS = (
    *("filed", "filing_date", "date_filed", "filed_at", "published", "publication_date", "published_at"),
    *("date_published", "pubdate", "date", "datetime", "timestamp", "created", "created_at", "year"),
)
# a number of more digits than a day has, as in 20261129, is one of seconds, from here on of milliseconds
_MILLISECONDS = 10**11


def date_in(row: Mapping[str, Any]) -> str:
    """What a row says of its date, in a column of its own or in its `metadata`; empty where it says nothing."""
    return dated(row)[1]


def dated(row: Mapping[str, Any]) -> tuple[str, str]:
    """The column that says a row's date (`metadata`, where that does), and what it says; empty where none does."""
    more = row.get("metadata")
    if isinstance(more, str):
        try:
            more = json.loads(more)
        except (ValueError, RecursionError):
            more = None
    for home, values in (("", row), ("metadata", more if isinstance(more, dict) else {})):
        named = {re.sub(r"\W+", "_", str(name).strip().lower()): name for name in values}
        for name in (named[column] for column in COLUMNS if column in named):
            if text := (as_text(values[name]) or "").strip():
                return home or str(name), text
    return "", ""


def day_of(text: str) -> date | None:
    """The day that a date says, in UTC where it says a time zone; None where it cannot be told.

    Known are ISO 8601 (also 20261129, 2026-11 and 2026, which are the first day of theirs), the dates of mails and
    feeds, and seconds or milliseconds since 1970. In 01/02/2026 nobody knows which is the month.
    """
    try:
        if re.fullmatch(r"\d{4}", text):
            return date(int(text), 1, 1)
        if re.fullmatch(r"\d{4}-\d\d", text):
            return date.fromisoformat(f"{text}-01")
        if re.fullmatch(r"\d{9,16}(\.\d*)?", text):
            number = float(text)
            return datetime.fromtimestamp(number / 1000 if number >= _MILLISECONDS else number, UTC).date()
        found = parsedate_to_datetime(text) if re.search(r"[A-Za-z]{3} ", text) else datetime.fromisoformat(text)
        return (found.astimezone(UTC) if found.tzinfo else found).date()
    except (ValueError, OverflowError, OSError, TypeError):
        return None
