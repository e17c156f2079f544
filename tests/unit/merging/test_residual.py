"""The instruction residual: what it gives back exactly, rows that a base lacks, and pairs that are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from denizen.engine.errors import InputError
from denizen.engine.step import Context
from denizen.merging.residual import Residual, _add_tensor, add, add_residual, check_pair, end_of_turn
from denizen.retrievers.model_ref import outside_model
from tests.tiny_models import LLMS, tiny_llm
from tests.tiny_pair import END, tiny_pair

# weights of models lie far within this
NUMBERS = st.floats(-100, 100, width=32).filter(lambda value: value == 0 or abs(value) > 1e-4)


@pytest.fixture(scope="module", params=LLMS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tiny_pair(tmp_path_factory.mktemp(request.param), request.param)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def pretrained_from(base: Path, folder: Path) -> Path:
    """The base with every weight moved."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(2)
        for weights in model.parameters():
            weights += 0.05 * torch.randn_like(weights)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def added(out: Path, scale: float, pretrained: Path, base: Path, instruct: Path) -> dict:
    out.mkdir()
    models = {"pretrained": pretrained, "base": base, "instruct": instruct}
    found = {name: outside_model(path) for name, path in models.items()}
    facts: dict = add_residual(out, Residual(scale=scale), Context(), **found)
    return facts


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS))
def test_what_is_added_by_hand(values: tuple[float, float, float]) -> None:
    pretrained, base, own = (torch.tensor([[value]], dtype=torch.float32) for value in values)
    half, none, whole = own.clone(), own.clone(), own.clone()
    _add_tensor(half, pretrained, base, 0.5)
    assert half.item() == pytest.approx(values[0] + 0.5 * (values[2] - values[1]), rel=1e-6, abs=1e-5)
    _add_tensor(none, pretrained, base, 0.0)
    assert torch.equal(none, pretrained)
    _add_tensor(whole, base, base, 1.0)
    assert torch.equal(whole, own)


def test_without_pretraining_it_is_the_instruct_model_exactly(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, instruct = pair
    added(tmp_path / "out", 1.0, base, base, instruct)
    ours, theirs = weights_of(tmp_path / "out"), weights_of(instruct)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_at_scale_0_it_is_the_pretrained_model_with_new_rows_of_zeros(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, instruct = pair
    pretrained = pretrained_from(base, tmp_path / "pretrained")
    facts = added(tmp_path / "out", 0.0, pretrained, base, instruct)
    assert facts == {"scale": 0.0, "new_rows": 1}
    ours, theirs = weights_of(tmp_path / "out"), weights_of(pretrained)
    for name, weights in theirs.items():
        assert torch.equal(ours[name][: len(weights)], weights), name
        assert not ours[name][len(weights) :].any()


def test_at_scale_1_each_weight_is_the_sum_and_new_rows_are_the_instruct_models(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    base, instruct = pair
    pretrained = pretrained_from(base, tmp_path / "pretrained")
    added(tmp_path / "out", 1.0, pretrained, base, instruct)
    ours, moved, before, theirs = map(weights_of, (tmp_path / "out", pretrained, base, instruct))
    for name, weights in theirs.items():
        rows = len(before[name])
        wanted = moved[name].double() + weights[:rows].double() - before[name].double()
        assert np.allclose(ours[name][:rows], wanted, rtol=1e-6, atol=1e-7), name
        assert torch.equal(ours[name][rows:], weights[rows:])


def test_plain_transformers_loads_it_and_it_ends_its_turns(pair: tuple[Path, Path], tmp_path: Path) -> None:
    base, instruct = pair
    added(tmp_path / "out", 1.0, base, base, instruct)
    model, tokenizer = (kind.from_pretrained(tmp_path / "out") for kind in (AutoModelForCausalLM, AutoTokenizer))
    end = tokenizer.convert_tokens_to_ids(END)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(instruct).chat_template
    assert end_of_turn(tokenizer) == end
    # the instruct model's own settings name the end of texts alone
    assert GenerationConfig.from_pretrained(instruct).eos_token_id == 1
    assert model.generation_config.eos_token_id == [1, end]
    logits = [
        kind(torch.tensor([[5, 6, 7]])).logits for kind in (model, AutoModelForCausalLM.from_pretrained(instruct))
    ]
    assert torch.equal(*logits)


def test_a_turn_that_nothing_ends_has_no_end(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm(tmp_path / "llm"))
    assert end_of_turn(tokenizer) is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"hidden_size": 64}, "hidden_size of the base base is 64, that of the instruct model instruct is 32"),
        ({"num_hidden_layers": 3}, "num_hidden_layers of the base base is 3"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings of the base base is True"),
        (
            {"attention_bias": True},
            r"the base has weights 'model.layers.0.self_attn.k_proj.bias', and the instruct model has none",
        ),
        ({"model_type": "mistral"}, "model_type of the base base is mistral"),
        ({"vocab_size": 999}, "the base base has 999 rows of vocabulary, more than the 259 of the instruct model"),
    ],
)
def test_models_of_another_shape_are_refused_before_weights_are_read(changed: dict, why: str, tmp_path: Path) -> None:
    base, instruct = tiny_pair(tmp_path)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, **changed}))
    (base / "model.safetensors").unlink()
    with pytest.raises(InputError, match=why):
        check_pair(base, instruct)


