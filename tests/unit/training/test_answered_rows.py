"""Rows are cut in the middle of what is asked, and never in an answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from denizen.data.task_rows import Message, Preference, TaskRow
from denizen.training.answered_rows import answered_row, preference_tokens, task_row_tokens
from tests.tiny_pair import END, tiny_pair


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """Whose tokens are bytes, and what ends a turn."""
    folder: Path = tiny_pair(tmp_path_factory.mktemp("pair"))[1]
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return found


def test_what_is_asked_is_cut_in_its_middle(tokenizer: PreTrainedTokenizerBase) -> None:
    asked = (Message("user", "a" * 30 + "b" * 30),)
    end = tokenizer.convert_tokens_to_ids(END)
    # "user: ", 60 letters, the end of the turn, "assistant: "
    whole = answered_row(tokenizer, asked, ("yes", "n"), end, 82)
    assert whole and not whole.cut and len(whole.asked) == 78 and whole.length == 82 and whole.tokens == 82 + 80
    assert [tokenizer.decode(answer) for answer in whole.answers] == [f"yes{END}", f"n{END}"]
    row = answered_row(tokenizer, asked, ("yes", "n"), end, 64)
    assert row and row.cut and row.answers == whole.answers and row.length == 64
    # 60 tokens are left: the first and the last 30
    assert tokenizer.decode(row.asked) == f"user: {'a' * 24}{'b' * 18}{END}assistant: "
    # as many as a question needs at least, and one fewer
    assert (least := answered_row(tokenizer, asked, ("y" * 31,), end, 64)) and len(least.asked) == 32
    assert answered_row(tokenizer, asked, ("y" * 32,), end, 64) is None


def test_a_short_question_may_have_a_long_answer(tokenizer: PreTrainedTokenizerBase) -> None:
    row = answered_row(tokenizer, (Message("user", "Hi"),), ("y" * 43,), 257, 64)
    assert row and not row.cut and len(row.asked) == 20 and row.length == 64
    assert answered_row(tokenizer, (Message("user", "Hi"),), ("y" * 44,), 257, 64) is None


def test_rows_without_room_are_left_out(tokenizer: PreTrainedTokenizerBase) -> None:
    asked = (Message("user", "Hi"),)
    rows = [
        TaskRow(str(at), "answer", "train", None, "given", asked, answer)
        for at, answer in enumerate(("yes", "y" * 99, "no"))
    ]
    assert [tokenizer.decode(row.answers[0]) for row in task_row_tokens(tokenizer, rows, 1, 64)] == [
        "yes</s>",
        "no</s>",
    ]
    pairs = [
        Preference(str(at), "answer", "train", None, "given", asked, chosen, rejected, "given")
        for at, (chosen, rejected) in enumerate((("yes", "y" * 99), ("no", "never")))
    ]
    (pair,) = preference_tokens(tokenizer, pairs, 1, 64)
    assert [tokenizer.decode(answer) for answer in pair.answers] == ["no</s>", "never</s>"]
