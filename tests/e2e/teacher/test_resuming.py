"""kill -9 in every step of a run with a teacher, then the same command: the same tables, and no call is paid twice."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from denizen.api import adapt
from denizen.engine.pipeline import records
from denizen.recipes.config import AdaptConfig
from tests.e2e.conftest import Killer, write_beir
from tests.llm_server import Reply, ScriptedServer

from .conftest import Answer, config, contents, cross_encoder_settings, labelled

# what the student forgets of it breaks the limit, so that the gate searches a merge
GATE = {"epochs": 10.0, "learning_rate": 4e-3, "near_base": 0.0, "forgetting_limit": 0.03, "merge_evaluations": 3}
GATE |= {"dev_share": 0.2}
CONCURRENCY = 4
# steps that write tables, those that write models, and those that ask
TABLES = ("corpus", "synthesis", "trial", "run", "candidates", "judgments", "answers", "examples", "test")
MODELS = ("choice", "gate", "model")
ASKING = ("synthesis", "trial", "judgments", "test")


def _points(places: list[str], every: bool, asking: tuple[str, ...] = ASKING) -> list[str]:
    """A point in each place, or all that there are: at a table or file, while calls are under way, at the renaming."""
    draw = random.Random(11)
    points = []
    for place in places:
        name = place.rpartition("/")[2]
        # after the last training few calls are left
        replies = 2 if place == "round-1/judgments" else draw.randint(2, 12)
        own = [f"{place}@reply:{replies}"] * (name in asking)
        # reading has made the same run, which is linked
        linked = place == "round-0/run"
        own += (
            [f"{place}@link:1"] * linked
            + [f"{place}@write:1"] * (name in TABLES and not linked)
            + [f"{place}@open:1"] * (name in MODELS)
        )
        # the base has embedded all when it was asked how passages are to be read
        embeds = name == "embeddings" and place != "round-0/embeddings"
        own += [f"{place}@store:1"] * embeds + [f"{place}@step:3"] * (name == "student")
        own += [f"{place}@record", f"{place}@rename"]
        # a training that goes on after its last step is one more case
        points += own if every else [own[0], *([f"{place}@record"] if name == "student" else [])]
    return points


def _settings(given: AdaptConfig, **changed: Any) -> AdaptConfig:
    return given.changed(concurrency=CONCURRENCY, **changed)


def _check(whole: Path, killed: Path, requests: list[dict[str, Any]], points: list[str]) -> None:
    """The same run, but for calls that were under way when it was killed."""
    assert {point.partition("@")[0] for point in points} == set(records(whole))
    assert contents(killed) == contents(whole)
    assert not [path for path in killed.rglob(".*") if path.name != ".lock"]
    asked = Counter(json.dumps(body, sort_keys=True) for body in requests)
    twice = sum(asked.values()) - len(asked)
    assert twice <= CONCURRENCY * sum("@reply" in point for point in points)
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (whole, killed)]
    for found in metrics:
        for name in ("config", "model", "spending", "seconds"):
            found.pop(name, None)
    assert metrics[0] == metrics[1]


@pytest.fixture(scope="module")
def gated_run(
    documents: Path, tiny_encoder: Path, forgettable: Path, answer: Answer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of one round whose student forgets too much of a general set, with a neighbour set beside it."""
    pytest.importorskip("mergekit", reason="merging is an extra")
    root = tmp_path_factory.mktemp("taught_and_gated")
    sets = {"general": (str(forgettable),), "neighbour": (str(write_beir(root / "neighbour", 200)),)}
    with ScriptedServer(answer) as server:
        adapt(config(documents, tiny_encoder, server.url, rounds=1, **GATE, **sets), root / "run")
    return root / "run"


