"""Embeddings that are cut: what is measured is what sentence-transformers gives with `truncate_dim`."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sentence_transformers import SentenceTransformer

from denizen.data.tables import rankings, rows_table, texts
from denizen.engine.progress import Silent
from denizen.measuring import dims
from denizen.measuring.dims import by_dim, cut, forgotten_by_dim
from denizen.measuring.probes import RetrievalProbe
from denizen.measuring.retrieval_sets import RetrievalSet
from denizen.retrievers import encoder
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.matryoshka import promised
from denizen.retrievers.windows import Reading, Windowed
from tests.conftest import WORDS
from tests.tiny_models import tiny_model

QUERIES = {"q0": "what is gout", "q1": "how is lupus treated", "q2": "dose of the drug"}


@pytest.fixture
def corpus() -> pa.Table:
    random.seed(3)
    rows = [{"doc_id": f"d{at:02d}", "title": "", "text": " ".join(random.choices(WORDS, k=8))} for at in range(40)]
    return rows_table("corpus", rows)


@pytest.fixture
def qrels() -> pa.Table:
    return rows_table("qrels", [{"query_id": f"q{at}", "doc_id": f"d{at:02d}", "relevance": 1} for at in range(3)])


@pytest.fixture
def model(tiny_encoder: Path, tmp_path: Path) -> BiEncoder:
    return BiEncoder(tiny_encoder, Encoding(), Encoders(tmp_path / "store"))


def found(retriever: BiEncoder | Windowed, corpus: pa.Table) -> dict[str, list[tuple[str, float]]]:
    return rankings(retriever.search(retriever.index(corpus, Silent()), QUERIES, 40, Silent()))


@pytest.mark.parametrize("dim", [1, 8, 31])
def test_cut_embeddings_rank_as_those_that_the_library_cuts(dim: int, model: BiEncoder, corpus: pa.Table) -> None:
    theirs = SentenceTransformer(str(model.folder), device="cpu", truncate_dim=dim)
    documents, queries = theirs.encode_document(texts(corpus)), theirs.encode_query([*QUERIES.values()])
    wanted = theirs.similarity(queries, documents).numpy()
    for row, ranked in zip(wanted, found(cut(model, dim), corpus).values(), strict=True):
        assert len(ranked) == 40
        for doc_id, score in ranked:
            assert score == pytest.approx(row[int(doc_id[1:])], abs=1e-5)


def test_windows_are_cut_before_they_are_seen_in_the_light_of_the_whole(model: BiEncoder, corpus: pa.Table) -> None:
    """Of passages that are one window each, window and whole are one vector, so that all is as without windows."""
    windowed, plain = Windowed((model,), Reading(64, 32)), found(cut(model, 8), corpus)
    for name, ranked in found(cut(windowed, 8), corpus).items():  # type: ignore[arg-type]
        assert [doc_id for doc_id, _ in ranked] == [doc_id for doc_id, _ in plain[name]]
    # of several windows, by hand: unit vectors of the first 8 dimensions, their mean, a unit vector again
    short = Windowed((model,), Reading(4, 4))
    index = short.index(corpus, Silent())
    begin, end = np.searchsorted(index.owners, [0, 1])
    passage = texts(corpus)[0]
    parts = [passage[index.starts[at] : index.ends[at]] for at in range(begin, end)]
    loaded = SentenceTransformer(str(model.folder), device="cpu", truncate_dim=8)
    unit = loaded.encode_document([passage, *parts], normalize_embeddings=True)
    both = unit[1:] + unit[0]
    wanted = both / np.linalg.norm(both, axis=1, keepdims=True)
    rows = cut(short, 8).index(corpus, Silent()).rows[begin:end]
    assert len(wanted) > 1
    np.testing.assert_allclose(rows, wanted, atol=1e-5)


def test_every_dim_is_measured_without_embedding_anything_again(
    model: BiEncoder, corpus: pa.Table, qrels: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = found(model, corpus)
    monkeypatch.setattr(encoder, "encode", lambda *given: pytest.fail("something was embedded"))
    systems = {"base": model, "adapted": model}
    measured = by_dim(systems, [32, 8], QUERIES, qrels, corpus, 40, Silent())
    assert list(measured) == ["32", "8"]
    # all dimensions are the model itself: the rank of each answer is that of the whole search
    ranks = [[doc_id for doc_id, _ in whole[f"q{at}"]].index(f"d{at:02d}") + 1 for at in range(3)]
    wanted = sum(1 / rank for rank in ranks if rank <= 5) / 3
    assert measured["32"]["means"]["base"]["MRR@5"] == pytest.approx(wanted)
    assert measured["32"]["means"]["base"] != measured["8"]["means"]["base"]
    assert list(measured["8"]["means"]["base"]) == list(dims.MEASURES)
    assert measured["8"]["differences"]["adapted"]["nDCG@10"]["value"] == 0


def test_what_is_forgotten_at_a_dim_is_the_difference_there(model: BiEncoder, corpus: pa.Table, tmp_path: Path) -> None:
    """nDCG@10 with one answer is 1 / log2(rank + 1) down to rank 10; the ranks are those that the library gives."""
    other = BiEncoder(tiny_model(tmp_path, "mpnet"), Encoding(), model.encoders)
    bodies = texts(corpus)
    asked = {f"q{at}": " ".join(text.split()[:3]) for at, text in enumerate(bodies)}
    answers = [{"query_id": f"q{at}", "doc_id": f"d{at:02d}", "relevance": 1} for at in range(len(bodies))]
    probe = RetrievalProbe(RetrievalSet("set", "general", corpus, asked, rows_table("qrels", answers)))

    def gain(folder: Path, dim: int) -> float:
        loaded = SentenceTransformer(str(folder), device="cpu", truncate_dim=dim)
        scores = loaded.similarity(loaded.encode_query([*asked.values()]), loaded.encode_document(bodies)).numpy()
        ranks = (scores > scores.diagonal()[:, None]).sum(axis=1) + 1
        return float(np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0).mean())

    changes = forgotten_by_dim([probe], model, other, [16, 4])
    wanted = {dim: gain(other.folder, dim) - gain(model.folder, dim) for dim in (16, 4)}
    assert abs(wanted[16] - wanted[4]) > 0.01
    assert changes == {str(dim): {"general": pytest.approx(value, abs=1e-5)} for dim, value in wanted.items()}


def test_dims_beyond_what_a_folder_cuts_to_are_not_measured(
    tiny_encoder: Path, corpus: pa.Table, qrels: pa.Table, tmp_path: Path
) -> None:
    store = Encoders(tmp_path / "store")
    BiEncoder(tiny_encoder, Encoding(), store, dim=16).save(tmp_path / "short")
    assert SentenceTransformer(str(tmp_path / "short"), device="cpu").get_embedding_dimension() == 16
    assert promised(tmp_path / "short").truncate_dim == 16
    systems = {"base": BiEncoder(tmp_path / "short", Encoding(), store), "bm25": BM25.fitting(corpus)}
    assert list(by_dim(systems, [32, 16, 8], QUERIES, qrels, corpus, 40, Silent())) == ["16", "8"]


def test_no_vectors_are_cut_to_no_vectors(model: BiEncoder) -> None:
    short = cut(model, 8)
    assert isinstance(short, BiEncoder) and short != model
    vectors = short.cut(np.zeros((0, 32), dtype=np.float32))
    assert vectors.shape == (0, 8) and vectors[:].shape == (0, 8)
