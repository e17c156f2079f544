"""A run does each call once, finds it again, says what has changed, and goes on wherever it was ended."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import ChangedError
from denizen.engine.files import json_digest, tree_digest
from denizen.engine.pipeline import Pipeline, differences, records
from denizen.engine.settings import Params
from denizen.engine.step import Call, Context, Partial, Step, step
from tests.unit.engine.small_steps import (
    PLACES,
    Budget,
    Heard,
    Killed,
    Log,
    Text,
    Worked,
    Writing,
    afford,
    aside,
    double,
    first,
    killed_at,
    operations,
    operations_of,
    pipeline,
    recipe,
    source_in,
    state,
    worked,
    write,
)

EVERYTHING = ["write", "aside", "double xabc", "double xabcxabc", "join 3"]


@pytest.fixture
def source(tmp_path: Path) -> Artifact:
    return source_in(tmp_path)


def changed(text: str, place: str = "write") -> Any:
    """Expects a refusal."""
    return pytest.raises(ChangedError, match=rf"^step '{place}' in .* was made with something else: {text}\. Use ano")


# done once


def test_what_is_done_is_done_once_and_then_skipped(source: Artifact, tmp_path: Path) -> None:
    heard = Heard()
    runs = [pipeline(tmp_path / "run") for _ in range(2)]
    for run in runs:
        run.context = replace(run.context, progress=heard)
    found = [recipe(run, source) for run in runs]
    assert [worked(run) for run in runs] == [EVERYTHING, []]
    assert found[0] == found[1] and found[0].content == "xabc xabcxabc xabcxabcxabcxabc"
    assert heard.lines == [f"{what} {place}" for what in ("working", "skipped") for place in PLACES]
    assert [list(run.calls) for run in runs] == [PLACES, PLACES]


def test_the_same_call_again_is_not_told_twice(source: Artifact, tmp_path: Path) -> None:
    run, heard = pipeline(tmp_path / "run"), Heard()
    run.context = replace(run.context, progress=heard)
    assert run(write, Writing(), source=source) == run(write, Writing(), source=source)
    assert heard.lines == ["working write"] and worked(run) == ["write"]


def test_the_record_says_what_was_called_and_what_came_out(source: Artifact, tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run", limits={"calls": 3})
    text = run(write, Writing(times=2), source=source)
    with run.scope("round", 0), run.scope("seed", 7):
        made = run(double, text=text)
    assert made.path == tmp_path / "run/round-0/seed-7/double" and made.place == "round-0/seed-7/double"
    record = json.loads((text.path / "step.json").read_text())
    files = {"text.txt": hashlib.sha256(b"xabcabc").hexdigest()}
    asked = {"step": "write", "version": 1, "params": {"text": "abc", "times": 2}, "inputs": {"source": source.digest}}
    assert {name: record[name] for name in asked} == asked
    assert record["fingerprint"] == json_digest(asked)
    assert record["files"] == files == text.files and record["digest"] == tree_digest(files) == text.digest
    assert record["facts"] == {"letters": 6} == text.facts
    assert record["lacks"] is None and record["limits"] == {"calls": 3} and record["redo"] == ""
    assert record["made_from"] == record["derived"] == [] and record["resumed"] is False and record["seconds"] >= 0
    found = records(tmp_path / "run")
    assert list(found) == ["round-0/seed-7/double", "write"] and found["write"] == record
    other = found["round-0/seed-7/double"]
    assert (other["made_from"], other["derived"]) == (["write"], ["inputs.text"])
    assert set(state(tmp_path / "run")) == {f"{place}/{name}" for place in found for name in ("step.json", "text.txt")}


def test_a_step_without_files_or_facts_is_one_too(tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run")
    found = run(aside)
    assert found.files == {"sub/empty.txt": hashlib.sha256(b"").hexdigest()} and found.facts == {}


def test_a_recipe_that_calls_a_step_wrongly_is_told_so(source: Artifact, tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run")
    for wrong in ("a text", ["a text"], {"a": "text"}):
        with pytest.raises(TypeError, match="text' is no input of a step; settings go into its params"):
            run(collect, sets=wrong)
    with run.scope("round", 0), pytest.raises(TypeError, match="round-0/afford needs a Budget, and the run has none"):
        run(afford, Writing())
    with pytest.raises(TypeError, match="a step needs a Log, and the run has none"):
        _ = Context()[Log]
    assert records(tmp_path / "run") == {} and worked(run) == []


def test_the_folder_appears_only_when_the_work_is_finished(source: Artifact, tmp_path: Path) -> None:
    seen: list[bool] = []

    class Watching(Worked):
        def append(self, line: str) -> None:
            seen.append((tmp_path / "run/write").exists())
            assert (tmp_path / "run/.write.partial").is_dir()

    run = Pipeline(tmp_path / "run", context=Context(resources={Worked: Watching()}))
    assert run(write, Writing(), source=source).path.is_dir()
    assert seen == [False] and not (tmp_path / "run/.write.partial").exists()


def test_one_place_is_not_for_two_calls(source: Artifact, tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run")
    run(write, Writing(), source=source)
    with pytest.raises(ValueError, match="step 'write' is called twice, with other inputs; give one a scope"):
        run(write, Writing("b"), source=source)
    with pytest.raises(ValueError, match="'write' is called twice"):
        run.plan(lambda planned: [planned(write, Writing(text), source=source) for text in "ab"])
    assert run(write.named("other"), Writing("b"), source=source).content == "xb"
    with run.scope("again"):
        assert run(write, Writing("c"), source=source).content == "xc"
    assert run(write, Writing(), source=source).content == "xabc"


# found again


def test_the_same_call_in_another_scope_is_linked_and_not_done(source: Artifact, tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run")
    one = run(write, Writing(), source=source)
    with run.scope("seed", 43):
        other = run(write, Writing(), source=source)
        run(write.named("third"), Writing(), source=source)
    assert worked(run) == ["write", "write"]
    assert other.digest == one.digest and other.path != one.path
    assert (other.path / "text.txt").samefile(one.path / "text.txt")


def test_what_is_linked_says_what_it_was_made_from_here(source: Artifact, tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run")
    run(double, text=run(write, Writing(), source=source))
    with run.scope("seed", 43):
        run(double, text=run(write, Writing(), source=source))
    assert worked(run) == ["write", "double xabc"]
    found = records(tmp_path / "run")
    assert {place: record["made_from"] for place, record in found.items() if record["made_from"]} == {
        "double": ["write"],
        "seed-43/double": ["seed-43/write"],
    }


def test_runs_share_a_store_by_links_that_outlive_each_of_them(source: Artifact, tmp_path: Path) -> None:
    store = tmp_path / "store/steps"
    runs = [pipeline(tmp_path / name, store=store) for name in "abc"]
    content = recipe(runs[0], source).content
    assert recipe(runs[1], source).content == content
    assert worked(runs[1]) == []
    inodes = {(tmp_path / name / "join/text.txt").stat().st_ino for name in "ab"}
    assert inodes == {path.stat().st_ino for path in store.glob("*/text.txt") if path.read_text() == content}
    shutil.rmtree(tmp_path / "a")
    assert recipe(pipeline(tmp_path / "b", store=store), source).content == content
    recipe(runs[2], source, Writing())
    assert worked(runs[2]) == []
    shutil.rmtree(store)
    again = pipeline(tmp_path / "b", store=store)
    assert recipe(again, source).content == content and worked(again) == []
    # what was there before the store was is shared, too
    last = pipeline(tmp_path / "d", store=store)
    recipe(last, source)
    assert worked(last) == []


def test_other_calls_share_only_what_is_the_same(source: Artifact, tmp_path: Path) -> None:
    recipe(pipeline(tmp_path / "a", store=tmp_path / "store"), source)
    other = pipeline(tmp_path / "b", store=tmp_path / "store")
    recipe(other, source, Writing("b"))
    assert worked(other) == ["write", "double xb", "double xbxb", "join 3"]


def test_a_store_whose_files_were_edited_is_not_believed_and_is_mended(source: Artifact, tmp_path: Path) -> None:
    store = tmp_path / "store"
    pipeline(tmp_path / "a", store=store)(write, Writing(), source=source)
    shutil.rmtree(tmp_path / "a")
    (path,) = store.glob("*/text.txt")
    path.write_text("by hand")
    run = pipeline(tmp_path / "b", store=store)
    assert run(write, Writing(), source=source).content == "xabc"
    assert worked(run) == ["write"]
    other = pipeline(tmp_path / "c", store=store)
    assert other(write, Writing(), source=source).content == "xabc" and worked(other) == []


def test_a_run_in_another_file_system_than_the_store_gets_copies(
    source: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refused)
    runs = [pipeline(tmp_path / name, store=tmp_path / "store") for name in "ab"]
    one, other = (run(write, Writing(), source=source) for run in runs)
    assert worked(runs[1]) == [] and other.content == "xabc"
    assert not (one.path / "text.txt").samefile(other.path / "text.txt")


@step(version=1, makes=Text, local=True)
def tune(out: Path, params: Params, ctx: Context) -> None:
    """Finds what is best on this machine."""
    ctx[Worked].append("tune")
    (out / "text.txt").write_text("fast")


def test_what_holds_on_one_machine_alone_is_not_shared_with_other_runs(tmp_path: Path) -> None:
    runs = [pipeline(tmp_path / name, store=tmp_path / "store") for name in "ab"]
    for run in runs:
        run(tune)
        with run.scope("again"):
            run(tune)
        assert worked(run) == ["tune"]
        assert tune.named("other").local
    assert not list((tmp_path / "store").glob("*/step.json"))


# refused


@pytest.mark.parametrize(
    "change, named",
    [
        ({"params": Writing("b")}, "params.text: 'abc' -> 'b'"),
        ({"params": Writing("b", 2)}, "params.text: 'abc' -> 'b'; params.times: 1 -> 2"),
        ({"params": Params()}, "params.text: 'abc' -> missing; params.times: 1 -> missing"),
        ({"step": Step(write.function, 2, Text, "write", None)}, "version: 1 -> 2"),
        ({"inputs": {"source": Value("other")}}, f"inputs.source: '[0-9a-f]{{64}}' -> '{Value('other').digest}'"),
        ({"inputs": {}}, "inputs.source: '[0-9a-f]{64}' -> missing"),
    ],
)
def test_a_step_made_with_something_else_is_refused_naming_only_what_changed(
    change: dict[str, Any], named: str, source: Artifact, tmp_path: Path
) -> None:
    pipeline(tmp_path / "run")(write, Writing(), source=source)
    run = pipeline(tmp_path / "run")
    call = {"step": write, "params": Writing(), "inputs": {"source": source}, **change}
    with changed(named) as refused:
        run(call["step"], call["params"], **call["inputs"])
    assert str(refused.value).endswith("Use another --out, or --redo write to replace it and what follows.")
    assert worked(run) == [] and (tmp_path / "run/write/text.txt").read_text() == "xabc"


@step(version=1, makes=Text)
def collect(out: Path, params: Params, ctx: Context, *, sets: Any, more: Any = None) -> None:
    """Takes inputs of any shape."""


def test_what_changed_is_named_by_its_dotted_name(tmp_path: Path) -> None:
    sets = {"one": Value(1), "other": [Value(2), Value(3)]}
    pipeline(tmp_path / "run")(collect, sets=sets)
    now = {"one": Value(1), "other": [Value(2), Value(4)], "third": Value(5)}
    names = r"inputs\.more: missing -> '\w+'; inputs\.sets\.other\.1: '\w+' -> '\w+'; inputs\.sets\.third: missing"
    with changed(rf"{names} -> '\w+'", "collect"):
        pipeline(tmp_path / "run")(collect, sets=now, more=Value(6))
    # None is no input, and is none in a list either way
    assert pipeline(tmp_path / "run")(collect, sets=sets, more=None).path.is_dir()


def test_a_step_before_is_refused_before_what_follows_is_looked_at(source: Artifact, tmp_path: Path) -> None:
    recipe(pipeline(tmp_path / "run"), source)
    run = pipeline(tmp_path / "run")
    with changed("inputs.source: '[0-9a-f]+' -> '[0-9a-f]+'"):
        recipe(run, source_in(tmp_path, "y"))
    assert worked(run) == []


def test_whole_numbers_for_floats_and_other_orders_change_nothing(tmp_path: Path) -> None:
    pipeline(tmp_path / "run")(collect, sets={"a": Value(1), "b": Value((1, 2))})
    run = pipeline(tmp_path / "run")
    run(collect, sets={"b": Value([1, 2]), "a": Value(1)})
    assert worked(run) == []


# renewed


def renewed(folder: Path, source: Artifact, text: str, step: Callable[[Pipeline, Text], Text]) -> list[str]:
    """What works when an earlier step of a finished run has come to something else without anybody's doing."""
    for run in (pipeline(folder), pipeline(folder)):
        if worked(run) or (folder / "write").exists():
            shutil.rmtree(folder / "write")
            source = source_in(folder.parent, text)
        made = run(write, Writing(), source=source)
        step(run, made)
    return worked(run)


