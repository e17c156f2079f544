"""One corpus of several domains: what they share stands once, and is right for both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from denizen.data.artifacts import Corpus, Qrels, Queries
from denizen.data.prepare import NearDuplicates
from denizen.data.tables import each, relevant, rows_table, write_table
from denizen.data.union import Union, domains_of, of_domain, unite
from denizen.engine.step import Context

_NAPHTA = "Naphta is stored in tanks below the northern pier and moved by night"
# of each domain: passages, and queries with what answers them
FINANCE = {"d1": "Bonds pay a coupon.", "d2": "Shared by both.", "d3": f"{_NAPHTA}."}
LAW = {"e1": "Shared by both.", "e2": "A lease ends.", "e3": f"{_NAPHTA}!"}


def table(folder: Path, name: str, kind: str, rows: list[Any]) -> Path:
    path = folder / f"{name}-{kind}.parquet"
    write_table(path, rows_table(kind, rows))
    return path


def united(folder: Path, domains: Mapping[str, tuple[dict[str, str], dict[str, tuple[str, str]]]]) -> tuple[Union, Any]:
    """Domain to passages, and query id to (text, passage that answers it)."""
    corpus, queries, qrels = {}, {}, {}
    for name, (passages, asked) in domains.items():
        rows = [{"doc_id": doc_id, "text": text, "parent_id": doc_id} for doc_id, text in passages.items()]
        corpus[name] = Corpus.outside(table(folder, name, "corpus", rows))
        texts = [{"query_id": query_id, "text": text, "split": "test"} for query_id, (text, _) in asked.items()]
        queries[name] = Queries.outside(table(folder, name, "queries", texts))
        links = [(query_id, doc_id, 1) for query_id, (_, doc_id) in asked.items()]
        qrels[name] = Qrels.outside(table(folder, name, "qrels", links))
    out = folder / "out"
    out.mkdir()
    facts = unite(out, NearDuplicates(), Context(), corpus=corpus, queries=queries, qrels=qrels)
    return Union.outside(out), facts


@pytest.fixture
def both(tmp_path: Path) -> tuple[Union, Any]:
    asked = {"finance": {"q": ("what is shared", "d2")}, "law": {"q": ("what is shared", "e2"), "r": ("naphta", "e3")}}
    return united(tmp_path, {"finance": (FINANCE, asked["finance"]), "law": (LAW, asked["law"])})


def test_a_passage_of_two_domains_stands_once_under_the_first_name(both: tuple[Union, Any]) -> None:
    found, facts = both
    of = dict(each(found.corpus.table, "doc_id", "domain"))
    assert of == {
        "finance/d1": "finance",
        "finance/d2": "finance|law",
        "finance/d3": "finance",
        "law/e2": "law",
        "law/e3": "law",
    }
    assert list(of) == sorted(of)
    # d3 and e3 are the same words: nearly the same, and two passages
    assert (facts["passages"], facts["shared"], facts["near_duplicates"]) == (5, 1, 2)
    assert facts["domains"] == {"finance": 3, "law": 3}


def test_a_question_of_two_domains_is_answered_by_either(both: tuple[Union, Any]) -> None:
    found, facts = both
    known = relevant(found.qrels.table)
    assert known == {
        "finance/q": {"finance/d2": 1, "law/e2": 1},
        "law/q": {"finance/d2": 1, "law/e2": 1},
        "law/r": {"law/e3": 1},
    }
    assert facts["queries_of_several_domains"] == 2
    assert dict(each(found.queries.table, "query_id", "domain")) == {
        "finance/q": "finance",
        "law/q": "law",
        "law/r": "law",
    }


def test_what_one_domain_has_twice_stays_twice(tmp_path: Path) -> None:
    found, facts = united(
        tmp_path, {"a": ({"d1": "Same.", "d2": "Same."}, {"q": ("x", "d2")}), "b": ({"e": "Same."}, {})}
    )
    assert dict(each(found.corpus.table, "doc_id", "domain")) == {"a/d1": "a|b", "a/d2": "a"}
    assert facts["shared"] == 1 and relevant(found.qrels.table) == {"a/q": {"a/d2": 1}}


def test_what_one_domain_asks_twice_keeps_its_own_answers(tmp_path: Path) -> None:
    """Of two policies the same is asked; another domain that asks it, too, knows both answers."""
    asked = {"q": ("Is data shared?", "d1"), "r": ("is data shared?", "d2")}
    alone = {"a": ({"d1": "Yes.", "d2": "No."}, asked)}
    (tmp_path / "alone").mkdir()
    found, _ = united(tmp_path / "alone", {**alone, "b": ({"e": "A bond."}, {})})
    assert relevant(found.qrels.table) == {"a/q": {"a/d1": 1}, "a/r": {"a/d2": 1}}
    (tmp_path / "both").mkdir()
    found, facts = united(tmp_path / "both", {**alone, "b": ({"e": "Never."}, {"s": ("Is data shared?", "e")})})
    both = {"a/q": {"a/d1": 1, "b/e": 1}, "a/r": {"a/d2": 1, "b/e": 1}, "b/s": {"a/d1": 1, "a/d2": 1, "b/e": 1}}
    assert relevant(found.qrels.table) == both and facts["queries_of_several_domains"] == 3


def test_a_domain_is_searched_with_what_belongs_to_none() -> None:
    rows = [
        {"doc_id": name, "text": name, "domain": domain}
        for name, domain in (("d1", "finance"), ("d2", "finance|law"), ("d3", None), ("d4", "laws"), ("d5", ""))
    ]
    corpus = rows_table("corpus", rows)
    assert of_domain(corpus, "law")["doc_id"].to_pylist() == ["d2", "d3", "d5"]
    assert of_domain(corpus, "finance")["doc_id"].to_pylist() == ["d1", "d2", "d3", "d5"]
    assert domains_of("finance|law") == ("finance", "law") and domains_of(None) == ()
