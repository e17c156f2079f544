"""The step that holds systems against one another by their answers to the test rows of each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denizen.answering.answers import TaskAnswer
from denizen.answering.bert_score import BertScorer
from denizen.answering.classification import Labels
from denizen.answering.measures import DECIDING, LIKELIHOOD, TaskValues, differences, figures, measured
from denizen.answering.rouge import words
from denizen.answering.systems import asked_text, document_groups, pairs_of, routed, systems_of
from denizen.answering.verdicts import sentences, verdict
from denizen.data.artifacts import Evaluation, Model, TaskRows
from denizen.data.task_rows import EXPERTS, TASKS, TaskRow, task_rows
from denizen.engine.errors import InputError
from denizen.engine.files import write_json_lines
from denizen.engine.settings import Params, setting
from denizen.engine.step import Context, step
from denizen.measuring.agreement import rate

# of each pair and task, the rows in which the two systems differ most, either way
EXAMPLES = 3


@dataclass(frozen=True)
class AnswerScoring(Params):
    """How answers are held against references."""

    panel = "Answers to tasks"

    bert_score_layer: int = setting(
        0, "Layer of the encoder that BERTScore compares words at; 0: three quarters of the way.", least=0, most=1000
    )


@step(version=1, makes=Evaluation, name="task-comparison")
def compare_answers(  # noqa: PLR0913
    out: Path,
    params: AnswerScoring,
    ctx: Context,
    *,
    rows: TaskRows,
    answers: Mapping[str, Evaluation],
    routes: Evaluation | None = None,
    encoder: Model | None = None,
    judged: Evaluation | None = None,
) -> dict[str, Any]:
    """Every system's figures on the test rows, differences of pairs with intervals by document, and what they show.

    Args:
        out: Where values.jsonl (each measure of each row and system) and examples.jsonl go.
        params: How answers are held against references.
        ctx: The progress.
        rows: What was asked.
        answers: System to its step `answers`.
        routes: The step `router`.
        encoder: What BERTScore is computed by; None: it is left out.
        judged: The step `judged`.

    Raises:
        InputError: When there is no test row, or a system has not answered one.
    """
    every = task_rows(rows.table)
    asked = [row for row in every if row.split == "test"]
    if not asked:
        raise InputError("the rows of tasks hold none of the test; add rows, or leave more documents for the test")
    systems = systems_of(asked, answers, routes)
    labels = Labels(tuple(sorted({row.answer for row in every if row.task == "classify"})))
    scorer = None if encoder is None else BertScorer(encoder.path, params.bert_score_layer)
    found = _values(asked, systems, labels, scorer, ctx)
    opinions = _opinions(judged)
    pairs = []
    for name, other in pairs_of(systems):
        for task in found[name]:
            pair = {"model": name, "against": other, "task": task, "rows": len(found[name][task].groups)}
            pair |= differences(found[name][task], found[other][task])
            pair["preference"] = opinions.get((name, other, task))
            pair["verdict"] = verdict(pair)[0]
            pairs.append(pair)
    _write_values(out, asked, found)
    write_json_lines(out / "examples.jsonl", _examples(asked, systems, found))
    of_task = {task: [row for row in asked if row.task == task] for task in TASKS}
    facts: dict[str, Any] = {
        "rows": {task: len(of) for task, of in of_task.items() if of},
        "documents": {task: len(set(document_groups(of))) for task, of in of_task.items() if of},
        "labels": len(labels.names),
        "words": {task: _mean_words(of) for task, of in of_task.items() if of},
        "systems": {name: {task: figures(its) for task, its in of.items()} for name, of in found.items()},
        "pairs": pairs,
        "router": None if routes is None else _router(asked, routed(routes)),
        "judge": None if judged is None else judged.facts["trial"],
        "scores": {} if judged is None else judged.facts["scores"],
        "bert_score": scorer and {"encoder": scorer.folder.name, "layer": scorer.used_layer, "rescaled": False},
    }
    return {**facts, "sentences": sentences(facts)}


def _values(
    rows: Sequence[TaskRow],
    systems: Mapping[str, Sequence[TaskAnswer]],
    labels: Labels,
    scorer: BertScorer | None,
    ctx: Context,
) -> dict[str, dict[str, TaskValues]]:
    """System to task to what its answers are worth."""
    found: dict[str, dict[str, TaskValues]] = {}
    with ctx.progress.bar(len(systems), "systems measured") as advance:
        for name, its in systems.items():
            found[name] = {}
            for task in TASKS:
                if places := _places(rows, task):
                    of_task = [rows[at] for at in places]
                    said, groups = [its[at] for at in places], document_groups(of_task)
                    found[name][task] = measured(of_task, said, groups, labels, scorer)
            advance(1)
    return found


def _places(rows: Sequence[TaskRow], task: str) -> list[int]:
    return [at for at, row in enumerate(rows) if row.task == task]


def _opinions(judged: Evaluation | None) -> dict[tuple[str, str, str], dict[str, float]]:
    """Pair of systems and task to how often a judge that counts has preferred the first."""
    pairs = [] if judged is None else judged.facts["pairs"]
    return {(its["model"], its["against"], its["task"]): its["preference"] for its in pairs}


def _router(rows: Sequence[TaskRow], named: Mapping[str, str]) -> dict[str, Any]:
    """How often the expert was named that a row belongs to, in all and of each expert."""
    right = {row.row_id: named[row.row_id] == row.expert for row in rows}
    by_expert = {name: rate(np.array([right[row.row_id] for row in rows if row.expert == name])) for name in EXPERTS}
    whole = rate(np.array([*right.values()]))
    return {
        "accuracy": whole and asdict(whole),
        "by_expert": {name: asdict(share) for name, share in by_expert.items() if share},
    }


def _mean_words(rows: Sequence[TaskRow]) -> float:
    return float(np.mean([len(words(row.answer)) for row in rows]))


def _write_values(out: Path, rows: Sequence[TaskRow], found: Mapping[str, Mapping[str, TaskValues]]) -> None:
    lines = []
    for name, of in found.items():
        for task, its in of.items():
            ids = [row.row_id for row in rows if row.task == task]
            lines += [{"row_id": row_id, "system": name, **its.of_row(at)} for at, row_id in enumerate(ids)]
    write_json_lines(out / "values.jsonl", lines)


def _examples(
    rows: Sequence[TaskRow],
    systems: Mapping[str, Sequence[TaskAnswer]],
    found: Mapping[str, Mapping[str, TaskValues]],
) -> list[dict[str, Any]]:
    """Of each pair and task the rows that the first system answers better, and those that it answers worse."""
    examples = []
    for name, other in pairs_of(systems):
        for task, its in found[name].items():
            # likelihood says nothing about an answer that is shown
            measure = next(each for each in DECIDING[task] if each != LIKELIHOOD)
            apart = np.array(its.means[measure]) - np.array(found[other][task].means[measure])
            order, places = np.argsort(-apart, kind="stable").tolist(), _places(rows, task)
            for at in [*order[:EXAMPLES], *order[: -EXAMPLES - 1 : -1]]:
                row, place = rows[places[at]], places[at]
                told = {"model": name, "against": other, "task": task, "row_id": row.row_id, "measure": measure}
                told |= {"difference": float(apart[at]), "asked": asked_text(row), "reference": row.answer}
                told |= {"answer": systems[name][place].answer, "other_answer": systems[other][place].answer}
                if apart[at] and told not in examples:
                    examples.append(told)
    return examples
