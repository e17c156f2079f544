"""The grades that a server takes for a run, in memory and as a file that `audit --people` and `adapt --grades` read."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denizen.data.formats.grades import append_grade, read_grades
from denizen.data.tables import folded
from denizen.engine.errors import InputError

# beside metrics.json in the folder of a run
GRADES = "grades.jsonl"
# some 30,000 grades with their passages: more than people give, and less than fills a disk
_MOST_BYTES = 64 << 20


class Grades:
    """The grades of a run.

    Args:
        path: The file; it is made with the first grade.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], int] = {}
        # how large the file was when it was read, and when it had been written
        self._seen = (0, 0)

    def of(self, query: str) -> Mapping[str, int]:
        """Passage id to its grade for a query.

        Raises:
            InputError: When the file cannot be read.
        """
        with self._lock:
            return {doc_id: grade for (asked, doc_id), grade in self._read().items() if asked == folded(query)}

    def __len__(self) -> int:
        with self._lock:
            return len(self._read())

    def add(self, row: Mapping[str, Any]) -> int:
        """Keeps a grade, or takes one back where it is None; after a return it is on disk.

        Returns:
            How many pairs are graded.

        Raises:
            InputError: When the file cannot be read, or is full.
            OSError: When it cannot be written.
        """
        key, grade = (folded(row["query"]), row["doc_id"]), row["grade"]
        with self._lock:
            known = self._read()
            if known.get(key) != grade:
                if self._path.is_file() and self._path.stat().st_size > _MOST_BYTES:
                    raise InputError(f"{self._path} has more than {_MOST_BYTES >> 20} MiB; move it elsewhere")
                append_grade(self._path, row)
            return len(self._read())

    def _read(self) -> dict[tuple[str, str], int]:
        """All of them; another server may have written, or somebody taken the file away."""
        found = self._path.stat() if self._path.is_file() else None
        seen = (found.st_size, found.st_mtime_ns) if found else (0, 0)
        if seen != self._seen:
            grades = read_grades(self._path) if seen[0] else []
            self._known = {each.key: each.grade for each in grades if each.grade is not None}
            self._seen = seen
        return self._known
