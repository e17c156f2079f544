"""The highest inner products of queries with a corpus, exactly, at the speed of rounded products.

A block of scores is first computed from rounded vectors (bfloat16 where the processor multiplies it natively) and
serves only to rule passages out; what may still be among the best gets its score from the exact vectors. For a query
q = q~ + dq and a passage d = d~ + dd, with ~ the rounded vectors,

    <q, d> - <q~, d~> = <dq, d> + <q~, dd>,   at most   |dq| |d| + |q~| |dd|   (Cauchy-Schwarz),

plus the rounding of two sums of `dim` products (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
A passage whose rounded score is further than that below the depth-th best score of its query cannot be among the
best. The norms are measured, not assumed. Exact scores are computed pair by pair, so that they depend on nothing but
the two vectors: equal passages have equal scores whatever the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from denizen.engine.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, dtype

_Array = np.ndarray[Any, np.dtype[np.float32]]
_Positions = np.ndarray[Any, np.dtype[np.int64]]

# below this many queries rounding the corpus costs more than the faster products save (100,000 passages of 384 numbers
# on one core with AVX512-BF16: 8 queries 52 against 44 ms, 32 queries 64 against 68, 64 queries 75 against 106)
_QUERIES_WORTH_ROUNDING = 64
# scores that one comparison stands for when a block is looked through: the maximum of so many is taken first
_GROUP = 8
# above this share of groups with a possible passage, products of exact vectors cost less than scoring pair by pair
_CROWDED = 0.75
# groups that are opened at once (some 20 MiB), and pairs that are scored at once (what a core's cache takes)
_GROUPS_AT_ONCE = 1 << 15
_PAIRS_AT_ONCE = 512
# merge when there are so many new passages, as a share of the wanted ones
_WORTH_MERGING = 0.25
# positions are counted from here backwards in a key; no passage is a score of -inf
_LAST = (1 << 32) - 1
_NOTHING = np.int64(-0x7F800001 << 32)
# rows that are rounded at once, so that what is in between stays in the cache of a core
_ROWS_AT_ONCE = 512


class Rows(Protocol):
    """Vectors that are read by contiguous slices only: an array, a memory-mapped one, or a view of a store."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, dim)."""

    def __len__(self) -> int:
        """How many rows."""

    def __getitem__(self, rows: slice, /) -> _Array:
        """The rows of a contiguous slice."""


