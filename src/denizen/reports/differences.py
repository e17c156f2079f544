"""Differences with their intervals, as people read them."""

from __future__ import annotations

from collections.abc import Mapping


def percent(found: Mapping[str, float]) -> str:
    """A share by which something changes, with its interval."""
    return f"{100 * found['value']:+.1f} % [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"


def points(found: Mapping[str, float]) -> str:
    """A difference of shares in points, with its interval."""
    return f"{100 * found['value']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"


def signed(found: Mapping[str, float]) -> str:
    """A difference with its interval."""
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
