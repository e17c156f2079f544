"""What stands in metrics.json, of artifacts made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from denizen.data.artifacts import Evaluation
from denizen.measuring.fusion import Fused
from denizen.measuring.students import Choice
from denizen.recipes.adapted import Adapted
from denizen.reports.metrics import metrics_of_seed
from denizen.retrievers.index import Read
from denizen.supervision.supervision import Texts


def _found(best: int, taken: bool) -> Adapted:
    systems = ("adapted", "hybrid") if taken else ("adapted",)
    figures = {
        name: {system: {"MRR@5": f"{name} of {system}"} for system in systems}
        for name in ("means", "over_bm25", "over_base_hybrid")
    }
    differences = {system: {"MRR@5": f"difference of {system}"} for system in systems}
    choice: dict[str, Any] = {"best": best, "decided": {"by": "dev", "MRR@5": [0.25, 0.5]}}
    fused = {"taken": taken, "queries": 9, "MRR@5": {"alone": 0.5, "fused": 0.75}}
    fused["gain"] = {"value": 0.25, "low": 0.125, "high": 0.375, "p": 0.01}
    here, final = Path(), Choice(Path(), "", choice)
    test = Evaluation(here, "", {**figures, "differences": differences})
    return Adapted(cast("Texts", None), Read(here, "", {}), [], final, final, Fused(here, "", fused), test, None)


@pytest.mark.parametrize(
    ("best", "taken", "name", "row"),
    [(1, False, "adapted", "adapted"), (0, False, "base", "adapted"), (1, True, "hybrid", "hybrid")],
)
def test_each_seed_says_what_would_be_shipped(best: int, taken: bool, name: str, row: str) -> None:
    found = metrics_of_seed(43, _found(best, taken), 0.005)
    figures = {"means": {"MRR@5": f"means of {row}"}, "difference": {"MRR@5": f"difference of {row}"}}
    assert found["shipped"] == {"name": name, **figures}
    # the model alone, as before
    assert (found["adapted"], found["difference"]) == (
        {"MRR@5": "means of adapted"},
        {"MRR@5": "difference of adapted"},
    )
    assert (found["seed"], found["met"], found["chosen"]) == (43, True, "round 1" if best else "base")