def test_what_only_an_earlier_step_has_renewed_is_done_anew_without_a_refusal(source: Artifact, tmp_path: Path) -> None:
    found = renewed(tmp_path / "run", source, "y", lambda run, text: run(double, text=text))
    assert found == ["write", "double yabc"]
    assert (tmp_path / "run/double/text.txt").read_text() == "yabcyabc"


def test_what_reads_nothing_new_is_left_as_it_is(source: Artifact, tmp_path: Path) -> None:
    """The first letter stays, so what is made from it stays, too."""
    found = renewed(tmp_path / "run", source, "xx", lambda run, text: run(double, text=run(first, text=text)))
    assert found == ["write", "first xxabc"]


def test_a_change_of_the_users_beside_a_renewed_step_is_still_refused(source: Artifact, tmp_path: Path) -> None:
    number = iter([1, 2])
    with changed(r"inputs\.more: '\w+' -> '\w+'", "collect"):
        renewed(
            tmp_path / "run",
            source,
            "y",
            lambda run, text: run(collect, sets=[text], more=Value(next(number))),
        )


def test_inputs_that_a_renewed_step_brings_or_does_not_bring_any_more_are_no_change_of_the_users(
    source: Artifact, tmp_path: Path
) -> None:
    """As the ungated student, which is measured only where the gate has taken something else."""

    def taken(run: Pipeline, text: Text) -> Text:
        more = {"long": run(double, text=text)} if len(text.content) == length else {}
        return run(collect, sets={"text": text, **more})

    for length in (4, 5):
        found = renewed(tmp_path / f"run-{length}", source_in(tmp_path), "yy", taken)
        assert found[0] == "write"
        record = records(tmp_path / f"run-{length}")["collect"]
        assert record["derived"] == ["inputs.sets.long", "inputs.sets.text"][length == 4 :]
        assert record["made_from"] == ["double", "write"][length == 4 :]


