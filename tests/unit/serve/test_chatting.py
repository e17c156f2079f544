"""Streams of answers: their deadline, and what they hold however they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from denizen.language_models.streaming import Piece
from denizen.serve.chatting import _Events, _events, _Told
from denizen.serve.measures import Measures
from denizen.serve.settings import Serving
from denizen.serve.speaking import Turn

pytestmark = pytest.mark.anyio


async def _slow() -> AsyncIterator[Piece]:
    for count in range(1, 100):
        await asyncio.sleep(0.05)
        yield Piece("so ", count)


def _parts(events: list[bytes]) -> list[Any]:
    return [json.loads(event.decode().removeprefix("data: ")) for event in events if b"[DONE]" not in event]


async def test_a_stream_beyond_its_deadline_ends_with_an_error_that_clients_raise() -> None:
    speaking: Any = SimpleNamespace(name="mine", digest="d" * 64)
    service: Any = SimpleNamespace(settings=Serving(deadline=0.12), measures=Measures())
    events = [event async for event in _events(Turn(None, _slow()), _Told(speaking, None, 3), service, False)]
    *said, last = _parts(events)
    assert last["error"]["type"] == "server_error" and "longer than 0.12 seconds" in last["error"]["message"]
    # a busy machine says less in the time
    assert 2 <= len(said) < 99 and said[1]["choices"][0]["delta"] == {"content": "so "}
    assert not any(b"[DONE]" in event for event in events)


async def test_what_a_stream_holds_is_let_go_where_nobody_has_listened() -> None:
    gone = list[bool]()
    held = contextlib.AsyncExitStack()
    held.callback(lambda: gone.append(True))
    response = _Events(_nothing(), held, {})

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise OSError("the client has left")

    # what the library makes of it is its own
    with contextlib.suppress(Exception):
        await response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    assert gone == [True]


async def _nothing() -> AsyncIterator[bytes]:
    yield b""
