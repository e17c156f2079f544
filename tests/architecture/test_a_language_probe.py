"""What a language model makes of texts is a probe as any other: gated by the same arithmetic, told by the same step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from denizen.engine.pipeline import Pipeline
from denizen.engine.step import Context
from denizen.measuring import forgetting
from denizen.measuring.probes import Probes
from denizen.measuring.significance import paired_difference
from denizen.measuring.students import Searching
from denizen.measuring.testing import measure_forgetting
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.index import Index
from denizen.retrievers.model_ref import outside_model

DOMAIN, GENERAL = ["gout hurts"], ["rain is falling", "wind is blowing", "snow is cold"]


@dataclass(frozen=True)
class Likelihood:
    """Mean log-likelihood of a token; a model is whatever has a folder in which a causal LM lies."""

    name: str
    role: str
    texts: Sequence[str]
    measure: ClassVar[str] = "log-likelihood"

    def values(self, model: Any) -> dict[str, float]:
        read = GPT2LMHeadModel.from_pretrained(model.folder).eval()
        return {text: -read(**_tokens(text)).loss.item() for text in self.texts}

    def report(self, models: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
        found = {name: np.array(list(self.values(model).values())) for name, model in models.items()}
        base, *others = found
        differences = {name: {self.measure: asdict(paired_difference(found[name], found[base]))} for name in others}
        means = {name: {self.measure: values.mean()} for name, values in found.items()}
        return {"role": self.role, "measure": self.measure, "means": means, "differences": differences}


def _tokens(text: str) -> dict[str, torch.Tensor]:
    ids = torch.tensor([list(text.encode())])
    return {"input_ids": ids, "labels": ids}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base of two layers that has read everything, and what becomes of it on its domain alone."""
    folder = tmp_path_factory.mktemp("models")
    config = GPT2Config(vocab_size=128, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config).eval()
        for name, texts in (("base", [*DOMAIN, *GENERAL]), ("adapted", DOMAIN)):
            steps = torch.optim.AdamW(model.parameters(), 1e-2)
            for text in 40 * texts:
                steps.zero_grad()
                model(**_tokens(text)).loss.backward()
                steps.step()
            model.save_pretrained(folder / name)
    return {name: folder / name for name in ("base", "adapted")}


def test_it_is_gated_and_reported(models: dict[str, Path], tmp_path: Path) -> None:
    general, domain = Likelihood("weather", "general", GENERAL), Likelihood("gout", "domain", DOMAIN)
    systems, encoders = {name: outside_model(folder) for name, folder in models.items()}, Encoders(tmp_path / "store")
    (tmp_path / "encoder.json").write_text('{"backend": "torch-fp32", "precision": "fp32"}')
    index = Index.outside(tmp_path / "encoder.json")
    base, adapted = (BiEncoder(folder, index.encoding, encoders) for folder in models.values())
    # by hand: of each token given those before it
    logits = GPT2LMHeadModel.from_pretrained(base.folder)(**_tokens("snow is cold")).logits[0].log_softmax(1)
    said = [logits[at, token].item() for at, token in enumerate(b"snow is cold"[1:])]
    assert general.values(base)["snow is cold"] == pytest.approx(np.mean(said), abs=1e-4)
    lost, gained = (forgetting.change(each.role, each.values(base), each.values(adapted)) for each in (general, domain))
    assert lost.value < -0.5 < 0 < gained.value and lost.error > 0
    assert forgetting.slack([lost], 0.1) < 0 and not forgetting.met(forgetting.by_role([lost]), 0.1)
    assert forgetting.slack([forgetting.change("general", general.values(base), general.values(base))], 0.1) == 0.1
    run = Pipeline(tmp_path / "run", context=Context(resources={Encoders: encoders, Probes: Probes(test=[general])}))
    found = run(measure_forgetting, Searching(), systems=systems, base_index=index, index=index, sets={}).facts["sets"]
    assert forgetting.reported(found) == pytest.approx(forgetting.by_role([lost]))
