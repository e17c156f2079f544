"""Which written queries are kept: every filter says what it dropped and why, and the counts add up."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from denizen.data.near_duplicates import clusters
from denizen.data.tables import folded
from denizen.supervision.query_rules import PassageWords, copies, speaks_of_source
from denizen.supervision.written import Written

# a keyword query has two words at least; beyond 60 it is no query any more
WORDS = (2, 60)
_CHARS = 500
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Dropped:
    """A query that is not used, and why."""

    query: Written
    reason: str


def keep_usable(
    queries: Sequence[Written],
    passages: Mapping[str, str],
    near_duplicate: float,
    held_out: Sequence[str] = (),
    words: PassageWords | None = None,
) -> tuple[list[Written], list[Dropped]]:
    """Drops what is too short or too long, speaks of its passage, quotes it or fits many, comes twice or in the test.

    A real query, which was written for nothing, may say what it likes.

    Args:
        queries: What was written.
        passages: The text of each passage that one was written for.
        near_duplicate: Similarity from which two queries say the same.
        held_out: Labelled test queries; what says the same is dropped.
        words: Those of the corpus; None: unknown.

    Returns:
        What is kept and what is dropped, in the order of the queries; together they are all of them.
    """
    tidy = [replace(query, text=" ".join(query.text.split())) for query in queries]
    every = clusters([*held_out, *(query.text for query in tidy)], near_duplicate)
    of_test, alike = set(every[: len(held_out)]), every[len(held_out) :]
    seen: set[str | int] = set()
    reasons = []
    for query, cluster in zip(tidy, alike, strict=True):
        reason = rule_broken(query, [passages[source] for source in query.sources], words)
        if not reason and cluster in of_test:
            reason = "says the same as a test query"
        if not reason and {folded(query.text), cluster} & seen:
            reason = "duplicate" if folded(query.text) in seen else "near-duplicate"
        if not reason:
            seen |= {folded(query.text), cluster}
        reasons.append(reason)
    return _parted(tidy, reasons)


def rule_broken(query: Written, own: Sequence[str], words: PassageWords | None) -> str:
    """Which rule a query breaks by itself, whatever else was written; empty where it keeps all.

    Args:
        query: The query.
        own: The texts of the passages that it was written for.
        words: Those of the corpus; None: unknown.
    """
    if problem := _length_problem(query.text):
        return problem
    if query.origin != "log" and speaks_of_source(query.text):
        return "speaks of its source"
    is_ordinary = (lambda word: True) if words is None else words.is_ordinary
    if any(copies(query.text, passage, is_ordinary) for passage in own):
        return "copies its passage"
    if words is not None and own and words.fits_many(query.text, own):
        return "fits many passages"
    return ""


def keep_found(
    queries: Sequence[Written], ranks: Sequence[int | None], most: int
) -> tuple[list[Written], list[Dropped]]:
    """Keeps the queries that lead back to what they were written for (round trip; Promptagator, arXiv 2209.11755).

    Args:
        queries: The queries.
        ranks: The worst rank of a query's passages in a ranking; None: not found.
        most: The rank up to which a passage counts as found.
    """
    lost = f"round trip: not in the first {most}"
    return _parted(queries, ["" if rank and rank <= most else lost for rank in ranks])


def overlap(query: str, passage: str) -> float:
    """The share of a query's distinct words of more than three letters that stand in a passage."""
    words = {word for word in _WORD.findall(query.lower()) if len(word) > 3}
    return len(words & set(_WORD.findall(passage.lower()))) / len(words) if words else 0.0


def counts(kept: Sequence[Written], dropped: Sequence[Dropped]) -> dict[str, dict[str, int]]:
    """How many were written, kept, and dropped for which reason, for each domain."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for query, what in [*((query, "kept") for query in kept), *((row.query, row.reason) for row in dropped)]:
        found[query.domain].update(("written", what))
    return {domain: dict(found[domain]) for domain in sorted(found)}


def _length_problem(text: str) -> str:
    words = len(text.split())
    # scripts that write no spaces: two letters say about as much as a word
    letters = sum(unicodedata.category(letter) == "Lo" for letter in text)
    if max(words, letters // 2) < WORDS[0] or not _WORD.search(text):
        return "too short"
    if words > WORDS[1] or len(text) > _CHARS:
        return "too long"
    return ""


def _parted(queries: Sequence[Written], reasons: Sequence[str]) -> tuple[list[Written], list[Dropped]]:
    judged = list(zip(queries, reasons, strict=True))
    return [query for query, reason in judged if not reason], [Dropped(*found) for found in judged if found[1]]
