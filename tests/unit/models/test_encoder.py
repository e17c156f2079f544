"""Finding, loading and using a bi-encoder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from denizen.core.errors import InputError
from denizen.models.encoder import encode, load_encoder, locate, prompts_of

TEXTS = [f"gout and fever {'pain ' * at}" for at in range(40)]


def test_encoding_gives_what_the_model_itself_gives_in_the_order_of_the_texts(tiny_encoder: Path) -> None:
    model = load_encoder(tiny_encoder)
    assert np.allclose(encode(model, TEXTS, "document"), model.encode(TEXTS), atol=1e-6)


def test_bf16_stays_close_to_fp32(tiny_encoder: Path) -> None:
    model = load_encoder(tiny_encoder)
    cosines = (encode(model, TEXTS, "query", bf16=True) * encode(model, TEXTS, "query")).sum(axis=1)
    assert cosines.min() > 0.999


def test_no_text_gives_no_vectors(tiny_encoder: Path) -> None:
    assert encode(load_encoder(tiny_encoder), [], "query").shape == (0, 32)


def test_a_cosine_model_without_a_normalize_module_is_searched_by_cosine(tiny_encoder: Path, tmp_path: Path) -> None:
    inner = load_encoder(tiny_encoder)
    inner[0].save(str(tmp_path))
    bare = SentenceTransformer(modules=[inner[0], Pooling(32, pooling_mode="mean")], similarity_fn_name="cosine")
    bare.save_pretrained(str(tmp_path / "bare"), create_model_card=False)
    model = load_encoder(tmp_path / "bare")
    assert isinstance(model[0], Transformer) and len(model) == 2
    assert np.allclose(np.linalg.norm(encode(model, TEXTS, "document"), axis=1), 1, atol=1e-5)
    model.similarity_fn_name = "dot"
    assert not np.allclose(np.linalg.norm(encode(model, TEXTS, "document"), axis=1), 1, atol=1e-2)


def test_half_precision_weights_are_loaded_as_floats(tiny_encoder: Path, tmp_path: Path) -> None:
    half = SentenceTransformer(str(tiny_encoder)).half()
    half.save_pretrained(str(tmp_path / "half"), create_model_card=False)
    assert {weights.dtype for weights in load_encoder(tmp_path / "half").parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("prompts", "query", "document"),
    [
        ({}, "", ""),
        ({"query": "ask: ", "document": "read: "}, "ask: ", "read: "),
        ({"query": "ask: ", "passage": "read: "}, "ask: ", ""),
    ],
)
def test_prompts_are_those_that_the_model_itself_uses(
    prompts: dict[str, str], query: str, document: str, tiny_encoder: Path
) -> None:
    model = load_encoder(tiny_encoder)
    model.prompts = {**model.prompts, **prompts}
    found = prompts_of(model)
    assert (found.query, found.document) == (query, document)
    assert np.allclose(encode(model, ["gout"], "query"), model.encode([query + "gout"], prompt=""), atol=1e-6)
    assert np.allclose(encode(model, ["gout"], "document"), model.encode([document + "gout"], prompt=""), atol=1e-6)


def test_a_folder_without_modules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no sentence-transformers model"):
        locate(str(tmp_path))


def test_a_model_that_is_nowhere_is_refused_without_a_network() -> None:
    with pytest.raises(InputError, match="neither a folder nor a model that could be fetched"):
        locate("nobody/no-such-model")


def test_a_model_that_compares_by_distance_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(tiny_encoder))
    model.similarity_fn_name = "euclidean"
    model.save_pretrained(str(tmp_path / "model"), create_model_card=False)
    with pytest.raises(InputError, match="compares by euclidean; retrieval here is by cosine or dot product"):
        load_encoder(tmp_path / "model")


def test_a_tokenizer_without_its_vocabulary_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder, tmp_path / "model")
    for name in ("tokenizer.json", "vocab.txt"):
        (tmp_path / "model" / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"its vocabulary is missing|cannot be loaded"):
        load_encoder(tmp_path / "model")


def test_damaged_weights_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be loaded as a sentence-transformers model"):
        load_encoder(tmp_path / "model")
