"""Where a gain comes from: by query length, by domain, by where the base had the answer, and query by query."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from denizen.measuring.significance import Difference, paired_difference

# A percentile bootstrap over fewer queries covers less than it says (90 % at 24, 70 % at 10, 93 % at 50), and
# more than ten groups nobody reads.
LEAST = 50
# and over fewer documents, whose queries are drawn together, it says nothing: of one document it has no width
LEAST_TOGETHER = 10
_MOST_GROUPS = 10
# the last rank of each part but the deepest
_RANKS = (1, 5, 20, 100)

# query id to passages with scores, best first; and to the relevant passages
Rankings = Mapping[str, Sequence[tuple[str, float]]]
Known = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Moved:
    """A query and where its best relevant passage stood before and after.

    Attributes:
        query_id: The query.
        before: Rank by the base; None: not among what was retrieved.
        after: Rank by adapted.
        first_before: The passage that the base ranked first.
        first_after: The passage that adapted ranks first.
    """

    query_id: str
    before: int | None
    after: int | None
    first_before: str
    first_after: str

    @property
    def change(self) -> float:
        """Difference of the reciprocal ranks."""
        return (1 / self.after if self.after else 0.0) - (1 / self.before if self.before else 0.0)


def first_relevant(ranked: Rankings, known: Known) -> dict[str, int | None]:
    """Query id to the rank of the first relevant passage; None where none was retrieved."""
    found: dict[str, int | None] = {}
    for query_id, right in known.items():
        ranks = (at for at, (doc_id, _) in enumerate(ranked.get(query_id, []), start=1) if doc_id in right)
        found[query_id] = next(ranks, None)
    return found


def enough(groups: Sequence[int]) -> bool:
    """Whether an interval over some queries can be trusted.

    Args:
        groups: For each of them the number of what it depends on.
    """
    return len(groups) >= LEAST and len(set(groups)) >= LEAST_TOGETHER


def by_group(
    names: Mapping[str, str],
    base: Mapping[str, float],
    adapted: Mapping[str, float],
    together: Mapping[str, int] | None = None,
) -> dict[str, tuple[Difference, int]]:
    """Mean gain and number of queries of each group, in the order in which the groups first appear.

    Of the groups of at least `LEAST` queries that depend on at least `LEAST_TOGETHER` things, the ten largest.
    All are by query id: its group, the two models' values, and the number of what it depends on (None: all are
    independent).
    """
    inside: dict[str, list[str]] = {}
    for query_id, name in names.items():
        inside.setdefault(name, []).append(query_id)
    # without anything to depend on, each query stands for itself
    of = together or {name: at for at, name in enumerate(names)}
    trusted = {name: ids for name, ids in inside.items() if enough([of[query_id] for query_id in ids])}
    kept = sorted(trusted, key=lambda name: -len(trusted[name]))[:_MOST_GROUPS]
    found = {}
    for name, ids in trusted.items():
        if name in kept:
            after, before = (np.array([values[query_id] for query_id in ids]) for values in (adapted, base))
            drawn = None if together is None else [together[query_id] for query_id in ids]
            found[name] = paired_difference(after, before, groups=drawn), len(ids)
    return found


def by_length(queries: Mapping[str, str]) -> dict[str, str]:
    """Query id to its third by number of words, shortest first."""
    words = {query_id: len(text.split()) for query_id, text in queries.items()}
    low, high = (int(edge) for edge in np.quantile(list(words.values()), [1 / 3, 2 / 3], method="lower"))
    names = (f"up to {low} words", f"{low + 1} to {high} words", f"more than {high} words")
    parts = {query_id: (count > low) + (count > high) for query_id, count in words.items()}
    return {query_id: names[parts[query_id]] for query_id in sorted(parts, key=parts.__getitem__)}


def by_base_rank(ranks: Mapping[str, int | None], depth: int) -> dict[str, str]:
    """Query id to where the base had the answer, best first; None is below the depth of the search."""
    lasts = [*(last for last in _RANKS if last < depth), depth]
    names = ["rank 1", *(f"ranks {before + 1} to {last}" for before, last in pairwise(lasts)), f"below {depth}"]
    parts = {query_id: bisect_left(lasts, rank or depth + 1) for query_id, rank in ranks.items()}
    return {query_id: names[parts[query_id]] for query_id in sorted(parts, key=parts.__getitem__)}


def moved(base: Rankings, adapted: Rankings, known: Known) -> list[Moved]:
    """Every query whose answer has moved, from the largest gain to the largest loss."""
    before, after = (first_relevant(ranked, known) for ranked in (base, adapted))

    def first(ranked: Rankings, query_id: str) -> str:
        return ranked[query_id][0][0] if query_id in ranked else ""

    rows = [Moved(name, before[name], after[name], first(base, name), first(adapted, name)) for name in known]
    return sorted((row for row in rows if row.change), key=lambda row: (-row.change, row.query_id))


def best_scores(ranked: Rankings, known: Known) -> tuple[list[float], list[float]]:
    """For each query the highest score of a relevant passage and of another one, where the run has them."""
    right, wrong = [], []
    for query_id, relevant in known.items():
        ranking = ranked.get(query_id, [])
        right += [score for doc_id, score in ranking if doc_id in relevant][:1]
        wrong += [score for doc_id, score in ranking if doc_id not in relevant][:1]
    return right, wrong
