"""Models compared by pooled grades (arXiv 2512.08088, section on evaluation).

What any of the models ranks among the best names the documents to look into; in each (query, document) every model's
best passages are pooled and graded, until the standard errors of all figures are small. Random pairs estimate the
average. Those where the models disagree and an answer is near tell models apart with fewer grades, and overstate the
gain that a user would see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from denizen.engine.errors import InputError
from denizen.engine.progress import Progress
from denizen.llm.answer import Failure, cut_off
from denizen.measuring.gains import enough
from denizen.measuring.significance import paired_difference
from denizen.retrievers.encoder import Encoder
from denizen.retrievers.store import Vectors

MEASURES = ("MRR@5", "DCG@5")
_MOMENTS = ("mean", "standard_error")
_TOP = 5
# standard error over mean (the paper)
_SURE = 0.05
# fewer say nothing about a standard error
_LEAST = 50
# units that are graded before the standard errors are looked at again
_BATCH = 50
# of the pairs by disagreement and nearness; the paper does not say which share it draws from
_DISAGREEING = 4

# numbers of queries and passages to whether these answer those, or why nobody knows
Judge = Callable[[Sequence[tuple[int, int]]], Sequence[bool | Failure]]


class View(NamedTuple):
    """Similarities, shape (queries, passages), and embeddings of the passages, shape (passages, dim), unit length."""

    scores: Vectors
    passages: Vectors


@dataclass(frozen=True)
class Unit:
    """A (query, document) pair: the number of the query, and model to the numbers of its best passages there."""

    query: int
    best: Mapping[str, Sequence[int]]

    @property
    def pooled(self) -> list[tuple[int, int]]:
        """Query and passage of what is to be graded."""
        return list(dict.fromkeys((self.query, at) for best in self.best.values() for at in best))


class Drawing:
    """The measures of several models, of which the first is the base, on the units that were drawn so far."""

    def __init__(self, names: Iterable[str]) -> None:
        self.values: dict[str, dict[str, list[float]]] = {measure: {name: [] for name in names} for measure in MEASURES}
        self.queries: list[int] = []

    def add(self, query: int, answers: Mapping[str, Sequence[bool]]) -> None:
        """One unit: the number of its query, and for each model whether its best passages answer, by rank."""
        self.queries.append(query)
        for name, ranked in answers.items():
            gains = np.array(ranked) / np.log2(np.arange(2, len(ranked) + 2))
            self.values["MRR@5"][name].append(1 / (1 + ranked.index(True)) if True in ranked else 0.0)
            self.values["DCG@5"][name].append(float(gains.sum()))

    @property
    def sure(self) -> bool:
        """Whether every standard error is below 5 % of its mean."""
        found = [moments(values, self.queries) for of_model in self.values.values() for values in of_model.values()]
        return len(self.queries) >= _LEAST and all(error < _SURE * mean for mean, error in found)

    def summary(self) -> dict[str, Any]:
        """Means with standard errors, and the paired differences to the base."""
        found: dict[str, Any] = {"pairs": len(self.queries), "means": {}, "differences": {}}
        for measure, of_model in self.values.items():
            each = {name: moments(values, self.queries) for name, values in of_model.items()}
            found["means"][measure] = {name: dict(zip(_MOMENTS, both, strict=True)) for name, both in each.items()}
            (_, base), *others = ((name, np.array(values)) for name, values in of_model.items())
            found["differences"][measure] = {
                name: asdict(paired_difference(values, base, groups=self.queries)) for name, values in others
            }
        return found

    def by_domain(self, domains: Sequence[str]) -> dict[str, Any]:
        """The same for each domain by itself, and whether there is enough of it; nothing where there is but one.

        Args:
            domains: That of each query, by number.
        """
        places: dict[str, list[int]] = {}
        for at, query in enumerate(self.queries):
            places.setdefault(domains[query], []).append(at)
        if len(places) < 2:
            return {}
        found = {name: self._only(places[name]) for name in sorted(places)}
        return {name: {**part.summary(), "enough": enough(part.queries)} for name, part in found.items()}

    def _only(self, places: Sequence[int]) -> Drawing:
        found = Drawing(next(iter(self.values.values())))
        found.queries = [self.queries[at] for at in places]
        for measure, of_model in self.values.items():
            found.values[measure] = {name: [values[at] for at in places] for name, values in of_model.items()}
        return found


def view(encoder: Encoder, passages: Sequence[str], queries: Sequence[str], progress: Progress) -> View:
    """What a model sees of passages and queries."""
    with progress.bar(len(passages) + len(queries), "texts") as advance:
        vectors = encoder.encode(passages, "document", advance)[:]
        return View(encoder.encode(queries, "query", advance)[:] @ vectors.T, vectors)


def pooled_units(views: Mapping[str, View], parents: Sequence[str], found_by: int) -> list[Unit]:
    """For each query the documents that own one of any model's `found_by` best passages."""
    members: dict[str, list[int]] = {}
    for at, parent in enumerate(parents):
        members.setdefault(parent, []).append(at)
    units = []
    for query, rows in enumerate(zip(*(seen.scores for seen in views.values()), strict=True)):
        for parent in dict.fromkeys(parents[at] for row in rows for at in np.argsort(-row, kind="stable")[:found_by]):
            inside = np.array(members[parent])
            best = [inside[np.argsort(-row[inside], kind="stable")[:_TOP]].tolist() for row in rows]
            units.append(Unit(query, dict(zip(views, best, strict=True))))
    return units


