"""Which files a user means: those of the given paths, each under a name that stays when the collection grows."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from denizen.engine.errors import InputError
from denizen.ingest.document import Failure

# a folder with the first and one of the others was made by denizen: a run, or a corpus
_LOCK = ".lock"
_MADE = ("config.json", "ingest.json", ".parts")


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


def found_files(paths: Sequence[str], leave_out: Collection[Path] = ()) -> Iterator[FoundFile | Failure]:
    """The files of paths, folders in the order of names, without hidden ones and folders that denizen made.

    What is no regular file, or may not be looked at, is a failure of its own, and so is a link to a folder or out of
    the given folder: nobody said that its target should be read.

    Args:
        paths: Files and folders.
        leave_out: Folders within them that do not count, such as that of the corpus.

    Raises:
        InputError: When a path does not exist, or two files would carry the same name.
    """
    own = {path.resolve() for path in leave_out}
    names: dict[str, Path] = {}
    for given in paths:
        path = Path(given).expanduser()
        if not given or not os.path.lexists(path):
            raise InputError(f"{given!r} does not exist; give files or folders")
        found = _below(path, own) if path.is_dir() else [_looked_at(path, printable(path.name), "")]
        for item in found:
            if isinstance(item, FoundFile):
                place, other = item.path.resolve(), names.get(item.name)
                if other == place:
                    # given twice
                    continue
                if other is not None:
                    raise InputError(f"{other} and {place} would both be called {item.name}; give a folder of both")
                names[item.name] = place
            yield item


def printable(name: str | Path) -> str:
    """A file's name as text: bytes that are no UTF-8 are written out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _below(root: Path, own: Collection[Path]) -> Iterator[FoundFile | Failure]:
    prefix = printable(root.resolve().name)
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        if folder.resolve() in own or (folder != root and _is_made(folder)):
            continue
        inside = folder.relative_to(root).as_posix()
        name = prefix if inside == "." else f"{prefix}/{printable(inside)}"
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield Failure(name, f"cannot be looked into ({error.strerror})")
            continue
        folders = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
                continue
            problem = _link_problem(path, root) if entry.is_symlink() else ""
            called = f"{name}/{printable(entry.name)}"
            first = path.relative_to(root).parts
            folder_name = printable(first[0]) if first[1:] else ""
            yield Failure(called, problem) if problem else _looked_at(path, called, folder_name)
        waiting += reversed(folders)


def _is_made(folder: Path) -> bool:
    return (folder / _LOCK).exists() and any((folder / name).exists() for name in _MADE)


def _link_problem(path: Path, root: Path) -> str:
    try:
        target = path.resolve(strict=True)
        is_folder = target.is_dir()
    except (OSError, RuntimeError) as error:
        return f"is a link that leads nowhere ({getattr(error, 'strerror', None) or 'a loop'})"
    if not target.is_relative_to(root.resolve()):
        return "is a link out of the given folder; give its target as a path of its own"
    return "is a link to a folder, which is read where it stands" if is_folder else ""


def _looked_at(path: Path, name: str, folder: str) -> FoundFile | Failure:
    try:
        facts = path.stat()
    except OSError as error:
        return Failure(name, f"cannot be looked at ({error.strerror})")
    if not stat.S_ISREG(facts.st_mode):
        return Failure(name, "is no regular file (a pipe, a socket or a device)")
    if not os.access(path, os.R_OK):
        return Failure(name, "may not be read; change its permissions")
    return FoundFile(name, path, facts.st_size, facts.st_mtime_ns, folder)
