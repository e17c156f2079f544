"""Which merge of a base and its students keeps the most of the domain inside the limits on forgetting.

Only measuring costs anything, so the search counts measurements and does nothing with models itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from denizen.merging.methods import METHODS, Merge

# a weight is found to a sixteenth; the domain score differs by less than its noise within that
_HALVINGS = 4


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


@dataclass(frozen=True)
class Point:
    """What a model gains in its domain and loses elsewhere, on the queries that the search may see.

    Attributes:
        name: Of the model.
        domain: MRR@5 on dev.
        changes: Set name to nDCG@10 - that of the base.
        slack: How far inside the limits it is; below 0: outside.
        candidate: The merge that it is; None: base or student.
    """

    name: str
    domain: float
    changes: Mapping[str, float]
    slack: float
    candidate: Candidate | None = None

    @property
    def inside(self) -> bool:
        """Whether the limits are kept."""
        return self.slack >= 0

    def as_dict(self) -> dict[str, Any]:
        """The point as JSON keeps it."""
        merged = {**self.candidate.recipe.as_dict(), "rounds": list(self.candidate.rounds)} if self.candidate else None
        found = {"name": self.name, "domain": self.domain, "changes": dict(self.changes), "slack": self.slack}
        return {**found, "inside": self.inside, "merge": merged}


def search(
    measure: Callable[[Candidate], Point], student: Point, best: int, rounds: int, evaluations: int, seed: int
) -> list[Point]:
    """Measures merges: first how far from the base the best student may go, then other methods, at that weight
    where they have one.

    Args:
        measure: Merges and measures.
        student: The best student by itself, as measured.
        best: Its round.
        rounds: How many students there are.
        evaluations: How many merges may be measured.
        seed: Of methods that draw.

    Returns:
        The points in the order in which they were measured; none if the student is inside the limits.
    """
    if student.inside:
        return []
    points = []
    low, high = 0.0, 1.0
    for _ in range(min(_HALVINGS, evaluations)):
        middle = (low + high) / 2
        points.append(measure(Candidate(Merge("linear", (middle,)), (best,))))
        low, high = (middle, high) if points[-1].inside else (low, middle)
    others = list(_others(low, best, rounds, seed)) if low else []
    if rounds > 1:
        # it finds its own distance from the base, which may be inside where no weight was
        others.insert(0, Candidate(Merge("model_stock", ()), tuple(range(1, rounds + 1))))
    return points + [measure(candidate) for candidate in others[: evaluations - len(points)]]


def recommended(points: list[Point]) -> Point | None:
    """The largest domain score inside the limits; None if none is inside."""
    return max((point for point in points if point.inside), key=lambda point: point.domain, default=None)


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
