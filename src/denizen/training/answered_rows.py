"""Rows of tokens of what a language model is asked and should answer: what is asked is cut to a length, answers not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from denizen.language_models.conversations import answered_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from denizen.data.task_rows import Message, Preference, TaskRow

# what is left of a question has its beginning, with what comes before all turns, and its end, where the answer begins
_LEAST_ASKED = 32


@dataclass(frozen=True)
class AnsweredRow:
    """Something asked with one answer or several.

    Attributes:
        asked: Tokens of what is asked.
        answers: Tokens of each answer, with what ends it.
        cut: Whether tokens of what is asked were left out.
    """

    asked: list[int]
    answers: tuple[list[int], ...]
    cut: bool

    @property
    def length(self) -> int:
        """Tokens of what is asked with the longest answer."""
        return len(self.asked) + max(map(len, self.answers))

    @property
    def tokens(self) -> int:
        """Tokens that a model reads of it: what is asked is read with each answer."""
        return sum(len(self.asked) + len(answer) for answer in self.answers)


def task_row_tokens(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[TaskRow], end: int, max_length: int
) -> list[AnsweredRow]:
    """Rows with their reference answers, without those whose answer is too long.

    Args:
        tokenizer: The model's.
        rows: Rows of tasks.
        end: The token that ends an answer.
        max_length: Tokens of a row at most.
    """
    found = (answered_row(tokenizer, row.messages, (row.answer,), end, max_length) for row in rows)
    return [row for row in found if row]


def preference_tokens(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Preference], end: int, max_length: int
) -> list[AnsweredRow]:
    """Pairs, the better answer first, without those one of whose answers is too long; arguments as above."""
    sides = ((pair.messages, (pair.chosen, pair.rejected)) for pair in pairs)
    found = (answered_row(tokenizer, messages, both, end, max_length) for messages, both in sides)
    return [row for row in found if row]


def answered_row(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], answers: Sequence[str], end: int, max_length: int
) -> AnsweredRow | None:
    """One row; None: beside an answer there is no room for what is asked.

    All answers follow the same tokens: what is asked is cut so that the longest one has room.
    """
    both = [answered_tokens(tokenizer, messages, answer, end) for answer in answers]
    asked, said = both[0][0], tuple(answer for _, answer in both)
    room = max_length - max(map(len, said))
    if len(asked) <= room:
        return AnsweredRow(asked, said, False)
    if room < _LEAST_ASKED:
        return None
    first = room // 2
    return AnsweredRow([*asked[:first], *asked[len(asked) - (room - first) :]], said, True)
