"""What an LLM is asked, and what comes of it: a valid answer, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pydantic

Kind = Literal["refusal", "empty", "truncated", "unparsable", "schema", "context", "transport", "budget"]


@dataclass(frozen=True)
class Prompt:
    """What is asked.

    Args:
        messages: (role, content) of each message.
        reply: What the reply must be, as JSON.
        max_tokens: The most tokens that the reply itself needs.
        temperature: Sampling temperature.
        logprobs: Ask for the mean token log-probability.
        repeat: Another number is another call of the same prompt (test-retest).
    """

    messages: tuple[tuple[str, str], ...]
    reply: type[pydantic.BaseModel]
    max_tokens: int
    temperature: float = 0.0
    logprobs: bool = False
    repeat: int = 0


@dataclass(frozen=True)
class Answer:
    """A valid reply.

    Args:
        key: Digest of what was asked.
        value: The reply as the object that was asked for.
        text: The reply as it came, with its thinking.
        logprob: Mean log-probability of its tokens, None where the endpoint gives none.
        cost: What the call cost when it was made, None when the price was not known.
    """

    key: str
    value: pydantic.BaseModel
    text: str
    logprob: float | None
    cost: float | None


@dataclass(frozen=True)
class Failure:
    """Why there is no valid reply.

    Args:
        key: Digest of what was asked.
        kind: refusal, empty, truncated, unparsable or schema (a reply that is of no use), context (a reply to a part of
            the prompt), transport (no reply came) or budget (not asked).
        message: What is wrong.
        raw: The reply as it came, or nothing.
    """

    key: str
    kind: Kind
    message: str
    raw: str


def cut_off(outcomes: Iterable[object]) -> int:
    """How many of some answers, judgments and failures a budget cut off."""
    return sum(isinstance(outcome, Failure) and outcome.kind == "budget" for outcome in outcomes)
