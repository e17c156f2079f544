"""What the experts of a run of `language` are going to take: trainings, memory, disk, and calls of LLMs at most."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.answering.judge import JUDGED
from denizen.answering.judge_trial import PAIRS as TRIAL_PAIRS
from denizen.answering.systems import PAIRS as SYSTEM_PAIRS
from denizen.data.artifacts import Preferences, TaskRows
from denizen.data.formats.rows import BadRows
from denizen.data.prepare import Unlabelled
from denizen.data.tables import each
from denizen.data.task_rows import EXPERT_OF, TASKS, TaskRow, preferences, task_rows
from denizen.engine.artifact import Artifact
from denizen.engine.errors import InputError
from denizen.recipes.language import BroughtModels
from denizen.recipes.language_config import LanguageConfig
from denizen.recipes.language_experts import ANSWERING, MULTI_TASK, STRUCTURED, BroughtTasks
from denizen.tasks.given import Given, read_given
from denizen.tasks.label_set import read_labels
from denizen.tasks.sides import with_sides
from denizen.training.expert_plan import ExpertPlan, expert_plan_line, fine_tuning_plan, preference_plan

_TRAININGS = (STRUCTURED, "warm-up", ANSWERING, "all-tasks", MULTI_TASK)
# an answer is graded for how correct it is and how grounded, and two are compared in both orders
_GRADES = _ORDERS = 2


@dataclass(frozen=True)
class LanguageExpertsPlan:
    """What is left to be done for experts.

    Attributes:
        trainings: Name to what the training takes, in their order.
        exact: Whether the rows are those that will be trained on; else there are so many at most.
        calls: Calls of LLMs at most, by what they do, without those that are asked again; empty: no LLM is asked.
    """

    trainings: Mapping[str, ExpertPlan]
    exact: bool
    calls: Mapping[str, int]

    @property
    def memory(self) -> float:
        """Bytes of a step of the largest training at most."""
        return max((its.memory for its in self.trainings.values()), default=0.0)

    @property
    def disk(self) -> float:
        """Bytes of all that trainings keep, as if all checkpoints were there at once."""
        return sum(its.disk for its in self.trainings.values())

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON keeps it."""
        trainings = {name: its.as_dict() for name, its in self.trainings.items()}
        return {"trainings": trainings, "exact": self.exact, "llm_calls": dict(self.calls)}


@dataclass(frozen=True)
class _Counted:
    """What there is to train on.

    Attributes:
        rows: Task to the training rows, as far as they are known.
        written: Task to how many are written, at most.
        pairs: How many pairs there are at most.
        exact: Whether rows and pairs are those that will be trained on.
    """

    rows: Mapping[str, Sequence[TaskRow]]
    written: Mapping[str, int]
    pairs: int
    exact: bool

    def of(self, tasks: Collection[str]) -> Sequence[TaskRow] | int:
        """The training rows of some tasks, or how many there are at most."""
        known = [row for task in tasks for row in self.rows[task]]
        more = sum(self.written[task] for task in tasks)
        return len(known) + more if more else known


def language_experts_plan(
    config: LanguageConfig,
    brought: BroughtModels,
    corpus: Unlabelled,
    planned: Mapping[str, Artifact],
    pending: Collection[str],
) -> LanguageExpertsPlan | None:
    """The plan, from the given files, or from the rows and pairs where these are made already; None without experts.

    Args:
        config: The settings.
        brought: What the run is given.
        corpus: The passages and the side of each document.
        planned: Place to what the run makes there.
        pending: Places of the steps that are to be done.

    Raises:
        InputError: When a file is wrong, or a training has fewer rows than a batch.
    """
    if brought.tasks is None:
        return None
    counted = _counted(config, brought.tasks, corpus, planned, pending)
    # the residual model, which is not there yet, is as large as the base, and says texts as the instruct model does
    start = (brought.instruct or brought.base).path
    words = brought.instruct is not None
    trainings = {
        name: _training(name, config, counted, start, words) for name in _TRAININGS if f"experts/{name}" in pending
    }
    calls = _calls(config, counted, pending)
    return LanguageExpertsPlan({name: its for name, its in trainings.items() if its}, counted.exact, calls)


def experts_plan_lines(plan: LanguageExpertsPlan | None) -> list[str]:
    """The plan as people read it; of no expert nothing."""
    if plan is None:
        return []
    if not plan.trainings and not plan.calls:
        return ["      experts: all of it is done"]
    most = "" if plan.exact else " (rows at most: what breaks a rule or leaks is left out)"
    lines = [f"      experts: {len(plan.trainings)} training(s){most}"]
    lines += [f"      {expert_plan_line(name, its)}" for name, its in plan.trainings.items()]
    if plan.calls:
        parts = ", ".join(f"{count:,} {what}" for what, count in plan.calls.items())
        lines.append(f"      at most {sum(plan.calls.values()):,} LLM calls: {parts}")
    return lines


