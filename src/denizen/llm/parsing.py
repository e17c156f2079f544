"""From the text of a reply to the object that was asked for, or to the reason why there is none.

Lenient where nothing can be mistaken: a fence, prose or a block of thinking around one JSON object is skipped, and
where a server has taken the answer for thinking, thinking that ends with the one valid object is the answer. Nothing is
guessed: two different valid objects, a broken object or a key given twice make a reply unparsable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from denizen.llm.answer import Answer, Failure, Kind
from denizen.llm.replies import StoredReply

if TYPE_CHECKING:
    import pydantic

_REFUSAL = re.compile(
    r"\W*(i'?m (very |so )?sorry|i am (very |so )?sorry|sorry\b|i apologi[sz]e|i can ?not\b|i can'?t\b|i won'?t\b"
    r"|i'?m (unable|not able)|i am (unable|not able)|as an ai\b|unfortunately,? i\b)",
    re.IGNORECASE,
)
# a brace before a name in quotes, or before its end, begins an object; any other is prose, such as {this}
_OBJECT = re.compile(r'\{\s*["}]')


_CUT: tuple[Kind, str] = "truncated", "cut at max_tokens before the JSON object was complete"


def parse_reply(reply: StoredReply, model: type[pydantic.BaseModel]) -> Answer | Failure:
    """Reads a reply; its finish_reason is "length" when it was cut at max_tokens.

    Args:
        reply: As it came.
        model: What the reply must be.
    """
    found = _value(reply, model)
    if isinstance(found, tuple):
        return Failure(reply.key, *found, reply.text)
    return Answer(reply.key, found, reply.text, reply.logprob, reply.cost)


def _value(reply: StoredReply, model: type[pydantic.BaseModel]) -> pydantic.BaseModel | tuple[Kind, str]:
    if reply.refusal or reply.finish_reason == "content_filter":
        return "refusal", reply.refusal or "stopped by the endpoint's content filter"
    answer, cut = _without_thinking(reply.text), reply.finish_reason == "length"
    if not answer.strip() and not cut:
        return _answer_in_thinking(reply.text, model)
    try:
        objects = list(_objects(answer))
    except (ValueError, RecursionError) as error:
        return _CUT if cut else ("unparsable", f"broken JSON: {error}")
    if objects:
        return _one_valid(objects, model)
    if _REFUSAL.match(answer.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")):
        return "refusal", answer.strip().splitlines()[0]
    return _CUT if cut else ("unparsable", "no JSON object in the reply")


def _answer_in_thinking(text: str, model: type[pydantic.BaseModel]) -> pydantic.BaseModel | tuple[Kind, str]:
    thought = text.replace("<think>", "").replace("</think>", "")
    # an object that the thinking goes on after was weighed, and need not be what it came to
    if thought.rstrip("`\n\t ").endswith("}"):
        with suppress(ValueError, RecursionError):
            found = _one_valid(list(_objects(thought)), model)
            if not isinstance(found, tuple):
                return found
    return "empty", "thought and answered nothing" if text.strip() else "answered nothing"


def _one_valid(objects: list[str], model: type[pydantic.BaseModel]) -> pydantic.BaseModel | tuple[Kind, str]:
    from pydantic import ValidationError

    valid: list[pydantic.BaseModel] = []
    problems: list[str] = []
    for found in objects:
        try:
            value = model.model_validate_json(found)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            problems.append(f"{'.'.join(map(str, first['loc'])) or 'the object'}: {first['msg']}")
            continue
        if value not in valid:
            valid.append(value)
    if len(valid) > 1:
        return "unparsable", f"{len(valid)} different valid objects in one reply"
    return valid[0] if valid else ("schema", problems[0] if problems else "no object")


def _without_thinking(text: str) -> str:
    """A reply without the thinking before it; a chat template may have written the opening <think> itself."""
    if _OBJECT.match(text.lstrip()):
        return text
    opened, end, answer = text.partition("</think>")
    if end:
        return answer
    return "" if opened.lstrip().startswith("<think>") else text


def _objects(text: str) -> Iterator[str]:
    """The objects that stand in a text side by side, as strict JSON: a line break within a string is escaped.

    Raises:
        ValueError: When one is broken: what stands inside it must not be taken for the answer.
        RecursionError: When one is nested too deeply.
    """
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_once_each, parse_constant=_no_number)
    place = _OBJECT.search(text)
    while place:
        found, end = decoder.raw_decode(text, place.start())
        yield json.dumps(found)
        place = _OBJECT.search(text, end)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
