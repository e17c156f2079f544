"""An LLM that writes the next instruction from what the one before has led to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import cast

from pydantic import BaseModel

from denizen.engine.errors import InputError
from denizen.llm.answer import Failure, Prompt
from denizen.llm.client import LLM
from denizen.llm.prompts import messages
from denizen.llm.replies import TRANSPORT

STAGE = "prompt-search"
# a reply that is the instruction as it was
UNCHANGED = "unchanged"
PROMPT = "task_sentence"
# arXiv 2602.04731's, who let 1,000 tokens be written; a sentence needs no more than this
_TEMPERATURE, _TOKENS = 0.7, 200
# what stands before every query takes its tokens, and these are 60 at most of English
_LONGEST = 300
# replies of no use, and none of any, before a model is given up
_USELESS = 5


class TaskSentence(BaseModel):
    """The reply to task_sentence.txt; small models copy the old sentence unless they say first what is asked for."""

    kind: str
    sentence: str


class Proposer:
    """Asks an LLM for instructions, each time for another one: the same search asks the same and finds the replies.

    Attributes:
        calls: How often it was asked.
        failures: Why there was no instruction, and how often; "budget" is the end of all asking.
    """

    def __init__(self, llm: LLM, advance: Callable[[int], None] = lambda count: None) -> None:
        self.llm = llm
        self.calls = 0
        self.failures: Counter[str] = Counter()
        self._advance = advance

    def propose(self, sentence: str, shown: Sequence[str]) -> str | None:
        """A new instruction; None where the LLM gave none that is of use, or the budget has ended.

        Args:
            sentence: The instruction as it is.
            shown: Queries with what it has led to.

        Raises:
            InputError: When no reply came, or the first ones were all of no use.
        """
        material = "\n\n".join((f"the old instruction: {sentence}", *shown))
        asked = messages(PROMPT, {"examples": material})
        prompt = Prompt(asked, TaskSentence, _TOKENS, temperature=_TEMPERATURE, repeat=self.calls)
        (reply,) = self.llm.ask([prompt], STAGE)
        if isinstance(reply, Failure):
            self._failed(reply)
            return None
        found = one_line(cast("TaskSentence", reply.value).sentence)
        self._replied()
        if not 0 < len(found) <= _LONGEST:
            self._useless("length", f"a sentence of {len(found):,} characters, and 1 to {_LONGEST} are of use")
            return None
        if found == sentence:
            # of no use, and no reason to give a model up
            self.failures[UNCHANGED] += 1
            return None
        return found

    def _failed(self, reply: Failure) -> None:
        if reply.kind == "budget":
            self.failures["budget"] += 1
            return
        if reply.kind == TRANSPORT:
            # going on without it would be another search than the one that is resumed
            raise InputError(
                f"{STAGE}: no reply came from {self.llm.model}: {reply.message}. See that the server runs, then "
                "run the same command again: what came is kept, and nothing is paid twice"
            )
        self._replied()
        self._useless(reply.kind, reply.message)

    def _replied(self) -> None:
        self.calls += 1
        self._advance(1)

    def _useless(self, kind: str, message: str) -> None:
        self.failures[kind] += 1
        if self.failures.total() - self.failures[UNCHANGED] == self.calls >= _USELESS:
            raise InputError(
                f"{STAGE}: the first {self.calls} replies of {self.llm.model} were of no use; the last one: {message}. "
                "See the raw replies in the store, and take a model that keeps to JSON"
            )


def one_line(sentence: str) -> str:
    """An instruction as it can stand before a query: in one line, since its end is the end of a line."""
    return re.sub(r"\s+", " ", sentence).strip()
