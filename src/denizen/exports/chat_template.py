"""A chat template as what stands before and after each turn, which is all that other servers' templates can say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from denizen.data.task_rows import Message
from denizen.engine.errors import InputError
from denizen.language_models.language_model import templated

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# texts that no template looks for
_SAID = {"system": "<SYSTEM 7f3>", "user": "<USER 7f3>", "assistant": "<ASSISTANT 7f3>"}
_OTHER = {"system": "Be kind.", "user": "and\nthen?", "assistant": "So it is."}
_CONVERSATIONS = (
    ("user",),
    ("system", "user"),
    ("user", "assistant", "user"),
    ("system", "user", "assistant", "user"),
    ("user", "assistant", "user", "assistant", "user"),
)


@dataclass(frozen=True)
class Turns:
    """What stands round turns.

    Attributes:
        around: Role to what stands before and after what it says; no "system" where its turn is none of its own.
        begin: Before all turns, the token that texts begin with included.
        answer: Before the answer that is asked for.
    """

    around: Mapping[str, tuple[str, str]]
    begin: str
    answer: str

    def text(self, turns: Sequence[Message]) -> str:
        """Turns as the template writes them, with what an answer begins with."""
        parts = [f"{self.around[turn.role][0]}{turn.content}{self.around[turn.role][1]}" for turn in turns]
        return "".join((self.begin, *parts, self.answer))


def turns_of(tokenizer: PreTrainedTokenizerBase, name: str) -> Turns:
    """What stands round turns in a tokenizer's chat template.

    Args:
        tokenizer: The tokenizer.
        name: What people call the model.

    Raises:
        InputError: When it has no template, or one that does more than that.
    """
    if not tokenizer.chat_template:
        raise InputError(f"{name} has no chat template, so nothing says how it is asked; export it to merged or gguf")
    begin = str(tokenizer.bos_token or "")
    whole = _rendered(tokenizer, ("user", "assistant", "user"), _SAID)
    begin = begin if begin and whole.startswith(begin) else ""
    first, _, rest = whole[len(begin) :].partition(_SAID["user"])
    middle, _, rest = rest.partition(_SAID["assistant"])
    between, _, end = rest.partition(_SAID["user"])
    # what follows the user's turn is the same whether an answer stands there or is asked for
    answer = _answer(tokenizer, end)
    after = end.removesuffix(answer)
    if not middle.endswith(answer) or not between.endswith(first) or middle.removesuffix(answer) != after:
        raise _too_much(name)
    around = {"user": (first, after), "assistant": (answer, between.removesuffix(first))}
    found = Turns({**around, **_system(tokenizer, begin, first)}, begin, answer)
    for roles in _CONVERSATIONS:
        if "system" in roles and "system" not in found.around:
            continue
        for said in (_SAID, _OTHER):
            if found.text([Message(role, said[role]) for role in roles]) != _rendered(tokenizer, roles, said):
                raise _too_much(name)
    return found


def _answer(tokenizer: PreTrainedTokenizerBase, end: str) -> str:
    """What an answer begins with: what asking for one adds."""
    asked = [Message("user", _SAID["user"])]
    plain = templated(tokenizer, asked, add_generation_prompt=False)
    _, _, after = plain.partition(_SAID["user"])
    return end.removeprefix(after)


def _system(tokenizer: PreTrainedTokenizerBase, begin: str, first: str) -> dict[str, tuple[str, str]]:
    """What stands round a system's turn, where the template takes one."""
    try:
        text = _rendered(tokenizer, ("system", "user"), _SAID)[len(begin) :]
    except InputError:
        return {}
    before, found, rest = text.partition(_SAID["system"])
    after, _, _ = rest.partition(_SAID["user"])
    return {"system": (before, after.removesuffix(first))} if found and after.endswith(first) else {}


def _rendered(tokenizer: PreTrainedTokenizerBase, roles: Sequence[str], said: Mapping[str, str]) -> str:
    return templated(tokenizer, [Message(role, said[role]) for role in roles], add_generation_prompt=True)


def _too_much(name: str) -> InputError:
    return InputError(
        f"the chat template of {name} does more than to write something before and after each turn, which no Modelfile "
        "can say; export it to merged or gguf, which keep the template as it is"
    )
