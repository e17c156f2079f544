"""The steps in which a teacher looks, called without a pipeline: what is asked in which order, and what comes of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denizen.data.artifacts import Candidates, Corpus, Examples, Judgments, Model, Qrels, Queries, Run
from denizen.data.tables import read_table
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.step import Partial
from denizen.llm.replies import Replies, StoredReply
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.index import Index, embed
from denizen.supervision.grading import (
    Allotment,
    Grading,
    Sampling,
    SelectingGraded,
    SelectingScored,
    answer,
    judge,
    sample,
    select_graded,
    select_scored,
)
from tests.llm_server import ScriptedServer

from .asked_steps import Heard, client, context, stored

PASSAGES = [f"p{at}" for at in range(8)]
SPLITS = {"t1": "train", "t2": "train", "v1": "dev", "v2": "dev", "e1": "test"}
# what each query was written for
OWN = {"t1": "p6", "t2": "p1", "v1": "p2", "v2": "p3", "e1": "p0"}
GRADES = {("t1", "p6"): 4, ("t1", "p1"): 1, ("t2", "p1"): 4, ("t2", "p2"): 3, ("v1", "p2"): 2, ("v2", "p3"): 4}


def _texts(folder: Path, parents: list[str] | None = None) -> dict[str, Any]:
    parents = parents or PASSAGES
    corpus = [
        {"doc_id": name, "text": f"passage {name}.", "parent_id": parent, "cluster": at, "parent_cluster": at}
        for at, (name, parent) in enumerate(zip(PASSAGES, parents, strict=True))
    ]
    queries = [{"query_id": name, "text": f"query {name}", "split": split} for name, split in SPLITS.items()]
    pairs = [{"query_id": name, "doc_id": doc_id, "relevance": 1} for name, doc_id in OWN.items()]
    return {
        "corpus": stored(Corpus, folder / "in/corpus.parquet", corpus),
        "queries": stored(Queries, folder / "in/queries.parquet", queries),
        "pairs": stored(Qrels, folder / "in/qrels.parquet", pairs),
    }


def _candidates(folder: Path, ranks: dict[str, list[str]]) -> Candidates:
    """Query id to passages by rank; what it was written for may stand beyond the run."""
    rows: list[dict[str, Any]] = [
        {"query_id": query_id, "doc_id": doc_id, "rank": rank, "score": 1 / rank, "retriever": "student-0"}
        for query_id, found in ranks.items()
        for rank, doc_id in enumerate(found, start=1)
    ]
    rows += [
        {"query_id": name, "doc_id": OWN[name], "retriever": "student-0"}
        for name, found in ranks.items()
        if OWN[name] not in found
    ]
    return stored(Candidates, folder / "in/candidates.parquet", rows)


def _judged(folder: Path, name: str, rows: list[dict[str, Any]]) -> Judgments:
    return stored(Judgments, folder / f"in/{name}.parquet", [{"teacher": "tiny", **row} for row in rows])


def _asked(server: ScriptedServer) -> list[tuple[str, str]]:
    """The pairs of single calls, in order."""
    return [
        (re.findall(r"query (\w+)\n", text)[0], re.findall(r"passage (\w+)\.\n", text)[0]) for text in server.asked()
    ]


def _grade(body: dict[str, Any]) -> str:
    text = body["messages"][-1]["content"]
    pair = re.findall(r"query (\w+)\n", text)[0], re.findall(r"passage (\w+)\.\n", text)[0]
    return json.dumps({"grade": GRADES.get(pair, 1)})


def _judge(folder: Path, url: str, candidates: Candidates, *, rounds: int = 1, **changed: Any) -> Any:
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    limits = changed.pop("limits", {})
    given = {**_texts(folder), "candidates": candidates, "earlier": [], **changed}
    ctx = context(client(folder, url, **limits), Allotment(rounds), place="round-3/judgments")
    return judge(out, Grading(llm="tiny"), ctx, **given)


def test_dev_is_judged_first_then_what_queries_were_written_for_then_by_rank(tmp_path: Path) -> None:
    ranks = {"t1": ["p1", "p2"], "t2": ["p2", "p1"], "v1": ["p3", "p2"], "v2": ["p3"]}
    with ScriptedServer(_grade) as server:
        facts = _judge(tmp_path, server.url, _candidates(tmp_path, ranks))
        asked = _asked(server)
    # one call of every query, its own passage, before a second one; t1's own stands beyond the run
    assert asked[:3] == [("v2", "p3"), ("v1", "p2"), ("v1", "p3")]
    assert asked[3:] == [("t2", "p1"), ("t1", "p6"), ("t2", "p2"), ("t1", "p1"), ("t1", "p2")]
    assert facts == {
        "asked": 8,
        "coverage": 1.0,
        "failures": {},
        "cut_off_by_budget": 0,
        "grades": {1: 3, 2: 1, 3: 1, 4: 3},
    }
    rows = read_table(tmp_path / "out/judgments.parquet", "judgments").to_pylist()
    assert {(row["query_id"], row["doc_id"]): row["grade"] for row in rows} == {
        pair: GRADES.get(pair, 1) for pair in asked
    }


def test_what_earlier_rounds_have_judged_is_not_judged_again(tmp_path: Path) -> None:
    ranks = {"t1": ["p1", "p2"], "t2": ["p1"], "v1": ["p2"], "v2": ["p3"]}
    earlier = [
        _judged(tmp_path, "first", [{"query_id": "t1", "doc_id": "p6", "grade": 4}]),
        _judged(tmp_path, "second", [{"query_id": "v1", "doc_id": "p2", "grade": 2}]),
    ]
    with ScriptedServer(_grade) as server:
        _judge(tmp_path, server.url, _candidates(tmp_path, ranks), earlier=earlier)
        assert set(_asked(server)) == {("v2", "p3"), ("t2", "p1"), ("t1", "p1"), ("t1", "p2")}


def test_a_budget_sets_aside_what_dev_and_the_test_need_and_deals_out_the_rest(tmp_path: Path) -> None:
    # dev now 3 calls; dev after the next training 5 for each of 2, test 5 of each of 4 systems for its query: 33 in all
    ranks = {"t1": ["p0", "p1", "p2", "p3"], "t2": ["p0", "p1", "p2"], "v1": ["p3", "p2"], "v2": ["p3"]}
    candidates = _candidates(tmp_path, ranks)
    with ScriptedServer(_grade) as server:
        told = _judge(tmp_path, server.url, candidates, limits={"calls": 66})
        # 33 are left for train, which has 8
        assert isinstance(told, dict) and len(server.requests) == 3 + 8
    (tmp_path / "replies.sqlite").unlink()
    with ScriptedServer(_grade) as server:
        told = _judge(tmp_path, server.url, candidates, limits={"calls": 12})
        asked = _asked(server)
    # at most half is set aside: 6, of which dev gets 3 * 6 // 33 = 0; train the other 6
    assert Counter(name[0] for name, _ in asked) == {"t": 6}
    assert isinstance(told, Partial) and told.lacks == {"cut_off_by_budget": 5}
    failures = read_table(tmp_path / "out/failures.parquet", "failures").to_pylist()
    assert len(failures) == 5 and {row["error"] for row in failures} == {"budget"}
    # two rounds to come share what is left
    (tmp_path / "replies.sqlite").unlink()
    with ScriptedServer(_grade) as server:
        _judge(tmp_path, server.url, candidates, limits={"calls": 12}, rounds=2)
        assert Counter(name[0] for name, _ in _asked(server)) == {"t": 3}


@pytest.mark.parametrize(("calls", "of_dev"), [(23, 3), (22, 2)])
def test_after_the_last_training_dev_leaves_the_test_what_four_systems_need(
    calls: int, of_dev: int, tmp_path: Path
) -> None:
    # dev 3 calls and test 20; of one less dev gets 3 * 22 // 23 = 2
    candidates = _candidates(tmp_path, {"v1": ["p3", "p2"], "v2": ["p3"]})
    with ScriptedServer(_grade) as server:
        _judge(tmp_path, server.url, candidates, limits={"calls": calls}, rounds=0)
        assert len(server.requests) == of_dev


def test_entered_again_a_step_has_the_budget_that_it_had_and_asks_for_what_is_missing(tmp_path: Path) -> None:
    ranks = {"t1": ["p0", "p1", "p2", "p3"], "t2": ["p0", "p1", "p2"], "v1": ["p3", "p2"], "v2": ["p3"]}
    candidates = _candidates(tmp_path, ranks)
    with ScriptedServer(_grade) as server:
        first = _judge(tmp_path, server.url, candidates, limits={"calls": 12})
        again = _judge(tmp_path, server.url, candidates, limits={"calls": 12})
        assert first == again and len(server.requests) == 6
        _judge(tmp_path, server.url, candidates)
        asked = _asked(server)
    assert len(asked) == len(set(asked)) == 11


def test_a_larger_budget_later_is_dealt_out_as_from_the_start(tmp_path: Path) -> None:
    ranks = {"t1": ["p0", "p1", "p2", "p3"], "t2": ["p0", "p1", "p2"], "v1": ["p3", "p2"], "v2": ["p3"]}
    fresh, cut = tmp_path / "fresh", tmp_path / "cut"
    paid = StoredReply("key", "test", "tiny", "{}", "x", prompt_tokens=10, completion_tokens=5)
    with ScriptedServer(_grade) as server:
        _judge(fresh, server.url, _candidates(fresh, ranks), limits={"calls": 14})
        _judge(cut, server.url, _candidates(cut, ranks), limits={"calls": 8})
        before = read_table(cut / "out/judgments.parquet", "judgments").to_pylist()
        # the test came after that, and will find paid what it asks again
        for at in range(4):
            Replies(cut / "replies.sqlite", "run").add(replace(paid, key=f"key {at}"))
        _judge(cut, server.url, _candidates(cut, ranks), limits={"calls": 14})
    one, other = (read_table(folder / "out/judgments.parquet", "judgments").to_pylist() for folder in (fresh, cut))
    assert one == other and len(before) == 4 < len(one) == 7


def test_too_many_failures_stop_the_step(tmp_path: Path) -> None:
    ranks = {"t1": ["p1", "p2"], "t2": ["p2", "p1"], "v1": ["p3", "p2"], "v2": ["p3"]}
    with (
        ScriptedServer(lambda body: "no idea" if "query t1" in str(body) else _grade(body)) as server,
        pytest.raises(InputError, match=r"round-3/judgments: 62\.5% of 8 were answered.*3 unparsable"),
    ):
        _judge(tmp_path, server.url, _candidates(tmp_path, ranks))
    assert not (tmp_path / "out/judgments.parquet").exists()


def test_answers_are_those_of_all_rounds_and_of_writers_where_nobody_looked(tmp_path: Path) -> None:
    texts = _texts(tmp_path)
    one = _judged(tmp_path, "one", [{"query_id": "t1", "doc_id": "p6", "grade": 2}])
    two = _judged(tmp_path, "two", [{"query_id": "t1", "doc_id": "p1", "grade": 4}])
    (tmp_path / "out").mkdir()
    found = answer(
        tmp_path / "out",
        SelectingScored(),
        context(None),
        judged=[one, two],
        pairs=texts["pairs"],
        answer_from=Value(4),
    )
    qrels = read_table(tmp_path / "out/qrels.parquet", "qrels").to_pylist()
    assert {(row["query_id"], row["doc_id"]): row["relevance"] for row in qrels} == {
        ("t1", "p6"): 0,
        ("t1", "p1"): 1,
        **{(name, OWN[name]): 1 for name in ("t2", "v1", "v2", "e1")},
    }
    assert found == {"judged": 6, "answers": 5}
    teachers = read_table(tmp_path / "out/judgments.parquet", "judgments")["teacher"].to_pylist()
    assert teachers == ["tiny", "tiny", *["writer"] * 4]


def test_examples_from_grades_keep_to_the_document_where_that_is_wanted(tmp_path: Path) -> None:
    # p1 stands in the document of the answer p6, p2 in another one
    texts = _texts(tmp_path, ["a", "b", "c", "d", "e", "f", "b", "g"])
    grades = {"p6": 4, "p1": 1, "p2": 2}
    judged = _judged(
        tmp_path, "judged", [{"query_id": "t1", "doc_id": name, "grade": grade} for name, grade in grades.items()]
    )
    found = [{"query_id": "t1", "doc_id": name, "score": 1 - at / 10} for at, name in enumerate(["p2", "p1", "p6"])]
    given = {"found": stored(Run, tmp_path / "in/run.parquet", found), "judgments": judged, **texts}
    negatives = {}
    for same in (False, True):
        out = tmp_path / f"out-{same}"
        out.mkdir()
        params = SelectingGraded(same_document=same, hard_positive_ranks="1-100")
        facts = select_graded(out, params, context(None), student=Value(0), **given)
        assert facts["answered_queries"] == 1 and facts["disputed_queries"] == 0
        (row,) = read_table(out / "examples.parquet", "examples").to_pylist()
        negatives[same] = row["negative_ids"]
        assert (row["query_id"], row["positive_id"]) == ("t1", "p6")
    assert negatives == {False: ["p2"], True: ["p1"]}


def test_a_query_whose_own_passage_is_none_by_its_grade_is_left_out_and_said(tmp_path: Path) -> None:
    rows = [{"query_id": "t1", "doc_id": "p6", "grade": 1}, {"query_id": "t1", "doc_id": "p1", "grade": 4}]
    rows += [{"query_id": "t2", "doc_id": "p1", "grade": 4}, {"query_id": "t2", "doc_id": "p2", "grade": 1}]
    found = [
        {"query_id": name, "doc_id": doc, "score": 0.5} for name, doc in (("t1", "p1"), ("t2", "p1"), ("t2", "p2"))
    ]
    given = {"found": stored(Run, tmp_path / "in/run.parquet", found), "judgments": _judged(tmp_path, "judged", rows)}
    (tmp_path / "out").mkdir()
    ctx = context(None)
    facts = select_graded(tmp_path / "out", SelectingGraded(), ctx, student=Value(0), **given, **_texts(tmp_path))
    assert (facts["disputed_queries"], facts["answered_queries"]) == (1, 1)
    rows = read_table(tmp_path / "out/examples.parquet", "examples").to_pylist()
    assert [row["query_id"] for row in rows] == ["t2"]
    assert isinstance(ctx.progress, Heard)
    assert "1 left out: their own passage is none by the teacher's grade" in ctx.progress.notes


def test_examples_from_scores_carry_them_and_those_of_rounds_before(tmp_path: Path) -> None:
    texts = _texts(tmp_path)
    scores = {"p1": 0.9, "p2": 0.4, "p3": 0.1}
    judged = _judged(
        tmp_path, "judged", [{"query_id": "t1", "doc_id": name, "score": score} for name, score in scores.items()]
    )
    found = [{"query_id": "t1", "doc_id": name, "score": 0.5 - at / 10} for at, name in enumerate(["p3", "p2", "p1"])]
    earlier = [{"query_id": "t2", "positive_id": "p1", "negative_ids": ["p0"], "kind": "hard", "round": 0}]
    (tmp_path / "out").mkdir()
    facts = select_scored(
        tmp_path / "out",
        SelectingScored(negatives=2),
        context(None),
        found=stored(Run, tmp_path / "in/run.parquet", found),
        judgments=judged,
        queries=texts["queries"],
        student=Value(1),
        earlier=stored(Examples, tmp_path / "in/examples.parquet", earlier),
    )
    assert (facts["examples"], facts["new"]) == (2, 1)
    _, row = read_table(tmp_path / "out/examples.parquet", "examples").to_pylist()
    assert (row["query_id"], row["positive_id"], row["negative_ids"], row["round"]) == ("t1", "p1", ["p3", "p2"], 1)
    assert row["teacher_scores"] == pytest.approx([0.9, 0.1, 0.4])


@pytest.fixture
def searched(tiny_encoder: Path, tmp_path: Path) -> dict[str, Any]:
    """Two documents of four passages, embedded, with a run over all of them."""
    texts = _texts(tmp_path, ["a"] * 4 + ["b"] * 4)
    model, encoders = Model.outside(tiny_encoder), Encoders(tmp_path / "store")
    ctx = context(None, encoders)
    (tmp_path / "index").mkdir()
    given = {"corpus": texts["corpus"], "queries": texts["queries"]}
    embed(tmp_path / "index", Encoding(backend="torch", precision="fp32"), ctx, model=model, **given)
    rows = [
        {"query_id": name, "doc_id": doc_id, "score": 1 - at / 10}
        for name in ("t1", "t2", "v1", "v2")
        for at, doc_id in enumerate(PASSAGES)
    ]
    run = stored(Run, tmp_path / "in/run.parquet", rows)
    return {"found": run, "model": model, "index": Index.outside(tmp_path / "index"), **texts, "ctx": ctx}


def _sampled(folder: Path, searched: dict[str, Any], params: Sampling, splits: list[str]) -> list[dict[str, Any]]:
    given = {name: value for name, value in searched.items() if name != "ctx"}
    folder.mkdir()
    sample(folder, params, searched["ctx"], splits=Value(splits), student=Value(1), **given)
    rows: list[dict[str, Any]] = read_table(folder / "candidates.parquet", "candidates").to_pylist()
    return rows


def test_dev_is_shown_the_best_five_of_the_corpus_and_train_what_is_asked_for(
    searched: dict[str, Any], tmp_path: Path
) -> None:
    params = Sampling(graded_top=1, found_by=1, mine_within="corpus", decay=100.0)
    rows = _sampled(tmp_path / "corpus", searched, params, ["train", "dev"])
    found = {name: [row["doc_id"] for row in rows if row["query_id"] == name] for name in ("t1", "t2", "v1", "v2")}
    # the best, the two after it by so steep a decay, and what the query was written for
    assert found["t1"] == ["p0", "p1", "p2", "p6"] and found["t2"] == ["p0", "p1", "p2"]
    assert found["v1"] == found["v2"] == PASSAGES[:5]
    assert {row["retriever"] for row in rows} == {"student-1"}
    only_dev = _sampled(tmp_path / "dev", searched, params, ["dev"])
    assert {row["query_id"] for row in only_dev} == {"v1", "v2"}


def test_within_documents_train_is_shown_those_of_the_best_passages(searched: dict[str, Any], tmp_path: Path) -> None:
    params = Sampling(graded_top=4, found_by=1, mine_within="documents")
    rows = _sampled(tmp_path / "documents", searched, params, ["train", "dev"])
    found = {name: {row["doc_id"] for row in rows if row["query_id"] == name} for name in ("t1", "t2", "v1")}
    # p0 is the best, and its document has four passages; p6, what t1 was written for, stands in the other one
    assert found == {"t1": set(PASSAGES), "t2": set(PASSAGES[:4]), "v1": set(PASSAGES[:5])}


@pytest.mark.parametrize(("passages", "within"), [(14, "corpus"), (15, "documents")])
def test_documents_of_many_passages_are_looked_into(passages: int, within: str, tmp_path: Path) -> None:
    rows = [{"doc_id": str(at), "text": "a", "parent_id": str(at // passages)} for at in range(3 * passages)]
    corpus = stored(Corpus, tmp_path / "corpus.parquet", rows).table
    assert Sampling().within(corpus) == within
    assert Sampling(mine_within="corpus").within(corpus) == "corpus"
    assert Sampling(mine_within="documents").within(corpus) == "documents"
