"""Where the settings of a run come from: options, a file, the config.json of another run; and what does nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from denizen.engine.pipeline import records
from denizen.recipes.config import AdaptConfig

from .conftest import Command

Short = tuple[Path, AdaptConfig]


def fingerprints(run: Path) -> dict[str, str]:
    return {place: record["fingerprint"] for place, record in records(run).items()}


def done_before(said: str) -> dict[bool, list[str]]:
    """The steps of which a line tells, by whether they were there already."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for line in said.splitlines():
        found[line.endswith("done before")].append(line.split()[0])
    return found


def test_a_file_of_settings_makes_the_run_that_options_make(
    short: Short, pairs: Path, tiny_encoder: Path, tmp_path: Path, command: Command
) -> None:
    run, config = short
    # by hand, as people write it: dashes, a float as text, and an option that comes before it
    file = tmp_path / "run.yaml"
    file.write_text(
        f"# quick\nsource: {pairs}\nmodel: {tiny_encoder}\nrounds: 1\nepochs: 0.2\nbatch-size: 8\nprecision: fp32\n"
        "learning-rate: 1e-3\nbackend: torch\nbaselines: false\neasy_negative_ranks: 16-20\n"
        "hard-positive-ranks: 6-20\ncross_fitting: false\n"
    )
    ended = command("adapt", "--config", file, "--rounds", 2, "--out", tmp_path / "run", "--json")
    assert ended.code == 0 and json.loads(ended.out)["config"] == config.as_dict()
    assert fingerprints(tmp_path / "run") == fingerprints(run)
    assert json.loads((tmp_path / "run/config.json").read_text()) == json.loads((run / "config.json").read_text())


def test_the_settings_of_a_run_given_back_make_the_same_run_and_do_nothing_anew_there(
    short: Short, command: Command
) -> None:
    run, _ = short
    before = {path: path.stat().st_mtime_ns for path in run.rglob("step.json")}
    ended = command("adapt", "--config", run / "config.json", "--out", run)
    assert ended.code == 0 and {path: path.stat().st_mtime_ns for path in run.rglob("step.json")} == before
    found = done_before(ended.err)
    assert sorted(found[True]) == sorted(records(run)) and not found[False]
    # an option beside it counts
    ended = command("adapt", "--config", run / "config.json", "--temperature", 0.2, "--out", run)
    assert ended.code == 2 and "temperature: 0.05 -> 0.2" in ended.err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.yaml", None, "missing.yaml cannot be read: [Errno 2] No such file"),
        (".", None, "cannot be read: [Errno 21] Is a directory"),
        ("binary.yaml", b"\xff\xfe\x00", "binary.yaml cannot be read"),
        ("broken.yaml", b"rounds: [1\n", "broken.yaml cannot be read"),
        ("empty.yaml", b"", "empty.yaml holds no settings; it must map names to values, as in 'rounds: 2'"),
        ("list.yaml", b"- rounds\n- epochs\n", "list.yaml holds no settings"),
        ("number.yaml", b"1: 2\n", "number.yaml holds no settings"),
        ("unknown.yaml", b"source: x\nepoch: 2\n", "unknown settings ['epoch']; there are"),
        ("text.yaml", b"source: x\nlearning-rate: fast\n", "learning_rate is 'fast'; it must be a number"),
        ("type.yaml", b"source: x\nrounds: two\n", "rounds is 'two'; it must be of type int"),
        ("bound.yaml", b"source: x\nrounds: 99\n", "rounds is 99; it must be between 1 and 10"),
        ("idle.yaml", b"source: x\nstyles: keyword\n", "styles does nothing with teacher gold"),
        ("none.yaml", b"rounds: 2\n", "there is no source"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".yaml") else "",
)
def test_a_file_of_settings_that_cannot_be_used_is_refused(
    name: str, content: bytes | None, message: str, tmp_path: Path, command: Command
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ended = command("adapt", "--config", tmp_path / name, "--out", tmp_path / "run")
    assert ended.code == 2 and ended.out == "" and not (tmp_path / "run").exists()
    assert message in ended.err and len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "refused", "other"),
    [
        (["--styles", "keyword"], "styles does nothing with teacher gold;", "llm"),
        (
            ["--budget-calls", "5", "--passages", "5", "--llm", "judge"],
            "budget_calls, llm, passages do nothing with teacher gold;",
            "llm",
        ),
        (["--query-log", "log.txt"], "query_log does nothing with teacher gold;", "llm or cross-encoder"),
        (
            ["--teacher", "llm", "--llm", "judge", "--allow-leak", "--drop-leaks"],
            "allow_leak, drop_leaks do nothing with teacher llm;",
            "gold",
        ),
        (
            ["--teacher", "cross-encoder", "--cross-encoder", "judge", "--positives", "3"],
            "positives does nothing with teacher cross-encoder;",
            "gold or llm",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_settings_that_do_nothing_with_the_teacher_are_refused_by_name(
    options: list[str], refused: str, other: str, pairs: Path, tiny_encoder: Path, tmp_path: Path, command: Command
) -> None:
    ended = command("adapt", pairs, "--model", tiny_encoder, "--out", tmp_path / "run", *options)
    assert (ended.code, ended.out) == (2, "") and not (tmp_path / "run").exists()
    assert ended.err.startswith(f"denizen: {refused}") and f"or choose teacher {other}" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_setting_that_does_nothing_may_stand_there_with_its_default(tmp_path: Path, command: Command) -> None:
    """The settings of a run with one teacher then serve another one, once what it decides is taken out."""
    ended = command("adapt", tmp_path / "nowhere.jsonl", "--out", tmp_path / "run", "--styles", _default("styles"))
    assert ended.code == 2 and "does not exist" in ended.err


def _default(name: str) -> Any:
    from denizen.recipes.config import SETTINGS

    return SETTINGS[name].spec.default
