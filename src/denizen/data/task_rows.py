"""What a domain's language model is asked: rows of tasks with their reference answers, and pairs of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

from denizen.data.tables import rows_table

Task = Literal["answer", "summarize", "classify"]
Way = Literal["no passage", "wrong passage", "cut off", "own answer", "given"]

TASKS: tuple[Task, ...] = ("answer", "summarize", "classify")
# the expert that a task belongs to (arXiv 2511.21101: conversation by DPO, what has a structure by SFT)
EXPERT_OF: dict[str, str] = {"answer": "answering", "summarize": "structured", "classify": "structured"}
EXPERTS = ("answering", "structured")


@dataclass(frozen=True)
class Message:
    """A turn.

    Attributes:
        role: system, user or assistant.
        content: What was said.
    """

    role: str
    content: str


@dataclass(frozen=True)
class TaskRow:
    """Something that a language model is asked, with what it should answer.

    Attributes:
        row_id: Names it.
        task: Which of the tasks; of `classify` the answer is the label.
        split: train, dev or test.
        document: The document, or section of one, that it is about (a parent_id of the corpus); None: of none.
        origin: "given" by the user, or "written" by the teacher.
        messages: What is asked, a user's turn last.
        answer: The reference.
        evidence: The passage that it rests on; None where nobody knows.
    """

    row_id: str
    task: Task
    split: str
    document: str | None
    origin: str
    messages: tuple[Message, ...]
    answer: str
    evidence: str | None = None

    @property
    def expert(self) -> str:
        """The expert that it belongs to."""
        return EXPERT_OF[self.task]


@dataclass(frozen=True)
class Preference:
    """Two answers to what a language model is asked.

    Attributes:
        row_id: Names it.
        task: Which of the tasks.
        split: train or dev.
        document: As of a `TaskRow`.
        origin: As of a `TaskRow`.
        messages: What is asked, a user's turn last.
        chosen: The better answer.
        rejected: The other one.
        way: How the rejected one was made.
    """

    row_id: str
    task: Task
    split: str
    document: str | None
    origin: str
    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    way: Way


def task_table(rows: Sequence[TaskRow]) -> pa.Table:
    """A `task_rows` table."""
    return rows_table("task_rows", map(asdict, rows))


def preference_table(rows: Sequence[Preference]) -> pa.Table:
    """A `preferences` table."""
    return rows_table("preferences", map(asdict, rows))


def task_rows(table: pa.Table, *splits: str) -> list[TaskRow]:
    """The rows of a `task_rows` table of some splits; none given: of all."""
    return [TaskRow(**_with_messages(row)) for row in table.to_pylist() if not splits or row["split"] in splits]


def preferences(table: pa.Table, *splits: str) -> list[Preference]:
    """The rows of a `preferences` table of some splits; none given: of all."""
    return [Preference(**_with_messages(row)) for row in table.to_pylist() if not splits or row["split"] in splits]


def _with_messages(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "messages": tuple(Message(**turn) for turn in row["messages"])}
