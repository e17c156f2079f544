"""Which of a request's optional parts an endpoint takes: each is sent until it is refused, and then left out.

Many endpoints name what they refuse. Others answer with "forbidden", "not found" or an internal error that speaks of
something else: there a request without the part decides, since its success is what no wrong key, unknown model or
server that is down can bring about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

# statuses by which endpoints refuse a parameter; 401 is always the key, and 502 and above the server itself
_REFUSALS = {400, 403, 404, 422, 500, 501}
_UNSUPPORTED = (
    r"(unsupported|not (be )?support|not permitted|not allowed|not enabled|unrecogni[sz]ed|unknown|deprecated"
    r"|extra_forbidden)"
)


def _named(name: str) -> str:
    # "max_tokens is too large" is no refusal of the parameter, nor is a list of all that are known
    return rf"\b{name}\b.{{0,20}}{_UNSUPPORTED}|{_UNSUPPORTED}.{{0,40}}\b{name}\b"


# what an error says of a part that the endpoint will never take
_WORDS = {
    "logprobs": "logprob",
    "max_tokens": rf"use .{{0,3}}max_completion_tokens|{_named('max_tokens')}",
    "max_completion_tokens": _named("max_completion_tokens"),
    "temperature": rf"temperature.{{0,80}}{_UNSUPPORTED}|{_UNSUPPORTED}.{{0,40}}\btemperature",
    "response_format": "response.?format|json.?(schema|mode|object)|structured|guided|grammar",
    # a chat template without a place for it
    "system": rf"(system|developer) (role|message|instruction|prompt)s?.{{0,30}}{_UNSUPPORTED}|roles must alternate",
}
# whose value may be refused under the parameter's name, so that the name alone says nothing
_LIMITS = ("max_tokens", "max_completion_tokens")
# what is left out to see whether it is at fault: without the others a reply has no limit, or is none to our question
_TRIED = ("response_format", "logprobs", "temperature")
# an error of the prompt, which no parameter changes
_OF_THE_PROMPT = re.compile(
    r"context|too (long|large|many)|exceed|maximum.{0,30}(length|tokens)|content.{0,12}(filter|policy)|moderat|flagged",
    re.IGNORECASE,
)


class Parameters:
    """What one endpoint was seen to take and to refuse.

    Attributes:
        refused: Names of the parts that are not sent any more; "system" is a message of that role.
    """

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self._taken: set[tuple[str, str]] = set()

    def sent(self, body: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
        """A request without what the endpoint refuses, and without some names more."""
        left_out = {*self.refused, *without}
        kept = {name: value for name, value in body.items() if name not in left_out}
        if "max_tokens" in left_out and "max_completion_tokens" not in left_out:
            kept["max_completion_tokens"] = body["max_tokens"]
        if "system" in left_out:
            kept["messages"] = [{"role": "user", "content": "\n\n".join(part["content"] for part in body["messages"])}]
        return kept

    def refuse(self, status: int, said: str, param: str, sent: Mapping[str, Any]) -> bool:
        """Whether an error names a part of what was sent, which is left out from then on.

        Args:
            status: The HTTP status.
            said: The error's text, without the name of the model.
            param: The parameter that the error is about, if it says so in a field of its own; it may name a part of it.
            sent: The request.
        """
        if status not in _REFUSALS:
            return False
        for name, words in _WORDS.items():
            named = re.match(rf"{name}\b", param) and name not in _LIMITS
            if not _has(sent, name) or not (named or re.search(words, said, re.IGNORECASE)):
                continue
            # an internal error about what was taken before is an internal error
            if status < 500 or _part(sent, name) not in self._taken:
                self.refused.add(name)
                return True
        return False

    def trials(self, status: int, said: str, sent: Mapping[str, Any]) -> list[frozenset[str]]:
        """What to leave out, try by try, to see whether it is at fault: nothing that was ever taken as it was sent."""
        if status not in _REFUSALS or _OF_THE_PROMPT.search(said):
            return []
        names = [name for name in _TRIED if name in sent and _part(sent, name) not in self._taken]
        return [frozenset([name]) for name in names] + [frozenset(names)] * (len(names) > 1)

    def learn(self, sent: Mapping[str, Any], tried: frozenset[str], body: Mapping[str, Any]) -> None:
        """Learns from a request that was answered.

        Args:
            sent: The request.
            tried: What was left out of it on trial, after it was refused whole.
            body: The whole request.
        """
        self._taken.update(_part(sent, name) for name in _TRIED if name in sent)
        # another call may have been answered with it meanwhile
        self.refused.update(name for name in tried if _part(body, name) not in self._taken)


def _has(sent: Mapping[str, Any], name: str) -> bool:
    return name in sent or (name == "system" and sent["messages"][0]["role"] == "system")


def _part(sent: Mapping[str, Any], name: str) -> tuple[str, str]:
    # by its value: one schema, or one temperature, may be taken and another one not
    return name, json.dumps(sent.get(name), sort_keys=True)
