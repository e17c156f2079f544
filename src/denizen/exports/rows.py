"""The vectors of passages as a store keeps them: one or several rows a passage, of which the best one counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from denizen.data.tables import rows_table, table, texts, write_table
from denizen.retrievers.retriever import Index, Retriever
from denizen.retrievers.store import Vectors
from denizen.retrievers.windows import Windowed

if TYPE_CHECKING:
    from denizen.retrievers.cpu.exact_top_k import Rows

# query id to text, and how many passages each gets, to a `run`
Search = Callable[[Mapping[str, str], int], pa.Table]
# of one query and a number of rows: as many rows with their scores, best first
Nearest = Callable[[Vectors, int], Sequence[tuple[int, float]]]

PASSAGES = "passages.parquet"
ROWS = "rows.parquet"
# what of a passage goes into a store
COLUMNS = ("doc_id", "title", "text", "domain", "source", "parent_id", "start", "end")
# vectors that are in memory at a time
_BLOCK = 1 << 14


@dataclass(frozen=True)
class PassageRows:
    """Vectors and the passages that they are of.

    Attributes:
        doc_ids: One a passage, ascending.
        owners: Shape (rows,), ascending: the number of each row's passage.
        starts: Shape (rows,): where in its passage's title and text each begins, in characters.
        ends: Shape (rows,): where each ends.
        vectors: Shape (rows, dim), read by slices.
    """

    doc_ids: list[str]
    owners: np.ndarray[Any, np.dtype[np.int64]]
    starts: np.ndarray[Any, np.dtype[np.int64]]
    ends: np.ndarray[Any, np.dtype[np.int64]]
    vectors: Rows

    @property
    def names(self) -> list[str]:
        """The passage of each row."""
        return [self.doc_ids[at] for at in self.owners.tolist()]

    @property
    def a_passage(self) -> int:
        """How many rows a passage has on average, rounded up."""
        return max(1, -(-len(self.owners) // max(1, len(self.doc_ids))))

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """The vectors in blocks, each with the number of its first row."""
        for begin in range(0, len(self.owners), _BLOCK):
            yield begin, np.ascontiguousarray(self.vectors[begin : begin + _BLOCK], dtype=np.float32)


def rows_of(corpus: pa.Table, retriever: Retriever, index: Index) -> PassageRows:
    """The rows of an index of a bi-encoder, by whole passages or by windows."""
    if isinstance(retriever, Windowed):
        return PassageRows(index.doc_ids, index.owners, index.starts, index.ends, index.rows)
    ends = np.asarray([len(text) for text in texts(corpus)], dtype=np.int64)
    return PassageRows(index.doc_ids, np.arange(len(ends)), np.zeros_like(ends), ends, index.vectors)


def write_tables(folder: Path, corpus: pa.Table, rows: PassageRows) -> None:
    """Writes the passages, and of each vector, in their order, the passage and the place in it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / PASSAGES, corpus.select(list(COLUMNS)))
    columns = {"doc_id": rows.names, "start": rows.starts.tolist(), "end": rows.ends.tolist()}
    write_table(folder / ROWS, table("windows", columns))


def searching(embed: Callable[[Sequence[str]], Vectors], nearest: Nearest, owners: Sequence[str]) -> Search:
    """A search for passages by a search for rows.

    Args:
        embed: What makes vectors of queries.
        nearest: What finds rows.
        owners: The passage of each row.
    """
    passages = len(set(owners))

    def search(queries: Mapping[str, str], depth: int) -> pa.Table:
        vectors = embed(list(queries.values()))
        return rows_table(
            "run",
            (
                (query_id, doc_id, score)
                for query_id, vector in zip(queries, vectors, strict=True)
                for doc_id, score in best_passages(partial(nearest, vector), owners, passages, depth)
            ),
        )

    return search


def best_passages(
    nearest: Callable[[int], Sequence[tuple[int, float]]], owners: Sequence[str], passages: int, depth: int
) -> list[tuple[str, float]]:
    """The passages with the best rows: so many rows are asked for that enough passages are among them.

    Args:
        nearest: A number of rows to as many, best first; to fewer where there are no more.
        owners: The passage of each row.
        passages: How many there are.
        depth: How many are wanted.

    Returns:
        Passages with scores, by (-score, doc_id).
    """
    depth, total = min(depth, passages), len(owners)
    wanted = min(total, -(-2 * depth * total // max(1, passages)))
    while True:
        found = nearest(wanted)
        best: dict[str, float] = {}
        for row, score in found:
            best[owners[row]] = max(score, best.get(owners[row], -np.inf))
        # who has asked for all, or was given less than it has asked for, has seen what there is
        if len(best) >= depth or wanted == total or len(found) < wanted:
            return sorted(best.items(), key=lambda each: (-each[1], each[0]))[:depth]
        wanted = min(total, 2 * wanted)
