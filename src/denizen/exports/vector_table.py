"""Vectors with their passages as rows of one table, as stores take them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from denizen.exports.rows import COLUMNS, PassageRows

# of the passage; where a row is a window, its own place has other names
_OWN = ("row", "row_start", "row_end", "vector")


def vector_schema(dim: int) -> pa.Schema:
    """The number of the row, the place that it is of, the vector, and the columns of the passage."""
    numbers = [pa.field(name, pa.int64(), nullable=False) for name in _OWN[:-1]]
    kinds = {name: pa.int32() if name in ("start", "end") else pa.string() for name in COLUMNS}
    vector = pa.field("vector", pa.list_(pa.float32(), dim), nullable=False)
    return pa.schema([*numbers, vector, *(pa.field(name, kind) for name, kind in kinds.items())])


def vector_batches(corpus: pa.Table, rows: PassageRows) -> Iterator[pa.RecordBatch]:
    """The rows in their order; what is said of a passage stands in each of its rows."""
    shown = corpus.select(list(COLUMNS)).combine_chunks()
    for begin, vectors in rows.blocks():
        part = slice(begin, begin + len(vectors))
        flat = pa.array(vectors.reshape(-1), pa.float32())
        own = [pa.array(range(begin, begin + len(vectors)), pa.int64())]
        own += [pa.array(numbers[part], pa.int64()) for numbers in (rows.starts, rows.ends)]
        own.append(pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
        of = shown.take(pa.array(rows.owners[part]))
        columns = [of[name].combine_chunks() for name in COLUMNS]
        yield pa.RecordBatch.from_arrays([*own, *columns], schema=vector_schema(vectors.shape[1]))
