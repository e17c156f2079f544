"""Retrievers as folders: saved, found by name, loaded; and what is no retriever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from denizen.engine.errors import InputError
from denizen.retrievers.backbone import Backbone
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.loading import load_encoder, locate
from denizen.retrievers.saved import find, find_all, find_each, load
from tests.tiny_models import tiny_llm


@pytest.fixture
def encoders(tmp_path: Path) -> Encoders:
    """Where nothing is kept yet."""
    return Encoders(tmp_path / "store")


@pytest.fixture
def saved(tiny_encoder: Path, encoders: Encoders, tmp_path: Path) -> Path:
    """The folder of a hybrid of BM25 and the tiny encoder."""
    Hybrid((BM25(), BiEncoder(tiny_encoder, Encoding(), encoders)), constant=7).save(tmp_path / "hybrid")
    return tmp_path / "hybrid"


def test_a_hybrid_comes_back_and_its_model_stands_by_itself(
    saved: Path, tiny_encoder: Path, encoders: Encoders
) -> None:
    assert json.loads((saved / "retriever.json").read_text()) == {
        "kind": "hybrid",
        "fusion": "rrf",
        "constant": 7,
        "weights": [1.0, 1.0],
        "parts": ["bm25", "model"],
    }
    encoding = Encoding(precision="fp32")
    found = load(saved, encoding, encoders)
    assert found == Hybrid((BM25(), BiEncoder(tiny_encoder, encoding, encoders)), constant=7)
    load_encoder(saved / "model")
    assert find(str(saved)) == saved and find(str(saved / "model")) == saved / "model"
    assert load(saved / "model", encoding, encoders) == found.parts[1]


def test_fusion_and_weights_come_back_and_without_them_it_is_by_rank(
    saved: Path, encoders: Encoders, tmp_path: Path
) -> None:
    found = load(saved, Encoding(), encoders)
    convex = Hybrid(found.parts, fusion="convex", weights=(0.3, 0.7))
    convex.save(tmp_path / "convex")
    assert load(tmp_path / "convex", Encoding(), encoders) == convex
    (saved / "retriever.json").write_text('{"kind": "hybrid", "constant": 7, "parts": ["bm25", "model"]}')
    assert load(saved, Encoding(), encoders) == found


def test_the_language_of_bm25_comes_back_and_without_one_it_is_english(encoders: Encoders, tmp_path: Path) -> None:
    BM25("de").save(tmp_path / "german")
    assert load(tmp_path / "german", Encoding(), encoders) == BM25("de")
    (tmp_path / "german/retriever.json").write_text('{"kind": "bm25", "parts": []}')
    assert load(tmp_path / "german", Encoding(), encoders) == BM25("en")


def test_parts_of_one_kind_have_folders_of_their_own(tiny_encoder: Path, encoders: Encoders, tmp_path: Path) -> None:
    model = BiEncoder(tiny_encoder, Encoding(), encoders)
    whole = Hybrid((model, Hybrid((BM25(), model)), model))
    whole.save(tmp_path / "nested")
    assert json.loads((tmp_path / "nested/retriever.json").read_text())["parts"] == ["model", "hybrid", "model-2"]
    assert load(tmp_path / "nested", Encoding(), encoders) == whole


def test_what_needs_a_model_says_which_part_is_one(saved: Path) -> None:
    with pytest.raises(InputError, match=r"of several parts; give the model among them, such as .*hybrid/model"):
        locate(str(saved))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not JSON", "of the kind 'None'; there are bi-encoder, bm25, concatenated"),
        ("[]", "of the kind 'None'"),
        ('{"kind": ["hybrid"]}', "there are bi-encoder, bm25, concatenated"),
        ('{"kind": "router", "parts": []}', "of the kind 'router'"),
        ('{"kind": "hybrid", "parts": ["bm25"]}', "at least 2 parts"),
        ('{"kind": "hybrid", "parts": ["bm25", "model"], "constant": "60"}', "a whole number"),
        ('{"kind": "hybrid", "parts": ["bm25", "gone"]}', "the part 'gone', which is no folder beside it"),
        ('{"kind": "hybrid", "parts": ["bm25", "../hybrid/model"]}', "is no folder beside it"),
        ('{"kind": "hybrid", "parts": ["bm25", ".."]}', "is no folder beside it"),
        ('{"kind": "hybrid", "parts": ["bm25", ""]}', "is no folder beside it"),
        ('{"kind": "hybrid", "parts": ["bm25", 7]}', "is no folder beside it"),
        ('{"kind": "hybrid", "parts": 7}', "is no folder beside it"),
        ('{"kind": "hybrid", "parts": ["bm25", "model"], "fusion": ["rrf"]}', "no fusion"),
        ('{"kind": "hybrid", "parts": ["bm25", "model"], "weights": {"bm25": 1}}', "cannot weigh them"),
        ('{"kind": "bm25", "language": "german"}', "'german' is no code of two letters"),
    ],
)
def test_damaged_folders_are_refused(saved: Path, encoders: Encoders, content: str, message: str) -> None:
    (saved / "retriever.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load(saved, Encoding(), encoders)


def test_a_part_that_holds_no_model_is_refused(saved: Path, encoders: Encoders) -> None:
    (saved / "model/modules.json").unlink()
    with pytest.raises(InputError, match="is no sentence-transformers model"):
        load(saved, Encoding(), encoders)


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["runs/a/model", "runs/b/model"], ["a", "b"]),
        (["one/tuned", "two/tuned", "three/tuned"], ["tuned", "tuned-2", "tuned-3"]),
        (["bm25"], ["bm25-2"]),
        (["my model"], ["my_model"]),
    ],
)
def test_names_are_short_and_distinct(
    folders: list[str], names: list[str], tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in folders:
        shutil.copytree(tiny_encoder, folder)
    assert list(find_all(folders)) == names


def test_what_is_given_twice_is_refused(tiny_encoder: Path, saved: Path) -> None:
    for folder in (tiny_encoder, saved):
        with pytest.raises(InputError, match="is given twice"):
            find_all([str(folder), f"{folder}/../{folder.name}"])


def test_a_way_of_reading_is_for_the_llms_among_models(tiny_encoder: Path, tmp_path: Path) -> None:
    llm = str(tiny_llm(tmp_path / "llm"))
    usual, encoder = find_each([llm, str(tiny_encoder)], {})
    read, again = find_each([llm, str(tiny_encoder)], {"pooling": "mean", "instruction": "Find it."})
    assert encoder == again == tiny_encoder and usual == locate(llm)
    assert read == locate(llm, Backbone(pooling="mean", instruction="Find it.")) != usual
    with pytest.raises(InputError, match="pooling does nothing with"):
        find_each([str(tiny_encoder)], {"pooling": "mean"})
    with pytest.raises(InputError, match="unknown settings"):
        find_each([llm], {"pool": "mean"})
