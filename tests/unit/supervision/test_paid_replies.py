"""Replies that were paid for stay paid: a prompt's key is what it was in every version before.

A change of a prompt, a reply's form or the key's recipe changes these digests. Then all who have paid pay again, which
must be worth it; the new digests go here with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denizen.data.task_rows import Message, TaskRow
from denizen.llm.answer import Failure, Prompt
from denizen.llm.budget import Budget
from denizen.llm.client import LLM
from denizen.llm.replies import Replies
from denizen.supervision.judging import LLMTeacher, Pair
from denizen.supervision.negatives import prompt_of
from denizen.supervision.synthesis import Persona, Task, question_prompts
from denizen.tasks.grounding import grounded_prompt
from denizen.tasks.label_set import Label, labels_prompt
from denizen.tasks.pairs import both_orders
from denizen.tasks.written import written_prompt

# the first digits, as the version of 2026-11-29 made them: with their codes, markers kept servers from reading once
# what all prompts begin with, and questions got examples
KEYS = {
    "grade": ["0f2df7b6f9c20b34", "3e1414bf525ec32d"],
    "grade again": ["9148685d2f196847", "ee60afc16e7e14d8"],
    "grade several": ["9713d3be6cab6253"],
    "question": ["46573abccfb7dbfa"],
    "keyword": ["e595cd4bc2c96510"],
    "long": ["6d53ebb03090b250"],
    "conversational": ["e49a37c0492b5ed0"],
    "multi-hop": ["0a536f73365884a7"],
    "persona": ["0e77525a90f10a5a"],
    "persona without a domain": ["d781ac78c3303f52"],
    "negative": ["da10115efbdd6cb9"],
    # of rows of tasks, as the version of 2026-11-30 made them
    "task question": ["1f6bc3ccc471b5e1"],
    "task summary": ["38112740bace10c6"],
    "task labels": ["fdf4211b926d0842"],
    "task label": ["53b2007c1120bc98"],
    "task worse": ["ae455b004a86d101", "84a53249e2d79b76"],
}
PAIRS = [
    Pair("q", "d1", "what is gout?", "Gout is a disease of the joints."),
    Pair("q", "d2", "what is gout?", "Lupus is another."),
]


class Heard(LLM):
    """Remembers what it is asked and has no reply."""

    def ask(
        self,
        prompts: Sequence[Prompt],
        stage: str,
        progress: Callable[[int], None] = lambda count: None,
        most: int | None = None,
    ) -> list[Any]:
        self.heard = list(prompts)
        return [Failure(self.key(prompt), "budget", "", "") for prompt in prompts]


def _persona(llm: Heard, domain: str) -> None:
    persona = Persona(llm, "synthesis", lambda texts: np.eye(len(texts), dtype=np.float32), 7)
    persona.write(["what is gout?", "what is lupus?"], domain, 3, None, lambda count: None)


ASKED: dict[str, Callable[[Heard], Any]] = {
    "grade": lambda llm: LLMTeacher(llm, "test").judge(PAIRS, lambda count: None),
    "grade again": lambda llm: LLMTeacher(llm, "test", repeat=1).judge(PAIRS, lambda count: None),
    "grade several": lambda llm: LLMTeacher(llm, "test", together=2).judge(PAIRS, lambda count: None),
    "persona": lambda llm: _persona(llm, "joints"),
    "persona without a domain": lambda llm: _persona(llm, ""),
}


def _of_tasks(what: str) -> Sequence[Prompt]:
    passage = PAIRS[0].passage
    labels = [Label("joints", "Of joints."), Label("skin")]
    if what == "labels":
        return [labels_prompt([pair.passage for pair in PAIRS])]
    if what == "worse":
        asked = (Message("user", grounded_prompt("what is gout?", [passage])),)
        return both_orders(TaskRow("r", "answer", "train", None, "given", asked, "A disease."), "A fruit.")
    task: Any = {"question": "answer", "summary": "summarize", "label": "classify"}[what]
    return [written_prompt(task, passage, labels)]


def _prompts(what: str, llm: Heard) -> Sequence[Prompt]:
    if what in ASKED:
        ASKED[what](llm)
        return llm.heard
    if what.startswith("task "):
        return _of_tasks(what.removeprefix("task "))
    if what == "negative":
        return [prompt_of(PAIRS[0])]
    sources = ("d1", "d2") if what == "multi-hop" else ("d1",)
    domain = "" if what == "multi-hop" else "joints"
    return question_prompts([Task(sources, what, domain, "train")], {pair.doc_id: pair.passage for pair in PAIRS})


@pytest.mark.parametrize("what", KEYS)
def test_a_prompt_has_the_key_that_it_always_had(what: str, tmp_path: Path) -> None:
    replies = Replies(tmp_path / "replies.sqlite", "run")
    llm = Heard("tiny", replies, Budget(allow_unpriced=True), endpoint="http://127.0.0.1:9/v1", thinking_tokens=77)
    assert [llm.key(prompt)[:16] for prompt in _prompts(what, llm)] == KEYS[what]
