"""Plain keyword search: by hand, ties, and what has no known term."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.tables import SCHEMAS, table
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.progress import Advance, Silent
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.bm25 import BM25, best
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.saved import load


def find(queries: dict[str, str], texts: list[str], depth: int, doc_ids: list[str] | None = None) -> pa.Table:
    doc_ids = doc_ids or [f"d{number:06d}" for number in range(len(texts))]
    corpus = table("corpus", {"doc_id": doc_ids, "text": texts})
    return BM25().search(BM25().index(corpus, Silent()), queries, depth, Silent())


def pairs(run: pa.Table) -> list[tuple[str, str]]:
    return list(zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True))


def test_a_score_by_hand() -> None:
    """Lucene's BM25, k1 = 1.5, b = .75: two passages of 2 and 1 terms (mean 1.5), "gout" in one of them.

    idf = ln(1 + (2 - 1 + .5) / (1 + .5)) = ln 2 = .693147
    tf part = 1 / (1 + 1.5 (.25 + .75 * 2 / 1.5)) = 1 / 2.875 = .347826; product .241095
    """
    run = find({"q": "gout"}, ["gout lupus", "lupus"], 10)
    assert pairs(run) == [("q", "d000000")]
    assert run["score"].to_pylist() == pytest.approx([math.log(2) / 2.875], rel=1e-6)


def test_a_pair_decides_between_the_same_words() -> None:
    corpus = table("corpus", {"doc_id": ["a", "b"], "text": ["risk market gout", "market risk gout"]})
    for pairs_too, wanted in ((False, ["a", "b"]), (True, ["b", "a"])):
        bm25 = BM25(pairs=pairs_too)
        run = bm25.search(bm25.index(corpus, Silent()), {"q": "market risk"}, 2, Silent())
        assert run["doc_id"].to_pylist() == wanted


def test_pairs_are_kept_with_what_is_saved(tmp_path: Path) -> None:
    bm25 = BM25("de", pairs=True)
    bm25.save(tmp_path)
    assert load(tmp_path, Encoding(), Encoders(tmp_path)) == bm25
    assert bm25.digest != BM25("de").digest
    corpus = table("corpus", {"doc_id": ["a", "b"], "text": ["Gicht im Zeh", "Zeh mit Gicht"]})
    kept = tmp_path / "index"
    bm25.save_index(bm25.index(corpus, Silent()), kept)
    found = bm25.search(bm25.load_index(kept, corpus, Silent()), {"q": "Zeh Gicht"}, 2, Silent())
    assert found["doc_id"].to_pylist() == ["b", "a"]


@pytest.mark.parametrize("pairs_too", [False, True])
def test_an_index_of_pairs_is_none_of_words_nor_the_other_way_round(pairs_too: bool, tmp_path: Path) -> None:
    corpus = table("corpus", {"doc_id": ["a"], "text": ["gout pain"]})
    one, other = BM25(pairs=pairs_too), BM25(pairs=not pairs_too)
    one.save_index(one.index(corpus, Silent()), tmp_path)
    for bm25 in (one, other):
        terms = bm25.load_index(tmp_path, corpus, Silent()).bm25.vocab_dict
        assert ("gout pain" in terms) == bm25.pairs and "gout" in terms


def test_what_was_saved_before_there_were_pairs_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = table("corpus", {"doc_id": ["a"], "text": ["gout pain"]})
    BM25().save_index(BM25().index(corpus, Silent()), tmp_path)
    record = json.loads((tmp_path / "analyser.json").read_text())
    assert set(record) == {"language", "version", "PyStemmer", "terms"}
    (tmp_path / "retriever.json").write_text('{"kind": "bm25", "parts": [], "language": "en"}')
    loaded = load(tmp_path, Encoding(), Encoders(tmp_path))
    # the digest of a BM25 that knew nothing of pairs
    assert loaded == BM25() and loaded.digest == json_digest({"kind": "bm25", "language": "en"})
    monkeypatch.setattr(BM25, "index", lambda *given: pytest.fail("indexed anew"))
    assert BM25().load_index(tmp_path, corpus, Silent()).bm25 is not None


CORPUS = [
    "Gout hurts in the toes.",
    "Lupus is a disease of the skin.",
    "Measles are catching.",
    "The skin itches.",
]


def test_finds_the_obvious_and_leaves_out_passages_without_shared_terms() -> None:
    run = find({"q1": "Which toe does gout hurt?", "q2": "skin diseases"}, CORPUS, 10)
    assert pairs(run) == [("q1", "d000000"), ("q2", "d000001"), ("q2", "d000003")]
    assert run.schema == SCHEMAS["run"]
    assert min(run["score"].to_pylist()) > 0


def test_titles_are_part_of_passages() -> None:
    corpus = table("corpus", {"doc_id": ["a", "b"], "title": ["Gout", ""], "text": ["It hurts.", "Gout and lupus."]})
    run = BM25().search(BM25().index(corpus, Silent()), {"q": "gout"}, 10, Silent())
    assert set(run["doc_id"].to_pylist()) == {"a", "b"}


def test_an_index_is_searched_again_and_again() -> None:
    corpus = table("corpus", {"doc_id": ["a", "b"], "text": ["gout", "lupus"]})
    index = BM25().index(corpus, Silent())
    found = [pairs(BM25().search(index, {"q": text}, 5, Silent())) for text in ("gout", "lupus", "gout")]
    assert found == [[("q", "a")], [("q", "b")], [("q", "a")]]


@pytest.mark.parametrize("query", ["", "the of and", "zebra"])
def test_finds_nothing_for_a_query_without_a_known_term_and_goes_on(query: str) -> None:
    assert pairs(find({"q1": query, "q2": "measles"}, CORPUS, 10)) == [("q2", "d000002")]


def test_ties_are_broken_by_doc_id_and_the_depth_is_kept() -> None:
    texts = ["gout pain", "lupus rash", "gout pain", "gout pain", "measles"]
    assert pairs(find({"q": "gout"}, texts, 2)) == [("q", "d000000"), ("q", "d000002")]
    assert pairs(find({"q": "gout"}, texts, 50)) == [("q", "d000000"), ("q", "d000002"), ("q", "d000003")]


@pytest.mark.parametrize(("queries", "texts"), [({}, CORPUS), ({"q": "gout"}, ["the", "of the"]), ({"q": "gout"}, [])])
def test_without_queries_or_terms_the_run_is_empty(queries: dict[str, str], texts: list[str]) -> None:
    run = find(queries, texts, 3)
    assert len(run) == 0 and run.schema == SCHEMAS["run"]


@pytest.mark.parametrize("doc_ids", [["b", "a"], ["a", "a"], ["a", "c", "b"]])
def test_doc_ids_that_are_not_ascending_are_refused(doc_ids: list[str]) -> None:
    with pytest.raises(InputError, match="ascending"):
        find({"q": "gout"}, ["gout"] * len(doc_ids), 1, doc_ids)


def test_every_query_is_counted() -> None:
    counted: list[tuple[int, str]] = []

    class Bars(Silent):
        @contextmanager
        def bar(self, total: int, unit: str) -> Iterator[Advance]:
            counted.append((total, unit))
            yield lambda count: counted.append((count, ""))

    corpus = table("corpus", {"doc_id": ["a"], "text": ["gout"]})
    BM25().search(BM25().index(corpus, Silent()), {"q1": "gout", "q2": "zebra"}, 5, Bars())
    assert counted == [(2, "queries by BM25"), (1, ""), (1, "")]


@given(st.lists(st.integers(-2, 2), min_size=0, max_size=30), st.integers(1, 35))
def test_the_best_are_the_largest_above_0_by_value_then_position(cells: list[int], depth: int) -> None:
    wanted = [at for at in sorted(range(len(cells)), key=lambda at: (-cells[at], at)) if cells[at] > 0][:depth]
    assert best(np.array(cells, dtype=np.float32), depth).tolist() == wanted


def test_those_of_one_language_are_one() -> None:
    assert BM25() == BM25("en") and hash(BM25()) == hash(BM25("en")) and len(BM25().digest) == 64
    assert BM25() != BM25("de") and BM25().digest != BM25("de").digest
    with pytest.raises(InputError, match="no code of two letters"):
        BM25("german")


@pytest.mark.parametrize(
    ("language", "passages", "query"),
    [
        ("de", ["Der Vertrag ist kündbar und die Frist läuft.", "Das Haus ist alt und der Garten wild."], "Verträge"),
        ("zh", ["糖尿病的治疗", "房屋保险合同"], "糖尿病如何治疗？"),
        ("ja", ["保険の契約について", "糖尿病の治療について"], "契約する"),
        ("th", ["โรคเบาหวาน", "สัญญาประกัน"], "เบาหวาน"),
    ],
)
def test_what_fits_the_corpus_finds_what_english_does_not(language: str, passages: list[str], query: str) -> None:
    corpus = table("corpus", {"doc_id": ["a", "b"], "text": passages})
    fitting = BM25.fitting(corpus)
    assert fitting == BM25(language)
    run = fitting.search(fitting.index(corpus, Silent()), {"q": query}, 1, Silent())
    assert pairs(run) == [("q", "a")]
