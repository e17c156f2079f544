"""What a person sees while a run works: one line a stage, a bar with the time left, and nothing when quiet.

Everything goes to standard error; results go to standard output.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

Advance = Callable[[int], None]


class Progress(Protocol):
    """Receives what a run has to say."""

    def say(self, text: str) -> None:
        """A line for people."""

    def skipped(self, stage: str) -> None:
        """The stage was done by an earlier run."""

    def working(self, stage: str) -> contextlib.AbstractContextManager[None]:
        """The stage works within this context."""

    def note(self, text: str) -> None:
        """A fact for the running stage's line."""

    def bar(self, total: int, unit: str) -> contextlib.AbstractContextManager[Advance]:
        """A part of the running stage with a known amount of work; call the value with what was finished."""


class Silent:
    """Says nothing (the Python API's default, and --quiet)."""

    def say(self, text: str) -> None:
        """Drops the line."""

    def skipped(self, stage: str) -> None:
        """Drops the news."""

    @contextlib.contextmanager
    def working(self, stage: str) -> Iterator[None]:
        """Does nothing around the stage."""
        yield

    def note(self, text: str) -> None:
        """Drops the fact."""

    @contextlib.contextmanager
    def bar(self, total: int, unit: str) -> Iterator[Advance]:
        """Counts nothing."""
        yield lambda count: None


class Terminal:
    """Draws on standard error: live bars on a terminal, a finished line for each stage elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self._stage = ""
        # facts, and units with how many of them the stage's bars have counted
        self._notes: dict[str, int | None] = {}
        self._bars: RichProgress | None = None

    def say(self, text: str) -> None:
        """Prints a line."""
        self.console.print(text, soft_wrap=True, markup=False)

    def skipped(self, stage: str) -> None:
        """Prints that a stage was done before."""
        self.console.print(f"{stage:<22} done before", style="dim", markup=False)

    @contextlib.contextmanager
    def working(self, stage: str) -> Iterator[None]:
        """Shows that the stage works, where there is a terminal, and prints its line when it is finished."""
        self._stage, self._notes = stage, {}
        began = time.monotonic()
        with self._live(stage):
            yield
        notes = "; ".join(text if count is None else f"{count:,} {text}" for text, count in self._notes.items())
        line = f"{stage:<22} {_duration(time.monotonic() - began):>8}  {notes}"
        self.console.print(line, soft_wrap=True, markup=False)

    def note(self, text: str) -> None:
        """Keeps the fact until the stage's line is printed."""
        self._notes[text] = None

    @contextlib.contextmanager
    def bar(self, total: int, unit: str) -> Iterator[Advance]:
        """Turns the stage's moving bar into one with a count and the time left until this part is finished."""
        self._notes[unit] = (self._notes.get(unit) or 0) + total
        bars = self._bars
        if bars is None:
            yield lambda count: None
            return
        (waiting,) = bars.task_ids
        bars.update(waiting, visible=False)
        task = bars.add_task(self._stage, total=total, unit=unit)
        yield lambda count: bars.advance(task, count)
        bars.refresh()
        bars.remove_task(task)
        bars.update(waiting, visible=True)

    @contextlib.contextmanager
    def _live(self, stage: str) -> Iterator[None]:
        if not self.console.is_terminal:
            yield
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns: list[Any] = [
            TextColumn("{task.description:<22}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("gone,"),
            TimeRemainingColumn(),
            TextColumn("left"),
        ]
        try:
            with RichProgress(*columns, console=self.console, transient=True) as self._bars:
                self._bars.add_task(stage, total=None, unit="")
                yield
        finally:
            self._bars = None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"
