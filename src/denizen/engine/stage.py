"""A stage of a run: done once, whole or not at all, and never mistaken for another.

A stage writes into `.<name>.partial` beside its place; when it is finished, `stage.json` is written last and
the folder is renamed (by the next run, if this one is stopped in between). `stage.json` holds the fingerprint
(stage version, settings, digests of everything that was read) and the digest of each file written. A finished
stage with the same fingerprint is skipped; one with another fingerprint stops the run and says which part
differs. Existence alone never counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denizen.engine.errors import ChangedError
from denizen.engine.progress import Progress, Silent

STAGE_FILE = "stage.json"
# whose a partial folder is, while it is one
_OWNER_FILE = "fingerprint.json"
_MISSING = object()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Writes JSON whole or not at all: to a temporary file, flushed to disk, renamed."""
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two nested mappings, as lines `name: old -> new`."""

    def shown(value: Any) -> str:
        return "missing" if value is _MISSING else repr(value)

    lines: list[str] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name, _MISSING), new.get(name, _MISSING)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += [f"{name}.{line}" for line in differences(before, after)]
        elif before != after:
            lines.append(f"{name}: {shown(before)} -> {shown(after)}")
    return lines


@dataclass(frozen=True)
class Stage:
    """What a stage is made of.

    Attributes:
        folder: Where its files end up.
        version: Raised by hand when the code of the stage changes what it writes.
        settings: The settings that change what it writes.
        inputs: Name to digest of everything it reads: tables, model weights, prompt texts.
        resumable: Keep a partial folder with the same fingerprint, because the work in it knows how to go on.
        derived: What it reads may change: it is put together in no time, and then done anew instead of stopping the
            run, unless somebody has changed its files.
    """

    folder: Path
    version: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    resumable: bool = False
    derived: bool = False

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that decides what the stage writes, in a form that JSON gives back unchanged."""
        parts = {"version": self.version, "settings": dict(self.settings), "inputs": dict(self.inputs)}
        return dict(json.loads(json.dumps(parts)))

    @property
    def partial(self) -> Path:
        """Where its files lie until all of them are written."""
        return self.folder.with_name(f".{self.folder.name}.partial")

    def owns(self, path: Path) -> bool:
        """Whether a JSON file is there and holds this stage's fingerprint."""
        if not path.is_file():
            return False
        record = json.loads(path.read_text(encoding="utf-8"))
        return {part: record.get(part) for part in self.fingerprint} == self.fingerprint


@dataclass
class StageRunner:
    """Runs the stages of one run in order, skipping what is done.

    Attributes:
        root: The run's folder; stage names are paths below it.
        redo: The stage from which to do everything anew, or None.
        progress: Told which stage works and which was done before.
        refresh: Stages to do anew by themselves; where it is given, a stage that has changed is done anew, too,
            instead of stopping the run.
    """

    root: Path
    redo: str | None = None
    progress: Progress = field(default_factory=Silent)
    refresh: frozenset[str] | None = None
    redoing: bool = field(default=False, init=False)

    def run(self, stage: Stage, work: Callable[[Path], Mapping[str, Any] | None]) -> dict[str, Any]:
        """Does a stage unless it is done already.

        Args:
            stage: What the stage is made of.
            work: Writes the stage's files into the folder it is given, and may return facts to keep.

        Returns:
            The contents of `stage.json`.

        Raises:
            ChangedError: When the stage was done with another fingerprint.
        """
        name = stage.folder.relative_to(self.root).as_posix()
        if self.redo == name:
            self.redoing = True
        anew = self.redoing or name in (self.refresh or ())
        if not anew and stage.owns(stage.partial / STAGE_FILE):
            # an earlier run was stopped between the last file and the renaming
            _publish(stage)
        done = None if anew else self._finished(stage, name)
        if done is not None:
            self.progress.skipped(name)
            return done
        resumed = stage.resumable and not self.redoing and stage.owns(stage.partial / _OWNER_FILE)
        partial = self._open_partial(stage)
        began = time.monotonic()
        with self.progress.working(name):
            facts = work(partial) or {}
        owner = partial / _OWNER_FILE
        files = sorted(path for path in partial.rglob("*") if path.is_file() and path != owner)
        record = {
            **stage.fingerprint,
            "files": {path.relative_to(partial).as_posix(): file_digest(path) for path in files},
            "facts": dict(facts),
            # of the last session alone when the work was resumed
            "seconds": round(time.monotonic() - began, 2),
            "resumed": resumed,
        }
        write_json(partial / STAGE_FILE, record)
        _publish(stage)
        return record

    def _finished(self, stage: Stage, name: str) -> dict[str, Any] | None:
        marker = stage.folder / STAGE_FILE
        if not marker.is_file():
            return None
        record: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
        kept = {part: record.get(part) for part in stage.fingerprint}
        changed = differences(kept, stage.fingerprint)
        edited = [
            f"{file}: its content is not what the stage wrote"
            for file, digest in record["files"].items()
            if not (stage.folder / file).is_file() or file_digest(stage.folder / file) != digest
        ]
        if not changed and not edited:
            return record
        if self.refresh is not None or (stage.derived and not edited):
            return None
        raise ChangedError(
            f"stage '{name}' in {self.root} was made with something else: {'; '.join([*changed, *edited])}. "
            f"Use another --out, or --redo {name} to replace it and what follows."
        )

    def _open_partial(self, stage: Stage) -> Path:
        partial = stage.partial
        owner = partial / _OWNER_FILE
        if partial.exists() and (self.redoing or not (stage.resumable and stage.owns(owner))):
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        # the marker of an earlier try, whole or half written, says nothing about this one
        for name in (STAGE_FILE, f".{STAGE_FILE}.partial"):
            (partial / name).unlink(missing_ok=True)
        if not owner.exists():
            write_json(owner, stage.fingerprint)
        return partial


def _publish(stage: Stage) -> None:
    (stage.partial / _OWNER_FILE).unlink(missing_ok=True)
    if stage.folder.exists():
        shutil.rmtree(stage.folder)
    stage.partial.rename(stage.folder)
