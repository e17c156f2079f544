"""What was read of each file, kept under the digest of its content: nothing is read twice, and nothing half."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from denizen.core.stage import file_digest
from denizen.documents.document import Document, Failure

# raised when a reader or a cleaner changes what it writes
READING_VERSION = 1
_LAST = "read"


def part_key(path: Path, name: str, settings: Mapping[str, Any]) -> str:
    """What decides how a file is read: its content, the end of its name, and the settings of reading."""
    facts = {"content": file_digest(path), "suffixes": _suffixes(name), "version": READING_VERSION, **settings}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


class Parts:
    """A folder with one file a read file: JSON lines of documents and failures, and a last line that says it is whole.

    A file whose reading was stopped (by time, by memory, by a crash) is kept as far as it came, and read again by the
    next run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def waits(self, key: str) -> bool:
        """Whether a file has to be read, for the first time or again."""
        return not self._whole(key).is_file()

    def being_read(self, key: str) -> Path:
        """Where a reader writes."""
        return self.folder / f".{key}.partial"

    def keep(self, key: str, stopped: str | None) -> None:
        """Keeps what a reader has written.

        Args:
            key: The file's key.
            stopped: Why the reading was stopped before its end, or None.
        """
        partial = self.being_read(key)
        rows = list(_rows(partial)) if stopped and partial.is_file() else []
        if stopped:
            if len(rows) < len(list(self.rows(key))):
                # an earlier reading came further
                partial.unlink(missing_ok=True)
                return
            rows.append({"inner": "", "failure": {"name": "", "error": stopped, "raw": ""}})
            partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            partial.replace(self._stopped(key))
            return
        with partial.open("a", encoding="utf-8") as file:
            file.write(json.dumps({_LAST: True}) + "\n")
        partial.replace(self._whole(key))
        self._stopped(key).unlink(missing_ok=True)

    def rows(self, key: str) -> Iterator[tuple[str, Document | Failure]]:
        """What was read of a file, one after another: names inside the file, and documents or failures."""
        path = self._whole(key) if self._whole(key).is_file() else self._stopped(key)
        for row in _rows(path) if path.is_file() else ():
            if _LAST not in row:
                yield row["inner"], _item(row)

    def forget(self, wanted: set[str]) -> None:
        """Removes what was read of files that are not there any more."""
        for path in self.folder.iterdir():
            if path.name.startswith(".") or path.name.partition(".")[0] not in wanted:
                path.unlink()

    def _whole(self, key: str) -> Path:
        return self.folder / f"{key}.jsonl"

    def _stopped(self, key: str) -> Path:
        return self.folder / f"{key}.again.jsonl"


def _suffixes(name: str) -> str:
    return "".join(Path(name.lower()).suffixes[-2:])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                # the line that a killed reader was writing
                return
            if isinstance(row, dict) and (_LAST in row or isinstance(row.get("inner"), str)):
                yield row


def _item(row: Mapping[str, Any]) -> Document | Failure:
    """A row as what it says; a parser that a hostile file has taken over may write anything."""
    try:
        found = Document.from_dict(row["document"]) if "document" in row else Failure(**row["failure"])
        texts = [block.text for block in found.blocks] if isinstance(found, Document) else [found.error, found.raw]
        if all(isinstance(text, str) for text in (*texts, found.name)):
            return found
    except (TypeError, KeyError, AttributeError):
        pass
    return Failure("", "its reader wrote what cannot be read")