def exact_top_k(
    queries: Rows,
    corpus: Rows,
    depth: int,
    shape: tuple[int, int, int],
    progress: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[_Array, _Positions]]:
    """The `depth` highest inner products of every query, by (-score, position).

    Args:
        queries: Shape (queries, dim).
        corpus: Shape (passages, dim); read block by block, once for every `shape[0]` queries.
        depth: At least 1 and at most the number of passages.
        shape: Queries that share one reading of the corpus, queries of one block of scores, passages of one block.
        progress: Called with the number of queries finished; a part of the corpus counts as its share of the queries.

    Yields:
        Scores and positions of the next queries, each of shape (some queries, depth).

    Raises:
        InputError: When a vector is not finite.
    """
    import torch

    from denizen.retrievers.backends import processor_has_bf16

    sharing, query_rows, corpus_rows = shape
    # the products are computed on the processor also where there is a GPU
    rounded = len(queries) >= _QUERIES_WORTH_ROUNDING and processor_has_bf16()
    kind = torch.bfloat16 if rounded else torch.float32
    cells = torch.empty(min(query_rows, len(queries)) * min(corpus_rows, len(corpus)))
    for begin in range(0, len(queries), sharing):
        end = min(begin + sharing, len(queries))
        starts = range(begin, end, query_rows)
        blocks = [_Queries(_read(queries, at, min(at + query_rows, end), kind), depth) for at in starts]
        reported = 0
        for start in range(0, len(corpus), corpus_rows):
            stop = min(start + corpus_rows, len(corpus))
            passages = _read(corpus, start, stop, kind)
            for block in blocks:
                block.take(passages, start, cells)
            progress((end - begin) * stop // len(corpus) - reported)
            reported = (end - begin) * stop // len(corpus)
        yield from (block.best.found() for block in blocks)


@dataclass(frozen=True)
class _Vectors:
    """Vectors, the same rounded (shape (rows, dim) both), their lengths and the lengths of what rounding took off."""

    exact: Tensor
    rounded: Tensor
    norms: Tensor
    errors: Tensor

    def unrounded(self) -> _Vectors:
        """The same vectors with nothing taken off."""
        return _Vectors(self.exact, self.exact, self.norms, self.errors.new_zeros(len(self.errors)))


class _Queries:
    """Some queries and the best passages that they have met."""

    def __init__(self, vectors: _Vectors, depth: int) -> None:
        self.vectors = vectors
        self.best = _Best(len(vectors.exact), depth)

    def take(self, passages: _Vectors, start: int, cells: Tensor) -> None:
        """Meets a block of passages, the first of which has the position `start`; `cells` is room for the scores."""
        import torch

        scores = _products(self.vectors.rounded, passages.rounded, cells)
        hits, floor = self._hits(scores, _bound(self.vectors, passages))
        if scores.dtype != torch.float32 and len(hits) > _CROWDED * scores.numel() / self._group(scores):
            mine, passages = self.vectors.unrounded(), passages.unrounded()
            scores = _products(mine.rounded, passages.rounded, cells)
            hits, floor = self._hits(scores, _bound(mine, passages))
        for at in range(0, len(hits), _GROUPS_AT_ONCE):
            rows, columns = self._open(scores, hits[at : at + _GROUPS_AT_ONCE], floor)
            self.best.add(rows, columns + start, _score(self.vectors.exact, rows, passages.exact, columns))
        self.best.settle()

    def _hits(self, scores: Tensor, bound: Tensor) -> tuple[_Positions, Tensor]:
        """Which (query, group), counted on, may hold one of the best passages, and the least score for that.

        A group is every n-th column, so that the maxima of all groups are taken at once, column beside column.
        """
        import torch

        groups = scores.view(len(scores), self._group(scores), -1)
        floor = torch.from_numpy(self.best.worst) - bound
        if groups.shape[2] >= self.best.depth and bool(torch.isinf(floor).any()):
            floor = torch.maximum(floor, self._first_floor(groups, bound))
        # rounding keeps the order, so what is not below before it is not below after it
        floor = floor.to(scores.dtype)
        if bool((floor > 0).all()):
            # the bits of positive floats order as whole numbers, whose maxima take a fifth of the time
            whole = torch.int16 if scores.dtype == torch.bfloat16 else torch.int32
            passing = groups.view(whole).amax(dim=1) >= floor.view(whole)[:, None]
        else:
            passing = groups.amax(dim=1) >= floor[:, None]
        return np.flatnonzero(passing.numpy()), floor

    def _first_floor(self, groups: Tensor, bound: Tensor) -> Tensor:
        """What the depth-th best group holds, less what rounding may have added: so many passages score as much."""
        import torch

        tops, depth = groups.amax(dim=1).float().numpy(), self.best.depth
        reached = torch.from_numpy(np.partition(tops, -depth, axis=1)[:, -depth])
        return reached - reached.abs() * torch.finfo(groups.dtype).eps - 2 * bound

    def _open(self, scores: Tensor, hits: _Positions, floor: Tensor) -> tuple[_Positions, _Positions]:
        """Rows and columns of the scores in the groups `hits` that reach the floor; rows ascend."""
        import torch

        groups = scores.shape[1] // self._group(scores)
        rows, first = np.divmod(hits, groups)
        columns = first[:, None] + np.arange(0, scores.shape[1], groups)
        cells = torch.from_numpy(columns + rows[:, None] * scores.shape[1])
        group, member = (scores.view(-1).take(cells) >= floor[torch.from_numpy(rows)][:, None]).numpy().nonzero()
        return rows[group], columns[group, member]

    def _group(self, scores: Tensor) -> int:
        """Members of a group: a divisor of the columns that leaves twice as many groups as passages are wanted."""
        size = math.gcd(scores.shape[1], _GROUP)
        while size > 1 and scores.shape[1] // size < 2 * self.best.depth:
            size //= 2
        return size


class _Best:
    """The best passages of some queries so far, and room for as many new ones before they are merged.

    A passage is one whole number that orders by (score, -position): the bits of the score, as a number of the same
    order, above the position counted from the end. Whole numbers are sorted several times as fast as two columns.
    """

    def __init__(self, rows: int, depth: int) -> None:
        self.depth = depth
        self.keys = np.full((rows, 2 * depth), _NOTHING)
        self.new = np.zeros(rows, dtype=np.int64)
        self.worst = np.full(rows, -np.inf, dtype=np.float32)

    def add(self, rows: _Positions, positions: _Positions, scores: _Array) -> None:
        """Adds scored passages; `rows` is ascending."""
        enough = scores >= self.worst[rows]
        rows, keys = rows[enough], _keys(scores[enough], positions[enough])
        while len(rows):
            counts = np.bincount(rows, minlength=len(self.new))
            columns = np.arange(len(rows)) + (self.new + self.depth - np.cumsum(counts) + counts)[rows]
            fits = columns < self.keys.shape[1]
            self.keys[rows[fits], columns[fits]] = keys[fits]
            self.new = np.minimum(self.new + counts, self.depth)
            rows, keys = rows[~fits], keys[~fits]
            if len(rows):
                self.merge()

    def settle(self) -> None:
        """Merges when there is enough new to make it worth while."""
        if self.new.sum() >= _WORTH_MERGING * self.depth * len(self.new):
            self.merge()

    def merge(self) -> None:
        """Leaves the best in the first `depth` columns, in no order, and nothing in the others."""
        self.keys.sort(axis=1)
        self.keys[:, : self.depth] = self.keys[:, self.depth :]
        self.keys[:, self.depth :] = _NOTHING
        self.new[:] = 0
        self.worst = _scores_of(self.keys[:, 0])

    def found(self) -> tuple[_Array, _Positions]:
        """Scores (-inf where there is nothing) and positions by (-score, position), shape (rows, depth) both."""
        self.merge()
        best = self.keys[:, self.depth - 1 :: -1]
        return _scores_of(best), _LAST - (best & _LAST)


def _keys(scores: _Array, positions: _Positions) -> _Positions:
    # adding zero makes the negative zero, which equals it, the positive one
    bits = (scores + np.float32(0)).view(np.int32)
    # the bits of negative floats ascend as the floats descend
    ordered = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (ordered.astype(np.int64) << 32) | (_LAST - positions)


def _scores_of(keys: _Positions) -> _Array:
    ordered = (keys >> 32).astype(np.int32)
    return np.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).astype(np.int32).view(np.float32)


