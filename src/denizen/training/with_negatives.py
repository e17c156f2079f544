"""Examples with passages that were written as negatives beside those that were mined."""

from __future__ import annotations

import pyarrow as pa

from denizen.data.artifacts import Negatives
from denizen.data.tables import each

_ROW = ("query_id", "positive_id")


def with_negatives(
    examples: pa.Table, corpus: pa.Table, written: Negatives, *, triplets: bool
) -> tuple[pa.Table, pa.Table]:
    """Each example whose query and positive one was written for, with that as one more hard negative; their texts.

    Args:
        examples: An `examples` table.
        corpus: The `corpus` table that it is of.
        written: What was written.
        triplets: An example has one negative: what was written makes one more of its own.

    Returns:
        Both tables, with what was written.
    """
    rows, more = examples.to_pylist(), written.examples.table
    if triplets:
        trained = set(each(examples, *_ROW))
        rows += [row for row in more.to_pylist() if tuple(row[name] for name in _ROW) in trained]
    else:
        own = {(query_id, positive): ids for query_id, positive, ids in each(more, *_ROW, "negative_ids")}
        for row in rows:
            row["negative_ids"] = [*row["negative_ids"], *own.get((row["query_id"], row["positive_id"]), ())]
    texts = pa.concat_tables([corpus, written.corpus.table])
    return pa.Table.from_pylist(rows, schema=examples.schema), texts
