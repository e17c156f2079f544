"""What a run does not call, and what is said of that to who asks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from denizen.data.prepare import Given
from denizen.engine.artifact import Artifact, Value
from denizen.engine.pipeline import Pipeline
from denizen.measuring.students import Choice
from denizen.recipes.adapt import adapt
from denizen.recipes.adapted import Brought
from denizen.recipes.config import AdaptConfig
from denizen.recipes.left_out import left_out
from tests.unit.recipes.test_every_setting import outside


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Brought:
    monkeypatch.setattr("denizen.recipes.baselines.is_available", lambda: True)
    base, source = outside(tmp_path, "base"), Given(lambda: pytest.fail("a plan reads no source"), {"pairs": "0"})
    return Brought(base, None, source, {"far": Value(["general", "0"])}, None)


def places(config: AdaptConfig, brought: Brought, folder: Path) -> set[str]:
    run = Pipeline(folder / "run", planning=True)
    adapt(run, config, brought)
    return set(run.calls)


def choice(place: str, best: int) -> Choice:
    return Choice(Path(), "digest", {"best": best}, place=place)


@pytest.mark.parametrize("baselines", [True, False])
@pytest.mark.parametrize("sets", [True, False])
@pytest.mark.parametrize("best", [0, 1])
def test_every_step_that_is_left_out_has_its_reason_and_no_other(
    baselines: bool, sets: bool, best: int, brought: Brought, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AdaptConfig("source", seeds=2, baselines=baselines)
    given = brought if sets else replace(brought, sets={})
    most = places(config.changed(baselines=True), brought, tmp_path)
    monkeypatch.setattr(Choice, "best", best)
    chosen = [choice(place, best) for place in ("choice", "seed-43/choice")]
    reasons = left_out(config, given, chosen)
    # a further seed has no baselines anyway
    assert set(reasons) - {"seed-43/baselines/average"} == most - places(config, given, tmp_path)


def test_what_is_only_planned_says_nothing(brought: Brought) -> None:
    config, planned = AdaptConfig("source"), Choice(Path(), "digest", place="choice", pending=True)
    assert left_out(config, brought, [planned]) == {}
    # nor does the choice of the gate, or what is none
    others = [choice("gate", 0), Artifact(Path(), "digest", place="round-0/choice")]
    assert left_out(config, brought, others) == {}
    (told,) = set(left_out(config, brought, [choice("choice", 0)]).values())
    assert told == "the base was chosen, and no student is taken"
