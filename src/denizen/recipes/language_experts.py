"""The second half of `language`: two experts over the residual model, their router, and what each part is worth.

rows of tasks (the user's, a teacher's) -> structured tasks: adapters by fine-tuning
                                        -> pairs of answers -> conversation: adapters by preferences (DPO)
both experts -> router; beside them one model of all tasks; every model answers the same rows (arXiv 2511.21101)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from denizen.answering import judge as judging
from denizen.answering.answers import answer_tasks
from denizen.answering.compare import compare_answers
from denizen.answering.judge import judge_answers
from denizen.answering.routing import route_tasks
from denizen.answering.safety import safety
from denizen.data.artifacts import Adapter, Evaluation, Model, Preferences, TaskRows
from denizen.data.prepare import Unlabelled
from denizen.data.task_rows import EXPERT_OF, TASKS
from denizen.engine.artifact import Artifact, Input, Value
from denizen.llm.prompts import prompts_digest
from denizen.tasks import pairs as pairing
from denizen.tasks import written as writing
from denizen.tasks.collect import collect_tasks
from denizen.tasks.pairs import make_preferences
from denizen.training.fine_tune import fine_tune
from denizen.training.prefer import prefer

if TYPE_CHECKING:
    from denizen.engine.pipeline import Pipeline
    from denizen.recipes.language_config import LanguageConfig

ANSWERING, STRUCTURED, MULTI_TASK = "answering", "structured", "multi-task"


@dataclass(frozen=True)
class BroughtTasks:
    """What the experts of a run are given.

    Attributes:
        files: Of rows.
        labels: A table of labels; None: those of given rows, or what the teacher proposes.
        encoder: What BERTScore is computed by; None: it is left out.
    """

    files: Sequence[Artifact]
    labels: Artifact | None = None
    encoder: Model | None = None


@dataclass(frozen=True)
class Experts:
    """What the experts of a run have come to.

    Attributes:
        rows: Of tasks.
        preferences: Pairs of answers; None: no row is a conversation.
        adapters: Name to adapters over the residual model, in the order in which they were trained.
        answers: System to its answers.
        router: Which expert is asked; None: there is but one.
        judged: By an LLM; None: there is no judge.
        comparison: Of all systems.
        safety: Model to what it should not do.
    """

    rows: TaskRows
    preferences: Preferences | None
    adapters: Mapping[str, Adapter]
    answers: Mapping[str, Evaluation]
    router: Evaluation | None
    judged: Evaluation | None
    comparison: Evaluation
    safety: Mapping[str, Evaluation]


def experts(
    run: Pipeline, config: LanguageConfig, brought: BroughtTasks, corpus: Unlabelled, models: Mapping[str, Model]
) -> Experts:
    """All steps of the second half.

    Args:
        run: The run.
        config: Its settings.
        brought: What it is given for this.
        corpus: The passages and the side of each document.
        models: Those of the first half; experts are trained over `residual`.
    """
    rows = _rows(run, config, brought, corpus)
    tasks = tasks_of(rows)
    start = models["residual"]
    preferences = None
    if any(EXPERT_OF[task] == ANSWERING for task in tasks):
        preferences = _preferences(run, config, brought, rows, start)
    adapters = _adapters(run, config, start, rows, tasks, preferences)
    answers = _answers(run, config, rows, models, adapters)
    router = None
    if ANSWERING in adapters and STRUCTURED in adapters:
        own = {name: adapters[name] for name in (ANSWERING, STRUCTURED)}
        router = run(route_tasks, config.routing.on_this_machine(), start=start, experts=own, rows=rows)
    judged = None
    if config.judge:
        prompts = Value(prompts_digest(*judging.PROMPTS))
        judged = run(judge_answers, config.judging, rows=rows, answers=answers, prompts=prompts, routes=router)
    comparison = run(
        compare_answers,
        config.scoring,
        rows=rows,
        answers=answers,
        routes=router,
        encoder=brought.encoder,
        judged=judged,
    )
    return Experts(
        rows, preferences, adapters, answers, router, judged, comparison, _safety(run, config, models, adapters)
    )


def tasks_of(rows: TaskRows) -> list[str]:
    """The tasks that rows to train on are of; of rows that are only planned, all."""
    if rows.pending:
        return list(TASKS)
    there = {row["task"] for row in rows.facts["rows"] if row["split"] == "train"}
    return [task for task in TASKS if task in there]


def _rows(run: Pipeline, config: LanguageConfig, brought: BroughtTasks, corpus: Unlabelled) -> TaskRows:
    return run(
        collect_tasks,
        replace(config.writing, llm=config.llm_called),
        corpus=corpus.corpus,
        documents=corpus.documents,
        given=list(brought.files),
        labels=brought.labels,
        prompts=Value(prompts_digest(*writing.PROMPTS)),
    )


def _preferences(
    run: Pipeline, config: LanguageConfig, brought: BroughtTasks, rows: TaskRows, start: Model
) -> Preferences:
    return run(
        make_preferences,
        replace(config.pairing.on_this_machine(), llm=config.llm_called),
        rows=rows,
        model=start,
        given=list(brought.files),
        prompts=Value(prompts_digest(*pairing.PROMPTS)),
    )


def _adapters(
    run: Pipeline,
    config: LanguageConfig,
    start: Model,
    rows: TaskRows,
    tasks: Sequence[str],
    preferences: Preferences | None,
) -> dict[str, Adapter]:
    """Steps experts/structured and experts/answering, and where there are both, multi-task."""
    tuning, preferring = config.fine_tuning.on_this_machine(), config.preference_tuning.on_this_machine()

    def tuned(name: str, of: Sequence[str]) -> Adapter:
        return run(fine_tune.named(name), tuning, start=start, rows=rows, tasks=Value(list(of)))

    def preferred(name: str, preferences: Preferences, warm: Adapter | None) -> Adapter:
        return run(prefer.named(name), preferring, start=start, preferences=preferences, warm=warm)

    found = dict[str, Adapter]()
    of = {expert: [task for task in tasks if EXPERT_OF[task] == expert] for expert in (STRUCTURED, ANSWERING)}
    with run.scope("experts"):
        if of[STRUCTURED]:
            found[STRUCTURED] = tuned(STRUCTURED, of[STRUCTURED])
        if preferences is not None:
            warm = tuned("warm-up", of[ANSWERING]) if config.warm_up else None
            found[ANSWERING] = preferred(ANSWERING, preferences, warm)
        if of[STRUCTURED] and preferences is not None:
            found[MULTI_TASK] = preferred(MULTI_TASK, preferences, tuned("all-tasks", tasks))
    return found


def _answers(
    run: Pipeline,
    config: LanguageConfig,
    rows: TaskRows,
    models: Mapping[str, Model],
    adapters: Mapping[str, Adapter],
) -> dict[str, Evaluation]:
    """Steps answers/..., of every model but the base, and of the residual model with each adapter."""
    params = config.task_answering.on_this_machine()
    found = dict[str, Evaluation]()
    with run.scope("answers"):
        for name, inputs in _speakers(models, adapters).items():
            found[name] = run(answer_tasks.named(name), params, rows=rows, **inputs)
    return found


def _safety(
    run: Pipeline, config: LanguageConfig, models: Mapping[str, Model], adapters: Mapping[str, Adapter]
) -> dict[str, Evaluation]:
    """Steps safety/..., of what is used and what it comes from."""
    found = dict[str, Evaluation]()
    if config.measure_safety:
        speakers = _speakers(models, adapters)
        with run.scope("safety"):
            for name in ("instruct", "residual", *adapters):
                found[name] = run(safety.named(name), config.arithmetic.on_this_machine(), **speakers[name])
    return found


def _speakers(models: Mapping[str, Model], adapters: Mapping[str, Adapter]) -> dict[str, dict[str, Input]]:
    """System to the model, and the adapters over it, that speak for it."""
    found: dict[str, dict[str, Any]] = {name: {"model": model} for name, model in models.items() if name != "base"}
    return {**found, **{name: {"model": models["residual"], "adapter": adapter} for name, adapter in adapters.items()}}
