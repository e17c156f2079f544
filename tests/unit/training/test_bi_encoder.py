"""Training sets, checkpoints, and what a training gives back; how well it learns is tested end to end."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sentence_transformers import SentenceTransformer

from denizen.data.tables import rows_table, table
from denizen.engine.errors import InputError
from denizen.training.bi_encoder import TrainingSet, token_limit, train, training_set
from denizen.training.train import Training
from denizen.training.trainer import last_checkpoint

QUICK = Training(epochs=1.0, batch_size=2, precision="fp32", learning_rate=1e-3)


def _tables() -> tuple[pa.Table, pa.Table, pa.Table]:
    corpus = table("corpus", {"doc_id": ["a", "b", "c"], "title": ["", "", "C"], "text": ["ta", "tb", "tc"]})
    queries = table("queries", {"query_id": ["q", "r"], "text": ["tq", "tr"]})
    rows = [
        {"query_id": "q", "positive_id": "a", "negative_ids": ["b", "c"], "kind": "hard", "reason": "", "round": 0},
        {"query_id": "r", "positive_id": "b", "negative_ids": ["c"], "kind": "hard", "reason": "", "round": 0},
    ]
    return rows_table("examples", rows), corpus, queries


def test_a_row_without_enough_negatives_repeats_its_positive_which_is_masked() -> None:
    examples, corpus, queries = _tables()
    related = {"q": frozenset({"a"}), "r": frozenset({"b"})}
    made = training_set(examples, corpus, queries, related, fill=True)
    assert made.columns["anchor"] == ["tq", "tr"]
    assert made.columns["positive"] == ["ta", "tb"]
    assert made.columns["negative_1"] == ["tb", "C tc"]
    assert made.columns["negative_2"] == ["C tc", "tb"]
    assert made.columns["label"] == [0, 1]
    mask = made.relevance.mask([0, 1])
    # columns: a b | b c | c b; row q keeps one b and one c, row r keeps its own b and one c
    assert mask.tolist() == [[False, False, True, False, True, True], [False, False, True, False, True, True]]


def test_without_filling_such_rows_are_dropped_and_counted() -> None:
    examples, corpus, queries = _tables()
    made = training_set(examples, corpus, queries, {"q": frozenset({"a"})}, fill=False)
    assert made.columns["anchor"] == ["tq"]
    assert made.dropped == 1


def test_values_are_what_the_teacher_says_and_what_nobody_scored_is_known_by_its_place() -> None:
    examples, corpus, queries = _tables()
    related = dict.fromkeys("qr", frozenset[str]())
    made = training_set(examples, corpus, queries, related, fill=True)
    np.testing.assert_array_equal(made.values, [[1, 0, 0], [1, 0, np.nan]])
    # a negative that was written beside is scored by nobody
    rows = [{**row, "teacher_scores": [0.9, 0.5]} for row in examples.to_pylist()]
    made = training_set(rows_table("examples", rows), corpus, queries, related, fill=True)
    np.testing.assert_allclose(made.values, [[0.9, 0.5, 0], [0.9, 0.5, np.nan]], rtol=1e-6)
    assert made.values.dtype == np.float32


def _data(rows: int = 4) -> TrainingSet:
    """Questions about what each passage is about."""
    words = ["gout", "lupus", "fever", "pain", "drug", "dose"][:rows]
    corpus = table("corpus", {"doc_id": words, "title": [""] * rows, "text": [f"{word} in a child" for word in words]})
    queries = table("queries", {"query_id": words, "text": [f"what is {word}" for word in words]})
    examples = [
        {"query_id": word, "positive_id": word, "negative_ids": [], "kind": "hard", "reason": "", "round": 0}
        for word in words
    ]
    related = {word: frozenset({word}) for word in words}
    return training_set(rows_table("examples", examples), corpus, queries, related, fill=True)


def _trained(tmp_path: Path, model: Path, data: TrainingSet, config: Training = QUICK, **given: Any) -> dict[str, Any]:
    (tmp_path / "scratch").mkdir(exist_ok=True)
    steps: list[int] = []
    facts = train(tmp_path / "out", model, data, config, None, given.get("anchors"), tmp_path / "scratch", steps.append)
    return {**facts, "told": steps}


def test_a_student_differs_from_its_start_in_its_weights_alone(tiny_encoder: Path, tmp_path: Path) -> None:
    """Training has its own dropout and length, which the model does not keep."""
    config = Training(**{**QUICK.as_dict(), "max_tokens": 16})
    facts = _trained(tmp_path, tiny_encoder, _data(), config)
    assert (facts["rows"], facts["dropped_rows"], facts["steps"]) == (4, 0, 2)
    assert [step for step, _ in facts["loss"]] == [1, 2] and sum(facts["told"]) == 2
    before, after = (SentenceTransformer(str(folder), device="cpu") for folder in (tiny_encoder, tmp_path / "out"))
    assert after.max_seq_length == before.max_seq_length == 64
    settings = [json.loads((folder / "config.json").read_text()) for folder in (tiny_encoder, tmp_path / "out")]
    assert settings[0]["hidden_dropout_prob"] == settings[1]["hidden_dropout_prob"] == 0.1
    weights = [model.state_dict() for model in (before, after)]
    assert weights[0].keys() == weights[1].keys()
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not (tmp_path / "out/README.md").exists()
    for checkpoint in (tmp_path / "scratch/checkpoints").iterdir():
        assert (checkpoint / "complete").is_file() and not (checkpoint / "README.md").exists()


def test_the_seed_decides_and_nothing_else(tiny_encoder: Path, tmp_path: Path) -> None:
    found = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        torch.manual_seed(len(found))
        config = Training(**{**QUICK.as_dict(), "seed": seed, "dropout": True})
        _trained(tmp_path / name, tiny_encoder, _data(), config)
        found.append((tmp_path / name / "out/model.safetensors").read_bytes())
    assert found[0] == found[1] != found[2]


def test_only_checkpoints_that_were_written_to_the_end_are_trusted(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "none") is None
    for step, whole in ((2, True), (10, True), (12, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}/model.safetensors").touch()
        if whole:
            (tmp_path / f"checkpoint-{step}/complete").touch()
    # by number and not by name
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-12").exists() and (tmp_path / "checkpoint-2").is_dir()


def test_one_example_is_too_few(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^1 training example\(s\) were mined; at least 2 are needed"):
        _trained(tmp_path, tiny_encoder, _data(1))
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_stops_the_training_with_the_remedy(tiny_encoder: Path, tmp_path: Path) -> None:
    broken = SentenceTransformer(str(tiny_encoder), device="cpu")
    with torch.no_grad():
        next(iter(broken.parameters())).fill_(float("nan"))
    broken.save_pretrained(str(tmp_path / "broken"), create_model_card=False)
    with pytest.raises(InputError, match=r"the loss became nan at step 1 of 2; lower learning_rate \(now 0\.001\)"):
        _trained(tmp_path, tmp_path / "broken", _data())


def test_a_student_has_the_configuration_of_its_base(tiny_encoder: Path, tmp_path: Path) -> None:
    """Else the two cannot be merged: the trainer takes over the end of text that tokenizers of decoders have."""
    base = SentenceTransformer(str(tiny_encoder), device="cpu")
    base.tokenizer.eos_token = "[SEP]"
    base.save_pretrained(str(tmp_path / "base"), create_model_card=False)
    _trained(tmp_path, tmp_path / "base", _data())
    own, student = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("base", "out"))
    assert student == own


@pytest.mark.parametrize(
    ("own", "max_tokens", "limit"), [(64, 16, 16), (64, 64, 0), (64, 0, 0), (None, 16, 0), (float("inf"), 16, 0)]
)
def test_training_cuts_where_the_model_itself_sees_more(own: float | None, max_tokens: int, limit: int) -> None:
    """A static embedding has no limit, and cuts nothing."""
    assert token_limit(SimpleNamespace(max_seq_length=own), max_tokens) == limit  # type: ignore[arg-type]
