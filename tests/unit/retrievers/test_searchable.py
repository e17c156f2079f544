"""A retriever with its corpus as a folder: what it finds when it comes back, and what is made anew."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from denizen.data.tables import table
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.saved import load
from denizen.retrievers.searchable import FoundPassage, SearchableCorpus, load_searchable, write_searchable
from denizen.retrievers.windows import Reading, Windowed

CORPUS = table(
    "corpus",
    {
        "doc_id": ["a", "b", "c"],
        "title": ["Gout", None, ""],
        "text": ["gout pain", "lupus fever", "child dose"],
        "parent_id": ["A", "A", None],
        "start": [0, 10, None],
        "end": [9, 21, None],
    },
)


def retriever(name: str, tiny_encoder: Path, tmp_path: Path) -> Retriever:
    model = BiEncoder(tiny_encoder, Encoding(), Encoders(tmp_path / "store"))
    found: dict[str, Retriever] = {
        "bm25": BM25(),
        "model": model,
        "hybrid": Hybrid((BM25(), model), fusion="convex", weights=(1, 3)),
        "windows": Windowed((model,), Reading(2, 1)),
        "hybrid of windows": Hybrid((BM25(), Windowed((model,), Reading(2, 1))), fusion="convex", weights=(1, 3)),
        "nested": Hybrid((model, Hybrid((BM25(), model)), BM25("de"))),
    }
    return found[name]


def never(*args: object) -> None:
    raise AssertionError("the corpus is indexed anew")


def searched(one: Retriever, corpus: pa.Table, query: str) -> list[tuple[str, float]]:
    run = one.search(one.index(corpus, Silent()), {"q": query}, 100, Silent())
    return list(zip(run["doc_id"].to_pylist(), run["score"].to_pylist(), strict=True))


@pytest.mark.parametrize("name", ["bm25", "model", "hybrid", "windows", "hybrid of windows", "nested"])
def test_it_comes_back_and_finds_the_same_without_indexing(
    name: str, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = retriever(name, tiny_encoder, tmp_path)
    write_searchable(tmp_path / "run/retriever", one, CORPUS)
    wanted = searched(one, CORPUS, "lupus pain")
    monkeypatch.setattr(BM25, "index", never)
    monkeypatch.setattr(BiEncoder, "index", never)
    monkeypatch.setattr(Windowed, "index", never)
    found = SearchableCorpus.load(tmp_path / "run")
    assert found.retriever == one and load(tmp_path / "run/retriever", Encoding(), Encoders(tmp_path)) == one
    passages = found.search("lupus pain")
    assert [each.doc_id for each in passages] == [doc_id for doc_id, _ in wanted]
    assert [each.score for each in passages] == pytest.approx([score for _, score in wanted], rel=1e-5)
    assert [each.doc_id for each in found.search("lupus pain", 1)] == [wanted[0][0]]
    # no file that could hold code
    kinds = {path.suffix for path in (tmp_path / "run/retriever/corpus").rglob("*") if path.is_file()}
    assert kinds <= {".json", ".npy", ".parquet"}


def test_what_is_said_of_a_passage(tmp_path: Path) -> None:
    record = write_searchable(tmp_path, BM25(), CORPUS)
    found = load_searchable(tmp_path)
    (best,), none = found.search(["gout", "zebra"])
    assert best == FoundPassage(1, best.score, "a", "Gout", "gout pain", "A", 0, 9) and none == []
    assert found.search("dose")[0] == FoundPassage(1, found.search("dose")[0].score, "c", "", "child dose")
    assert (record["passages"], record["kind"], record["analyser"]) == (3, "bm25", "English, stemmed")
    assert json.loads((tmp_path / "corpus/index.json").read_text()) == record


@pytest.mark.parametrize("gone", ["index.json", "index/embeddings.npy", "another model", "another corpus"])
def test_what_is_missing_or_of_others_is_made_anew(gone: str, tiny_encoder: Path, tmp_path: Path) -> None:
    model = retriever("model", tiny_encoder, tmp_path)
    write_searchable(tmp_path / "run", model, CORPUS)
    own, corpus = tmp_path / "run/corpus", CORPUS
    np.save(own / "index/embeddings.npy", np.zeros((3, 32), dtype=np.float32))
    if gone == "another model":
        (tmp_path / "run/model/more.txt").write_text("another digest")
    elif gone == "another corpus":
        corpus = table("corpus", {"doc_id": ["x", "y", "z"], "text": ["fever", "pain", "drug"]})
        pq.write_table(corpus, own / "corpus.parquet")
    else:
        (own / gone).unlink()
    found = load_searchable(tmp_path / "run")
    assert [each.doc_id for each in found.search("fever")] == [name for name, _ in searched(model, corpus, "fever")]
    assert found.search("fever")[0].score > 0.1, "embeddings of zeros are not used"


def test_terms_that_would_be_cut_otherwise_are_counted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_searchable(tmp_path, BM25(), CORPUS)
    monkeypatch.setattr("denizen.retrievers.analyser._VERSION", 99)
    monkeypatch.setattr("bm25s.BM25.load", never)
    assert load_searchable(tmp_path).search("gout")[0].doc_id == "a"


def test_other_passages_for_any_saved_retriever(tmp_path: Path) -> None:
    BM25().save(tmp_path)
    assert load_searchable(tmp_path, corpus=CORPUS).search("lupus")[0].doc_id == "b"


@pytest.mark.parametrize("texts", [[], ["the", "of the"]])
@pytest.mark.parametrize("name", ["bm25", "hybrid"])
def test_a_corpus_with_nothing_in_it(name: str, texts: list[str], tiny_encoder: Path, tmp_path: Path) -> None:
    corpus = table("corpus", {"doc_id": ["a", "b"][: len(texts)], "text": texts})
    write_searchable(tmp_path / "run", retriever(name, tiny_encoder, tmp_path), corpus)
    found = load_searchable(tmp_path / "run").search("gout")
    assert len(found) == (len(texts) if name == "hybrid" else 0)


@pytest.mark.parametrize(("query", "top_k", "message"), [(" ", 10, "query is blank"), ("gout", 0, "must be 1 or more")])
def test_what_cannot_be_searched(query: str, top_k: int, message: str, tmp_path: Path) -> None:
    write_searchable(tmp_path, BM25(), CORPUS)
    with pytest.raises(InputError, match=message):
        load_searchable(tmp_path).search(query, top_k)


def test_a_query_that_is_no_text_is_searched_all_the_same(tiny_encoder: Path, tmp_path: Path) -> None:
    write_searchable(tmp_path / "run", retriever("hybrid", tiny_encoder, tmp_path), CORPUS)
    assert len(SearchableCorpus.load(tmp_path / "run").search("gout \udcff")) == 3


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("model", "index/embeddings.npy", "is damaged"),
        ("bm25", "index/data.csc.index.npy", "keyword index .* is damaged"),
        ("bm25", "index/vocab.index.json", "keyword index .* is damaged"),
        ("bm25", "index/params.index.json", "keyword index .* is damaged"),
        ("bm25", "corpus.parquet", "is not a readable Parquet file"),
    ],
)
def test_damaged_files_are_refused(name: str, file: str, message: str, tiny_encoder: Path, tmp_path: Path) -> None:
    write_searchable(tmp_path / "run", retriever(name, tiny_encoder, tmp_path), CORPUS)
    (tmp_path / "run/corpus" / file).write_bytes(b"{} torn")
    with pytest.raises(InputError, match=message):
        load_searchable(tmp_path / "run").search("gout")


def test_embeddings_of_another_number_of_passages_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    write_searchable(tmp_path / "run", retriever("model", tiny_encoder, tmp_path), CORPUS)
    np.save(tmp_path / "run/corpus/index/embeddings.npy", np.zeros((2, 32), dtype=np.float32))
    with pytest.raises(InputError, match="and there are 3 passages"):
        load_searchable(tmp_path / "run")


def test_a_folder_without_one_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        SearchableCorpus.load(tmp_path / "none")
    # a run's own corpus is none
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/corpus.parquet").write_bytes(b"")
    with pytest.raises(InputError, match="holds no retriever with its corpus"):
        SearchableCorpus.load(tmp_path)


def test_keyword_search_loads_no_model_libraries(tmp_path: Path) -> None:
    write_searchable(tmp_path, BM25(), CORPUS)
    code = (
        f"import sys, denizen; print(denizen.Retriever.load({str(tmp_path)!r}).search('gout')[0].doc_id, *sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == "a" and not {"torch", "transformers", "sentence_transformers", "datasets"} & set(said)


def test_windows_stand_in_the_text_of_a_passage(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of "Gout gout pain" characters 5 to 9 are 0 to 4 of the text; the title, or all, is not marked."""
    one = Hybrid(
        (BM25(), Windowed((BiEncoder(tiny_encoder, Encoding(), Encoders(tmp_path / "store")),), Reading(2, 1)))
    )
    found = SearchableCorpus(one, CORPUS, one.index(CORPUS, Silent()))
    passages = [FoundPassage(1, 1.0, "a", "Gout", "gout pain"), FoundPassage(2, 1.0, "b", "", "lupus fever")]
    for spans, wanted in (
        ([(5, 9), (6, 11)], [(0, 4), (6, 11)]),
        ([(0, 4), (0, 11)], [None, None]),
        ([(0, 9), (0, 5)], [(0, 4), (0, 5)]),
    ):
        monkeypatch.setattr(Windowed, "best_spans", lambda self, index, asked, spans=spans: spans)
        assert found.windows("gout", passages) == wanted
    plain = SearchableCorpus(BM25(), CORPUS, BM25().index(CORPUS, Silent()))
    assert plain.windows("gout", passages) == [None, None] and found.windows("gout", []) == []


def test_the_stages_of_what_is_shipped_come_with_their_indexes(tiny_encoder: Path, tmp_path: Path) -> None:
    one = retriever("nested", tiny_encoder, tmp_path)
    stages = list(SearchableCorpus(one, CORPUS, one.index(CORPUS, Silent())).stages())
    assert [stage.kind for stage, _ in stages] == ["hybrid", "bi-encoder", "hybrid", "bm25", "bm25", "bi-encoder"]
    for stage, index in stages:
        assert len(stage.search(index, {"q": "gout"}, 3, Silent())) >= 1 or stage == BM25("de")
