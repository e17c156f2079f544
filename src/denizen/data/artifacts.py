"""The artifacts of the field: tables, each known by its digest and read when it is needed."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

import pyarrow as pa

from denizen.data.tables import each, read_table
from denizen.engine.artifact import Artifact

A = TypeVar("A", bound=Artifact)


class Part(Generic[A]):
    """A file or folder of an artifact, as an attribute of its class."""

    def __init__(self, name: str, kind: type[A]) -> None:
        self.name = name
        self.kind = kind

    def __get__(self, whole: Artifact, owner: type[Artifact]) -> A:
        return whole.part(self.name, self.kind)


class Table(Artifact):
    """One table: a file, or a step's folder that holds it under the name of its schema."""

    schema: ClassVar[str]

    def __init_subclass__(cls, schema: str = "") -> None:
        """Names the schema of a kind of table; a kind of that kind has the same."""
        if schema:
            cls.schema = schema

    @cached_property
    def table(self) -> pa.Table:
        """The rows."""
        return read_table(self.path / f"{self.schema}.parquet" if self.path.is_dir() else self.path, self.schema)


class Corpus(Table, schema="corpus"):
    """Passages, by ascending doc_id."""


class Queries(Table, schema="queries"):
    """Queries of any split."""

    def of(self, *splits: str) -> list[dict[str, Any]]:
        """The rows of some splits, in the table's order."""
        return [row for row in self.table.to_pylist() if row["split"] in splits]

    def texts(self, *splits: str) -> dict[str, str]:
        """Query id to text for some splits, in the table's order."""
        return {row["query_id"]: row["text"] for row in self.of(*splits)}


class Qrels(Table, schema="qrels"):
    """What is relevant to which query."""


class Documents(Table, schema="documents"):
    """The side of each document."""


class Run(Table, schema="run"):
    """What a retriever has found."""


class Candidates(Table, schema="candidates"):
    """What a query may be trained with, or a teacher be shown."""


class Judgments(Table, schema="judgments"):
    """What a teacher has said."""


class Examples(Table, schema="examples"):
    """What is trained on."""


class Negatives(Artifact):
    """Passages that were written as negatives, in no corpus that is searched, and the examples that they belong to."""

    corpus = Part("corpus.parquet", Corpus)
    examples = Part("examples.parquet", Examples)


class Folds(Table, schema="folds"):
    """What each query is held out with."""

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Query id to the number of its fold."""
        return dict(each(self.table, "query_id", "fold"))


class TaskRows(Table, schema="task_rows"):
    """What a language model is asked, with reference answers."""


class Preferences(Table, schema="preferences"):
    """Pairs of a chosen and a rejected answer to what a language model is asked."""


class Model(Artifact):
    """A model's folder, as the library of its kind loads it."""


class Adapter(Artifact):
    """Low-rank adapters of a model by themselves, in PEFT's files."""


class Evaluation(Artifact):
    """Figures of systems in its facts; their runs and values per query in its files."""
