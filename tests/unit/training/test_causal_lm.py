"""Training a causal language model: what it learns, saves, and goes on from; adapters; nobody is called."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from denizen.data.tables import rows_table
from denizen.engine.errors import InputError
from denizen.engine.step import Context
from denizen.language_models.language_model import LanguageModel, load_causal_lm
from denizen.retrievers.model_ref import outside_model
from denizen.training import causal_lm
from denizen.training.pretrain import Pretraining, pretrain
from tests.tiny_pair import tiny_pair

TEXTS = [
    f"the wind number {at} is blowing from the {way}. " * (1 + at % 4) for at in range(5) for way in ("sea", "land")
]
SETTINGS = Pretraining(max_length=32, batch_size=8, learning_rate=3e-3, precision="fp32")


class StoppedError(Exception):
    """In the place of a kill."""


def stopping(after: int) -> Callable[[int], None]:
    left = [after + 1]

    def count(steps: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise StoppedError

    return count


@pytest.fixture(scope="module", params=("gemma3", "qwen3"))
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with its head in its embeddings, and one without."""
    return tiny_pair(tmp_path_factory.mktemp("pair"), request.param)[1]


def train(folder: Path, base: Path, config: Pretraining, stops: int = 0) -> dict:
    folder.mkdir(exist_ok=True)
    rows = causal_lm.training_rows(base, TEXTS, 32)
    progress = stopping(stops) if stops else (lambda steps: None)
    return causal_lm.train(folder, base, rows, config, folder.parent / f"{folder.name}.scratch", progress)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_training_that_is_stopped_after_its_last_step_takes_none_more(base: Path, rank: int, tmp_path: Path) -> None:
    """Within an epoch, where the library would."""
    config = Pretraining(**{**SETTINGS.as_dict(), "lora_rank": rank, "epochs": 0.4})
    facts = train(tmp_path / "whole", base, config)
    shutil.copytree(tmp_path / "whole.scratch", tmp_path / "again.scratch")
    assert train(tmp_path / "again", base, config) == facts and len(facts["loss"]) == facts["steps"]
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("again", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("rank", [0, 4])
def test_it_learns_and_a_stopped_training_ends_alike(base: Path, rank: int, tmp_path: Path) -> None:
    config = Pretraining(**{**SETTINGS.as_dict(), "lora_rank": rank})
    facts = train(tmp_path / "whole", base, config)
    rows = causal_lm.training_rows(base, TEXTS, 32)
    assert facts["rows"] == len(rows) and facts["steps"] == -(-len(rows) // 8) > 3
    before, after = (sum(LanguageModel(folder).log_likelihoods(rows)) for folder in (base, tmp_path / "whole"))
    assert after > before
    # the first loss is the base's mean over the tokens of a batch
    assert facts["loss"][0][1] == pytest.approx(-before / facts["tokens"], rel=0.15)
    with pytest.raises(StoppedError):
        train(tmp_path / "cut", base, config, stops=3)
    assert [path.name for path in (tmp_path / "cut.scratch/checkpoints").glob("checkpoint-*")]
    assert train(tmp_path / "cut", base, config) == facts
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("cut", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    learnt = sum(weights.numel() for weights in AutoModelForCausalLM.from_pretrained(base).parameters())
    assert facts["learnt"] == learnt if rank == 0 else facts["learnt"] < learnt / 4


def test_what_is_saved_differs_from_the_base_in_its_weights_alone(base: Path, tmp_path: Path) -> None:
    train(tmp_path / "out", base, SETTINGS)
    for name in ("config.json", "generation_config.json"):
        ours, theirs = (json.loads((folder / name).read_text()) for folder in (tmp_path / "out", base))
        assert ours == theirs, name
    ours, theirs = (AutoTokenizer.from_pretrained(folder) for folder in (tmp_path / "out", base))
    assert ours.chat_template == theirs.chat_template and ours.get_vocab() == theirs.get_vocab()
    assert ours.pad_token == theirs.pad_token
    assert not list((tmp_path / "out.scratch").rglob("README.md"))


def test_telemetry_of_the_library_is_silenced(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine is no test's, it would call the hub at each start."""
    from trl.trainer import base_trainer

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(base_trainer, "send_telemetry", lambda *given, **named: pytest.fail("somebody is called"))
    train(tmp_path / "out", base, Pretraining(**{**SETTINGS.as_dict(), "epochs": 0.01}))


def test_the_step_trains_on_the_training_side_alone(base: Path, tmp_path: Path) -> None:
    passages = [
        {"doc_id": name, "parent_id": name, "start": 0, "end": len(text), "text": text, "cluster": at}
        for at, (name, text) in enumerate([("a", "x" * 40), ("b", "y" * 40)])
    ]
    corpus = rows_table("corpus", [{**row, "parent_cluster": row["cluster"]} for row in passages])
    documents = rows_table("documents", [("a", None, "train"), ("b", None, "test")])
    tables = {"corpus": type("Made", (), {"table": corpus}), "documents": type("Made", (), {"table": documents})}
    for name in ("out", "scratch"):
        (tmp_path / name).mkdir()
    context, start = Context(scratch=tmp_path / "scratch"), outside_model(base)
    few = Pretraining(**{**SETTINGS.as_dict(), "batch_size": 2})
    facts = pretrain(tmp_path / "out", few, context, start=start, **tables)
    # 40 letters and the end in rows of 32 that share a token
    assert (facts["rows"], facts["tokens"], facts["steps"]) == (2, 40, 1)
    with pytest.raises(InputError, match=r"has 2 row\(s\) of tokens, and a batch has 8; add documents, or lower batch"):
        pretrain(tmp_path / "out", SETTINGS, context, start=start, **tables)


def test_a_step_is_timed_without_a_checkpoint(base: Path, tmp_path: Path) -> None:
    rows = causal_lm.training_rows(base, TEXTS, 32)
    assert causal_lm.seconds_of_a_step(base, rows, SETTINGS, tmp_path) > 0
    assert not list(tmp_path.rglob("checkpoint-*"))


@pytest.mark.parametrize("rank", [0, 4])
def test_what_was_trained_is_not_held_in_memory(
    base: Path, rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[weakref.ref] = []

    def load(folder: Path) -> PreTrainedModel:
        # nothing before is there any more when the next one comes
        assert all(model() is None for model in loaded)
        loaded.append(weakref.ref(found := load_causal_lm(folder)))
        return found

    monkeypatch.setattr(causal_lm, "load_causal_lm", load)
    few = Pretraining(**{**SETTINGS.as_dict(), "epochs": 0.01, "lora_rank": rank})
    causal_lm.seconds_of_a_step(base, causal_lm.training_rows(base, TEXTS, 32), few, tmp_path / "timed")
    train(tmp_path / "out", base, few)
    assert len(loaded) == (3 if rank else 2) and all(model() is None for model in loaded)


def test_rates_are_those_of_what_is_trained() -> None:
    assert Pretraining().meant().learning_rate == 2e-5
    assert Pretraining(lora_rank=8).meant().learning_rate == 1e-4
    assert Pretraining(lora_rank=8, learning_rate=1e-3).meant().learning_rate == 1e-3
    assert Pretraining(epochs=2.0, batch_size=4).steps(9) == 6


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs trl and peft: pip install 'denizen\[language\]'"):
        causal_lm.check_libraries(4)