def compare(units: Sequence[Unit], base: View, judge: Judge, seed: int, domains: Sequence[str] = ()) -> dict[str, Any]:
    """Measures the models on random units and, where there are several, on those where they disagree.

    Where an answer is near is what the first model, the base, sees.

    Args:
        units: What may be graded.
        base: What the first model sees.
        judge: Who grades.
        seed: Seed of the order.
        domains: The domain of each query, by number, for figures of each; none: not known.

    Raises:
        InputError: When no unit could be graded as a whole.
    """
    order = np.random.default_rng(seed).permutation(len(units))
    found = {"random": _measure([units[at] for at in order], judge, domains)}
    if len(units[0].best) > 1:
        bests = [list(unit.best.values()) for unit in units]
        far = [disagreement(base.passages[best[0]], base.passages[best[-1]]) for best in bests]
        near = [base.scores[unit.query, best[0][0]] for unit, best in zip(units, bests, strict=True)]
        ranks = sum(np.argsort(np.argsort(-np.array(values))) for values in (far, near))
        order = np.argsort(ranks, kind="stable")[: math.ceil(len(units) / _DISAGREEING)]
        found["disagreeing"] = _measure([units[at] for at in order], judge, domains)
        found["disagreeing"]["note"] = "drawn where the models disagree: optimistic as an estimate of the average"
    return found


def _measure(units: Sequence[Unit], judge: Judge, domains: Sequence[str]) -> dict[str, Any]:
    """Grades units in their order until the figures are sure enough, or units or budget end."""
    drawing, failed, ended = Drawing(units[0].best), 0, "all pairs were graded"
    for begin in range(0, len(units), _BATCH):
        batch = units[begin : begin + _BATCH]
        asked = [pair for unit in batch for pair in unit.pooled]
        told = judge(asked)
        known = {pair: said for pair, said in zip(asked, told, strict=True) if not isinstance(said, Failure)}
        # what was not graded is unknown, and no wrong answer
        whole = [unit for unit in batch if known.keys() >= set(unit.pooled)]
        for unit in whole:
            drawing.add(unit.query, {name: [known[unit.query, at] for at in best] for name, best in unit.best.items()})
        if cut_off(told):
            ended = "the budget ended"
            break
        failed += len(batch) - len(whole)
        if drawing.sure:
            ended = "every standard error is below 5 % of its mean"
            break
    if not drawing.queries:
        raise InputError(
            f"no (query, document) pair was graded as a whole ({failed:,} failed): {ended}; raise the budget, or take "
            "another judge"
        )
    by_domain = drawing.by_domain(domains) if domains else {}
    return {"ended": ended, "not_wholly_graded": failed, **drawing.summary(), "by_domain": by_domain}


def moments(values: Sequence[float], groups: Sequence[int]) -> tuple[float, float]:
    """Mean of some values and its standard error; those of one group depend on each other (Liang and Zeger 1986)."""
    found = np.asarray(values, dtype=np.float64)
    mean = float(found.mean())
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(inverse, weights=found - mean)
    if len(sums) < 2:
        return mean, math.inf
    return mean, float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(found))


def disagreement(one: Vectors, other: Vectors) -> float:
    """How far two sets of passages, shape (passages, dim), are apart (modified Hausdorff: Dubuisson and Jain 1994).

    The larger of the two mean distances of a set's members to the nearest member of the other set.
    """
    distances = 1 - one @ other.T
    return float(max(distances.min(axis=1).mean(), distances.min(axis=0).mean()))
