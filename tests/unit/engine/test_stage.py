import contextlib
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.errors import ChangedError
from denizen.engine.stage import STAGE_FILE, Stage, StageRunner, differences, file_digest, write_json

nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.text("abc", min_size=1, max_size=2), nested, max_size=4)


def writes(text="content", facts=None):
    """Work that writes one file; its `calls` are the folders it was given."""

    def work(folder):
        work.calls.append(folder)
        (folder / "table.txt").write_text(text)
        return facts

    work.calls = []
    return work


def listener():
    """A progress that remembers in `heard` which stages worked and which were skipped."""
    heard = []

    @contextlib.contextmanager
    def working(stage):
        heard.append(("working", stage))
        yield

    return SimpleNamespace(heard=heard, working=working, skipped=lambda stage: heard.append(("skipped", stage)))


def stage_in(root, name="mining", **changes):
    made = Stage(root / name, version=1, settings={"depth": 100, "seed": 42}, inputs={"corpus": "aa", "run": "bb"})
    return replace(made, **changes)


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_stage_is_done_once_and_then_skipped(tmp_path):
    work, progress = writes(facts={"rows": 3}), listener()
    first = StageRunner(tmp_path, progress=progress).run(stage_in(tmp_path), work)
    second = StageRunner(tmp_path, progress=progress).run(stage_in(tmp_path), work)
    assert len(work.calls) == 1
    assert second == first
    assert progress.heard == [("working", "mining"), ("skipped", "mining")]


def test_the_record_holds_fingerprint_files_and_facts_and_is_what_lies_on_disk(tmp_path):
    def work(folder):
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("abc")
        (folder / "b.txt").write_text("")
        return {"rows": 3}

    record = StageRunner(tmp_path).run(stage_in(tmp_path, "round-0/mining"), work)
    assert record == json.loads((tmp_path / "round-0" / "mining" / STAGE_FILE).read_text())
    assert record["version"] == 1
    assert record["settings"] == {"depth": 100, "seed": 42}
    assert record["inputs"] == {"corpus": "aa", "run": "bb"}
    assert record["facts"] == {"rows": 3}
    assert record["files"] == {
        "b.txt": hashlib.sha256(b"").hexdigest(),
        "sub/a.txt": hashlib.sha256(b"abc").hexdigest(),
    }
    assert record["seconds"] >= 0
    assert names_in(tmp_path) == [f"round-0/mining/{name}" for name in ("b.txt", STAGE_FILE, "sub/a.txt")]


def test_the_folder_appears_only_when_the_work_is_finished(tmp_path):
    stage = stage_in(tmp_path)
    seen = []

    def work(folder):
        seen.append((folder, stage.folder.exists()))

    StageRunner(tmp_path).run(stage, work)
    assert seen == [(tmp_path / ".mining.partial", False)]
    assert stage.folder.is_dir()
    assert not seen[0][0].exists()


@pytest.mark.parametrize(
    "change, named",
    [
        ({"version": 2}, "version: 1 -> 2"),
        ({"settings": {"depth": 50, "seed": 42}}, "settings.depth: 100 -> 50"),
        ({"settings": {"depth": 100}}, "settings.seed: 42 -> missing"),
        ({"settings": {"depth": 100, "seed": 42, "loss": "gist"}}, "settings.loss: missing -> 'gist'"),
        ({"inputs": {"corpus": "aa", "run": "cc"}}, "inputs.run: 'bb' -> 'cc'"),
        ({"inputs": {"corpus": "aa", "run": "bb", "model": "dd"}}, "inputs.model: missing -> 'dd'"),
    ],
)
def test_a_stage_made_with_something_else_is_refused_naming_only_what_changed(tmp_path, change, named):
    StageRunner(tmp_path).run(stage_in(tmp_path), writes("old"))
    work = writes("new")
    with pytest.raises(ChangedError) as refused:
        StageRunner(tmp_path).run(stage_in(tmp_path, **change), work)
    assert f"stage 'mining' in {tmp_path} was made with something else: {named}." in str(refused.value)
    assert "--redo mining" in str(refused.value)
    assert len(work.calls) == 0
    assert (tmp_path / "mining" / "table.txt").read_text() == "old"


