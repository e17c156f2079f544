"""Jobs are done here or in processes of their own, with the same result; what one of them loses costs only itself."""

from __future__ import annotations

import os
import pickle
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.artifact import Artifact
from denizen.engine.errors import ChangedError, DenizenError, InputError
from denizen.engine.executor import Job, run_jobs
from denizen.engine.pipeline import Pipeline, records
from denizen.engine.progress import Silent, Terminal
from denizen.engine.settings import Params
from denizen.engine.step import Call, Context, step
from tests.unit.engine.small_steps import (
    Heard,
    Log,
    Text,
    Worked,
    Writing,
    join,
    operations_of,
    pipeline,
    source_in,
    state,
    worked,
    write,
)


@step(version=1, makes=Text)
def count(out: Path, params: Writing, ctx: Context, *, shard: Artifact) -> dict[str, Any]:
    """Writes a shard back, with what the settings say; which shards fail, or kill their process, stands in them."""
    text = shard.path.read_text()
    if (log := ctx.get(Log)) is not None:
        log.add(f"{text} {os.getpid()}")
    if params.text == "fail" and text.startswith("bad"):
        raise InputError(f"{text} cannot be read")
    if params.text == "fail" and text.startswith("c") and log is not None:
        wait_until(lambda: any(line.startswith(("bad", "good")) for line in log.lines))
        time.sleep(0.2)
    if params.text == "kill" and text.startswith("bad"):
        # when the others have ended
        wait_until(lambda: len(list(out.parent.glob("[ac]*/step.json"))) == params.times)
        os.kill(os.getpid(), signal.SIGKILL)
    if params.text == "wait" and log is not None:
        wait_until(lambda: len(log.lines) == params.times)
    (out / "text.txt").write_text(text)
    return {"letters": len(text)}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)


def shards_in(folder: Path, texts: list[str], seed: int = 0) -> dict[str, dict[str, Artifact]]:
    """Shards by their text, in an order that is drawn."""
    folder.mkdir(exist_ok=True)
    for text in texts:
        (folder / text).write_text(text)
    drawn = random.Random(seed).sample(texts, len(texts))
    return {text: {"shard": Artifact.outside(folder / text)} for text in drawn}


TEXTS = [f"s{at}" for at in range(6)]


def test_neither_order_nor_workers_nor_a_pipeline_change_a_byte(tmp_path: Path) -> None:
    for name, workers, seed in (("one", 1, 0), ("shuffled", 1, 1), ("two", 2, 2)):
        run = Pipeline(tmp_path / name)
        found = run.map(count, Writing(), shards_in(tmp_path / "shards", TEXTS, seed), workers=workers)
        assert list(found) == TEXTS and [part.facts for part in found.values()] == [{"letters": 2}] * 6
        assert found["s3"].path == tmp_path / name / "count/s3" and found["s3"].place == "count/s3"
        assert state(tmp_path / name) == state(tmp_path / "one")
        assert [call.fingerprint for call in run.calls.values()] == [
            records(tmp_path / "one")[f"count/{text}"]["fingerprint"] for text in TEXTS
        ]


def test_several_processes_work_at_once(tmp_path: Path) -> None:
    """Each of two shards ends only when both have begun, and neither in this process."""
    log = Log(tmp_path / "log")
    run = Pipeline(tmp_path / "run", context=Context(resources={Log: log}))
    run.map(count, Writing("wait", times=2), shards_in(tmp_path / "shards", ["a", "b"]), workers=2)
    assert len({line.split()[1] for line in log.lines} | {str(os.getpid())}) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_shards_that_are_done_are_not_done_again(workers: int, tmp_path: Path) -> None:
    log, heard = Log(tmp_path / "log"), Heard()
    context = Context(heard, resources={Log: log})
    shards = shards_in(tmp_path / "shards", TEXTS)
    some = {key: shards[key] for key in TEXTS[:4]}
    Pipeline(tmp_path / "run", context=context).map(count, Writing(), some, workers=workers)
    Pipeline(tmp_path / "run", context=context).map(count, Writing(), shards, workers=workers)
    assert sorted(line.split()[0] for line in log.lines) == TEXTS
    found = Pipeline(tmp_path / "run", context=context).map(count, Writing(), shards, workers=workers)
    assert len(log.lines) == 6 and list(found) == TEXTS
    assert heard.lines == ["working count", "working count", "skipped count"]


