"""Rows that a user brings, read from files of any shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from denizen.data.formats.rows import TABLES, BadRows, as_text, require_content, table_rows
from denizen.data.formats.source import SPLITS, source_files
from denizen.data.task_rows import TASKS, Message, Task
from denizen.engine.artifact import Artifact
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.tasks.label_set import Label
from denizen.tasks.shapes import Shape, shape_of
from denizen.tasks.wording import label_prompt, summary_prompt

_SPLITS = {**{name: name for name in SPLITS}, **dict.fromkeys(("validation", "valid", "val", "eval"), "dev")}
# of a row's id, so that a million rows have no two alike
_DIGITS = 16


@dataclass(frozen=True)
class Given:
    """A row that was given.

    Attributes:
        task: Which of the tasks.
        split: As the file says; None: it says nothing.
        document: The document that it is about; None: of none that is named.
        messages: What is asked.
        answer: The reference, or the chosen answer.
        rejected: The worse answer, where there are two.
        evidence: The passage that it rests on; None where the file names none.
    """

    task: Task
    split: str | None
    document: str | None
    messages: tuple[Message, ...]
    answer: str
    rejected: str | None = None
    evidence: str | None = None

    @property
    def row_id(self) -> str:
        """Names it by what it says, so that it keeps its name wherever it stands."""
        return row_id_of(self.messages, self.answer)


def row_id_of(messages: Iterable[Message], *answers: str) -> str:
    """The name of a row that was given."""
    said = [[turn.role, turn.content] for turn in messages]
    return f"given-{json_digest([said, answers])[:_DIGITS]}"


def read_given(files: Sequence[Artifact], labels: Sequence[Label], bad: BadRows) -> tuple[list[Given], list[Label]]:
    """Reads files, or folders of them, whose names may say the split (train, dev or validation, test).

    Of texts with labels, the model is shown all labels: those that were given, or else those that stand in the rows.

    Args:
        files: Tables of rows.
        labels: The labels that there are; none: those of the rows.
        bad: Takes rows of which nothing can be made.

    Returns:
        The rows, and the labels that they are sorted by.

    Raises:
        InputError: When a file is missing, empty or of an unknown kind.
    """
    read = [(place, row, shape) for artifact in files for place, row, shape in _shapes(artifact.path, bad)]
    sorted_by = list(labels)
    if not labels:
        names = {shape.answer for _, _, shape in read if shape.task == "classify"}
        sorted_by = [Label(name) for name in sorted(names)]
    known = {label.name for label in sorted_by}
    found = []
    for place, row, shape in read:
        if shape.task == "classify" and shape.answer not in known:
            bad.add(place, f"the label {shape.answer!r} is none of those of --labels", row)
            continue
        try:
            found.append(_given(row, _worded(shape, sorted_by)))
        except ValueError as error:
            bad.add(place, str(error), row)
    return found, sorted_by


def _shapes(path: Path, bad: BadRows) -> Iterator[tuple[str, Mapping[str, Any], Shape]]:
    paths = [path] if not path.is_dir() else [at for at in source_files(path, None) if at.name.endswith(TABLES)]
    if not paths:
        raise InputError(f"{path} holds no file of rows; they come as {', '.join(TABLES)}")
    for at in paths:
        require_content(at)
        # only a folder's digest knows the names of its files
        stem = at.name.partition(".")[0].lower()
        named = {"split": stem} if path.is_dir() and stem in _SPLITS else {}
        for place, row in table_rows(at, bad):
            try:
                yield place, {**named, **row}, shape_of(row)
            except ValueError as error:
                bad.add(place, str(error), row)


def _worded(shape: Shape, labels: Sequence[Label]) -> Shape:
    """A text with what is to be done with it."""
    if shape.task is None:
        return shape
    (turn,) = shape.messages
    asked = summary_prompt(turn.content) if shape.task == "summarize" else label_prompt(turn.content, labels)
    return replace(shape, messages=(Message("user", asked),))


def _given(row: Mapping[str, Any], shape: Shape) -> Given:
    task, split = (as_text(row.get(name)) for name in ("task", "split"))
    # a text with a summary may be called document
    document, evidence = (as_text(row.get(name)) or None for name in ("document", "evidence"))
    wanted = next((known for known in TASKS if known == task), None)
    if task and wanted is None:
        raise ValueError(f"the task is {row['task']!r}; there are {', '.join(TASKS)}")
    if shape.task and wanted and wanted != shape.task:
        raise ValueError(f"the task is {task!r}, and its columns are those of {shape.task}")
    if split and split.lower() not in _SPLITS:
        raise ValueError(f"the split is {row['split']!r}; there are {', '.join(SPLITS)}")
    side = _SPLITS[split.lower()] if split else None
    wanted = wanted or shape.task or "answer"
    return Given(wanted, side, document, shape.messages, shape.answer, shape.rejected, evidence)
