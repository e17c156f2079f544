"""Steps that do next to nothing, a recipe of them, and ways to look at what a run has left; not tests themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.engine.artifact import Artifact
from denizen.engine.files import read_json
from denizen.engine.pipeline import Pipeline, records
from denizen.engine.progress import Silent
from denizen.engine.redo import open_redo
from denizen.engine.settings import Params, setting
from denizen.engine.step import Context, Partial, step


class Worked(list[str]):
    """What the steps that have worked were called with, in order."""


class Budget(int):
    """How many letters may be written."""


class Heard(Silent):
    """Remembers which steps worked and which were skipped."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def working(self, step: str) -> Iterator[None]:
        self.lines.append(f"working {step}")
        yield

    def skipped(self, step: str) -> None:
        self.lines.append(f"skipped {step}")


class Log:
    """A file that several processes write lines to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, line: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{line}\n")

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


@dataclass(frozen=True)
class Writing(Params):
    text: str = setting("abc", "What is written.")
    times: int = setting(1, "How often.", least=1, most=9)


@dataclass(frozen=True)
class Text(Artifact):
    @property
    def content(self) -> str:
        return (self.path / "text.txt").read_text()


@step(version=1, makes=Text)
def write(out: Path, params: Writing, ctx: Context, *, source: Artifact) -> dict[str, Any]:
    """What it is to write, behind the source; it leaves something in its scratch folder."""
    ctx[Worked].append("write")
    (ctx.scratch / "half.txt").write_text("half")
    (out / "text.txt").write_text(source.path.read_text() + params.text * params.times)
    return {"letters": len(params.text) * params.times}


@step(version=1, makes=Text)
def aside(out: Path, params: Params, ctx: Context) -> None:
    """Has nothing to do with the others."""
    ctx[Worked].append("aside")
    (out / "sub").mkdir()
    (out / "sub/empty.txt").touch()


@step(version=1, makes=Text)
def double(out: Path, params: Params, ctx: Context, *, text: Text) -> None:
    """A text twice."""
    ctx[Worked].append(f"double {text.content}")
    (out / "text.txt").write_text(text.content * 2)


@step(version=1, makes=Text)
def join(out: Path, params: Params, ctx: Context, *, texts: list[Text]) -> None:
    """All texts."""
    ctx[Worked].append(f"join {len(texts)}")
    (out / "text.txt").write_text(" ".join(text.content for text in texts))


@step(version=1, makes=Text)
def first(out: Path, params: Params, ctx: Context, *, text: Text) -> None:
    """The first letter of a text, which stays the same where the rest of it changes."""
    ctx[Worked].append(f"first {text.content}")
    (out / "text.txt").write_text(text.content[:1])


@step(version=1, makes=Text)
def afford(out: Path, params: Writing, ctx: Context) -> dict[str, Any] | Partial:
    """As many letters as the budget allows."""
    ctx[Worked].append(f"afford {ctx[Budget]}")
    (out / "text.txt").write_text(params.text[: ctx[Budget]])
    missing = len(params.text) - ctx[Budget]
    return Partial({}, {"letters": missing}) if missing > 0 else {}


def source_in(folder: Path, text: str = "x") -> Artifact:
    """A file from outside."""
    folder.mkdir(exist_ok=True)
    (folder / "source.txt").write_text(text)
    return Artifact.outside(folder / "source.txt")


def pipeline(folder: Path, **given: Any) -> Pipeline:
    """A run whose steps say when they work."""
    return Pipeline(folder, context=Context(resources={Worked: Worked()}), **given)


def worked(run: Pipeline) -> list[str]:
    """What has worked in a run."""
    return list(run.context[Worked])


def recipe(run: Pipeline, source: Artifact, params: Writing | None = None) -> Text:
    """write -> round-0/double -> round-1/double -> join <- write, and aside."""
    texts = [run(write, params or Writing(), source=source)]
    run(aside)
    for number in range(2):
        with run.scope("round", number):
            texts.append(run(double, text=texts[-1]))
    return run(join, texts=texts)


PLACES = ["write", "aside", "round-0/double", "round-1/double", "join"]


def redoing(folder: Path, asked: str | None, **given: Any) -> Pipeline:
    """A run in which something is done anew."""
    return pipeline(folder, redo=open_redo(folder, asked, records(folder)), **given)


def state(folder: Path) -> dict[str, Any]:
    """All that a run has left, without what says when and for how long it was made."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"):
        if path.name == ".redo.json.partial":
            # what a kill while that was written leaves behind; the next writing replaces it
            continue
        record = read_json(path) if path.name == "step.json" else None
        kept = {name: record[name] for name in record.keys() - {"stats", "seconds", "resumed", "redo"}} if record else 0
        found[path.relative_to(folder).as_posix()] = kept or path.read_bytes()
    return found


class Killed(BaseException):
    """Stands for the end of the process: nothing that is written catches it."""


# what changes something on disk; open counts where it is for writing
_EVENTS = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.utime"}
_watch: list[Callable[[str, str], None]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watch and (event in _EVENTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & 3)):
        _watch[-1](event, os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else "")


# for good: Python has no way to take one away again
sys.addaudithook(_hook)


@contextmanager
def operations(act: Callable[[str, str], None]) -> Iterator[None]:
    """Calls a function before each operation that changes something on disk, with its name and path."""
    _watch.append(act)
    try:
        yield
    finally:
        _watch.pop()


def operations_of(work: Callable[[], object]) -> list[str]:
    """What some work does to the disk, as lines."""
    found: list[str] = []
    with operations(lambda event, path: found.append(f"{event} {path}")):
        work()
    return found


@contextmanager
def killed_at(number: int, die: Callable[[], None] | None = None) -> Iterator[None]:
    """Ends the process, as it were, before one of the operations."""
    left = [number]

    def count(event: str, path: str) -> None:
        if left[0]:
            left[0] -= 1
            return
        if die:
            die()
        # once more at each operation on the way out: a process that has ended does none
        raise Killed

    with operations(count):
        yield