def test_a_value_that_follows_from_a_step_is_no_decision_of_the_users(source: Artifact, tmp_path: Path) -> None:
    def told(run: Pipeline, text: Text) -> Text:
        return run(collect, sets=[], more=Value(text.content, text.place))

    renewed(tmp_path / "run", source, "y", told)
    record = records(tmp_path / "run")["collect"]
    assert record["inputs"]["more"] == json_digest("yabc") and record["made_from"] == ["write"]


# edited


@pytest.mark.parametrize("damage", ["changed", "truncated", "deleted"])
def test_an_edited_file_is_noticed_and_named(damage: str, source: Artifact, tmp_path: Path) -> None:
    path = pipeline(tmp_path / "run")(write, Writing(), source=source).path / "text.txt"
    if damage == "deleted":
        path.unlink()
    else:
        path.write_text({"changed": "xabd", "truncated": "xab"}[damage])
    run = pipeline(tmp_path / "run")
    with changed("text.txt: its content is not what the step wrote"):
        run(write, Writing(), source=source)
    assert worked(run) == []


def test_what_somebody_has_edited_is_not_replaced_because_an_earlier_step_was_renewed(
    source: Artifact, tmp_path: Path
) -> None:
    run = pipeline(tmp_path / "run")
    run(double, text=run(write, Writing(), source=source))
    (tmp_path / "run/double/text.txt").write_text("by hand")
    shutil.rmtree(tmp_path / "run/write")
    run = pipeline(tmp_path / "run")
    text = run(write, Writing(), source=source_in(tmp_path, "y"))
    with changed("text.txt: its content is not what the step wrote", "double"):
        run(double, text=text)
    assert (tmp_path / "run/double/text.txt").read_text() == "by hand"


