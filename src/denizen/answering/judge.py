"""The step in which an LLM judges answers: how correct and grounded each is, and which of two is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from denizen.answering.judge_trial import planted, trial_verdict
from denizen.answering.systems import asked_text, document_groups, pairs_of, systems_of
from denizen.data.artifacts import Evaluation, TaskRows
from denizen.data.tables import rows_table, write_table
from denizen.data.task_rows import TaskRow, task_rows
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.files import write_json_lines
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, Partial, step
from denizen.llm.answer import Answer, Failure, Prompt
from denizen.llm.client import LLM
from denizen.llm.prompts import messages
from denizen.measuring.significance import paired_difference
from denizen.supervision.asking import Asking, check_coverage, named, whole_or_partial

PROMPTS = ("judge_correct", "judge_grounded", "judge_pair")
# of a label is known whether it is right
JUDGED = ("answer", "summarize")
# {"better": 1} and what a model puts around it
_REPLY_TOKENS = 32


@dataclass(frozen=True)
class Judge:
    """Who judges answers, as a resource of a run: another LLM than the one that has written what models learn from.

    Attributes:
        llm: The client.
    """

    llm: LLM


@dataclass(frozen=True)
class AnswerJudging(Seeded):
    """Which answers are judged, and by whom."""

    panel = "Answers to tasks"

    judge: str = setting(
        "", "The LLM that judges answers, another one than --llm: a GGUF file, or its name at the endpoint."
    )
    # a preference of 60 % over 100 rows has an interval of 50 to 70 %
    judged_rows: int = setting(100, "Test rows of each task whose answers are judged.", least=1, most=100_000)


class Graded(BaseModel):
    """The reply to judge_correct.txt and judge_grounded.txt."""

    grade: Literal[1, 2, 3, 4, 5]


class Better(BaseModel):
    """The reply to judge_pair.txt: the number of the better answer; 0: neither is."""

    better: Literal[0, 1, 2]


@dataclass(frozen=True)
class Compared:
    """Two answers to a row.

    Attributes:
        row: What was asked.
        one: An answer.
        other: Another one.
    """

    row: TaskRow
    one: str
    other: str

    @property
    def prompts(self) -> tuple[Prompt, Prompt]:
        """The question in both orders."""
        return self._prompt(self.one, self.other), self._prompt(self.other, self.one)

    def _prompt(self, first: str, second: str) -> Prompt:
        passages = [] if self.row.evidence is None else [self.row.evidence]
        shown = {"query": asked_text(self.row), "passages": passages, "answers": [first, second]}
        return Prompt(messages("judge_pair", shown), Better, _REPLY_TOKENS)


@step(version=1, makes=Evaluation, name="judged")
def judge_answers(
    out: Path,
    params: AnswerJudging,
    ctx: Context,
    *,
    rows: TaskRows,
    answers: Mapping[str, Evaluation],
    prompts: Value,
    routes: Evaluation | None = None,
) -> dict[str, Any] | Partial:
    """Tries a judge, and where it passes has it grade the answers of each system and compare those of pairs.

    Two answers are shown in both orders. Who is preferred in both has 1, the other one 0; both have a half where the
    order decides, where neither is better, and where the two are one text, which nobody is asked about.

    Args:
        out: Where judged.jsonl goes (a line for each grade and preference), and failures.parquet.
        params: How many rows.
        ctx: Its `Judge`.
        rows: What was asked.
        answers: System to its step `answers`.
        prompts: What the judge is asked (`PROMPTS`).
        routes: The step `router`; with it the answers of the expert that it names are judged, too.

    Raises:
        InputError: When the judge is the LLM that models have learnt from.
    """
    asked = task_rows(rows.table, "dev", "test")
    listed = [row for row in asked if row.task in JUDGED]
    judging = _Judging(ctx, check_judge(ctx[Judge].llm, ctx.get(LLM)))
    trial = judging.trial(listed, params.seed)
    ctx.progress.say(trial["why"])
    facts: dict[str, Any] = {"judge": named(judging.llm), "trial": trial, "rows": {}, "scores": {}, "pairs": []}
    if trial["passed"]:
        chosen = [row for task in JUDGED for row in _drawn(listed, task, params)]
        systems = systems_of(chosen, answers, routes)
        facts["rows"] = {task: count for task in JUDGED if (count := sum(row.task == task for row in chosen))}
        facts["scores"] = judging.scores(chosen, {name: [its.answer for its in of] for name, of in systems.items()})
        facts["pairs"] = [
            told
            for name, other in pairs_of(systems)
            for told in judging.preferences(name, other, chosen, systems[name], systems[other])
        ]
    write_json_lines(out / "judged.jsonl", judging.lines)
    lost = [
        {"stage": ctx.place, "key": key, "error": its.kind, "raw": its.raw or its.message} for key, its in judging.lost
    ]
    write_table(out / "failures.parquet", rows_table("failures", lost))
    coverage = check_coverage(ctx.place, judging.asked, [its for _, its in judging.lost], ctx[Asking].min_coverage)
    return whole_or_partial({**coverage, **facts})


def check_judge(judge: LLM, teacher: LLM | None) -> LLM:
    """The judge, who must be another one than who has written what models have learnt from.

    Raises:
        InputError: When it is the same.
    """
    if teacher is not None and teacher.model == judge.model:
        raise InputError(
            f"{judge.model} judges, and has written what models have learnt from, so that it would prefer its own "
            "words; give another LLM with --judge"
        )
    return judge


def _drawn(rows: Sequence[TaskRow], task: str, params: AnswerJudging) -> list[TaskRow]:
    """Some test rows of a task, in their order."""
    of_task = [row for row in rows if row.task == task and row.split == "test"]
    order = np.random.default_rng(params.seed).permutation(len(of_task))[: params.judged_rows]
    return [of_task[at] for at in sorted(order.tolist())]


class _Judging:
    """What is asked of a judge in one step, and what has come of it.

    Attributes:
        llm: The judge.
        asked: How many calls.
        lost: The calls without a valid reply, by what they were about.
        lines: All grades and preferences.
    """

    def __init__(self, ctx: Context, llm: LLM) -> None:
        self.llm = llm
        self.asked = 0
        self.lost: list[tuple[str, Failure]] = []
        self.lines: list[dict[str, Any]] = []
        self._ctx = ctx

    def trial(self, rows: Sequence[TaskRow], seed: int) -> dict[str, Any]:
        """What came of the judge's trial on the rows."""
        found = planted(rows, seed)
        values = self._preferred([Compared(each.row, each.row.answer, each.wrong) for each in found], "trial")
        return trial_verdict(list(zip(found, values, strict=True)))

    def scores(self, rows: Sequence[TaskRow], systems: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """System to task to the mean grades, 1 to 5, with intervals by document."""
        wanted = [
            (name, row, measure, answer)
            for name, texts in systems.items()
            for row, answer in zip(rows, texts, strict=True)
            for measure in ("correctness", "groundedness")
            if measure == "correctness" or row.evidence is not None
        ]
        calls = [_graded(row, measure, answer) for _, row, measure, answer in wanted]
        replies = self._ask(calls, [f"{row.row_id} {name} {measure}" for name, row, measure, _ in wanted], "grades")
        found: dict[str, dict[str, dict[str, list[tuple[TaskRow, float]]]]] = {}
        for (name, row, measure, _), reply in zip(wanted, replies, strict=True):
            if isinstance(reply, Graded):
                of_task = found.setdefault(name, {}).setdefault(row.task, {})
                of_task.setdefault(measure, []).append((row, float(reply.grade)))
                self.lines.append({"row_id": row.row_id, "system": name, "measure": measure, "value": reply.grade})
        return {
            name: {task: {measure: _mean(of) for measure, of in its.items()} for task, its in of_task.items()}
            for name, of_task in found.items()
        }

    def preferences(
        self, name: str, other: str, rows: Sequence[TaskRow], one: Sequence[Any], two: Sequence[Any]
    ) -> Iterator[dict[str, Any]]:
        """How often a system is preferred to another one, of each task; a half is what chance gives."""
        compared = [Compared(row, a.answer, b.answer) for row, a, b in zip(rows, one, two, strict=True)]
        values = self._preferred(compared, f"{name} against {other}")
        for task in JUDGED:
            of_task = [(row, v) for row, v in zip(rows, values, strict=True) if row.task == task and v is not None]
            for row, value in of_task:
                self.lines.append(
                    {"row_id": row.row_id, "system": name, "measure": f"preferred to {other}", "value": value}
                )
            if of_task:
                decided = sum(value != 0.5 for _, value in of_task) / len(of_task)
                told = {"model": name, "against": other, "task": task, "rows": len(of_task), "decided": decided}
                yield {**told, "preference": _mean(of_task, 0.5)}

    def _preferred(self, compared: Sequence[Compared], what: str) -> list[float | None]:
        """Of each pair 1, a half or 0; None where a reply is missing."""
        apart = [at for at, each in enumerate(compared) if each.one.strip() != each.other.strip()]
        calls = [prompt for at in apart for prompt in compared[at].prompts]
        keys = [f"{compared[at].row.row_id} {what}, {order}" for at in apart for order in ("forth", "back")]
        replies = self._ask(calls, keys, what)
        found: list[float | None] = [0.5] * len(compared)
        for place, at in enumerate(apart):
            forth, back = replies[2 * place : 2 * place + 2]
            both = isinstance(forth, Better) and isinstance(back, Better)
            found[at] = _value(forth.better, back.better) if both else None
        return found

    def _ask(self, calls: Sequence[Prompt], keys: Sequence[str], what: str) -> list[Any]:
        """The valid reply to each call; None where there is none."""
        with self._ctx.progress.bar(len(calls), f"calls: {what}") as advance:
            outcomes = self.llm.ask(calls, self._ctx.place, advance)
        self.asked += len(calls)
        self.lost += [(key, its) for key, its in zip(keys, outcomes, strict=True) if isinstance(its, Failure)]
        return [its.value if isinstance(its, Answer) else None for its in outcomes]


def _graded(row: TaskRow, measure: str, answer: str) -> Prompt:
    shown = {"query": asked_text(row), "answer": answer}
    if measure == "correctness":
        return Prompt(messages("judge_correct", {**shown, "reference": row.answer}), Graded, _REPLY_TOKENS)
    return Prompt(messages("judge_grounded", {**shown, "passage": row.evidence or ""}), Graded, _REPLY_TOKENS)


def _value(forth: int, back: int) -> float:
    """Of the first of two answers, from the numbers of the better one in both orders."""
    return {(1, 2): 1.0, (2, 1): 0.0}.get((forth, back), 0.5)


def _mean(of: Sequence[tuple[TaskRow, float]], chance: float = 0.0) -> dict[str, float]:
    """The mean over rows with its interval by document; p is that of a difference to what chance gives."""
    values, groups = np.array([value for _, value in of]), document_groups([row for row, _ in of])
    found = asdict(paired_difference(values, np.full(len(values), chance), groups=groups))
    moved = {end: found[end] + chance for end in ("value", "low", "high")}
    return {**moved, "p": found["p"]} if chance else moved
