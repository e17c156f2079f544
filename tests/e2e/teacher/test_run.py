"""Whole runs without labels, against a scripted endpoint over real HTTP."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from denizen import cli
from denizen.api import adapt
from denizen.data.tables import each, read_table, relevant
from denizen.engine.errors import InputError
from denizen.engine.progress import Terminal
from denizen.recipes.config import AdaptConfig
from denizen.reports.explain import explain, explain_lines
from denizen.reports.report import report
from denizen.retrievers.cross_encoder import load_cross_encoder
from tests.llm_server import ScriptedServer, Status

from .conftest import COUNT, MORE, Answer, config, cross_encoder_settings, labelled


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
    assert {"question", "keyword", "persona"} <= set(queries["origin"].to_pylist())
    assert (out / "model/modules.json").is_file() and "judged" not in os.listdir(out / "model")
    _no_test_document_is_shown_before_the_test(out)


def _no_test_document_is_shown_before_the_test(out: Path) -> None:
    sides = read_table(out / "corpus/documents.parquet", "documents").to_pylist()
    hidden = {row["parent_id"] for row in sides if row["split"] == "test"}
    assert len(hidden) == 16
    splits = {
        row["query_id"]: row["split"] for row in read_table(out / "synthesis/queries.parquet", "queries").to_pylist()
    }
    for number in (0, 1, 2):
        rows = read_table(out / f"round-{number}/judgments/judgments.parquet", "judgments").to_pylist()
        assert not hidden & {row["doc_id"] for row in rows}
        train = [row["doc_id"] for row in rows if splits[row["query_id"]] == "train"]
        dev = {row["parent_id"] for row in sides if row["split"] == "dev"}
        assert not dev & set(train)
        assert bool(train) == (number < 2) and len(rows) > len(train)


@pytest.mark.slow
def test_fifty_documents_are_enough_and_real_queries_take_part(
    tiny_encoder: Path, pairs: Path, tmp_path: Path, answer: Answer
) -> None:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    folder = tmp_path / "documents"
    folder.mkdir()
    for at, row in enumerate(rows[:50]):
        (folder / f"{at}.txt").write_text(f"{row['answer']} {MORE}")
    log = tmp_path / "log.txt"
    log.write_text("\n".join(row["question"].replace("What is", "Who knows") for row in rows[:20]))

    def persona_or(body: dict[str, Any]) -> str:
        shown.append(body["messages"][-1]["content"])
        return answer(body)

    shown: list[str] = []
    with ScriptedServer(persona_or) as server:
        # the defaults that decide how much there is
        own = {"passages": 300, "round_trip": 20, "persona_queries": 1.0, "graded_top": 5}
        more = {**own, "styles": "question,keyword,long,conversational", "query_log": str(log), "rounds": 1}
        report = adapt(config(folder, tiny_encoder, server.url, **more), tmp_path / "run")
    queries = read_table(tmp_path / "run/synthesis/queries.parquet", "queries").to_pylist()
    origins = {row["origin"] for row in queries}
    assert {"log", "persona", "question"} <= origins
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
        system, *_, user = (message["content"] for message in body["messages"])
        passages = re.findall(r"<(passage(?: \d+)?)>\n(.*?)\n</\1>", user, re.DOTALL)
        words = [text.rstrip(".").lower().split() for _, text in passages]
        if '"question"' in system:
            return json.dumps({"question": "what are " + " ".join(word for part in words for word in part[:3]) + "?"})
        asked = set(re.findall(r"<query>\n(.*?)\n</query", user, re.DOTALL)[0].rstrip("?").split())
        return json.dumps({"grade": 3 if len(asked & set(words[0])) >= 3 else 1})

    with ScriptedServer(reply) as server:
        settings = {"styles": "multi-hop", "persona_queries": 0.0, "passage_chars": 140, "rounds": 1}
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
        ({"teacher": "cross-encoder", "hard_positive_ranks": "6-100"}, "cross-encoder needs cross_encoder"),
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
    finished_run: Path, documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    single = json.loads((finished_run / "metrics.json").read_text())
    with ScriptedServer(answer) as server:
        several = adapt(config(documents, tiny_encoder, server.url, rounds=1, grades_per_call=3), tmp_path / "several")
    calls = [
        sum(of["calls"] for stage, of in found["spending"]["by_stage"].items() if stage != "trial")
        for found in (several, single)
    ]
    assert calls[0] < calls[1] / 2
    # a judge is tried passage by passage
    assert several["spending"]["by_stage"]["trial"] == single["spending"]["by_stage"]["trial"]
    assert several["adapted"] == single["adapted"]


def test_a_cross_encoder_and_a_log_of_queries_need_no_llm(
    documents: Path, pairs: Path, tiny_encoder: Path, cross_encoder: Path, tmp_path: Path
) -> None:
    settings = cross_encoder_settings(pairs, cross_encoder, tmp_path)
    given = AdaptConfig(str(documents), model=str(tiny_encoder), **settings)
    assert given.loss == "margin-mse"
    report = adapt(given, tmp_path / "run")
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


def test_what_a_teacher_values_is_trained_on_passage_by_passage(
    documents: Path, pairs: Path, tiny_encoder: Path, cross_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    """By grades, of which 3 counts as two thirds of an answer, and by scores; a student has learnt from either."""
    with ScriptedServer(answer) as server:
        adapt(config(documents, tiny_encoder, server.url, rounds=1, loss="graded-bce"), tmp_path / "grades")
    settings = cross_encoder_settings(pairs, cross_encoder, tmp_path)
    adapt(AdaptConfig(str(documents), model=str(tiny_encoder), **settings, loss="listwise"), tmp_path / "scores")
    before = load_file(tiny_encoder / "model.safetensors")
    for run, grades in (("grades", True), ("scores", False)):
        rows = read_table(tmp_path / run / "round-0/examples/examples.parquet", "examples").to_pylist()
        assert rows and all(len(row["teacher_scores"]) == 1 + len(row["negative_ids"]) for row in rows)
        assert max(len(row["negative_ids"]) for row in rows) == 3
        values = {value for row in rows for value in row["teacher_scores"]}
        assert {round(3 * value, 4) for value in values} <= {0, 1, 2, 3} if grades else len(values) > 20
        after = load_file(tmp_path / run / "round-0/student/model.safetensors")
        assert any(not torch.equal(before[name], weight) for name, weight in after.items())


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
        system, *_, user = (message["content"] for message in body["messages"])
        words = re.findall(r"<passage>\n(.*?)\n</", user, re.DOTALL)[0].lower().split()
        if '"question"' in system:
            return json.dumps({"question": f"what is {words[0]} {words[4]}"})
        # no query is left out: its own passage is an answer
        asked = re.findall(r"<query>\n(.*?)\n</query", user, re.DOTALL)[0].split()
        return json.dumps({"grade": 4 if {*asked[2:]} <= {*words} else 1})

    settings: dict[str, Any] = {"mine_within": within, "found_by": 3, "passage_chars": 160, "rounds": 1}
    settings |= {"persona_queries": 0.0, "round_trip": 50}
    with ScriptedServer(reply, logprobs=()) as server:
        adapt(config(path, tiny_encoder, server.url, **settings), tmp_path / "run", progress=Terminal())
    plan = capsys.readouterr().err
    graded, calls, written = (
        int(re.findall(pattern, plan)[0].replace(",", ""))
        for pattern in (r"at most ([\d,]+) grades", r"to ([\d,]+) calls", r"at most ([\d,]+) calls write")
    )
    facts = json.loads((tmp_path / "run/metrics.json").read_text())["spending"]["by_stage"]
    judged = sum(facts[stage]["calls"] for stage in ("trial", "round-0/judgments", "round-1/judgments", "test"))
    assert graded / 3 < judged <= graded == calls
    assert facts["synthesis"]["calls"] <= written


def test_labelled_test_queries_never_come_into_training(
    tiny_encoder: Path, pairs: Path, tmp_path: Path, answer: Answer
) -> None:
    folder = labelled(pairs, tmp_path / "beir")
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    log = tmp_path / "log.txt"
    log.write_text("\n".join(row["question"].upper() for row in rows[:20]))
    with ScriptedServer(answer) as server:
        report = adapt(config(folder, tiny_encoder, server.url, rounds=1, query_log=str(log)), tmp_path / "run")
    assert report["data"]["queries"]["test"] == 20 and report["judged_by"] == "labels"
    asked = {row["question"].lower() for row in rows[:20]}
    written = read_table(tmp_path / "run/synthesis/queries.parquet", "queries").to_pylist()
    assert len(written) > 30 and not asked & {row["text"].lower() for row in written}
    assert report["data"]["synthesis"]["by_domain"][""]["says the same as a test query"] == 20
    shown = read_table(tmp_path / "run/round-0/judgments/judgments.parquet", "judgments").to_pylist()
    assert not {f"d{at}" for at in range(20)} & {row["doc_id"] for row in shown}


def test_a_changed_query_log_is_noticed(documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer) -> None:
    log = tmp_path / "log.txt"
    log.write_text("one real query\n")
    settings = {"query_log": str(log), "rounds": 1}
    with ScriptedServer(answer) as server:
        adapt(config(documents, tiny_encoder, server.url, **settings), tmp_path / "run")
        log.write_text("another real query\n")
        with pytest.raises(InputError, match=r"step 'synthesis' .*query_log"):
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


def test_train_decides_too_without_a_grade_more(
    documents: Path, tiny_encoder: Path, answer: Answer, tmp_path: Path
) -> None:
    with ScriptedServer(answer) as server:
        settings = {"rounds": 1, "epochs": 0.5, "passages": 20}
        alone = adapt(config(documents, tiny_encoder, server.url, **settings), tmp_path / "alone")
        report = adapt(config(documents, tiny_encoder, server.url, **settings, cross_fitting=True), tmp_path / "run")
    decided = report["decided"]["round"]
    assert decided["by"] == "cross-fitting" and decided["must_prove"]
    # by the passages that queries were written for: nobody grades what the students of folds bring up
    known = relevant(read_table(tmp_path / "run/synthesis/sources.parquet", "qrels"))
    split_of = dict(each(read_table(tmp_path / "run/synthesis/queries.parquet", "queries"), "query_id", "split"))
    assert decided["queries"] == sum(split_of[name] in ("train", "dev") for name in known)
    asked = [{place: of["calls"] for place, of in each["spending"]["by_stage"].items()} for each in (alone, report)]
    for place in set(asked[0]) - {"test"}:
        assert asked[0][place] == asked[1][place], place
    assert set(asked[0]) == set(asked[1])


@pytest.mark.parametrize("with_labels", [False, True], ids=["documents alone", "labelled test"])
def test_a_judge_that_fails_its_trial_is_asked_no_further_and_the_run_says_so(
    with_labels: bool, documents: Path, pairs: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    def grades_all_alike(body: dict[str, Any]) -> Any:
        return '{"grade": 3}' if '"grade"' in body["messages"][0]["content"] else answer(body)

    source, out = labelled(pairs, tmp_path / "beir") if with_labels else documents, tmp_path / "run"
    with ScriptedServer(grades_all_alike) as server:
        given = config(source, tiny_encoder, server.url, rounds=1)
        found = adapt(given, out)
        paid = len(server.requests)
        assert not found["trial"]["passed"] and found["trial"]["kappa"]["value"] == 0
        assert adapt(given, out)["trial"] == found["trial"] and len(server.requests) == paid
    assert set(found["spending"]["by_stage"]) == {"synthesis", "trial"}
    assert found["spending"]["by_stage"]["trial"]["calls"] <= 60
    assert found["judged_by"] == ("labels" if with_labels else "the passages that its queries were written for")
    assert {"MRR@5", "nDCG@10"} <= set(found["difference"])
    examples = read_table(out / "round-0/examples/examples.parquet", "examples").to_pylist()
    own = relevant(read_table(out / "synthesis/sources.parquet", "qrels"))
    assert examples and all(row["positive_id"] in own[row["query_id"]] for row in examples)
    # as with labels, what the base ranks high is a candidate, whatever the judge would have said
    roles = read_table(out / "round-0/candidates/candidates.parquet", "candidates")["role"].to_pylist()
    assert {"positive", "negative"} == set(roles)
    page = report(out).read_text()
    assert "goes on without grades" in page
    assert ("as the only answers" in page) is not with_labels
    assert "trained without grades" in (out / "model/README.md").read_text()
    _no_test_passage_was_trained_on(out, examples)


def _no_test_passage_was_trained_on(out: Path, examples: list[dict[str, Any]]) -> None:
    sides = read_table(out / "corpus/documents.parquet", "documents").to_pylist()
    hidden = {row["parent_id"] for row in sides if row["split"] == "test"}
    home = dict(each(read_table(out / "corpus/corpus.parquet", "corpus"), "doc_id", "parent_id"))
    shown = {doc_id for row in examples for doc_id in (row["positive_id"], *row["negative_ids"])}
    assert not hidden & {home[doc_id] for doc_id in shown}


def test_without_a_limit_nobody_is_tried(documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer) -> None:
    with ScriptedServer(answer) as server:
        found = adapt(config(documents, tiny_encoder, server.url, rounds=1, least_kappa=0.0), tmp_path / "run")
    assert found["trial"] is None and "trial" not in found["spending"]["by_stage"]
    assert not (tmp_path / "run/trial").exists() and found["judged_by"] == "tiny, the teacher itself"


def test_a_judge_that_knows_and_never_says_4_is_read_by_grade_3(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    def shy(body: dict[str, Any]) -> Any:
        return str(answer(body)).replace('"grade": 4', '"grade": 3')

    with ScriptedServer(shy) as server:
        found = adapt(config(documents, tiny_encoder, server.url, rounds=1), tmp_path / "run")
    assert found["trial"]["passed"] and found["trial"]["answer_from"] == 3
    assert found["judged_by"] == "tiny, the teacher itself" and found["queries"] > 0
    examples = read_table(tmp_path / "run/round-0/examples/examples.parquet", "examples").to_pylist()
    # as many as of one that says 4: no query is left out for want of it
    asked = read_table(tmp_path / "run/synthesis/queries.parquet", "queries").to_pylist()
    train = {row["query_id"] for row in asked if row["split"] == "train" and row["origin"] != "persona"}
    assert train <= {row["query_id"] for row in examples}
    assert "grade 3 is an answer, too" in report(tmp_path / "run").read_text()


def test_real_queries_are_left_out_of_a_test_by_the_passages_that_others_were_written_for(
    documents: Path, pairs: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    def grades_all_alike(body: dict[str, Any]) -> Any:
        return '{"grade": 3}' if '"grade"' in body["messages"][0]["content"] else answer(body)

    log = tmp_path / "log.txt"
    log.write_text(
        "\n".join(json.loads(line)["question"] for line in pairs.read_text().splitlines()[COUNT : COUNT + 60])
    )
    with ScriptedServer(grades_all_alike) as server:
        given = config(documents, tiny_encoder, server.url, rounds=1, query_log=str(log), persona_queries=0.0)
        found = adapt(given, tmp_path / "run")
    asked = read_table(tmp_path / "run/synthesis/queries.parquet", "queries").to_pylist()
    of_test = [row["origin"] for row in asked if row["split"] == "test"]
    assert found["queries"] == sum(origin != "log" for origin in of_test) < len(of_test)
    assert found["test_queries_left_out"] == {"without_an_answer": of_test.count("log")}
    assert "queries that were written for no passage are not used" in found["trial"]["why"]


def test_a_budget_that_pays_for_the_trial_later_goes_on_without_the_grades_of_before(
    documents: Path, tiny_encoder: Path, tmp_path: Path, answer: Answer
) -> None:
    """At first nobody is tried and grades decide; then the judge fails, and the same places hold other steps."""

    def grades_all_alike(body: dict[str, Any]) -> Any:
        return '{"grade": 4}' if '"grade"' in body["messages"][0]["content"] else answer(body)

    out, whole = tmp_path / "run", tmp_path / "whole"
    with ScriptedServer(grades_all_alike) as server:
        given = config(documents, tiny_encoder, server.url, rounds=1, persona_queries=0.0)
        before = adapt(given.changed(budget_calls=190), out)
        assert before["trial"]["passed"] and "could not be tried" in before["trial"]["why"]
        after = adapt(given.changed(budget_calls=5000), out)
        expected = adapt(given.changed(budget_calls=5000), whole)
    assert not after["trial"]["passed"] and after["trial"] == expected["trial"]
    for name in ("base", "adapted", "dev", "difference", "judged_by"):
        assert after[name] == expected[name]
