"""The judge on trial: what it is shown, when it fails, and when nothing is known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from denizen.data.artifacts import Corpus, Documents, Qrels, Queries
from denizen.data.tables import read_table
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.supervision.judging import LLMTeacher
from denizen.supervision.trial import QUERIES, TrialChoice, planted, try_judge, verdict
from tests.llm_server import ScriptedServer

from .asked_steps import client, context, stored

# each passage has a word of its own and one that all of them share; the last ten stand on the test's side
COUNT, HIDDEN = 50, 10


def _inputs(folder: Path, queries: int) -> dict[str, Any]:
    names = [f"p{at:02}" for at in range(COUNT)]
    corpus = [
        {"doc_id": name, "text": f"common word{name}", "parent_id": name, "cluster": at, "parent_cluster": at}
        for at, name in enumerate(names)
    ]
    sides = [{"parent_id": name, "split": "train" if at < COUNT - HIDDEN else "test"} for at, name in enumerate(names)]
    asked = [
        {"query_id": f"q{at:02}", "text": f"common wordp{at:02}", "split": "dev" if at % 5 == 0 else "train"}
        for at in range(queries)
    ]
    pairs = [{"query_id": f"q{at:02}", "doc_id": f"p{at:02}", "relevance": 1} for at in range(queries)]
    # one that was written for two passages, and two of the test
    asked += [{"query_id": "two", "text": "common", "split": "train"}]
    asked += [{"query_id": name, "text": name, "split": "test"} for name in ("hid1", "hid2")]
    pairs += [{"query_id": "two", "doc_id": name, "relevance": 1} for name in ("p01", "p02")]
    pairs += [
        {"query_id": "hid1", "doc_id": "p49", "relevance": 1},
        {"query_id": "hid2", "doc_id": "p48", "relevance": 1},
    ]
    return {
        "corpus": stored(Corpus, folder / "in/corpus.parquet", corpus),
        "documents": stored(Documents, folder / "in/documents.parquet", sides),
        "queries": stored(Queries, folder / "in/queries.parquet", asked),
        "pairs": stored(Qrels, folder / "in/qrels.parquet", pairs),
    }


def _planted(folder: Path, queries: int, seed: int = 0) -> list[tuple[Any, Any]]:
    given = _inputs(folder, queries)
    return planted(
        given["corpus"].table, given["documents"].table, given["queries"], given["pairs"].table, seed, Silent()
    )


def test_a_query_stands_with_its_passage_and_with_a_near_one_that_is_not_the_tests(tmp_path: Path) -> None:
    found = _planted(tmp_path, 12)
    assert {own.query_id for own, _ in found} == {f"q{at:02}" for at in range(12)}
    for own, near in found:
        assert own.doc_id == f"p{own.query_id[1:]}" and own.passage == f"common word{own.doc_id}"
        assert near.query_id == own.query_id and near.doc_id != own.doc_id
        assert int(near.doc_id[1:]) < COUNT - HIDDEN


def test_no_more_queries_are_drawn_than_a_trial_needs_and_the_seed_decides_which(tmp_path: Path) -> None:
    one, same, other = (_planted(tmp_path, 38, seed) for seed in (0, 0, 1))
    assert len(one) == QUERIES and one == same and one != other


def test_near_is_the_rank_that_is_nearest_to_the_fifteenth(tmp_path: Path) -> None:
    """BM25 ranks its own passage first, and of all others that share one word, those of lower ids."""
    found = _planted(tmp_path, 12)
    # rank 15 is the 14th of those that are not its own
    for own, near in found:
        others = [name for name in (f"p{at:02}" for at in range(COUNT - HIDDEN)) if name != own.doc_id]
        assert near.doc_id == others[13]


def test_a_query_whose_words_no_other_passage_has_is_shown_another_all_the_same(tmp_path: Path) -> None:
    given = _inputs(tmp_path, 12)
    asked = [{**row, "text": row["text"].removeprefix("common ")} for row in given["queries"].table.to_pylist()]
    queries = stored(Queries, tmp_path / "other/queries.parquet", asked)
    found = planted(given["corpus"].table, given["documents"].table, queries, given["pairs"].table, 0, Silent())
    assert len(found) == 12 and all(own.doc_id != near.doc_id for own, near in found)


@pytest.mark.parametrize(
    ("right_own", "right_near", "kappa", "passed"),
    # on equally many of both, kappa is sensitivity + specificity - 1
    [(20, 20, 1.0, True), (14, 14, 0.4, True), (13, 14, 0.35, False), (0, 20, 0.0, False), (20, 0, 0.0, False)],
)
def test_the_limit_holds_for_kappa_of_answers(right_own: int, right_near: int, kappa: float, passed: bool) -> None:
    own = [4] * right_own + [1] * (20 - right_own)
    near = [1] * (right_near // 2) + [3] * (right_near - right_near // 2) + [4] * (20 - right_near)
    told = verdict(list(zip(own, near, strict=True)), 0.4)
    assert told["kappa"]["value"] == pytest.approx(kappa) and told["passed"] is passed
    assert ("goes on without grades" in told["why"]) is not passed
    assert told["sensitivity"]["value"] == right_own / 20 and told["specificity"]["value"] == right_near / 20


def test_a_judge_that_seldom_gives_grade_4_is_read_by_grade_3() -> None:
    """A small model on 60 pairs: of answers 6 are a 4 and 17 a 3, of near passages none and 9."""
    graded = list(zip([4] * 6 + [3] * 17 + [2] * 7, [3] * 9 + [2] * 20 + [1], strict=True))
    told = verdict(graded, 0.4)
    # 23 / 30 + 21 / 30 - 1
    assert told["passed"] and told["answer_from"] == 3 and told["kappa"]["value"] == pytest.approx(14 / 30)
    assert "kappa 0.20" in told["why"] and "grade 3 is an answer, too" in told["why"]
    # where grade 4 suffices, it decides, though 3 would agree better; where neither does, it is said of grade 4
    assert verdict(graded, 0.19)["answer_from"] == 4
    strict = verdict(graded, 0.5)
    assert not strict["passed"] and strict["answer_from"] == 4 and strict["kappa"]["value"] == pytest.approx(0.2)


def test_a_judge_that_gives_one_grade_alone_fails_and_too_few_say_nothing() -> None:
    assert not verdict([(3, 3)] * 10, 0.4)["passed"]
    told = verdict([(1, 4)] * 9, 0.4)
    assert told["passed"] and "9 queries were graded, 10 are needed" in told["why"]
    assert verdict([], 0.4)["passed"]


def _step(folder: Path, url: str, queries: int, **limits: Any) -> tuple[dict[str, Any], Path]:
    out = folder / "out"
    out.mkdir()
    given = _inputs(folder, queries)
    llm = client(folder, url, **limits)
    told = try_judge(out, TrialChoice(), context(llm, place="trial"), **given, prompts=Value("x"))
    return dict(told if isinstance(told, dict) else told.facts), out


def _knows(body: dict[str, Any]) -> str:
    query, passage = re.findall(r">\n(.*?)\n</", body["messages"][-1]["content"])
    return f'{{"grade": {4 if query.split()[-1] in passage else 2}}}'


def test_a_judge_that_knows_passes_and_one_that_grades_all_alike_does_not(tmp_path: Path) -> None:
    for name, judge, passed in (("knows", _knows, True), ("alike", lambda body: '{"grade": 3}', False)):
        (tmp_path / name).mkdir()
        with ScriptedServer(judge) as server:
            told, out = _step(tmp_path / name, server.url, 12)
            assert len(server.requests) == 24
        assert told["passed"] is passed and told["asked"] == 24
        assert len(read_table(out / "judgments.parquet", "judgments")) == 24


@pytest.mark.parametrize(("calls", "asked"), [(10_000, 24), (239, 22), (200, 20), (199, 0)])
def test_a_trial_takes_a_tenth_of_a_budget_at_most(tmp_path: Path, calls: int, asked: int) -> None:
    with ScriptedServer(_knows) as server:
        told, _ = _step(tmp_path, server.url, 12, calls=calls)
        assert len(server.requests) == asked
    assert told["passed"] and ("could not be tried" in told["why"]) == (asked == 0)
    assert told["cut_off_by_budget"] == 24 - asked


def test_what_a_round_has_paid_for_is_no_trial(tmp_path: Path) -> None:
    """Their own passages are in the store; by them alone any judge that likes them would be perfect."""
    given = _inputs(tmp_path, 12)
    found = planted(
        given["corpus"].table, given["documents"].table, given["queries"], given["pairs"].table, 42, Silent()
    )
    with ScriptedServer(lambda body: '{"grade": 4}') as server:
        LLMTeacher(client(tmp_path, server.url), "round-0/judgments").judge([own for own, _ in found], lambda at: None)
        told, _ = _step(tmp_path, server.url, 12, calls=199)
        assert len(server.requests) == 12 and told["passed"] and told["kappa"]["value"] is None
        (tmp_path / "out").rename(tmp_path / "before")
        # with a budget that pays for both, it calls all an answer
        told, _ = _step(tmp_path, server.url, 12, calls=500)
    assert not told["passed"] and told["kappa"]["value"] == 0


def test_money_buys_a_tenth_of_itself_too(tmp_path: Path) -> None:
    """A call of the script costs 15 tokens; before any was made, what a prompt says is the only measure."""
    with ScriptedServer(_knows) as server:
        told, _ = _step(tmp_path, server.url, 12, tokens=3000)
        assert len(server.requests) == 0
    assert "could not be tried" in told["why"]


def test_without_grades_each_side_needs_queries_of_its_own_passages(tmp_path: Path) -> None:
    """Real queries have none and are left out; where that leaves one of the test, it is too few."""
    given = _inputs(tmp_path, 12)
    rows = given["queries"].table.to_pylist()
    log = [{"query_id": f"l{at}", "text": "real", "split": "train", "origin": "log"} for at in range(3)]
    pairs = given["pairs"].table.to_pylist()
    fewer = [row for row in pairs if row["query_id"] != "hid2"]
    for known, expected in ((pairs, "3 queries that were written for no passage are not used"), (fewer, None)):
        folder = tmp_path / str(len(known))
        (folder / "out").mkdir(parents=True)
        own = {
            **given,
            "queries": stored(Queries, folder / "queries.parquet", [*rows, *log]),
            "pairs": stored(Qrels, folder / "qrels.parquet", known),
        }
        with ScriptedServer(lambda body: '{"grade": 2}') as server:
            asked = (folder / "out", TrialChoice(), context(client(folder, server.url), place="trial"))
            if expected:
                told = try_judge(*asked, **own, prompts=Value("x"))
                assert expected in told["why"]
            else:
                with pytest.raises(InputError, match="fewer than 2 test queries have a passage"):
                    try_judge(*asked, **own, prompts=Value("x"))


def test_calls_that_fail_are_failures_and_the_rest_decides(tmp_path: Path) -> None:
    asked: list[str] = []

    def fails_now_and_then(body: dict[str, Any]) -> str:
        asked.append(body["messages"][-1]["content"])
        return "no" if len(asked) in (3, 7) else _knows(body)

    with ScriptedServer(fails_now_and_then) as server:
        told, out = _step(tmp_path, server.url, 12)
    assert told["failures"] == {"unparsable": 2} and told["passed"]
    assert len(read_table(out / "failures.parquet", "failures")) == 2
