"""Calls that fail: each is accounted for, and asked again when that is wanted; nothing else is."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from denizen.api import adapt, retry
from denizen.data.tables import read_table
from denizen.engine.errors import InputError
from denizen.supervision.trial import QUERIES
from tests.llm_server import ScriptedServer, Status

from .conftest import Answer, config, contents


def test_failures_are_rows_and_retry_asks_them_again_and_nothing_else(
    finished_run: Path, documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    out = tmp_path / "run"
    graded: set[str] = set()
    broken: set[str] = set()

    def moody(body: dict[str, Any]) -> str:
        user = body["messages"][-1]["content"]
        graded.update({user} if "<query" in user else ())
        # after the judge's trial
        if user in graded and len(graded) > 2 * QUERIES and len(broken) < 6:
            broken.add(user)
        return "no idea" if user in broken else answer(body)

    with ScriptedServer(moody) as server:
        # the same pairs come again on dev, where they are many of a few
        given = config(documents, tiny_encoder, server.url, rounds=1, min_coverage=0.3)
        adapt(given, out)
        asked = len(server.requests)
        # what failed is not asked again by itself
        adapt(given, out)
        assert len(server.requests) == asked
    failures = read_table(out / "round-0/judgments/failures.parquet", "failures").to_pylist()
    assert len(failures) == 6 and {row["error"] for row in failures} == {"unparsable"}
    assert {row["raw"] for row in failures} == {"no idea"}
    before = read_table(out / "round-0/judgments/judgments.parquet", "judgments")
    record = json.loads((out / "round-0/judgments/step.json").read_text())
    assert record["lacks"] == {"failures": {"unparsable": 6}}
    with ScriptedServer(answer) as server:
        retry(out, endpoint=server.url)
        again = [body for body in server.requests if body["messages"][-1]["content"] in broken]
        assert len(again) == 6
        # what follows is looked at anew, and what that asks was perhaps never asked
        assert len({json.dumps(body) for body in server.requests}) == len(server.requests) < asked / 2
    after = read_table(out / "round-0/judgments/judgments.parquet", "judgments")
    assert len(after) == len(before) + 6
    assert json.loads((out / "round-0/judgments/step.json").read_text())["lacks"] is None
    assert contents(out) == contents(finished_run)
    with pytest.raises(InputError, match="nothing failed"):
        retry(out)


def test_low_coverage_stops_the_run_and_what_was_paid_stays(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    def useless(body: dict[str, Any]) -> str:
        user = body["messages"][-1]["content"]
        return "I'm sorry, I cannot help." if "<query" in user and zlib.crc32(user.encode()) % 3 else answer(body)

    out = tmp_path / "run"
    with ScriptedServer(useless) as server:
        with pytest.raises(InputError, match=r"round-0/judgments: 3\d\.\d% of .* refusal.*denizen retry RUN"):
            adapt(config(documents, tiny_encoder, server.url, rounds=1), out)
        paid = len(server.requests)
        with pytest.raises(InputError, match="round-0/judgments"):
            adapt(config(documents, tiny_encoder, server.url, rounds=1), out)
        assert len(server.requests) == paid
    with ScriptedServer(answer) as server:
        report = retry(out, endpoint=server.url)
    assert report["spending"]["by_stage"]["round-0/judgments"]["calls"] > paid / 2


def test_a_wrong_number_of_grades_is_asked_again(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    def short(body: dict[str, Any]) -> str:
        text = answer(body)
        found = json.loads(text)
        if "grades" in found and zlib.crc32(body["messages"][-1]["content"].encode()) % 2:
            found["grades"] = found["grades"][1:]
        return json.dumps(found)

    out = tmp_path / "run"
    with ScriptedServer(short) as server, pytest.raises(InputError, match="schema"):
        adapt(config(documents, tiny_encoder, server.url, rounds=1, grades_per_call=3), out)
    with ScriptedServer(answer) as server:
        report = retry(out, endpoint=server.url)
    facts = json.loads((out / "round-0/judgments/step.json").read_text())["facts"]
    assert facts["coverage"] == 1 and report["best_round"] in (0, 1)


def test_retry_asks_again_what_never_got_a_reply(
    finished_run: Path, documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    out = tmp_path / "run"

    def unlucky(body: dict[str, Any]) -> Any:
        user = body["messages"][-1]["content"]
        lost = "<query" in user and zlib.crc32(user.encode()) % 30 == 0
        return Status(400, "such a prompt is not taken") if lost else answer(body)

    with ScriptedServer(unlucky) as server:
        adapt(config(documents, tiny_encoder, server.url, rounds=1, min_coverage=0.5), out)
    lacks = json.loads((out / "round-0/judgments/step.json").read_text())["lacks"]
    assert set(lacks["failures"]) == {"transport"}
    with ScriptedServer(answer) as server:
        retry(out, endpoint=server.url)
        assert len(server.requests) >= lacks["failures"]["transport"]
    assert contents(out) == contents(finished_run)