def _counted(
    config: LanguageConfig,
    brought: BroughtTasks,
    corpus: Unlabelled,
    planned: Mapping[str, Artifact],
    pending: Collection[str],
) -> _Counted:
    made, given = planned["tasks"], None
    written: dict[str, int] = dict.fromkeys(TASKS, 0)
    if isinstance(made, TaskRows) and "tasks" not in pending:
        rows = task_rows(made.table, "train")
    else:
        given = _given(config, brought)
        side_of = dict(each(corpus.documents.table, "parent_id", "split"))
        divided = with_sides(given, side_of, config.writing, config.near_duplicate) if given else []
        rows, written = [row for row in divided if row.split == "train"], _written(config)
    by_task: dict[str, list[TaskRow]] = {task: [row for row in rows if row.task == task] for task in TASKS}
    pairs = planned.get("preferences")
    if isinstance(pairs, Preferences) and "preferences" not in pending:
        return _Counted(by_task, written, len(preferences(pairs.table, "train")), exact=True)
    return _Counted(by_task, written, _pairs(config, brought, by_task, written, given), exact=False)


def _given(config: LanguageConfig, brought: BroughtTasks) -> list[Given]:
    bad = BadRows(config.skip_bad_rows)
    labels = read_labels(brought.labels.path) if brought.labels else []
    given, _ = read_given(brought.files, labels, bad)
    bad.check()
    return given


def _written(config: LanguageConfig) -> dict[str, int]:
    """Task to the training rows that the LLM writes."""
    writing = config.writing
    counts = {"answer": writing.written_questions, "summarize": writing.written_summaries}
    counts["classify"] = writing.written_labels
    return counts if config.llm else dict.fromkeys(TASKS, 0)


def _pairs(
    config: LanguageConfig,
    brought: BroughtTasks,
    rows: Mapping[str, Sequence[TaskRow]],
    written: Mapping[str, int],
    given: Sequence[Given] | None,
) -> int:
    """Pairs to train on at most: those that were given, and one of each other row that is a conversation."""
    known = {row.row_id for row in rows["answer"]}
    read = _given(config, brought) if given is None else given
    both = {one.row_id for one in read if one.rejected is not None and one.row_id in known}
    return len(both) + min(config.pairing.made_pairs, len(known) - len(both) + written["answer"])


def _training(name: str, config: LanguageConfig, counted: _Counted, start: Path, words: bool) -> ExpertPlan | None:
    """What a training takes; None: there is nothing for it to learn from."""
    rows_of = {
        expert: counted.of([task for task in TASKS if EXPERT_OF[task] == expert]) for expert in (STRUCTURED, ANSWERING)
    }
    wanted = {STRUCTURED: [STRUCTURED], MULTI_TASK: [STRUCTURED, ANSWERING], "all-tasks": [STRUCTURED, ANSWERING]}
    if not all(rows_of[expert] for expert in wanted.get(name, [ANSWERING])):
        return None
    try:
        if name in (ANSWERING, MULTI_TASK):
            return preference_plan(start, config.preference_tuning, counted.pairs)
        rows = counted.of(TASKS) if name == "all-tasks" else rows_of[STRUCTURED if name == STRUCTURED else ANSWERING]
        if not words and not isinstance(rows, int):
            rows = len(rows)
        return fine_tuning_plan(start, config.fine_tuning, rows)
    except InputError as error:
        raise InputError(f"experts/{name}: {error}") from None


def _calls(config: LanguageConfig, counted: _Counted, pending: Collection[str]) -> dict[str, int]:
    """Calls at most, by what they do."""
    found = dict[str, int]()
    writing, sides = config.writing, (config.writing.dev_share + config.writing.test_share)
    if config.llm and "tasks" in pending:
        wanted = (writing.written_questions, writing.written_summaries, writing.written_labels)
        proposed = int(not config.labels and bool(writing.written_labels))
        found["that write"] = proposed + sum(sum(writing.counts(train).values()) for train in wanted)
    if config.llm and "preferences" in pending:
        most = min(config.pairing.made_pairs, len(counted.rows["answer"]) + counted.written["answer"])
        # of dev as many in proportion
        found["that compare the model's answers with references"] = _ORDERS * round(most / (1 - sides))
    if config.judge and "judged" in pending:
        pairs = [pair for pair in SYSTEM_PAIRS if config.also_pretrain_instruct or "pretrained-instruct" not in pair]
        systems, rows = len({name for pair in pairs for name in pair}), len(JUDGED) * config.judging.judged_rows
        found["that judge"] = _ORDERS * (TRIAL_PAIRS + len(pairs) * rows) + _GRADES * systems * rows
    return {what: count for what, count in found.items() if count}
