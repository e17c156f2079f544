"""The folder of a run: held by one process at a time, and never mixed with another run's settings."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from denizen.engine.errors import ChangedError, DenizenError, InputError, reason
from denizen.engine.stage import differences, write_json
from denizen.recipes.config import WITHOUT_EFFECT, AdaptConfig

# fewer free bytes than a checkpoint's smallest file
_FULL = 1 << 20


@contextmanager
def held(out: Path, begun: Sequence[str] = ("corpus", "documents")) -> Iterator[None]:
    """Holds the run's folder, so that two processes never write into the same run.

    A run that stops before its first stage is done leaves no folder behind.

    Args:
        out: The folder.
        begun: Names within it that stand for work worth keeping.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / ".lock").is_file():
        raise InputError(f"--out {out} is not empty and was not made by denizen; give a new folder")
    empty = not out.exists() or not any(out.iterdir())
    created = not out.exists()
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


def read_config(run: Path, **changed: Any) -> AdaptConfig:
    """The settings of a run.

    Args:
        run: Its folder.
        changed: Other values for settings that do not decide results, such as endpoint, prices, the budgets.

    Raises:
        InputError: When the folder holds no run, or a setting is changed that decides results.
    """
    fixed = sorted(set(changed) - set(WITHOUT_EFFECT))
    if fixed:
        raise InputError(
            f"{', '.join(fixed)} cannot change in a finished run; there {', '.join(WITHOUT_EFFECT)} may change"
        )
    path = run / "config.json"
    if not path.is_file():
        raise InputError(f"{run} holds no run of denizen (it has no config.json)")
    return AdaptConfig(**{**json.loads(path.read_text(encoding="utf-8")), **changed})


def check_config(out: Path, config: AdaptConfig, redo: str | None) -> None:
    """Writes config.json for a new run, or refuses settings that differ from those of what is there.

    Raises:
        ChangedError: Naming each setting that differs, unless a stage is to be done anew.
    """
    path = out / "config.json"
    if path.is_file() and (out / "corpus").exists():
        # a run from before a setting was there used its default
        before = {**AdaptConfig("").as_dict(), **json.loads(path.read_text(encoding="utf-8"))}
        now = config.as_dict()
        # other seeds are done beside what is there
        for name in (*WITHOUT_EFFECT, "seeds"):
            del before[name], now[name]
        changed = differences(before, now)
        if changed and redo is None:
            raise ChangedError(
                f"{out} holds a run with other settings: {'; '.join(changed)}. Use another --out, or --redo STAGE "
                "(such as round-0/student) to replace that stage and what follows"
            )
    else:
        write_json(path, config.as_dict())


def store_of(config: AdaptConfig, out: Path) -> Path:
    """The folder of a run's embedding store."""
    return Path(config.store).expanduser().resolve() if config.store else out / "embeddings"


def check_encoding(backend: str, precision: str, store: str) -> None:
    """Makes sure that there is a backend and a place for embeddings, before the corpus is read and not after.

    Raises:
        InputError: When the backend is not installed, or nothing can be written into the store.
    """
    # torch stays away from those who only hold a folder
    from denizen.retrievers.backends import candidates

    candidates(backend, precision)
    if not store:
        return
    try:
        probe(Path(store).expanduser())
    except OSError as error:
        raise InputError(f"--store {store} cannot be used: {reason(error)}; give another folder") from error


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


def _clear(out: Path, whole: bool) -> None:
    shutil.rmtree(out)
    if not whole:
        out.mkdir()
