"""What of a run is to be done anew: a step and all that was made from it, remembered until the last of them is done."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denizen.engine.files import read_json, write_json

_FILE = "redo.json"


@dataclass
class Redo:
    """Steps that are waiting to be done anew.

    Attributes:
        path: Where that is kept, from the first of them on until the run has ended; None: nothing is.
        of: The step or scope that was asked for.
        token: Tells what this redoing has made from what was there before.
        waiting: The places that are still to be done.
        wanted: What else was asked for with it, as JSON: the settings.
    """

    path: Path | None = None
    of: str = ""
    token: str = ""
    waiting: set[str] = field(default_factory=set)
    wanted: Any = None

    def __contains__(self, place: str) -> bool:
        return place in self.waiting

    def begins(self, place: str) -> None:
        """Takes note that a step is about to be replaced: from now on the redoing outlives a stop."""
        if place in self.waiting:
            self._keep()

    def finished(self, place: str) -> None:
        """Takes note that a step is done."""
        if place in self.waiting:
            self.waiting.discard(place)
            self._keep()

    def end(self) -> None:
        """The run has ended; what was not called any more is not waited for."""
        self.waiting.clear()
        if self.path:
            self.path.unlink(missing_ok=True)

    def _keep(self) -> None:
        if self.path:
            told = {"of": self.of, "token": self.token, "waiting": sorted(self.waiting), "wanted": self.wanted}
            write_json(self.path, told)


def stopped_redo(folder: Path) -> dict[str, Any] | None:
    """What is known of a redoing that has begun in a run's folder and not ended: of, token, waiting, wanted."""
    found: dict[str, Any] | None = read_json(folder / _FILE)
    return found


def open_redo(folder: Path, asked: str | None, known: Mapping[str, Mapping[str, Any]], wanted: Any = None) -> Redo:
    """What is left of an earlier redoing that was stopped, or what is asked for now.

    Args:
        folder: The run's folder.
        asked: A place, a step's name, or a scope; None: only what is left counts.
        known: Place to record of the finished steps.
        wanted: What else is asked for with it.
    """
    path, left = folder / _FILE, stopped_redo(folder)
    if left and asked in (None, left["of"]):
        return Redo(path, left["of"], left["token"], set(left["waiting"]), wanted)
    if asked is None:
        return Redo(path)
    waiting = {place for place in known if matches(place, asked)} | set(left["waiting"] if left else ())
    while more := {
        place for place, record in known.items() if place not in waiting and waiting & set(record["made_from"])
    }:
        waiting |= more
    return Redo(path, asked, secrets.token_hex(4), waiting, wanted)


def matches(place: str, asked: str) -> bool:
    """Whether a place is meant by "round-0/run", "run" or "round-0", in every scope around it."""
    return f"/{asked}/" in f"/{place}/"


def no_step(asked: str, places: Iterable[str], left_out: Mapping[str, str]) -> str:
    """What is wrong with asking for a step that a run does not call, and which there are; empty where it calls one.

    Args:
        asked: A place, a step's name, or a scope.
        places: The steps that the run calls, in order.
        left_out: Place of a step that it does not call to the reason.
    """
    if any(matches(place, asked) for place in places):
        return ""
    reasons = dict.fromkeys(reason for place, reason in left_out.items() if matches(place, asked))
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return f"there is no step {asked!r} to redo{why}; there are {', '.join(places)}"