def test_a_copied_run_goes_on_although_all_its_files_are_new(source: Artifact, tmp_path: Path) -> None:
    recipe(pipeline(tmp_path / "run"), source)
    for path in (tmp_path / "run").rglob("*"):
        os.utime(path, (1, 1))
    shutil.copytree(tmp_path / "run", tmp_path / "copy", copy_function=shutil.copyfile)
    for folder in ("run", "copy"):
        again = pipeline(tmp_path / folder)
        recipe(again, source)
        assert worked(again) == []
    # a time that says nothing does not hide an edit either
    path = tmp_path / "copy/join/text.txt"
    path.write_text(path.read_text().upper())
    with changed("text.txt: its content is not what the step wrote", "join"):
        recipe(pipeline(tmp_path / "copy"), source)


@pytest.mark.parametrize("marker", [None, "", '{"step": "wri'])
def test_a_folder_without_a_whole_record_is_not_trusted(marker: str | None, source: Artifact, tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "run")(write, Writing(), source=source).path
    (folder / "leftover.txt").touch()
    (folder / "step.json").unlink()
    if marker is not None:
        (folder / "step.json").write_text(marker)
    assert records(tmp_path / "run") == {}
    run = pipeline(tmp_path / "run")
    run(write, Writing(), source=source)
    assert worked(run) == ["write"] and not (folder / "leftover.txt").exists()


# scratch


@step(version=1, makes=Text)
def slow(out: Path, params: Writing, ctx: Context, *, more: Any = None) -> None:
    """Counts its tries where they are kept, and is stopped in the first two."""
    tries = ctx.scratch / "tries.txt"
    before = tries.read_text() if tries.exists() else ""
    tries.write_text(f"{before}{params.text}")
    (out / "half.txt").touch()
    if len(before) < 2:
        raise Killed
    (out / "text.txt").write_text(tries.read_text())


def stopped(folder: Path, params: Writing, **inputs: Any) -> None:
    with pytest.raises(Killed):
        pipeline(folder)(slow, params, **inputs)


def test_scratch_survives_a_stop_and_is_gone_afterwards(tmp_path: Path) -> None:
    stopped(tmp_path, Writing("a"))
    assert not (tmp_path / "slow").exists()
    stopped(tmp_path, Writing("a"))
    assert len(list(tmp_path.glob(".slow.*.scratch"))) == 1
    found = pipeline(tmp_path)(slow, Writing("a"))
    # what an earlier try has put into the folder itself is not part of it
    assert found.content == "aaa" and set(found.files) == {"half.txt", "text.txt"}
    assert records(tmp_path)["slow"]["resumed"] is True
    assert set(state(tmp_path)) == {"slow/half.txt", "slow/step.json", "slow/text.txt"}


@pytest.mark.parametrize("other", [{"params": Writing("b")}, {"more": Value(1)}])
def test_the_scratch_of_another_call_is_neither_used_nor_kept(other: dict[str, Any], tmp_path: Path) -> None:
    stopped(tmp_path, Writing("a"))
    stopped(tmp_path, other.get("params", Writing("a")), **{"more": other["more"]} if "more" in other else {})
    (left,) = tmp_path.glob(".slow.*.scratch")
    assert (left / "tries.txt").read_text() == other.get("params", Writing("a")).text


