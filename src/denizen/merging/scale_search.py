"""The step that chooses on dev how much of the instruction residual is added."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from denizen.data.artifacts import Corpus, Documents, Evaluation, Model
from denizen.engine.artifact import Value
from denizen.engine.files import read_json, write_json
from denizen.engine.settings import Params, setting
from denizen.engine.step import Context, step
from denizen.language_models.language_model import LanguageModel
from denizen.language_models.token_rows import RowLength
from denizen.measuring.instructions import AnswerLength, InstructionProbe, accuracy, of_dev
from denizen.measuring.perplexity import LikelihoodProbe, bits_a_byte, held_out
from denizen.merging.residual import Residual, add_residual
from denizen.retrievers.encoding import Arithmetic

# around 1, which arXiv 2410.10739 takes; task vectors were mostly best somewhat below (arXiv 2212.04089)
SCALES = (0.25, 0.5, 0.75, 1.0, 1.25)
# of the share of instructions that are followed, what may be lost for a better likelihood
_WITHIN = 0.02


@dataclass(frozen=True)
class ScaleSearch(Params):
    """Whether the scale is chosen."""

    panel = "Residual"

    search_scale: bool = setting(
        False, "Choose the scale on dev: .25, .5, .75, 1 or 1.25; each of them is a model that is measured."
    )


@dataclass(frozen=True)
class ScaleMeasuring(RowLength, AnswerLength, Arithmetic):
    """How a model of a scale is measured."""


@dataclass(frozen=True)
class Tried:
    """A scale with what dev says of it.

    Attributes:
        scale: How much of the residual.
        accuracy: Share of dev's instructions that are followed.
        bits_a_byte: Of dev's documents; lower is better.
    """

    scale: float
    accuracy: float
    bits_a_byte: float


@step(version=1, makes=Evaluation, name="scale")
def search_scale(  # noqa: PLR0913
    out: Path,
    params: ScaleMeasuring,
    ctx: Context,
    *,
    pretrained: Model,
    base: Model,
    instruct: Model,
    corpus: Corpus,
    documents: Documents,
) -> dict[str, Any]:
    """Chooses a scale: the one that foresees dev's documents best of those that follow instructions as I does.

    Instructions are others than those of the test. What a scale was measured at is kept when the step is stopped.

    Args:
        out: Where tried.json goes.
        params: How models are measured.
        ctx: Its scratch folder keeps what is measured, and one model at a time.
        pretrained: The base after pretraining.
        base: The base before.
        instruct: What was tuned from the base.
        corpus: The passages, with clusters.
        documents: The side of each document.

    Raises:
        InputError: When dev has no document, or the models do not belong together.
    """
    from denizen.retrievers.backends import use_bf16

    likelihood = LikelihoodProbe(held_out(corpus, documents, "dev"), params.max_length, progress=ctx.progress)
    following = InstructionProbe(of_dev(), params.max_new_tokens, progress=ctx.progress)

    def measured(folder: Path, scale: float) -> Tried:
        model = LanguageModel(folder, use_bf16(params.precision))
        share, bits = accuracy(following.answered(model)).value, bits_a_byte(likelihood.foreseen(model)).value
        return Tried(scale, share, bits)

    def tried(scale: float | None) -> Tried:
        """Of a scale, or None for the instruct model as it is."""
        kept = ctx.scratch / f"{scale}.json"
        if found := read_json(kept):
            return Tried(**found)
        if scale is None:
            result = measured(instruct.path, 1.0)
        else:
            folder = ctx.scratch / "model"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            pair = {"pretrained": pretrained, "base": base, "instruct": instruct}
            add_residual(folder, Residual(scale), ctx, **pair)
            result = measured(folder, scale)
            shutil.rmtree(folder)
        write_json(kept, asdict(result))
        return result

    before = tried(None)
    found = [tried(scale) for scale in SCALES]
    best = best_scale(found, before.accuracy)
    ctx.progress.note(f"scale {best.scale:g}: {best.bits_a_byte:.3f} bits a byte, {best.accuracy:.0%} followed")
    write_json(out / "tried.json", [asdict(each) for each in found])
    told = {"tried": [asdict(each) for each in found], "instruct": asdict(before), "within": _WITHIN}
    return {"scale": best.scale, "prompts": len(of_dev()), "documents": len(likelihood.documents.texts), **told}


def best_scale(found: Sequence[Tried], instruct: float) -> Tried:
    """The best likelihood of those that follow instructions within two points of the instruct model; else the share.

    Args:
        found: What was tried.
        instruct: The share that the instruct model follows.
    """
    kept = [each for each in found if each.accuracy >= instruct - _WITHIN]
    if kept:
        return min(kept, key=lambda each: (each.bits_a_byte, abs(each.scale - 1)))
    return max(found, key=lambda each: (each.accuracy, -each.bits_a_byte))


def chosen_scale(found: Evaluation) -> Value:
    """What a search has chosen, for the step that adds."""
    return Value(None if found.pending else found.facts["scale"], found.place)
