"""Where a gain comes from: by query length, by domain, by where the base had the answer, and query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from denizen.data.tables import rankings, relevant
from denizen.measuring.significance import paired_difference

# A percentile bootstrap over fewer queries covers less than it says (90 % at 24, 70 % at 10, 93 % at 50), and
# more than ten groups nobody reads.
LEAST = 50
_MOST_GROUPS = 10
_RANKS = ((1, 1), (2, 5), (6, 20), (21, 100))


@dataclass(frozen=True)
class Group:
    """Queries that have something in common, and by how much adapted is better on them."""

    name: str
    queries: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Moved:
    """A query and where its best relevant passage stood before and after.

    Attributes:
        query_id: The query.
        before: Rank by the base; None: not among what was retrieved.
        after: Rank by adapted.
        first_before: The passage that the base ranked first.
        first_after: The passage that adapted ranks first.
        change: Difference of the reciprocal ranks.
    """

    query_id: str
    before: int | None
    after: int | None
    first_before: str
    first_after: str
    change: float


def first_relevant(run: pa.Table, qrels: pa.Table, query_ids: Sequence[str]) -> dict[str, int | None]:
    """Query id to the rank of the first relevant passage; None where there is none in the run."""
    known, ranked = relevant(qrels), rankings(run)
    found: dict[str, int | None] = {}
    for query_id in query_ids:
        ranks = (at for at, (doc_id, _) in enumerate(ranked.get(query_id, []), start=1) if doc_id in known[query_id])
        found[query_id] = next(ranks, None)
    return found


def by_group(names: Mapping[str, str], base: Mapping[str, float], adapted: Mapping[str, float]) -> list[Group]:
    """Mean gain of each group of queries, in the order in which the groups first appear.

    Args:
        names: Query id to its group.
        base: Query id to the base's value.
        adapted: Query id to the adapted model's.
    """
    inside: dict[str, list[str]] = {}
    for query_id, name in names.items():
        inside.setdefault(name, []).append(query_id)
    largest = sorted(inside, key=lambda name: -len(inside[name]))[:_MOST_GROUPS]
    groups = []
    for name in inside:
        ids = inside[name]
        if name not in largest or len(ids) < LEAST:
            continue
        after, before = (np.array([of[query_id] for query_id in ids]) for of in (adapted, base))
        found = paired_difference(after, before)
        groups.append(Group(name, len(ids), found.value, found.low, found.high))
    return groups


def by_length(queries: Mapping[str, str]) -> dict[str, str]:
    """Query id to its third by number of words, shortest first."""
    words = {query_id: len(text.split()) for query_id, text in queries.items()}
    low, high = (int(edge) for edge in np.quantile(list(words.values()), [1 / 3, 2 / 3], method="lower"))
    names = (f"up to {low} words", f"{low + 1} to {high} words", f"more than {high} words")
    parts = {query_id: 0 if count <= low else 1 if count <= high else 2 for query_id, count in words.items()}
    return {query_id: names[part] for query_id, part in sorted(parts.items(), key=lambda pair: pair[1])}


def by_base_rank(ranks: Mapping[str, int | None], depth: int) -> dict[str, str]:
    """Query id to where the base had the answer, best first.

    Args:
        ranks: Query id to the rank; None: below `depth`.
        depth: How many passages were found for a query.
    """
    parts = [(first, min(last, depth)) for first, last in _RANKS if first <= depth]
    if depth > parts[-1][1]:
        parts.append((parts[-1][1] + 1, depth))

    def part(rank: int | None) -> int:
        return next((at for at, (_, last) in enumerate(parts) if rank is not None and rank <= last), len(parts))

    names = ["rank 1", *(f"ranks {first} to {last}" for first, last in parts[1:]), f"below {depth}"]
    return {query_id: names[part(rank)] for query_id, rank in sorted(ranks.items(), key=lambda pair: part(pair[1]))}


def moved(base: pa.Table, adapted: pa.Table, qrels: pa.Table, query_ids: Sequence[str]) -> list[Moved]:
    """Every query whose answer has moved, from the largest gain to the largest loss."""
    before, after = (first_relevant(run, qrels, query_ids) for run in (base, adapted))
    first_base, first_adapted = rankings(base), rankings(adapted)
    found = []
    for query_id in query_ids:
        one, other = before[query_id], after[query_id]
        change = (1 / other if other else 0.0) - (1 / one if one else 0.0)
        if change:
            top, new_top = (
                ranked[query_id][0][0] if query_id in ranked else "" for ranked in (first_base, first_adapted)
            )
            found.append(Moved(query_id, one, other, top, new_top, change))
    return sorted(found, key=lambda row: (-row.change, row.query_id))


def best_scores(run: pa.Table, qrels: pa.Table, query_ids: Sequence[str]) -> tuple[list[float], list[float]]:
    """For each query the highest score of a relevant passage and of another one, where the run has them."""
    known, ranked = relevant(qrels), rankings(run)
    right, wrong = [], []
    for query_id in query_ids:
        ranking = ranked.get(query_id, [])
        right += [score for doc_id, score in ranking if doc_id in known[query_id]][:1]
        wrong += [score for doc_id, score in ranking if doc_id not in known[query_id]][:1]
    return right, wrong
