"""What is done anew: a step and all that was made from it, once, however often the run is ended meanwhile."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.artifact import Artifact
from denizen.engine.errors import ChangedError
from denizen.engine.pipeline import Pipeline, records
from denizen.engine.redo import Redo, matches, no_step, open_redo, stopped_redo
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from tests.unit.engine.small_steps import (
    PLACES,
    Budget,
    Killed,
    Text,
    Worked,
    Writing,
    afford,
    double,
    first,
    killed_at,
    operations_of,
    pipeline,
    recipe,
    redoing,
    source_in,
    state,
    worked,
    write,
)


@pytest.fixture
def source(tmp_path: Path) -> Artifact:
    return source_in(tmp_path)


@pytest.fixture
def run(source: Artifact, tmp_path: Path) -> Path:
    """The folder of a finished run."""
    recipe(pipeline(tmp_path / "run"), source)
    return tmp_path / "run"


def ended(run: Pipeline, source: Artifact, params: Writing | None = None) -> str:
    """Does all of a run, to its end; what the last step has written."""
    found = recipe(run, source, params).content
    run.redo.end()
    return found


# what is meant


@pytest.mark.parametrize(
    "place, asked, meant",
    [
        ("round-0/run", "round-0/run", True),
        ("round-0/run", "run", True),
        ("round-0/run", "round-0", True),
        ("test", "test", True),
        ("seed-43/round-0/run", "round-0/run", True),
        ("seed-43/round-0/run", "seed-43", True),
        ("seed-43/round-0/run", "seed-43/round-0", True),
        ("seed-43/round-0/run", "round-0", True),
        ("round-0/run", "un", False),
        ("round-0/run", "round", False),
        ("round-01/run", "round-0", False),
        ("round-0/rerun", "run", False),
        ("round-0/run", "round-1/run", False),
        ("round-0/run", "round-0/run/more", False),
    ],
)
def test_a_place_a_name_or_a_scope_is_meant(place: str, asked: str, meant: bool) -> None:
    assert matches(place, asked) == meant


def test_what_there_is_not_is_said_with_the_reason_where_that_is_known() -> None:
    places, left_out = ["round-0/run", "test"], {"gate": "no set", "seed-43/gate": "no set", "other/average": "none"}
    assert no_step("round-0", places, left_out) == no_step("run", places, left_out) == ""
    there = "there are round-0/run, test"
    assert no_step("gate", places, left_out) == f"there is no step 'gate' to redo (no set); {there}"
    assert no_step("average", places, left_out) == f"there is no step 'average' to redo (none); {there}"
    assert no_step("tset", places, left_out) == f"there is no step 'tset' to redo; {there}"


graphs = st.integers(1, 8).flatmap(
    lambda size: st.tuples(
        *(st.sets(st.integers(0, at - 1), max_size=3) if at else st.just(set()) for at in range(size))
    )
)


@given(graphs, st.data())
def test_all_that_was_made_from_a_step_waits_and_nothing_else(graph: tuple[set[int], ...], data: Any) -> None:
    """Against the plain definition: a place waits where a path leads to it from the one that was asked for."""
    asked = data.draw(st.integers(0, len(graph) - 1))
    reached = {asked}
    for at in range(len(graph)):
        if graph[at] & reached:
            reached.add(at)
    known = {f"s{at}": {"made_from": [f"s{number}" for number in sorted(graph[at])]} for at in range(len(graph))}
    shuffled = dict(data.draw(st.permutations(list(known.items()))))
    with tempfile.TemporaryDirectory() as folder:
        assert open_redo(Path(folder), None, shuffled).waiting == set()
        found = open_redo(Path(folder), f"s{asked}", shuffled)
        assert found.waiting == {f"s{at}" for at in reached}
        # nothing is kept as long as nothing is replaced
        assert open_redo(Path(folder), None, shuffled).waiting == set()
        found.begins(f"s{asked}")
        # what is kept is what the next run finds, asked for the same or for nothing
        for again in (None, f"s{asked}"):
            assert open_redo(Path(folder), again, {}) == found


# what is done anew


@pytest.mark.parametrize(
    "asked, anew",
    [
        ("write", ["write", "round-0/double", "round-1/double", "join"]),
        ("round-0/double", ["round-0/double", "round-1/double", "join"]),
        ("round-1", ["round-1/double", "join"]),
        ("double", ["round-0/double", "round-1/double", "join"]),
        ("join", ["join"]),
        ("aside", ["aside"]),
    ],
)
def test_it_and_all_that_was_made_from_it_is_done_anew_and_nothing_else(
    asked: str, anew: list[str], run: Path, source: Artifact
) -> None:
    before = {place: (run / place / "step.json").stat().st_ino for place in PLACES}
    redo = redoing(run, asked)
    ended(redo, source)
    assert [place for place in PLACES if (run / place / "step.json").stat().st_ino != before[place]] == anew
    assert len(worked(redo)) == len(anew)
    tokens = {place: record["redo"] for place, record in records(run).items()}
    assert {tokens[place] for place in anew} == {redo.redo.token} != {""}
    assert all(not tokens[place] for place in set(PLACES) - set(anew))
    assert not (run / "redo.json").exists()
    again = pipeline(run)
    recipe(again, source)
    assert worked(again) == []


def test_once_more_is_once_more(run: Path, source: Artifact) -> None:
    for _ in range(2):
        again = redoing(run, "join")
        ended(again, source)
        assert worked(again) == ["join 3"]


def test_what_was_made_with_something_else_or_was_edited_is_replaced(run: Path, source: Artifact) -> None:
    with pytest.raises(ChangedError):
        recipe(pipeline(run), source, Writing("b"))
    (run / "round-1/double/text.txt").write_text("by hand")
    (run / "round-1/double/more.txt").touch()
    assert ended(redoing(run, "write"), source, Writing("b")) == "xb xbxb xbxbxbxb"
    assert not (run / "round-1/double/more.txt").exists()
    again = pipeline(run)
    recipe(again, source, Writing("b"))
    assert worked(again) == []


def test_what_stands_before_it_is_still_refused_when_it_has_changed(run: Path, source: Artifact) -> None:
    redo = redoing(run, "double")
    with pytest.raises(ChangedError, match=r"step 'write' .* params\.text: 'abc' -> 'b'"):
        recipe(redo, source, Writing("b"))
    assert worked(redo) == []


def test_a_store_is_not_asked_for_what_is_to_be_done_anew_and_gets_the_new_result(tmp_path: Path) -> None:
    source, store = source_in(tmp_path), tmp_path / "store"
    for name in "ab":
        recipe(pipeline(tmp_path / name, store=store), source)
    redo = redoing(tmp_path / "a", "write", store=store)
    ended(redo, source)
    assert len(worked(redo)) == 4
    # these are the same bytes, so the other run has nothing to do
    other = pipeline(tmp_path / "b", store=store)
    recipe(other, source)
    assert worked(other) == []


@step(version=1, makes=Text)
def draw(out: Path, params: Params, ctx: Context) -> None:
    """Comes to something else each time, as a step may that asks an LLM."""
    ctx[Worked].append("draw")
    (out / "text.txt").write_text(str(int(ctx[Budget])))


def test_the_new_result_is_what_others_find(tmp_path: Path) -> None:
    def drawing(name: str, number: int, asked: str | None = None) -> tuple[str, list[str]]:
        context = Context(resources={Worked: Worked(), Budget: Budget(number)})
        redo = open_redo(tmp_path / name, asked, records(tmp_path / name))
        run = Pipeline(tmp_path / name, tmp_path / "store", context, redo=redo)
        found = run(first, text=run(draw)).content
        redo.end()
        return found, worked(run)

    assert drawing("a", 1) == ("1", ["draw", "first 1"])
    assert drawing("b", 2) == ("1", [])
    assert drawing("a", 3, "draw") == ("3", ["draw", "first 3"])
    assert drawing("c", 4) == ("3", [])
    # who has it already keeps it, and does not put it back into the store
    assert drawing("b", 5) == ("1", [])
    assert drawing("d", 6) == ("3", [])


def test_a_call_that_stands_at_two_places_is_done_anew_once_for_both(source: Artifact, tmp_path: Path) -> None:
    def twice(run: Pipeline) -> list[str]:
        for name in ("one", "other"):
            with run.scope(name):
                run(double, text=run(write, Writing(), source=source))
        run.redo.end()
        return worked(run)

    assert twice(pipeline(tmp_path / "run")) == ["write", "double xabc"]
    assert twice(redoing(tmp_path / "run", "write")) == ["write", "double xabc"]
    assert {record["redo"] != "" for record in records(tmp_path / "run").values()} == {True}
    # at one of them alone: the other keeps what it has
    assert twice(redoing(tmp_path / "run", "other/write")) == ["write", "double xabc"]
    assert not (tmp_path / "run/redo.json").exists()


def test_what_no_recipe_calls_any_more_is_not_waited_for(run: Path, source: Artifact) -> None:
    redo = redoing(run, "write")
    redo(write, Writing(), source=source)
    assert json.loads((run / "redo.json").read_text())["waiting"] == ["join", "round-0/double", "round-1/double"]
    redo.redo.end()
    assert not (run / "redo.json").exists() and redo.redo.waiting == set()
    again = pipeline(run)
    recipe(again, source)
    assert worked(again) == []


def test_a_plan_sees_what_is_going_to_be_done_anew(run: Path, source: Artifact) -> None:
    planned = redoing(run, "round-1").plan(lambda planned: recipe(planned, source))
    assert [place for place, made in planned.items() if made.pending] == ["round-1/double", "join"]


def test_a_step_that_a_limit_cut_off_is_done_anew_like_any_other(tmp_path: Path) -> None:
    def affording(budget: int, asked: str | None = None) -> list[str]:
        context = Context(resources={Worked: Worked(), Budget: Budget(budget)})
        redo = open_redo(tmp_path, asked, records(tmp_path))
        run = Pipeline(tmp_path, context=context, redo=redo, limits={"budget": budget})
        run(first, text=run(afford, Writing("abcd")))
        redo.end()
        return worked(run)

    affording(2)
    assert affording(2, "afford") == ["afford 2", "first ab"]
    assert affording(2) == []
    assert affording(3) == ["afford 3", "first abc"]


# ended in the middle


def test_work_that_raises_during_a_redo_keeps_what_was_there_until_it_is_replaced(run: Path, tmp_path: Path) -> None:
    missing = Artifact(tmp_path / "missing.txt", Artifact.outside(tmp_path / "source.txt").digest)
    with pytest.raises(FileNotFoundError):
        recipe(redoing(run, "write"), missing)
    assert (run / "write/text.txt").read_text() == "xabc"
    # without a word it goes on with what was asked for
    again = redoing(run, None)
    ended(again, source_in(tmp_path))
    assert worked(again) == ["write", "double xabc", "double xabcxabc", "join 3"]


@pytest.mark.usefixtures("no_fsync")
@pytest.mark.parametrize("again, store", [(["write"], False), ([None], False), (["write", None], True)])
def test_a_redo_ended_before_any_operation_goes_on_where_it_was(
    again: list[str | None], store: bool, tmp_path: Path
) -> None:
    """Called again with or without --redo, it does nothing twice but what was being worked on."""
    source = source_in(tmp_path)

    recipe(pipeline(tmp_path / "run", store=tmp_path / "store"), source)

    def prepared(name: str) -> Path:
        for part in ("run", "store"):
            shutil.copytree(tmp_path / part, tmp_path / name / part)
        return tmp_path / name

    def redo(folder: Path, asked: str | None) -> Pipeline:
        return redoing(folder / "run", asked, store=folder / "store" if store else None)

    anew = ["write", "round-0/double", "round-1/double", "join"]
    whole = prepared("whole")
    begun = redo(whole, "write")
    done = operations_of(lambda: ended(begun, source))
    assert len(done) > 50
    for number, line in enumerate(done):
        folder = prepared(f"killed-{number}")
        before = (folder / "run/aside/step.json").stat().st_ino
        killed = redo(folder, "write")
        with pytest.raises(Killed), killed_at(number):
            ended(killed, source)
        kept = (folder / "run/redo.json").exists()
        # before that is written nothing is lost, and the run is as it was
        assert kept or (not worked(killed) and {record["redo"] for record in records(folder / "run").values()} == {""})
        going = redo(folder, again[number % len(again)] if kept else "write")
        assert not kept or going.redo.token == killed.redo.token
        ended(going, source)
        assert not (folder / "run/redo.json").exists(), line
        assert state(folder) == state(whole), line
        found = records(folder / "run")
        assert {found[place]["redo"] for place in anew} == {going.redo.token}, line
        assert (folder / "run/aside/step.json").stat().st_ino == before
        both = worked(killed) + worked(going)
        assert len(set(both)) == len(anew) and len(both) <= len(anew) + 1, line
        shutil.rmtree(folder)


def test_two_redos_of_which_the_first_was_stopped_are_both_done(run: Path, source: Artifact) -> None:
    redo = redoing(run, "round-1/double")
    redo.redo.begins("round-1/double")
    more = redoing(run, "aside")
    assert more.redo.waiting == {"round-1/double", "join", "aside"}
    ended(more, source)
    assert sorted(worked(more)) == ["aside", "double xabcxabc", "join 3"]


def test_what_else_was_asked_for_is_kept_with_it(run: Path) -> None:
    assert stopped_redo(run) is None
    open_redo(run, "join", records(run), {"rounds": 3}).begins("aside")
    assert stopped_redo(run) is None
    open_redo(run, "join", records(run), {"rounds": 3}).begins("join")
    left = stopped_redo(run)
    assert left is not None
    assert (left["of"], left["waiting"], left["wanted"]) == ("join", ["join"], {"rounds": 3})


def test_what_nothing_is_kept_of_is_not_written(tmp_path: Path) -> None:
    found = Redo(waiting={"a", "b"})
    found.finished("a")
    found.finished("c")
    assert found.waiting == {"b"}
    found.end()
    assert found.waiting == set() and not any(tmp_path.iterdir())
