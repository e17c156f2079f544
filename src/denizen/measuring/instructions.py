"""Whether a language model follows instructions and ends its answers: programmatic checks of greedy answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import numpy as np

from denizen.data.artifacts import Evaluation, Model
from denizen.engine.files import read_json_lines, write_json_lines
from denizen.engine.progress import Progress, Silent
from denizen.engine.settings import Params, setting
from denizen.engine.step import Context, step
from denizen.language_models.language_model import LanguageModel
from denizen.language_models.stopping import STOPPING
from denizen.measuring.instruction_checks import INSTRUCTIONS, KINDS, Instruction
from denizen.measuring.significance import Difference, paired_difference
from denizen.retrievers.encoding import Arithmetic

_ANSWERS = "answers.jsonl"
# answered together, and between two savings
_AT_A_TIME = 16
# where something is chosen by instructions, those that are left to measure on; the others decide, two of each kind
TEST_PROMPTS = len(INSTRUCTIONS) - 2 * KINDS


@dataclass(frozen=True)
class AnswerLength(Params):
    """How long answers to instructions may be."""

    panel = "Instructions"

    # the longest answer that is asked for has 60 words
    max_new_tokens: int = setting(160, "Tokens of an answer at most.", least=8, most=8192)


@dataclass(frozen=True)
class Answering(AnswerLength, Arithmetic):
    """How a model is asked."""

    panel = "Instructions"

    instruction_prompts: int = setting(
        len(INSTRUCTIONS), "Prompts of instruction following; fewer are faster.", least=KINDS, most=len(INSTRUCTIONS)
    )


@dataclass(frozen=True)
class Answered:
    """An answer and whether it does as it was told.

    Attributes:
        name: Of the prompt.
        kind: Its kinds of check; empty where only is looked at whether the answer ends.
        prompt: What was asked.
        answer: What was answered.
        followed: Whether every check is fulfilled.
        ended: Whether the model has ended its answer by itself.
    """

    name: str
    kind: str
    prompt: str
    answer: str
    followed: bool
    ended: bool


@dataclass(frozen=True)
class InstructionProbe:
    """How many prompts a language model answers as they ask for (strict accuracy).

    Attributes:
        instructions: What is asked.
        max_new_tokens: Tokens of an answer at most.
        role: Why it is measured.
        name: What people call it.
        progress: Receives what a person should see.
    """

    instructions: Sequence[Instruction] = INSTRUCTIONS
    max_new_tokens: int = 160
    role: str = "general"
    name: str = "instructions"
    measure: ClassVar[str] = "strict accuracy"
    progress: Progress = field(default_factory=Silent, compare=False)

    def values(self, model: LanguageModel) -> dict[str, float]:
        """Prompt to 1 where its answer fulfils every check, else 0."""
        return followed(self.answered(model))

    def report(self, models: Mapping[str, LanguageModel], folder: Path | None = None) -> dict[str, Any]:
        """The share of prompts that each model follows, and differences to the first."""
        found = {name: self.answered(model) for name, model in models.items()}
        base, *others = found
        if folder is not None:
            for name, of in found.items():
                _write(folder / f"{name}.jsonl", of)
        return {
            "role": self.role,
            "measure": self.measure,
            "prompts": len(self.instructions),
            "means": {name: {self.measure: accuracy(of).value} for name, of in found.items()},
            "differences": {
                name: {self.measure: asdict(accuracy_difference(found[name], found[base]))} for name in others
            },
        }

    def answered(self, model: LanguageModel, journal: Path | None = None) -> list[Answered]:
        """Every prompt with a model's answer.

        Args:
            model: The model.
            journal: A file that keeps what a stopped call has found; None: nothing is kept.
        """
        return _answered(model, self.instructions, self.max_new_tokens, journal, self.progress)


@step(version=1, makes=Evaluation)
def instructions(out: Path, params: Answering, ctx: Context, *, model: Model) -> dict[str, Any]:
    """Whether a model follows instructions, and whether it ends its answers to ten short questions.

    Args:
        out: Where every answer goes.
        params: How it is asked.
        ctx: Its scratch folder keeps what is answered already.
        model: The model.
    """
    from denizen.retrievers.backends import use_bf16

    asked = LanguageModel(model.path, use_bf16(params.precision))
    probe = InstructionProbe(chosen(params.instruction_prompts), params.max_new_tokens, progress=ctx.progress)
    found = probe.answered(asked, ctx.scratch / _ANSWERS)
    short = [Instruction(f"end {number}", prompt, ()) for number, prompt in enumerate(STOPPING)]
    stopped = _answered(asked, short, params.max_new_tokens, ctx.scratch / f"end-{_ANSWERS}", ctx.progress)
    _write(out / _ANSWERS, [*found, *stopped])
    kinds = defaultdict[str, list[float]](list)
    for each in found:
        kinds[each.kind].append(each.followed)
    return {
        "prompts": len(found),
        "accuracy": asdict(accuracy(found)),
        "stops": fmean(each.ended for each in stopped),
        "kinds": {kind: fmean(values) for kind, values in kinds.items()},
    }


def chosen(count: int) -> list[Instruction]:
    """The first of the instructions, which take turns by kind."""
    return list(INSTRUCTIONS[:count])


def of_dev() -> list[Instruction]:
    """The last of the instructions, of each kind as many: by what they say something is chosen, and not the first."""
    return list(INSTRUCTIONS[TEST_PROMPTS:])


def answered_by(evaluation: Evaluation) -> list[Answered]:
    """The answers of a step `instructions` to what has checks."""
    return [each for each in _read(evaluation.path / _ANSWERS) if each.kind]


def followed(found: Sequence[Answered]) -> dict[str, float]:
    """Prompt to whether its answer fulfils every check, as 1 or 0."""
    return {each.name: float(each.followed) for each in found}


def accuracy(found: Sequence[Answered]) -> Difference:
    """The share of prompts that were followed, with its interval; p says nothing here."""
    values = np.array([*followed(found).values()])
    return paired_difference(values, np.zeros(len(values)))


def accuracy_difference(found: Sequence[Answered], other: Sequence[Answered]) -> Difference:
    """By how much a model follows more of the same prompts than another one."""
    own, others = (np.array([*followed(of).values()]) for of in (found, other))
    return paired_difference(own, others)


def _answered(
    model: LanguageModel,
    asked: Sequence[Instruction],
    max_new_tokens: int,
    journal: Path | None,
    progress: Progress,
) -> list[Answered]:
    done = [] if journal is None else _read(journal)
    with progress.bar(len(asked), "answers") as advance:
        advance(len(done))
        for at in range(len(done), len(asked), _AT_A_TIME):
            part = asked[at : at + _AT_A_TIME]
            said = model.answers([each.prompt for each in part], max_new_tokens)
            done += [
                Answered(each.name, each.kind, each.prompt, answer.text, each.followed(answer.text), answer.ended)
                for each, answer in zip(part, said, strict=True)
            ]
            if journal is not None:
                _write(journal, done)
            advance(len(part))
    return done


def _write(path: Path, found: Sequence[Answered]) -> None:
    write_json_lines(path, map(asdict, found))


def _read(path: Path) -> list[Answered]:
    return [Answered(**row) for row in read_json_lines(path)]