def test_a_derived_stage_is_made_anew_where_it_has_changed_unless_somebody_has_edited_it(tmp_path):
    runner = StageRunner(tmp_path)
    runner.run(stage_in(tmp_path, derived=True), writes("old"))
    runner.run(stage_in(tmp_path, derived=True, inputs={"corpus": "cc"}), writes("new"))
    assert (tmp_path / "mining/table.txt").read_text() == "new"
    (tmp_path / "mining/table.txt").write_text("by hand")
    with pytest.raises(ChangedError, match=r"table\.txt: its content is not what the stage wrote"):
        runner.run(stage_in(tmp_path, derived=True, inputs={"corpus": "dd"}), writes("newer"))
    assert (tmp_path / "mining/table.txt").read_text() == "by hand"


def test_all_changes_are_named_together(tmp_path):
    StageRunner(tmp_path).run(stage_in(tmp_path), writes())
    changed = stage_in(tmp_path, version=2, settings={"depth": 1, "seed": 42})
    with pytest.raises(ChangedError, match=r"settings\.depth: 100 -> 1; version: 1 -> 2\."):
        StageRunner(tmp_path).run(changed, writes())


def test_the_order_of_settings_and_tuples_in_them_change_nothing(tmp_path):
    work = writes()
    one = stage_in(tmp_path, settings={"a": (1, 2), "b": 3})
    other = stage_in(tmp_path, settings={"b": 3, "a": [1, 2]})
    assert StageRunner(tmp_path).run(one, work) == StageRunner(tmp_path).run(other, work)
    assert len(work.calls) == 1


@pytest.mark.parametrize("damage", ["changed", "truncated", "deleted"])
def test_a_damaged_output_file_is_noticed_and_named(tmp_path, damage):
    StageRunner(tmp_path).run(stage_in(tmp_path), writes("content"))
    path = tmp_path / "mining" / "table.txt"
    if damage == "deleted":
        path.unlink()
    else:
        path.write_text({"changed": "c0ntent", "truncated": "conten"}[damage])
    with pytest.raises(ChangedError, match=r"table\.txt: its content is not what the stage wrote"):
        StageRunner(tmp_path).run(stage_in(tmp_path), writes("content"))


def test_a_folder_without_its_marker_is_not_trusted(tmp_path):
    StageRunner(tmp_path).run(stage_in(tmp_path), writes("old"))
    (tmp_path / "mining" / STAGE_FILE).unlink()
    (tmp_path / "mining" / "leftover.txt").write_text("")
    work = writes("new")
    StageRunner(tmp_path).run(stage_in(tmp_path), work)
    assert len(work.calls) == 1
    assert names_in(tmp_path / "mining") == [STAGE_FILE, "table.txt"]
    assert (tmp_path / "mining" / "table.txt").read_text() == "new"


