"""Adapters that take turns over one model: each as if merged into its weights, none as if there were none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from denizen.engine.errors import InputError
from denizen.language_models.language_model import LanguageModel
from tests.tiny_adapters import tiny_adapters
from tests.tiny_pair import tiny_pair

ROWS = [[5, 6, 7, 8, 9], [9, 8, 20], [100, 101, 102, 103, 104, 105, 106, 107]]


@pytest.fixture(scope="module", params=("llama", "qwen3", "gemma3"))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pair(tmp_path_factory.mktemp(request.param), request.param)[1]


@pytest.fixture(scope="module")
def adapters(model: Path) -> dict[str, Path]:
    return {name: tiny_adapters(model.parent / name, model, seed) for seed, name in enumerate(("one", "other"))}


def test_each_adapter_is_as_merged_and_none_is_the_model(model: Path, adapters: dict[str, Path]) -> None:
    merged = {}
    for name, folder in adapters.items():
        whole = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), folder).merge_and_unload()
        for part in (whole, AutoTokenizer.from_pretrained(model)):
            part.save_pretrained(model.parent / f"merged-{name}")
        merged[name] = LanguageModel(model.parent / f"merged-{name}")
    alone, both = LanguageModel(model), LanguageModel(model, adapters=adapters)
    wanted = {None: alone.log_likelihoods(ROWS)} | {name: of.log_likelihoods(ROWS) for name, of in merged.items()}
    assert wanted[None] != wanted["one"] != wanted["other"]
    # before any is used, in turn, and one within another
    assert both.log_likelihoods(ROWS) == pytest.approx(wanted[None], abs=1e-5)
    for name in ("one", None, "other", "one"):
        with both.using(name) as used:
            assert used is both
            assert both.log_likelihoods(ROWS) == pytest.approx(wanted[name], rel=1e-5)
            with both.using(None):
                assert both.log_likelihoods(ROWS) == pytest.approx(wanted[None], abs=1e-5)
            assert both.log_likelihoods(ROWS) == pytest.approx(wanted[name], rel=1e-5)
    with pytest.raises(ZeroDivisionError), both.using("one"):
        1 / 0  # noqa: B018
    assert both.log_likelihoods(ROWS) == pytest.approx(wanted[None], abs=1e-5)
    with both.using("other"):
        assert both.answers(["Hi", "Who?"], 24) == merged["other"].answers(["Hi", "Who?"], 24)


def test_a_model_without_adapters_is_used_as_it_is(model: Path) -> None:
    alone = LanguageModel(model)
    with alone.using(None):
        assert alone.log_likelihoods(ROWS) == LanguageModel(model).log_likelihoods(ROWS)
    with pytest.raises(InputError, match="without adapters named 'third'; there are: none"), alone.using("third"):
        pass


def test_what_does_not_fit_is_refused(model: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    def used(folder: Path) -> None:
        whole = LanguageModel(model, adapters={"other": adapters["other"], "one": folder})
        try:
            with whole.using("other"):
                pytest.fail("it fits")
        finally:
            # nothing of them stays on the model
            assert whole.log_likelihoods(ROWS) == LanguageModel(model).log_likelihoods(ROWS)

    with pytest.raises(InputError, match=r"holds no adapters as PEFT writes them: there is no adapter_config.json"):
        used(tmp_path)
    cut = shutil.copytree(adapters["one"], tmp_path / "cut")
    weights = load_file(cut / "adapter_model.safetensors")
    first = sorted(weights)[0]
    save_file({name: each for name, each in weights.items() if name != first}, cut / "adapter_model.safetensors")
    with pytest.raises(InputError, match="holds less than the model has places for"):
        used(cut)
    save_file(
        {**weights, first.replace("layers.0", "layers.7"): weights[first].clone()}, cut / "adapter_model.safetensors"
    )
    with pytest.raises(InputError, match="holds more than the model has places for"):
        used(cut)
    save_file({**weights, first: weights[first][:, :1].contiguous()}, cut / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"do not fit the model: .* give the folder of adapters that were trained on"):
        used(cut)
    (cut / "adapter_model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="do not fit the model"):
        used(cut)
