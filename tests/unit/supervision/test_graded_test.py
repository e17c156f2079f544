"""The test without labels, called without a pipeline: only queries that were wholly graded count."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from denizen.data.artifacts import Corpus, Model, Qrels, Queries
from denizen.data.tables import read_table
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.step import Partial
from denizen.measuring.fusion import Fused
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.index import Index, embed
from denizen.supervision.graded_test import graded_test
from denizen.supervision.grading import Grading
from tests.llm_server import ScriptedServer

from .asked_steps import client, context, stored

WORDS = ["gout", "lupus", "fever", "pain", "drug", "dose", "child", "symptom"]
ASKED = ["gout", "lupus", "fever"]


def _test(folder: Path, model: Path, url: str, *, hybrid: bool = False, **limits: Any) -> Any:
    corpus = [{"doc_id": f"d{at}", "text": f"all about {word}."} for at, word in enumerate(WORDS)]
    queries = [{"query_id": f"q{at}", "text": f"what is {word}?", "split": "test"} for at, word in enumerate(ASKED)]
    queries.append({"query_id": "t", "text": "what is dose?", "split": "train"})
    pairs = [{"query_id": f"q{at}", "doc_id": f"d{at}", "relevance": 1} for at in range(len(ASKED))]
    texts = {
        "corpus": stored(Corpus, folder / "in/corpus.parquet", corpus),
        "queries": stored(Queries, folder / "in/queries.parquet", queries),
    }
    base, llm = Model.outside(model), client(folder, url, **limits)
    ctx = context(llm, Encoders(folder / "store"), place="test")
    for name in ("index", "out"):
        (folder / name).mkdir(exist_ok=True)
    embed(folder / "index", Encoding(backend="torch", precision="fp32"), ctx, model=base, **texts)
    index = Index.outside(folder / "index")
    return graded_test(
        folder / "out",
        Grading(llm="tiny"),
        ctx,
        systems={"base": base, "adapted": base},
        base_index=index,
        index=index,
        fused=_fused(folder / "fused", hybrid),
        answer_from=Value(4),
        pairs=stored(Qrels, folder / "in/qrels.parquet", pairs),
        **texts,
    )


def _fused(folder: Path, taken: bool) -> Fused:
    folder.mkdir(exist_ok=True)
    (folder / "fusion.json").write_text(json.dumps({"fusion": "convex", "weights": [1.0, 0.0]}))
    return Fused(folder, "digest", {"taken": taken})


def _words(body: dict[str, Any]) -> tuple[str, str]:
    text = body["messages"][-1]["content"]
    return re.findall(r"what is (\w+)\?", text)[0], re.findall(r"all about (\w+)\.", text)[0]


def _grade(body: dict[str, Any]) -> str:
    query, passage = _words(body)
    return json.dumps({"grade": 4 if query == passage else 1})


def test_the_best_five_of_each_system_are_graded_once(tiny_encoder: Path, tmp_path: Path) -> None:
    with ScriptedServer(_grade) as server:
        facts = _test(tmp_path, tiny_encoder, server.url)
        asked = [_words(body) for body in server.requests]
    assert len(set(asked)) == len(asked) and {query for query, _ in asked} == set(ASKED)
    # all of a query before the next one, so that a budget that ends leaves whole queries
    assert [query for query, _ in asked] == sorted((query for query, _ in asked), key=ASKED.index)
    # base and adapted are the same here, BM25 finds what has the word
    assert all(5 <= sum(query == word for query, _ in asked) <= 10 for word in ASKED)
    assert facts["means"]["bm25"]["MRR@5"] == 1 and facts["queries"] == 3
    assert facts["means"]["base"] == facts["means"]["adapted"]
    assert facts["judged_by"] == "tiny, the teacher itself"
    assert facts["queries_left_out"] == {"not_wholly_graded": 0, "without_an_answer": 0}
    assert (facts["asked"], facts["cut_off_by_budget"]) == (len(asked), 0)


def test_a_query_with_a_hole_is_left_out_and_so_is_one_without_an_answer(tiny_encoder: Path, tmp_path: Path) -> None:
    def moody(body: dict[str, Any]) -> str:
        query, passage = _words(body)
        if query == "gout" and passage != "gout" and body["messages"][-1]["content"] not in seen and not seen:
            seen.append(body["messages"][-1]["content"])
            return "no idea"
        return json.dumps({"grade": 3}) if query == passage == "lupus" else _grade(body)

    seen: list[str] = []
    with ScriptedServer(moody) as server:
        told = _test(tmp_path, tiny_encoder, server.url)
    assert isinstance(told, Partial) and told.lacks == {"failures": {"unparsable": 1}}
    assert told.facts["queries_left_out"] == {"not_wholly_graded": 1, "without_an_answer": 1}
    assert told.facts["queries"] == 1
    (failure,) = read_table(tmp_path / "out/failures.parquet", "failures").to_pylist()
    assert (failure["stage"], failure["raw"]) == ("test", "no idea")


def test_a_budget_that_ends_leaves_whole_queries(tiny_encoder: Path, tmp_path: Path) -> None:
    with ScriptedServer(_grade) as server:
        told = _test(tmp_path, tiny_encoder, server.url, calls=11)
        assert len(server.requests) == 11
        assert isinstance(told, Partial) and told.facts["queries"] >= 1
        left_out = told.facts["queries_left_out"]["not_wholly_graded"]
        assert told.facts["queries"] + left_out == 3 and left_out >= 1
        assert told.lacks == {"cut_off_by_budget": told.facts["asked"] - 11}
        whole = _test(tmp_path, tiny_encoder, server.url)
        assert whole["queries"] == 3 and len(server.requests) == whole["asked"]


def test_a_test_without_any_answer_stops_the_run(tiny_encoder: Path, tmp_path: Path) -> None:
    with (
        ScriptedServer(lambda body: '{"grade": 2}') as server,
        pytest.raises(InputError, match="of 3 test queries 3 could be graded, and none of them has an answer graded 4"),
    ):
        _test(tmp_path, tiny_encoder, server.url)


def test_a_hybrid_that_is_shipped_is_graded_and_measured_beside_the_others(tmp_path: Path, tiny_encoder: Path) -> None:
    with ScriptedServer(_grade) as server:
        found = _test(tmp_path, tiny_encoder, server.url, hybrid=True)
    assert set(found["means"]) == {"base", "bm25", "adapted", "hybrid"}
    # all its weight is that of BM25
    assert found["means"]["hybrid"] == found["means"]["bm25"]
