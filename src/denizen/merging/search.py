"""Which merge of a base and its students keeps the most of the domain inside the limits on forgetting.

Only measuring costs anything, so the search counts measurements, guesses the next weight from what it has measured, and
stops where the next point could not be told from what it has; it does nothing with models itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from denizen.measuring import forgetting
from denizen.measuring.forgetting import Change
from denizen.measuring.significance import Values
from denizen.merging.methods import METHODS, Merge

# weights are sixteenths; the domain score differs by less than its noise within that
_PARTS = 16
# the guess is from a curve that need not be exact, and is nearly always met twice
_LINEAR = 4
# of the limit, which a guess keeps to spare
_SPARE = 0.1


@dataclass(frozen=True)
class Candidate:
    """A merge that might be taken.

    Attributes:
        recipe: How.
        rounds: The numbers of the students that are merged with the base.
    """

    recipe: Merge
    rounds: tuple[int, ...]

    @property
    def name(self) -> str:
        """What people call it, as "slerp 0.5 of round 2"."""
        of = f"round{'s' if len(self.rounds) > 1 else ''} {', '.join(map(str, self.rounds))}"
        weight = f" {sum(self.recipe.weights):g}" if METHODS[self.recipe.method].weighted else ""
        return f"{self.recipe.method}{weight} of {of}"

    @property
    def weight(self) -> float | None:
        """How far the mean of base and one student lies from the base; None for another kind of merge."""
        alone = self.recipe.method == "linear" and len(self.rounds) == 1
        return self.recipe.weights[0] if alone else None


@dataclass(frozen=True)
class Point:
    """What a model gains in its domain and loses elsewhere, on the queries that the search may see.

    Attributes:
        name: Of the model.
        values: MRR@5 in the domain, by query; None where it was not measured, since the model is outside anyway.
        changes: Set name to how it differs from the base there.
        limit: How far a mean may fall.
        items: On how many items of all sets that was measured.
        candidate: The merge that it is; None: base or student.
    """

    name: str
    values: Values | None
    changes: Mapping[str, Change]
    limit: float
    items: int = 0
    candidate: Candidate | None = None

    @property
    def domain(self) -> float | None:
        """The mean of its values."""
        return None if self.values is None else float(self.values.mean())

    @property
    def slack(self) -> float:
        """How far inside the limits it is; below 0: outside."""
        return forgetting.slack(self.changes.values(), self.limit)

    @property
    def inside(self) -> bool:
        """Whether the limits are kept."""
        return self.slack >= 0

    def as_dict(self) -> dict[str, Any]:
        """The point as JSON keeps it."""
        merged = {**self.candidate.recipe.as_dict(), "rounds": list(self.candidate.rounds)} if self.candidate else None
        means = {name: change.value for name, change in self.changes.items()}
        found = {"name": self.name, "domain": self.domain, "changes": means, "slack": self.slack, "items": self.items}
        return {**found, "inside": self.inside, "merge": merged}


def search(
    measure: Callable[[Candidate], Point],
    student: Point,
    best: int,
    rounds: int,
    evaluations: int,
    seed: int,
    enough: Callable[[Point], bool],
) -> list[Point]:
    """Measures merges: first how far from the base the best student may go, then other methods at that weight.

    How much is forgotten grows about as the square of the distance from the base, so the next weight is guessed from
    the nearest that was measured. Where the student itself is not better than a merge inside the limits by more than
    chance, no other merge will be: the search ends.

    Args:
        measure: Merges and measures.
        student: The best student by itself, as measured.
        best: Its round.
        rounds: How many students there are.
        evaluations: How many merges may be measured.
        seed: Of methods that draw.
        enough: Whether a merge inside the limits is worth taking, and the student no better by more than chance.

    Returns:
        The points in the order in which they were measured; none if the student is inside the limits.
    """
    if student.inside:
        return []
    points: list[Point] = []
    low, high, nearest = 0.0, 1.0, (1.0, student)
    while len(points) < min(_LINEAR, evaluations):
        weight = _guess(low, high, *nearest)
        if weight is None:
            break
        found = measure(Candidate(Merge("linear", (weight,)), (best,)))
        points.append(found)
        nearest = weight, found
        if not found.inside:
            high = weight
        elif enough(found):
            return points
        else:
            low = weight
    others = list(_others(low, best, rounds, seed)) if low else []
    if rounds > 1:
        # it finds its own distance from the base, which may be inside where no weight was
        others.insert(0, Candidate(Merge("model_stock", ()), tuple(range(1, rounds + 1))))
    return points + [measure(candidate) for candidate in others[: evaluations - len(points)]]


def recommended(points: Sequence[Point], proven: Callable[[list[Values]], int] | None) -> Point | None:
    """Which of the points inside is taken; None if none is.

    Args:
        points: In the order in which they were measured.
        proven: Of the values of several, the first by default, says which has proven itself; the weight nearest to the
            student is the default then. None: the largest domain score is taken.
    """
    inside = [point for point in points if point.inside and point.values is not None]
    if not inside:
        return None
    if proven is None:
        return max(inside, key=lambda point: point.domain or 0.0)
    weights = {id(point): point.candidate.weight for point in inside if point.candidate and point.candidate.weight}
    default = max(inside, key=lambda point: weights.get(id(point), 0.0))
    ordered = [default, *(point for point in inside if point is not default and id(point) not in weights)]
    return ordered[proven([point.values for point in ordered if point.values is not None])]


def _guess(low: float, high: float, weight: float, measured: Point) -> float | None:
    """The largest weight between two that should be inside, from what was measured at another one; None: none is left.

    Where nothing should be, the one in the middle: the curve is only about a square.
    """
    steps = [step / _PARTS for step in range(1, _PARTS) if low < step / _PARTS < high]
    for step in reversed(steps):
        ratio = step / weight
        changes = [
            replace(found, value=found.value * ratio**2, error=found.error * ratio)
            for found in measured.changes.values()
        ]
        if forgetting.slack(changes, measured.limit) >= _SPARE * measured.limit:
            return step
    # above a weight that is inside nothing is expected any more
    return steps[len(steps) // 2] if steps and not low else None


def _others(weight: float, best: int, rounds: int, seed: int) -> Iterator[Candidate]:
    """Other merges as far from the base. Task arithmetic is not among them: with these weights it is the linear one."""
    every = tuple(range(1, rounds + 1))
    shares = tuple(weight / rounds for _ in every)
    if rounds > 1:
        yield Candidate(Merge("linear", shares), every)
    yield Candidate(Merge("slerp", (weight,)), (best,))
    ties = Merge("ties", shares, seed=seed)
    yield Candidate(ties, every)
    yield Candidate(replace(ties, method="dare_ties"), every)
