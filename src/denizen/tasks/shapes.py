"""Rows of training data in the shapes in which people have them, each read as turns, an answer and perhaps a worse one.

Recognised by their columns: messages (OpenAI, TRL), conversations (ShareGPT), prompt or question with chosen and
rejected (DPO; the prompt may stand in both answers), prompt and completion, instruction, input and output (Alpaca),
question and answer, a text with its summary, a text with its label. Turns may be a list, a list as JSON writes it, or
one text in which they begin with Human: and Assistant:.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from denizen.data.formats.rows import as_text, is_missing
from denizen.data.task_rows import Message, Task

Turns = tuple[Message, ...]

_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "model": "assistant"}
_KNOWN = ("system", "user", "assistant")
_PROMPTS = ("prompt", "question", "query", "instruction")
_COMPLETIONS = ("completion", "response", "answer")
_SUMMARIZED = ("dialogue", "article", "text", "passage")
# a whole conversation as one text (the layout of hh-rlhf)
_SPEAKER = re.compile(r"(?:^|\n\n)(system|human|user|assistant|gpt):[ \t]*", re.IGNORECASE)


@dataclass(frozen=True)
class Shape:
    """What a row says.

    Attributes:
        messages: What is asked, a user's turn last; of a text with summary or label that text alone.
        answer: The reference, or the chosen answer.
        rejected: The worse answer, where the row has two.
        task: What its columns say that it is; None: nothing.
    """

    messages: Turns
    answer: str
    rejected: str | None = None
    task: Task | None = None


def shape_of(row: Mapping[str, Any]) -> Shape:
    """Reads a row.

    Raises:
        ValueError: Saying what is missing or wrong.
    """
    # a column that is empty in this row may be another row's; where nothing else fits, what is empty is said
    for has in ({name for name, value in row.items() if not is_missing(value)}, set(row)):
        for needed, read in _SHAPES:
            if all(any(name in has for name in names) for names in needed):
                return _checked(read(row))
    raise ValueError(
        f"has the columns {sorted(map(str, row))}; it needs messages, conversations, prompt and completion, prompt, "
        "chosen and rejected, instruction and output, question and answer, text and summary, or text and label"
    )


def _checked(found: Shape) -> Shape:
    if not found.messages or found.messages[-1].role != "user" or not found.messages[-1].content.strip():
        raise ValueError("asks nothing: before the answer there must be a user's turn that is not empty")
    if not found.answer.strip():
        raise ValueError("the answer is empty")
    if found.rejected is not None and not found.rejected.strip():
        raise ValueError("the rejected answer is empty")
    if found.rejected is not None and found.rejected.strip() == found.answer.strip():
        raise ValueError("chosen and rejected are the same, so nothing is preferred")
    return found


def _conversation(row: Mapping[str, Any]) -> Shape:
    """All turns in one column, the answer last."""
    turns = _turns(_value(row, ("messages", "conversations")))
    system = as_text(row.get("system"))
    if system and turns[0].role != "system":
        turns = (Message("system", system), *turns)
    return Shape(*_parted(turns))


def _pair(row: Mapping[str, Any]) -> Shape:
    """Two answers; what comes before them stands in a column of its own, or at the begin of both."""
    chosen, rejected = (_listed("" if is_missing(row[name]) else row[name]) for name in ("chosen", "rejected"))
    asked = _value(row, _PROMPTS)
    if isinstance(chosen, str) and isinstance(rejected, str):
        if asked is None:
            asked, chosen, rejected = _shared_text(chosen, rejected)
        return Shape(_with_system(row, _asked(asked)), chosen.strip(), rejected.strip())
    own, other = _turns(chosen), _turns(rejected)
    shared = min(_alike(own, other), len(own) - 1, len(other) - 1)
    if len(own) != shared + 1 or len(other) != shared + 1 or {own[-1].role, other[-1].role} != {"assistant"}:
        raise ValueError("chosen and rejected must differ in one turn of the assistant, the last")
    before = own[:shared] or (_asked(asked) if asked is not None else ())
    return Shape(_with_system(row, before), own[-1].content, other[-1].content)


def _completed(row: Mapping[str, Any]) -> Shape:
    turns, answer = _asked(_value(row, _PROMPTS)), _listed(_value(row, _COMPLETIONS))
    if isinstance(answer, list):
        turns, said = _parted((*turns, *_turns(answer)))
    else:
        said = _text(answer, "the answer").strip()
    return Shape(_with_system(row, turns), said)


def _alpaca(row: Mapping[str, Any]) -> Shape:
    parts = [_text(row["instruction"], "instruction"), as_text(row.get("input")) or ""]
    asked = "\n\n".join(part.strip() for part in parts if part.strip())
    return Shape(_with_system(row, (Message("user", asked),)), _text(row["output"], "output").strip())


def _summary(row: Mapping[str, Any]) -> Shape:
    text, summary = _text(_value(row, _SUMMARIZED), "the text"), _text(row["summary"], "summary")
    return Shape((Message("user", text.strip()),), summary.strip(), task="summarize")


def _label(row: Mapping[str, Any]) -> Shape:
    text, label = _text(_value(row, ("text", "passage")), "the text"), _text(row["label"], "label")
    return Shape((Message("user", text.strip()),), " ".join(label.split()), task="classify")


# which of some columns there must be, and who reads them
_SHAPES: tuple[tuple[tuple[Sequence[str], ...], Callable[[Mapping[str, Any]], Shape]], ...] = (
    ((("chosen",), ("rejected",)), _pair),
    ((("messages", "conversations"),), _conversation),
    ((("instruction",), ("output",)), _alpaca),
    ((_PROMPTS, _COMPLETIONS), _completed),
    ((_SUMMARIZED, ("summary",)), _summary),
    ((("text", "passage"), ("label",)), _label),
)


def _asked(value: Any) -> Turns:
    """What a column asks: turns, or a text."""
    return _turns(value) if isinstance(_listed(value), list) else _spoken(_text(value, "the prompt"))


def _value(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if not is_missing(row.get(name))), None)


def _text(value: Any, what: str) -> str:
    found = as_text(value)
    if found is None:
        raise ValueError(f"{what} is no text")
    return found


def _listed(value: Any) -> Any:
    """A list that stands as JSON in a text, as in a CSV file; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _turns(value: Any) -> Turns:
    turns = _listed(value)
    if not isinstance(turns, list) or not turns:
        raise ValueError("its turns are no list of role and content")
    return tuple(_turn(turn) for turn in turns)


