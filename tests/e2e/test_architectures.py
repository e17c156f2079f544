"""Bases of every make: random models of the architectures that people bring run the whole path, one on long texts."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peft import PeftModel
from sentence_transformers import SentenceTransformer

from denizen.api import adapt
from denizen.engine.errors import InputError
from denizen.recipes.config import AdaptConfig
from denizen.retrievers.backbone import Backbone
from denizen.retrievers.loading import load_encoder, locate
from tests.tiny_models import ARCHITECTURES, LLMS, tiny_llm, tiny_model

from .conftest import SETTINGS

# what dev says is taken, and the arithmetic is that of this machine, as a user has it
_AS_USERS = {**SETTINGS, "rounds": 1, "epochs": 6.0, "learning_rate": 3e-3, "precision": "auto"}
_KEPT = ("config.json", "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")


def run(pairs: Path, model: Path, out: Path, **settings: Any) -> dict[str, Any]:
    return adapt(AdaptConfig(str(pairs), model=str(model), **{**_AS_USERS, **settings}), out)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_base_is_adapted_gated_and_shipped(architecture: str, pairs: Path, forgettable: Path, tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", architecture)
    # a limit that no student keeps: merges of this architecture are measured, too
    report = run(pairs, base, tmp_path / "run", general=(str(forgettable),), forgetting_limit=0.0, merge_evaluations=2)
    student, causal = tmp_path / "run/round-0/student", architecture == "qwen3"
    losses = [loss for _, loss in json.loads((student / "step.json").read_text())["facts"]["loss"]]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert set(report["gate"]["sets"]) == {"forgettable"}
    # what was trained on so little need not be better than it was
    assert bool(report["gate"]["points"]) is (report["best_round"] > 0) and (report["best_round"] or causal)
    before, after = (SentenceTransformer(str(folder), device="cpu") for folder in (base, student))
    texts = ["what is gout", "lupus is treated with a drug " * 3]
    one, other = (model.encode_document(texts) for model in (before, after))
    assert np.isfinite(other).all() and one.shape == other.shape and np.abs(one - other).max() > 1e-3
    for name in _KEPT:
        assert json.loads((student / name).read_text()) == json.loads((base / name).read_text()), name
    assert after.tokenizer.padding_side == before.tokenizer.padding_side
    shipped = SentenceTransformer(str(tmp_path / "run/model"), device="cpu")
    assert shipped.encode_document(texts).shape == one.shape


# in two rounds adapters go on from those of the first
@pytest.mark.parametrize(
    "architecture", [name if name == "llama" else pytest.param(name, marks=pytest.mark.slow) for name in LLMS]
)
def test_a_decoder_only_llm_is_adapted_by_adapters(architecture: str, pairs: Path, tmp_path: Path) -> None:
    llm = tiny_llm(tmp_path / "llm", architecture)
    how = {"attention": "bidirectional", "pooling": "mean"} if architecture == "mistral" else {}
    report = run(pairs, llm, tmp_path / "run", rounds=2, **how)
    for place in ("round-0/student", "round-1/student"):
        facts = json.loads((tmp_path / "run" / place / "step.json").read_text())["facts"]
        assert facts["lora_rank"] == 16 and np.isfinite([loss for _, loss in facts["loss"]]).all()
    base, last = (
        load_encoder(folder) for folder in (locate(str(llm), Backbone(**how)), tmp_path / "run/round-1/student")
    )
    texts = ["what is gout", "lupus is treated with a drug " * 3]
    merged = last.encode_document(texts)
    # the adapter of the second round is of the base itself
    PeftModel.from_pretrained(base[0].auto_model, str(tmp_path / "run/round-1/student/adapter"))
    assert (base.encode_document(texts) * merged).sum(axis=1).min() > 0.9999
    shipped = SentenceTransformer(str(tmp_path / "run/model"), device="cpu")
    assert shipped.prompts["query"].endswith("Query: ") and shipped.encode_document(texts).shape == merged.shape
    assert report["config"]["lora_rank"] == -1


@pytest.mark.slow
def test_a_long_passage_is_read_and_trained_on_to_the_models_limit(pairs: Path, tmp_path: Path) -> None:
    base = tiny_model(tmp_path / "base", "modernbert", tokens=8192)
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    random.seed(7)
    # words of a few letters are as many tokens each, so that this is about three times the limit
    rows[0]["answer"] += " " + " ".join(random.choices([row["answer"].split()[0] for row in rows], k=6000))
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:40]))
    whole = {"max_tokens": 0, "windows": "whole", "epochs": 1.0, "passage_chars": 1_000_000, "split": "random"}
    whole |= {"batch_size": 4}
    report = run(tmp_path / "long.jsonl", base, tmp_path / "run", **whole)
    assert np.isfinite([loss for _, loss in _losses(tmp_path / "run")]).all()
    model = load_encoder(tmp_path / "run/round-0/student")
    assert model.max_seq_length == 8192
    features = model.preprocess([rows[0]["answer"]])
    assert features["input_ids"].shape == (1, 8192)
    assert report["data"]["passages"] == 40


def _losses(out: Path) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = json.loads((out / "round-0/student/step.json").read_text())["facts"]["loss"]
    return found


def test_a_tokenizer_that_cannot_pad_is_refused_saying_what_to_do(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path, "qwen3")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": None}))
    with pytest.raises(InputError, match=r"has no pad_token.*tokenizer\.eos_token"):
        load_encoder(folder)
