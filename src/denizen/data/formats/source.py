"""What every reader of `adapt`'s input returns: documents, queries, and which belongs to which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from denizen.data.formats.rows import BadRow

SPLITS = ("train", "dev", "test")


def source_files(folder: Path, leave_out: Path | None) -> list[Path]:
    """The files of a folder and its subfolders in order, without hidden ones and those of the folder to leave out."""
    own = leave_out.resolve() if leave_out else None
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and own not in path.resolve().parents
    ]


@dataclass(frozen=True)
class Source:
    """A source as read, before passages are cut and splits are made.

    Attributes:
        documents: A `corpus` table; of a whole document `parent_id` is null, a passage of one has its own.
        queries: A `queries` table; `split` is null where the source brings no splits.
        qrels: A `qrels` table over whole documents; relevance 0 or less is judged irrelevant.
        cut: Whether documents are to be cut into passages (answers) or stand as they are (a BEIR corpus).
        bad_rows: Rows that were skipped, each with its place and the problem.
        parts_left_out: Names of the source's parts that are none of train, dev and test, where it has such.
        columns_left_out: Names of columns that were not read.
        document_dates: Document to what it says of its date, as it is written there; without those that say nothing.
        query_dates: The same of queries.
    """

    documents: pa.Table
    queries: pa.Table
    qrels: pa.Table
    cut: bool
    bad_rows: list[BadRow]
    parts_left_out: tuple[str, ...] = ()
    columns_left_out: tuple[str, ...] = ()
    document_dates: Mapping[str, str] = field(default_factory=dict)
    query_dates: Mapping[str, str] = field(default_factory=dict)

    @property
    def splits(self) -> set[str]:
        """The names of the splits that the source brings itself."""
        return {split for split in self.queries["split"].to_pylist() if split}
