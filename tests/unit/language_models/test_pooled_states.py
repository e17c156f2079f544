"""Mean states, beside what transformers gives for one text alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from denizen.language_models.language_model import LanguageModel
from denizen.language_models.pooled_states import both_ends, pooled_states
from denizen.language_models.token_rows import begin_tokens
from tests.tiny_pair import tiny_pair


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3"])
def test_states_are_those_of_each_text_alone(architecture: str, tmp_path: Path) -> None:
    base, _ = tiny_pair(tmp_path, architecture)
    model, texts = LanguageModel(base), ["rain", "a longer text about wind", "x"]
    found = pooled_states(model, texts, 100)
    plain = AutoModelForCausalLM.from_pretrained(base)
    begin = begin_tokens(model.tokenizer)
    for text, vector in zip(texts, found, strict=True):
        ids = [*begin, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]
        states = plain(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]
        assert vector == pytest.approx(states[len(begin) :].mean(0).detach().numpy(), abs=1e-5)


def test_of_a_long_text_both_ends_are_read(tmp_path: Path) -> None:
    assert both_ends([1, 2, 3, 4, 5], 5) == [1, 2, 3, 4, 5]
    assert both_ends([1, 2, 3, 4, 5], 3) == [1, 2, 5] and both_ends([1, 2, 3, 4, 5], 4) == [1, 2, 4, 5]
    base, _ = tiny_pair(tmp_path)
    model = LanguageModel(base)
    whole, other = pooled_states(model, ["abcXXXXdef", "abcYYYYYdef"], 6)
    assert np.array_equal(whole, other)


def test_a_text_without_letters_has_a_state(tmp_path: Path) -> None:
    base, _ = tiny_pair(tmp_path)
    (found,) = pooled_states(LanguageModel(base), [""], 8)
    assert np.isfinite(found).all()