def test_a_changed_setting_of_a_mapped_step_is_refused_and_a_changed_shard_is_another(tmp_path: Path) -> None:
    shards = shards_in(tmp_path / "shards", ["a", "b"])
    Pipeline(tmp_path / "run").map(count, Writing(), shards)
    with pytest.raises(ChangedError, match=r"step 'count/a' .* params\.times: 1 -> 2"):
        Pipeline(tmp_path / "run").map(count, Writing(times=2), shards)
    with pytest.raises(ChangedError, match=r"step 'count/b' .* inputs\.shard: "):
        Pipeline(tmp_path / "run").map(count, Writing(), {**shards, "b": shards["a"]})
    run = Pipeline(tmp_path / "run")
    run.map(count, Writing(), shards)
    with pytest.raises(ValueError, match="step 'count/a' is called twice"):
        run.map(count, Writing(times=2), shards)


def test_what_follows_reads_the_shards_in_the_order_of_their_keys(tmp_path: Path) -> None:
    run = pipeline(tmp_path / "run")
    for seed in range(2):
        found = run.map(count, Writing(), shards_in(tmp_path / "shards", TEXTS, seed))
        assert run(join, texts=list(found.values())).content == " ".join(TEXTS)
    assert worked(run) == ["join 6"]
    assert records(tmp_path / "run")["join"]["made_from"] == [f"count/{text}" for text in TEXTS]


