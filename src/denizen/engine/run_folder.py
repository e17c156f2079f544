"""A folder that is written into: by one process at a time, known to be writable, and what a full disk says."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from denizen.engine.errors import DenizenError, InputError, reason

# fewer free bytes than a checkpoint's smallest file
_FULL = 1 << 20


@contextmanager
def held(out: Path, begun: Collection[str] = ()) -> Iterator[None]:
    """Holds a folder, so that two processes never write into it; makes it where there is none.

    Args:
        out: The folder.
        begun: Names within it that stand for work worth keeping: what stops before one of them is there leaves
            nothing behind in a folder that was new or empty.

    Raises:
        InputError: When it is a file, holds what denizen did not make, another process holds it, or the disk is full.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder")
    created = not out.exists()
    empty = created or not any(out.iterdir())
    if not empty and not (out / ".lock").is_file():
        raise InputError(f"--out {out} is not empty and was not made by denizen; give a new folder")
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is working in {out}; wait for it, or use another --out") from None
        try:
            with writing(out):
                yield
        except DenizenError:
            if empty and not any((out / name).exists() for name in begun):
                _clear(out, whole=created)
            raise


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turns the failure of any library on a full disk into an error that says so.

    Raises:
        InputError: When something failed within this context and no space is left.
    """
    try:
        yield
    except DenizenError:
        raise
    except Exception as error:
        # the libraries that write weights and tables report a full disk each in its own way, or not at all
        if shutil.disk_usage(out).free < _FULL:
            raise InputError(
                f"no space is left where {out} is ({type(error).__name__}: {error}); free some, then run the same "
                "command again: a run continues"
            ) from error
        raise


def probe(folder: Path) -> None:
    """Makes a folder and writes into it, so that what cannot be written is known before hours of work.

    Raises:
        OSError: When it cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # several processes may share the folder
    file = folder / f".probe-{os.getpid()}"
    file.touch()
    file.unlink()


def check_store(store: str) -> None:
    """Makes sure that a shared folder can be used, before the corpus is read and not after; "" is none.

    Raises:
        InputError: When nothing can be written there.
    """
    try:
        if store:
            probe(Path(store).expanduser())
    except OSError as error:
        raise InputError(f"--store {store} cannot be used: {reason(error)}; give another folder") from error


def _clear(out: Path, whole: bool) -> None:
    shutil.rmtree(out)
    if not whole:
        out.mkdir()
