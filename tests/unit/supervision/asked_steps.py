"""Inputs of the steps that ask an LLM, and a context with one over real HTTP; not tests themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from denizen.data.artifacts import Table
from denizen.data.tables import rows_table, write_table
from denizen.engine.progress import Silent
from denizen.engine.step import Context
from denizen.llm.budget import Budget, Prices
from denizen.llm.client import LLM
from denizen.llm.replies import Replies
from denizen.supervision.asking import Asking

T = TypeVar("T", bound=Table)


class Heard(Silent):
    """Remembers what was noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)


def stored(kind: type[T], path: Path, rows: Iterable[Mapping[str, Any]]) -> T:
    """A table on disk as an input."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, rows_table(kind.__name__.lower(), rows))
    return kind.outside(path)


def client(folder: Path, url: str, **limits: Any) -> LLM:
    """An LLM whose calls cost a unit a million tokens; they are made one after the other, so that order shows."""
    replies, budget = Replies(folder / "replies.sqlite", "run"), Budget(prices=Prices(1, 1), **limits)
    return LLM("tiny", replies, budget, endpoint=url, concurrency=1)


def context(llm: LLM | None, *more: object, min_coverage: float = 0.9, place: str = "") -> Context:
    """What a step that asks works with."""
    resources: dict[type, Any] = {Asking: Asking(min_coverage=min_coverage)}
    if llm is not None:
        resources[LLM] = llm
    return Context(Heard(), resources={**resources, **{type(each): each for each in more}}, place=place)
