"""What a person sees while a run works: one line a step, until then how far it is, and nothing when quiet.

Everything goes to standard error; results go to standard output.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

Advance = Callable[[int], None]


class Progress(Protocol):
    """Receives what a run has to say."""

    def say(self, text: str) -> None:
        """A line for people."""

    def skipped(self, step: str) -> None:
        """The step was done by an earlier run."""

    def working(self, step: str) -> contextlib.AbstractContextManager[None]:
        """The step works within this context."""

    def note(self, text: str) -> None:
        """A fact for the running step's line."""

    def bar(self, total: int, unit: str) -> contextlib.AbstractContextManager[Advance]:
        """A part of the running step with a known amount of work; call the value with what was finished."""


class Silent:
    """Says nothing (the Python API's default, and --quiet)."""

    def say(self, text: str) -> None:
        """Drops the line."""

    def skipped(self, step: str) -> None:
        """Drops the news."""

    @contextlib.contextmanager
    def working(self, step: str) -> Iterator[None]:
        """Does nothing around the step."""
        yield

    def note(self, text: str) -> None:
        """Drops the fact."""

    @contextlib.contextmanager
    def bar(self, total: int, unit: str) -> Iterator[Advance]:
        """Counts nothing."""
        yield lambda count: None


class Terminal:
    """Draws on standard error: live bars on a terminal, elsewhere a line a minute; a finished line for each step."""

    def __init__(self, interval: float = 60) -> None:  # seconds; the log of a night's run stays readable
        from rich.console import Console

        self.interval = interval
        self.console = Console(stderr=True, highlight=False)
        # facts, and units with how many of them the step's bars have counted
        self._notes: dict[str, int | None] = {}
        self._bars: RichProgress | None = None

    def say(self, text: str) -> None:
        """Prints a line."""
        self.console.print(text, soft_wrap=True, markup=False)

    def skipped(self, step: str) -> None:
        """Prints that a step was done before."""
        self.console.print(f"{step:<22} done before", style="dim", markup=False)

    @contextlib.contextmanager
    def working(self, step: str) -> Iterator[None]:
        """Shows how far the step is while it works, and prints its line when it is finished."""
        self._notes = {}
        began = time.monotonic()
        with self._shown(step):
            yield
        notes = "; ".join(text if count is None else f"{count:,} {text}" for text, count in self._notes.items())
        line = f"{step:<22} {_duration(time.monotonic() - began):>8}  {notes}"
        self.console.print(line, soft_wrap=True, markup=False)

    def note(self, text: str) -> None:
        """Keeps the fact until the step's line is printed."""
        self._notes[text] = None

    @contextlib.contextmanager
    def bar(self, total: int, unit: str) -> Iterator[Advance]:
        """Turns the step's moving bar into one with a count and the time left until this part is finished."""
        self._notes[unit] = (self._notes.get(unit) or 0) + total
        bars = self._bars
        if bars is None:
            yield lambda count: None
            return
        outer = bars.tasks[-1]
        bars.update(outer.id, visible=False)
        task = bars.add_task(outer.description, total=total, unit=unit)
        try:
            yield lambda count: bars.advance(task, count)
        finally:
            bars.refresh()
            bars.remove_task(task)
            bars.update(outer.id, visible=True)

    @contextlib.contextmanager
    def _shown(self, step: str) -> Iterator[None]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        bars = RichProgress(
            TextColumn("{task.description:<22}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False),
            TimeElapsedColumn(),
            "gone,",
            TimeRemainingColumn(),
            "left",
            console=self.console,
            transient=True,
            speed_estimate_period=3600,  # a unit may take many minutes; rich's 30 seconds give it no rate
        )
        bars.add_task(step, total=None, unit="")
        self._bars = bars
        try:
            with bars if self.console.is_interactive else self._logged(bars):
                yield
        finally:
            self._bars = None

    @contextlib.contextmanager
    def _logged(self, bars: RichProgress) -> Iterator[None]:
        """Writes a line at every interval, from a thread: a step may count nothing for long."""
        ended = threading.Event()

        def log() -> None:
            while not ended.wait(self.interval):
                # past the console, which at a closed pipe silences standard output; KeyError: the bar has just ended
                with contextlib.suppress(OSError, KeyError):
                    self.console.file.write(_line(bars))
                    self.console.file.flush()

        thread = threading.Thread(target=log, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _line(bars: RichProgress) -> str:
    """How far a step is by its innermost bar; the first count gives no rate, it may be work of an earlier run."""
    step, bar = bars.tasks[0], bars.tasks[-1]
    done, left = "still working", ""
    if bar.total is not None:
        done = f"{bar.completed:,.0f} of {bar.total:,.0f} {bar.fields['unit']}"
        if bar.completed:
            bars.advance(bar.id, 0)  # so that the rate falls while no news comes
        if remaining := bar.time_remaining:
            left = f", about {_duration(remaining)} left"
    return f"{step.description:<22} {done}, {_duration(step.elapsed or 0)} gone{left}\n"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"
