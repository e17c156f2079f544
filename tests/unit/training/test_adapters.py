"""Adapters: that folding them in gives what was trained, that a training goes on with them, and whose they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from denizen.engine.errors import InputError
from denizen.retrievers.adapted import ADAPTER
from denizen.retrievers.loading import load_encoder, locate
from denizen.training.adapters import attach, of
from denizen.training.bi_encoder import train
from denizen.training.train import Training
from tests.tiny_models import tiny_llm
from tests.unit.training.test_bi_encoder import _data

TEXTS = ["what is gout", "lupus in a child", "a dose of a drug for fever"]
LORA = Training(epochs=4.0, batch_size=2, precision="fp32", learning_rate=1e-2, lora_rank=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return locate(str(tiny_llm(tmp_path_factory.mktemp("llm"), "qwen3")))


def trained(tmp_path: Path, start: Path, config: Training = LORA, base: Path | None = None) -> dict[str, Any]:
    (tmp_path / "scratch").mkdir(parents=True, exist_ok=True)
    return train(tmp_path / "out", start, _data(), config, None, None, tmp_path / "scratch", base=base)


def vectors(model: SentenceTransformer) -> np.ndarray[Any, Any]:
    return np.asarray(model.encode_document(TEXTS))


def test_the_adapter_on_its_base_is_the_model_that_is_saved(base: Path, tmp_path: Path) -> None:
    facts = trained(tmp_path, base)
    assert facts["lora_rank"] == 4 and facts["steps"] == 8
    merged = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    alone = load_encoder(base)
    before = vectors(alone)
    PeftModel.from_pretrained(alone[0].auto_model, str(tmp_path / "out" / ADAPTER))
    assert (vectors(alone) * vectors(merged)).sum(axis=1).min() > 0.9999
    assert np.abs(before - vectors(merged)).max() > 0.01
    # all seven kinds of linear layers, both layers
    assert len(load_file(tmp_path / "out" / ADAPTER / "adapter_model.safetensors")) == 2 * 7 * 2
    config = json.loads((tmp_path / "out" / ADAPTER / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (4, 8, None)
    # of seven names a set has one order in five thousand
    assert config["target_modules"] == sorted(config["target_modules"])
    written = (path.read_text(errors="replace") for path in (tmp_path / "out" / ADAPTER).iterdir())
    assert not any(str(base) in text for text in written)
    kept = ("config.json", "tokenizer_config.json", "tokenizer.json", "modules.json", "sentence_bert_config.json")
    for name in kept:
        assert (tmp_path / "out" / name).read_text() == (base / name).read_text(), name


def test_what_is_frozen_may_be_rounded_and_what_is_saved_is_not(base: Path, tmp_path: Path) -> None:
    trained(tmp_path, base, Training(**{**LORA.as_dict(), "precision": "bf16"}))
    before, after = (load_encoder(folder).state_dict() for folder in (base, tmp_path / "out"))
    norms = [name for name in before if "norm" in name]
    assert norms and all(torch.equal(before[name], after[name]) for name in norms)
    learnt = load_file(tmp_path / "out" / ADAPTER / "adapter_model.safetensors")
    name = "layers.0.mlp.up_proj"
    down, up = (learnt[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    whole = next(weights for key, weights in after.items() if key.endswith(f"{name}.weight"))
    own = next(weights for key, weights in before.items() if key.endswith(f"{name}.weight"))
    torch.testing.assert_close(whole, own + 2 * up.float() @ down.float())
    assert all(weights.dtype == torch.float32 for weights in after.values())


def test_a_training_that_was_stopped_ends_with_the_same_bytes(base: Path, tmp_path: Path) -> None:
    trained(tmp_path / "whole", base)
    checkpoints = tmp_path / "whole/scratch/checkpoints"
    *_, before_last = sorted(checkpoints.iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))[:-1]
    assert {"adapter.safetensors", "optimizer.pt"} <= {path.name for path in before_last.iterdir()}
    assert not [*before_last.glob("model*")]
    shutil.copytree(before_last, tmp_path / "again/scratch/checkpoints" / before_last.name)
    trained(tmp_path / "again", base)
    for name in ("model.safetensors", f"{ADAPTER}/adapter_model.safetensors", "tokenizer.json", "config.json"):
        one, other = ((tmp_path / which / "out" / name).read_bytes() for which in ("whole", "again"))
        assert one == other, name


def test_adapters_go_on_from_those_of_the_round_before(base: Path, tmp_path: Path) -> None:
    trained(tmp_path / "first", base)
    trained(tmp_path / "second", tmp_path / "first/out", base=base)
    first, second = (load_file(tmp_path / which / "out" / ADAPTER / "adapter_model.safetensors") for which in _ROUNDS)
    assert first.keys() == second.keys() and any(not torch.equal(first[name], second[name]) for name in first)
    alone = load_encoder(base)
    PeftModel.from_pretrained(alone[0].auto_model, str(tmp_path / "second/out" / ADAPTER))
    assert (vectors(alone) * vectors(load_encoder(tmp_path / "second/out"))).sum(axis=1).min() > 0.9999


_ROUNDS = ("first", "second")


def test_a_base_that_was_trained_by_adapters_itself_gets_new_ones(base: Path, tmp_path: Path) -> None:
    trained(tmp_path / "first", base)
    start = tmp_path / "first/out"
    # so slow that it learns nothing: what is folded into the start already must not be added once more
    trained(tmp_path / "second", start, Training(**{**LORA.as_dict(), "learning_rate": 1e-9}), base=start)
    np.testing.assert_allclose(vectors(load_encoder(tmp_path / "second/out")), vectors(load_encoder(start)), atol=1e-4)


def test_encoders_take_adapters_too(tiny_encoder: Path, tmp_path: Path) -> None:
    trained(tmp_path, tiny_encoder)
    before, after = (load_encoder(folder).state_dict() for folder in (tiny_encoder, tmp_path / "out"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.endswith("weight") and "embedding" not in name.lower() for name in changed)


def test_adapters_of_another_model_are_refused(base: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    trained(tmp_path, base)
    other = load_encoder(tiny_encoder)
    with pytest.raises(InputError, match=r"adapters \(those of .*\) do not fit the model: .*give the model"):
        attach(other, 4, tmp_path / "out" / ADAPTER)
    assert of(other) is None


@pytest.mark.parametrize(
    ("decoder", "weights", "rate", "rank"),
    [
        (False, 22_000_000, 1e-4, 0),
        (True, 135_000_000, 3e-3, 16),
        (True, 600_000_000, 5e-5, 16),
        (True, 2_000_000_000, 1e-5, 16),
        (True, 3_800_000_000, 2e-5, 16),
    ],
)
def test_rate_and_rank_go_by_the_model_unless_they_are_given(
    decoder: bool, weights: int, rate: float, rank: int
) -> None:
    meant = Training().of_size(decoder, weights)
    assert (meant.learning_rate, meant.lora_rank) == (rate, rank)
    # what is trained decides: all weights of a decoder by the rate of all weights, adapters of an encoder by theirs
    assert Training(lora_rank=0).of_size(True, 135_000_000).learning_rate == 1e-4
    assert Training(lora_rank=8).of_size(False, 22_000_000).learning_rate == 1e-3
    given = Training(learning_rate=3e-4, lora_rank=0)
    assert given.of_size(decoder, weights) == given
