"""Which steps made what, as their records say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def made_from(steps: Mapping[str, Mapping[str, Any]], place: str) -> list[str]:
    """The places of all steps that a step goes back to, each after those that it has read; the last is the step itself.

    Args:
        steps: Place to the contents of its step.json.
        place: Where the step is; nothing is found where there is none.
    """
    found: dict[str, None] = {}
    seen: set[str] = set()

    def follow(at: str) -> None:
        # a step that another run made, in a store that both share, may name places that this run has not
        if at in steps and at not in seen:
            seen.add(at)
            for other in steps[at]["made_from"]:
                follow(other)
            found[at] = None

    follow(place)
    return list(found)
