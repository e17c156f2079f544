"""Which files a user means: those of the given paths, each under a name that stays when the collection grows."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from denizen.core.errors import InputError, reason
from denizen.documents.document import Failure


@dataclass(frozen=True)
class FoundFile:
    """A file to read.

    Attributes:
        name: Its path below the given folder, behind that folder's name; of a file that was given itself its name.
        path: Where it lies.
        size: In bytes.
        modified: When it was last changed, in nanoseconds.
        folder: Its first folder below the given one, or "": the domain of what has no other.
    """

    name: str
    path: Path
    size: int
    modified: int
    folder: str = ""


def found_files(paths: Sequence[str], leave_out: Path | None) -> Iterator[FoundFile | Failure]:
    """The files of paths, folders in the order of names, without hidden ones.

    Links to folders are followed once, so that a loop ends. What is no regular file, or may not be looked at, is a
    failure of its own.

    Args:
        paths: Files and folders.
        leave_out: A folder within them that does not count, such as that of the corpus.

    Raises:
        InputError: When a path does not exist, or two files would carry the same name.
    """
    names: dict[str, Path] = {}
    for given in paths:
        path = Path(given).expanduser()
        if not given or not path.exists():
            raise InputError(f"{given!r} does not exist; give files or folders")
        found = _below(path, leave_out) if path.is_dir() else [_looked_at(path, _printable(path.name), "")]
        for item in found:
            if isinstance(item, FoundFile):
                other = names.setdefault(item.name, item.path)
                if other != item.path:
                    raise InputError(
                        f"{other} and {item.path} would both be called {item.name}; give a folder that holds both"
                    )
            yield item


def _below(root: Path, leave_out: Path | None) -> Iterator[FoundFile | Failure]:
    own = leave_out.resolve() if leave_out else None
    prefix = _printable(root.resolve().name)
    seen: set[Path] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        place = folder.resolve()
        if place in seen or place == own:
            continue
        seen.add(place)
        inside = folder.relative_to(root).as_posix()
        name = prefix if inside == "." else f"{prefix}/{_printable(inside)}"
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield Failure(name, reason(error))
            continue
        folders = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if path.is_dir():
                folders.append(path)
            else:
                first = path.relative_to(root).parts
                yield _looked_at(path, f"{name}/{_printable(entry.name)}", _printable(first[0]) if first[1:] else "")
        waiting += reversed(folders)


def _looked_at(path: Path, name: str, folder: str) -> FoundFile | Failure:
    try:
        facts = path.stat()
    except OSError as error:
        return Failure(name, f"cannot be looked at ({error.strerror or reason(error)})")
    if not stat.S_ISREG(facts.st_mode):
        return Failure(name, "is no regular file (a pipe, a socket or a device)")
    if not os.access(path, os.R_OK):
        return Failure(name, "may not be read; change its permissions")
    return FoundFile(name, path, facts.st_size, facts.st_mtime_ns, folder)


def _printable(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 are written out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
