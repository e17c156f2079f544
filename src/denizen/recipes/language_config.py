"""The settings of `language`, composed of those of its steps, as those of `adapt` are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from denizen.answering.answers import TaskAnswering
from denizen.answering.compare import AnswerScoring
from denizen.answering.judge import AnswerJudging
from denizen.answering.routing import TaskRouting
from denizen.data.prepare import Dividing
from denizen.engine.errors import InputError
from denizen.engine.settings import Params, Setting, check_names, setting, settings_of
from denizen.measuring.instructions import TEST_PROMPTS, Answering
from denizen.measuring.perplexity import Reading
from denizen.merging.residual import Residual
from denizen.merging.scale_search import ScaleMeasuring, ScaleSearch
from denizen.recipes.config import Config
from denizen.retrievers.encoding import Arithmetic
from denizen.supervision.asking import Asking
from denizen.tasks.pairs import PairMaking
from denizen.tasks.written import TaskWriting
from denizen.training.fine_tune import FineTuning
from denizen.training.prefer import PreferenceTuning
from denizen.training.pretrain import Pretraining

if TYPE_CHECKING:
    from denizen.llm.client import LLM


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
    instruct: str = setting("", "What its maker has tuned from that base to follow instructions.")
    instruct_rows: tuple[str, ...] = setting(
        (), "A file of instructions with answers, instead of --instruct: the instruct model is tuned from them here."
    )
    also_pretrain_instruct: bool = setting(
        False, "Pretrain the instruct model, too, which is what people do; it takes as long again."
    )


@dataclass(frozen=True)
class ExpertChoice(Params):
    """Of what the experts are made, and what is measured of them."""

    panel = "Tasks"

    tasks: tuple[str, ...] = setting(
        (),
        "A file of rows that experts learn from: messages, prompt and completion, pairs of answers, Alpaca, ShareGPT.",
    )
    labels: str = setting("", "A table of the labels that texts are sorted by: label, description.")
    # arXiv 2511.21101 has none
    warm_up: bool = setting(False, "Fine-tune the expert of conversation on its answers before it learns from pairs.")
    bert_score_encoder: str = setting(
        "all-MiniLM-L6-v2", "Encoder of BERTScore: a folder or an id; empty: BERTScore is left out."
    )
    measure_safety: bool = setting(True, "Measure what models refuse, and whether they obey passages.")


@dataclass(frozen=True)
class JudgeAsking(Params):
    """Where the judge of answers is."""

    panel = "Answers to tasks"
    effect = False

    judge_endpoint: str = setting("", "The judge's endpoint; empty: that of --llm.")
    judge_prices: str = setting("", "The judge's prices, as 0.15/0.60.")


PARTS: tuple[type[Params], ...] = (
    LanguageModels,
    Dividing,
    Pretraining,
    Residual,
    ScaleSearch,
    Reading,
    Answering,
    ExpertChoice,
    TaskWriting,
    PairMaking,
    FineTuning,
    PreferenceTuning,
    TaskRouting,
    TaskAnswering,
    AnswerScoring,
    AnswerJudging,
    JudgeAsking,
    Asking,
)
LANGUAGE_SETTINGS: dict[str, Setting] = settings_of(*PARTS)
# that decide on no result
LANGUAGE_WITHOUT_EFFECT = tuple(name for name, each in LANGUAGE_SETTINGS.items() if not each.owner.effect)


class LanguageConfig(Config):
    """Settings of one run of `language`.

    Every setting can be read by its flat name, as `config.scale`; the parts are what steps take.

    Args:
        source: The documents.
        base: The base model.
        instruct: The instruct model; empty: it is made from `instruct_rows`.
        given: Settings by their flat names.

    Attributes:
        dividing: Of how documents are cut and held out.
        pretraining: Of the step that trains on documents.
        residual: Of the one that adds.
        measuring: Of the one that chooses its scale.
        reading: Of how held-out documents are read.
        answering: Of how instructions are asked.
        writing: Of the rows of tasks.
        pairing: Of the pairs of answers.
        fine_tuning: Of trainings on rows.
        preference_tuning: Of trainings on pairs.
        routing: Of the router of the experts.
        task_answering: Of how rows are asked.
        scoring: Of how answers are held against references.
        judging: Of what the judge sees.
        asking: Of the LLM that writes.
        arithmetic: In which models compute.

    Raises:
        InputError: On an unknown name, a value outside its bounds, or settings that do not go together.
    """

    def __init__(self, source: str, base: str, instruct: str = "", **given: Any) -> None:
        check_names(given, self.settings)
        values = {**given, "source": source, "base": base, "instruct": instruct}
        found = {name: value for kind in PARTS for name, value in kind.of(values).as_dict().items()}
        self.dividing = Dividing.of(values)
        self.pretraining = Pretraining.of(values)
        self.residual = Residual.of(values)
        self.measuring = ScaleMeasuring.of(values)
        self.reading = Reading.of(values)
        self.answering = Answering.of(values)
        if values.get("search_scale"):
            # the others choose
            fewer = min(self.answering.instruction_prompts, TEST_PROMPTS)
            self.answering = replace(self.answering, instruction_prompts=fewer)
        self.writing = TaskWriting.of(values)
        self.pairing = PairMaking.of(values)
        self.fine_tuning = FineTuning.of(values)
        self.preference_tuning = PreferenceTuning.of(values)
        self.routing = TaskRouting.of(values)
        self.task_answering = TaskAnswering.of(values)
        self.scoring = AnswerScoring.of(values)
        self.judging = AnswerJudging.of(values)
        self.asking = Asking.of(values).of_llm(found["llm"])
        self.arithmetic = Arithmetic.of(values)
        self._values = {name: found[name] for name in self.settings}
        self._check()

    settings: ClassVar[Mapping[str, Setting]] = LANGUAGE_SETTINGS
    pretraining: Pretraining
    instruct: str
    instruct_rows: tuple[str, ...]
    search_scale: bool
    tasks: tuple[str, ...]
    labels: str
    warm_up: bool
    measure_safety: bool
    bert_score_encoder: str
    llm: str
    judge: str
    judge_endpoint: str
    judge_prices: str

    @property
    def makes_experts(self) -> bool:
        """Whether there is anything that experts learn from."""
        return bool(self.tasks or self.llm)

    @property
    def llm_called(self) -> str:
        """What the LLM that writes is called in results: a GGUF file by name and digest."""
        return self.asking.called(self.llm) if self.llm else ""

    def client(self, out: Path) -> LLM:
        """The LLM that writes.

        Args:
            out: The run's folder, which keeps its replies.

        Raises:
            InputError: When the run has none.
        """
        if not self.llm:
            raise InputError(f"{out} is a run without an LLM; nothing of it was asked")
        return self.asking.client(self.llm, out)

    def _check(self) -> None:
        if bool(self.instruct) == bool(self.instruct_rows):
            both = "both are given" if self.instruct else "there is none"
            raise InputError(
                f"{both}: give the instruct model of the base with --instruct, or rows of instructions with "
                "--instruct-rows, from which one is made"
            )
        if self.precision == "int8":
            raise InputError("precision is 'int8', in which no language model is trained here; give auto, fp32 or bf16")
        if self.search_scale and self.scale != Residual().scale:
            raise InputError(f"scale is {self.scale:g} and search_scale is on, which chooses it; give one of the two")
        if self.split == "random":
            raise InputError(
                "split is 'random', which goes by labelled rows; documents are divided: auto, document or time"
            )
        for name in ("labels", "judge"):
            if getattr(self, name) and not self.makes_experts:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}, and no expert is made; give rows with --tasks, or --llm"
                )
        if self.llm:
            self.asking.check(self.llm)
