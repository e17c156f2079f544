"""Rows of tasks and answers to them as inputs of steps; not tests themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from denizen.answering.answers import TaskAnswer
from denizen.data.artifacts import Evaluation, TaskRows
from denizen.data.tables import write_table
from denizen.data.task_rows import Message, TaskRow, task_table


def row(name: str, task: Any = "answer", answer: str = "rain", document: str | None = None, **more: Any) -> TaskRow:
    asked = (Message("user", more.pop("asked", f"What falls on {name}?")),)
    return TaskRow(name, task, more.pop("split", "test"), document, "given", asked, answer, **more)


def stored_rows(folder: Path, rows: Iterable[TaskRow]) -> TaskRows:
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "task_rows.parquet", task_table(list(rows)))
    return TaskRows.outside(folder)


def evaluation(folder: Path, file: str, lines: Iterable[Mapping[str, Any]], **facts: Any) -> Evaluation:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Evaluation(folder, folder.name, facts)


def answered(folder: Path, rows: Iterable[TaskRow], said: Mapping[str, str], **more: Any) -> Evaluation:
    """Answers by row id; the references have a log-likelihood of -2 for 2 tokens, unless something else is given."""
    told = {"ended": True, "log_likelihood": -2.0, "tokens": 2, **more}
    lines = [asdict(TaskAnswer(each.row_id, each.task, said[each.row_id], **told)) for each in rows]
    return evaluation(folder, "answers.jsonl", lines)
