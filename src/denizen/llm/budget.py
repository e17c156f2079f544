"""What LLM calls may cost: prices, what was spent, and a limit that stops before the call that would exceed it.

A call's worst case is reserved before it is made and replaced by its true usage afterwards. So whatever the order in
which calls end, what is spent and what is under way never exceed the limit together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from fractions import Fraction
from typing import Literal

from denizen.engine.errors import InputError

# a token is at least one byte of text; what a chat template puts around a message, and around them all
_MESSAGE_TOKENS = 32
_CHAT_TOKENS = 64


@dataclass(frozen=True)
class Prices:
    """Money for a million tokens, of input and of output."""

    input: float
    output: float

    @classmethod
    def read(cls, text: str) -> Prices | None:
        """Reads prices such as "0.15/0.60"; empty text is no prices.

        Raises:
            InputError: When it is not two numbers, 0 or more.
        """
        if not text.strip():
            return None
        found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*/\s*([0-9]*\.?[0-9]+)\s*", text)
        if not found:
            raise InputError(
                f"prices {text!r} are not of the form 0.15/0.60: money for a million input tokens, then for a million "
                "output tokens (0/0 for your own server)"
            )
        return cls(float(found[1]), float(found[2]))

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The money for one call."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1_000_000


@dataclass(frozen=True)
class Spending:
    """Calls, tokens (input and output) and money."""

    calls: int = 0
    tokens: int = 0
    money: float = 0.0

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.calls + other.calls, self.tokens + other.tokens, self.money + other.money)


def worst_prompt_tokens(messages: Sequence[tuple[str, str]]) -> int:
    """The most tokens that messages, each (role, content), can come to with any tokenizer."""
    text = sum(len(content.encode("utf-8", "replace")) for _, content in messages)
    return text + _MESSAGE_TOKENS * len(messages) + _CHAT_TOKENS


class Budget:
    """Limits on calls, tokens and money, counting what is spent and what is reserved by calls under way.

    A server that reports more tokens than the worst case (it ignores max_tokens, say) is counted as it reports: nothing
    can hold that call back, only the next one.

    Args:
        calls: Most calls, None for no limit.
        tokens: Most tokens, input and output, None for no limit.
        money: Most money, in the unit of the prices, None for no limit.
        prices: Prices of the model.
        allow_unpriced: Calls may be made without prices; their cost is then unknown.

    Raises:
        InputError: On a limit below 0, on missing prices that were not allowed, and on a limit of money without prices.
    """

    def __init__(
        self,
        calls: int | None = None,
        tokens: int | None = None,
        money: float | None = None,
        prices: Prices | None = None,
        allow_unpriced: bool = False,
    ) -> None:
        limits: dict[str, float | None] = {"calls": calls, "tokens": tokens, "money": money}
        for name, limit in limits.items():
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                raise InputError(f"the budget of {name} is {limit}; it must be 0 or more")
        if prices is None and money is not None:
            raise InputError(
                f"a budget of {money:g} cannot be kept without prices; give them as 0.15/0.60, money for a million "
                "input and a million output tokens, or limit calls or tokens instead"
            )
        if prices is None and not allow_unpriced:
            raise InputError(
                "the price of the LLM is not known; give prices as 0.15/0.60 (money for a million input and a million "
                "output tokens), 0/0 for your own server, or allow_unpriced to call it all the same"
            )
        self.prices = prices
        self._limits = [None if limit is None else Fraction(limit) for limit in limits.values()]
        self._spent = self._reserved = _exact(Spending())

    @property
    def spent(self) -> Spending:
        """What was spent, without what is reserved."""
        calls, tokens, money = self._spent
        return Spending(int(calls), int(tokens), float(money))

    def calls_left(self, spent: Spending, likely: Spending) -> int | None:
        """How many more calls the limits allow if they cost what calls have cost so far; None without limits.

        Args:
            spent: What was spent.
            likely: What some calls are likely to cost, as long as none was made.
        """
        known = spent if spent.calls else likely
        calls = max(1, known.calls)
        costs = zip(self._limits, _exact(spent), _exact(replace(known, calls=calls)), strict=True)
        left = [math.floor((limit - used) * calls / cost) for limit, used, cost in costs if limit is not None and cost]
        return max(0, min(left)) if left else None

    def begin(self, spent: Spending) -> None:
        """Takes over what the store of replies says was spent, unless calls are under way."""
        if not self._reserved[0]:
            self._spent = _exact(spent)

    def spending(self, prompt_tokens: int, completion_tokens: int) -> Spending:
        """What one call of so many tokens comes to; without prices it costs nothing."""
        money = self.prices.cost(prompt_tokens, completion_tokens) if self.prices else 0.0
        return Spending(1, prompt_tokens + completion_tokens, money)

    def reserve(self, worst: Spending) -> Literal["yes", "wait", "no"]:
        """Asks whether a call may be made, and reserves its worst case if so.

        Returns:
            yes: it is reserved. wait: it may fit when calls under way have ended. no: it does not fit, and never will.
        """
        wanted = _exact(worst)
        if self._fits(_sum(self._spent, self._reserved, wanted)):
            self._reserved = _sum(self._reserved, wanted)
            return "yes"
        return "wait" if self._reserved[0] and self._fits(_sum(self._spent, wanted)) else "no"

    def settle(self, worst: Spending, used: Spending) -> None:
        """Ends a reservation.

        Args:
            worst: What was reserved.
            used: What the call came to: nothing when it was never made, `worst` when nobody knows.
        """
        self._reserved = _sum(self._reserved, [-part for part in _exact(worst)])
        self._spent = _sum(self._spent, _exact(used))

    def _fits(self, total: list[Fraction]) -> bool:
        return all(limit is None or used <= limit for used, limit in zip(total, self._limits, strict=True))


def _exact(spending: Spending) -> list[Fraction]:
    # sums of floats depend on their order and may pass a limit by a rounding error; sums of fractions do not
    return [Fraction(part) for part in astuple(spending)]


def _sum(*parts: list[Fraction]) -> list[Fraction]:
    return [sum(of_kind, Fraction()) for of_kind in zip(*parts, strict=True)]
