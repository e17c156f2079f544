"""What stands in metrics.json, of artifacts made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from denizen.data.artifacts import Evaluation
from denizen.measuring.fusion import Fused
from denizen.measuring.students import Choice
from denizen.recipes.adapted import Adapted, Onward
from denizen.reports.metrics import metrics_of_seed, taken
from denizen.retrievers.index import Read
from denizen.supervision.supervision import Texts


def _found(best: int, fused_is_taken: bool) -> Adapted:
    systems = ("adapted", "hybrid") if fused_is_taken else ("adapted",)
    figures = {
        name: {system: {"MRR@5": f"{name} of {system}"} for system in systems}
        for name in ("means", "over_bm25", "over_base_hybrid")
    }
    differences = {system: {"MRR@5": f"difference of {system}"} for system in systems}
    choice: dict[str, Any] = {"best": best, "decided": {"by": "dev", "MRR@5": [0.25, 0.5]}}
    fused = {"taken": fused_is_taken, "queries": 9, "MRR@5": {"alone": 0.5, "fused": 0.75}}
    fused["gain"] = {"value": 0.25, "low": 0.125, "high": 0.375, "p": 0.01}
    here, final = Path(), Choice(Path(), "", choice)
    test = Evaluation(here, "", {**figures, "differences": differences})
    return Adapted(cast("Texts", None), Read(here, "", {}), [], final, final, Fused(here, "", fused), test, None)


@pytest.mark.parametrize(
    ("best", "fused", "name", "row"),
    [(1, False, "adapted", "adapted"), (0, False, "base", "adapted"), (1, True, "hybrid", "hybrid")],
)
def test_each_seed_says_what_would_be_shipped(best: int, fused: bool, name: str, row: str) -> None:
    found = metrics_of_seed(43, _found(best, fused), 0.005)
    figures = {"means": {"MRR@5": f"means of {row}"}, "difference": {"MRR@5": f"difference of {row}"}}
    assert found["shipped"] == {"name": name, **figures}
    # the model alone, as before
    assert (found["adapted"], found["difference"]) == (
        {"MRR@5": "means of adapted"},
        {"MRR@5": "difference of adapted"},
    )
    assert (found["seed"], found["met"], found["chosen"]) == (43, True, "round 1" if best else "base")


GAIN = {"value": 0.25, "low": 0.125, "high": 0.375, "p": 0.01}


def _went_on(best: int, change: float, *, forgot: bool = False) -> Adapted:
    """Further is chosen among its rounds, of anew no round proves anything; `best` is taken of both."""
    here = Path()
    of_taken: dict[str, Any] = {
        "called": ["shipped", "further", "anew"],
        "MRR@5": [0.5, 0.75, 0.5],
        "gains": [GAIN] * 2,
    }
    taken = Choice(here, "", {"best": best, "decided": {**of_taken, "queries": 9, "by": "dev"}})
    proves, fails = ({"best": at, "decided": {"MRR@5": [0.5, 0.6, 0.55], "gains": [GAIN, GAIN]}} for at in (1, 0))
    choices = {"further": Choice(here, "", proves), "anew": Choice(here, "", fails)}
    finals = {**choices, "further": Choice(here, "", {**proves, "met": not forgot})}
    lost = {"role": "earlier", "measure": "MRR@5", "differences": {"adapted": {"MRR@5": {"value": change}}}}
    found = replace(_found(best, False), onward=Onward(taken, choices, finals))
    return replace(found, forgetting=Evaluation(here, "", {"sets": {"earlier": lost}}))


@pytest.mark.parametrize(
    ("best", "change", "model", "branch"),
    [(0, 0.0, "shipped", "shipped"), (1, -0.005, "further", "further"), (1, -0.006, "shipped", "further")],
)
def test_what_is_trained_is_taken_only_inside_the_limit(best: int, change: float, model: str, branch: str) -> None:
    take = taken(_went_on(best, change), 0.005)["take"]
    assert (take["model"], take["branch"]) == (model, branch)
    assert "what is shipped has an MRR@5 of 0.500; trained further: 0.750 (+0.250," in take["why"]
    # the nearest of the rounds, not what stands in its place
    assert "trained anew: 0.600 (+0.250, 90 % interval +0.125 to +0.375, which proves nothing)" in take["why"]
    assert (f"on the earlier test it changes by {change:+.3f}, and 0.005 may be lost" in take["why"]) == bool(best)


def test_a_branch_that_forgot_too_much_says_so_and_a_run_that_goes_on_from_none_says_nothing() -> None:
    why = taken(_went_on(0, 0.0, forgot=True), 0.005)["take"]["why"]
    assert "trained further: it has forgotten more than the limit allows" in why
    assert taken(_found(1, False), 0.005) == {}
