"""Whole runs without labels, against a scripted endpoint over real HTTP."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from denizen import cli
from denizen.data.tables import read_table
from denizen.engine.errors import InputError
from denizen.engine.progress import Terminal
from denizen.recipes.adapt import adapt
from denizen.recipes.audit import audit
from denizen.recipes.config import AdaptConfig
from denizen.recipes.retry import retry
from denizen.reports.explain import explain, explain_lines
from denizen.reports.report import report
from denizen.supervision.judging import load_cross_encoder
from tests.llm_server import Reply, ScriptedServer, Status

from .conftest import SETTINGS, flags

Answer = Callable[[dict[str, Any]], Any]
TEACHER = {
    **{name: value for name, value in SETTINGS.items() if name != "easy_negative_ranks"},
    "epochs": 1.0,
    "teacher": "llm",
    "llm": "tiny",
    "prices": "1/2",
    "passages": 60,
    "keep_share": 1.0,
    "round_trip": 0,
    "expert_queries": 0.2,
    "styles": "question,keyword",
    "graded_top": 3,
}


@pytest.fixture(scope="session")
def documents(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The answers of the pairs as documents without labels."""
    path = tmp_path_factory.mktemp("documents") / "documents.jsonl"
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    # long enough to be asked about
    texts = [{"id": f"d{at}", "text": f"{row['answer']} {'And so on. ' * 10}"} for at, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in texts))
    return path


@pytest.fixture(scope="session")
def known(pairs: Path) -> dict[str, list[str]]:
    """The first words of an answer to the words of its question."""
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    return {row["answer"]: row["question"].removeprefix("What is ").rstrip("?").split() for row in rows}


@pytest.fixture(scope="session")
def answer(known: dict[str, list[str]]) -> Answer:
    """Writes the question that belongs to a passage and grades by whether it shares two of its three words."""

    def reply(body: dict[str, Any]) -> str:
        system, user = (message["content"] for message in body["messages"])
        passages = re.findall(r"<(passage(?: \d+)? \w{8})>\n(.*?)\n</\1>", user, re.DOTALL)
        if '"questions"' in system:
            words = re.findall(r"^- (.*)$", user, re.MULTILINE)
            return json.dumps({"questions": [f"{line} or else {len(line)}" for line in words]})
        if '"question"' in system:
            words = known[passages[0][1].split(" And so on.")[0]]
            asked = " ".join(words) if "key words" in system else f"What is {' '.join(words)}?"
            return json.dumps({"question": asked})
        query = re.findall(r"<query \w{8}>\n(.*?)\n</query", user, re.DOTALL)[0]
        grades = [grade(query, text) for _, text in passages]
        return json.dumps({"grades": grades} if '"grades"' in system else {"grade": grades[0]})

    def grade(query: str, passage: str) -> int:
        shared = len(set(query.rstrip("?").split()) & set(known[passage.split(" And so on.")[0]]))
        return {0: 1, 1: 2}.get(shared, 4)

    return reply


