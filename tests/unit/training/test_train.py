"""The settings of a training, its plan, and what the step hands to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denizen.data.artifacts import Corpus, Examples, Model, Qrels, Queries
from denizen.data.tables import rows_table, table, write_table
from denizen.engine.artifact import Artifact, Value
from denizen.engine.files import write_json
from denizen.engine.progress import Silent
from denizen.engine.step import Context
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.index import Index
from denizen.training import bi_encoder
from denizen.training.bi_encoder import TrainingSet
from denizen.training.train import Training, planned_training, train

WORDS = ["gout", "lupus", "fever", "pain"]


@pytest.mark.parametrize(
    ("rows", "epochs", "batch_size", "steps"),
    [(100, 1.0, 32, 4), (100, 0.1, 32, 1), (64, 2.5, 32, 5), (0, 1.0, 32, 1), (65, 0.5, 32, 2)],
)
def test_steps_are_batches_times_epochs_and_one_at_least(rows: int, epochs: float, batch_size: int, steps: int) -> None:
    assert Training(epochs=epochs, batch_size=batch_size).steps(rows) == steps


def test_the_plan_counts_texts_that_pass_through_the_model() -> None:
    """100 rows of a positive and two negatives, half an epoch: 150 texts in 2 steps."""
    examples = Artifact(Path(), "x", {"examples": 100, "texts_a_row": 3})
    found = planned_training(Training(epochs=0.5, batch_size=32), examples=examples)  # type: ignore[arg-type]
    assert found == {"steps": 2, "trained_texts": 150}


@pytest.mark.parametrize("native", [True, False])
def test_the_arithmetic_that_auto_means_here_is_among_what_decides(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denizen.retrievers.backends.bf16_is_native", lambda: native)
    assert Training().on_this_machine().precision == ("bf16" if native else "fp32")
    assert Training(precision="fp32").on_this_machine().precision == "fp32"
    assert Training(precision="bf16").on_this_machine().precision == "bf16"


class Noted(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def given(tmp_path: Path, tiny_encoder: Path) -> dict[str, Artifact]:
    """Four questions with a passage each; the last one has no negative."""
    rows = [(word, word, [WORDS[at - 1]] if at < 3 else [], None, "hard", "", 0) for at, word in enumerate(WORDS)]
    tables = {
        "corpus": table("corpus", {"doc_id": sorted(WORDS), "text": [f"{word} in a child" for word in sorted(WORDS)]}),
        "queries": table("queries", {"query_id": WORDS, "text": [f"what is {word}" for word in WORDS]}),
        "qrels": table("qrels", {"query_id": WORDS, "doc_id": WORDS, "relevance": [1] * 4}),
        "examples": rows_table("examples", rows),
    }
    kinds = {"corpus": Corpus, "queries": Queries, "qrels": Qrels, "examples": Examples}
    for name, content in tables.items():
        write_table(tmp_path / f"{name}.parquet", content)
    write_json(tmp_path / "encoder.json", {"model": "", "backend": "torch-fp32", "precision": "fp32"})
    found: dict[str, Artifact] = {name: kind.outside(tmp_path / f"{name}.parquet") for name, kind in kinds.items()}
    index = Index.outside(tmp_path / "encoder.json")
    return {**found, "start": Model.outside(tiny_encoder), "index": index}


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the step has handed to the training, which does nothing."""
    found: dict[str, Any] = {}

    def spy(folder: Path, student: Path, data: TrainingSet, config: Training, *rest: Any) -> dict[str, Any]:
        found.update(folder=folder, student=student, data=data, config=config, rest=rest)
        return {"rows": 4}

    monkeypatch.setattr(bi_encoder, "train", spy)
    return found


def _train(
    folder: Path, given: Mapping[str, Artifact | Value], params: Training, progress: Silent | None = None
) -> Any:
    encoders = Encoders(folder / "store")
    context = Context(progress or Silent(), scratch=folder / "scratch", resources={Encoders: encoders})
    return train(folder / "out", params, context, **given)


def test_similar_batches_are_made_by_the_embeddings_of_the_queries(
    tmp_path: Path, given: dict[str, Artifact], handed: dict[str, Any], tiny_encoder: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    assert _train(tmp_path, given, Training(precision="fp32")) == {"rows": 4}
    guide, vectors, scratch, _, _ = handed["rest"]
    expected = SentenceTransformer(str(tiny_encoder)).encode([f"what is {word}" for word in WORDS])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert guide is None and scratch == tmp_path / "scratch" and handed["student"] == given["start"].path
    assert handed["data"].columns["negative_1"][3] == handed["data"].columns["positive"][3]
    _train(tmp_path, given, Training(precision="fp32", batches="length"))
    assert handed["rest"][1] is None
    # no step has embedded anything: the baseline
    _train(tmp_path, {name: value for name, value in given.items() if name != "index"}, Training(precision="fp32"))
    assert handed["rest"][1] is None


def test_a_loss_that_does_not_mask_leaves_out_what_has_too_few_negatives(
    tmp_path: Path, given: dict[str, Artifact], handed: dict[str, Any]
) -> None:
    noted = Noted()
    _train(tmp_path, given, Training(precision="fp32", loss="triplet"), noted)
    assert noted.notes == ["1 examples without enough negatives left out"]
    assert handed["data"].columns["anchor"] == [f"what is {word}" for word in WORDS[:3]]


def test_texts_stay_near_the_base_as_training_sees_them(
    tmp_path: Path, given: dict[str, Artifact], handed: dict[str, Any], tiny_encoder: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    kept = Value({"query": ["what is fever in a child"], "document": []})
    near = {"kept": kept, "base": given["start"], "base_index": given["index"]}
    _train(tmp_path, {**given, **near}, Training(precision="fp32", max_tokens=5))
    queries, documents = handed["data"].kept
    # [CLS] what is fever [SEP]
    assert queries.texts == ["what is fever"] and documents.texts == []
    expected = SentenceTransformer(str(tiny_encoder)).encode(["what is fever"])
    np.testing.assert_allclose(queries.vectors, expected, atol=1e-5)
