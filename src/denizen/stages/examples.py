"""Training examples from mined candidates; each says of which kind it is and why it was chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from denizen.core.tables import table


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


@dataclass(frozen=True)
class _Mined:
    """The candidates of one query: (doc_id, rank), by rank; a positive beyond the run has no rank."""

    query_id: str
    positives: list[tuple[str, int | None]]
    negatives: list[tuple[str, int]]


def triplets(candidates: pa.Table, windows: Windows, easy_per_hard: float, seed: int) -> list[Example]:
    """At most one hard and one easy triplet a query, as the gold-label recipe makes them.

    Hard: the best-ranked relevant passage of the hard window with the best-ranked negative of its window. Easy: the
    best-ranked relevant passage above the hard window with the first negative of the easy window (or, where there is
    none, of the hard one); easy ones keep what the model already does right, and are sampled down to
    `easy_per_hard` for each hard one.

    Args:
        candidates: A `candidates` table.
        windows: The rank windows.
        easy_per_hard: Limit on easy triplets for each hard one.
        seed: Seed of the sampling.

    Returns:
        Hard triplets, then easy ones, each in the order of the candidates.
    """
    hard, easy = [], []
    for mined in _by_query(candidates):
        hard_negative = _first(mined.negatives, windows.hard_negative)
        easy_negative = _first(mined.negatives, windows.easy_negative) or hard_negative
        low = _first(mined.positives, windows.hard_positive)
        high = _first(mined.positives, (1, windows.hard_positive[0] - 1))
        if low and hard_negative:
            hard.append(_triplet(mined.query_id, "hard", low, hard_negative))
        if high and easy_negative:
            easy.append(_triplet(mined.query_id, "easy", high, easy_negative))
    limit = math.floor(easy_per_hard * len(hard) + 1e-9)
    if len(easy) > limit:
        chosen = np.random.default_rng(seed).choice(len(easy), size=limit, replace=False)
        easy = [easy[at] for at in sorted(chosen.tolist())]
    return hard + easy


def contrastive_rows(candidates: pa.Table, windows: Windows, negatives: int, positives_per_query: int) -> list[Example]:
    """Rows for InfoNCE or GIST: every query with a relevant passage and its best-ranked negatives.

    A row is hard when its positive lies in or beyond the hard window. A query without enough negatives in the hard
    window gets fewer; in-batch negatives are there all the same.

    Args:
        candidates: A `candidates` table.
        windows: The rank windows.
        negatives: How many mined negatives a row gets at most.
        positives_per_query: How many relevant passages of a query become rows, best-ranked first; 0: all.

    Returns:
        The rows in the order of the candidates.
    """
    rows = []
    first, last = windows.hard_negative
    for mined in _by_query(candidates):
        chosen = [(doc_id, rank) for doc_id, rank in mined.negatives if first <= rank <= last][:negatives]
        ranks = ", ".join(str(rank) for _, rank in chosen) or "none"
        for doc_id, rank in mined.positives[: positives_per_query or None]:
            kind = "easy" if rank is not None and rank < windows.hard_positive[0] else "hard"
            place = f"at rank {rank}" if rank is not None else "beyond the run"
            reason = f"relevant {place}, negatives at ranks {ranks}"
            rows.append(Example(mined.query_id, doc_id, [name for name, _ in chosen], kind, reason))
    return rows


def examples_table(examples: Sequence[Example], round_number: int) -> pa.Table:
    """Examples as an `examples` table."""
    names = ("query_id", "positive_id", "negative_ids", "kind", "reason")
    columns = {name: [getattr(example, name) for example in examples] for name in names}
    return table("examples", {**columns, "round": [round_number] * len(examples)})


def cumulate(earlier: Sequence[pa.Table], new: pa.Table) -> pa.Table:
    """All rounds' examples together; one that comes again with the same passages stays in its first round only."""
    seen: set[tuple[str, str, tuple[str, ...]]] = set()
    kept = []
    for row in pa.concat_tables([*earlier, new]).to_pylist():
        key = (row["query_id"], row["positive_id"], tuple(row["negative_ids"]))
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return pa.Table.from_pylist(kept, schema=new.schema)


def _by_query(candidates: pa.Table) -> Iterator[_Mined]:
    mined: _Mined | None = None
    columns = (candidates[name].to_pylist() for name in ("query_id", "doc_id", "rank", "role"))
    for query_id, doc_id, rank, role in zip(*columns, strict=True):
        if mined is None or mined.query_id != query_id:
            if mined is not None:
                yield mined
            mined = _Mined(query_id, [], [])
        (mined.positives if role == "positive" else mined.negatives).append((doc_id, rank))
    if mined is not None:
        yield mined


def _first(
    ranked: Sequence[tuple[str, int | None]] | Sequence[tuple[str, int]], window: tuple[int, int]
) -> tuple[str, int] | None:
    return next(
        ((doc_id, rank) for doc_id, rank in ranked if rank is not None and window[0] <= rank <= window[1]), None
    )


def _triplet(query_id: str, kind: str, positive: tuple[str, int], negative: tuple[str, int]) -> Example:
    reason = f"relevant at rank {positive[1]}, negative at rank {negative[1]}"
    return Example(query_id, positive[0], [negative[0]], kind, reason)
