"""Texts of many requests embedded together: whoever asks for little does not wait for whoever asks for much.

Each text waits with a tag, the tokens that its request has had before it counted from where the server was when it came
(start-time fair queueing, Goyal et al. 1996): of a thousand passages the first stand beside another's one question, and
the rest behind it. What is taken together has the same prompt, and as many tokens as keep the processor busy.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from denizen.retrievers.store import Vectors
from denizen.serve.backlog import Backlog

# tokens of one turn: some batches of the encoder for each core, and well below a second of MiniLM's
_TURN = 8192


@dataclass(frozen=True)
class Asked:
    """How texts are to be embedded.

    Attributes:
        kind: "query" or "document".
        prompt: Another prompt than the one for their kind.
    """

    kind: str
    prompt: str | None = None


@dataclass(order=True)
class _Waiting:
    tag: float
    number: int
    text: str = field(compare=False)
    asked: Asked = field(compare=False)
    tokens: int = field(compare=False)
    done: asyncio.Future[Vectors] = field(compare=False)
    taken: bool = field(compare=False, default=False)


class Batcher:
    """Embeds texts in one thread, in turns.

    Args:
        embed: From texts, which are all asked alike, to vectors of shape (texts, dim).
        thread: Where that is done.
        most_waiting: Tokens that may wait.
        turn: Tokens that are embedded at a time.
    """

    def __init__(
        self,
        embed: Callable[[Sequence[str], Asked], Vectors],
        thread: ThreadPoolExecutor,
        most_waiting: int,
        turn: int = _TURN,
    ) -> None:
        self.backlog = Backlog(most_waiting)
        self._embed, self._thread, self._turn = embed, thread, turn
        self._queue: list[_Waiting] = []
        self._numbers = itertools.count()
        # the tag of what was taken last
        self._now = 0.0
        self._task: asyncio.Task[None] | None = None

    async def embed(self, texts: Sequence[str], asked: Asked, tokens: Sequence[int]) -> Vectors:
        """The vectors of a request's texts, shape (texts, dim).

        Args:
            texts: At least one.
            asked: How they are embedded.
            tokens: How many tokens each of them has.

        Raises:
            BusyError: When too much waits already. A request that is alone is never too large.
        """
        wanted = sum(tokens)
        self.backlog.check(wanted)
        loop, tag, own = asyncio.get_running_loop(), self._now, []
        for text, count in zip(texts, tokens, strict=True):
            tag += count
            own.append(_Waiting(tag, next(self._numbers), text, asked, count, loop.create_future()))
        for each in own:
            heapq.heappush(self._queue, each)
        self.backlog.waiting += wanted
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work())
        try:
            return np.stack(await asyncio.gather(*(each.done for each in own)))
        finally:
            # of a request that has ended early nothing is computed any more
            for each in own:
                each.done.cancel()
                if not each.taken:
                    self._take_out(each)

    def _take_out(self, each: _Waiting) -> None:
        each.taken = True
        self.backlog.waiting -= each.tokens

    async def _work(self) -> None:
        while self._queue:
            turn = self._take()
            if not turn:
                continue
            texts, asked = [each.text for each in turn], turn[0].asked
            begun = time.perf_counter()
            try:
                vectors = await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, texts, asked)
            except Exception as error:  # noqa: BLE001  (whoever waits for these texts is told, and the server goes on)
                for each in turn:
                    if not each.done.done():
                        each.done.set_exception(error)
                        # whoever waits for several hears of the first; asyncio would log the others
                        each.done.exception()
                continue
            self.backlog.measured(sum(each.tokens for each in turn), time.perf_counter() - begun)
            for each, vector in zip(turn, vectors, strict=True):
                if not each.done.done():
                    each.done.set_result(vector)

    def _take(self) -> list[_Waiting]:
        """What is embedded next, all asked alike; what is asked otherwise stays where it was."""
        turn: list[_Waiting] = []
        others: list[_Waiting] = []
        tokens = 0
        while self._queue and tokens < self._turn:
            first = heapq.heappop(self._queue)
            if first.taken:
                continue
            if first.done.done():
                self._take_out(first)
            elif turn and first.asked != turn[0].asked:
                others.append(first)
            else:
                turn.append(first)
                tokens += first.tokens
                self._take_out(first)
                self._now = max(self._now, first.tag)
        for each in others:
            heapq.heappush(self._queue, each)
        return turn
