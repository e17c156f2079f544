"""faiss: all vectors in one index that is searched exactly, by inner product."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from denizen.exports.rows import Search, searching, write_tables
from denizen.retrievers.store import Vectors

if TYPE_CHECKING:
    from denizen.exports.subject import Subject

INDEX = "index.faiss"


def write(subject: Subject, folder: Path) -> None:
    """Writes the index, and of each of its vectors the passage."""
    import faiss

    write_tables(folder, subject.passages, subject.rows)
    index = faiss.IndexFlatIP(subject.dim)
    for _, vectors in subject.rows.blocks():
        index.add(vectors)
    faiss.write_index(index, str(folder / INDEX))


@contextlib.contextmanager
def opened(subject: Subject, folder: Path) -> Iterator[Search]:
    """Searches what was written."""
    import faiss

    index = faiss.read_index(str(folder / INDEX))

    def nearest(query: Vectors, wanted: int) -> Sequence[tuple[int, float]]:
        scores, rows = index.search(query[None, :], wanted)
        return list(zip(rows[0].tolist(), scores[0].tolist(), strict=True))

    yield searching(subject.embed, nearest, subject.rows.names)
