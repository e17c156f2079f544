"""Files that are whole or not there at all, and what they are: digests, JSON, links."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(files: Mapping[str, str]) -> str:
    """The SHA-256 over files by name and content.

    Args:
        files: Name to `file_digest`.
    """
    lines = "".join(f"{name}:{digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def json_digest(value: Any) -> str:
    """The SHA-256 of a value as JSON writes it."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def files_below(folder: Path) -> list[str]:
    """The names of all files below a folder, links to folders followed."""
    found = (Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names)
    return sorted(path.relative_to(folder).as_posix() for path in found if path.is_file())


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all: to a temporary one, flushed to disk, renamed."""
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON by `write_text`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a line of JSON for each row by `write_text`."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_json_lines(path: Path) -> list[Any]:
    """The rows of such a file; none where there is none."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_json(path: Path) -> Any:
    """The contents of a JSON file; None where there is none, or only a part of one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    # a part may end within a letter
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def link_file(origin: Path | str, target: Path | str) -> None:
    """Puts a file at another place: as a link to the same bytes, or as a copy on another file system."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(origin, target)
    except OSError:
        shutil.copy2(origin, target)


def link_tree(origin: Path, target: Path, ignore: Callable[[str, list[str]], set[str]] | None = None) -> None:
    """Puts a folder's files at another place, each by `link_file`."""
    shutil.copytree(origin, target, copy_function=link_file, dirs_exist_ok=True, ignore=ignore)


def replace_folder(new: Path, place: Path) -> None:
    """Renames a folder to a place, whatever is there."""
    if place.exists():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    new.rename(place)


@contextmanager
def locked(folder: Path, name: str = ".lock", waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds a folder, or a name within it; others wait, and say so by `waits`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
