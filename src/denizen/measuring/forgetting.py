"""What a model has forgotten: how far its values on probes lie below the base's, and whether that is too far.

All arithmetic is over values per item, whatever an item is: a query, or a text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from denizen.engine.errors import InputError

# the normal distribution's, for 5 %
_ONE_SIDED = 1.645


@dataclass(frozen=True)
class Change:
    """How a model differs from the base on a probe.

    Attributes:
        role: The probe's.
        value: Mean of (model - base) over items; below 0: it has become worse.
        error: Standard error of the mean; 0 where nothing is known of it.
    """

    role: str
    value: float
    error: float = 0.0


def change(role: str, before: Mapping[str, float], after: Mapping[str, float]) -> Change:
    """The change on a probe from the base's values by item to a model's.

    Raises:
        InputError: When the items are not the same, or there are none.
    """
    if not before or before.keys() != after.keys():
        raise InputError(
            f"a change needs values of the same items, at least one; there are {len(before)} and {len(after)}, "
            f"{len(before.keys() & after.keys())} of them in both"
        )
    delta = np.array([after[item] - value for item, value in before.items()])
    error = float(delta.std(ddof=1)) / math.sqrt(len(delta)) if len(delta) > 1 else 0.0
    return Change(role, float(delta.mean()), error)


def by_role(changes: Iterable[Change]) -> dict[str, float]:
    """Role to the mean change over its probes."""
    return {found.role: found.value for found in _of_roles(changes)}


def reported(probes: Mapping[str, Any], system: str = "adapted") -> dict[str, float]:
    """Role to the mean change of a system, from the reports of probes by name."""
    found = [
        Change(report["role"], report["differences"][system][report["measure"]]["value"]) for report in probes.values()
    ]
    return by_role(found)


def slack(changes: Iterable[Change], limit: float) -> float:
    """How far inside the limit the worst role is, on items that may decide; below 0: outside, infinite: no probe.

    The limit is met on items that the decision does not see, so it must be met here with one standard error to spare;
    but half of it may always be used: where a probe cannot tell the limit from nothing, no fall at all would refuse
    every second model that has lost nothing. The limit is on the mean over the probes of a role.
    """
    room = (found.value + max(limit / 2, limit - found.error) for found in _of_roles(changes))
    return min(room, default=math.inf)


def clearly_outside(changes: Iterable[Change], limit: float) -> bool:
    """Whether the mean of a role falls by more than the limit, by more than chance (one-sided, 5 %)."""
    return any(found.value + _ONE_SIDED * found.error < -limit for found in _of_roles(changes))


def met(means: Mapping[str, float], limit: float) -> bool:
    """Whether the mean change of no role, as of `by_role`, is a fall by more than the limit."""
    return all(mean >= -limit for mean in means.values())


def _of_roles(changes: Iterable[Change]) -> Iterator[Change]:
    """The mean change over the probes of each role."""
    roles: dict[str, list[Change]] = {}
    for each in changes:
        roles.setdefault(each.role, []).append(each)
    for role, of in roles.items():
        mean = sum(found.value for found in of) / len(of)
        yield Change(role, mean, math.sqrt(sum(found.error**2 for found in of)) / len(of))
