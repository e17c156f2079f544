"""A finished run with an LLM is audited, and its model is compared with others by another LLM."""

from __future__ import annotations

import csv
import io
import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest

from denizen.api import adapt
from denizen.data.tables import read_table
from denizen.engine.errors import InputError
from denizen.recipes.audit import audit
from denizen.recipes.pool import pool
from denizen.reports.pool import pool_lines
from tests.llm_server import ScriptedServer

from .conftest import Answer, config


def test_an_audit_measures_the_judge_and_people(taught: Path, tmp_path: Path, answer: Answer) -> None:
    out = taught
    with ScriptedServer(answer) as server:
        at = {"endpoint": server.url}
        spent = sum(
            row["calls"] for row in json.loads((out / "metrics.json").read_text())["spending"]["by_stage"].values()
        )
        sheet = tmp_path / "sheet.csv"
        assert audit(out, sample=60, export=sheet, **at) == {"exported": 60}
        text = sheet.read_text(encoding="utf-8-sig").splitlines()
        judged = {
            (row["query_id"], row["doc_id"]): row["grade"]
            for path in out.glob("round-*/judgments/judgments.parquet")
            for row in read_table(path, "judgments").to_pylist()
        }
        rows = list(csv.DictReader(io.StringIO("\n".join(text))))
        for row in rows:
            row["grade"] = str(judged[row["query_id"], row["doc_id"]])
        with sheet.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        found = audit(out, sample=60, people=sheet, second_llm="other", second_prices="0/0", **at)
        paid = len(server.requests)
        with pytest.raises(InputError, match="does not exist"):
            audit(out, sample=70, people=tmp_path / "nowhere.csv", **at)
        with pytest.raises(InputError, match="the price of third is not known"):
            audit(out, sample=70, second_llm="third", **at)
        assert len(server.requests) == paid
        with pytest.raises(InputError, match=r"the budget of the run ended before .* raise it with --budget-calls"):
            audit(out, sample=70, seed=1, budget_calls=spent + paid + 10, **at)
        assert len(server.requests) == paid + 10
    for name in ("again", "together", "reversed", "second_llm", "people"):
        assert found[name]["kappa"]["value"] == 1, name
    assert found["planted"]["own passage"]["value"] == 1 and found["planted"]["random passage"]["value"] == 1
    assert found["headline"].startswith("kappa with people: 1.00 [1.00, 1.00]")
    assert json.loads((out / "audit.json").read_text()) == found


def test_an_audit_sees_a_judge_that_grades_at_random(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    random.seed(1)

    def guess(body: dict[str, Any]) -> str:
        system = body["messages"][0]["content"]
        return json.dumps({"grade": random.randint(1, 4)}) if '{"grade": N}' in system else answer(body)

    out = tmp_path / "run"
    with ScriptedServer(guess) as server:
        adapt(config(documents, tiny_encoder, server.url, rounds=1), out)
        found = audit(out, sample=150)
    assert abs(found["again"]["kappa"]["value"]) < 0.25
    assert found["planted"]["own passage"]["value"] < 0.6


def test_another_llm_compares_base_and_result_and_the_teacher_is_refused(taught: Path, answer: Answer) -> None:
    out = taught
    with pytest.raises(InputError, match="judge is 'tiny', the teacher itself"):
        pool(out, [], "tiny")
    with ScriptedServer(answer) as server:
        found = pool(out, [], "other", queries=30, judge_prices="1/2", endpoint=server.url)
        paid = len(server.requests)
        assert pool(out, [], "other", queries=30, judge_prices="1/2", endpoint=server.url) == found
        assert len(server.requests) == paid
    assert found["random"]["pairs"] > 0
    for name, value in found["random"]["means"]["MRR@5"].items():
        assert 0.05 < value["mean"] < 0.95, name
    assert "optimistic" in found["disagreeing"]["note"]
    assert any("optimistic" in line for line in pool_lines(found))
    assert json.loads((out / "pool.json").read_text()) == found


def test_a_failing_judge_and_an_ended_budget_are_no_wrong_answers(taught: Path, answer: Answer) -> None:
    def moody(body: dict[str, Any]) -> str:
        user = body["messages"][-1]["content"]
        return "no" if body["model"] == "moody" and zlib.crc32(user.encode()) % 20 == 0 else answer(body)

    out = taught
    before = json.loads((out / "metrics.json").read_text())["spending"]["total"]["calls"]
    with ScriptedServer(moody) as server:
        whole = pool(out, [], "steady", judge_prices="0/0", queries=30, endpoint=server.url)["random"]
        spoilt = pool(out, [], "moody", judge_prices="0/0", queries=30, endpoint=server.url)["random"]
        assert spoilt["not_wholly_graded"] > 0 and spoilt["pairs"] + spoilt["not_wholly_graded"] == whole["pairs"]
        # with the failures as wrong answers it would be below two thirds
        for name, value in spoilt["means"]["DCG@5"].items():
            assert value["mean"] == pytest.approx(whole["means"]["DCG@5"][name]["mean"], abs=0.25)
        spent = json.loads((out / "pool.json").read_text())
        assert spent["judge"] == "moody"
        calls = len(server.requests)
        cut = pool(
            out, [], "thrifty", judge_prices="0/0", queries=30, endpoint=server.url, budget_calls=before + calls + 60
        )["random"]
        assert len(server.requests) <= calls + 60
        assert cut["ended"] == "the budget ended" and 3 <= cut["pairs"] < whole["pairs"]
        with pytest.raises(InputError, match=r"no .query, document. pair was graded as a whole"):
            pool(out, [], "late", judge_prices="0/0", queries=30, endpoint=server.url, budget_calls=before + calls + 61)


def test_nobody_s_key_is_sent_to_somebody_else_s_server(
    taught: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-run")
    with ScriptedServer(answer) as server, ScriptedServer(answer) as other:
        places = {"endpoint": server.url, "judge_endpoint": other.url, "judge_prices": "0/0"}
        pool(taught, [], "other", queries=10, **places)
        monkeypatch.setenv("JUDGE_API_KEY", "sk-of-the-judge")
        pool(taught, [], "another", queries=10, **places)
    assert {row["authorization"] for row in server.headers} == {"Bearer sk-of-the-run"}
    assert {row["authorization"] for row in other.headers} == {"Bearer none", "Bearer sk-of-the-judge"}