def _read(source: Rows, start: int, stop: int, kind: dtype) -> _Vectors:
    import torch

    exact = torch.from_numpy(np.array(source[start:stop], dtype=np.float32))
    rounded = exact if kind == torch.float32 else torch.empty(exact.shape, dtype=kind)
    norms, errors = torch.empty(len(exact)), torch.zeros(len(exact))
    for at in range(0, len(exact), _ROWS_AT_ONCE):
        part = slice(at, at + _ROWS_AT_ONCE)
        norms[part] = torch.linalg.vector_norm(exact[part], dim=1)
        if kind != torch.float32:
            rounded[part] = exact[part]
            errors[part] = torch.linalg.vector_norm(exact[part] - rounded[part], dim=1)
    if not bool(torch.isfinite(norms).all()):
        row = start + int(torch.isfinite(norms).logical_not().nonzero()[0])
        raise InputError(f"vector {row} of {len(source)} is not finite or longer than 1e19; embed its text anew")
    return _Vectors(exact, rounded, norms, errors)


def _bound(queries: _Vectors, passages: _Vectors) -> Tensor:
    """The most by which a rounded score of the block may differ from the exact one, for each query."""
    dim = queries.exact.shape[1]
    # squares below the smallest normal number may be lost from a norm
    lost = math.sqrt(dim) * 2.0**-63
    norms, length = queries.norms + lost, float(passages.norms.max()) + lost
    errors, error = queries.errors + lost, float(passages.errors.max()) + lost
    # twice a sum's rounding (2^-24 an addition and a product), and as much again for what is computed here
    sums = 4 * (dim + 1) * 2.0**-24 * norms * length
    return (errors * length + (norms + errors) * error) * (1 + 2.0**-16) + sums


def _products(queries: Tensor, passages: Tensor, cells: Tensor) -> Tensor:
    import torch

    scores = cells.view(queries.dtype)[: len(queries) * len(passages)].view(len(queries), len(passages))
    return torch.mm(queries, passages.T, out=scores)


def _score(queries: Tensor, rows: _Positions, passages: Tensor, columns: _Positions) -> _Array:
    """The inner product of each (query, passage) pair, by itself, whatever is beside it."""
    scores = np.empty(len(rows), dtype=np.float32)
    ours, theirs = queries.numpy(), passages.numpy()
    for at in range(0, len(rows), _PAIRS_AT_ONCE):
        part = slice(at, at + _PAIRS_AT_ONCE)
        np.einsum("ij,ij->i", ours.take(rows[part], 0), theirs.take(columns[part], 0), out=scores[part])
    return scores
