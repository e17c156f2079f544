"""Long work in pieces: between two of them others have their turn, and it ends when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from denizen.serve.backlog import Backlog

_Piece = TypeVar("_Piece")
_Done = TypeVar("_Done")


class Pieces:
    """Work of many requests in one thread.

    Args:
        thread: Where that is done.
        most_waiting: Tokens that may wait.
    """

    def __init__(self, thread: ThreadPoolExecutor, most_waiting: int) -> None:
        self.backlog = Backlog(most_waiting)
        self._thread = thread

    async def done(
        self, work: Callable[[_Piece], _Done], pieces: Sequence[_Piece], tokens: Sequence[int]
    ) -> list[_Done]:
        """What comes of each piece.

        Args:
            work: What is done with one.
            pieces: At least one.
            tokens: About how many tokens are read for each of them.

        Raises:
            BusyError: When too much waits already. A request that is alone is never too large.
        """
        left = sum(tokens)
        self.backlog.check(left)
        self.backlog.waiting += left
        found: list[_Done] = []
        try:
            for piece, count in zip(pieces, tokens, strict=True):
                found.append(
                    await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, work, piece, count)
                )
                left -= count
                self.backlog.waiting -= count
        finally:
            self.backlog.waiting -= left
        return found

    def _timed(self, work: Callable[[_Piece], _Done], piece: _Piece, tokens: int) -> _Done:
        begun = time.perf_counter()
        found = work(piece)
        self.backlog.measured(tokens, time.perf_counter() - begun)
        return found
