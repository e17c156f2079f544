"""What a threshold of similarity is worth on labelled queries, and which threshold of another model is worth the same.

A threshold lets through what is at least as similar as it. Of a query its best relevant passage should be let through,
and nothing else: the true positive rate is the share of queries whose most similar relevant passage is, the false
positive rate the share of those whose most similar other passage is. What is relevant and has no label counts as wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from denizen.data.tables import rankings, relevant
from denizen.engine.progress import Progress
from denizen.measuring.dependence import groups
from denizen.measuring.retrieval_sets import RetrievalSet
from denizen.retrievers.bi_encoder import BiEncoder

Values = np.ndarray[Any, np.dtype[np.float64]]
Kind = Literal["true_positive", "false_positive"]
KINDS: tuple[Kind, Kind] = ("true_positive", "false_positive")

# thresholds of which rates are kept
GRID = tuple(step / 50 for step in range(51))
# false positive rates for which the threshold is said
WANTED = (0.01, 0.05, 0.1)
_RESAMPLES = 1_000
_LEVEL = (2.5, 97.5)


@dataclass(frozen=True)
class Similarities:
    """Of each query the cosine of its most similar relevant passage, and of its most similar other one.

    Attributes:
        true_positive: Shape (queries,); -1 where a query has none.
        false_positive: The same.
    """

    true_positive: Values
    false_positive: Values

    def of(self, kind: Kind) -> Values:
        """Those that decide on a rate."""
        return self.true_positive if kind == "true_positive" else self.false_positive


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def similarities(model: BiEncoder, asked: RetrievalSet, progress: Progress) -> Similarities:
    """Embeds and searches.

    Args:
        model: One that compares by cosine.
        asked: Queries, passages and what is relevant.
        progress: Is shown bars.
    """
    known = relevant(asked.qrels)
    index = model.index(asked.corpus, progress)
    # of one more than are relevant, one at least is not
    depth = 1 + max(len(known[query_id]) for query_id in asked.queries)
    found = rankings(model.search(index, asked.queries, depth, progress))
    place = {doc_id: row for row, doc_id in enumerate(index.doc_ids)}
    vectors = model.embed(index, asked.queries, progress)
    right, wrong = list[float](), list[float]()
    for vector, query_id in zip(vectors, asked.queries, strict=True):
        rows = [place[doc_id] for doc_id in known[query_id] if doc_id in place]
        right.append(max((float(vector @ index.vectors[row : row + 1][0]) for row in rows), default=-1.0))
        others = (score for doc_id, score in found.get(query_id, []) if doc_id not in known[query_id])
        wrong.append(max(others, default=-1.0))
    return Similarities(np.asarray(right), np.asarray(wrong))


def resampled_weights(asked: RetrievalSet, seed: int = 0) -> Values:
    """How often each query is drawn in each of 1,000 resamples, those about one document together.

    Returns:
        Shape (resamples, queries).
    """
    of = np.asarray(groups(list(asked.queries), asked.qrels, asked.corpus).numbers(list(asked.queries)))
    count = int(of.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    weights: Values = drawn[:, of].astype(np.float64)
    return weights


def rates(of: Similarities, weights: Values) -> list[dict[str, Any]]:
    """For each threshold of the grid both rates with their intervals."""
    sums = weights.sum(axis=1)
    found: list[dict[str, Any]] = [{"threshold": threshold} for threshold in GRID]
    for kind in KINDS:
        for row in found:
            above = (of.of(kind) >= row["threshold"]).astype(np.float64)
            low, high = np.percentile(weights @ above / sums, _LEVEL)
            row[kind] = asdict(Interval(float(above.mean()), float(low), float(high)))
    return found


def equal_threshold(old: Values, new: Values, threshold: float, weights: Values) -> Interval | None:
    """The threshold of a new model that lets through as many queries as a threshold of the old one.

    It stands half-way between the last similarity that is let through and the first that is not.

    Args:
        old: Similarities by the old model, shape (queries,).
        new: By the new one, of the same queries.
        threshold: Of the old model.
        weights: Shape (resamples, queries), for the interval.

    Returns:
        None where all queries or none are let through: then any threshold beyond them would do.
    """
    above = old >= threshold
    if above.all() or not above.any():
        return None
    order = np.argsort(-new, kind="stable")
    ordered = new[order]

    def cut(weight: Values) -> float:
        counts = np.cumsum(weight[order])
        # how many are let through, by their weights; sums of whole numbers are exact
        last = int(np.searchsorted(counts, weight[above].sum(), side="right"))
        inside = [ordered[at] for at in (last - 1, last) if 0 <= at < len(ordered)]
        return float(np.mean(inside))

    low, high = np.percentile([cut(weight) for weight in weights], _LEVEL)
    return Interval(cut(np.ones(len(new))), float(low), float(high))


def mapping(old: Similarities, new: Similarities, thresholds: Sequence[float], weights: Values) -> list[dict[str, Any]]:
    """For each threshold of the old model its `rates`, and of each kind the new threshold with an equal rate.

    None stands where all queries or none are let through.
    """
    found = []
    for threshold in thresholds:
        shares = {kind: float((old.of(kind) >= threshold).mean()) for kind in KINDS}
        row: dict[str, Any] = {"threshold": threshold, "rates": shares}
        for kind in KINDS:
            equal = equal_threshold(old.of(kind), new.of(kind), threshold, weights)
            row[kind] = asdict(equal) if equal else None
        found.append(row)
    return found


def at_false_positive_rates(of: Similarities) -> list[dict[str, float]]:
    """The lowest threshold at which no more than 1, 5 and 10 % of queries let something wrong through.

    Returns:
        `wanted`, `threshold`, and the `true_positive` and `false_positive` rate there, of each.
    """
    ordered = np.sort(of.false_positive)[::-1]
    found = []
    for wanted in WANTED:
        allowed = int(wanted * len(ordered))
        # just above the first that may not be let through
        threshold = float(np.nextafter(ordered[allowed], np.inf)) if allowed < len(ordered) else -1.0
        right, wrong = (float((of.of(kind) >= threshold).mean()) for kind in KINDS)
        row = {"wanted": wanted, "threshold": threshold, "true_positive": right, "false_positive": wrong}
        found.append(row)
    return found


def pooled(parts: Mapping[str, Similarities]) -> Similarities:
    """All queries of several sets as one."""
    return Similarities(*(np.concatenate([of.of(kind) for of in parts.values()]) for kind in KINDS))
