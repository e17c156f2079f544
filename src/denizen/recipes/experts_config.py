"""The settings of `experts`, composed of those of its steps, as those of `adapt` are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any, ClassVar

from denizen.engine.errors import InputError
from denizen.engine.settings import Params, Setting, check_names, setting, settings_of
from denizen.measuring.slices import DevSize
from denizen.measuring.students import Searching
from denizen.merging.merge_experts import MergeSearch
from denizen.recipes.config import Config, Machine, Repeating
from denizen.retrievers.backbone import Backbone
from denizen.retrievers.encoding import Encoding
from denizen.supervision.gold import Labels
from denizen.supervision.selecting import ranks
from denizen.training.train import Training

_COLUMN = "domain"


@dataclass(frozen=True)
class Slices(Params):
    """What experts are trained from, and on what."""

    panel = "Model and data"

    sources: tuple[str, ...] = setting(
        MISSING, "Labelled sources, each a slice of its own: BEIR folders, files of pairs; or one source with a column."
    )
    model: str = setting(
        "all-MiniLM-L6-v2", "Base model of all experts: an encoder or a decoder-only LLM, as of adapt."
    )
    slices: str = setting(_COLUMN, "With one source: the column of its queries or documents that names the slice.")


@dataclass(frozen=True)
class ExpertTraining(Training):
    """How an expert is trained, and what is compared with it."""

    panel = "Training"

    # arXiv 2602.04731 trains each expert for one epoch on its slice
    epochs: float = setting(1.0, "Epochs of an expert on its slice.", least=0.001, most=1000)


@dataclass(frozen=True)
class ExpertSteps(Params):
    """How long an expert is trained at most."""

    panel = "Training"

    # 20 steps of MiniLM take half a minute on two cores (docs/speed.md), and all is trained twice: alone and together
    expert_steps: int = setting(
        300,
        "Steps of an expert at most: of a larger slice so many examples are drawn. 0: as many as it has.",
        least=0,
        most=1_000_000,
    )


PARTS: tuple[type[Params], ...] = (
    Slices,
    Backbone,
    ExpertTraining,
    ExpertSteps,
    Searching,
    MergeSearch,
    DevSize,
    Repeating,
    Encoding,
    Machine,
    Labels,
)
# nothing is kept near the base here, and InfoNCE reads no triplets
IDLE = ("near_base", "margin", "easy_per_hard", "easy_negative_ranks", "hard_positive_ranks")
_LOSSES = ("infonce", "cached-infonce")
EXPERTS_SETTINGS: dict[str, Setting] = {name: each for name, each in settings_of(*PARTS).items() if name not in IDLE}
EXPERTS_WITHOUT_EFFECT = tuple(name for name, each in EXPERTS_SETTINGS.items() if not each.owner.effect)


class ExpertsConfig(Config):
    """Settings of one run of experts.

    Every setting can be read by its flat name, as `config.expert_steps`; the parts are what steps take.

    Args:
        sources: The slices, or one source with a column that names them.
        given: Settings by their flat names.

    Attributes:
        backbone: Of how a decoder-only LLM is read.
        training: Of the step that trains.
        searching: Of those that search.
        merging: Of the search for a merge.
        dev_size: Of how much of dev is asked in that.
        encoding: Of what embeds.
        supervision: Of who says what is relevant: the labels of the sources.

    Raises:
        InputError: On an unknown name, a value outside its bounds, or settings that do not go together.
    """

    def __init__(self, sources: str | Sequence[str], **given: Any) -> None:
        check_names(given, self.settings)
        values = {**given, "sources": (sources,) if isinstance(sources, str) else tuple(sources)}
        found = {name: value for kind in self.parts for name, value in kind.of(values).as_dict().items()}
        self.backbone = Backbone.of(values)
        self.training = ExpertTraining.of(values)
        self.searching = Searching.of(values)
        self.merging = MergeSearch.of(values)
        self.dev_size = DevSize.of(values)
        self.encoding = Encoding.of(values)
        self.supervision = Labels.of(values)
        self._values = {name: found[name] for name in self.settings}
        self._check()

    parts: ClassVar[tuple[type[Params], ...]] = PARTS
    settings: ClassVar[Mapping[str, Setting]] = EXPERTS_SETTINGS
    training: ExpertTraining
    supervision: Labels

    @property
    def most_examples(self) -> int | None:
        """On how many examples an expert is trained at most; None: on all of its slice."""
        steps: int = self.expert_steps
        if not steps:
            return None
        return max(1, math.floor(steps / self.training.epochs)) * self.training.batch_size

    def _check(self) -> None:
        if not self.sources:
            raise InputError("there is no source: give several, or one with a column that names the slice")
        if len(self.sources) > 1 and self.slices != _COLUMN:
            raise InputError(
                f"slices is {self.slices!r}, and there are {len(self.sources)} sources, each of them a slice; leave it "
                "out, or give one source"
            )
        if self.loss not in _LOSSES:
            raise InputError(f"loss is {self.loss!r}; experts are trained by {' or '.join(_LOSSES)}")
        if ranks(self.hard_negative_ranks)[1] > self.depth:
            raise InputError(
                f"hard_negative_ranks is {self.hard_negative_ranks}, beyond depth {self.depth}; raise depth or lower it"
            )
