"""What the routes of a server share: its models, its settings, its measures, and how long a request may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Message

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

    def check(self, texts: Sequence[str], field: str) -> None:
        """Whether there are not too many texts, and none that is too long.

        Raises:
            ApiError: When there are, or one is.
        """
        most, longest = self.settings.most_texts, self.settings.most_characters
        if len(texts) > most:
            raise ApiError(400, f"{field} has {len(texts):,} texts, and at most {most:,} are taken; split it", field)
        if at := next((at for at, text in enumerate(texts, start=1) if len(text) > longest), None):
            said = f"text {at} of {field} has {len(texts[at - 1]):,} characters, and at most {longest:,} are taken"
            raise ApiError(400, f"{said}; split it", field)

    async def aside(self, work: Callable[..., _T], *given: Any) -> _T:
        """Something short that is no work of the model, beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(None, work, *given)

    async def within(self, request: Request, work: Coroutine[Any, Any, _T]) -> _T:
        """What comes of some work, if it comes in time and somebody still waits for it.

        Raises:
            ApiError: When it took too long, or the client has left.
        """
        task = asyncio.create_task(work)
        left = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({task, left}, timeout=self.settings.deadline, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if left.done():
                raise ApiError(CLIENT_LEFT, "the client has left")
            raise ApiError(504, f"this took longer than {self.settings.deadline:g} seconds; ask for less at a time")
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
