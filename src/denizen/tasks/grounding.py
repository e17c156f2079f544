"""How a language model is asked to answer from passages: in one wording, whether it learns, is measured or is used."""

from __future__ import annotations

import re
from collections.abc import Sequence

from denizen.llm.prompts import single_turn

# what is said where the passages do not hold the answer
UNANSWERED = "The passages do not say."
_QUESTION = "\n\nQuestion: "
_ASKED = re.compile(r".*</passage \d+>" + _QUESTION + r"([^\n]+)", re.DOTALL)
_PASSAGES = re.compile(r"<passage \d+>\n(.*?)\n</passage \d+>", re.DOTALL)
_CITATION = re.compile(r"\[\d+\]")


def grounded_prompt(question: str, passages: Sequence[str]) -> str:
    """What a user says who wants a question answered from passages, with their numbers as citations, such as [1].

    The passages come first and the question last, so that what is read of passages serves several questions.

    Args:
        question: The question; its lines are made one.
        passages: At least one, the best first.
    """
    asked = " ".join(question.split())
    return single_turn("grounded", {"passages": passages}, question=asked, unanswered=UNANSWERED)


def grounded_question(prompt: str) -> str | None:
    """The question of a `grounded_prompt`; None where the text is none."""
    found = _ASKED.fullmatch(prompt)
    return found[1] if found else None


def grounded_passages(prompt: str) -> list[str]:
    """The passages of a `grounded_prompt`; none where the text is none."""
    return _PASSAGES.findall(prompt) if grounded_question(prompt) else []


def cited(answer: str, number: int = 1) -> str:
    """An answer with the number of the passage that it rests on, where it names none itself."""
    return answer if _CITATION.search(answer) else f"{answer} [{number}]"
