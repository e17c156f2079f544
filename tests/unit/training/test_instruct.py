"""An instruct model made of a base: turns that a tokenizer lacks, and adapters folded in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from denizen.data.artifacts import Adapter, Model
from denizen.data.task_rows import Message
from denizen.engine.errors import InputError
from denizen.engine.settings import Params
from denizen.engine.step import Context
from denizen.language_models.conversations import answer_end, answered_tokens
from denizen.language_models.language_model import LanguageModel, load_tokenizer
from denizen.training.instruct import fold, with_turns
from tests.tiny_adapters import tiny_adapters
from tests.tiny_pair import tiny_pair


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_a_base_without_turns_gets_plain_ones(architecture: str, tmp_path: Path) -> None:
    base, _ = tiny_pair(tmp_path, architecture)
    facts = with_turns(tmp_path / "turns", Params(), Context(), base=Model(base, "b"))
    tokenizer = load_tokenizer(tmp_path / "turns")
    end = answer_end(tokenizer, "turns")
    asked, answer = answered_tokens(tokenizer, (Message("user", " Who? "),), "Rain.", end)
    begin = [tokenizer.bos_token_id] if load_tokenizer(base)("x")["input_ids"][0] == tokenizer.bos_token_id else []
    said = tokenizer("User: Who?\nAssistant:", add_special_tokens=False)["input_ids"]
    assert asked == [*begin, *said] and answer[-1] == end == tokenizer.eos_token_id
    assert facts == {"own_template": False}
    # the weights are those of the base
    rows = [[5, 6, 7, 8]]
    assert LanguageModel(tmp_path / "turns").log_likelihoods(rows) == LanguageModel(base).log_likelihoods(rows)


def test_a_template_of_its_own_stays(tmp_path: Path) -> None:
    _, instruct = tiny_pair(tmp_path)
    assert with_turns(tmp_path / "turns", Params(), Context(), base=Model(instruct, "i")) == {"own_template": True}
    assert load_tokenizer(tmp_path / "turns").chat_template == load_tokenizer(instruct).chat_template


def test_without_a_token_that_ends_texts_there_are_no_turns(tmp_path: Path) -> None:
    base, _ = tiny_pair(tmp_path)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (base / name).is_file():
            found = json.loads((base / name).read_text())
            found.pop("eos_token", None)
            (base / name).write_text(json.dumps(found))
    with pytest.raises(InputError, match="has no chat template and no eos_token that could end an answer"):
        with_turns(tmp_path / "turns", Params(), Context(), base=Model(base, "b"))


def test_what_adapters_learnt_is_folded_in(tmp_path: Path) -> None:
    _, instruct = tiny_pair(tmp_path)
    adapter = tiny_adapters(tmp_path / "adapter", instruct, 3)
    fold(tmp_path / "folded", Params(), Context(), start=Model(instruct, "i"), adapter=Adapter(adapter, "a"))
    rows = [[5, 6, 7, 8, 9]]
    (folded,) = LanguageModel(tmp_path / "folded").log_likelihoods(rows)
    with (over := LanguageModel(instruct, adapters={"one": adapter})).using("one"):
        assert folded == pytest.approx(over.log_likelihoods(rows)[0], abs=1e-4)
    assert folded != pytest.approx(LanguageModel(instruct).log_likelihoods(rows)[0], abs=1e-3)
