"""Rows of the user and of a teacher over real HTTP: what is written, dropped, paid, refused, and resumed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from denizen.data.artifacts import Corpus, Documents, TaskRows
from denizen.data.passages import with_clusters, with_parent_clusters
from denizen.data.tables import read_table, rows_table, write_table
from denizen.data.task_rows import TaskRow, task_rows
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.step import Partial
from denizen.tasks.collect import collect_tasks
from denizen.tasks.grounding import grounded_question
from denizen.tasks.label_set import read_labels
from denizen.tasks.written import TaskWriting
from tests.llm_server import ScriptedServer
from tests.unit.supervision.asked_steps import Heard, client, context
from tests.unit.tasks.test_given import lines

COUNT = 20
SMALL = {"written_questions": 6, "written_summaries": 4, "written_labels": 6, "dev_share": 0.2, "test_share": 0.2}
SIDES = ["train"] * 12 + ["dev"] * 4 + ["test"] * 4


def corpus(folder: Path, shared: str = "") -> dict[str, Any]:
    """Twenty documents of two passages, the first of which says what is done with word00 and so on.

    The first document, which is for training, and the last, which is for the test, may share a third.
    """
    rows = []
    for at in range(COUNT):
        first = f"Every word{at:02} is kept for {at + 3} years by the office of matter{at:02}. " + f"note{at:02} " * 35
        second = f"Nobody may sell other{at:02} without a licence of place{at:02}. " + f"remark{at:02} " * 30
        third = [shared] if shared and at in (0, COUNT - 1) else []
        for number, text in enumerate((first, second, *third)):
            place = {"start": 1000 * number, "end": 1000 * number + len(text)}
            rows.append({"doc_id": f"d{at:02}-{number}", "text": text, "parent_id": f"d{at:02}", **place})
    folder.mkdir(parents=True, exist_ok=True)
    table = with_parent_clusters(with_clusters(rows_table("corpus", rows), 0.9), 0.9)
    write_table(folder / "corpus.parquet", table)
    sides = [{"parent_id": f"d{at:02}", "split": side} for at, side in enumerate(SIDES)]
    write_table(folder / "documents.parquet", rows_table("documents", sides))
    return {
        "corpus": Corpus.outside(folder / "corpus.parquet"),
        "documents": Documents.outside(folder / "documents.parquet"),
    }


def teacher(body: dict[str, Any]) -> str:
    """Writes by the words of what it is shown."""
    system, user = (message["content"] for message in body["messages"])
    text = re.findall(r"<passage(?: 1)?>\n(.*?)\n</passage", user, re.DOTALL)[0]
    words = re.findall(r"[a-z]+\d\d", text)
    if '"evidence"' in system:
        evidence = text[:30] if words[0] != "word00" else "Nobody said this."
        asked = f"Which rule is there for {words[0]} of {words[1]}?"
        asked = {"word01": "What does the passage say of word01?"}.get(words[0], asked)
        return json.dumps({"question": asked, "answer": f"There is one for {words[0]}.", "evidence": evidence})
    if '"summary"' in system:
        return json.dumps({"summary": "x " * 99 if words[0] == "word02" else f"It is about {words[0]}."})
    if '"labels"' in system:
        return json.dumps({"labels": [{"label": name, "description": f"All {name}."} for name in ("keep", "sell")]})
    return json.dumps({"label": "keep" if "kept" in text else "sell"})


def run(
    folder: Path, url: str | None, settings: dict[str, Any] | None = None, **inputs: Any
) -> tuple[Any, Path, Heard]:
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    limits = {name: inputs.pop(name) for name in ("calls",) if name in inputs}
    ctx = context(client(folder, url, **limits) if url else None, place="tasks")
    made = corpus(folder / "in", inputs.pop("shared", ""))
    told = collect_tasks(out, TaskWriting(**{**SMALL, **(settings or {})}), ctx, **made, **inputs, prompts=Value("x"))
    return told, out, ctx.progress  # type: ignore[return-value]


def rows_of(out: Path) -> list[TaskRow]:
    return task_rows(TaskRows.outside(out).table)


def test_a_teacher_writes_rows_of_every_task_on_the_sides_of_their_documents(tmp_path: Path) -> None:
    with ScriptedServer(teacher) as server:
        told, out, heard = run(tmp_path, server.url)
        # labels are proposed once; of each task dev and test get a third of train
        assert len(server.requests) == 1 + (6 + 2 + 2) + (4 + 2 + 2) + (6 + 2 + 2)
    made = rows_of(out)
    side = {f"d{at:02}": split for at, split in enumerate(SIDES)}
    assert made and all(row.split == side[row.document or ""] and row.origin == "written" for row in made)
    for row in made:
        assert row.evidence and row.evidence in row.messages[-1].content
        word = re.findall(r"[a-z]+\d\d", row.evidence)[0]
        if row.task == "answer":
            asked = grounded_question(row.messages[0].content)
            assert asked and asked.startswith(f"Which rule is there for {word}")
            assert row.answer == f"There is one for {word}. [1]"
        elif row.task == "summarize":
            assert row.answer == f"It is about {word}."
        else:
            assert row.answer == ("keep" if word.startswith("word") else "sell")
            assert "- keep: All keep.\n- sell: All sell." in row.messages[0].content
    assert [label.name for label in read_labels(out / "labels.csv")] == ["keep", "sell"]
    assert sum(told["labels"]["keep"].values()) + sum(told["labels"]["sell"].values()) == 10
    assert (told["asked"], told["coverage"], told["written"]) == (29, 1.0, 29)
    counted = Counter((row.task, row.split) for row in made)
    assert {(row["task"], row["split"]): row["rows"] for row in told["rows"]} == counted
    assert sum(told["dropped"].values()) + len(made) == 28
    assert heard.notes == [
        f"{len(made)} rows: "
        + ", ".join(f"{n} {t}" for t, n in Counter(r.task for r in made).items())
        + f"; {28 - len(made)} dropped"
    ]


def test_what_breaks_a_rule_is_dropped_and_told_with_samples(tmp_path: Path) -> None:
    with ScriptedServer(teacher) as server:
        told, out, _ = run(tmp_path, server.url, {"written_questions": 24, "written_summaries": 12})
    assert told["dropped"] == {
        "evidence is not in the passage": 1,
        "question: speaks of its source": 1,
        "summary too long": 1,
    }
    assert told["samples"]["question: speaks of its source"][0].startswith("What does the passage say of word01?")
    dropped = read_table(out / "dropped_queries.parquet", "dropped_queries").to_pylist()
    assert {(row["source_doc_id"], row["split"], row["origin"]) for row in dropped} == {
        (f"d0{at}", "train", "written") for at in range(3)
    }


def test_what_a_test_document_says_too_is_summarized_for_no_training(tmp_path: Path) -> None:
    clause = "This clause of the common kind stands in many records of every office. " * 3
    with ScriptedServer(teacher) as server:
        run(tmp_path, server.url, {"written_summaries": 12}, shared=clause)
    made = {row.document: row for row in rows_of(tmp_path / "out") if row.task == "summarize"}
    assert made["d00"].evidence and "clause" not in made["d00"].evidence and "note00" in made["d00"].evidence
    assert "clause" in (made["d19"].evidence or "")


def test_without_labels_no_passage_is_sorted_and_that_is_said(tmp_path: Path) -> None:
    def one(body: dict[str, Any]) -> str:
        found = teacher(body)
        return json.dumps({"labels": [{"label": "all", "description": ""}]}) if '"labels"' in found else found

    with ScriptedServer(one) as server:
        _, out, heard = run(tmp_path, server.url)
    assert heard.notes[0].startswith("no labels were proposed") and not (out / "labels.csv").exists()
    assert {row.task for row in rows_of(out)} == {"answer", "summarize"}


def test_given_labels_are_used_and_none_is_proposed(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("label,description\nkeep,What is kept.\nsell,\n")
    with ScriptedServer(teacher) as server:
        told, out, _ = run(tmp_path, server.url, labels=Artifact.outside(tmp_path / "labels.csv"))
        assert not any('"labels"' in body["messages"][0]["content"] for body in server.requests)
        sorting = [
            body for body in server.requests if "- keep: What is kept.\n- sell\n" in str(body["messages"][0]["content"])
        ]
    assert len(sorting) == 10 and set(told["labels"]) == {"keep", "sell"}
    assert (out / "labels.csv").read_text() == "label,description\nkeep,What is kept.\nsell,\n"


def test_given_rows_stand_beside_written_ones_and_what_a_test_row_asks_is_not_learnt(tmp_path: Path) -> None:
    with ScriptedServer(teacher) as server:
        run(tmp_path / "first", server.url)
        held_out = next(row for row in rows_of(tmp_path / "first/out") if (row.task, row.split) == ("answer", "test"))
        question = grounded_question(held_out.messages[0].content)
        path = lines(
            tmp_path / "rows.jsonl",
            {"prompt": question, "completion": "leaks", "split": "train"},
            {"prompt": "What else is there for zebras?", "completion": "Grass.", "split": "train", "document": "d15"},
            {"prompt": "How is the weather on Mars?", "completion": "Dry.", "split": "train"},
            {"prompt": "How old is the oldest tree?", "completion": "Old.", "split": "test"},
            {"prompt": "Who wrote the longest letter?", "completion": "Me.", "split": "dev"},
            {"text": "I want it back", "label": "refund", "split": "train"},
        )
        told, out, _ = run(tmp_path / "second", server.url, given=[Artifact.outside(path)])
        # the labels of other texts than the corpus has sort none of its passages
        assert not any('"label"' in body["messages"][0]["content"] for body in server.requests[29:])
    own = {row.answer: row.split for row in rows_of(out) if row.origin == "given"}
    assert own == {"Dry.": "train", "Old.": "test", "Me.": "dev", "refund": "train"}
    assert told["dropped"]["asks what a test row asks"] == 1
    # of the corpus's dev side, or of a row there
    assert sum(reason.startswith("about a document of") for reason in told["dropped"]) == 1


def test_without_an_llm_there_is_what_was_given_and_without_either_nothing(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", *({"prompt": f"What is {n}{n}{n}?", "completion": str(n)} for n in range(20)))
    told, out, _ = run(tmp_path, None, given=[Artifact.outside(path)])
    assert Counter(row.split for row in rows_of(out)) == {"train": 12, "dev": 4, "test": 4}
    assert "coverage" not in told and told["written"] == 0 and not (out / "labels.csv").exists()
    with pytest.raises(InputError, match="give files of them with --tasks, or an LLM"):
        run(tmp_path / "none", None)
    few = lines(tmp_path / "few.jsonl", {"prompt": "What?", "completion": "x"}, {"prompt": "Who?", "completion": "y"})
    with pytest.raises(InputError, match="2 rows of tasks are left, 0 were dropped; nothing is left for dev, test"):
        run(tmp_path / "few", None, given=[Artifact.outside(few)])
    bad = lines(
        tmp_path / "bad.jsonl", {"prompt": "x", "completion": ""}, *map(json.loads, path.read_text().splitlines())
    )
    with pytest.raises(InputError, match=r"bad.jsonl, line 1: the answer is empty"):
        run(tmp_path / "bad", None, given=[Artifact.outside(bad)])
    told, *_ = run(tmp_path / "skip", None, {"skip_bad_rows": True}, given=[Artifact.outside(bad)])
    assert told["skipped"] == 1


def test_writing_takes_half_of_a_budget_and_says_what_it_cut_off(tmp_path: Path) -> None:
    with ScriptedServer(teacher) as server:
        told, out, _ = run(tmp_path, server.url, calls=30)
        assert len(server.requests) == 1 + 15
    assert isinstance(told, Partial) and told.lacks == {"cut_off_by_budget": 13}
    # every task has its part of what was paid
    assert {row.task for row in rows_of(out)} == {"answer", "summarize", "classify"}


def test_a_teacher_that_fails_too_often_stops_the_step_and_a_few_failures_are_told(tmp_path: Path) -> None:
    def fails(body: dict[str, Any]) -> str:
        return "no" if '"summary"' in body["messages"][0]["content"] and "word03" in str(body) else teacher(body)

    with ScriptedServer(fails) as server:
        told, out, _ = run(tmp_path / "few", server.url, {"written_summaries": 12})
    assert isinstance(told, Partial) and told.lacks == {"failures": {"unparsable": 1}}
    assert len(read_table(out / "failures.parquet", "failures")) == 1
    with ScriptedServer(lambda body: "no") as server, pytest.raises(InputError, match=r"tasks: 0\.0% of 19"):
        run(tmp_path / "all", server.url)


class Killed(Heard):
    """Ends the process, as it were, after some calls."""

    @contextmanager
    def bar(self, total: int, unit: str) -> Iterator[Any]:
        left = [5]

        def advance(count: int) -> None:
            left[0] -= count
            if left[0] < 0:
                raise KeyboardInterrupt

        yield advance


def test_a_killed_and_resumed_writing_pays_for_no_call_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(teacher) as server:
        with monkeypatch.context() as patch:
            patch.setattr("tests.unit.supervision.asked_steps.Heard", Killed)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path / "one", server.url)
        before = len(server.requests)
        assert 5 < before < 29
        run(tmp_path / "one", server.url)
        assert len(server.requests) == 29
        run(tmp_path / "other", server.url)
        once, twice = (
            sorted(json.dumps(body) for body in part) for part in (server.requests[:29], server.requests[29:])
        )
        assert once == twice
    assert rows_of(tmp_path / "one/out") == rows_of(tmp_path / "other/out")
    names = ("task_rows.parquet", "dropped_queries.parquet", "labels.csv")
    assert all(
        (tmp_path / "one/out" / name).read_bytes() == (tmp_path / "other/out" / name).read_bytes() for name in names
    )