def test_work_that_raises_leaves_no_finished_stage_and_can_be_done_again(tmp_path):
    def failing(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        StageRunner(tmp_path).run(stage_in(tmp_path), failing)
    assert not (tmp_path / "mining").exists()
    work = writes()
    StageRunner(tmp_path).run(stage_in(tmp_path), work)
    assert len(work.calls) == 1
    assert names_in(tmp_path) == [f"mining/{STAGE_FILE}", "mining/table.txt"]


def interrupted(root, stage):
    def work(folder):
        (folder / "done-so-far.txt").write_text("1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StageRunner(root).run(stage, work)


def files_found_by_work(root, stage):
    found = []

    def work(folder):
        found.extend(name for name in names_in(folder) if name != "fingerprint.json")

    StageRunner(root).run(stage, work)
    return found


def test_a_resumable_stage_goes_on_with_its_partial_folder(tmp_path):
    stage = stage_in(tmp_path, resumable=True)
    interrupted(tmp_path, stage)
    assert files_found_by_work(tmp_path, stage) == ["done-so-far.txt"]
    assert "done-so-far.txt" in json.loads((stage.folder / STAGE_FILE).read_text())["files"]


@pytest.mark.parametrize("change", [{"version": 2}, {"settings": {"depth": 1}}, {"inputs": {"corpus": "zz"}}])
def test_a_partial_folder_of_another_fingerprint_is_thrown_away(tmp_path, change):
    stage = stage_in(tmp_path, resumable=True)
    interrupted(tmp_path, stage)
    assert files_found_by_work(tmp_path, replace(stage, **change)) == []


def test_a_partial_folder_that_does_not_say_whose_it_is_is_thrown_away(tmp_path):
    stage = stage_in(tmp_path, resumable=True)
    (tmp_path / ".mining.partial").mkdir()
    (tmp_path / ".mining.partial" / "done-so-far.txt").write_text("1")
    assert files_found_by_work(tmp_path, stage) == []


def test_a_stage_that_cannot_resume_starts_from_nothing(tmp_path):
    stage = stage_in(tmp_path)
    interrupted(tmp_path, stage)
    assert files_found_by_work(tmp_path, stage) == []


def test_redo_replaces_that_stage_and_the_following_ones_and_keeps_those_before(tmp_path):
    names = ["corpus", "mining", "student"]
    for name in names:
        StageRunner(tmp_path).run(stage_in(tmp_path, name), writes("old"))
    runner = StageRunner(tmp_path, redo="mining")
    for name in names:
        runner.run(stage_in(tmp_path, name), writes("new"))
    assert [(tmp_path / name / "table.txt").read_text() for name in names] == ["old", "new", "new"]


def test_redo_replaces_a_stage_made_with_something_else(tmp_path):
    StageRunner(tmp_path).run(stage_in(tmp_path), writes("old"))
    record = StageRunner(tmp_path, redo="mining").run(stage_in(tmp_path, version=2), writes("new"))
    assert record["version"] == 2
    assert (tmp_path / "mining" / "table.txt").read_text() == "new"
    assert StageRunner(tmp_path).run(stage_in(tmp_path, version=2), writes("newer")) == record


def test_a_stage_before_the_one_to_redo_is_still_refused_when_it_changed(tmp_path):
    for name in ("corpus", "mining"):
        StageRunner(tmp_path).run(stage_in(tmp_path, name), writes())
    with pytest.raises(ChangedError, match="stage 'corpus'"):
        StageRunner(tmp_path, redo="mining").run(stage_in(tmp_path, "corpus", version=2), writes())


def test_work_that_raises_during_a_redo_keeps_the_finished_stage(tmp_path):
    StageRunner(tmp_path).run(stage_in(tmp_path), writes("old"))

    def failing(folder):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        StageRunner(tmp_path, redo="mining").run(stage_in(tmp_path), failing)
    work = writes("new")
    StageRunner(tmp_path).run(stage_in(tmp_path), work)
    assert len(work.calls) == 0
    assert (tmp_path / "mining" / "table.txt").read_text() == "old"


@pytest.mark.parametrize("value", [{"ä": [1, 2.5, None]}, [], "text"])
def test_json_is_written_readable_and_leaves_no_other_file(tmp_path, value):
    path = tmp_path / "value.json"
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value
    assert path.read_bytes().endswith(b"\n")
    assert b"\\u" not in path.read_bytes()
    assert names_in(tmp_path) == ["value.json"]


def test_json_that_cannot_be_written_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"long": "x" * 100_000, "bad": object()})
    assert json.loads(path.read_text()) == {"old": 1}


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "value.json"
    write_json(path, {"old": 1})
    seen = []
    monkeypatch.setattr("os.fsync", lambda descriptor: seen.append(json.loads(path.read_text())))
    write_json(path, {"new": 2})
    assert seen == [{"old": 1}]
    assert json.loads(path.read_text()) == {"new": 2}


def test_a_file_digest_is_its_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"\x00abc" * 100_000)
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"\x00abc" * 100_000).hexdigest()


def test_differences_are_named_by_their_path_in_order():
    old = {"version": 1, "settings": {"a": 1, "b": {"c": 2}}, "gone": "x"}
    new = {"version": 1, "settings": {"a": 1, "b": {"c": 3}}, "added": 0}
    assert differences(old, new) == ["added: missing -> 0", "gone: 'x' -> missing", "settings.b.c: 2 -> 3"]


def test_a_mapping_that_became_a_value_is_one_difference():
    assert differences({"a": {"b": 1}}, {"a": 1}) == ["a: {'b': 1} -> 1"]


