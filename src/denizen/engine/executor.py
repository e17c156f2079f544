"""Doing jobs: here, or several at a time in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import DenizenError
from denizen.engine.progress import Silent

if TYPE_CHECKING:
    from denizen.engine.step import Call, Context

Outcome = tuple["Job", Any, float]
# seconds after which processes are looked at when none has ended its work
_LOOK = 5.0


@dataclass(frozen=True)
class Job:
    """A call that is ready to be done.

    Attributes:
        call: What.
        place: Where it stands in the run.
        out: An empty folder for what it writes.
        scratch: What it keeps beyond one try.
        resumed: Whether an earlier try left something there.
    """

    call: Call[Any]
    place: str
    out: Path
    scratch: Path
    resumed: bool

    def done(self, context: Context) -> Outcome:
        """Does it; the job, what it returned, and the seconds it took."""
        began = time.monotonic()
        told = self.call.work(self.out, replace(context, place=self.place, scratch=self.scratch))
        return self, told, time.monotonic() - began


def run_jobs(jobs: Mapping[str, Job], context: Context, workers: int) -> Iterator[tuple[str, Outcome]]:
    """Does jobs and yields each as it ends.

    Args:
        jobs: By key.
        context: What they work with; in processes of their own without a progress.
        workers: How many at a time; 1: here, one after the other.

    Raises:
        DenizenError: When a process was killed.
        BaseException: What the first job raised that failed; what is being worked on then is still ended and yielded,
            and no other job is begun.
    """
    if workers == 1:
        yield from ((key, job.done(context)) for key, job in jobs.items())
        return
    away = replace(context, progress=Silent())
    # not forked: libraries with threads do not survive it
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_end_with_parent) as pool:
        left, running = iter(jobs.items()), dict[Future[Outcome], str]()
        failed: BaseException | None = None
        while True:
            try:
                for key, job in islice(left, 0 if failed else workers - len(running)):
                    running[pool.submit(job.done, away)] = key
                if running:
                    # the pool sees that a process was killed only when something comes in
                    pool.submit(int)
            except BrokenProcessPool as broken:
                failed = failed or broken
            if not running:
                break
            for future in wait(running, _LOOK, FIRST_COMPLETED).done:
                key, error = running.pop(future), future.exception()
                failed = failed or error
                if error is None:
                    yield key, future.result()
    if failed is not None:
        raise _told(failed)


def _told(failed: BaseException) -> BaseException:
    """What a person should read of it."""
    if isinstance(failed, BrokenProcessPool):
        return DenizenError(
            "a working process was killed (too little memory?); run the same command again: it continues"
        )
    return failed


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
