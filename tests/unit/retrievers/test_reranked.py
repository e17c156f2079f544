"""The second stage: its order, what it reads of long passages, and its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from denizen.data.tables import rankings, rows_table, table
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress, Silent
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.cross_encoder import Reranker, load_cross_encoder, passage_room, start_cross_encoder
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.reranked import Reranked, mixed, scored
from denizen.retrievers.saved import load
from denizen.retrievers.searchable import load_searchable, write_searchable


@pytest.fixture(scope="module")
def reranker(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a cross-encoder with random weights."""
    folder = tmp_path_factory.mktemp("models") / "reranker"
    start_cross_encoder(tiny_encoder, 1).save_pretrained(str(folder), create_model_card=False)
    return folder


@dataclass(frozen=True)
class ByHand(Reranker):
    """Scores that are written down."""

    known: tuple[tuple[str, float], ...] = ()

    def scores(self, pairs: Sequence[tuple[str, str]], corpus: pa.Table, progress: Progress) -> list[float]:
        assert {doc_id for _, doc_id in pairs} == set(corpus["doc_id"].to_pylist())
        return [dict(self.known)[f"{query} {doc_id}"] for query, doc_id in pairs]


def _corpus(*doc_ids: str) -> pa.Table:
    return table(
        "corpus", {"doc_id": doc_ids, "title": [""] * len(doc_ids), "text": [f"text {name}" for name in doc_ids]}
    )


def test_the_first_are_ordered_anew_and_the_others_stay_below_them() -> None:
    known = {"x a": -2.0, "x b": 3.0, "x c": 3.0, "y a": 0.5, "y d": 0.25}
    judge = ByHand(Path(), "0", tuple(known.items()))
    found = [("q", "c", 0.9), ("q", "a", 0.8), ("q", "b", 0.7), ("q", "e", 0.6), ("q", "d", 0.5)]
    found += [("r", "d", 7.0), ("r", "a", 6.0)]
    run = rows_table("run", found)
    scores = scored(judge, run, {"q": "x", "r": "y"}, _corpus(*"abcde"), Silent(), rescored=3)
    assert scores == {
        ("q", "a"): -2.0,
        ("q", "b"): 3.0,
        ("q", "c"): 3.0,
        ("r", "a"): 0.5,
        ("r", "d"): 0.25,
    }
    assert rankings(mixed(run, scores, 1.0, 4)) == {
        # what scores the same stands by its id; below, one less each
        "q": [("b", 1.0), ("c", 1.0), ("a", 0.0), ("e", -1.0)],
        "r": [("a", 1.0), ("d", 0.0)],
    }
    # of q the first stage has 1, .5 and 0 for c, a and b, of which three quarters count, the other 1, 0 and 1
    by_both = rankings(mixed(run, scores, 0.25, 4))
    assert by_both["q"] == [
        ("c", pytest.approx(1.0)),
        ("a", pytest.approx(0.375)),
        ("b", pytest.approx(0.25)),
        ("e", pytest.approx(-0.75)),
    ]
    assert by_both["r"] == [("d", pytest.approx(0.75)), ("a", pytest.approx(0.25))]


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([0.1, 0.5, 1.0]),
)
def test_a_passage_is_neither_lost_nor_brought_from_below(
    scores: list[float], rescored: int, depth: int, share: float
) -> None:
    ids = [f"d{at:02d}" for at in range(len(scores))]
    judge = ByHand(Path(), "0", tuple((f"x {name}", score) for name, score in zip(ids, scores, strict=True)))
    before = rows_table("run", [("q", name, -float(at)) for at, name in enumerate(ids)])
    second = scored(judge, before, {"q": "x"}, _corpus(*ids), Silent(), rescored)
    found, whole = (rankings(mixed(before, second, share, most))["q"] for most in (depth, 99))
    assert found == whole[:depth] and [name for name, _ in whole[rescored:]] == ids[rescored:]
    assert {name for name, _ in whole[:rescored]} == set(ids[:rescored])
    assert [score for _, score in whole] == sorted((score for _, score in whole), reverse=True)


def test_what_ties_in_the_table_stands_in_the_order_of_ids() -> None:
    """.9 of .1 and none of .9, and .1 of .9: both are .09, and differ as 64-bit floats."""
    run = rows_table("run", [("q", "x", 1.0), ("q", "b", 0.1), ("q", "a", 0.0), ("q", "y", 0.0)])
    scores = {("q", "x"): 1.0, ("q", "b"): 0.0, ("q", "a"): 0.9, ("q", "y"): 0.0}
    found = rankings(mixed(run, scores, 0.1, 9))["q"]
    assert [doc_id for doc_id, _ in found] == ["x", "a", "b", "y"] and found[1][1] == found[2][1]


def test_a_score_that_is_no_number_is_the_least_and_costs_the_others_nothing() -> None:
    run = rows_table("run", [("q", name, 1.0) for name in "abcd"])
    scores = {("q", "a"): float("-inf"), ("q", "b"): 3.0, ("q", "c"): 1.0, ("q", "d"): 2.0}
    assert rankings(mixed(run, scores, 1.0, 9))["q"] == [("b", 1.0), ("d", 0.5), ("a", 0.0), ("c", 0.0)]


def test_a_query_that_was_not_scored_stands_as_it_stood() -> None:
    run = rows_table("run", [("q", "b", 2.0), ("q", "a", 1.0)])
    assert rankings(mixed(run, {}, 0.5, 9)) == {"q": [("b", -1.0), ("a", -2.0)]}


