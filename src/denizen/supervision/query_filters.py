"""Which written queries are kept: every filter says what it dropped and why, and the counts add up."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from denizen.data.near_duplicates import clusters
from denizen.data.tables import folded
from denizen.supervision.written import Written

# a keyword query has two words at least; beyond 60 it is no query any more
WORDS = (2, 60)
_CHARS = 500
# as many words in a row as no one repeats by chance: the query quotes its passage
COPIED_WORDS = 8
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Dropped:
    """A query that is not used, and why."""

    query: Written
    reason: str


def keep_usable(
    queries: Sequence[Written], passages: Mapping[str, str], near_duplicate: float, held_out: Sequence[str] = ()
) -> tuple[list[Written], list[Dropped]]:
    """Drops what is too short or too long, quotes its passage, comes twice, or is a query of the test.

    Args:
        queries: What was written.
        passages: The text of each passage that one was written for.
        near_duplicate: Similarity from which two queries say the same.
        held_out: Labelled test queries; what says the same is dropped.

    Returns:
        What is kept and what is dropped, in the order of the queries; together they are all of them.
    """
    tidy = [replace(query, text=" ".join(query.text.split())) for query in queries]
    every = clusters([*held_out, *(query.text for query in tidy)], near_duplicate)
    of_test, alike = set(every[: len(held_out)]), every[len(held_out) :]
    seen: set[str] = set()
    taken: set[int] = set()
    kept: list[Written] = []
    dropped: list[Dropped] = []
    for query, cluster in zip(tidy, alike, strict=True):
        reason = _length_problem(query.text)
        if not reason and any(copies(query.text, passages[source]) for source in query.sources):
            reason = "copies its passage"
        if not reason and cluster in of_test:
            reason = "says the same as a test query"
        if not reason and folded(query.text) in seen:
            reason = "duplicate"
        if not reason and cluster in taken:
            reason = "near-duplicate"
        if reason:
            dropped.append(Dropped(query, reason))
        else:
            kept.append(query)
            seen.add(folded(query.text))
            taken.add(cluster)
    return kept, dropped


def keep_probable(queries: Sequence[Written], share: float) -> tuple[list[Written], list[Dropped]]:
    """Keeps the share of queries that their writer found most probable (InPars, arXiv 2202.05144), for each group of
    one domain, split and style: styles differ in probability by themselves.

    Args:
        queries: Queries with log-probabilities.
        share: The share to keep, rounded up.
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for at, query in enumerate(queries):
        groups.setdefault((query.domain, query.split, query.origin), []).append(at)
    best: set[int] = set()
    for members in groups.values():
        ranked = sorted(members, key=lambda at: (-_logprob(queries[at]), at))
        best.update(ranked[: math.ceil(share * len(members) - 1e-9)])
    return _parted(queries, lambda at: at in best, "less probable than the others")


def keep_found(
    queries: Sequence[Written], ranks: Sequence[int | None], most: int
) -> tuple[list[Written], list[Dropped]]:
    """Keeps the queries that lead back to what they were written for (round trip; Promptagator, arXiv 2209.11755).

    Args:
        queries: The queries.
        ranks: The worst rank of a query's passages in the base's ranking; None: not found.
        most: The rank up to which a passage counts as found.
    """
    return _parted(queries, lambda at: (ranks[at] or math.inf) <= most, f"round trip: not in the first {most}")


def copies(query: str, passage: str) -> bool:
    """Whether a query repeats `COPIED_WORDS` words of a passage in a row."""
    words, other = _WORD.findall(query.lower()), _WORD.findall(passage.lower())
    runs = {tuple(other[at : at + COPIED_WORDS]) for at in range(len(other) - COPIED_WORDS + 1)}
    return any(tuple(words[at : at + COPIED_WORDS]) in runs for at in range(len(words) - COPIED_WORDS + 1))


def overlap(query: str, passage: str) -> float:
    """The share of a query's distinct words of more than three letters that stand in a passage."""
    words = {word for word in _WORD.findall(query.lower()) if len(word) > 3}
    return len(words & set(_WORD.findall(passage.lower()))) / len(words) if words else 0.0


def counts(kept: Sequence[Written], dropped: Sequence[Dropped]) -> dict[str, dict[str, int]]:
    """How many were written, kept, and dropped for which reason, for each domain."""
    found: dict[str, Counter[str]] = {}
    for query in kept:
        found.setdefault(query.domain, Counter()).update(written=1, kept=1)
    for row in dropped:
        found.setdefault(row.query.domain, Counter()).update({"written": 1, row.reason: 1})
    return {domain: dict(found[domain]) for domain in sorted(found)}


def _logprob(query: Written) -> float:
    return -math.inf if query.logprob is None else query.logprob


def _length_problem(text: str) -> str:
    words = len(text.split())
    # scripts that write no spaces: two letters say about as much as a word
    letters = sum(unicodedata.category(letter) == "Lo" for letter in text)
    if max(words, letters // 2) < WORDS[0] or not _WORD.search(text):
        return "too short"
    if words > WORDS[1] or len(text) > _CHARS:
        return "too long"
    return ""


def _parted(
    queries: Sequence[Written], keeps: Callable[[int], bool], reason: str
) -> tuple[list[Written], list[Dropped]]:
    kept = [query for at, query in enumerate(queries) if keeps(at)]
    return kept, [Dropped(query, reason) for at, query in enumerate(queries) if not keeps(at)]