def test_one_model_in_both_places_is_refused(tmp_path: Path) -> None:
    _, instruct = tiny_pair(tmp_path)
    with pytest.raises(
        InputError, match=r"base and instruct are one model, .*, so there is nothing to add; give a base"
    ):
        check_pair(tmp_path / "base/../instruct", instruct)


def test_other_tokens_are_refused(tmp_path: Path) -> None:
    base, instruct = tiny_pair(tmp_path)
    check_pair(base, instruct)
    path = base / "tokenizer.json"
    kept = path.read_text()
    tokens = json.loads(kept)
    words = tokens["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]
    path.write_text(json.dumps(tokens))
    with pytest.raises(InputError, match=r"2 tokens of the base have another number in the tokenizer"):
        check_pair(base, instruct)
    tokens = json.loads(kept)
    tokens["pre_tokenizer"]["add_prefix_space"] = True
    path.write_text(json.dumps(tokens))
    with pytest.raises(InputError, match=r"cut texts differently, a sample into 106 and 105 tokens; give"):
        check_pair(base, instruct)


def test_a_token_that_the_base_keeps_in_reserve_may_get_a_name(tmp_path: Path) -> None:
    base, instruct = tiny_pair(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|reserved|>"]})
    tokenizer.save_pretrained(base)
    check_pair(base, instruct)


def test_a_template_that_is_missing_or_fails_is_refused(tmp_path: Path) -> None:
    base, instruct = tiny_pair(tmp_path)
    template = instruct / "chat_template.jinja"
    template.write_text("{{ raise_exception('no') }}")
    with pytest.raises(InputError, match="the chat template of the instruct model instruct fails on a question"):
        check_pair(base, instruct)
    template.unlink()
    with pytest.raises(InputError, match="instruct has no chat template, by which it is asked; put"):
        check_pair(base, instruct)


def test_weights_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    base, instruct = tiny_pair(tmp_path)
    narrow = tiny_llm(tmp_path / "narrow", "qwen3")
    others = [AutoModelForCausalLM.from_pretrained(folder) for folder in (narrow, base)]
    with pytest.raises(InputError, match="the base has none; give a base and"):
        add(others[0], others[1], others[1], 1.0)
    with pytest.raises(
        InputError,
        match=r"weights 'model.embed_tokens.weight' are of shape \(258, 32\) in the instruct model and \(259, 32\)",
    ):
        add(*(AutoModelForCausalLM.from_pretrained(folder) for folder in (base, instruct, instruct)), 1.0)
