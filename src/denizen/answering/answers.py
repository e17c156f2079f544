"""The step in which a language model answers the rows of tasks, and says how well it foresees their references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from denizen.data.artifacts import Adapter, Evaluation, Model, TaskRows
from denizen.data.task_rows import TASKS, TaskRow, task_rows
from denizen.engine.errors import InputError
from denizen.engine.files import read_json_lines, write_json_lines
from denizen.engine.progress import Progress
from denizen.engine.settings import setting
from denizen.engine.step import Context, step
from denizen.language_models.language_model import LanguageModel, conversation_tokens
from denizen.retrievers.encoding import Arithmetic

_ANSWERS = "answers.jsonl"
_ADAPTER = "adapter"
# answered together, and between two savings
_AT_A_TIME = 16
# what a model may say beside a label; who says more has not answered with one
_BESIDE_LABEL = 16


@dataclass(frozen=True)
class TaskAnswering(Arithmetic):
    """How a model is asked."""

    panel = "Answers to tasks"

    # summaries and answers of a paragraph; a model that does not end by itself costs this much for every row
    task_tokens: int = setting(192, "Tokens of an answer to a row of a task at most.", least=8, most=8192)


@dataclass(frozen=True)
class TaskAnswer:
    """A model's answer to a row.

    Attributes:
        row_id: Which row.
        task: Its task.
        answer: What was said, by greedy decoding.
        ended: Whether the model has ended it by itself.
        log_likelihood: Natural, of the reference's tokens given what was asked.
        tokens: How many these are.
    """

    row_id: str
    task: str
    answer: str
    ended: bool
    log_likelihood: float
    tokens: int


@step(version=1, makes=Evaluation, name="answers")
def answer_tasks(
    out: Path, params: TaskAnswering, ctx: Context, *, model: Model, rows: TaskRows, adapter: Adapter | None = None
) -> dict[str, Any]:
    """A model's answers to the rows of dev and test, and the likelihood of the references.

    Args:
        out: Where answers.jsonl goes, in the order of the rows.
        params: How it is asked.
        ctx: Its scratch folder keeps what is answered already.
        model: The model.
        rows: What is asked.
        adapter: The adapter under which it answers; None: as it is.

    Raises:
        InputError: When there is no row, or one does not fit into what the model can read.
    """
    from denizen.retrievers.backends import use_bf16

    asked = task_rows(rows.table, "dev", "test")
    if not asked:
        raise InputError("the rows of tasks hold none of dev or test; add rows, or leave more documents for the test")
    adapters = {} if adapter is None else {_ADAPTER: adapter.path}
    answering = LanguageModel(model.path, use_bf16(params.precision), adapters)
    limits = _limits(answering, asked, params.task_tokens)
    _check_lengths(answering, asked, limits)
    with answering.using(None if adapter is None else _ADAPTER):
        found = _answered(answering, asked, limits, ctx.scratch / _ANSWERS, ctx.progress)
    write_json_lines(out / _ANSWERS, map(asdict, found))
    told = {task: [each for each in found if each.task == task] for task in TASKS}
    ended = {task: sum(each.ended for each in of) / len(of) for task, of in told.items() if of}
    return {"rows": {task: len(of) for task, of in told.items() if of}, "ended": ended}


def answers_of(evaluation: Evaluation) -> dict[str, TaskAnswer]:
    """Row id to answer of a step `answers`."""
    return {row["row_id"]: TaskAnswer(**row) for row in read_json_lines(evaluation.path / _ANSWERS)}


def _limits(model: LanguageModel, rows: Sequence[TaskRow], most: int) -> dict[str, int]:
    """Task to the tokens of an answer at most: where a label is asked for, those of the longest label and a few."""
    labels = {row.answer for row in rows if row.task == "classify"}
    longest = max((len(model.tokenizer(label)["input_ids"]) for label in labels), default=0)
    return {task: min(most, longest + _BESIDE_LABEL) if task == "classify" else most for task in TASKS}


def _check_lengths(model: LanguageModel, rows: Sequence[TaskRow], limits: dict[str, int]) -> None:
    most = getattr(model.model.config.get_text_config(), "max_position_embeddings", None)
    if most is None:
        return
    for row in rows:
        asked, reference = conversation_tokens(model.tokenizer, row.messages), model.tokenizer(row.answer)["input_ids"]
        needed = len(asked) + max(limits[row.task], len(reference) + 1)
        if needed > most:
            raise InputError(
                f"row {row.row_id} and its answer take {needed:,} tokens, and {model.folder.name} reads {most:,}; "
                "shorten the row, lower --task-tokens, or take a model that reads more"
            )


def _answered(
    model: LanguageModel, rows: Sequence[TaskRow], limits: dict[str, int], journal: Path, progress: Progress
) -> list[TaskAnswer]:
    done = [TaskAnswer(**row) for row in read_json_lines(journal)]
    # rows of one length together cost no padding, and those of one task have one limit
    order = [
        sorted((row for row in rows if row.task == task), key=lambda row: (_length(row), row.row_id)) for task in TASKS
    ]
    parts = [of[at : at + _AT_A_TIME] for of in order for at in range(0, len(of), _AT_A_TIME)]
    known = {each.row_id for each in done}
    with progress.bar(len(rows), "answers") as advance:
        advance(len(done))
        for part in parts:
            if part[0].row_id in known:
                continue
            conversations = [row.messages for row in part]
            said = model.answers(conversations, limits[part[0].task])
            foreseen = model.reference_log_likelihoods(conversations, [row.answer for row in part])
            done += [
                TaskAnswer(row.row_id, row.task, answer.text, answer.ended, *likelihood)
                for row, answer, likelihood in zip(part, said, foreseen, strict=True)
            ]
            write_json_lines(journal, map(asdict, done))
            advance(len(part))
    of_row = {each.row_id: each for each in done}
    return [of_row[row.row_id] for row in rows]


def _length(row: TaskRow) -> int:
    return sum(len(turn.content) for turn in row.messages)
