"""Training examples from mined candidates; each says of which kind it is and why it was chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.tables import each, rows_table, run_ranks

_ROLES = ("positive", "irrelevant", "negative")
# a partial answer: neither relevant nor irrelevant
_UNSURE = 3


@dataclass(frozen=True)
class Windows:
    """Rank windows, both ends included: where a positive counts as hard, and where negatives come from."""

    hard_positive: tuple[int, int]
    hard_negative: tuple[int, int]
    easy_negative: tuple[int, int]


@dataclass(frozen=True)
class Example:
    """One training example."""

    query_id: str
    positive_id: str
    negative_ids: list[str]
    kind: str
    reason: str
    teacher_scores: list[float] | None = None


# (doc_id, rank), by rank; a positive beyond the run has no rank
_Ranked = Sequence[tuple[str, int | None]]


def triplets(
    candidates: pa.Table,
    windows: Windows,
    easy_per_hard: float,
    seed: int,
    documents: Mapping[str, str] | None = None,
) -> list[Example]:
    """At most one hard and one easy triplet a query, as the gold-label recipe makes them.

    Hard: the best-ranked relevant passage of the hard window with the best-ranked negative of its window. Easy: the
    best-ranked relevant passage above the hard window with the first negative of the easy window (or, where there is
    none, of the hard one). Of passages that are labelled irrelevant the best-ranked one is taken instead, wherever it
    stands. Easy ones keep what the model already does right, and are sampled down to
    `easy_per_hard` for each hard one.

    Args:
        candidates: A `candidates` table.
        windows: The rank windows.
        easy_per_hard: Limit on easy triplets for each hard one.
        seed: Seed of the sampling.
        documents: Passage to document, to take only negatives from the positive's document (arXiv 2512.08088).

    Returns:
        Hard triplets, then easy ones, each in the order of the candidates.
    """
    hard: list[Example] = []
    easy: list[Example] = []
    for query_id, positives, wrong, negatives in _by_query(candidates):
        low = _first(positives, windows.hard_positive)
        high = _first(positives, (1, windows.hard_positive[0] - 1))
        for kind, positive, made in (("hard", low, hard), ("easy", high, easy)):
            if positive is None:
                continue
            labelled, near = (_beside(positive[0], ranked, documents) for ranked in (wrong, negatives))
            of_easy = None if kind == "hard" else _first(near, windows.easy_negative)
            if negative := next(iter(labelled), None) or of_easy or _first(near, windows.hard_negative):
                made.append(_triplet(query_id, kind, positive, negative))
    limit = math.floor(easy_per_hard * len(hard) + 1e-9)
    if len(easy) > limit:
        chosen = np.random.default_rng(seed).choice(len(easy), size=limit, replace=False)
        easy = [easy[at] for at in sorted(chosen.tolist())]
    return hard + easy


def contrastive_rows(
    candidates: pa.Table,
    windows: Windows,
    negatives: int,
    positives_per_query: int,
    documents: Mapping[str, str] | None = None,
) -> list[Example]:
    """Rows for InfoNCE or GIST: every query with a relevant passage and its best-ranked negatives.

    Passages that are labelled irrelevant come first, also those beyond the hard window or the run. A row is hard when
    its positive lies in or beyond the hard window. A query without enough negatives in the hard window gets fewer;
    in-batch negatives are there all the same.

    Args:
        candidates: A `candidates` table.
        windows: The rank windows.
        negatives: How many mined negatives a row gets at most.
        positives_per_query: How many relevant passages of a query become rows, best-ranked first; 0: all.
        documents: Passage to document, to take only negatives from the positive's document (arXiv 2512.08088);
            a positive without one makes no row then.

    Returns:
        The rows in the order of the candidates.
    """
    rows = []
    first, last = windows.hard_negative
    for query_id, positives, wrong, mined in _by_query(candidates):
        inside = [*wrong, *(pair for pair in mined if pair[1] and first <= pair[1] <= last)]
        for doc_id, rank in positives[: positives_per_query or None]:
            chosen = _beside(doc_id, inside, documents)[:negatives]
            if documents is not None and not chosen:
                continue
            ranks = ", ".join(str(rank or "beyond the run") for _, rank in chosen) or "none"
            kind = "easy" if rank and rank < windows.hard_positive[0] else "hard"
            reason = f"relevant {_place(rank)}, negatives at ranks {ranks}"
            rows.append(Example(query_id, doc_id, [name for name, _ in chosen], kind, reason))
    return rows


def with_roles(
    judgments: pa.Table,
    run: pa.Table,
    query_ids: Sequence[str],
    depth: int,
    written_for: Mapping[str, Sequence[str]] | None = None,
) -> pa.Table:
    """What a teacher graded, as candidates with roles: grade 4 is a positive, 1 and 2 are negatives, 3 is left out.

    Args:
        judgments: A `judgments` table with grades, of all rounds so far.
        run: The current student's `run`, which says where it ranks each passage.
        query_ids: The queries to train on.
        depth: Depth of the run: a negative beyond it has rank depth + 1, a positive none.
        written_for: Query id to the passages that it was written for. Graded 4, they come first: two things speak for
            them, and for the others only a judge that may be wrong. Where none of them was, writer and judge disagree
            on the query, and it is left out.

    Returns:
        A `candidates` table, by query, positives first, then by rank.
    """
    places = run_ranks(run)
    known = written_for or {}
    disputed = disputed_queries(judgments, known)
    # by passage, so that none can be in an example twice
    judged: dict[str, dict[str, tuple[int, bool, int, str]]] = {}
    for row in judgments.to_pylist():
        if row["grade"] is not None and row["grade"] != _UNSURE and row["query_id"] not in disputed:
            negative = int(row["grade"] < _UNSURE)
            place = places.get((row["query_id"], row["doc_id"]), depth + 1)
            other = row["doc_id"] not in known.get(row["query_id"], ())
            judged.setdefault(row["query_id"], {})[row["doc_id"]] = negative, other, place, row["doc_id"]
    rows = [
        {
            "query_id": query_id,
            "doc_id": doc_id,
            "rank": None if place > depth and not negative else place,
            "role": "negative" if negative else "positive",
        }
        for query_id in query_ids
        for negative, _, place, doc_id in sorted(judged.get(query_id, {}).values())
    ]
    return rows_table("candidates", rows)


def disputed_queries(judgments: pa.Table, written_for: Mapping[str, Sequence[str]]) -> set[str]:
    """Queries of whose own passages some were graded, and none as an answer."""
    rows = judgments.to_pylist()
    own = [row for row in rows if row["doc_id"] in written_for.get(row["query_id"], ()) and row["grade"] is not None]
    return {row["query_id"] for row in own} - {row["query_id"] for row in own if row["grade"] > _UNSURE}


def scored_rows(
    judgments: pa.Table, run: pa.Table, query_ids: Sequence[str], negatives: int, least: int | None = None
) -> list[Example]:
    """Rows with scores: the passage that the teacher scores highest, and those that the student ranks best below it.

    Args:
        judgments: A `judgments` table with scores.
        run: The current student's `run`; a passage beyond it comes last.
        query_ids: The queries to train on.
        negatives: How many negatives a row has at most.
        least: A query with fewer makes no row; None: as many as that, which MarginMSE needs.

    Returns:
        A row a query at most, with the teacher's scores of its passages.
    """
    places = run_ranks(run)
    scored: dict[str, dict[str, float]] = {}
    for row in judgments.to_pylist():
        if row["score"] is not None:
            scored.setdefault(row["query_id"], {})[row["doc_id"]] = row["score"]
    rows = []
    for query_id in query_ids:
        found = sorted(scored.get(query_id, {}).items(), key=lambda pair: (-pair[1], pair[0]))
        best, rest = found[:1], found[1:]
        rest.sort(key=lambda pair: (places.get((query_id, pair[0]), len(places)), pair[0]))
        if not best or len(rest) < (negatives if least is None else least):
            continue
        chosen = rest[:negatives]
        rank = places.get((query_id, best[0][0]))
        kind = "easy" if rank == 1 else "hard"
        scores = [best[0][1], *(score for _, score in chosen)]
        reason = f"the teacher's best, {_place(rank)}"
        rows.append(Example(query_id, best[0][0], [name for name, _ in chosen], kind, reason, scores))
    return rows


def graded_lists(
    judgments: pa.Table,
    run: pa.Table,
    query_ids: Sequence[str],
    length: int,
    written_for: Mapping[str, Sequence[str]],
    documents: Mapping[str, str] | None = None,
) -> list[Example]:
    """Rows for losses that go by grades: an answer, and the graded passages that the student ranks best beside it.

    A grade g counts as (g - 1) / 3, so that a part of an answer (3) is worth two thirds of one, and other answers are
    worth as much as the first. That is one that the query was written for, where it was graded 4; without an answer
    there is no row, nor where writer and judge disagree on the query.

    Args:
        judgments: A `judgments` table with grades, of all rounds so far.
        run: The current student's `run`; a passage beyond it comes last.
        query_ids: The queries to train on.
        length: How many passages a row has at most beside the answer.
        written_for: Query id to the passages that it was written for.
        documents: Passage to document, to take only passages of the answer's document (arXiv 2512.08088).

    Returns:
        A row a query at most, with values in [0, 1] of its passages.
    """
    places, disputed = run_ranks(run), disputed_queries(judgments, written_for)
    graded: dict[str, dict[str, int]] = {}
    for query_id, doc_id, grade in each(judgments, "query_id", "doc_id", "grade"):
        if grade is not None and query_id not in disputed:
            graded.setdefault(query_id, {})[doc_id] = grade
    rows = []
    for query_id in query_ids:
        of_query, own = graded.get(query_id, {}), written_for.get(query_id, ())
        order = sorted(of_query, key=lambda doc_id: (places.get((query_id, doc_id), len(places) + 1), doc_id))
        answers = [doc_id for doc_id in order if of_query[doc_id] > _UNSURE]
        if not answers:
            continue
        best = next((doc_id for doc_id in answers if doc_id in own), answers[0])
        beside = [doc_id for doc_id in order if doc_id != best]
        if documents is not None:
            beside = [doc_id for doc_id in beside if documents[doc_id] == documents[best]]
        if not (chosen := beside[:length]):
            continue
        values = [(of_query[doc_id] - 1) / _UNSURE for doc_id in (best, *chosen)]
        rank = places.get((query_id, best))
        grades = ", ".join(str(of_query[doc_id]) for doc_id in chosen)
        reason = f"an answer {_place(rank)}, beside it grades {grades}"
        rows.append(Example(query_id, best, chosen, "easy" if rank == 1 else "hard", reason, values))
    return rows


def judged_windows(hard_positive: tuple[int, int], depth: int) -> Windows:
    """Rank windows where a teacher has looked: any graded negative will do, the best-ranked first."""
    return Windows(hard_positive, (1, depth + 1), (hard_positive[0], depth + 1))


def examples_table(examples: Sequence[Example], round_number: int) -> pa.Table:
    """Examples as an `examples` table."""
    return rows_table("examples", ({**vars(example), "round": round_number} for example in examples))


def cumulate(earlier: Sequence[pa.Table], new: pa.Table) -> pa.Table:
    """All rounds' examples together; one that comes again with the same passages stays in its first round only."""
    kept: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in pa.concat_tables([*earlier, new]).to_pylist():
        kept.setdefault((row["query_id"], row["positive_id"], *row["negative_ids"]), row)
    return pa.Table.from_pylist(list(kept.values()), schema=new.schema)


