"""Long work in pieces: others have their turn in between, and what nobody waits for is not done."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from denizen.serve.backlog import BusyError
from denizen.serve.pieces import Pieces

pytestmark = pytest.mark.anyio


def _slowly(piece: int) -> int:
    time.sleep(0.02)
    return piece


async def test_others_have_their_turn_between_two_pieces() -> None:
    ended: list[str] = []
    with ThreadPoolExecutor(1) as thread:
        pieces = Pieces(thread, 1000)

        async def asked(name: str, numbers: list[int]) -> None:
            assert await pieces.done(_slowly, numbers, [1] * len(numbers)) == numbers
            ended.append(name)

        await asyncio.gather(asked("long", [1, 2, 3, 4]), asked("short", [5]))
    assert ended == ["short", "long"] and pieces.backlog.waiting == 0


async def test_what_nobody_waits_for_is_not_done() -> None:
    done: list[int] = []
    with ThreadPoolExecutor(1) as thread:
        pieces = Pieces(thread, 1000)
        gone = asyncio.ensure_future(pieces.done(lambda piece: done.append(_slowly(piece)), range(50), [1] * 50))
        await asyncio.sleep(0.03)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    assert len(done) < 5 and pieces.backlog.waiting == 0


async def test_who_comes_when_too_much_waits_is_told_when_to_come_again() -> None:
    with ThreadPoolExecutor(1) as thread:
        pieces = Pieces(thread, 10)
        first = asyncio.ensure_future(pieces.done(_slowly, [1, 2], [10, 10]))
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="20 tokens wait"):
            await pieces.done(_slowly, [3], [1])
        assert await first == [1, 2]
        assert await pieces.done(_slowly, [3], [100]) == [3]
