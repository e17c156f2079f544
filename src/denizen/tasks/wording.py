"""What a language model is told to do with a text: to summarize it, or to say which label fits it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from denizen.llm.prompts import single_turn
from denizen.tasks.label_set import Label, listed

_TEXT = re.compile(r".*<passage>\n(.*)\n</passage>", re.DOTALL)


def summary_prompt(text: str) -> str:
    """What a user says who wants a text summarized."""
    return single_turn("summarize", {"passage": text})


def label_prompt(text: str, labels: Sequence[Label]) -> str:
    """What a user says who wants to know which label fits a text; the answer is the label's name."""
    return single_turn("classify", {"passage": text, "labels": listed(labels)})


def text_of(prompt: str) -> str | None:
    """The text of a prompt of one of these kinds; None where it is none."""
    found = _TEXT.fullmatch(prompt)
    return found[1] if found else None