def _by_query(candidates: pa.Table) -> Iterator[tuple[str, _Ranked, _Ranked, _Ranked]]:
    """Each query with its positives, what is labelled irrelevant, and its negatives."""
    for query_id, group in groupby(each(candidates, "query_id", "role", "doc_id", "rank"), key=itemgetter(0)):
        rows = list(group)
        yield query_id, *([row[2:] for row in rows if row[1] == role] for role in _ROLES)


def _beside(positive: str, negatives: _Ranked, documents: Mapping[str, str] | None) -> _Ranked:
    """The negatives that may go with a positive: all, or those of its document."""
    return [pair for pair in negatives if documents is None or documents[pair[0]] == documents[positive]]


def _first(ranked: _Ranked, window: tuple[int, int]) -> tuple[str, int] | None:
    return next(((doc_id, rank) for doc_id, rank in ranked if rank and window[0] <= rank <= window[1]), None)


def _place(rank: int | None) -> str:
    return f"at rank {rank}" if rank else "beyond the run"


def _triplet(query_id: str, kind: str, positive: tuple[str, int], negative: tuple[str, int | None]) -> Example:
    reason = f"relevant at rank {positive[1]}, negative {_place(negative[1])}"
    return Example(query_id, positive[0], [negative[0]], kind, reason)