@pytest.fixture(scope="session")
def finished_run(documents: Path, tiny_encoder: Path, answer: Answer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one round; its endpoint is gone."""
    out = tmp_path_factory.mktemp("taught") / "run"
    with ScriptedServer(answer) as server:
        adapt(config(documents, tiny_encoder, server.url, rounds=1), out)
    return out


@pytest.fixture
def taught(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def config(documents: Path, model: Path, url: str, **settings: Any) -> AdaptConfig:
    return AdaptConfig(str(documents), **{**TEACHER, "model": str(model), "endpoint": url, **settings})


def test_documents_become_an_adapted_model_and_every_query_is_accounted_for(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    out = tmp_path / "run"
    with ScriptedServer(answer) as server:
        report = adapt(config(documents, tiny_encoder, server.url), out)
        paid = len(server.requests)
        again = adapt(config(documents, tiny_encoder, server.url, concurrency=3), out)
        assert {**again, "config": {}} == {**report, "config": {}}
        assert len(server.requests) == paid
    assert report["judged_by"] == "tiny, the teacher itself"
    assert set(report["difference"]) == {"MRR@5", "DCG@5"}
    assert report["spending"]["total"]["calls"] == paid
    # each call of the script costs 10 tokens at 1 and 5 at 2 a million
    assert report["spending"]["total"]["money"] == pytest.approx(paid * 20e-6)
    counts = report["data"]["synthesis"]["by_domain"][""]
    assert counts["written"] == sum(value for name, value in counts.items() if name != "written")
    dropped = read_table(out / "synthesis/dropped_queries.parquet", "dropped_queries")
    assert len(dropped) == counts["written"] - counts["kept"]
    queries = read_table(out / "synthesis/queries.parquet", "queries")
    assert {"question", "keyword", "expert"} <= set(queries["origin"].to_pylist())
    assert (out / "model/modules.json").is_file() and "judged" not in os.listdir(out / "model")


def test_no_test_document_is_shown_before_the_test(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    out = tmp_path / "run"
    with ScriptedServer(answer) as server:
        adapt(config(documents, tiny_encoder, server.url), out)
    sides = read_table(out / "corpus/documents.parquet", "documents").to_pylist()
    hidden = {row["parent_id"] for row in sides if row["split"] == "test"}
    assert len(hidden) == 24
    splits = {
        row["query_id"]: row["split"] for row in read_table(out / "synthesis/queries.parquet", "queries").to_pylist()
    }
    for number in (0, 1, 2):
        rows = read_table(out / f"round-{number}/judgments/judgments.parquet", "judgments").to_pylist()
        assert not hidden & {row["doc_id"] for row in rows}
        train = [row["doc_id"] for row in rows if splits[row["query_id"]] == "train"]
        dev = {row["parent_id"] for row in sides if row["split"] == "dev"}
        assert not dev & set(train)


@pytest.mark.slow
def test_a_second_run_on_the_same_replies_pays_nothing_in_any_order(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    shared = str(tmp_path / "replies.sqlite")
    with ScriptedServer(answer) as server:
        one = adapt(config(documents, tiny_encoder, server.url, replies=shared), tmp_path / "one")
        paid = len(server.requests)
        two = adapt(config(documents, tiny_encoder, server.url, replies=shared, concurrency=1), tmp_path / "two")
        assert len(server.requests) == paid
    assert two["adapted"] == one["adapted"]
    assert two["spending"]["total"]["calls"] == 0


def test_killed_at_any_moment_no_call_is_paid_twice_but_those_in_flight(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    random.seed(5)

    def slow(body: dict[str, Any]) -> Reply:
        return Reply(answer(body), seconds=0.01)

    with ScriptedServer(slow) as server:
        settings = {**TEACHER, "endpoint": server.url, "rounds": 1, "concurrency": 4}
        options = flags(settings)
        command = [sys.executable, "-m", "denizen", "adapt", str(documents), "--model", str(tiny_encoder), *options]
        kills = 0
        for out in [str(tmp_path / "run")] * 4:
            process = subprocess.Popen([*command, "--out", out], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            before = len(server.requests)
            target = before + random.randint(5, 60)
            while process.poll() is None and len(server.requests) < target:
                time.sleep(0.005)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
        subprocess.run([*command, "--out", str(tmp_path / "run")], check=True, capture_output=True)
        asked = [json.dumps(body, sort_keys=True) for body in server.requests]
    assert kills >= 3
    assert len(asked) - len(set(asked)) <= 4 * kills


def test_failures_are_rows_and_retry_asks_them_again_and_nothing_else(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    out = tmp_path / "run"
    broken: set[str] = set()

    def moody(body: dict[str, Any]) -> str:
        user = body["messages"][1]["content"]
        if "<query" in user and len(broken) < 6:
            broken.add(user)
        return "no idea" if user in broken else answer(body)

    with ScriptedServer(moody) as server:
        # the same pairs come again on dev, where they are many of a few
        adapt(config(documents, tiny_encoder, server.url, rounds=1, min_coverage=0.5), out)
    failures = read_table(out / "round-0/judgments/failures.parquet", "failures").to_pylist()
    assert len(failures) == 6 and {row["error"] for row in failures} == {"unparsable"}
    assert {row["raw"] for row in failures} == {"no idea"}
    before = read_table(out / "round-0/judgments/judgments.parquet", "judgments")
    with ScriptedServer(answer) as server:
        retry(out, endpoint=server.url)
        again = [body for body in server.requests if body["messages"][1]["content"] in broken]
        assert len(again) == 6
    after = read_table(out / "round-0/judgments/judgments.parquet", "judgments")
    assert len(after) == len(before) + 6
    with pytest.raises(InputError, match="nothing failed"):
        retry(out)


def test_low_coverage_stops_the_run_and_what_was_paid_stays(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    def useless(body: dict[str, Any]) -> str:
        user = body["messages"][1]["content"]
        return "I'm sorry, I cannot help." if "<query" in user and zlib.crc32(user.encode()) % 3 else answer(body)

    out = tmp_path / "run"
    with ScriptedServer(useless) as server:
        with pytest.raises(InputError, match=r"round-0/judgments: 3\d\.\d% of .* refusal.*denizen retry RUN"):
            adapt(config(documents, tiny_encoder, server.url), out)
        paid = len(server.requests)
        with pytest.raises(InputError, match="round-0/judgments"):
            adapt(config(documents, tiny_encoder, server.url), out)
        assert len(server.requests) == paid
    with ScriptedServer(answer) as server:
        report = retry(out, endpoint=server.url)
    assert report["spending"]["by_stage"]["round-0/judgments"]["calls"] > paid / 2


def test_a_budget_is_kept_and_what_it_cut_off_is_named(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    out = tmp_path / "run"
    with ScriptedServer(answer) as server:
        report = adapt(config(documents, tiny_encoder, server.url, rounds=1, budget_calls=500), out)
        assert 400 < len(server.requests) <= 500
    facts = json.loads((out / "round-0/judgments/stage.json").read_text())["facts"]
    assert facts["cut_off_by_budget"] > 0 and facts["coverage"] == 1
    assert report["spending"]["total"]["calls"] == len(server.requests)


@pytest.mark.parametrize("limit", [{"budget_calls": 150}, {"budget_money": 150 * 440e-6}])
def test_a_small_budget_pays_for_a_part_of_everything(
    limit: dict[str, float], documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    out = tmp_path / "run"
    # about what prompts of that length come to; a call costs 440 millionths then
    with ScriptedServer(answer, usage=(400, 20)) as server:
        report = adapt(config(documents, tiny_encoder, server.url, rounds=2, concurrency=1, **limit), out)
        assert len(server.requests) <= 150
    by_stage = {stage: found["calls"] for stage, found in report["spending"]["by_stage"].items()}
    assert 10 < by_stage["synthesis"] <= 75
    assert by_stage["round-0/judgments"] > 10 and by_stage["round-1/judgments"] > 10 and by_stage["test"] > 5
    assert {"train", "dev", "test"} <= set(report["data"]["queries"])
    assert min(report["data"]["queries"].values()) > 2


def test_a_budget_for_next_to_nothing_says_what_it_cut_off(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    with ScriptedServer(answer) as server, pytest.raises(InputError, match="raise the budget, which cut off"):
        adapt(config(documents, tiny_encoder, server.url, budget_calls=9), tmp_path / "run")


@pytest.mark.slow
def test_a_budget_raised_later_pays_for_what_was_cut_off(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    with ScriptedServer(answer) as server:
        whole = adapt(config(documents, tiny_encoder, server.url, rounds=1), tmp_path / "whole")
        cut = adapt(config(documents, tiny_encoder, server.url, rounds=1, budget_calls=150), tmp_path / "cut")
        again = retry(tmp_path / "cut", budget_calls=0)
    assert cut["data"]["queries"] != whole["data"]["queries"]
    for name in ("data", "base", "adapted", "dev"):
        assert again[name] == whole[name], name


@pytest.mark.slow
def test_fifty_documents_are_enough_and_real_queries_take_part(
    tiny_encoder: Path, pairs: Path, tmp_path: Path, known: dict[str, list[str]], answer: Answer
) -> None:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    folder = tmp_path / "documents"
    folder.mkdir()
    for at, row in enumerate(rows[:50]):
        (folder / f"{at}.txt").write_text(f"{row['answer']} {'And so on. ' * 10}")
    log = tmp_path / "log.txt"
    log.write_text("\n".join(row["question"].replace("What is", "Who knows") for row in rows[:20]))

    def expert_or(body: dict[str, Any]) -> str:
        shown.append(body["messages"][1]["content"])
        return answer(body)

    shown: list[str] = []
    with ScriptedServer(expert_or) as server:
        # the defaults that decide how much there is
        own = {"passages": 500, "keep_share": 0.4, "round_trip": 20, "expert_queries": 1.0, "graded_top": 5}
        more = {**own, "styles": "question,keyword,long,conversational", "query_log": str(log), "rounds": 1}
        report = adapt(config(folder, tiny_encoder, server.url, **more), tmp_path / "run")
    queries = read_table(tmp_path / "run/synthesis/queries.parquet", "queries").to_pylist()
    origins = {row["origin"] for row in queries}
    assert {"log", "expert", "question"} <= origins
    assert min(report["data"]["queries"].values()) >= 5 and report["data"]["queries"]["train"] >= 25
    assert any("<examples" in text and "Who knows" in text for text in shown)


def test_a_multi_hop_question_has_several_passages_and_parts_of_the_answer_count(
    tiny_encoder: Path, pairs: Path, tmp_path: Path
) -> None:
    path = tmp_path / "documents.jsonl"
    answers = [json.loads(line)["answer"] for line in pairs.read_text().splitlines()]
    texts = [" ".join(answers[at : at + 6]) for at in range(0, len(answers), 6)]
    path.write_text("".join(json.dumps({"id": f"d{at}", "text": text}) + "\n" for at, text in enumerate(texts)))

    def reply(body: dict[str, Any]) -> str:
        system, user = (message["content"] for message in body["messages"])
        passages = re.findall(r"<(passage(?: \d+)? \w{8})>\n(.*?)\n</\1>", user, re.DOTALL)
        words = [text.rstrip(".").lower().split() for _, text in passages]
        if '"question"' in system:
            return json.dumps({"question": "what are " + " ".join(word for part in words for word in part[:3]) + "?"})
        asked = set(re.findall(r"<query \w{8}>\n(.*?)\n</query", user, re.DOTALL)[0].rstrip("?").split())
        return json.dumps({"grade": 3 if len(asked & set(words[0])) >= 3 else 1})

    with ScriptedServer(reply) as server:
        settings = {"styles": "multi-hop", "expert_queries": 0.0, "passage_chars": 140, "rounds": 1}
        adapt(config(path, tiny_encoder, server.url, **settings), tmp_path / "run")
    sources = read_table(tmp_path / "run/synthesis/sources.parquet", "qrels").to_pylist()
    count = {row["query_id"]: sum(other["query_id"] == row["query_id"] for other in sources) for row in sources}
    assert set(count.values()) <= {2, 3} and 3 in count.values()
    own = {(row["query_id"], row["doc_id"]) for row in sources}
    examples = read_table(tmp_path / "run/round-0/examples/examples.parquet", "examples").to_pylist()
    assert len(examples) > 20
    assert all((row["query_id"], row["positive_id"]) in own for row in examples)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prices": ""}, "price"),
        ({"styles": "question,haiku"}, r"styles 'question,haiku': \['haiku'\]"),
        ({"llm": ""}, "teacher llm needs llm"),
        ({"query_log": "no/such/file"}, "query_log 'no/such/file' does not exist"),
        ({"teacher": "cross-encoder", "cross_encoder": ""}, "teacher cross-encoder needs cross_encoder"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_read_or_paid(
    settings: dict[str, Any], message: str, documents: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        adapt(config(documents, tiny_encoder, "http://127.0.0.1:9/v1", **settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_wrong_key_is_an_error_at_once_and_exit_code_2(
    documents: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with ScriptedServer(lambda body: Status(401, "bad key")) as server:
        options = ["--teacher", "llm", "--llm", "tiny", "--prices", "0/0", "--endpoint", server.url]
        command = ["denizen", "adapt", str(documents), "--model", str(tiny_encoder), "--out", str(tmp_path / "run")]
        monkeypatch.setattr("sys.argv", [*command, *options])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    told = capsys.readouterr()
    assert stopped.value.code == 2
    assert "bad key" in told.err and "sk-very-secret" not in told.err + told.out
    assert not any(b"sk-very-secret" in path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())


def test_several_passages_are_graded_in_one_call(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    with ScriptedServer(answer) as server:
        single = adapt(config(documents, tiny_encoder, server.url, rounds=1), tmp_path / "single")
        calls = len(server.requests)
        several = adapt(config(documents, tiny_encoder, server.url, rounds=1, grades_per_call=3), tmp_path / "several")
        assert len(server.requests) - calls < calls / 2
    assert several["adapted"] == single["adapted"]


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
        import csv
        import io

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


@pytest.fixture(scope="session")
def cross_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random cross-encoder with one output."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("cross-encoder")
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_encoder))
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    made = BertConfig(vocab_size=len(tokenizer), num_labels=1, **sizes)
    BertForSequenceClassification(made).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_cross_encoder_and_a_log_of_queries_need_no_llm(
    documents: Path, pairs: Path, tiny_encoder: Path, cross_encoder: Path, tmp_path: Path
) -> None:
    log = tmp_path / "queries.txt"
    questions = [json.loads(line)["question"] for line in pairs.read_text().splitlines()]
    log.write_text("\n".join(questions) + "\n\n")
    settings = {name: value for name, value in TEACHER.items() if name not in ("llm", "prices", "teacher")}
    config = AdaptConfig(
        str(documents),
        model=str(tiny_encoder),
        teacher="cross-encoder",
        cross_encoder=str(cross_encoder),
        query_log=str(log),
        **{**settings, "rounds": 1},
    )
    assert config.loss == "margin-mse"
    report = adapt(config, tmp_path / "run")
    rows = read_table(tmp_path / "run/round-0/judgments/judgments.parquet", "judgments").to_pylist()
    assert {row["grade"] for row in rows} == {None} and all(0 <= row["score"] <= 1 for row in rows)
    assert report["judged_by"] == f"{cross_encoder.name}, the teacher itself"
    text_of = {
        row["doc_id"]: row["text"] for row in read_table(tmp_path / "run/corpus/corpus.parquet", "corpus").to_pylist()
    }
    asked = read_table(tmp_path / "run/synthesis/queries.parquet", "queries").to_pylist()
    question = {row["query_id"]: row["text"] for row in asked}
    shown = [(question[row["query_id"]], text_of[row["doc_id"]]) for row in rows[:20]]
    scores = load_cross_encoder(cross_encoder).predict(shown)
    assert [row["score"] for row in rows[:20]] == pytest.approx(scores.tolist(), abs=1e-4)
    examples = read_table(tmp_path / "run/round-0/examples/examples.parquet", "examples").to_pylist()
    assert all(row["teacher_scores"][0] == max(row["teacher_scores"]) for row in examples) and len(examples) > 20


def test_another_llm_compares_base_and_result_and_the_teacher_is_refused(taught: Path, answer: Answer) -> None:
    from denizen.recipes.pool import pool
    from denizen.reports.pool import pool_lines

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


@pytest.mark.parametrize("within", ["documents", "corpus"])
def test_a_run_asks_for_no_more_than_its_plan_says(
    within: str, tiny_encoder: Path, pairs: Path, tmp_path: Path, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "documents.jsonl"
    answers = [json.loads(line)["answer"] for line in pairs.read_text().splitlines()]
    texts = [
        " ".join(f"{text} {chr(65 + at % 26) * 40}." for text in answers[at : at + 5])
        for at in range(0, len(answers), 5)
    ]
    path.write_text("".join(json.dumps({"id": f"d{at}", "text": text}) + "\n" for at, text in enumerate(texts)))

    def reply(body: dict[str, Any]) -> str:
        system, user = (message["content"] for message in body["messages"])
        words = re.findall(r"<passage \w{8}>\n(.*?)\n</", user, re.DOTALL)[0].lower().split()
        return json.dumps({"question": f"what is {words[0]} {words[4]}"} if '"question"' in system else {"grade": 4})

    settings: dict[str, Any] = {"mine_within": within, "found_by": 3, "passage_chars": 160, "rounds": 1}
    # without probabilities, more may be kept than the share that is likely
    settings |= {"expert_queries": 0.0, "keep_share": 0.4, "round_trip": 50}
    with ScriptedServer(reply, logprobs=()) as server:
        adapt(config(path, tiny_encoder, server.url, **settings), tmp_path / "run", progress=Terminal())
    plan = capsys.readouterr().err
    graded, calls, written = (
        int(re.findall(pattern, plan)[0].replace(",", ""))
        for pattern in (r"at most ([\d,]+) grades", r"to ([\d,]+) calls", r"at most ([\d,]+) calls write")
    )
    facts = json.loads((tmp_path / "run/metrics.json").read_text())["spending"]["by_stage"]
    judged = sum(facts[stage]["calls"] for stage in ("round-0/judgments", "round-1/judgments", "test"))
    assert graded / 3 < judged <= graded == calls
    assert facts["synthesis"]["calls"] <= written


def test_a_failing_judge_and_an_ended_budget_are_no_wrong_answers(taught: Path, answer: Answer) -> None:
    from denizen.recipes.pool import pool

    def moody(body: dict[str, Any]) -> str:
        user = body["messages"][1]["content"]
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


def test_labelled_test_queries_never_come_into_training(
    tiny_encoder: Path, pairs: Path, tmp_path: Path, answer: Answer
) -> None:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    texts = [f"{row['answer']} {'And so on. ' * 10}" for row in rows]
    lines = [json.dumps({"_id": f"d{at}", "title": "", "text": text}) for at, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = [json.dumps({"_id": f"q{at}", "text": row["question"]}) for at, row in enumerate(rows)]
    (folder / "queries.jsonl").write_text("\n".join(queries))
    for name, part in (("train", range(20, 60)), ("test", range(20))):
        links = "".join(f"q{at}\td{at}\t1\n" for at in part)
        (folder / f"qrels/{name}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{links}")
    log = tmp_path / "log.txt"
    log.write_text("\n".join(row["question"].upper() for row in rows[:20]))
    with ScriptedServer(answer) as server:
        report = adapt(config(folder, tiny_encoder, server.url, rounds=1, query_log=str(log)), tmp_path / "run")
    assert report["data"]["queries"]["test"] == 20 and report["judged_by"] == "labels"
    asked = {row["question"].lower() for row in rows[:20]}
    written = read_table(tmp_path / "run/synthesis/queries.parquet", "queries").to_pylist()
    assert len(written) > 40 and not asked & {row["text"].lower() for row in written}
    assert report["data"]["synthesis"]["by_domain"][""]["says the same as a test query"] == 20
    shown = read_table(tmp_path / "run/round-0/judgments/judgments.parquet", "judgments").to_pylist()
    assert not {f"d{at}" for at in range(20)} & {row["doc_id"] for row in shown}


def test_a_wrong_number_of_grades_is_asked_again(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    def short(body: dict[str, Any]) -> str:
        text = answer(body)
        found = json.loads(text)
        if "grades" in found and zlib.crc32(body["messages"][1]["content"].encode()) % 2:
            found["grades"] = found["grades"][1:]
        return json.dumps(found)

    out = tmp_path / "run"
    with ScriptedServer(short) as server, pytest.raises(InputError, match="schema"):
        adapt(config(documents, tiny_encoder, server.url, rounds=1, grades_per_call=3), out)
    with ScriptedServer(answer) as server:
        report = retry(out, endpoint=server.url)
    facts = json.loads((out / "round-0/judgments/stage.json").read_text())["facts"]
    assert facts["coverage"] == 1 and report["best_round"] in (0, 1)


def test_nobody_s_key_is_sent_to_somebody_else_s_server(
    taught: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from denizen.recipes.pool import pool

    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-run")
    with ScriptedServer(answer) as server, ScriptedServer(answer) as other:
        places = {"endpoint": server.url, "judge_endpoint": other.url, "judge_prices": "0/0"}
        pool(taught, [], "other", queries=10, **places)
        monkeypatch.setenv("JUDGE_API_KEY", "sk-of-the-judge")
        pool(taught, [], "another", queries=10, **places)
    assert {row["authorization"] for row in server.headers} == {"Bearer sk-of-the-run"}
    assert {row["authorization"] for row in other.headers} == {"Bearer none", "Bearer sk-of-the-judge"}


def test_a_changed_query_log_is_noticed(documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer) -> None:
    log = tmp_path / "log.txt"
    log.write_text("one real query\n")
    settings = {"query_log": str(log), "rounds": 1}
    with ScriptedServer(answer) as server:
        adapt(config(documents, tiny_encoder, server.url, **settings), tmp_path / "run")
        log.write_text("another real query\n")
        with pytest.raises(InputError, match=r"stage 'synthesis' .*query_log"):
            adapt(config(documents, tiny_encoder, server.url, **settings), tmp_path / "run")
        log.write_text("\n \n")
        with pytest.raises(InputError, match="is empty; give a text file"):
            adapt(config(documents, tiny_encoder, server.url, **settings), tmp_path / "empty")


def test_explain_and_the_report_lead_to_the_judge_s_reply_and_its_price(taught: Path) -> None:
    example = read_table(taught / "round-0/examples/examples.parquet", "examples").to_pylist()[0]
    found = explain(taught, example["query_id"])
    assert found["query"]["origin"] and found["query"]["source"]["document"]["parent_id"]
    judged = {passage["doc_id"]: passage["judgment"] for passage in found["judgments"]}
    negative = judged[example["negative_ids"][0]]
    assert negative["grade"] <= 2 and json.loads(negative["reply"]["text"]) == {"grade": negative["grade"]}
    assert negative["cost"] > 0 and negative["reply"]["model"] == "tiny"
    lines = "\n".join(explain_lines(found))
    assert f"grade {negative['grade']} by tiny in round-" in lines and "its reply (" in lines
    page = report(taught, taught / "page.html").read_text(encoding="utf-8")
    for text in ("Teacher", "spent by stage", "not measured: denizen audit RUN", "written for", "its reply ("):
        assert text in page
