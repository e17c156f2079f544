from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.llm.whole_prompt import cut_prompt

# 6 words
CLAUSE = "The clause on termination for convenience. "


def cut(text: str, tokens: int, system: str = "Grade.") -> bool:
    return bool(cut_prompt((("system", system), ("user", text)), tokens))


@pytest.mark.parametrize(
    ("text", "least"),
    [
        (CLAUSE * 500, 1500),
        # 9,000 and 3,000 characters: a token has no more than 6 and 16 by any count, 3 and 8 at a context length
        ("终止条款的适用范围" * 1000, 1500),
        ("ข้อกำหนดเรื่องการยกเลิกสัญญ" * 1000, 27_000 // 16),
        # two scripts in one text, without a space between them
        ("条款3" * 6300, 2100),
        ("договор расторгается " * 1500, 1500),
    ],
)
def test_fewer_tokens_than_the_text_can_have_is_a_cut(text: str, least: int) -> None:
    assert cut(text, least - 1) and not cut(text, least) and not cut(text, 2 * least)


@pytest.mark.parametrize("length", [2048, 2050, 2046, 2000, 1024 * 2 - 1])
def test_a_context_length_is_held_against_all_words(length: int) -> None:
    """3,000 words: half of them is 1,500, and 2,040 is no round number."""
    text = CLAUSE * 500
    assert cut(text, length) and not cut(text, 2040) and not cut(text, 3072)


def test_what_is_no_word_needs_no_token_of_its_own() -> None:
    """Leaders, rules and blanks are a token for many."""
    assert not cut("." * 9000 + " - " * 9000 + " \n" * 9000 + " | " * 9000 + "word " * 1000, 500)


def test_a_count_below_every_context_length_is_one_of_new_tokens_only() -> None:
    assert not cut(CLAUSE * 500, 499) and cut(CLAUSE * 500, 500)


def test_the_system_message_that_prompts_share_may_come_from_a_cache() -> None:
    assert not cut("gout", 600, CLAUSE * 500)


def test_the_remedy_is_told() -> None:
    assert "context length" in cut_prompt((("user", CLAUSE * 500),), 700)


@given(st.text(max_size=200), st.integers(1, 60))
def test_a_tokenizer_that_splits_at_white_space_is_never_taken_for_a_cut(text: str, times: int) -> None:
    """With the fewest tokens that it can have: one from a space to the next, and 3 or 8 characters without spaces."""
    whole = f"{text} " * times
    pieces = whole.split()
    assert not cut(whole, sum(1 + (len(piece) - 1) // 3 for piece in pieces))
