"""From probabilities to where a query goes: to one domain, to two whose results are fused, or to the general model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from denizen.engine.errors import InputError
from denizen.engine.settings import Params, setting
from denizen.retrievers.routing.router import Probabilities

_Places = np.ndarray[Any, np.dtype[np.int64]]

# dev queries; of fewer a standard error says nothing
_FEWEST = 20
# of each threshold; steps of .05, no value of which dev could tell from the next
_GRID = [step / 20 for step in range(21)]


@dataclass(frozen=True)
class Route:
    """Where a query goes.

    Attributes:
        domains: Its domains, the more probable one first. None: it goes to the general model (abstention); two: what
            both find is fused.
        confidence: How probable it is that the right domain is among those that it goes to, or would have gone to.
    """

    domains: tuple[str, ...]
    confidence: float


@dataclass(frozen=True)
class Thresholds:
    """When a router abstains, and when it sends a query to two domains.

    Attributes:
        abstain_below: The confidence below which a query goes to the general model.
        second_from: The probability from which the second domain is searched, too; above .5 it never is.
    """

    abstain_below: float
    second_from: float


@dataclass(frozen=True)
class RoutingCosts(Params):
    """What a decision costs, where the wrong domain alone costs 1 and the right one alone nothing."""

    panel = "Routing"

    # a general model is half-way between the right expert and a wrong one, as long as nobody has measured it
    abstain_cost: float = setting(0.5, "Cost of abstaining, where a wrong domain costs 1.", least=0, most=1)
    # two searches, and a ranking half of which is of the other domain
    second_cost: float = setting(0.25, "Cost of two domains of which one is right.", least=0, most=1)


def decide(probabilities: Probabilities, domains: Sequence[str], thresholds: Thresholds) -> list[Route]:
    """Where each query goes; of domains with equal probabilities the first by name.

    Args:
        probabilities: Shape (queries, domains), as `Router.probabilities` gives them.
        domains: Their names.
        thresholds: Chosen on dev by `choose_thresholds`.
    """
    first, second, of_first, of_second = _best_two(probabilities)
    both = of_second >= thresholds.second_from
    sure = np.where(both, of_first + of_second, of_first)
    found = []
    for query, confidence in enumerate(sure.tolist()):
        chosen = (domains[first[query]], *([domains[second[query]]] if both[query] else []))
        found.append(Route(chosen if confidence >= thresholds.abstain_below else (), confidence))
    return found


def choose_thresholds(
    probabilities: Probabilities, domains: Sequence[str], truth: Sequence[str], costs: RoutingCosts
) -> Thresholds:
    """The thresholds by which decisions cost least.

    Of calibrated probabilities of a query that is of one of the domains they are known without a search (Chow 1970):
    abstaining costs less than one domain below 1 - abstain_cost, and two domains less than one from second_cost on, at
    the latest. Against two domains abstaining pays from a higher confidence on, and of queries that may be of none,
    too, which is left to dev: twenty queries or more replace both by the pair of a grid that costs least there, where
    the mean cost falls by more than two standard errors.

    Args:
        probabilities: Of the dev queries, shape (queries, domains).
        domains: Their names.
        truth: The domain of each query; a name that is none of them is right to be abstained from, which costs nothing.
        costs: Of decisions.

    Raises:
        InputError: When there are no queries.
    """
    if not len(truth):
        raise InputError("there are no dev queries to choose a router's thresholds on; give some of each domain")
    first, second, of_first, of_second = _best_two(probabilities)
    place = {name: at for at, name in enumerate(domains)}
    right = np.asarray([place.get(name, -1) for name in truth])
    abstained = np.where(right < 0, 0.0, costs.abstain_cost)
    alone = np.where(first == right, 0.0, 1.0)
    of_two = np.where((first == right) | (second == right), costs.second_cost, 1.0)

    def cost(of: Thresholds) -> Probabilities:
        both = of_second >= of.second_from
        sure = np.where(both, of_first + of_second, of_first) >= of.abstain_below
        found: Probabilities = np.where(sure, np.where(both, of_two, alone), abstained)
        return found

    known = Thresholds(1 - costs.abstain_cost, costs.second_cost)
    best = min((Thresholds(*pair) for pair in product(_GRID, _GRID[1:])), key=lambda of: float(cost(of).mean()))
    saved = cost(known) - cost(best)
    enough = len(saved) >= _FEWEST
    return best if enough and saved.mean() > 2 * saved.std() / len(saved) ** 0.5 else known


def _best_two(probabilities: Probabilities) -> tuple[_Places, _Places, Probabilities, Probabilities]:
    """Places and probabilities of the two most probable domains, shape (queries,) each."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    of = np.take_along_axis(probabilities, order, axis=1)
    return order[:, 0], order[:, 1], of[:, 0], of[:, 1]
