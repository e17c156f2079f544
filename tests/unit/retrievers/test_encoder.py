"""Finding, loading and using a bi-encoder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from denizen.engine.errors import InputError
from denizen.retrievers import backends, encoder
from denizen.retrievers.backends import Backend, Features, make
from denizen.retrievers.cpu.token_batches import token_batches
from denizen.retrievers.encoder import Encoder
from denizen.retrievers.loading import Kind, load_encoder, locate, prompts_of
from tests.tiny_models import tiny_model


def encode(model: SentenceTransformer, texts: list[str], kind: Kind, backend: str = "torch-fp32") -> np.ndarray:
    return encoder.encode(model, texts, kind, make(backend, model))


TEXTS = [f"gout and fever {'pain ' * at}" for at in range(40)]


def test_encoding_gives_what_the_model_itself_gives_in_the_order_of_the_texts(tiny_encoder: Path) -> None:
    model = load_encoder(tiny_encoder)
    assert np.allclose(encode(model, TEXTS, "document"), model.encode(TEXTS), atol=1e-6)


def test_texts_that_are_padded_on_the_left_share_batches_by_their_tokens(tmp_path: Path) -> None:
    model = load_encoder(tiny_model(tmp_path, "qwen3"))
    assert model.tokenizer.padding_side == "left"
    assert np.allclose(encode(model, TEXTS, "document"), model.encode_document(TEXTS), atol=1e-5)
    texts = [f"{'pain' * (at % 9)}." for at in range(200)]
    masks = [features["attention_mask"] for _, features in token_batches(model, texts, "", "document")]
    # the longest first, and no batch wider than its longest text
    assert (
        [mask.shape[1] for mask in masks]
        == [int(mask.sum(dim=1).max()) for mask in masks]
        == sorted((mask.shape[1] for mask in masks), reverse=True)
    )
    assert sum(len(mask) for mask in masks) == 200 and len(masks) > 1 and masks[-1].shape[1] < 34


def test_bf16_stays_close_to_fp32(tiny_encoder: Path) -> None:
    model = load_encoder(tiny_encoder)
    cosines = (encode(model, TEXTS, "query", "torch-bf16") * encode(model, TEXTS, "query")).sum(axis=1)
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
    assert prompts_of(model) == {"query": query, "document": document}
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


def test_an_encoder_computes_each_text_once_and_gives_what_the_model_gives(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []
    real = encoder.encode

    def counted(model: SentenceTransformer, texts: list[str], *rest: object) -> np.ndarray:
        computed.extend(texts)
        return real(model, texts, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(encoder, "encode", counted)
    done: list[int] = []
    first = Encoder(tiny_encoder, tmp_path).encode([*TEXTS[:20], *TEXTS[:5]], "document", done.append)
    assert np.allclose(first, load_encoder(tiny_encoder).encode([*TEXTS[:20], *TEXTS[:5]]), atol=1e-6)
    assert (len(computed), sum(done)) == (20, 25)
    grown = Encoder(tiny_encoder, tmp_path).encode(TEXTS[::-1], "document")
    assert sorted(computed) == sorted(TEXTS)
    assert np.allclose(grown, load_encoder(tiny_encoder).encode(TEXTS[::-1]), atol=1e-6)


def test_two_students_of_the_same_name_never_share_a_vector(tiny_encoder: Path, tmp_path: Path) -> None:
    student = tmp_path / "student"
    store = tmp_path / "store"
    shutil.copytree(tiny_encoder, student)
    before = Encoder(student, store).encode(TEXTS, "document")[:]
    shutil.rmtree(student)
    other = load_encoder(tiny_encoder)
    with torch.no_grad():
        for weights in other.parameters():
            weights.add_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)))
    other.save_pretrained(str(student), create_model_card=False)
    after = Encoder(student, store).encode(TEXTS, "document")[:]
    assert np.allclose(after, other.encode(TEXTS), atol=1e-6)
    assert not np.allclose(after, before, atol=1e-3)


@pytest.mark.parametrize("change", ["prompts", "max_seq_length", "similarity_fn_name"])
def test_another_prompt_or_length_or_similarity_is_another_encoder(
    change: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    student = tmp_path / "student"
    shutil.copytree(tiny_encoder, student)
    Encoder(student, tmp_path / "store").encode(TEXTS, "document")
    model = load_encoder(student)
    if change == "prompts":
        model.prompts = {"document": "read: "}
    elif change == "max_seq_length":
        model.max_seq_length = 4
    else:
        model.similarity_fn_name = "dot"
    shutil.rmtree(student)
    model.save_pretrained(str(student), create_model_card=False)
    exact = make("torch-fp32", load_encoder(student))
    expected = encoder.encode(load_encoder(student), TEXTS, "document", exact)
    assert np.allclose(Encoder(student, tmp_path / "store").encode(TEXTS, "document"), expected, atol=1e-6)
    assert len(list((tmp_path / "store").iterdir())) == 2


def wrong_without_mask(name: str, model: SentenceTransformer) -> Backend:
    """A backend as a naive export makes it: padding counts as text."""
    exact = make("torch-fp32", model)

    def embed(features: Features) -> np.ndarray:
        return exact.embed({**features, "attention_mask": torch.ones_like(features["attention_mask"])})

    return Backend(name, embed, 1)


def failing(name: str, model: SentenceTransformer) -> Backend:
    raise RuntimeError("no such operation")


@pytest.mark.parametrize(("made", "why"), [(wrong_without_mask, "parity gate"), (failing, "no such operation")])
def test_a_backend_that_is_wrong_or_fails_is_not_used_and_said(
    made: Callable[[str, SentenceTransformer], Backend],
    why: str,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # only candidates are built by that name; fp32 torch is built by the encoder itself
    monkeypatch.setattr(backends, "make", made)
    found = Encoder(tiny_encoder, tmp_path, backend="torch", precision="bf16")
    vectors = found.encode(TEXTS, "document")
    assert found.backend == "torch-fp32"
    assert len(found.notes) == 1 and why in found.notes[0] and "torch-bf16" in found.notes[0]
    assert np.allclose(vectors, load_encoder(tiny_encoder).encode(TEXTS), atol=1e-6)


MANY = [f"{text} {at}" for at in range(25) for text in TEXTS]


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of every backend for which the gate compares vectors."""
    compared: list[str] = []
    real = backends.make
    monkeypatch.setattr(backends, "make", lambda name, model: compared.append(name) or real(name, model))
    return compared


