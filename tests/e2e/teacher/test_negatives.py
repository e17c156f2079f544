"""A run whose LLM writes hard negatives, too: what they change, what is told of them, killed and cut off."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from denizen.api import adapt
from denizen.data.tables import read_table
from denizen.engine.errors import InputError
from denizen.engine.pipeline import records
from denizen.recipes.audit import audit
from denizen.reports.explain import explain, explain_lines
from denizen.supervision.audit import graded_pairs
from tests.e2e.conftest import Killer
from tests.llm_server import ScriptedServer

from .conftest import Answer, config, contents

CONCURRENCY = 4
WANTED = 12
# one of them is said to answer
OTHER, SAME = "Something else about", "The answer about"


@pytest.fixture(scope="session")
def writer(answer: Answer) -> Answer:
    """As `answer`, and writes passages about a query's words, of which every fourth answers it."""

    def reply(body: dict[str, Any]) -> str:
        system, *_, user = (message["content"] for message in body["messages"])
        query = re.findall(r"<query>\n(.*?)\n</query", user, re.DOTALL)
        if '{"passage"' in system:
            return json.dumps({"passage": f"{SAME if len(query[0]) % 4 == 0 else OTHER} {query[0]}"})
        if query and (OTHER in user or SAME in user):
            return json.dumps({"grade": 4 if SAME in user else 2})
        return answer(body)

    return reply


