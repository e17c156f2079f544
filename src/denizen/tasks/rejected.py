"""Worse answers than a reference, and how each is made: without the passage, from a wrong one, cut off, or as it is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from denizen.data.task_rows import Message, TaskRow, Way
from denizen.tasks.grounding import grounded_prompt, grounded_question

WAYS: tuple[Way, ...] = ("no passage", "wrong passage", "cut off", "own answer")
# of a reference, before the word that it ends within: so little is gone that length says nothing
_LEFT = 0.96
# characters of which that is a few words
_LEAST_CHARS = 80
_CITATIONS = re.compile(r"(?:\s*\[\d+\])+\s*$")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Attempt:
    """What makes a rejected answer to a row.

    Attributes:
        row: The row.
        way: How it is made.
        messages: What the model is asked; None where the reference itself is cut.
    """

    row: TaskRow
    way: Way
    messages: tuple[Message, ...] | None


def dealt(rows: Sequence[TaskRow], random: np.random.Generator) -> list[Attempt]:
    """Gives each row a way, each way to as many rows as it can be: the rarest so far of those that fit a row.

    Args:
        rows: Rows of one side, in the order in which they are dealt out.
        random: Which wrong passage is taken.
    """
    counts: Counter[Way] = Counter()
    found = []
    evidence = [row for row in rows if row.evidence]
    for row in rows:
        others = [other for other in evidence if other.document != row.document and other.evidence != row.evidence]
        wrong = others[int(random.integers(len(others)))].evidence if others else None
        asked = {way: _messages(row, way, wrong) for way in _fitting(row, wrong)}
        if asked:
            way = min(asked, key=lambda way: (counts[way], WAYS.index(way)))
            counts[way] += 1
            found.append(Attempt(row, way, asked[way]))
    return found


def cut_off(answer: str) -> str:
    """An answer without its last words; its citations stay, so that they are not what tells the two apart."""
    cited = _CITATIONS.search(answer)
    body = answer[: cited.start()] if cited else answer
    end = int(len(body) * _LEFT)
    blank = body.rfind(" ", end // 2, end)
    left = body[: blank if blank > 0 else end].rstrip(" .,;:!?")
    return left + (cited[0] if cited else "")


def overlap(answer: str, reference: str) -> float:
    """The F1 of two texts' words (SQuAD, arXiv 1606.05250, without its dropping of articles), in [0, 1]."""
    one, other = (Counter(_WORD.findall(_CITATIONS.sub("", text).lower())) for text in (answer, reference))
    shared = (one & other).total()
    return 2 * shared / (one.total() + other.total()) if shared else 0.0


def _fitting(row: TaskRow, wrong: str | None) -> list[Way]:
    grounded = grounded_question(row.messages[-1].content) is not None
    fits = {
        "no passage": grounded,
        "wrong passage": grounded and wrong is not None,
        "cut off": len(row.answer) >= _LEAST_CHARS,
        "own answer": True,
    }
    return [way for way in WAYS if fits[way]]


def _messages(row: TaskRow, way: Way, wrong: str | None) -> tuple[Message, ...] | None:
    *before, last = row.messages
    question = grounded_question(last.content) or ""
    if way == "cut off":
        return None
    said = {"no passage": question, "wrong passage": grounded_prompt(question, [wrong or ""])}.get(way, last.content)
    return (*before, Message("user", said))
