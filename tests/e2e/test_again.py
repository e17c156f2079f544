"""A run that is there already: the same command, other settings, a step to redo, and runs of an older version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from denizen.api import adapt
from denizen.engine.errors import ChangedError, InputError
from denizen.engine.pipeline import records
from denizen.engine.settings import Params
from denizen.engine.step import Context
from denizen.measuring.students import choose
from denizen.recipes.config import AdaptConfig

from .conftest import SETTINGS, Command, Heard, Killer, assert_same, resumptions

Short = tuple[Path, AdaptConfig]
MINED = ("embeddings", "run", "candidates", "examples", "student")
# all steps of a run with labels and two rounds, in order
STEPS = ["corpus", *(f"reading/{name}" for name in ("embeddings", "run", "keywords", "reading"))]
STEPS += [f"round-{number}/{name}" for number in (0, 1) for name in MINED]
STEPS += ["round-2/embeddings", "round-2/run", "keywords", "choice", "fusion", "base", "base-fusion"]
STEPS += ["test", "model", "retriever"]


@pytest.fixture
def copy(short: Short, tmp_path: Path) -> Path:
    """The short run once more."""
    shutil.copytree(short[0], tmp_path / "run")
    return tmp_path / "run"


def state(run: Path) -> dict[str, Any]:
    """Every file with when it was written, without what each command writes anew."""
    again = ("config.json", "results.json", "metrics.json", "report.html", "try.html", ".lock")
    found = (path for path in run.rglob("*") if path.is_file() and path.name not in again)
    return {str(path): path.stat().st_mtime_ns for path in found} | {name: (run / name).is_file() for name in again}


def worked(config: AdaptConfig, run: Path, redo: str | None = None) -> list[str]:
    heard = Heard()
    adapt(config, run, redo=redo, progress=heard)
    assert sorted(heard.worked + heard.found) == sorted(records(run))
    return heard.worked


def test_the_same_command_again_does_no_step_twice(short: Short, monkeypatch: pytest.MonkeyPatch) -> None:
    run, config = short
    before, report = state(run), json.loads((run / "metrics.json").read_text())
    monkeypatch.setattr(SentenceTransformer, "__init__", lambda *given, **more: pytest.fail("a model was loaded"))
    heard = Heard()
    assert json.loads(json.dumps(adapt(config, run, progress=heard))) == report
    assert (heard.worked, heard.found) == ([], STEPS)
    assert state(run) == before


def test_a_changed_setting_is_refused_with_its_name(short: Short) -> None:
    run, config = short
    before = state(run)
    with pytest.raises(ChangedError, match=r"temperature: 0\.05 -> 0\.1; weight_decay: 0\.01 -> 0\.2\. Use another"):
        adapt(config.changed(temperature=0.1, weight_decay=0.2), run)
    assert state(run) == before


def test_what_decides_nothing_may_change_and_more_seeds_are_done_beside_what_is_there(short: Short, copy: Path) -> None:
    _, config = short
    assert worked(config.changed(memory_mb=64), copy) == []
    done = worked(config.changed(seeds=2), copy)
    # the corpus and what the base finds in it are shared, and the card tells of both
    shared = ("corpus", "keywords", "base", "model", "retriever")
    beside = [place for place in STEPS if place not in shared and not place.startswith(("reading/", "round-0/"))]
    assert [*(f"seed-43/{place}" for place in ("round-0/examples", "round-0/student", *beside)), "model"] == done


def test_other_weights_under_the_same_name_are_refused(pairs: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    import torch

    model = tmp_path / "model"
    shutil.copytree(tiny_encoder, model)
    config = AdaptConfig(str(pairs), model=str(model), **{**SETTINGS, "rounds": 1, "epochs": 0.1})
    adapt(config, tmp_path / "run")
    other = SentenceTransformer(str(model))
    with torch.no_grad():
        next(iter(other.parameters())).add_(0.01)
    other.save_pretrained(str(model), create_model_card=False)
    with pytest.raises(ChangedError, match=r"reading/embeddings.*inputs\.model"):
        adapt(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("asked", "first"),
    [("student", "round-0/student"), ("round-1", "round-1/embeddings"), ("round-1/student", "round-1/student")],
)
def test_a_step_is_redone_by_place_by_name_and_by_round_with_all_that_was_made_from_it(
    short: Short, copy: Path, asked: str, first: str
) -> None:
    run, config = short
    # a run with the same labels, which the redoing must make anew and not take from elsewhere
    kept = ("keywords", "base", "base-fusion")
    assert worked(config, copy, redo=asked) == [place for place in STEPS[STEPS.index(first) :] if place not in kept]
    assert_same(run, copy)
    assert worked(config, copy) == []


def test_redo_replaces_a_step_with_what_other_settings_make(short: Short, copy: Path) -> None:
    run, config = short
    changed = config.changed(temperature=0.2)
    assert worked(changed, copy, redo="round-0/student")[0] == "round-0/student"
    known, before = records(copy), records(run)
    assert known["round-0/student"]["params"]["temperature"] == 0.2
    assert known["round-0/student"]["digest"] != before["round-0/student"]["digest"]
    assert json.loads((copy / "config.json").read_text())["temperature"] == 0.2
    assert worked(changed, copy) == []


def test_a_redo_that_is_refused_changes_nothing(short: Short, copy: Path) -> None:
    _, config = short
    before = state(copy)
    with pytest.raises(ChangedError, match=r"step 'round-0/student'.*temperature: 0\.05 -> 0\.1"):
        adapt(config.changed(temperature=0.1), copy, redo="model")
    assert state(copy) == before
    assert worked(config, copy) == []


@pytest.mark.parametrize("there", [True, False], ids=["finished", "new"])
def test_a_step_to_redo_that_there_is_not_is_refused_naming_those_there_are(
    there: bool, short: Short, tmp_path: Path
) -> None:
    run, config = short
    out = run if there else tmp_path / "run"
    with pytest.raises(InputError) as refused:
        adapt(config, out, redo="minning")
    assert str(refused.value) == f"there is no step 'minning' to redo; there are {', '.join(STEPS)}"
    assert there or not out.exists()


def test_a_gate_to_redo_that_there_is_not_is_refused_saying_why(
    short: Short, copy: Path, forgettable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config = short
    before = state(copy)
    with pytest.raises(InputError, match=r"no step 'gate' to redo \(no --general or --neighbour set is given\)"):
        adapt(config, copy, redo="gate")
    assert state(copy) == before
    # with sets, what dev chooses decides on it; where that is not known before, it is said at the end
    gated = config.changed(general=(str(forgettable),), near_base=0.0, merge_evaluations=0)
    known, chosen = choose.function, (copy / "choice").rename(copy / ".choice")

    def the_base(out: Path, params: Params, ctx: Context, **inputs: Any) -> Any:
        return known(out, params, ctx, **{**inputs, "runs": inputs["runs"][:1] * len(inputs["runs"])})

    monkeypatch.setattr(choose, "function", the_base)
    why = r"no step 'gate' to redo \(the base was chosen, and no student is taken\); there are .*retriever"
    with pytest.raises(InputError, match=f"{why}. All else is done, and the results are in {copy}$"):
        adapt(gated, copy, redo="gate")
    assert chosen.is_dir() and not (copy / "redo.json").exists()
    assert json.loads((copy / "metrics.json").read_text())["best_round"] == 0
    before = state(copy)
    with pytest.raises(InputError, match=f"{why}$"):
        adapt(gated, copy, redo="gate")
    assert state(copy) == before
    assert worked(gated, copy) == []


def test_a_redo_that_was_killed_goes_on_where_it_was_and_ends_like_one_that_was_not(
    finished: tuple[Path, dict[str, Any]], pairs: Path, tiny_encoder: Path, tmp_path: Path, killer: Killer
) -> None:
    config, student = AdaptConfig(str(pairs), model=str(tiny_encoder), **SETTINGS), "round-0/student"
    changed, steps = config.changed(temperature=0.2), records(finished[0])[student]["facts"]["steps"]
    for name in ("whole", "killed"):
        shutil.copytree(finished[0], tmp_path / name)
    killer.run(changed, tmp_path / "whole", redo=student)
    # half of the training, its end, the removal of what was there before; the same for what follows from it
    points = [f"{student}@{what}" for what in ("step:11", "record", "remove:2", "placed")]
    points += ["round-1/candidates@write:1", "round-1/student@step:9", "test@remove:1"]
    log = killer.run(changed, tmp_path / "killed", *points, redo=student, finish=False)
    assert not [
        name for name in ("metrics.json", "results.json", "report.html") if (tmp_path / "killed" / name).exists()
    ]
    with pytest.raises(ChangedError, match=r"temperature"):
        adapt(config, tmp_path / "killed")
    # without --redo, too
    killer.run(changed, tmp_path / "killed")
    assert_same(tmp_path / "whole", tmp_path / "killed")
    assert resumptions(log, student) == 2 and resumptions(log, "round-1/student") == 1
    # what was done after the last checkpoint, a tenth of the steps, is done twice
    assert steps <= sum(found == ["step", student] for found in log) <= steps + steps // 10 + 2
    known = [records(run)[student]["digest"] for run in (tmp_path / "killed", finished[0])]
    assert known[0] != known[1]


@pytest.mark.parametrize("what", ["adapt", "retry", "report", "explain", "audit", "pool"])
def test_a_run_of_an_older_version_is_refused_and_left_as_it_is(
    what: str, short: Short, pairs: Path, tiny_encoder: Path, tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "old"
    (run / "corpus").mkdir(parents=True)
    (run / ".lock").touch()
    (run / "replies.sqlite").touch()
    (run / "corpus/stage.json").write_text('{"version": 3, "settings": {}, "inputs": {}, "files": {}}')
    for name in ("metrics.json", "config.json"):
        shutil.copy(short[0] / name, run)
    before = state(run)
    more = {"adapt": [pairs, "--model", tiny_encoder, "--out", run], "explain": [run, "q1"], "pool": [run]}
    ended = command(what, *more.get(what, [run]), *(["--judge", "other"] if what == "pool" else []))
    assert ended.code == 2 and ended.out == ""
    assert f"{run} was made by an older version of denizen" in ended.err and len(ended.err.splitlines()) == 1
    assert state(run) == before
