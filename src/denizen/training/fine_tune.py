"""The step that trains an expert on rows of tasks, and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.data.artifacts import Adapter, Model, TaskRows
from denizen.data.task_rows import TaskRow, task_rows
from denizen.engine.artifact import Value
from denizen.engine.settings import setting
from denizen.engine.step import Context, step
from denizen.training.expert_training import ExpertTraining, adapters_of, check_stopping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from denizen.language_models.language_model import LanguageModel
    from denizen.training.answered_rows import AnsweredRow


@dataclass(frozen=True)
class FineTuning(ExpertTraining):
    """How an expert is trained on rows of tasks."""

    panel = "Experts"

    # TRL's for adapters, whose weights begin at nothing
    sft_learning_rate: float = setting(1e-4, "Peak learning rate of AdamW on rows of tasks.", least=1e-9, most=1)
    # as often as the Trainer's own default: sets of a few hundred rows are read more than once
    sft_epochs: float = setting(3.0, "How often rows of tasks are read.", least=0.001, most=1000)


@step(version=1, makes=Adapter, name="fine-tuned")
def fine_tune(
    out: Path, params: FineTuning, ctx: Context, *, start: Model, rows: TaskRows, tasks: Value
) -> dict[str, Any]:
    """Trains adapters over a model to give the reference answers of the training rows of some tasks.

    A model learns the tokens of answers and of what ends them, and none of what is asked.

    Args:
        out: Where the adapters go, as PEFT reads them.
        params: How.
        ctx: Its scratch folder holds checkpoints.
        start: The model, which stays as it is.
        rows: Rows of tasks.
        tasks: Names of those that are trained on.

    Raises:
        InputError: When there are fewer rows than a batch, the chat template cannot tell an answer from what is asked,
            or a library is missing.
        GateError: When the model has unlearnt to end its answers.
    """
    from denizen.language_models.conversations import answer_end
    from denizen.language_models.language_model import LanguageModel, load_tokenizer
    from denizen.retrievers.backends import use_bf16
    from denizen.training.adapter_training import train_on_answers
    from denizen.training.answered_rows import task_row_tokens
    from denizen.training.causal_lm import check_libraries

    check_libraries(params.expert_rank)
    tokenizer = load_tokenizer(start.path)
    end = answer_end(tokenizer, start.path.name)

    def tokens(split: str) -> tuple[list[TaskRow], list[AnsweredRow]]:
        given = [row for row in task_rows(rows.table, split) if row.task in tasks.content]
        return given, task_row_tokens(tokenizer, given, end, params.expert_max_length)

    given, learnt = tokens("train")
    params.check_rows(len(learnt), f"rows of {' and '.join(tasks.content)}")
    steps = params.steps(len(learnt), params.sft_epochs)
    schedule = params.schedule(steps, params.sft_learning_rate, ctx.scratch / "checkpoints")
    with ctx.progress.bar(steps, "steps") as advance:
        trained = train_on_answers(out, start.path, learnt, schedule, params.expert_rank, advance)
    model = LanguageModel(start.path, use_bf16(params.precision), adapters_of(None, out))
    return {
        **trained,
        "tasks": list(tasks.content),
        "rows": len(learnt),
        "cut": sum(row.cut for row in learnt),
        "left_out": len(given) - len(learnt),
        "tokens": sum(row.tokens for row in learnt),
        "answer_tokens": sum(len(row.answers[0]) for row in learnt),
        "lora_rank": params.expert_rank,
        "dev": _learnt(model, tokens("dev")[1]),
        "stops": check_stopping(model, None, "after"),
    }


def _learnt(model: LanguageModel, rows: Sequence[AnsweredRow]) -> dict[str, Any] | None:
    """The mean negative log-likelihood of a token of a dev answer, before and after; None: there are no dev rows."""
    if not rows:
        return None
    whole, starts = [[*row.asked, *row.answers[0]] for row in rows], [len(row.asked) for row in rows]
    tokens = sum(len(row.answers[0]) for row in rows)
    found: dict[str, Any] = {"rows": len(rows)}
    for name, adapter in (("before", None), ("after", "after")):
        with model.using(adapter):
            found[name] = -sum(model.log_likelihoods(whole, starts)) / tokens
    return found