def test_a_gate_and_neighbours_go_with_a_teacher_s_run(gated_run: Path) -> None:
    report = json.loads((gated_run / "metrics.json").read_text())
    found = report["gate"]
    base, student, *merges = found["points"]
    assert (base["name"], student["name"]) == ("base", "round 1") and report["best_round"] == 1
    assert not student["inside"] and 0 < len(merges) <= 3
    (taken,) = (point for point in found["points"] if point["chosen"])
    assert taken["name"] == report["chosen"] and taken["inside"] and taken["merge"]
    assert set(found["sets"]) == {"forgettable", "neighbour"} and set(found["change"]) == {"general", "neighbour"}
    for each in found["sets"].values():
        assert set(each["means"]) == {"base", "adapted"}
    assert report["judged_by"] == "tiny, the teacher itself" and set(report["difference"]) == {"MRR@5", "DCG@5"}


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["one each", "many each"])
def test_a_run_killed_in_every_step_ends_as_if_it_had_not_been(
    every: bool, gated_run: Path, answer: Answer, tmp_path: Path, killer: Killer
) -> None:
    def slow(body: dict[str, Any]) -> Reply:
        return Reply(answer(body), seconds=0.01)

    points = _points(list(_in_order(gated_run)), every)
    with ScriptedServer(slow) as server:
        given = AdaptConfig(**json.loads((gated_run / "config.json").read_text()))
        killer.run(_settings(given, endpoint=server.url), tmp_path / "killed", *points)
        _check(gated_run, tmp_path / "killed", server.requests, points)


def _in_order(run: Path) -> dict[str, Any]:
    """The places of a run, as it made them."""
    made = {place: (run / place / "step.json").stat().st_mtime_ns for place in records(run)}
    return dict(sorted(made.items(), key=lambda each: each[1]))


@pytest.mark.slow
def test_a_run_with_labelled_test_queries_killed_in_every_step_ends_as_if_it_had_not_been(
    pairs: Path, tiny_encoder: Path, answer: Answer, tmp_path: Path, killer: Killer
) -> None:
    folder, whole = labelled(pairs, tmp_path / "beir"), tmp_path / "whole"
    with ScriptedServer(answer) as server:
        given = _settings(config(folder, tiny_encoder, server.url, rounds=1))
        adapt(given, whole)
        before = len(server.requests)
        points = _points(list(_in_order(whole)), every=True, asking=("synthesis", "trial", "judgments"))
        killer.run(given, tmp_path / "killed", *points)
        _check(whole, tmp_path / "killed", server.requests[before:], points)


@pytest.mark.slow
def test_a_cross_encoder_s_run_killed_in_every_step_ends_as_if_it_had_not_been(
    documents: Path, pairs: Path, tiny_encoder: Path, cross_encoder: Path, tmp_path: Path, killer: Killer
) -> None:
    settings = cross_encoder_settings(pairs, cross_encoder, tmp_path)
    given = AdaptConfig(str(documents), model=str(tiny_encoder), **settings)
    adapt(given, tmp_path / "whole")
    points = _points(list(_in_order(tmp_path / "whole")), every=True, asking=())
    killer.run(given, tmp_path / "killed", *points)
    _check(tmp_path / "whole", tmp_path / "killed", [], points)


def test_a_run_killed_while_it_asks_again_goes_on_without_paying_twice(
    finished_run: Path, documents: Path, tiny_encoder: Path, answer: Answer, tmp_path: Path, killer: Killer
) -> None:
    """Its budget cut it off; a larger one is killed in each step that it renews."""
    points = ["round-0/judgments@reply:3", "round-0/judgments@rename", "round-0/answers@record"]
    points += ["round-0/examples@rename", "round-0/student@step:2", "round-1/judgments@rename"]
    points += ["test@reply:2", "test@rename"]
    out = tmp_path / "run"
    with ScriptedServer(answer) as server:
        given = _settings(config(documents, tiny_encoder, server.url, rounds=1))
        adapt(given.changed(budget_calls=170), out)
        killer.run(given, out, *points)
        asked = Counter(json.dumps(body, sort_keys=True) for body in server.requests)
    assert contents(out) == contents(finished_run)
    assert sum(asked.values()) - len(asked) <= CONCURRENCY * 2


def test_a_second_run_on_the_same_replies_pays_nothing_in_any_order(
    finished_run: Path, documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    shared = tmp_path / "replies.sqlite"
    Path(shared).write_bytes((finished_run / "replies.sqlite").read_bytes())
    with ScriptedServer(answer) as server:
        given = config(documents, tiny_encoder, server.url, rounds=1, replies=str(shared), concurrency=1)
        report = adapt(given, tmp_path / "run")
        assert server.requests == []
    assert contents(tmp_path / "run") == contents(finished_run)
    assert report["spending"]["total"]["calls"] == 0
