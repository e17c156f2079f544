"""What of a run is to be done anew: a step and all that was made from it, remembered until the last of them is done."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denizen.engine.files import read_json, write_json

_FILE = "redo.json"


@dataclass
class Redo:
    """Steps that are waiting to be done anew.

    Attributes:
        path: Where that is kept; None: nothing is.
        of: The step or scope that was asked for.
        token: Tells what this redoing has made from what was there before.
        waiting: The places that are still to be done.
    """

    path: Path | None = None
    of: str = ""
    token: str = ""
    waiting: set[str] = field(default_factory=set)

    def __contains__(self, place: str) -> bool:
        return place in self.waiting

    def finished(self, place: str) -> None:
        """Takes note that a step is done."""
        if place in self.waiting:
            self.waiting.discard(place)
            self._keep()

    def end(self) -> None:
        """The run is finished; what was not called any more is not waited for."""
        self.waiting.clear()
        self._keep()

    def _keep(self) -> None:
        if self.path and self.waiting:
            write_json(self.path, {"of": self.of, "token": self.token, "waiting": sorted(self.waiting)})
        elif self.path:
            self.path.unlink(missing_ok=True)


def was_stopped(folder: Path) -> bool:
    """Whether a redoing has begun in a run's folder that has not ended."""
    return read_json(folder / _FILE) is not None


def open_redo(folder: Path, asked: str | None, known: Mapping[str, Mapping[str, Any]]) -> Redo:
    """What is left of an earlier redoing that was stopped, or what is asked for now.

    Args:
        folder: The run's folder.
        asked: A place, a step's name, or a scope; None: only what is left counts.
        known: Place to record of the finished steps.
    """
    path = folder / _FILE
    left = read_json(path)
    if left and asked in (None, left["of"]):
        return Redo(path, left["of"], left["token"], set(left["waiting"]))
    if asked is None:
        return Redo(path)
    waiting = {place for place in known if matches(place, asked)} | set(left["waiting"] if left else ())
    while more := {
        place for place, record in known.items() if place not in waiting and waiting & set(record["made_from"])
    }:
        waiting |= more
    found = Redo(path, asked, secrets.token_hex(4), waiting)
    found._keep()
    return found


def matches(place: str, asked: str) -> bool:
    """Whether a place is meant by "round-0/run", "run" or "round-0"."""
    return place == asked or place.startswith(f"{asked}/") or place.endswith(f"/{asked}")
