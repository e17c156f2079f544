"""The artifacts of the field: tables, each known by its digest and read when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from denizen.data.tables import read_table
from denizen.engine.artifact import Artifact


@dataclass(frozen=True)
class Table(Artifact):
    """One table: a file, or a step's folder that holds it under its schema's name."""

    schema: ClassVar[str]

    @cached_property
    def table(self) -> pa.Table:
        """The rows."""
        return read_table(self.path / f"{self.schema}.parquet" if self.path.is_dir() else self.path, self.schema)


@dataclass(frozen=True)
class Corpus(Table):
    """Passages, by ascending doc_id."""

    schema = "corpus"


@dataclass(frozen=True)
class Queries(Table):
    """Queries of any split."""

    schema = "queries"

    def of(self, *splits: str) -> list[dict[str, Any]]:
        """The rows of some splits, in the table's order."""
        return [row for row in self.table.to_pylist() if row["split"] in splits]

    def texts(self, *splits: str) -> dict[str, str]:
        """Query id to text for some splits, in the table's order."""
        return {row["query_id"]: row["text"] for row in self.of(*splits)}


@dataclass(frozen=True)
class Qrels(Table):
    """What is relevant to which query."""

    schema = "qrels"


@dataclass(frozen=True)
class Documents(Table):
    """The side of each document."""

    schema = "documents"


@dataclass(frozen=True)
class Run(Table):
    """What a retriever has found."""

    schema = "run"


@dataclass(frozen=True)
class Candidates(Table):
    """What a query may be trained with, or a teacher be shown."""

    schema = "candidates"


@dataclass(frozen=True)
class Judgments(Table):
    """What a teacher has said."""

    schema = "judgments"


@dataclass(frozen=True)
class Examples(Table):
    """What is trained on."""

    schema = "examples"


@dataclass(frozen=True)
class Model(Artifact):
    """A model's folder, as the library of its kind loads it."""


@dataclass(frozen=True)
class Evaluation(Artifact):
    """Figures of systems in its facts; their runs and values per query in its files."""
