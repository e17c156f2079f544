"""Embeddings on disk, found by what made them: the model's files, the backend, the prompt and the text.

A store is a folder with one part for each encoder (a digest of its weights, tokenizer, settings and arithmetic). A
part holds two files that only grow: `vectors.f32`, and `keys.bin` with the SHA-256 of prompt and text of each vector. A
key is written after its vector, so a vector without a key is the rest of an interrupted write and is overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from denizen.engine.files import locked

_KEY_BYTES = 32
Vectors = np.ndarray[Any, np.dtype[np.float32]]
_Rows = np.ndarray[Any, np.dtype[np.int64]]


class StoredVectors:
    """Rows of a memory-mapped file in the order of the texts that were asked for; a slice is read when it is taken."""

    def __init__(self, vectors: Vectors, rows: _Rows) -> None:
        self._vectors = vectors
        self._rows = rows

    @property
    def shape(self) -> tuple[int, int]:
        """Texts and dimensions."""
        return len(self._rows), self._vectors.shape[1]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, part: slice) -> Vectors:
        return np.asarray(self._vectors[self._rows[part]])

    def take(self, rows: Sequence[int]) -> StoredVectors:
        """Some of the rows, without reading them."""
        return StoredVectors(self._vectors, self._rows[np.asarray(rows, dtype=np.int64)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Vectors:
        return self[:] if dtype is None else self[:].astype(dtype)


class StorePart:
    """The embeddings of one encoder.

    Args:
        folder: The part's folder; made when something is added.
        dim: Dimensions of a vector.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder = folder
        self.dim = dim
        self._keys = np.zeros((0, 4), dtype=np.uint64)
        self._order = np.zeros(0, dtype=np.int64)

    def find(self, keys: np.ndarray[Any, np.dtype[np.uint64]]) -> _Rows:
        """The row of each key, -1 where there is none.

        Args:
            keys: Shape (texts, 4), as from `text_keys`.
        """
        self._refresh()
        rows = np.full(len(keys), -1, dtype=np.int64)
        if not len(self._keys):
            return rows
        first = self._keys[self._order, 0]
        # the first 8 of 32 bytes bring two keys together by chance once in 10^19; the rest is compared all the same
        for offset in range(_chain(first)):
            place = np.searchsorted(first, keys[:, 0]) + offset
            inside = place < len(first)
            row = self._order[np.where(inside, place, 0)]
            same = inside & (self._keys[row] == keys).all(axis=1)
            rows[same] = row[same]
        return rows

    def add(self, keys: np.ndarray[Any, np.dtype[np.uint64]], vectors: Vectors) -> None:
        """Appends vectors with their keys; after a return they are on disk."""
        with locked(self.folder):
            count = self._count()
            for name, rows in (("vectors.f32", np.asarray(vectors, dtype=np.float32)), ("keys.bin", keys)):
                with (self.folder / name).open("ab") as file:
                    # what an interrupted write left behind
                    file.truncate(count * rows.shape[1] * rows.itemsize)
                    file.write(rows.tobytes())
                    file.flush()
                    os.fsync(file.fileno())

    def vectors(self, rows: _Rows) -> StoredVectors:
        """The vectors of rows that `find` has found."""
        path = self.folder / "vectors.f32"
        if not len(rows):
            return StoredVectors(np.zeros((0, self.dim), dtype=np.float32), rows)
        shape = (path.stat().st_size // (4 * self.dim), self.dim)
        return StoredVectors(np.memmap(path, dtype=np.float32, mode="r", shape=shape), rows)

    def _refresh(self) -> None:
        count = self._count()
        if count > len(self._keys):
            raw = np.fromfile(self.folder / "keys.bin", dtype=np.uint64, count=4 * count)
            self._keys = raw.reshape(count, 4)
            self._order = np.argsort(self._keys[:, 0], kind="stable")

    def _count(self) -> int:
        """How many vectors have both, themselves and their key; a folder may be a torn copy of another."""
        sizes = {self.folder / "keys.bin": _KEY_BYTES, self.folder / "vectors.f32": 4 * self.dim}
        return min(path.stat().st_size // size if path.is_file() else 0 for path, size in sizes.items())


def take_in(store: Path, embedded: Path, owner: str) -> None:
    """Copies what a model has embedded, a folder of another store, into a store that has nothing of it.

    Args:
        store: The store.
        embedded: The folder.
        owner: A name that no other process uses at once.
    """
    # under a name of its own first: another run may put the same there, on another file system
    partial = store / f".{embedded.name}.{owner}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(embedded, partial)
    with contextlib.suppress(OSError):
        partial.rename(store / embedded.name)
    shutil.rmtree(partial, ignore_errors=True)


def text_keys(prompt: str, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """SHA-256 of prompt and text, as four numbers a text; shape (texts, 4)."""
    # the length keeps prompt "a" with text "b" apart from no prompt with "ab" in a model that treats them differently
    start = hashlib.sha256(f"{len(prompt)}:{prompt}".encode("utf-8", "surrogatepass"))
    digests = bytearray()
    for text in texts:
        digest = start.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        digests += digest.digest()
    return np.frombuffer(bytes(digests), dtype=np.uint64).reshape(-1, 4)


def _chain(ordered: np.ndarray[Any, np.dtype[np.uint64]]) -> int:
    """The longest stretch of equal numbers in an ordered array."""
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return int(np.diff(np.append(starts, len(ordered))).max())
