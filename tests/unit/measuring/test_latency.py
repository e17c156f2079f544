"""Which queries an option is timed with."""

from __future__ import annotations

import pytest

from denizen.measuring.latency import spread


@pytest.mark.parametrize("count", [1, 10, 24, 25, 26, 39, 1000])
def test_no_query_is_asked_twice_and_all_domains_are(count: int) -> None:
    """A text that was asked before is found in the store, and would take the time of none."""
    asked = [f"{'law' if at < count // 2 else 'web'} {at}" for at in range(count)]
    found = spread(asked, 25)
    assert len(found) == len(set(found)) == min(25, count)
    assert found == spread(asked, 25)
    law = sum(text.startswith("law") for text in found)
    assert abs(law - len(found) / 2) <= 1