def _turn(turn: Any) -> Message:
    if not isinstance(turn, Mapping):
        raise ValueError("a turn is no object with role and content")
    said = turn.get("role") or turn.get("from")
    role = _ROLES.get(str(said).lower(), str(said).lower())
    if role not in _KNOWN:
        raise ValueError(f"a turn has the role {said!r}; there are {', '.join(_KNOWN)}, and human and gpt for them")
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        if any(not isinstance(part, Mapping) or not isinstance(part.get("text"), str) for part in content):
            raise ValueError(f"a turn of {role} holds something that is no text")
        content = "\n".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise ValueError(f"a turn of {role} holds no text")
    return Message(role, content.strip())


def _parted(turns: Turns) -> tuple[Turns, str]:
    if not any(turn.role == "assistant" for turn in turns):
        raise ValueError("has no turn of the assistant")
    if turns[-1].role != "assistant":
        raise ValueError(f"ends with a turn of {turns[-1].role}; the answer, a turn of the assistant, must be last")
    return turns[:-1], turns[-1].content


def _spoken(text: str) -> Turns:
    """A prompt that is one text: its speakers' turns where it names them, else one turn of the user."""
    first = _SPEAKER.match(text.strip())
    if not first:
        return (Message("user", text.strip()),)
    _, *pieces = _SPEAKER.split(text.strip())
    turns = [
        Message(_ROLES.get(role.lower(), role.lower()), said.strip())
        for role, said in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    # the speaker whose words are asked for
    if turns[-1] == Message("assistant", ""):
        turns.pop()
    return tuple(turns)


def _shared_text(chosen: str, rejected: str) -> tuple[str, str, str]:
    """The prompt that two answers begin with, and what is left of each."""
    shared = chosen[: _alike(chosen, rejected)]
    spoken = list(_SPEAKER.finditer(shared))
    end = spoken[-1].end() if spoken else shared.rfind(" ") + 1
    if not shared[:end].strip():
        raise ValueError("has no prompt, and chosen and rejected do not begin with the same one")
    return shared[:end], chosen[end:], rejected[end:]


def _with_system(row: Mapping[str, Any], turns: Turns) -> Turns:
    system = as_text(row.get("system")) or as_text(row.get("system_prompt"))
    return (Message("system", system.strip()), *turns) if system and turns and turns[0].role != "system" else turns


def _alike(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many of their first items are the same."""
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))
