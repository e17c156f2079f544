"""How long one domain more takes by each option, from the seconds that the steps of a run have taken."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

Records = Mapping[str, Mapping[str, Any]]


def seconds_to_add(steps: Records, passages: Mapping[str, int]) -> dict[str, float]:
    """What would have to be done for a domain if the others were there already, the mean over domains.

    Its corpus and its examples are made for every option that trains. What is embedded anew is counted by the passages:
    those of the domain by what is there, or all of them by a model that is new. Calibrating an expert embeds its own.

    Args:
        steps: Place of each finished step to its record; what was found in a store counts as it was made.
        passages: Domain to how many passages it has.
    """
    embedded = sum(_seconds(steps, f"slices/{name}/embeddings") for name in passages)
    whole = sum(passages.values())
    rate, others = embedded / max(1, whole), len(passages) - 1
    merge, routers = _seconds(steps, "merge"), _seconds(steps, "routers")
    joint = {name: _seconds(steps, f"joint/{name}") for name in ("pool", "sampled", "joint", "joint-apart")}
    mixed = joint["pool"] + joint["sampled"]
    found: dict[str, list[float]] = {}
    for name, count in passages.items():
        own = sum(_seconds(steps, place) for place in steps if place.startswith(f"slices/{name}/"))
        expert = own + _seconds(steps, f"experts/{name}")
        calibrated = expert + _seconds(steps, f"calibrations/{name}")
        # a new expert embeds all, and all other experts what is new
        everywhere = rate * (whole + others * count)
        dev = _seconds(steps, f"experts-dev/expert-{name}")
        of_domain = {
            "base": rate * count,
            "joint": own + mixed + joint["joint"] + rate * whole,
            "joint-apart": own + mixed + joint["joint-apart"] + rate * whole,
            "merged": expert + dev + merge + rate * whole,
            "routed": expert + routers + rate * count,
            "routed-adapters": expert + routers + rate * count,
            "routed-everywhere": expert + routers + everywhere,
            "federated-z": calibrated,
            "federated-isotonic": calibrated,
            "ensemble-z": calibrated + everywhere - rate * count,
            "ensemble-rrf": expert + everywhere,
            "ensemble-vectors": expert + everywhere,
        }
        for option, seconds in of_domain.items():
            found.setdefault(option, []).append(seconds)
    return {option: round(fmean(seconds), 1) for option, seconds in found.items()}


def _seconds(steps: Records, place: str) -> float:
    return float(steps.get(place, {}).get("seconds", 0.0))
