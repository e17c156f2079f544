"""How good a router is: how often it is right, how sure, what it confuses, and whether it knows strangers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from denizen.measuring.agreement import rate
from denizen.retrievers.routing.calibration import expected_calibration_error
from denizen.retrievers.routing.decision import Route, Thresholds, decide
from denizen.retrievers.routing.labelled import LabelledQueries
from denizen.retrievers.routing.router import Router

_Values = np.ndarray[Any, np.dtype[np.float64]]
_Flags = np.ndarray[Any, np.dtype[np.bool_]]

_RESAMPLES = 1_000
# single queries that are timed, after some that warm up
_TIMED, _WARMING = 200, 10
# a domain of fewer test queries has an interval that hardly says anything: 19 of 20 right are .76 to .99
FEW = 30


def measure_router(router: Router, thresholds: Thresholds, asked: LabelledQueries, seed: int = 0) -> dict[str, Any]:
    """Figures of a router on queries that it has not seen.

    Args:
        router: The router.
        thresholds: When it abstains, chosen on dev.
        asked: The queries; those of no domain measure abstention, and nothing else.
        seed: Of the bootstrap.

    Returns:
        `accuracy` of the most probable domain with its Wilson interval, whole (`value`, `low`, `high`, `count`) and by
        domain, `ece`, `abstention` (`abstention_auroc`), `decisions`, and `confused`: pairs of true and said domain by
        number, all of them. Shares of what is not there are None.
    """
    probabilities = router.probabilities(asked.texts, asked.embeddings)
    places = np.asarray(asked.places(router.domains))
    inside = places >= 0
    confidence = probabilities.max(axis=1)
    # of zeros the first would be the most probable: who says nothing is not right, and confuses nothing
    said = np.where(confidence > 0, probabilities.argmax(axis=1), -1)
    right = (said == places) & inside
    wrong = inside & ~right & (said >= 0)
    pairs = Counter(zip(places[wrong].tolist(), said[wrong].tolist(), strict=True))
    by_domain = {
        name: asdict(found)
        for at, name in enumerate(router.domains)
        if (found := rate(right[places == at])) is not None
    }
    return {
        "accuracy": _share(right[inside]),
        "by_domain": by_domain,
        "ece": expected_calibration_error(confidence[inside], right[inside]),
        "abstention": abstention_auroc(confidence, inside, seed),
        "decisions": decisions_of(decide(probabilities, router.domains, thresholds), asked.domains, router.domains),
        "confused": [
            {"true": router.domains[true], "said": router.domains[other], "queries": count}
            for (true, other), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        ],
        "few": sorted(name for name, of in by_domain.items() if of["count"] < FEW),
    }


def abstention_auroc(confidence: _Values, inside: _Flags, seed: int = 0) -> dict[str, float] | None:
    """The probability that a query of a domain is surer than one of none: the area under the ROC curve.

    Args:
        confidence: Shape (queries,).
        inside: Whether each is of a domain, shape (queries,).
        seed: Of the bootstrap over queries, 1,000 resamples.

    Returns:
        `value`, `low` and `high` (95 %); None where all or none are of a domain.
    """
    known, others = confidence[inside], confidence[~inside]
    if not len(known) or not len(others):
        return None
    random = np.random.default_rng(seed)
    drawn = [_auroc(random.choice(known, len(known)), random.choice(others, len(others))) for _ in range(_RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": _auroc(known, others), "low": float(low), "high": float(high)}


def decisions_of(routes: Sequence[Route], truth: Sequence[str], domains: Sequence[str]) -> dict[str, Any]:
    """What came of decisions.

    Args:
        routes: Where each query went.
        truth: Its domain.
        domains: The router's.

    Returns:
        Shares with Wilson intervals, each None where there is nothing to count: `abstained` of queries of a domain,
        `abstained_outside` of those of none, `two_domains` of those that were routed, and `right`: of the routed
        queries of a domain, those whose domain is where they went.
    """
    known = [(route, name) for route, name in zip(routes, truth, strict=True) if name in domains]
    others = [route for route, name in zip(routes, truth, strict=True) if name not in domains]
    routed = [(route, name) for route, name in known if route.domains]
    return {
        "abstained": _share([not route.domains for route, _ in known]),
        "abstained_outside": _share([not route.domains for route in others]),
        "two_domains": _share([len(route.domains) == 2 for route, _ in routed]),
        "right": _share([name in route.domains for route, name in routed]),
    }


def milliseconds_a_query(router: Router, asked: LabelledQueries) -> float:
    """The median processor time of a decision beyond the embedding, one query at a time.

    Summed over cores, so that what else the machine does at the time does not count.
    """
    ids = list(asked.texts)[: _TIMED + _WARMING]
    ticks = [time.process_time()]
    for row, query_id in enumerate(ids):
        router.probabilities({query_id: asked.texts[query_id]}, asked.embeddings[row : row + 1])
        ticks.append(time.process_time())
    seconds = [after - before for before, after in pairwise(ticks)][min(_WARMING, len(ids) - 1) :]
    return float(np.median(seconds) * 1000)


def _share(of: Sequence[bool] | _Flags) -> dict[str, float] | None:
    found = rate(np.asarray(of, dtype=bool))
    return asdict(found) if found else None


def _auroc(higher: _Values, lower: _Values) -> float:
    """Mann-Whitney's U over the number of pairs; a tie counts half."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, side="left") + np.searchsorted(ordered, higher, side="right")
    return float(below.sum() / 2 / len(higher) / len(lower))
