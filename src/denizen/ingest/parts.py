"""What was read of each file, kept under the digest of its content: nothing is read twice, and nothing half."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, get_args

from denizen.engine.files import file_digest
from denizen.ingest.document import BlockKind, Document, Failure, Limits

# raised when a reader or a cleaner changes what it writes
READING_VERSION = 3
_LAST = "read"
_LIMITS = "limits"
# the last line is far shorter
_TAIL = 1 << 10
_BLOCK = 1 << 20
# bytes; a document of as many characters as one file may have takes 200 MB
_LONGEST_ROW = 1 << 28
_KINDS = get_args(BlockKind)
# what tables keep
_MOST = 2**31 - 1


def part_key(path: Path, name: str, settings: Mapping[str, Any]) -> str:
    """What decides how a file is read: its content, the end of its name, and the settings of reading."""
    facts = {"content": file_digest(path), "suffixes": _suffixes(name), "version": READING_VERSION, **settings}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


class Parts:
    """A folder with one file a read file: JSON lines of documents and failures, and a last line that says it is whole.

    A file whose reading was stopped (by time, by memory, by a crash) is kept as far as it came, and read again by the
    next run. One of which a limit has cut something off is read again once a limit is larger.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        """Makes the folder where it is missing.

        Args:
            folder: Where the parts are kept.
            limits: Those that files are read with now.
        """
        self.folder = folder
        self._limits = dataclasses.asdict(limits)
        folder.mkdir(parents=True, exist_ok=True)

    def waits(self, key: str) -> bool:
        """Whether a file has to be read, for the first time or again."""
        last = _last(self._whole(key))
        if last is None:
            return True
        return any(self._limits.get(name, then) > then for name, then in last.get(_LIMITS, {}).items())

    def being_read(self, key: str) -> Path:
        """Where a reader writes."""
        return self.folder / f".{key}.partial"

    def keep(self, key: str, stopped: str | None, limited: bool = False) -> None:
        """Keeps what a reader has written, on the disk before its name says so.

        Args:
            key: The file's key.
            stopped: Why the reading was stopped before its end, or None.
            limited: Whether a limit has cut something off.
        """
        partial, before = self.being_read(key), self._kept(key)
        last: dict[str, Any] = {_LAST: True, **({_LIMITS: self._limits} if limited else {})}
        if stopped:
            last = {"inner": "", "failure": {"name": "", "error": stopped}}
        with partial.open("a+b") as file:
            rows = _whole_lines(file)
            file.write(json.dumps(last).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if stopped and before.is_file() and rows < _whole_lines_of(before):
            # an earlier reading came further
            partial.unlink()
            return
        kept, other = self._whole(key), self._stopped(key)
        if stopped:
            kept, other = other, kept
        partial.replace(kept)
        other.unlink(missing_ok=True)

    def rows(self, key: str) -> Iterator[tuple[str, Document | Failure]]:
        """What was read of a file, one after another: names inside the file, and documents or failures."""
        path = self._kept(key)
        if not path.is_file():
            return
        with path.open("rb") as file:
            for line in row_lines(file):
                item = _item(line)
                if item is not None:
                    yield item
            if file.read(1):
                # behind a row that is too long
                yield "", _unreadable()

    def forget(self, wanted: set[str]) -> None:
        """Removes what was read of files that are not there any more."""
        for path in self.folder.iterdir():
            if path.name.startswith(".") or path.name.partition(".")[0] not in wanted:
                path.unlink()

    def _kept(self, key: str) -> Path:
        return self._stopped(key) if _last(self._whole(key)) is None else self._whole(key)

    def _whole(self, key: str) -> Path:
        return self.folder / f"{key}.jsonl"

    def _stopped(self, key: str) -> Path:
        return self.folder / f"{key}.again.jsonl"


def row_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines that a reader wrote, up to the first that is cut off, or longer than any document's."""
    while (line := file.readline(_LONGEST_ROW)).endswith(b"\n"):
        yield line


def _suffixes(name: str) -> str:
    return "".join(Path(name.lower()).suffixes[-2:])


def _last(path: Path) -> dict[str, Any] | None:
    """The last line of a part that is whole, otherwise None."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            found = json.loads(file.read().splitlines()[-1])
    except (OSError, ValueError, IndexError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get(_LAST) is True else None


def _whole_lines(file: IO[bytes]) -> int:
    """How many lines a file has; what a killed reader was writing behind them is cut off."""
    lines = end = at = 0
    file.seek(0)
    while block := file.read(_BLOCK):
        lines += block.count(b"\n")
        end = max(end, at + block.rfind(b"\n") + 1) if b"\n" in block else end
        at += len(block)
    file.truncate(end)
    return lines


def _whole_lines_of(path: Path) -> int:
    with path.open("r+b") as file:
        return _whole_lines(file)


def _item(line: bytes) -> tuple[str, Document | Failure] | None:
    """A row as what it says, None for the last; a parser that a hostile file has taken over may write anything."""
    inner = ""
    try:
        row = json.loads(line)
        if isinstance(row, dict) and _LAST in row:
            return None
        inner = _text(row["inner"])
        return inner, _document(row["document"]) if "document" in row else _failure(row["failure"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return inner, _unreadable()


def _unreadable() -> Failure:
    return Failure("", "its reader wrote what cannot be read")


def _document(found: Mapping[str, Any]) -> Document:
    document = Document.from_dict(found)
    facts = (part for fact in document.metadata.items() for part in fact)
    for text in (document.name, document.title, document.domain, document.language, *facts):
        _text(text)
    for item in document.left_out:
        _text(item.text), _text(item.reason)
    _check_number(document.repaired, _MOST)
    for block in document.blocks:
        if block.kind not in _KINDS or not _text(block.text):
            raise ValueError
        _check_number(block.level, 6)
        _check_number(block.page, _MOST)
    return document


def _failure(found: Mapping[str, Any]) -> Failure:
    failure = Failure(**found)
    for text in (failure.name, failure.error, failure.raw):
        _text(text)
    if type(failure.limit) is not bool:
        raise TypeError
    return failure


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    # half a surrogate pair, which no table takes, is a ValueError here
    value.encode()
    return value


def _check_number(value: Any, most: int) -> None:
    # true is an int, too
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError
