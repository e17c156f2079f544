"""What waits to be computed, and how long that should take: who comes when it is too much hears when to come again."""

from __future__ import annotations

import math

# before anything has been measured: what a small model reads on two cores without bf16
_TOKENS_A_SECOND = 5000.0


class BusyError(Exception):
    """Too much waits.

    Args:
        waiting: Tokens that wait.
        seconds: When there should be room again.
    """

    def __init__(self, waiting: int, seconds: int) -> None:
        super().__init__(f"{waiting:,} tokens wait")
        self.waiting, self.seconds = waiting, seconds


class Backlog:
    """Tokens that wait.

    Args:
        most: How many may.
    """

    def __init__(self, most: int) -> None:
        self.waiting = 0
        self._most = most
        self._speed = _TOKENS_A_SECOND

    def check(self, wanted: int = 1) -> None:
        """Whether so many tokens more may wait. A request that is alone is never too large.

        Raises:
            BusyError: When too much waits already.
        """
        if self.waiting and self.waiting + wanted > self._most:
            raise BusyError(self.waiting, max(1, math.ceil(self.waiting / self._speed)))

    def measured(self, tokens: int, seconds: float) -> None:
        """Learns how fast tokens are computed."""
        self._speed += (tokens / max(1e-6, seconds) - self._speed) / 8
