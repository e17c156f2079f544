"""How long one domain more takes, from seconds of steps by hand."""

from __future__ import annotations

import pytest

from denizen.reports.adding_a_domain import seconds_to_add


def test_what_one_domain_more_takes() -> None:
    """Two domains of 100 passages, which the base embeds in 10 s each; calibrating embeds 100 by the expert."""
    of_each = {"slices/{}/embeddings": 10.0, "slices/{}/examples": 1.0, "experts/{}": 100.0, "calibrations/{}": 12.0}
    steps = {place.format(name): seconds for place, seconds in of_each.items() for name in ("law", "web")}
    steps |= {"routers": 2.0, "merge": 50.0, "joint/joint": 200.0}
    records = {place: {"seconds": seconds} for place, seconds in steps.items()}
    found = seconds_to_add(records, {"law": 100, "web": 100})
    assert found["base"] == pytest.approx(10)
    assert found["routed"] == pytest.approx(11 + 100 + 2 + 10)
    assert found["federated-z"] == pytest.approx(11 + 100 + 12)
    # the new expert embeds 200, of which 100 in calibrating; the other expert the 100 that are new
    assert found["ensemble-z"] == pytest.approx(11 + 100 + 12 + 20)
    assert found["ensemble-rrf"] == pytest.approx(11 + 100 + 30)
    assert found["joint"] == pytest.approx(11 + 200 + 20)
