"""The step that brings together what a domain's language model is to answer: rows of the user and rows of a teacher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from denizen.data.artifacts import Corpus, Documents, TaskRows
from denizen.data.formats.rows import BadRows
from denizen.data.splitting import check_sides
from denizen.data.tables import each, write_table
from denizen.data.task_rows import TaskRow, task_table
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.step import Context, Partial, step
from denizen.llm.answer import Answer, Failure
from denizen.llm.client import LLM
from denizen.supervision.asking import Asking, check_coverage, failure_table, whole_or_partial
from denizen.tasks.dropped import dropped_table, told_of
from denizen.tasks.given import read_given
from denizen.tasks.label_set import Label, read_labels, write_labels
from denizen.tasks.sides import with_sides, without_leaks
from denizen.tasks.written import STAGE, TaskWriting, Wrote, write_rows


@step(version=2, makes=TaskRows, name=STAGE)
def collect_tasks(  # noqa: PLR0913
    out: Path,
    params: TaskWriting,
    ctx: Context,
    *,
    corpus: Corpus,
    documents: Documents,
    given: Sequence[Artifact] = (),
    labels: Artifact | None = None,
    prompts: Value,
) -> dict[str, Any] | Partial:
    """Writes task_rows.parquet, labels.csv where texts are sorted, dropped_queries.parquet and failures.parquet.

    Args:
        out: Where to write.
        params: Which rows are written and how given ones are divided.
        ctx: Its LLM writes; without one there is only what was given.
        corpus: The passages.
        documents: The side of each document.
        given: Files of rows, or folders of such files.
        labels: A table of labels; None: those of given rows, or else what the LLM proposes.
        prompts: What is asked.

    Raises:
        InputError: When there is neither a file nor an LLM, a row is unusable, too few calls were answered, or a side
            has no row.
    """
    llm, bad = ctx.get(LLM), BadRows(params.skip_bad_rows)
    if not given and llm is None:
        raise InputError("there are no rows of tasks: give files of them with --tasks, or an LLM that writes them")
    known = read_labels(labels.path) if labels else []
    brought, sorted_by = read_given(given, known, bad)
    bad.check()
    side_of = dict(each(documents.table, "parent_id", "split"))
    rows = with_sides(brought, side_of, params, params.near_duplicate) if brought else []
    wrote = Wrote([], [], [], [])
    if llm is not None:
        # the labels of given rows are those of other texts than the corpus has
        own = None if sorted_by and not known else known
        wrote = write_rows(corpus.table, documents.table, own, params, llm, ctx.progress)
        sorted_by = sorted_by or [*wrote.labels]
    kept, leaks = without_leaks([*rows, *wrote.rows], side_of, params.near_duplicate)
    dropped, failures = [*wrote.dropped, *leaks], [reply for reply in wrote.replies if isinstance(reply, Failure)]
    told: dict[str, Any] = {}
    if llm is not None:
        told = check_coverage(STAGE, len(wrote.replies), failures, ctx[Asking].min_coverage)
    why = "".join(f", {count:,} {reason}" for reason, count in told_of(dropped)["dropped"].items())
    left = f"{len(kept):,} rows of tasks are left, {len(dropped):,} were dropped{why and f' ({why[2:]})'}"
    check_sides([row.split for row in kept], left, "give more, have more written, or take a better LLM")
    write_table(out / "task_rows.parquet", task_table(kept))
    write_table(out / "dropped_queries.parquet", dropped_table(dropped))
    write_table(out / "failures.parquet", failure_table(STAGE, failures))
    if sorted_by:
        write_labels(out / "labels.csv", sorted_by)
    told |= {"rows": counts(kept), "labels": _labels(kept, sorted_by), "skipped": len(bad.rows), **told_of(dropped)}
    told["written"] = sum(isinstance(reply, Answer) for reply in wrote.replies)
    by_task = Counter(row.task for row in kept)
    shown = ", ".join(f"{count:,} {task}" for task, count in by_task.items())
    ctx.progress.note(f"{len(kept):,} rows: {shown}; {len(dropped):,} dropped")
    return whole_or_partial(told) if llm is not None else told


def counts(rows: Sequence[TaskRow]) -> list[dict[str, Any]]:
    """How many rows there are of each task, side and origin, and how long they are in the mean, in characters."""
    parts: dict[tuple[str, str, str], list[TaskRow]] = {}
    for row in rows:
        parts.setdefault((row.task, row.split, row.origin), []).append(row)
    return [
        {
            **dict(zip(("task", "split", "origin"), key, strict=True)),
            "rows": len(part),
            "prompt_chars": round(fmean(sum(len(turn.content) for turn in row.messages) for row in part)),
            "answer_chars": round(fmean(len(row.answer) for row in part)),
        }
        for key, part in sorted(parts.items())
    ]


def _labels(rows: Sequence[TaskRow], labels: Sequence[Label]) -> dict[str, dict[str, int]]:
    """Label to the number of rows on each side, of all labels that there are."""
    found = {label.name: Counter[str]() for label in labels}
    for row in rows:
        if row.task == "classify":
            found.setdefault(row.answer, Counter()).update([row.split])
    return {name: dict(sorted(of.items())) for name, of in found.items()}
