"""Which rows share a training batch: similar ones, also of one domain alone, or those of similar length; seeded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler

# batches of similar lengths are drawn from this many at a time: enough to save the padding, few enough to mix
_BATCHES_IN_A_POOL = 32

_Lengths = np.ndarray[Any, np.dtype[np.int64]]
_Vectors = np.ndarray[Any, np.dtype[np.float32]]


class EpochBatches(DefaultBatchSampler):
    """All rows once an epoch, in batches that `make` draws with a generator seeded by (seed, epoch)."""

    def __init__(
        self, dataset: Dataset, batch_size: int, seed: int, make: Callable[[np.random.Generator], list[list[int]]]
    ) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=False, seed=seed)
        self.rows = len(dataset)
        self.make = make

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.make(np.random.default_rng([self.seed, self.epoch]))

    def __len__(self) -> int:
        return math.ceil(self.rows / self.batch_size)


def length_batches(lengths: _Lengths, batch_size: int, random: np.random.Generator) -> list[list[int]]:
    """Batches of rows of similar length: padding is a third of the tokens of batches drawn at random.

    Rows are shuffled, cut into pools of 32 batches, sorted by length within a pool, and cut into batches; the
    batches are shuffled; the last one may have fewer rows.
    """
    order = random.permutation(len(lengths))
    pool = batch_size * _BATCHES_IN_A_POOL
    batches: list[list[int]] = []
    for begin in range(0, len(order), pool):
        rows = order[begin : begin + pool]
        batches += _cut(rows[np.argsort(lengths[rows], kind="stable")], batch_size)
    return _shuffled(batches, random)


def similar_batches(vectors: _Vectors, batch_size: int, random: np.random.Generator) -> list[list[int]]:
    """Batches of similar queries, so that the other queries' documents are hard negatives that cost nothing.

    A random projection tree: the rows are halved along the direction between a random row and the one farthest from
    it, until each part is one batch (the idea of topic-aware sampling, Hofstaetter et al. 2021, without its fixed
    clusters: each epoch draws other directions, so rows meet other rows). The vectors are the queries' embeddings,
    shape (rows, dim); the last batch may have fewer rows.
    """
    batches: list[list[int]] = []
    parts = [random.permutation(len(vectors))]
    while parts:
        rows = parts.pop()
        if len(rows) <= batch_size:
            batches.append(rows.tolist())
            continue
        far = vectors[rows[np.argmin(vectors[rows] @ vectors[rows[0]])]]
        rows = rows[np.argsort(vectors[rows] @ (far - vectors[rows[0]]), kind="stable")]
        half = math.ceil(len(rows) / batch_size) // 2 * batch_size
        parts += [rows[half:], rows[:half]]
    return _shuffled(batches, random)


def domain_batches(
    vectors: _Vectors, domains: Sequence[str], batch_size: int, random: np.random.Generator
) -> list[list[int]]:
    """Batches of similar queries of one domain, so that no in-batch negative is told apart by its domain alone.

    What does not fill a batch of its domain shares the last ones with what is left of others: there are as many batches
    as of any other kind.

    Args:
        vectors: The queries' embeddings, shape (rows, dim).
        domains: Of each row.
        batch_size: Rows of a batch.
        random: What draws.
    """
    batches, left = list[list[int]](), list[int]()
    of = np.asarray(domains)
    for name in sorted(set(domains)):
        rows = np.flatnonzero(of == name)
        kept = rows[random.permutation(len(rows))]
        kept, rest = np.split(kept, [len(rows) // batch_size * batch_size])
        batches += (
            [kept[batch].tolist() for batch in similar_batches(vectors[kept], batch_size, random)] if len(kept) else []
        )
        left += rest.tolist()
    return _shuffled([*batches, *_cut(np.asarray(left, dtype=np.int64), batch_size)], random)


def _cut(rows: np.ndarray[Any, Any], batch_size: int) -> list[list[int]]:
    return [rows[at : at + batch_size].tolist() for at in range(0, len(rows), batch_size)]


def _shuffled(batches: list[list[int]], random: np.random.Generator) -> list[list[int]]:
    return [batches[at] for at in random.permutation(len(batches)).tolist()]