def test_the_scratch_of_a_step_whose_name_begins_alike_is_left_alone(tmp_path: Path) -> None:
    others = [slow.named("slow.one"), slow.named("slow-er"), slow.named("sl")]
    run = pipeline(tmp_path)
    for each in (*others, slow):
        with pytest.raises(Killed):
            run(each, Writing("a"))
    for each in (slow, *others):
        with pytest.raises(Killed):
            pipeline(tmp_path)(each, Writing("a"))
        assert pipeline(tmp_path)(each, Writing("a")).content == "aaa"


def test_work_that_raises_leaves_nothing_finished_and_can_be_done_again(tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run")
    with pytest.raises(FileNotFoundError):
        run(write, Writing(), source=Artifact(tmp_path / "source.txt", Value("x").digest))
    assert records(tmp_path / "run") == {} and not (tmp_path / "run/write").exists()
    source_in(tmp_path)
    again = pipeline(tmp_path / "run")
    again(write, Writing(), source=Artifact(tmp_path / "source.txt", Value("x").digest))
    assert set(state(tmp_path / "run")) == {"write/step.json", "write/text.txt"}


# what came out of the whole


def test_results_go_as_soon_as_a_step_is_done_anew_or_replaced(source: Artifact, tmp_path: Path) -> None:
    results = [tmp_path / "run/metrics.json"]
    run = pipeline(tmp_path / "run", results=results)
    recipe(run, source)
    results[0].touch()
    recipe(pipeline(tmp_path / "run", results=results), source)
    assert results[0].exists()
    shutil.rmtree(tmp_path / "run/aside")
    recipe(pipeline(tmp_path / "run", results=results), source)
    assert not results[0].exists()
    results[0].touch()
    shutil.move(tmp_path / "run/round-0/double", tmp_path / "run/other")
    linked = pipeline(tmp_path / "run", results=results)
    recipe(linked, source)
    assert worked(linked) == [] and not results[0].exists()


# cut off by a limit


def affording(folder: Path, budget: int, limits: int | None = None, **given: Any) -> tuple[Pipeline, Text]:
    """afford -> first -> double, with a budget."""
    shown = {"budget": budget if limits is None else limits}
    run = Pipeline(folder, context=Context(resources={Worked: Worked(), Budget: Budget(budget)}), limits=shown, **given)
    text = run(afford, Writing("abcd"))
    return run, run(double, text=run(first, text=text))


def test_what_a_limit_cut_off_is_taken_as_it_is_under_the_same_limit(tmp_path: Path) -> None:
    run, _ = affording(tmp_path, 2)
    assert worked(run) == ["afford 2", "first ab", "double a"]
    record = records(tmp_path)["afford"]
    assert (record["lacks"], record["limits"]) == ({"letters": 2}, {"budget": 2})
    assert worked(affording(tmp_path, 2)[0]) == []
    # the limits are what counts, not what the step would make of them
    assert worked(affording(tmp_path, 9, limits=2)[0]) == []


def test_what_a_limit_cut_off_is_entered_again_under_another_and_what_follows_sees_only_new_bytes(
    tmp_path: Path,
) -> None:
    affording(tmp_path, 2)
    run, _ = affording(tmp_path, 3)
    assert worked(run) == ["afford 3", "first abc"]
    run, _ = affording(tmp_path, 9)
    assert worked(run) == ["afford 9", "first abcd"]
    assert records(tmp_path)["afford"]["lacks"] is None
    # what lacks nothing is not entered again
    assert worked(affording(tmp_path, 1)[0]) == []


def test_a_smaller_limit_is_another_one_too(tmp_path: Path) -> None:
    affording(tmp_path, 1)
    run, last = affording(tmp_path, 0)
    assert worked(run) == ["afford 0", "first ", "double "] and last.content == ""


def test_a_partial_step_is_not_shared_and_a_whole_one_ends_it_elsewhere(tmp_path: Path) -> None:
    store = tmp_path / "store"
    affording(tmp_path / "a", 2, store=store)
    run, _ = affording(tmp_path / "b", 3, store=store)
    assert worked(run)[0] == "afford 3"
    affording(tmp_path / "c", 4, store=store)
    # now the store has it whole; with the old limit a run keeps what it has, with another it takes that
    assert worked(affording(tmp_path / "a", 2, store=store)[0]) == []
    run, _ = affording(tmp_path / "a", 3, store=store)
    assert worked(run) == [] and (tmp_path / "a/afford/text.txt").read_text() == "abcd"


@step(version=1, makes=Text)
def pay(out: Path, params: Writing, ctx: Context) -> dict[str, Any] | Partial:
    """Keeps what it has paid for where it goes on."""
    kept = ctx.scratch / "paid.txt"
    before = kept.read_text() if kept.exists() else ""
    ctx[Worked].append(f"pay {params.text[len(before) : ctx[Budget]]}")
    kept.write_text(params.text[: ctx[Budget]])
    shutil.copyfile(kept, out / "text.txt")
    return Partial({}, {"letters": 1}) if ctx[Budget] < len(params.text) else {}


def test_what_a_limit_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    paid = []
    for budget in (2, 2, 3, 9, 0):
        context = Context(resources={Worked: Worked(), Budget: Budget(budget)})
        run = Pipeline(tmp_path, context=context, limits={"budget": budget})
        found = run(pay, Writing("abcd")).content
        paid += worked(run)
        assert found == "abcd"[: max(budget, len(found))] and records(tmp_path)["pay"]["resumed"] == (len(paid) > 1)
    assert paid == ["pay ab", "pay c", "pay d"]
    assert not list(tmp_path.glob(".*"))


# plans


def test_a_plan_does_nothing_on_disk_and_lists_all_calls(source: Artifact, tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run", store=tmp_path / "store")
    found: dict[str, Artifact] = {}
    assert operations_of(lambda: found.update(run.plan(lambda planned: recipe(planned, source)))) == []
    assert list(found) == PLACES and run.calls == {} and worked(run) == []
    assert all(made.pending and made.place == place for place, made in found.items())
    assert all(isinstance(made, Text) and made.path == tmp_path / "run" / place for place, made in found.items())
    assert len({made.digest for made in found.values()}) == len(PLACES)
    assert not (tmp_path / "run").exists()


def test_a_plan_sees_what_other_runs_have_done_and_says_nothing(source: Artifact, tmp_path: Path) -> None:
    first_run = pipeline(tmp_path / "a", store=tmp_path / "store")
    recipe(first_run, source)
    first_run(tune)
    heard = Heard()
    run = pipeline(tmp_path / "b", store=tmp_path / "store")
    run.context = replace(run.context, progress=heard)

    def told(planned: Pipeline) -> None:
        planned.context.progress.skipped("a step of a plan")
        recipe(planned, source)
        planned(tune)

    found: dict[str, Artifact] = {}
    assert operations_of(lambda: found.update(run.plan(told))) == []
    assert [place for place, made in found.items() if made.pending] == ["tune"] and heard.lines == []
    assert {place: made.digest for place, made in found.items() if not made.pending} == {
        place: record["digest"] for place, record in records(tmp_path / "a").items() if place != "tune"
    }


def test_a_plan_takes_what_is_finished_and_sees_what_would_be_done(source: Artifact, tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run")
    run(write, Writing(), source=source)
    planned = run.plan(lambda planned: recipe(planned, source))
    assert [place for place, made in planned.items() if not made.pending] == ["write"]
    assert planned["write"].facts == {"letters": 3}
    recipe(run, source)
    planned = run.plan(lambda planned: recipe(planned, source))
    assert not any(made.pending for made in planned.values())
    # nor is anything refused in a plan
    other = pipeline(tmp_path / "run").plan(lambda planned: recipe(planned, source, Writing("b")))
    assert [place for place, made in other.items() if not made.pending] == ["aside"]


def _letters(params: Writing, *, source: Artifact) -> dict[str, Any]:
    return {"letters": len(params.text), "pending": source.pending}


def test_a_step_can_say_in_a_plan_what_it_will_come_to(source: Artifact, tmp_path: Path) -> None:
    planned_write = Step(write.function, 1, Text, "write", _letters)
    run = pipeline(tmp_path / "run")
    found = run.plan(lambda planned: planned(planned_write, Writing("abcde"), source=planned(aside)))
    assert found["write"].facts == {"letters": 5, "pending": True} and found["aside"].facts == {}


def test_a_plan_goes_by_the_scope_and_the_resources_that_it_is_made_in(source: Artifact, tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run")
    with run.scope("round", 0):
        assert list(run.plan(lambda planned: planned(aside))) == ["round-0/aside"]
    with run.using(Budget(2)):
        assert run(afford, Writing("abcd")).content == "ab"
    assert run.context.get(Budget) is None


# killed


def kept_going(work: Callable[[Path], Pipeline], number: int, folder: Path) -> list[str]:
    """Ends a run before one of its operations, and calls it again until it is done; what has worked in all."""
    with pytest.raises(Killed), killed_at(number):
        work(folder)
    return worked(work(folder))


@pytest.mark.usefixtures("no_fsync")
@pytest.mark.parametrize("store", [False, True])
def test_a_run_ended_before_any_operation_ends_as_if_it_had_not_been(store: bool, tmp_path: Path) -> None:
    source = source_in(tmp_path)

    def work(folder: Path) -> Pipeline:
        run = pipeline(folder / "run", store=folder / "store" if store else None)
        log.append(run)
        recipe(run, source)
        return run

    log: list[Pipeline] = []
    done = operations_of(lambda: work(tmp_path / "whole"))
    whole = state(tmp_path / "whole")
    assert len([line for line in done if line.startswith("os.rename")]) >= 2 * len(PLACES)
    for number, line in enumerate(done):
        folder = tmp_path / f"killed-{number}"
        log.clear()
        kept_going(work, number, folder)
        assert state(folder) == whole, line
        begun = [name for run in log for name in worked(run)]
        # only what was being worked on is done twice, and nothing that had its record
        assert set(begun) == set(EVERYTHING) and len(begun) <= len(EVERYTHING) + 1, line
        if number % 5:
            continue
        other = pipeline(folder / "run", store=folder / "store" if store else None)
        assert operations_of(lambda run=other: recipe(run, source)) == [], line
        if store:
            last = pipeline(folder / "other", store=folder / "store")
            recipe(last, source)
            assert worked(last) == [], line


@pytest.mark.usefixtures("no_fsync")
def test_a_run_ended_while_it_takes_over_what_another_has_done_goes_on(tmp_path: Path) -> None:
    source, store = source_in(tmp_path), tmp_path / "store"
    recipe(pipeline(tmp_path / "first", store=store), source)

    def work(folder: Path) -> Pipeline:
        run = pipeline(folder / "run", store=store)
        recipe(run, source)
        return run

    done = operations_of(lambda: work(tmp_path / "whole"))
    assert any(line.startswith("os.link") for line in done)
    for number, line in enumerate(done):
        folder = tmp_path / f"killed-{number}"
        assert kept_going(work, number, folder) == [], line
        assert state(folder) == state(tmp_path / "whole"), line


@pytest.mark.usefixtures("no_fsync")
def test_a_run_ended_while_it_replaces_what_was_renewed_goes_on(tmp_path: Path) -> None:
    """The old folder goes before the new one takes its place; in between there is neither, but the new one is whole."""

    def work(folder: Path) -> Pipeline:
        run = pipeline(folder / "run")
        run(double, text=run(write, Writing(), source=source_in(folder, "y")))
        return run

    def prepared(name: str) -> Path:
        run = pipeline(tmp_path / name / "run")
        run(double, text=run(write, Writing(), source=source_in(tmp_path / name)))
        shutil.rmtree(tmp_path / name / "run/write")
        return tmp_path / name

    whole = prepared("whole")
    done = operations_of(lambda: work(whole))
    for number, line in enumerate(done):
        folder = prepared(f"killed-{number}")
        kept_going(work, number, folder)
        assert state(folder) == state(whole), line


def test_files_that_a_power_failure_has_emptied_are_written_again(source: Artifact, tmp_path: Path) -> None:
    """The record was on disk, the rename was not, and what the files hold was lost."""
    run = pipeline(tmp_path / "run")
    whole = run(write, Writing(), source=source).path
    whole.rename(whole.with_name(".write.partial"))
    again = pipeline(tmp_path / "run")
    again(write, Writing(), source=source)
    assert worked(again) == []
    whole.rename(whole.with_name(".write.partial"))
    whole.with_name(".write.partial").joinpath("text.txt").write_text("")
    again = pipeline(tmp_path / "run")
    assert again(write, Writing(), source=source).content == "xabc"
    assert worked(again) == ["write"]


def test_a_finished_folder_that_waits_for_its_renaming_is_not_taken_for_another_call(
    source: Artifact, tmp_path: Path
) -> None:
    folder = pipeline(tmp_path / "run")(write, Writing(), source=source).path
    folder.rename(folder.with_name(".write.partial"))
    run = pipeline(tmp_path / "run")
    assert run(write, Writing("b"), source=source).content == "xb"
    assert worked(run) == ["write"]


def child(work: Callable[[], object]) -> int:
    """Does some work in a process of its own; how that ended, as `waitpid` says it."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(process, 0)[1]


@pytest.mark.usefixtures("no_fsync")
def test_a_run_that_is_killed_for_good_goes_on(tmp_path: Path) -> None:
    """SIGKILL in another process, at every rename and at every seventh of the other operations."""
    source = source_in(tmp_path)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def killed(folder: Path, number: int) -> None:
        with killed_at(number, die):
            recipe(pipeline(folder / "run", store=folder / "store"), source)

    whole = tmp_path / "whole"
    done = operations_of(lambda: recipe(pipeline(whole / "run", store=whole / "store"), source))
    points = [at for at, line in enumerate(done) if line.startswith("os.rename") or at % 7 == 0]
    for number in points:
        folder = tmp_path / f"killed-{number}"
        assert child(lambda at=number, to=folder: killed(to, at)) == signal.SIGKILL
        recipe(pipeline(folder / "run", store=folder / "store"), source)
        assert state(folder) == state(whole), done[number]


# two at once


@step(version=1, makes=Text)
def linger(out: Path, params: Writing, ctx: Context) -> None:
    """Takes long enough for another run to come by."""
    ctx[Log].add(f"begin {params.text}")
    deadline = time.monotonic() + 60
    while len(ctx[Log].lines) < params.times and time.monotonic() < deadline:
        time.sleep(0.01)
    (out / "text.txt").write_text(params.text)


def both(tmp_path: Path, work: Callable[[Pipeline], object]) -> list[str]:
    """What two runs with one store write down that do the same at once."""
    log = Log(tmp_path / "log")
    processes = []
    for name in "ab":
        run = Pipeline(tmp_path / name, tmp_path / "store", Context(resources={Log: log}))
        process = os.fork()
        if process == 0:
            code = 1
            try:
                work(run)
                code = 0
            finally:
                os._exit(code)
        processes.append(process)
    for process in processes:
        assert os.waitpid(process, 0)[1] == 0
    return log.lines


def test_two_runs_with_one_store_do_a_step_once(tmp_path: Path) -> None:
    def work(run: Pipeline) -> None:
        # the other one has come to the same step before this one ends
        run.context[Log].add("here")
        run(linger, Writing("one", times=3))
        run(linger.named("second"), Writing("two"))

    lines = both(tmp_path, work)
    assert sorted(lines) == ["begin one", "begin two", "here", "here"]
    assert state(tmp_path / "a") == state(tmp_path / "b") != {}
    assert len(list((tmp_path / "store").glob("*/step.json"))) == 2


def test_two_runs_with_one_store_may_do_other_steps_at_once(tmp_path: Path) -> None:
    def work(run: Pipeline) -> None:
        # each ends only when both have begun
        run(linger, Writing(run.folder.name, times=2))

    assert sorted(both(tmp_path, work)) == ["begin a", "begin b"]


def test_two_runs_may_share_out_the_same_shards(tmp_path: Path) -> None:
    def work(run: Pipeline) -> None:
        run.map(linger, Writing("same"), {str(at): {} for at in range(30)})
        run.map(linger.named("more"), Writing("other"), {str(at): {} for at in range(30)})

    both(tmp_path, work)
    assert state(tmp_path / "a") == state(tmp_path / "b")
    assert not list((tmp_path / "store").glob(".*.partial"))


def test_who_waits_for_another_run_says_so(tmp_path: Path) -> None:
    class Saying(Heard):
        def say(self, text: str) -> None:
            self.lines.append(text)
            lock.close()

    call = Call(aside, Params(), {})
    (tmp_path / "store").mkdir()
    lock = (tmp_path / f"store/.{call.fingerprint}.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    run, saying = pipeline(tmp_path / "run", store=tmp_path / "store"), Saying()
    run.context = replace(run.context, progress=saying)
    run(aside)
    assert saying.lines == ["waiting for another run", "working aside"]


# differences

nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3) | st.lists(inner),
    max_leaves=8,
)
mappings = st.dictionaries(st.text("abc", min_size=1, max_size=2), nested, max_size=4)


def names_of(lines: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in lines]


def test_differences_are_named_by_their_path_in_order() -> None:
    old = {"version": 1, "params": {"a": 1, "b": {"c": [2, 3]}}, "gone": "x"}
    new = {"version": 1, "params": {"a": 1, "b": {"c": [2, 4, 5]}}, "added": 0}
    assert differences(old, new) == [
        "added: missing -> 0",
        "gone: 'x' -> missing",
        "params.b.c.1: 3 -> 4",
        "params.b.c.2: missing -> 5",
    ]


def test_a_mapping_that_became_a_value_is_one_difference() -> None:
    assert differences({"a": {"b": 1}}, {"a": 1}) == ["a: {'b': 1} -> 1"]


def test_a_name_that_is_new_with_the_value_none_is_a_difference() -> None:
    assert differences({}, {"limit": None}) == ["limit: missing -> None"]
    assert differences({"limit": None}, {}) == ["limit: None -> missing"]


@given(mappings, mappings)
def test_nothing_differs_exactly_where_all_is_equal(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert differences(old, json.loads(json.dumps(old))) == []
    assert (differences(old, new) == []) == (old == new)


@given(mappings, mappings)
def test_differences_seen_from_the_other_side_have_the_same_names(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert names_of(differences(old, new)) == names_of(differences(new, old))


@given(mappings, st.text("abc", min_size=1, max_size=2), st.integers())
def test_a_changed_value_is_always_a_difference(mapping: dict[str, Any], name: str, value: int) -> None:
    before = repr(mapping[name]) if name in mapping else "missing"
    after = {"new": value}
    now = differences({**mapping, name: 0}, {**mapping, name: after})
    assert now == [f"{name}: 0 -> {after!r}"]
    assert before == "missing" or differences({name: mapping[name]}, {}) == [f"{name}: {before} -> missing"]


def test_the_disk_is_watched_in_these_tests(tmp_path: Path) -> None:
    """What the tests of kills stand on: every kind of change is seen, and reading is none."""
    seen: list[str] = []
    with operations(lambda event, path: seen.append(event)):
        (tmp_path / "a").mkdir()
        (tmp_path / "a/b").write_text("")
        (tmp_path / "a/b").read_text()
        os.link(tmp_path / "a/b", tmp_path / "c")
        (tmp_path / "c").replace(tmp_path / "d")
        (tmp_path / "d").rename(tmp_path / "e")
        (tmp_path / "e").unlink()
        shutil.rmtree(tmp_path / "a")
    assert seen == ["os.mkdir", "open", "os.link", "os.rename", "os.rename", "os.remove", "os.remove", "os.rmdir"]
