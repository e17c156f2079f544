"""Vectors as bits: the sign of each number, eight a byte, a thirty-second of what 32-bit floats take.

A query finds by the Hamming distance of its own bits, and what it finds is put in order by the product of its floats
with the signs of the passage (Yamada et al. 2021, https://arxiv.org/abs/2106.00882, section 3).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from denizen.engine.errors import InputError
from denizen.exports.rows import Search, searching, write_tables
from denizen.retrievers.store import Vectors

if TYPE_CHECKING:
    from denizen.exports.subject import Subject

BITS = "bits.npy"
# rows whose order is decided again, for each that is wanted: as sentence-transformers has it
RESCORED = 4


def write(subject: Subject, folder: Path) -> None:
    """Writes the bits, shape (rows, dim / 8), the first number's in the highest place of the first byte.

    Raises:
        InputError: When the number of dimensions is no multiple of 8.
    """
    if subject.dim % 8:
        raise InputError(f"vectors of {subject.dim} dimensions fill no whole bytes; export dimensions by eights")
    write_tables(folder, subject.passages, subject.rows)
    shape = (len(subject.rows.owners), subject.dim // 8)
    kept = np.lib.format.open_memmap(folder / BITS, "w+", np.dtype(np.uint8), shape)
    for begin, vectors in subject.rows.blocks():
        kept[begin : begin + len(vectors)] = np.packbits(vectors > 0, axis=1)
    kept.flush()


@contextlib.contextmanager
def opened(subject: Subject, folder: Path) -> Iterator[Search]:
    """Searches what was written."""
    bits = np.load(folder / BITS, allow_pickle=False)

    def nearest(query: Vectors, wanted: int) -> Sequence[tuple[int, float]]:
        distances = np.bitwise_count(bits ^ np.packbits(query > 0)).sum(axis=1, dtype=np.int32)
        rows = np.argsort(distances, kind="stable")[: RESCORED * wanted]
        signs = 2 * np.unpackbits(bits[rows], axis=1).astype(np.float32) - 1
        scores = signs @ query
        order = np.argsort(-scores, kind="stable")[:wanted]
        return list(zip(rows[order].tolist(), scores[order].tolist(), strict=True))

    yield searching(subject.embed, nearest, subject.rows.names)
