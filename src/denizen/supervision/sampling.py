"""Candidates for a teacher to grade: the best that the student finds, and some drawn from below them.

With labels, what the student ranks high and nobody labelled is a negative; without labels, somebody has to look.
Looking costs money, so few passages are shown for a query, most of them where the student's mistakes are (arXiv
2512.08088, mining of hard positives and negatives; the paper names neither K nor omega).
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from denizen.data.tables import each, rankings, rows_table
from denizen.retrievers.store import StoredVectors, Vectors

# an answer then has one passage or a few, and looking within it finds nothing that the corpus does not show
_LONG = 15

# query_id, doc_id, rank, score
_Row = tuple[str, str, int | None, float | None]


@dataclass(frozen=True)
class Sampling:
    """How many passages are graded, and which.

    Attributes:
        top: The best passages that are all taken (k).
        drawn: How many are drawn below them (2k in the paper).
        decay: omega: the passage at rank r is drawn with weight exp(-omega (r - k)).
        seed: Seed of the drawing.
        found_by: The best passages of the corpus that name the documents to look into (K).
    """

    top: int
    drawn: int
    decay: float
    seed: int
    found_by: int = 20

    def ranks(self, count: int, name: str) -> list[int]:
        """The ranks to take of a ranking, ascending from 1.

        Args:
            count: Length of the ranking.
            name: What the ranking is of; another name draws others.
        """
        below = np.arange(self.top + 1, count + 1)
        random = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        # the largest of log weight + Gumbel noise: drawing without replacement by weight (Efraimidis and Spirakis 2006)
        keys = -self.decay * (below - self.top) + random.gumbel(size=len(below))
        drawn = below[np.argsort(-keys, kind="stable")[: self.drawn]]
        return [*range(1, min(self.top, count) + 1), *sorted(drawn.tolist())]

    def take(
        self, ranking: Sequence[tuple[str, float]], name: str, always: Collection[str]
    ) -> list[tuple[str, int, float]]:
        """(doc_id, rank, score) of what is taken of a ranking: by rank, or always."""
        ranks, ranked = set(self.ranks(len(ranking), name)), enumerate(ranking, start=1)
        return [(doc_id, rank, score) for rank, (doc_id, score) in ranked if rank in ranks or doc_id in always]


def has_long_documents(corpus: pa.Table) -> bool:
    """Whether a document has so many passages that looking within documents makes sense."""
    return len(corpus) >= _LONG * len(corpus["parent_id"].unique())


def from_corpus(run: pa.Table, sampling: Sampling, always: Mapping[str, Iterable[str]], retriever: str) -> pa.Table:
    """Of each query's ranking the best, and some below.

    Args:
        run: A `run` over the passages that may be shown.
        sampling: Which ranks.
        always: Query id to passages that are taken wherever they stand, such as the one it was written for.
        retriever: The name to write into the table.

    Returns:
        A `candidates` table without roles, by query, then by rank; what `always` adds from beyond the run has none.
    """
    rows: list[_Row] = []
    for query_id, ranking in rankings(run).items():
        wanted = dict.fromkeys(always.get(query_id, ()))
        for doc_id, rank, score in sampling.take(ranking, query_id, wanted):
            rows.append((query_id, doc_id, rank, score))
            wanted.pop(doc_id, None)
        rows += [(query_id, doc_id, None, None) for doc_id in wanted]
    return rows_table("candidates", ((*row, retriever) for row in rows))


def from_documents(
    run: pa.Table,
    corpus: pa.Table,
    vectors: StoredVectors,
    queries: Mapping[str, Vectors],
    sampling: Sampling,
    always: Mapping[str, Iterable[str]],
    retriever: str,
) -> pa.Table:
    """Within each document that owns one of a query's best passages: the best there, and some below.

    Args:
        run: A `run` over the passages that may be shown.
        corpus: The same passages, in the order of `vectors`.
        vectors: Their embeddings, shape (passages, dim).
        queries: Query id to its embedding, shape (dim,).
        sampling: Which ranks within a document.
        always: As in `from_corpus`.
        retriever: The name to write into the table.

    Returns:
        A `candidates` table without roles; `rank` is the rank within the document.
    """
    home = dict(each(corpus, "doc_id", "parent_id"))
    doc_ids, members = list(home), dict[str, list[int]]()
    for at, parent in enumerate(home.values()):
        members.setdefault(parent, []).append(at)
    rows: list[_Row] = []
    for query_id, ranking in rankings(run).items():
        wanted = dict.fromkeys(always.get(query_id, ()))
        # a document is looked into once, however many of its passages are found or have to be in
        found = (doc_id for doc_id, _ in ranking[: sampling.found_by])
        for parent in dict.fromkeys(home[doc_id] for doc_id in (*found, *wanted)):
            places = members[parent]
            scores = vectors.take(places)[:] @ queries[query_id]
            ranked = [(doc_ids[places[at]], float(scores[at])) for at in np.argsort(-scores, kind="stable").tolist()]
            rows += [(query_id, *row) for row in sampling.take(ranked, f"{query_id} {parent}", wanted)]
    return rows_table("candidates", ((*row, retriever) for row in rows))