def test_by_its_order_alone_it_is_what_was_saved_before_there_were_shares(reranker: Path) -> None:
    one, half = (Reranked((BM25(),), Reranker(reranker), share=share) for share in (1.0, 0.5))
    assert one.digest == json_digest(["reranked", 50, Reranker(reranker).digest, BM25().digest]) != half.digest


def test_a_longer_passage_scores_as_its_best_window(reranker: Path) -> None:
    model = load_cross_encoder(reranker)
    # 64 tokens are read, three of them special; a query has room for a quarter
    assert passage_room(model) == 64 - 3 - 15
    assert passage_room(model, 16) == 64 - 3 - 30 and passage_room(model, 50) == 15
    words = ["gout", "lupus", "fever", "pain", "drug", "dose"]
    long = " ".join(words[at % 6] for at in range(60))
    corpus = table("corpus", {"doc_id": ["a", "b"], "title": ["child", ""], "text": [long, "pain"]})
    (first, second) = Reranker(reranker).scores([("gout", "a"), ("gout", "b")], corpus, Silent())
    said = ["child", *long.split()]
    # windows of 45 by 22, a token for the title, which the first has anyway
    windows = [" ".join(said[:45]), "child " + " ".join(said[16:61])]
    assert len(said) == 61
    plain = model.predict([("gout", window) for window in [*windows, "pain"]], activation_fn=nn.Identity()).tolist()
    assert first == pytest.approx(max(plain[:2]), abs=1e-5) and plain[0] != plain[1]
    assert second == pytest.approx(plain[2], abs=1e-5)


def test_saved_with_its_first_stage_it_finds_the_same(tiny_encoder: Path, reranker: Path, tmp_path: Path) -> None:
    encoders = Encoders(tmp_path / "store")
    first = Hybrid((BM25(), BiEncoder(tiny_encoder, Encoding("fp32", "torch"), encoders)))
    whole = Reranked((first,), Reranker(reranker), rescored=2, share=0.5)
    corpus = table(
        "corpus",
        {"doc_id": ["a", "b", "c"], "title": [""] * 3, "text": ["gout in a child", "lupus and fever", "pain of gout"]},
    )
    write_searchable(tmp_path / "kept", whole, corpus)
    saved = json.loads((tmp_path / "kept/retriever.json").read_text())
    assert saved == {"kind": "reranked", "rescored": 2, "share": 0.5, "parts": ["hybrid"]}
    found = load_searchable(tmp_path / "kept")
    assert found.retriever.digest == whole.digest
    assert load(tmp_path / "kept", Encoding("fp32", "torch"), encoders) == whole
    run = whole.search(whole.index(corpus, Silent()), {"q": "what is gout"}, 3, Silent())
    asked = found.search("what is gout", 3)
    assert [each.doc_id for each in asked] == [doc_id for doc_id, _ in rankings(run)["q"]]
    # two were scored by it, and the last stands one below them
    assert asked[2].score == pytest.approx(asked[1].score - 1, abs=1e-5)
    load_cross_encoder(tmp_path / "kept/reranker")


def test_a_folder_that_was_damaged_is_refused(reranker: Path, tmp_path: Path) -> None:
    Reranked((BM25(),), Reranker(reranker)).save(tmp_path / "kept")
    manifest = tmp_path / "kept/retriever.json"
    manifest.write_text('{"kind": "reranked", "rescored": 0, "parts": ["bm25"]}')
    with pytest.raises(InputError, match="cannot rescore 0 passages; give 1 or more"):
        load(tmp_path / "kept", Encoding(), Encoders(tmp_path))
    for share in ("0", "1.5", '"all"', "true"):
        manifest.write_text(f'{{"kind": "reranked", "share": {share}, "parts": ["bm25"]}}')
        with pytest.raises(InputError, match=r"the share of a reranker cannot be .*; give more than 0 and at most 1"):
            load(tmp_path / "kept", Encoding(), Encoders(tmp_path))
    manifest.write_text('{"kind": "reranked", "rescored": 9, "parts": []}')
    with pytest.raises(InputError, match="names 0 parts, and of that kind is one"):
        load(tmp_path / "kept", Encoding(), Encoders(tmp_path))


def test_a_bi_encoder_becomes_a_cross_encoder_with_a_head_that_the_seed_decides(tiny_encoder: Path) -> None:
    one, again, other = (start_cross_encoder(tiny_encoder, seed) for seed in (1, 1, 2))
    heads = [model.model.classifier.weight.tolist() for model in (one, again, other)]
    assert heads[0] == heads[1] != heads[2]
    body = [model.model.bert.embeddings.word_embeddings.weight for model in (one, other)]
    assert body[0].equal(body[1]) and one.num_labels == 1


def test_a_missing_pooler_is_drawn_with_the_seed_too(tiny_encoder: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_encoder, tmp_path / "model")
    (weights,) = (tmp_path / "model").rglob("model.safetensors")
    kept = {name: value for name, value in load_file(weights).items() if "pooler" not in name}
    assert len(kept) < len(load_file(weights))
    save_file(kept, weights, metadata={"format": "pt"})
    one, again, other = (start_cross_encoder(tmp_path / "model", seed) for seed in (1, 1, 2))
    poolers = [model.model.bert.pooler.dense.weight.tolist() for model in (one, again, other)]
    assert poolers[0] == poolers[1] != poolers[2]


def test_what_cannot_be_one_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5gemma-of-nobody"}')
    with pytest.raises(InputError, match=r"no cross-encoder can be made of .*Give --reranker-model another folder"):
        start_cross_encoder(tmp_path, 1)
