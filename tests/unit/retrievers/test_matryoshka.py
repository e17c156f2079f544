from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import (
    Matryoshka2dLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)

from denizen.retrievers.matryoshka import Promise, loss_record, promised


def trained(base: Path, out: Path, loss_of: type[MatryoshkaLoss] | type[Matryoshka2dLoss] | None) -> Path:
    """A model after one step of the library's training, saved with the card that the library writes."""
    model = SentenceTransformer(str(base), device="cpu")
    loss = MultipleNegativesRankingLoss(model)
    if loss_of is not None:
        loss = loss_of(model, loss, matryoshka_dims=[32, 16, 8])
    settings = SentenceTransformerTrainingArguments(
        output_dir=str(out / "checkpoints"), max_steps=1, report_to="none", save_strategy="no", use_cpu=True
    )
    rows = Dataset.from_dict({"anchor": ["gout", "lupus"], "positive": ["pain", "drug"]})
    SentenceTransformerTrainer(model=model, args=settings, train_dataset=rows, loss=loss).train()
    model.save_pretrained(str(out / "model"))
    return out / "model"


@pytest.mark.parametrize(
    ("loss_of", "wanted"),
    [
        (None, Promise()),
        (MatryoshkaLoss, Promise((32, 16, 8), False, ("MatryoshkaLoss",))),
        (Matryoshka2dLoss, Promise((32, 16, 8), True, ("Matryoshka2dLoss", "MatryoshkaLoss"))),
    ],
    ids=["plain", "matryoshka", "2-d"],
)
def test_what_the_library_writes_of_its_training_is_recognised(
    loss_of: type[MatryoshkaLoss] | type[Matryoshka2dLoss] | None, wanted: Promise, tiny_encoder: Path, tmp_path: Path
) -> None:
    assert promised(trained(tiny_encoder, tmp_path, loss_of)) == wanted


def test_a_default_of_the_users_is_recognised_beside_what_the_card_says(tiny_encoder: Path, tmp_path: Path) -> None:
    assert promised(tiny_encoder) == Promise()
    SentenceTransformer(str(tiny_encoder), device="cpu", truncate_dim=24).save_pretrained(
        str(tmp_path / "model"), create_model_card=False
    )
    assert promised(tmp_path / "model") == Promise((24,), truncate_dim=24)
    (tmp_path / "model/README.md").write_text(f"# ours\n\n```json\n{loss_record((16, 8))}\n```\n")
    assert promised(tmp_path / "model") == Promise((24, 16, 8), truncate_dim=24)


@pytest.mark.parametrize(
    "card",
    [
        "Trained with Matryoshka dims 512, 256 and 64.",
        '```json\n{"matryoshka_dims": "512"}\n```',
        '```json\n{"matryoshka_dims": [0, -1, true, "8", 2.5]}\n```',
        '```json\n{"matryoshka_dims": [8,\n```',
        '```json\n["matryoshka_dims"]\n```',
        '```python\n{"matryoshka_dims": [8]}\n```',
    ],
)
def test_nothing_else_is_believed(card: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card)
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps({"truncate_dim": None}))
    assert promised(tmp_path) == Promise()


def test_a_card_that_names_the_loss_alone_promises_no_dims(tiny_encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder, tmp_path / "model")
    (tmp_path / "model/README.md").write_text("---\ntags:\n- loss:MatryoshkaLoss\n- loss:TripletLoss\n---\n")
    assert promised(tmp_path / "model") == Promise(losses=("MatryoshkaLoss",))
