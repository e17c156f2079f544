"""Qdrant: a point for each vector, as one Parquet file that a few lines of its client load.

The client's own folder of a database in its process is written with pickle, which runs what it reads, and no server
takes it; this file is neither.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from denizen.data.tables import rows_table
from denizen.exports.rows import Search
from denizen.exports.vector_table import vector_batches, vector_schema

if TYPE_CHECKING:
    from denizen.exports.subject import Subject

POINTS = "points.parquet"
# points that the client is given at a time
_BATCH = 1024


def write(subject: Subject, folder: Path) -> None:
    """Writes the points: the id is the number of the row, all but the vector is payload."""
    folder.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(folder / POINTS, vector_schema(subject.dim), compression="zstd") as writer:
        for batch in vector_batches(subject.passages, subject.rows):
            writer.write_batch(batch)


def collection(subject: Subject) -> str:
    """What the collection is called."""
    return re.sub(r"[^\w-]", "_", subject.name)


def load_points(client: Any, name: str, path: Path, dim: int) -> None:
    """Makes a collection of a file of points.

    Args:
        client: A `QdrantClient`, of a server or in this process.
        name: The collection; it must not be there.
        path: The file.
        dim: Numbers of a vector.
    """
    from qdrant_client import models

    client.create_collection(name, vectors_config=models.VectorParams(size=dim, distance=models.Distance.DOT))
    for batch in pq.ParquetFile(path).iter_batches(_BATCH):
        rows = batch.to_pylist()
        points = [models.PointStruct(id=row.pop("row"), vector=row.pop("vector"), payload=row) for row in rows]
        client.upsert(name, points)


@contextlib.contextmanager
def opened(subject: Subject, folder: Path) -> Iterator[Search]:
    """Searches what was written, in a database of this process."""
    from qdrant_client import QdrantClient

    client, name = QdrantClient(":memory:"), collection(subject)
    load_points(client, name, folder / POINTS, subject.dim)

    def search(queries: Mapping[str, str], depth: int) -> pa.Table:
        found = []
        for query_id, vector in zip(queries, subject.embed(list(queries.values())), strict=True):
            answer = client.query_points_groups(
                name, group_by="doc_id", query=vector.tolist(), limit=depth, group_size=1, with_payload=False
            )
            best = [(str(group.id), float(group.hits[0].score)) for group in answer.groups]
            found += [(query_id, *each) for each in sorted(best, key=lambda each: (-each[1], each[0]))]
        return rows_table("run", found)

    try:
        yield search
    finally:
        client.close()