@given(mappings)
def test_a_mapping_does_not_differ_from_itself(mapping):
    assert differences(mapping, json.loads(json.dumps(mapping))) == []


@given(mappings, mappings)
def test_differences_seen_from_the_other_side_have_the_same_names(old, new):
    there, back = differences(old, new), differences(new, old)
    assert [line.partition(":")[0] for line in there] == [line.partition(":")[0] for line in back]


@given(mappings, st.text("abc", min_size=1, max_size=2), st.integers())
def test_a_changed_value_is_always_a_difference(mapping, name, value):
    before = repr(mapping[name]) if name in mapping else "missing"
    assert differences(mapping, {**mapping, name: [value]}) == [f"{name}: {before} -> {[value]!r}"]


def test_a_name_that_is_new_with_the_value_none_is_a_difference():
    assert differences({}, {"limit": None}) == ["limit: missing -> None"]
    assert differences({"limit": None}, {}) == ["limit: None -> missing"]


def test_resumable_work_survives_an_interruption_while_the_marker_is_written(tmp_path, monkeypatch):
    stage = stage_in(tmp_path, resumable=True)
    with monkeypatch.context() as patch:
        patch.setattr("denizen.engine.stage.file_digest", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            StageRunner(tmp_path).run(stage, writes())
    assert files_found_by_work(tmp_path, stage) == ["table.txt"]


def stopped(root, stage, monkeypatch, where, redo=None):
    """Runs the stage, and stops the process, as it were, at the call named."""

    def stop(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*where, stop)
        with pytest.raises(KeyboardInterrupt):
            StageRunner(root, redo=redo).run(stage, writes("stopped"))


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize(
    "where", [("denizen.engine.stage._publish",), (Path, "rename")], ids=["with its owner", "without its owner"]
)
def test_a_stage_stopped_before_the_renaming_is_finished(tmp_path, monkeypatch, where, resumable):
    stage = stage_in(tmp_path, resumable=resumable)
    stopped(tmp_path, stage, monkeypatch, where)
    work, progress = writes("new"), listener()
    record = StageRunner(tmp_path, progress=progress).run(stage, work)
    assert len(work.calls) == 0
    assert progress.heard == [("skipped", "mining")]
    assert list(record["files"]) == ["table.txt"]
    assert names_in(tmp_path) == [f"mining/{STAGE_FILE}", "mining/table.txt"]


def test_a_stage_stopped_while_the_old_one_is_removed_is_finished(tmp_path, monkeypatch):
    stage = stage_in(tmp_path)
    StageRunner(tmp_path).run(stage, writes("old"))
    stopped(tmp_path, stage, monkeypatch, (shutil, "rmtree"), redo="mining")
    StageRunner(tmp_path).run(stage, writes("new"))
    assert (tmp_path / "mining" / "table.txt").read_text() == "stopped"
    assert names_in(tmp_path) == [f"mining/{STAGE_FILE}", "mining/table.txt"]


@pytest.mark.parametrize("resumable", [True, False])
def test_a_finished_partial_folder_of_another_fingerprint_or_to_redo_is_not_taken(tmp_path, monkeypatch, resumable):
    stage = stage_in(tmp_path, resumable=resumable)
    stopped(tmp_path, stage, monkeypatch, ("denizen.engine.stage._publish",))
    work = writes("new")
    StageRunner(tmp_path, redo="mining").run(stage, work)
    assert len(work.calls) == 1
    stopped(tmp_path, stage, monkeypatch, ("denizen.engine.stage._publish",), redo="mining")
    shutil.rmtree(tmp_path / "mining")
    StageRunner(tmp_path).run(replace(stage, version=2), work)
    assert len(work.calls) == 2


def test_a_half_written_marker_is_not_one_of_the_files(tmp_path, monkeypatch):
    stage = stage_in(tmp_path, resumable=True)

    def stop(source, target):
        if source.name == f".{STAGE_FILE}.partial":
            raise KeyboardInterrupt
        return source.rename(target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            StageRunner(tmp_path).run(stage, writes())
    assert list(StageRunner(tmp_path).run(stage, writes())["files"]) == ["table.txt"]
    assert list(StageRunner(tmp_path).run(stage, writes())["files"]) == ["table.txt"]
