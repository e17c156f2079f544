"""Decoder-only LLMs read as bi-encoders: what is saved, any padding with the same vectors, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from denizen.engine.errors import InputError
from denizen.engine.user_cache import cache
from denizen.retrievers import backends
from denizen.retrievers.backbone import Backbone
from denizen.retrievers.encoder import encode
from denizen.retrievers.loading import load_encoder, locate
from denizen.retrievers.model_folder import is_decoder, is_llm
from tests.tiny_gguf import tiny_gguf
from tests.tiny_models import LLMS, tiny_llm, tiny_model

TEXTS = ["gout", "what is lupus treated with", "a drug for a child with fever and pain " * 3]


def vectors(folder: Path, texts: list[str] = TEXTS, **options: Any) -> np.ndarray[Any, Any]:
    return np.asarray(SentenceTransformer(str(folder), device="cpu").encode_document(texts, **options))


@pytest.mark.parametrize("architecture", LLMS)
@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_a_text_has_one_vector_whatever_it_is_padded_with(architecture: str, attention: Any, tmp_path: Path) -> None:
    folder = locate(str(tiny_llm(tmp_path / "llm", architecture)), Backbone(attention=attention))
    assert is_decoder(folder) and not is_llm(folder)
    together = vectors(folder)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors(folder, batch_size=1), together, atol=1e-4)
    left = SentenceTransformer(str(folder), device="cpu")
    assert left.tokenizer.padding_side == "right"
    left.tokenizer.padding_side = "left"
    np.testing.assert_allclose(left.encode_document(TEXTS), together, atol=1e-4)
    model = load_encoder(folder)
    for name, close in (("torch-fp32", 1e-4), ("torch-bf16", 0.1)):
        found = encode(model, TEXTS, "document", backends.make(name, model))
        np.testing.assert_allclose(found, together, atol=close, err_msg=name)


def test_a_token_sees_those_behind_it_in_bidirectional_attention_alone(tmp_path: Path) -> None:
    llm = str(tiny_llm(tmp_path / "llm"))
    for attention, sees in (("causal", False), ("bidirectional", True)):
        model = load_encoder(locate(llm, Backbone(attention=attention)))  # type: ignore[arg-type]
        first = [model.encode(text, output_value="token_embeddings")[0] for text in ("gout", "goat")]
        assert bool(torch.allclose(first[0], first[1], atol=1e-5)) is not sees
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            ours = backends.make("torch-bf16", model).embed(model.preprocess(["gout hurts"]))
        assert (ours @ model.encode(["gout hurts"]).T).item() > 0.99


def test_the_vector_is_that_of_the_end_and_texts_begin_with_what_they_are(tmp_path: Path) -> None:
    folder = locate(str(tiny_llm(tmp_path / "llm", bos_token="<s>")), Backbone(instruction="Find it."))
    model = SentenceTransformer(str(folder), device="cpu")
    assert model.prompts == {"query": "Find it.\nQuery: ", "document": "Represent this passage\npassage: "}
    assert model.max_seq_length == 64 and model.similarity_fn_name == "cosine"
    for text in ("gout", "gout " * 60):
        assert model.preprocess([text])["input_ids"][0, -1] == model.tokenizer.eos_token_id
    # no message of a chat, although the LLM had a template for that
    assert model.tokenizer.chat_template is None and model.preprocess(["gout"])["input_ids"].shape == (1, 5)
    last = model.encode("gout", output_value="token_embeddings")[-1]
    np.testing.assert_allclose(model.encode("gout"), last / last.norm(), atol=1e-5)
    mean = SentenceTransformer(str(locate(str(tmp_path / "llm"), Backbone(pooling="mean"))), device="cpu")
    whole = mean.encode("gout", output_value="token_embeddings").mean(dim=0)
    np.testing.assert_allclose(mean.encode("gout"), whole / whole.norm(), atol=1e-5)


def test_what_an_llm_begins_texts_with_stays(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    llm = tiny_llm(tmp_path / "llm", bos_token="<s>")
    tokenizer = AutoTokenizer.from_pretrained(llm)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 0)])
    tokenizer.save_pretrained(llm)
    model = load_encoder(locate(str(llm)))
    assert model.preprocess(["gout"])["input_ids"][0, [0, -1]].tolist() == [0, 1]


def test_a_gguf_file_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tiny_gguf(tmp_path / "tiny.gguf")
    folder = locate(str(file))
    assert folder.parent == cache() / "backbones"
    weights = load_encoder(folder)[0].auto_model
    assert {parameter.dtype for parameter in weights.parameters()} == {torch.float32}
    assert vectors(folder).shape == (3, 64)
    monkeypatch.setattr("denizen.retrievers.backbone._made", None)
    moved = file.rename(tmp_path / "moved.gguf")
    assert locate(str(moved)) == folder


def test_what_cannot_be_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no eos_token, .*set one"):
        locate(str(tiny_llm(tmp_path / "endless", eos_token=None)))
    (tmp_path / "none.gguf").write_bytes(b"GGUF and nothing else")
    with pytest.raises(InputError, match=r"none\.gguf cannot be read as a decoder-only LLM: .*architecture"):
        locate(str(tmp_path / "none.gguf"))
    llm = tiny_llm(tmp_path / "strange")
    config = json.loads((llm / "config.json").read_text())
    (llm / "config.json").write_text(json.dumps({**config, "model_type": "strange"}))
    with pytest.raises(InputError, match="model_type 'strange' is unknown"):
        locate(str(llm))
    encoder = tiny_model(tmp_path / "encoder", "bert")
    with pytest.raises(InputError, match=r"pooling, instruction do nothing with .*encoder/model, which is saved"):
        locate(str(encoder), Backbone(pooling="mean", instruction="Find."))
    assert not [*(cache() / "backbones").glob(".making*")]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DENIZEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set DENIZEN_CACHE to another folder"):
        locate(str(tiny_llm(tmp_path / "llm")))


def test_encoders_are_no_decoders(tmp_path: Path) -> None:
    assert [is_decoder(tiny_model(tmp_path / kind, kind)) for kind in ("bert", "modernbert", "qwen3")] == [
        False,
        False,
        True,
    ]