@pytest.fixture(scope="module")
def with_negatives(
    documents: Path, tiny_encoder: Path, writer: Answer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A run of one round, and its report."""
    out = tmp_path_factory.mktemp("negatives") / "run"
    with ScriptedServer(writer) as server:
        return out, adapt(config(documents, tiny_encoder, server.url, rounds=1, synthetic_negatives=WANTED), out)


def test_what_is_written_changes_what_is_trained_and_nothing_else(
    with_negatives: tuple[Path, dict[str, Any]], finished_run: Path
) -> None:
    run, report = with_negatives
    told = report["data"]["negatives"]
    assert told["written"] == WANTED and told["unusable"] == 0
    assert told["answers"] > 0 and told["answers"] + told["used"] == WANTED
    assert report["coverage"]["negatives"]["asked"] == 2 * WANTED
    assert report["spending"]["by_stage"]["negatives"]["calls"] == 2 * WANTED
    with_them, without = (contents(of) for of in (run, finished_run))
    for name in ("corpus/corpus.parquet", "synthesis/queries.parquet", "round-0/examples/examples.parquet"):
        assert with_them[name] == without[name]
    rows = read_table(run / "negatives/examples.parquet", "examples").to_pylist()
    examples = read_table(run / "round-0/examples/examples.parquet", "examples").to_pylist()
    trained = {(row["query_id"], row["positive_id"]) for row in examples}
    assert {(row["query_id"], row["positive_id"]) for row in rows} & trained
    assert with_them["round-0/student/model.safetensors"] != without["round-0/student/model.safetensors"]
    # what was written is in nothing that is searched
    ids = set(read_table(run / "negatives/corpus.parquet", "corpus")["doc_id"].to_pylist())
    assert not ids & set(read_table(run / "corpus/corpus.parquet", "corpus")["doc_id"].to_pylist())
    assert not ids & set(read_table(run / "round-1/run/run.parquet", "run")["doc_id"].to_pylist())


def test_report_explain_and_audit_know_them(
    with_negatives: tuple[Path, dict[str, Any]], writer: Answer, tmp_path: Path
) -> None:
    run, report = Path(shutil.copytree(with_negatives[0], tmp_path / "run")), with_negatives[1]
    told = report["data"]["negatives"]
    said = f"{WANTED} hard negatives written, 0 of no use, {told['answers']} dropped as answers, {told['used']} used"
    assert said in (run / "report.html").read_text()
    examples = read_table(run / "round-0/examples/examples.parquet", "examples").to_pylist()
    trained = {(row["query_id"], row["positive_id"]) for row in examples}
    rows = read_table(run / "negatives/examples.parquet", "examples").to_pylist()
    used = next(row["query_id"] for row in rows if (row["query_id"], row["positive_id"]) in trained)
    found = explain(run, used)
    assert bool(found["examples"]) == (report["chosen"] != "base")
    for example in found["examples"]:
        (negative,) = example["written_negatives"]
        assert negative["doc_id"] == f"negative-{used}" and negative["judgment"]["grade"] == 2
        assert negative["judgment"]["stage"] == "negatives" and negative["text"].startswith(OTHER)
        lines = "\n".join(explain_lines(found))
        assert "negative, written for training" in lines and OTHER in lines and not found["unused_negatives"]
    judged = read_table(run / "negatives/judgments.parquet", "judgments").to_pylist()
    dropped = next(row["query_id"] for row in judged if row["grade"] == 4)
    lines = "\n".join(explain_lines(explain(run, dropped)))
    assert f"written as a negative and not used\n  negative-{dropped} " in lines
    pairs = graded_pairs(run)
    assert {pair.doc_id for pair in pairs} >= {row["doc_id"] for row in judged}
    with ScriptedServer(writer) as server:
        agreed = audit(run, sample=1000, endpoint=server.url)
    assert agreed["pairs"] == len(pairs) and agreed["again"]["kappa"]["value"] == 1


def test_killed_and_started_again_no_call_is_paid_twice(
    with_negatives: tuple[Path, dict[str, Any]],
    documents: Path,
    tiny_encoder: Path,
    writer: Answer,
    tmp_path: Path,
    killer: Killer,
) -> None:
    points = ["negatives@reply:3", "negatives@reply:15", "negatives@write:1", "negatives@record", "negatives@rename"]
    points += ["round-0/student@step:1", "round-0/student@record"]
    with ScriptedServer(writer) as server:
        given = config(documents, tiny_encoder, server.url, rounds=1, synthetic_negatives=WANTED)
        killer.run(given.changed(concurrency=CONCURRENCY), tmp_path / "killed", *points)
        asked = Counter(json.dumps(body, sort_keys=True) for body in server.requests)
    assert contents(tmp_path / "killed") == contents(with_negatives[0])
    assert sum(asked.values()) - len(asked) <= CONCURRENCY * sum("@reply" in point for point in points)


def test_a_budget_that_ends_leaves_them_partial_and_a_larger_one_writes_the_rest(
    with_negatives: tuple[Path, dict[str, Any]], documents: Path, tiny_encoder: Path, writer: Answer, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with ScriptedServer(writer) as server:
        given = config(documents, tiny_encoder, server.url, rounds=1, synthetic_negatives=WANTED)
        adapt(given.changed(budget_calls=130), out)
        first = records(out)["negatives"]
        assert 0 < first["facts"]["written"] < WANTED and first["lacks"]
        adapt(given, out)
        asked = Counter(json.dumps(body, sort_keys=True) for body in server.requests)
    assert max(asked.values()) == 1
    assert contents(out) == contents(with_negatives[0])


def test_a_judge_that_failed_its_trial_checks_nothing_and_so_nothing_is_written(
    documents: Path, tiny_encoder: Path, answer: Answer, tmp_path: Path
) -> None:
    def alike(body: dict[str, Any]) -> str:
        return '{"grade": 2}' if '"grade"' in body["messages"][0]["content"] else answer(body)

    with ScriptedServer(alike) as server:
        given = config(documents, tiny_encoder, server.url, rounds=1, synthetic_negatives=WANTED)
        report = adapt(given, tmp_path / "run")
    assert not report["trial"]["passed"] and "negatives" not in report["data"]
    assert not (tmp_path / "run/negatives").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "gist"}, "synthetic_negatives is 5; the gist loss takes equally many"),
        ({"teacher": "gold", "llm": "", "prices": ""}, "synthetic_negatives does nothing with teacher gold"),
        ({"synthetic_negatives": -1}, "synthetic_negatives is -1; it must be"),
    ],
)
def test_where_they_cannot_be_they_are_refused(settings: dict[str, Any], message: str) -> None:
    from denizen.recipes.config import AdaptConfig

    given = {"teacher": "llm", "llm": "tiny", "prices": "0/0", "synthetic_negatives": 5, **settings}
    with pytest.raises(InputError, match=message):
        AdaptConfig("documents", **given)
