"""A budget is kept, pays for a part of everything, and can be raised later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from denizen.api import adapt
from denizen.engine.errors import InputError
from tests.llm_server import ScriptedServer

from .conftest import Answer, config, contents


def _record(out: Path, place: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / place / "step.json").read_text())
    return found


def test_a_budget_is_kept_and_a_larger_one_later_asks_only_for_what_is_missing(
    finished_run: Path, documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    out = tmp_path / "run"
    with ScriptedServer(answer) as server:
        report = adapt(config(documents, tiny_encoder, server.url, rounds=1, budget_calls=270), out)
        cut = len(server.requests)
        assert 200 < cut <= 270
        assert report["spending"]["total"]["calls"] == cut
        facts = _record(out, "round-0/judgments")["facts"]
        assert facts["cut_off_by_budget"] > 0 and facts["coverage"] == 1
        lacks, limits = (_record(out, "round-0/judgments")[name] for name in ("lacks", "limits"))
        assert lacks == {"cut_off_by_budget": facts["cut_off_by_budget"]}
        assert limits == {"budget_calls": 270, "budget_tokens": 0, "budget_money": 0.0, "replies": 0}
        assert _record(out, "synthesis")["lacks"] is None
        before = _record(out, "synthesis")["stats"], _record(out, "round-0/run")["stats"]
        # the same budget again gives nothing more
        adapt(config(documents, tiny_encoder, server.url, rounds=1, budget_calls=270), out)
        assert len(server.requests) == cut
        again = adapt(config(documents, tiny_encoder, server.url, rounds=1, budget_calls=1000), out)
        asked = [json.dumps(body, sort_keys=True) for body in server.requests]
    assert len(set(asked)) == len(asked) and len(asked) - cut > 100
    # what was whole is left as it is, what follows from what was not is renewed
    assert (_record(out, "synthesis")["stats"], _record(out, "round-0/run")["stats"]) == before
    assert _record(out, "round-0/judgments")["lacks"] is None and _record(out, "test")["lacks"] is None
    assert contents(out) == contents(finished_run)
    whole = json.loads((finished_run / "metrics.json").read_text())
    for name in ("data", "base", "adapted", "dev", "difference", "coverage"):
        assert again[name] == whole[name], name


@pytest.mark.parametrize("limit", [{"budget_calls": 120}, {"budget_money": 120 * 440e-6}])
def test_a_small_budget_pays_for_a_part_of_everything(
    limit: dict[str, float], finished_run: Path, documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    out = tmp_path / "run"
    # about what prompts of that length come to; a call costs 440 millionths then
    with ScriptedServer(answer, usage=(400, 20)) as server:
        given = config(documents, tiny_encoder, server.url, concurrency=1, rounds=2, **limit)
        report = adapt(given, out)
        assert len(server.requests) <= 120
    by_stage = {stage: found["calls"] for stage, found in report["spending"]["by_stage"].items()}
    assert 10 < by_stage["synthesis"] <= 60
    assert by_stage["round-0/judgments"] > 10 and by_stage["round-1/judgments"] > 10 and by_stage["test"] > 5
    assert {"train", "dev", "test"} <= set(report["data"]["queries"])
    assert min(report["data"]["queries"].values()) >= 2


def test_a_budget_for_next_to_nothing_says_what_it_cut_off(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    with ScriptedServer(answer) as server, pytest.raises(InputError, match="raise the budget, which cut off"):
        adapt(config(documents, tiny_encoder, server.url, budget_calls=9), tmp_path / "run")


@pytest.mark.slow
def test_a_budget_that_cut_off_queries_and_is_lifted_later_ends_where_a_run_without_one_does(
    finished_run: Path, documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    with ScriptedServer(answer) as server:
        cut = adapt(config(documents, tiny_encoder, server.url, rounds=1, budget_calls=100), tmp_path / "cut")
        again = adapt(config(documents, tiny_encoder, server.url, rounds=1), tmp_path / "cut")
        asked = [json.dumps(body, sort_keys=True) for body in server.requests]
    assert len(set(asked)) == len(asked)
    whole = json.loads((finished_run / "metrics.json").read_text())
    assert cut["data"]["queries"] != whole["data"]["queries"] == again["data"]["queries"]
    assert contents(tmp_path / "cut") == contents(finished_run)
