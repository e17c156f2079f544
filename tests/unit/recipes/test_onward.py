"""How a run that goes on is wired: what is trained from which model, held against which, and asked of whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from denizen.measuring.crossfit import leave_out
from denizen.recipes.decide import Asked
from tests.unit.recipes.test_every_setting import Calls, outside, world_of


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    # a plan without a corpus knows of no example, and nothing would be trained on the rest
    monkeypatch.setattr(leave_out, "plan", lambda params, **inputs: {"examples": 9})
    return world_of("labels, onward", tmp_path, monkeypatch).changed(cross_fitting=True).calls()


def inputs(calls: Calls, place: str) -> dict[str, object]:
    found: dict[str, object] = calls[place].described["inputs"]
    return found


def test_both_branches_are_held_against_what_is_shipped(calls: Calls) -> None:
    shipped, origin = (inputs(calls, f"{at}round-0/student")["start"] for at in ("", "anew/"))
    assert shipped != origin
    for step in ("choice", "gate"):
        one, other = inputs(calls, step), inputs(calls, f"anew/{step}")
        for name in ("students", "indexes", "runs", "held_out"):
            assert (one[name][0], len(one[name])) == (other[name][0], len(other[name]))  # type: ignore[index, arg-type]
            assert one[name][1:] != other[name][1:]  # type: ignore[index]
        assert one["students"][0] == shipped  # type: ignore[index]
    # in cross-fitting, too, what is made anew has never seen what is shipped
    assert {inputs(calls, f"anew/crossfit/round-0/fold-{fold}/student")["start"] for fold in range(5)} == {origin}
    assert {inputs(calls, f"crossfit/round-0/fold-{fold}/student")["start"] for fold in range(5)} == {shipped}
    assert inputs(calls, "taken")["students"][0] == shipped  # type: ignore[index]


def test_all_students_are_asked_in_one_pool(calls: Calls) -> None:
    pools = [inputs(calls, f"{at}crossfit/round-1/held_out")["runs"] for at in ("", "anew/")]
    # keywords, the model at the start and two students of either branch
    assert len(pools[0]) == 6  # type: ignore[arg-type]
    assert set(pools[0]) < set(pools[1])  # type: ignore[call-overload]


def test_what_is_shipped_is_asked_nothing_that_it_has_learnt(calls: Calls) -> None:
    (all_of_them,) = {inputs(calls, f"{at}round-0/student")["queries"] for at in ("", "anew/")}
    decide = ("reading/reading", "choice", "gate", "anew/choice", "anew/gate", "taken", "fusion", "base-fusion")
    (some,) = {inputs(calls, place)["queries"] for place in (*decide, "keywords", "crossfit/folds")}
    assert some != all_of_them
    assert inputs(calls, "test")["queries"] == all_of_them


def test_what_is_shipped_decides_on_no_reranker_by_what_it_has_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leave_out, "plan", lambda params, **inputs: {"examples": 9})
    world = world_of("labels, onward", tmp_path, monkeypatch).changed(cross_fitting=True, reranker=True, rounds=1)
    calls = world.given(reranker=outside(tmp_path, "start")).calls()
    assert inputs(calls, "reranking")["queries"] == inputs(calls, "fusion")["queries"]


def test_where_what_is_shipped_is_its_base_nothing_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of("labels, onward", tmp_path, monkeypatch)
    found = world.given(origin=replace(world.brought.base)).calls()
    assert "taken" in found and not [place for place in found if place.startswith("anew/")]


def test_where_nothing_was_held_out_nothing_is_put_before_it() -> None:
    asked = Asked(keywords=None)  # type: ignore[arg-type]
    assert asked.against(None).held_out is None and asked.alone.held_out is None  # type: ignore[arg-type]
