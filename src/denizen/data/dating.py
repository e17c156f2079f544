"""The day of each document or query, for splits by time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

import pyarrow as pa

from denizen.data.formats.dates import COLUMNS, day_of
from denizen.data.formats.rows import BadRow, BadRows
from denizen.data.formats.source import Source
from denizen.data.tables import each, relevant
from denizen.engine.errors import InputError


def days_of_documents(corpus: pa.Table, source: Source, skip: bool) -> tuple[dict[str, date], list[BadRow]]:
    """Document to its day, and the documents that have none.

    Args:
        corpus: Its passages.
        source: What says its dates.
        skip: Whether those without a day are only counted.

    Raises:
        InputError: When documents have no day and may not be skipped, or none has one.
    """
    names = corpus["parent_id"].unique().to_pylist()
    return _days({name: _own(source.document_dates, name) for name in names}, "document", skip)


def days_of_queries(
    queries: pa.Table, qrels: pa.Table, corpus: pa.Table, source: Source, skip: bool
) -> tuple[dict[str, date], list[BadRow]]:
    """Query to its day, and the queries that have none.

    A query that says none has that of its newest relevant document, before which nobody could have answered it. Errors
    are those of `days_of_documents`.
    """
    home, known = dict(each(corpus, "doc_id", "parent_id")), relevant(qrels)
    said: dict[str, list[str]] = {}
    for name in queries["query_id"].to_pylist():
        documents = sorted({home[doc_id] for doc_id in known.get(name, ())})
        of_documents = [date for document in documents for date in _own(source.document_dates, document)]
        said[name] = _own(source.query_dates, name) or of_documents
    return _days(said, "query", skip)


def _own(dates: Mapping[str, str], name: str) -> list[str]:
    return [dates[name]] if name in dates else []


def _days(said: Mapping[str, Collection[str]], what: str, skip: bool) -> tuple[dict[str, date], list[BadRow]]:
    found: dict[str, date] = {}
    bad = BadRows(skip)
    for name, texts in said.items():
        days = {text: day_of(text) for text in texts}
        unread = [text for text, day in days.items() if day is None]
        if unread:
            bad.add(f"{what} {name}", f"{unread[0]!r} is no date; write it as 2026-11-29", unread[0])
        elif not days:
            bad.add(f"{what} {name}", "has no date to split by time (--split document needs none)")
        else:
            found[name] = max(day for day in days.values() if day is not None)
    if not any(said.values()):
        raise InputError(
            f"none of {len(said):,} {what} row(s) says a date, which a split by time needs; it is looked for in the "
            f"columns, or the metadata, {', '.join(COLUMNS)}: add one, or split by document (--split document)"
        )
    bad.check()
    return found, bad.rows
