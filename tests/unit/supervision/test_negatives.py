"""Hard negatives that an LLM writes: who gets one, what is dropped and why, and what a budget pays for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from denizen.data.artifacts import Corpus, Negatives, Qrels, Queries
from denizen.data.tables import read_table
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.step import Partial
from denizen.supervision.negatives import NegativeWriting, drawn, write_negatives
from tests.llm_server import ScriptedServer

from .asked_steps import client, context, stored

COUNT = 12


def _inputs(folder: Path) -> dict[str, Any]:
    corpus = [
        {"doc_id": f"p{at:02}", "text": f"the word{at:02} is good", "parent_id": f"p{at:02}"} for at in range(COUNT)
    ]
    asked = [
        {"query_id": f"q{at:02}", "text": f"what is word{at:02}", "split": "dev" if at < 2 else "train"}
        for at in range(COUNT)
    ]
    # two queries that no single passage was written for
    asked += [{"query_id": name, "text": name, "split": "train"} for name in ("none", "two")]
    pairs = [{"query_id": f"q{at:02}", "doc_id": f"p{at:02}", "relevance": 1} for at in range(COUNT)]
    pairs += [{"query_id": "two", "doc_id": name, "relevance": 1} for name in ("p03", "p04")]
    return {
        "corpus": stored(Corpus, folder / "in/corpus.parquet", corpus),
        "queries": stored(Queries, folder / "in/queries.parquet", asked),
        "pairs": stored(Qrels, folder / "in/qrels.parquet", pairs),
    }


def _writes(body: dict[str, Any]) -> str:
    """Of q02 the passage itself, of q03 nothing, of q04 an answer, of q05 a part of one; all else is none."""
    system, user = (message["content"] for message in body["messages"])
    passage = re.findall(r"<passage>\n(.*?)\n?</passage>", user, re.DOTALL)[0]
    query = re.findall(r"<query>\n(.*?)\n</query>", user)[0]
    number = int(query[-2:])
    if '"grade"' in system:
        return json.dumps({"grade": {4: 4, 5: 3}.get(number, 1 + number % 2)})
    return json.dumps({"passage": {2: f"Once more: {passage}", 3: "  "}.get(number, f" another than word{number:02} ")})


def _run(
    folder: Path, url: str, count: int, *, least: float = 0.9, **limits: Any
) -> tuple[dict[str, Any] | Partial, Path, Any]:
    out = folder / "out"
    out.mkdir(parents=True)
    ctx = context(client(folder, url, **limits), min_coverage=least, place="negatives")
    told = write_negatives(out, NegativeWriting(synthetic_negatives=count), ctx, **_inputs(folder), prompts=Value("x"))
    return told, out, ctx


def test_training_queries_of_one_passage_are_drawn_by_the_seed(tmp_path: Path) -> None:
    given = _inputs(tmp_path)

    def of(count: int, seed: int = 0) -> list[str]:
        params = NegativeWriting(synthetic_negatives=count, seed=seed)
        found = drawn(given["corpus"].table, given["queries"], given["pairs"].table, params)
        assert all(pair.doc_id == f"p{pair.query_id[1:]}" and pair.query.endswith(pair.query_id[1:]) for pair in found)
        return [pair.query_id for pair in found]

    assert sorted(of(100)) == [f"q{at:02}" for at in range(2, COUNT)]
    assert of(4) == of(100)[:4] and of(4, 1) != of(4)


def test_what_is_written_is_kept_apart_and_what_answers_is_dropped_and_counted(tmp_path: Path) -> None:
    with ScriptedServer(_writes) as server:
        told, out, ctx = _run(tmp_path, server.url, 100)
        # ten are written, and eight are neither empty nor the passage itself
        assert len(server.requests) == 18
    assert isinstance(told, dict)
    assert {name: told[name] for name in ("written", "unusable", "answers", "used")} == {
        "written": 10,
        "unusable": 2,
        "answers": 2,
        "used": 6,
    }
    assert (told["asked"], told["coverage"], told["cut_off_by_budget"]) == (18, 1.0, 0)
    assert ctx.progress.notes == ["10 hard negatives written, 2 of no use, 2 dropped as answers, 6 used"]
    made = Negatives.outside(out)
    rows = made.examples.table.to_pylist()
    assert {(row["query_id"], row["positive_id"], *row["negative_ids"]) for row in rows} == {
        (f"q{at:02}", f"p{at:02}", f"negative-q{at:02}") for at in range(6, COUNT)
    }
    texts = {row["doc_id"]: row["text"] for row in made.corpus.table.to_pylist()}
    # what was graded stays to be looked at, used or not
    assert texts == {f"negative-q{at:02}": f"another than word{at:02}" for at in range(4, COUNT)}
    grades = {row["doc_id"]: row["grade"] for row in read_table(out / "judgments.parquet", "judgments").to_pylist()}
    assert grades["negative-q04"] == 4 and grades["negative-q05"] == 3 and len(grades) == 8


def test_the_passage_comes_first_and_cannot_close_its_marker(tmp_path: Path) -> None:
    with ScriptedServer(_writes) as server:
        _run(tmp_path, server.url, 1)
        user = server.requests[0]["messages"][-1]["content"]
    assert re.fullmatch(r"<passage>\nthe word\d\d is good\n</passage>\n\n<query>\nwhat is word\d\d\n</query>", user)


def test_an_id_of_the_corpus_is_not_taken(tmp_path: Path) -> None:
    given = _inputs(tmp_path)
    more = {"doc_id": "negative-q06", "text": "mine", "parent_id": "m"}
    given["corpus"] = stored(Corpus, tmp_path / "more/corpus.parquet", [more, *given["corpus"].table.to_pylist()])
    (tmp_path / "out").mkdir()
    with ScriptedServer(_writes) as server:
        ctx = context(client(tmp_path, server.url), place="negatives")
        write_negatives(tmp_path / "out", NegativeWriting(synthetic_negatives=100), ctx, **given, prompts=Value("x"))
    rows = Negatives.outside(tmp_path / "out").examples.table.to_pylist()
    assert {row["query_id"]: row["negative_ids"] for row in rows}["q06"] == ["negative-q06@"]


@pytest.mark.parametrize(("calls", "queries"), [(100, 10), (99, 9), (19, 1), (9, 0)])
def test_they_take_a_fifth_of_a_budget_at_most(tmp_path: Path, calls: int, queries: int) -> None:
    """Each takes two calls: one that writes and one that grades."""
    with ScriptedServer(lambda body: _writes(body).replace("Once more: ", "x")) as server:
        told, *_ = _run(tmp_path, server.url, 100, calls=calls)
        assert len(server.requests) <= calls // 5
    facts = told.facts if isinstance(told, Partial) else told
    assert facts["written"] == queries and isinstance(told, Partial) == (queries < 10)
    assert facts["cut_off_by_budget"] == 2 * (10 - queries)


def test_what_was_written_and_not_graded_is_not_used(tmp_path: Path) -> None:
    def fails(body: dict[str, Any]) -> str:
        return "no" if '"grade"' in body["messages"][0]["content"] and "word07" in str(body) else _writes(body)

    with ScriptedServer(fails) as server:
        told, out, _ = _run(tmp_path, server.url, 100)
    assert isinstance(told, Partial) and told.lacks == {"failures": {"unparsable": 1}} and told.facts["used"] == 5
    assert "q07" not in Negatives.outside(out).examples.table["query_id"].to_pylist()
    (failure,) = read_table(out / "failures.parquet", "failures").to_pylist()
    assert (failure["stage"], failure["key"]) == ("negatives", "q07 negative-q07")


def test_too_few_answers_stop_the_run(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "no") as server, pytest.raises(InputError, match=r"negatives: 0\.0% of 10"):
        _run(tmp_path, server.url, 100)