def test_what_a_few_texts_decided_does_not_bind_many(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "bf16_is_native", lambda: True)
    monkeypatch.setattr(backends, "_installed", lambda library: False)
    few, many = Encoder(tiny_encoder, tmp_path), Encoder(tiny_encoder, tmp_path)
    few.encode(TEXTS, "document")
    many.encode(MANY, "document")
    assert (few.backend, many.backend) == ("torch-fp32", "torch-bf16")


def test_the_gate_is_passed_once_and_anew_in_another_environment(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = counting(monkeypatch)
    for _ in range(2):
        Encoder(tiny_encoder, tmp_path, backend="torch", precision="bf16").encode(TEXTS, "document")
    assert compared == ["torch-bf16"]
    monkeypatch.setattr(backends, "_processor", lambda: "another processor")
    again = Encoder(tiny_encoder, tmp_path, backend="torch", precision="bf16")
    again.encode(TEXTS, "document")
    assert compared == ["torch-bf16", "torch-bf16"]
    # the other machine's vectors are not taken for this one's
    assert len(list(next(tmp_path.iterdir()).glob("torch-bf16-*/keys.bin"))) == 2


def test_a_backend_that_a_run_began_with_is_kept_or_refused(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model does not train on one backend's mining before a kill and on another's after it."""
    same = Encoder(tiny_encoder, tmp_path, backend="torch-bf16")
    same.encode(TEXTS, "document")
    assert same.backend == "torch-bf16"
    monkeypatch.setattr(backends, "make", failing)
    with pytest.raises(InputError, match=r"torch-bf16 was used before and cannot be used here .*no such operation"):
        Encoder(tiny_encoder, tmp_path / "other", backend="torch-bf16").encode(TEXTS, "document")


def test_processes_that_choose_at_once_agree(tiny_encoder: Path, tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from denizen.retrievers.encoder import Encoder; "
        "e = Encoder(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), backend='torch', precision='bf16'); "
        "v = e.encode([f'gout {at}' for at in range(30)], 'document')[:]; print(e.backend, v.shape, abs(v).sum())"
    )
    command = [sys.executable, "-c", program, str(tiny_encoder), str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = {process.communicate()[0] for process in running}
    assert len(told) == 1 and told.pop().startswith("torch-bf16 (30, 32)")


def test_a_model_that_changes_while_it_is_in_use_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder, tmp_path / "model")
    found = Encoder(tmp_path / "model", tmp_path / "store")
    (tmp_path / "model" / "modules.json").write_text(
        (tmp_path / "model" / "modules.json").read_text(encoding="utf-8") + "\n", encoding="utf-8"
    )
    with pytest.raises(InputError, match="has changed while it was in use"):
        found.encode(TEXTS, "document")


def test_embeddings_that_are_no_numbers_are_refused_and_not_stored(tiny_encoder: Path, tmp_path: Path) -> None:
    model = load_encoder(tiny_encoder)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    model.save_pretrained(str(tmp_path / "model"), create_model_card=False)
    with pytest.raises(InputError, match=r"no finite embedding for 40 text\(s\), the first of them 'gout and fever"):
        Encoder(tmp_path / "model", tmp_path / "store").encode(TEXTS, "document")
    assert not list((tmp_path / "store").rglob("keys.bin"))


def test_the_length_of_a_text_may_be_one_of_the_model_s_inputs(tiny_encoder: Path) -> None:
    """Features that are a row a text, yet not one per token, belong to the texts of their batch."""
    model = load_encoder(tiny_encoder)
    real = model.preprocess
    seen: list[tuple[int, int]] = []

    def with_lengths(texts: list[str], **options: object) -> Features:
        features = real(texts, **options)
        return {**features, "sentence_lengths": features["attention_mask"].sum(dim=1)}

    model.preprocess = with_lengths  # type: ignore[method-assign]
    exact = make("torch-fp32", model)

    def embed(features: Features) -> np.ndarray:
        seen.extend(
            zip(features["sentence_lengths"].tolist(), features["attention_mask"].sum(dim=1).tolist(), strict=True)
        )
        return exact.embed(features)

    encoder.encode(model, TEXTS, "document", Backend("seen", embed, 1))
    assert len(seen) == len(TEXTS) and all(length == counted for length, counted in seen)
