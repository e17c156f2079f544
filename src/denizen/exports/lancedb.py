"""LanceDB, embedded: a table with a row for each vector, searched exactly by inner product."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from denizen.exports.rows import Search, searching
from denizen.exports.vector_table import vector_batches, vector_schema
from denizen.retrievers.store import Vectors

if TYPE_CHECKING:
    from denizen.exports.subject import Subject

DATABASE = "lancedb"
TABLE = "passages"


def write(subject: Subject, folder: Path) -> None:
    """Writes a database with one table."""
    import lancedb

    database = lancedb.connect(folder / DATABASE)
    batches = vector_batches(subject.passages, subject.rows)
    database.create_table(TABLE, data=_reader(subject, batches))


def _reader(subject: Subject, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(vector_schema(subject.dim), batches)


@contextlib.contextmanager
def opened(subject: Subject, folder: Path) -> Iterator[Search]:
    """Searches what was written."""
    import lancedb

    table = lancedb.connect(folder / DATABASE).open_table(TABLE)

    def nearest(query: Vectors, wanted: int) -> Sequence[tuple[int, float]]:
        # what is asked for by a vector knows of distances; its general type does not
        asked: Any = table.search(query)
        found = asked.distance_type("dot").select(["row", "_distance"]).limit(wanted).to_arrow()
        # the distance is 1 - product
        scores = [1 - distance for distance in found["_distance"].to_pylist()]
        return list(zip(found["row"].to_pylist(), scores, strict=True))

    yield searching(subject.embed, nearest, subject.rows.names)
