"""The settings of `language`, composed of those of its steps, as those of `adapt` are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from typing import Any, ClassVar

from denizen.data.prepare import Dividing
from denizen.engine.errors import InputError
from denizen.engine.settings import Params, Setting, check_names, setting, settings_of
from denizen.measuring.instructions import TEST_PROMPTS, Answering
from denizen.measuring.perplexity import Reading
from denizen.merging.residual import Residual
from denizen.merging.scale_search import ScaleMeasuring, ScaleSearch
from denizen.recipes.config import Config
from denizen.training.pretrain import Pretraining


@dataclass(frozen=True)
class LanguageModels(Params):
    """What is made native to what."""

    panel = "Model and data"

    source: str = setting(
        MISSING, "Documents: files of any kind, a table (.jsonl, .csv, .parquet), or a corpus that ingest made."
    )
    base: str = setting(
        MISSING,
        "Base language model, as it was before instruction tuning: a folder of transformers, an id or a GGUF file.",
    )
    instruct: str = setting(MISSING, "What its maker has tuned from that base to follow instructions.")
    also_pretrain_instruct: bool = setting(
        False, "Pretrain the instruct model, too, which is what people do; it takes as long again."
    )


PARTS: tuple[type[Params], ...] = (LanguageModels, Dividing, Pretraining, Residual, ScaleSearch, Reading, Answering)
LANGUAGE_SETTINGS: dict[str, Setting] = settings_of(*PARTS)


class LanguageConfig(Config):
    """Settings of one run of `language`.

    Every setting can be read by its flat name, as `config.scale`; the parts are what steps take.

    Args:
        source: The documents.
        base: The base model.
        instruct: The instruct model.
        given: Settings by their flat names.

    Attributes:
        dividing: Of how documents are cut and held out.
        pretraining: Of the step that trains.
        residual: Of the one that adds.
        measuring: Of the one that chooses its scale.
        reading: Of how held-out documents are read.
        answering: Of how instructions are asked.

    Raises:
        InputError: On an unknown name, a value outside its bounds, or settings that do not go together.
    """

    def __init__(self, source: str, base: str, instruct: str, **given: Any) -> None:
        check_names(given, self.settings)
        values = {**given, "source": source, "base": base, "instruct": instruct}
        found = {name: value for kind in PARTS for name, value in kind.of(values).as_dict().items()}
        self.dividing = Dividing.of(values)
        self.pretraining = Pretraining.of(values)
        self.residual = Residual.of(values)
        self.reading = Reading.of(values)
        self.answering = Answering.of(values)
        self.measuring = ScaleMeasuring.of(values)
        if values.get("search_scale"):
            # the others choose
            fewer = min(self.answering.instruction_prompts, TEST_PROMPTS)
            self.answering = replace(self.answering, instruction_prompts=fewer)
        self._values = {name: found[name] for name in self.settings}
        self._check()

    settings: ClassVar[Mapping[str, Setting]] = LANGUAGE_SETTINGS
    pretraining: Pretraining
    search_scale: bool

    def _check(self) -> None:
        if self.precision == "int8":
            raise InputError("precision is 'int8', in which no language model is trained here; give auto, fp32 or bf16")
        if self.search_scale and self.scale != Residual().scale:
            raise InputError(f"scale is {self.scale:g} and search_scale is on, which chooses it; give one of the two")
        if self.split == "random":
            raise InputError(
                "split is 'random', which goes by labelled rows; documents are divided: auto, document or time"
            )
