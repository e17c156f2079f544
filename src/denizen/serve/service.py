"""What the routes of a server share: its models, its settings, its measures, and how long a request may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Message

from denizen.serve.batcher import BusyError
from denizen.serve.catalogue import Catalogue
from denizen.serve.errors import CLIENT_LEFT, ApiError
from denizen.serve.measures import Measures
from denizen.serve.settings import Serving

_T = TypeVar("_T")


@dataclass(frozen=True)
class Service:
    """A server at work."""

    catalogue: Catalogue
    settings: Serving
    measures: Measures

    async def aside(self, work: Callable[..., _T], *given: Any) -> _T:
        """Something short that is no work of the model, beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(None, work, *given)

    async def computed(self, request: Request, work: Callable[..., _T], *given: Any) -> _T:
        """Something in the thread that computes, as long as it is waited for."""
        future = asyncio.get_running_loop().run_in_executor(self.catalogue.thread, work, *given)
        return await self.within(request, future)

    async def within(self, request: Request, work: Awaitable[_T]) -> _T:
        """What comes of some work, if it comes in time and somebody still waits for it.

        Raises:
            ApiError: When it took too long, the client has left, or too much waits.
        """
        task = asyncio.ensure_future(work)
        left = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({task, left}, timeout=self.settings.deadline, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if left.done():
                raise ApiError(CLIENT_LEFT, "the client has left")
            raise ApiError(504, f"this took longer than {self.settings.deadline:g} seconds; ask for less at a time")
        except BusyError as busy:
            raise ApiError(
                429,
                f"{busy.waiting:,} of {self.settings.queue_tokens:,} tokens wait; ask again in {busy.seconds} s",
                retry_after=busy.seconds,
            ) from None
        finally:
            task.cancel()
            left.cancel()


async def _left(request: Request) -> None:
    """Ends when the client is no longer there; the body of its request has been read."""
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await request.receive()


def service_of(request: Request) -> Service:
    """The server that a request has come to."""
    found: Service = request.app.state.service
    return found
