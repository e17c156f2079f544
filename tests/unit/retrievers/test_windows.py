"""Reading by windows: where they are cut, what a row is, and that the best passages are found exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from denizen.data.tables import each, read_table, table
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.saved import load, save
from denizen.retrievers.windows import WHOLE, Reading, Windowed, best_rows, reader, shares_longer, windows_of

LONG = "gout is pain of the foot and lupus is fever of the whole body and a child has a dose of a drug"
CORPUS = table("corpus", {"doc_id": ["a", "b", "c"], "title": ["Pain", "", None], "text": [LONG, LONG, "gout pain"]})


def test_windows_by_hand() -> None:
    assert Reading(4, 2).spans(9) == [(0, 4), (2, 6), (4, 8), (5, 9)]
    assert Reading(4, 4).spans(8) == [(0, 4), (4, 8)]
    assert Reading(4, 2).spans(4) == [(0, 4)] and Reading(4, 2).spans(0) == [(0, 0)]
    assert WHOLE.spans(9) == [(0, 9)]


@given(st.integers(1, 50), st.data(), st.integers(0, 300))
def test_windows_cover_every_token_and_are_of_one_length(window: int, data: st.DataObject, tokens: int) -> None:
    spans = Reading(window, data.draw(st.integers(1, window))).spans(tokens)
    assert {at for first, end in spans for at in range(first, end)} == set(range(tokens))
    assert len(set(spans)) == len(spans) and spans == sorted(spans)
    assert {end - first for first, end in spans} == {min(window, tokens)}


@pytest.mark.parametrize(("window", "stride"), [(4, 5), (4, 0), (0, 3), (-1, -1), (2.0, 1), ("4", 2), (1 << 21, 5)])
def test_windows_that_cannot_be_are_refused(window: int, stride: int) -> None:
    with pytest.raises(InputError, match="0 < stride <= window"):
        Reading(window, stride)


def test_a_title_goes_with_each_window_that_has_none_of_it() -> None:
    corpus = table("corpus", {"doc_id": ["a", "b"], "title": ["On gout", ""], "text": ["a b c d e", "x y"]})
    # words count where no tokenizer says where a token stands
    found = windows_of(corpus, None, Reading(3, 2))
    assert found.texts == ["On gout a", "On gout a b c", "On gout c d e", "x y"]
    assert found.owners.tolist() == [0, 0, 0, 1]
    assert found.starts.tolist() == [0, 8, 12, 0] and found.ends.tolist() == [9, 13, 17, 3]
    # "gout" is a part of the title
    assert windows_of(corpus, None, Reading(3, 1)).texts[:3] == ["On gout a", "gout a b", "On gout a b c"]


def test_windows_are_counted_in_the_tokens_of_the_model(tiny_encoder: Path) -> None:
    tokenizer = SentenceTransformer(str(tiny_encoder), device="cpu").tokenizer
    found = windows_of(CORPUS, tokenizer, Reading(8, 4))
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in found.texts]
    title = len(tokenizer("Pain", add_special_tokens=False)["input_ids"])
    for owner, start, length in zip(found.owners.tolist(), found.starts.tolist(), lengths, strict=True):
        assert length <= 8 + (title if owner == 0 and start else 0)
    assert found.texts[-1] == "gout pain" and found.owners[-1] == 2


def test_a_row_is_the_window_in_the_light_of_its_passage(tiny_encoder: Path, tmp_path: Path) -> None:
    model = BiEncoder(tiny_encoder, Encoding(), Encoders(tmp_path))
    read = Windowed((model,), Reading(8, 4))
    own = SentenceTransformer(str(tiny_encoder), device="cpu")
    windows = windows_of(CORPUS, own.tokenizer, Reading(8, 4))
    whole = own.encode_document([f"Pain {LONG}", LONG, "gout pain"], normalize_embeddings=True)
    rows = own.encode_document(windows.texts, normalize_embeddings=True) + whole[windows.owners]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    asked = own.encode_query(["fever of a child"], normalize_embeddings=True)[0]
    wanted = [float((rows[windows.owners == at] @ asked).max()) for at in range(3)]
    run = read.search(read.index(CORPUS, Silent()), {"q": "fever of a child"}, 10, Silent())
    found = dict(zip(run["doc_id"].to_pylist(), run["score"].to_pylist(), strict=True))
    assert [found[name] for name in "abc"] == pytest.approx(wanted, abs=1e-5)
    assert run["score"].to_pylist() == sorted(found.values(), reverse=True)


def test_it_comes_back_with_its_rows(tiny_encoder: Path, tmp_path: Path) -> None:
    read = Windowed((BiEncoder(tiny_encoder, Encoding(), Encoders(tmp_path / "store")),), Reading(8, 4))
    save(tmp_path / "saved", read)
    back = load(tmp_path / "saved", Encoding(), Encoders(tmp_path / "other"))
    assert back == read and back.digest == read.digest
    index = read.index(CORPUS, Silent())
    read.save_index(index, tmp_path / "index")
    kept = read.load_index(tmp_path / "index", CORPUS, Silent())
    asked = {"q": "lupus", "r": "dose of a drug"}
    assert read.search(kept, asked, 2, Silent()).equals(read.search(index, asked, 2, Silent()))
    rows = read_table(tmp_path / "index/windows.parquet", "windows")
    assert rows["doc_id"].to_pylist()[0] == "a" and len(rows) == len(np.load(tmp_path / "index/embeddings.npy"))
    # the folder of another corpus
    with pytest.raises(InputError, match="names 'b'"):
        read.load_index(tmp_path / "index", CORPUS.filter(pa.compute.not_equal(CORPUS["doc_id"], "b")), Silent())


def test_other_windows_are_another_retriever(tiny_encoder: Path, tmp_path: Path) -> None:
    model = BiEncoder(tiny_encoder, Encoding(), Encoders(tmp_path))
    assert reader(model, WHOLE) is model
    digests = {reader(model, reading).digest for reading in (WHOLE, Reading(8, 4), Reading(8, 8), Reading(4, 4))}
    assert len(digests) == 4


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_best_passages_are_those_of_the_best_rows(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=9))
    owners = np.repeat(np.arange(len(counts)), counts)
    # few values, so that rows and passages tie
    numbers = st.lists(st.integers(-2, 2), min_size=2, max_size=2)
    rows = np.array(data.draw(st.lists(numbers, min_size=len(owners), max_size=len(owners))), dtype=np.float32)
    queries = np.array(data.draw(st.lists(numbers, min_size=1, max_size=3)), dtype=np.float32)
    depth = data.draw(st.integers(1, 10))
    names = [f"d{at}" for at in range(len(counts))]
    run = best_rows([f"q{at}" for at in range(len(queries))], queries, names, owners, rows, depth)
    found = list(each(run, "query_id", "doc_id", "score"))
    wanted = []
    for number, query in enumerate(queries):
        best = sorted((-float((rows[owners == at] @ query).max()), name) for at, name in enumerate(names))
        wanted += [(f"q{number}", name, -score) for score, name in best[:depth]]
    assert found == wanted


def test_shares_of_longer_passages(tiny_encoder: Path) -> None:
    tokenizer = SentenceTransformer(str(tiny_encoder), device="cpu").tokenizer
    # a letter is a token
    assert shares_longer(tokenizer, ["a b c", "a b", "a b c d"], (1, 2, 3, 4)) == [
        1.0,
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
        0.0,
    ]
    assert shares_longer(tokenizer, ["a b"] * 2000 + ["a"] * 2000, (1,)) == [0.5]


def test_it_says_where_what_speaks_to_a_query_stands(tiny_encoder: Path, tmp_path: Path) -> None:
    """The best row's window, and all of a passage that stayed whole."""
    one = Windowed((BiEncoder(tiny_encoder, Encoding(), Encoders(tmp_path / "store")),), Reading(8, 4))
    index = one.index(CORPUS, Silent())
    asked = [("lupus", "a"), ("gout", "c")]
    (begin, end), whole = one.best_spans(index, asked)
    title = f"Pain {LONG}"
    assert title[begin:end] in one.best(CORPUS, asked, Silent())[0] and 0 < end - begin < len(title)
    assert whole == (0, len("gout pain"))
