"""Asynchronous work from synchronous code, also where an event loop runs already, as in a notebook."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Runs to the end, or to Ctrl-C, which cancels it: in a thread of its own where this one has a loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    loop = asyncio.new_event_loop()

    def stop() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(work)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run)
        try:
            future.result()
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(stop)
            raise
