"""Rows of tokens: one text a row, each token predicted once, ends and beginnings as the model knows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from denizen.language_models.token_rows import token_rows
from tests.tiny_models import tiny_llm


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """Whose tokens are bytes."""
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_llm(tmp_path_factory.mktemp("llm")))
    return found


@pytest.fixture(scope="module")
def beginning(tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """One that puts a token before a text, and one behind it."""
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_llm(tmp_path_factory.mktemp("begins")))
    ends = [("<s>", 0), ("</s>", 1)]
    found.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return found


@given(st.lists(st.text(min_size=1, max_size=60), max_size=4), st.integers(2, 20))
def test_each_token_but_the_first_is_predicted_once(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], length: int
) -> None:
    found = token_rows(tokenizer, texts, length, end=True)
    for text, rows in zip(texts, found, strict=True):
        whole = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        assert [token for row in rows for token in row[1:]] == whole[1:]
        assert all(2 <= len(row) <= length for row in rows)
        assert [rows[0][0]] == whole[:1]


def test_by_hand(tokenizer: PreTrainedTokenizerBase, beginning: PreTrainedTokenizerBase) -> None:
    a, b, c = tokenizer("abc")["input_ids"]
    assert token_rows(tokenizer, ["abc", "a", ""], 3, end=True) == [[[a, b, c], [c, 1]], [[a, 1]], []]
    assert token_rows(tokenizer, ["abc", "a"], 2, end=False) == [[[a, b], [b, c]], []]
    # what the tokenizer would put behind a text by itself is decided by who asks
    assert token_rows(beginning, ["ab"], 9, end=False) == [[[0, a, b]]]
    assert token_rows(beginning, ["ab"], 9, end=True) == [[[0, a, b, 1]]]
    # every row of a long text begins as texts do, and each token is predicted once
    assert token_rows(beginning, ["abc", ""], 3, end=True) == [[[0, a, b], [0, c, 1]], [[0, 1]]]
