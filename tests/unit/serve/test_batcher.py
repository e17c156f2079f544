"""Texts of many requests in turns: who comes first, who is told to come again, what an early end leaves to others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from denizen.retrievers.store import Vectors
from denizen.serve.backlog import BusyError
from denizen.serve.batcher import Asked, Batcher

pytestmark = pytest.mark.anyio
QUERY, PASSAGE = Asked("query"), Asked("document")


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """One, as a server has."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


class Recorder:
    """Embeds a text as its length, and remembers the turns."""

    def __init__(self) -> None:
        self.turns: list[tuple[list[str], Asked]] = []

    def embed(self, texts: Sequence[str], asked: Asked) -> Vectors:
        self.turns.append((list(texts), asked))
        if "broken" in texts:
            raise ValueError("this one")
        return np.array([[len(text)] for text in texts], dtype=np.float32)


async def test_each_gets_its_own_in_order(thread: ThreadPoolExecutor) -> None:
    by = Recorder()
    batcher = Batcher(by.embed, thread, 1000)
    ones = batcher.embed(["a", "bb", "a"], QUERY, [1, 1, 1])
    others = batcher.embed(["ccc"], QUERY, [1])
    found = await asyncio.gather(ones, others)
    assert [each.ravel().tolist() for each in found] == [[1, 2, 1], [3]]
    assert len(by.turns) == 1 and batcher.backlog.waiting == 0


async def test_a_question_does_not_wait_for_all_of_somebodys_passages(thread: ThreadPoolExecutor) -> None:
    by = Recorder()
    batcher = Batcher(by.embed, thread, 10_000, turn=20)
    many = asyncio.ensure_future(batcher.embed([f"p{at}" for at in range(10)], PASSAGE, [10] * 10))
    await asyncio.sleep(0)
    one = asyncio.ensure_future(batcher.embed(["q"], QUERY, [10]))
    await asyncio.gather(many, one)
    # two passages had been taken when it came, and its tag is that of the third: one turn more, of six
    assert [asked for _, asked in by.turns].index(QUERY) <= 2 < len(by.turns) - 1
    assert [text for texts, asked in by.turns for text in texts if asked == PASSAGE] == [f"p{at}" for at in range(10)]


async def test_prompts_are_not_mixed_in_a_turn(thread: ThreadPoolExecutor) -> None:
    by = Recorder()
    batcher = Batcher(by.embed, thread, 1000)
    kinds = (QUERY, PASSAGE, Asked("query", "find: "), QUERY)
    await asyncio.gather(*(batcher.embed([str(at)], asked, [1]) for at, asked in enumerate(kinds)))
    assert sorted((texts, asked.kind, asked.prompt or "") for texts, asked in by.turns) == [
        (["0", "3"], "query", ""),
        (["1"], "document", ""),
        (["2"], "query", "find: "),
    ]


async def test_who_comes_when_too_much_waits_is_told_when_to_come_again(thread: ThreadPoolExecutor) -> None:
    batcher = Batcher(Recorder().embed, thread, 100)
    # alone, it may be larger than what may wait
    first = asyncio.ensure_future(batcher.embed(["a"] * 12, QUERY, [10] * 12))
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="120 tokens wait") as told:
        await batcher.embed(["b"], QUERY, [1])
    assert told.value.seconds == 1
    await first
    assert (await batcher.embed(["b"], QUERY, [1])).shape == (1, 1)


async def test_what_nobody_waits_for_any_more_is_not_computed(thread: ThreadPoolExecutor) -> None:
    by = Recorder()
    batcher = Batcher(by.embed, thread, 1000)
    gone = asyncio.ensure_future(batcher.embed(["gone"], QUERY, [5]))
    stays = asyncio.ensure_future(batcher.embed(["stays"], QUERY, [5]))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).ravel().tolist() == [5]
    assert by.turns == [(["stays"], QUERY)] and batcher.backlog.waiting == 0


async def test_what_fails_is_told_to_those_who_asked_and_the_next_is_served(thread: ThreadPoolExecutor) -> None:
    batcher = Batcher(Recorder().embed, thread, 1000, turn=1)
    found = await asyncio.gather(
        batcher.embed(["broken", "broken"], QUERY, [1, 1]),
        batcher.embed(["fine"], PASSAGE, [1]),
        return_exceptions=True,
    )
    assert isinstance(found[0], ValueError)
    assert np.asarray(found[1]).ravel().tolist() == [4]


async def test_who_has_left_takes_no_room_behind_others(thread: ThreadPoolExecutor) -> None:
    batcher = Batcher(Recorder().embed, thread, 100, turn=10)
    first = asyncio.ensure_future(batcher.embed(["a"] * 3, QUERY, [10] * 3))
    gone = asyncio.ensure_future(batcher.embed(["b"] * 6, QUERY, [10] * 6))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert batcher.backlog.waiting <= 30
    await first
    assert batcher.backlog.waiting == 0
