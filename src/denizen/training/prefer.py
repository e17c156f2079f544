"""The step that trains an expert on pairs of answers, and its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from denizen.data.artifacts import Adapter, Model, Preferences
from denizen.data.task_rows import Preference, preferences
from denizen.engine.settings import setting
from denizen.engine.step import Context, step
from denizen.training.expert_training import ExpertTraining, adapters_of, check_stopping

if TYPE_CHECKING:
    from denizen.language_models.language_model import LanguageModel
    from denizen.training.answered_rows import AnsweredRow


@dataclass(frozen=True)
class PreferenceTuning(ExpertTraining):
    """How an expert is trained on pairs of answers."""

    panel = "Experts"

    # TRL's for adapters; its 1e-6 is for all weights
    dpo_learning_rate: float = setting(1e-5, "Peak learning rate of AdamW on pairs of answers.", least=1e-9, most=1)
    # arXiv 2310.16944, whose model was best after three
    dpo_epochs: float = setting(3.0, "How often pairs of answers are read.", least=0.001, most=1000)
    # arXiv 2305.18290 and TRL
    dpo_beta: float = setting(0.1, "How close to the model before; lower: farther from it.", least=1e-4, most=100)


@step(version=1, makes=Adapter, name="preferring")
def prefer(
    out: Path,
    params: PreferenceTuning,
    ctx: Context,
    *,
    start: Model,
    preferences: Preferences,
    warm: Adapter | None = None,
) -> dict[str, Any]:
    """Trains adapters over a model to prefer the better of two answers (DPO), held against the model before.

    Args:
        out: Where the adapters go, as PEFT reads them.
        params: How.
        ctx: Its scratch folder holds checkpoints.
        start: The model, which stays as it is.
        preferences: Pairs of answers.
        warm: Adapters of it that go on learning, and that the model before has, too; None: new ones.

    Raises:
        InputError: When there are fewer pairs than a batch, the chat template cannot tell an answer from what is
            asked, or a library is missing.
        GateError: When the model has unlearnt to end its answers.
    """
    from denizen.language_models.conversations import answer_end
    from denizen.language_models.language_model import LanguageModel, load_tokenizer
    from denizen.retrievers.backends import use_bf16
    from denizen.training.adapter_training import train_on_pairs
    from denizen.training.answered_rows import preference_tokens
    from denizen.training.causal_lm import check_libraries

    check_libraries(params.expert_rank)
    tokenizer = load_tokenizer(start.path)
    end = answer_end(tokenizer, start.path.name)
    given = _pairs(preferences, "train")
    learnt = preference_tokens(tokenizer, given, end, params.expert_max_length)
    held_out = preference_tokens(tokenizer, _pairs(preferences, "dev"), end, params.expert_max_length)
    params.check_rows(len(learnt), "pairs of answers")
    steps = params.steps(len(learnt), params.dpo_epochs)
    schedule = params.schedule(steps, params.dpo_learning_rate, ctx.scratch / "checkpoints")
    before = warm.path if warm else None
    with ctx.progress.bar(steps, "steps") as advance:
        models = start.path, before
        trained = train_on_pairs(out, models, learnt, schedule, params.expert_rank, params.dpo_beta, advance)
    model = LanguageModel(start.path, use_bf16(params.precision), adapters_of(before, out))
    name = "before" if before else None
    return {
        **trained,
        "pairs": len(learnt),
        "cut": sum(pair.cut for pair in learnt),
        "left_out": len(given) - len(learnt),
        "tokens": sum(pair.tokens for pair in learnt),
        "mean_tokens": {side: fmean(len(pair.answers[at]) for pair in learnt) for at, side in enumerate(_SIDES)},
        "beta": params.dpo_beta,
        "dev": _rewards(model, name, held_out, params.dpo_beta),
        "stops": check_stopping(model, name, "after"),
    }


_SIDES = ("chosen", "rejected")


def _pairs(table: Preferences, split: str) -> list[Preference]:
    return preferences(table.table, split)


def _rewards(
    model: LanguageModel, before: str | None, pairs: Sequence[AnsweredRow], beta: float
) -> dict[str, Any] | None:
    """What the training has done to pairs that it has not seen.

    Returns:
        Pairs; the share whose better answer is likelier, before and after; the share whose better answer has the higher
        reward, and by how much at the mean, where a reward is beta times what an answer has gained in log-likelihood.
        None: there are no such pairs.
    """
    if not pairs:
        return None
    whole = [[*pair.asked, *answer] for pair in pairs for answer in pair.answers]
    starts = [len(pair.asked) for pair in pairs for _ in pair.answers]
    found = []
    for name in (before, "after"):
        with model.using(name):
            values = model.log_likelihoods(whole, starts)
        found.append([chosen - rejected for chosen, rejected in zip(values[::2], values[1::2], strict=True)])
    margins = [beta * (after - old) for old, after in zip(*found, strict=True)]
    return {
        "pairs": len(pairs),
        "likelier_before": fmean(value > 0 for value in found[0]),
        "likelier_after": fmean(value > 0 for value in found[1]),
        "accuracy": fmean(margin > 0 for margin in margins),
        "margin": fmean(margins),
    }