def test_a_plan_of_shards_does_nothing(tmp_path: Path) -> None:
    run = Pipeline(tmp_path / "run")
    shards = shards_in(tmp_path / "shards", TEXTS)
    found: dict[str, Artifact] = {}
    assert not operations_of(lambda: found.update(run.plan(lambda planned: planned.map(count, Writing(), shards))))
    assert list(found) == [f"count/{text}" for text in TEXTS] and all(part.pending for part in found.values())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_that_fails_keeps_what_others_have_finished_and_begins_no_more(workers: int, tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    texts = ["a0", "bad", *(f"c{at}" for at in range(8))]
    shards = shards_in(tmp_path / "shards", texts)
    run = Pipeline(tmp_path / "run", context=Context(resources={Log: log}))
    with pytest.raises(InputError, match="bad cannot be read"):
        run.map(count, Writing("fail"), shards, workers=workers)
    begun = {line.split()[0] for line in log.lines}
    done = {place.removeprefix("count/") for place in records(tmp_path / "run")}
    assert "a0" in done == begun - {"bad"} and len(begun) < len(texts)
    # mended, it goes on with what is missing
    (tmp_path / "shards/bad").write_text("good")
    shards["bad"] = {"shard": Artifact.outside(tmp_path / "shards/bad")}
    log.path.unlink()
    Pipeline(tmp_path / "run", context=Context(resources={Log: log})).map(count, Writing("fail"), shards, workers=2)
    assert sorted(line.split()[0] for line in log.lines) == sorted({"good", *texts} - {"bad"} - done)


def test_a_killed_process_is_said_and_the_next_run_continues(tmp_path: Path) -> None:
    log, params = Log(tmp_path / "log"), Writing("kill", times=2)
    shards = shards_in(tmp_path / "shards", ["a0", "bad", "c0"])
    with pytest.raises(DenizenError, match=r"a working process was killed .* run the same command again: it continues"):
        Pipeline(tmp_path / "run").map(count, params, shards, workers=2)
    assert set(records(tmp_path / "run")) == {"count/a0", "count/c0"}
    assert list((tmp_path / "run/count").glob(".bad.*"))
    (tmp_path / "shards/bad").write_text("fine")
    shards["bad"] = {"shard": Artifact.outside(tmp_path / "shards/bad")}
    Pipeline(tmp_path / "run", context=Context(resources={Log: log})).map(count, params, shards, workers=2)
    assert [line.split()[0] for line in log.lines] == ["fine"]
    assert not list((tmp_path / "run/count").glob(".*"))


def test_a_step_under_another_name_is_mapped_too(tmp_path: Path) -> None:
    shards = shards_in(tmp_path / "shards", ["a", "b"])
    found = Pipeline(tmp_path / "run").map(count.named("recount"), Writing(), shards, workers=2)
    assert found["a"].place == "recount/a" and records(tmp_path / "run")["recount/a"]["step"] == "recount"


def test_steps_are_sent_by_name() -> None:
    assert pickle.loads(pickle.dumps(count)) is count
    named = count.named("one").named("other")
    sent = pickle.loads(pickle.dumps(named))
    assert (sent.name, sent.function, sent.version, sent.makes) == ("other", count.function, 1, Text)
    call = Call(named, Writing("b"), {"shard": Artifact(Path("a"), "d")})
    assert pickle.loads(pickle.dumps(call)).fingerprint == call.fingerprint


def test_processes_are_not_sent_what_draws_on_a_terminal(tmp_path: Path) -> None:
    """Whose threads and locks could not be sent at all."""
    run = Pipeline(tmp_path / "run", context=Context(Terminal()))
    run.map(count, Writing(), shards_in(tmp_path / "shards", ["a", "b"]), workers=2)
    assert set(records(tmp_path / "run")) == {"count/a", "count/b"}


def job_in(folder: Path, call: Call[Any]) -> Job:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Job(call, "place", folder / "out", folder / "scratch", False)


def test_a_job_works_in_its_own_scratch_and_says_how_long_it_took(tmp_path: Path) -> None:
    call = Call(write, Writing("b", 3), {"source": source_in(tmp_path)})
    job = job_in(tmp_path / "job", call)
    context = Context(Silent(), scratch=Path("/nowhere"), resources={Worked: Worked()})
    (key, (same, told, seconds)) = next(iter(run_jobs({"key": job}, context, 1)))
    assert (key, same, told) == ("key", job, {"letters": 3}) and seconds >= 0
    assert (tmp_path / "job/out/text.txt").read_text() == "xbbb"
    assert (tmp_path / "job/scratch/half.txt").read_text() == "half"
    assert context.scratch == Path("/nowhere")


def test_no_jobs_are_no_work() -> None:
    assert list(run_jobs({}, Context(), 1)) == list(run_jobs({}, Context(), 2)) == []


@step(version=3, makes=Text)
def shaped(out: Path, params: Params, ctx: Context, *, one: Any, other: Any = None) -> None:
    """Takes two inputs, of which one need not be there."""


def test_a_call_without_an_input_that_the_step_needs_does_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="one"):
        Pipeline(tmp_path)(shaped)
    with pytest.raises(TypeError, match="third"):
        Pipeline(tmp_path)(shaped, one=None, third=None)
    assert Pipeline(tmp_path)(shaped, one=None).path.is_dir()


@given(st.permutations(["a", "b", "c"]), st.booleans())
def test_a_call_is_its_step_its_settings_and_the_digests_of_its_inputs(order: list[str], where: bool) -> None:
    at = Path("here" if where else "there")
    inputs = {name: Artifact(at / name, name * 3, place="x" if where else "") for name in order}
    call = Call(shaped, Writing("b"), {"one": inputs, "other": None})
    assert call.described == {
        "step": "shaped",
        "version": 3,
        "params": {"text": "b", "times": 1},
        "inputs": {"one": {name: name * 3 for name in "abc"}},
    }
    assert call.fingerprint == Call(shaped, Writing("b"), {"one": dict(sorted(inputs.items()))}).fingerprint
    assert call.derived == ({f"inputs.one.{name}": "x" for name in order} if where else {})
    others = [
        Call(shaped.named("another"), Writing("b"), {"one": inputs}),
        Call(shaped, Writing("c"), {"one": inputs}),
        Call(shaped, Writing("b"), {"one": list(inputs.values())}),
        Call(shaped, Writing("b"), {"one": inputs, "other": inputs["a"]}),
    ]
    assert len({call.fingerprint, *(other.fingerprint for other in others)}) == 5
