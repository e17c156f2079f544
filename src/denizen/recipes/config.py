"""The settings of `adapt`, composed of those of its steps.

Each stands beside what it governs, with its default, its bounds, and the reason or source of the default. Outside they
have one flat name each: the command line, the Python API and files of settings share these names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import yaml

from denizen.engine.errors import InputError, reason
from denizen.engine.settings import Params, Setting, check_names, setting, settings_of
from denizen.measuring.crossfit import Folding
from denizen.measuring.reading import ReadingChoice
from denizen.measuring.students import CrossFitting, Searching
from denizen.merging.gate import Gating
from denizen.retrievers.backbone import Backbone
from denizen.retrievers.encoding import Encoding
from denizen.supervision.gold import Labels
from denizen.supervision.selecting import ranks
from denizen.supervision.taught import TaughtByCrossEncoder, TaughtByLLM
from denizen.training.train import Pass, Training


@dataclass(frozen=True)
class Start(Params):
    """What is adapted to what."""

    panel = "Model and data"

    source: str = setting(
        MISSING,
        "BEIR folder, file of pairs (.json, .jsonl[.gz], .csv, .parquet), saved dataset, or dataset id; with a teacher "
        "documents: files of any kind, a table, or a corpus that ingest made.",
    )
    model: str = setting(
        "all-MiniLM-L6-v2",
        "Base model: a sentence-transformers folder or id; or a decoder-only LLM, as a transformers folder, an id or a "
        "GGUF file.",
    )
    preset: str = setting("default", "default, or gold-triplet: the published gold-label recipe.")
    from_run: str = setting(
        "",
        "A finished run to go on from: its model is trained further, its base anew, and both must beat what it ships.",
        metavar="RUN",
        flag="--from",
    )
    grades: str = setting(
        "",
        "Grades that people gave on the page of denizen serve (RUN/grades.jsonl): labels beside those of the source.",
        metavar="FILE",
    )


@dataclass(frozen=True)
class Loop(Params):
    """How often is mined and trained."""

    panel = "Mining"

    rounds: int = setting(2, "Rounds of mining and training.", least=1, most=10)


@dataclass(frozen=True)
class Guide(Params):
    """The second model of a loss."""

    panel = "Training"

    guide: str = setting("", "Guide model of the gist loss; empty: the base model.")


@dataclass(frozen=True)
class TeacherChoice(Params):
    """The supervision."""

    panel = "Teacher"

    teacher: Literal["gold", "llm", "cross-encoder"] = setting(
        "gold", "Who says what is relevant: the source's labels, an LLM, or a cross-encoder."
    )


@dataclass(frozen=True)
class RerankerChoice(Params):
    """The second stage."""

    panel = "Reranker"

    reranker: bool = setting(
        False, "Train a cross-encoder on the same examples, too, and say whether it is worth its time as second stage."
    )
    reranker_model: str = setting(
        "", "What the reranker is trained from: a folder of a cross-encoder or a bi-encoder; empty: the base model."
    )

    def __post_init__(self) -> None:
        """Checks that what is given has a say.

        Raises:
            InputError: When there is a model for a reranker, and no reranker.
        """
        super().__post_init__()
        if self.reranker_model and not self.reranker:
            raise InputError("reranker_model does nothing without reranker; set that, too")


@dataclass(frozen=True)
class Repeating(Params):
    """How often all is done."""

    panel = "Proof"

    seeds: int = setting(1, "Do all after the corpus with this many seeds, and report the spread.", least=1, most=20)


@dataclass(frozen=True)
class Proof(Repeating):
    """What is measured besides."""

    panel = "Proof"

    baselines: bool = setting(True, "Measure plain fine-tuning and the average of base and adapted, too.")
    general: tuple[str, ...] = setting(
        (), "BEIR folder of a general set on which the model may not get worse.", metavar="FOLDER"
    )
    neighbour: tuple[str, ...] = setting(
        (), "BEIR folder of a neighbour: the same field, other questions.", metavar="FOLDER"
    )


@dataclass(frozen=True)
class Machine(Params):
    """What the work may take; it decides on no result."""

    panel = "Machine"
    effect = False

    memory_mb: int = setting(512, "Memory of one block of scores in exact search.", least=8, most=1 << 22)
    store: str = setting(
        "", "Folder of embeddings and finished steps that several runs share; empty: in the run's folder."
    )


SUPERVISIONS: dict[str, type[Labels] | type[TaughtByLLM] | type[TaughtByCrossEncoder]] = {
    "gold": Labels,
    "llm": TaughtByLLM,
    "cross-encoder": TaughtByCrossEncoder,
}
_COMMON = (
    Start,
    Backbone,
    Loop,
    Training,
    Guide,
    TeacherChoice,
    Searching,
    ReadingChoice,
    Gating,
    CrossFitting,
    RerankerChoice,
    Proof,
    Encoding,
    Machine,
)
SETTINGS: dict[str, Setting] = settings_of(*_COMMON, *SUPERVISIONS.values())
# may differ when a run is continued: they change where and how it works, not what comes out
WITHOUT_EFFECT = tuple(name for name, each in SETTINGS.items() if not each.owner.effect)


class Config:
    """Settings of a run by their flat names, as `config.seeds`."""

    _values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            value = values[name]
            return tuple(value) if isinstance(value, list) else value
        raise AttributeError(f"{type(self).__name__} has no setting {name!r} here")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and type(self) is type(other) and self._values == other._values

    def __hash__(self) -> int:
        return hash(json.dumps(self._values))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values})"

    def as_dict(self) -> dict[str, Any]:
        """Every setting that has a say, as JSON keeps it."""
        return dict(self._values)

    def changed(self, **values: Any) -> Self:
        """The same with other values."""
        return type(self)(**{**self._values, **values})


class AdaptConfig(Config):
    """Settings of one adaptation run: the defaults, then the preset's values, then what is given.

    Every setting can be read by its flat name, as `config.rounds`; the parts are what steps take.

    Args:
        source: What to adapt to.
        preset: The name of a set of values.
        given: Settings by their flat names.

    Attributes:
        backbone: Of how a decoder-only LLM is read.
        training: Of the step that trains.
        passing: Of it, what also goes for a reranker.
        searching: Of those that search.
        reading: Of how passages are read.
        encoding: Of what embeds.
        gating: Of the forgetting gate.
        folding: Of what is held out in cross-fitting.
        supervision: Of who says what is relevant, the loop's other half.

    Raises:
        InputError: On an unknown name, a value outside its bounds, or one that does nothing with the chosen teacher.
    """

    def __init__(self, source: str, *, preset: str = "default", **given: Any) -> None:
        check_names(given, SETTINGS)
        if preset not in PRESETS:
            raise InputError(f"preset {preset!r} is unknown; there are {sorted(PRESETS)}")
        teacher = TeacherChoice(given.get("teacher", "gold")).teacher
        # soft scores say how much better, and losses of labels do not use that
        own = {"loss": "margin-mse"} if teacher == "cross-encoder" else {}
        usual = {**PRESETS[preset], **own, **_of_lists(given)}
        known = settings_of(*_COMMON, SUPERVISIONS[teacher])
        _check_effect(given, usual, known, teacher)
        values = {**usual, **given, "source": source, "preset": preset}
        self.backbone = Backbone.of(values)
        self.training = Training.of(values)
        self.passing = Pass.of(values)
        self.searching = Searching.of(values)
        self.reading = ReadingChoice.of(values)
        self.encoding = Encoding.of(values)
        self.gating = Gating.of(values)
        self.folding = Folding.of(values)
        self.supervision: Labels | TaughtByLLM | TaughtByCrossEncoder = SUPERVISIONS[teacher].of(values)
        parts = [kind.of(values).as_dict() for kind in _COMMON]
        found = {name: value for part in (*parts, self.supervision.as_dict()) for name, value in part.items()}
        self._values = {name: found[name] for name in known}
        _check_together(self._values)
        _check_onward(self._values)


def read_settings(path: Path, known: Mapping[str, Setting] | None = None) -> dict[str, Any]:
    """Reads a file of settings: YAML or JSON, flat names to values; the config.json of a run is one.

    Args:
        path: The file.
        known: Flat name to setting of the command; None: of `adapt`.

    Raises:
        InputError: When it is missing or holds no such mapping.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--config {path} cannot be read: {reason(error)}") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise InputError(f"--config {path} holds no settings; it must map names to values, as in 'rounds: 2'")
    found = {name.replace("-", "_"): value for name, value in found.items()}
    known = SETTINGS if known is None else known
    # YAML reads 1e-4 as text
    for name, value in found.items():
        if name in known and known[name].hint is float and isinstance(value, str):
            try:
                found[name] = float(value)
            except ValueError:
                raise InputError(f"--config {path}: {name} is {value!r}; it must be a number") from None
    return found


_OF_LISTS = ("listwise", "graded-bce")
_OF_LABELS = ("infonce", "cached-infonce", "gist", "triplet")
# labels say nothing of how relevant a passage is, and scores have no line between answers and others
_LOSSES_OF = {"gold": _OF_LABELS, "llm": (*_OF_LABELS, *_OF_LISTS), "cross-encoder": ("margin-mse", *_OF_LISTS)}
# CADET has 20, at ten times the work of a row of InfoNCE; four passages are twice as much
_LISTED = 3


def _of_lists(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is usual where a loss goes by lists."""
    return {"negatives": _LISTED} if given.get("loss") in _OF_LISTS else {}


def _check_effect(given: Mapping[str, Any], usual: Mapping[str, Any], known: Mapping[str, Any], teacher: str) -> None:
    """Refuses settings that the chosen supervision does not read."""
    without = SUPERVISIONS[teacher].idle(given)
    idle = [
        name
        for name, value in given.items()
        if (name not in known or name in without) and value != usual.get(name, SETTINGS[name].spec.default)
    ]
    if idle:
        others = [name for name, kind in SUPERVISIONS.items() if name != teacher and set(idle) & set(settings_of(kind))]
        lacking = " and no llm" if without & set(idle) else ""
        raise InputError(
            f"{', '.join(sorted(idle))} {'does' if len(idle) == 1 else 'do'} nothing with teacher {teacher}{lacking}; "
            f"leave it out, or choose teacher {' or '.join(others)}"
        )


def _check_together(values: Mapping[str, Any]) -> None:
    _check_gist(values)
    loss, teacher = values["loss"], values["teacher"]
    if loss not in _LOSSES_OF[teacher]:
        raise InputError(
            f"loss {loss} does not go with teacher {teacher}; choose one of {', '.join(_LOSSES_OF[teacher])}, or "
            f"teacher {' or '.join(name for name, losses in _LOSSES_OF.items() if loss in losses)}"
        )
    if loss in ("margin-mse", *_OF_LISTS) and not values["negatives"]:
        raise InputError(f"negatives is 0; {loss} needs at least 1")
    if teacher == "cross-encoder" and not values["cross_encoder"]:
        raise InputError("teacher cross-encoder needs cross_encoder: the folder of a sentence-transformers model")
    if teacher == "llm" and not values["llm"]:
        raise InputError("teacher llm needs llm: a GGUF file, or the name of the model at the endpoint")
    if values["split"] == "random" and teacher != "gold":
        raise InputError(
            f"split is 'random', which goes by labelled rows; with teacher {teacher} documents are divided: auto, "
            "document or time"
        )
    if values["seeds"] > 1 and teacher != "gold":
        raise InputError(
            f"seeds is {values['seeds']}; only runs with labels are repeated, since each repetition would pay a "
            "teacher for grades of its own"
        )
    for name in ("hard_positive_ranks", "hard_negative_ranks", "easy_negative_ranks"):
        if name in values and ranks(values[name])[1] > values["depth"]:
            raise InputError(
                f"{name} is {values[name]}, beyond depth {values['depth']}; raise depth or lower the window"
            )


def _check_gist(values: Mapping[str, Any]) -> None:
    """The library's loss takes one negative at most, and the same number in every row."""
    if values["loss"] != "gist":
        return
    if values["negatives"] > 1:
        raise InputError(f"negatives is {values['negatives']}; the gist loss takes 0 or 1 mined negative a row")
    if written := values.get("synthetic_negatives"):
        raise InputError(
            f"synthetic_negatives is {written}; the gist loss takes equally many negatives in every row, and not every "
            "query has a written one: choose loss infonce, cached-infonce or triplet"
        )


def _check_onward(values: Mapping[str, Any]) -> None:
    if values["from_run"] and values["teacher"] != "gold":
        raise InputError(
            f"from_run is {values['from_run']!r}; only runs with labels go on from another one: leave it out, or "
            f"teacher {values['teacher']}"
        )
    if values["grades"] and values["teacher"] != "gold":
        raise InputError(
            f"grades is {values['grades']!r}; only runs with labels learn from them: leave it out, or teacher "
            f"{values['teacher']} (denizen audit RUN --people compares them with a judge)"
        )


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The gold-label recipe as published (vLLM semantic-router, domain_adapted_embeddings): one hard and one
    # easy triplet a query at most, easy ones at most twice as many as hard ones, all rounds pooled. It names no
    # training length: 128 tokens, as the default has it, half the cost of the base model's 256.
    "gold-triplet": {
        "loss": "triplet",
        "margin": 0.1,
        "learning_rate": 5e-5,
        "batch_size": 8,
        "epochs": 2.0,
        "max_tokens": 128,
        "near_base": 0.0,
        "rounds": 2,
        "batches": "length",
        "warmup_steps": 100.0,
        "easy_per_hard": 2.0,
        "positive_ceiling": 0.0,
        "passage_chars": 1000,
        "hard_positive_ranks": "6-100",
        "hard_negative_ranks": "1-15",
        "easy_negative_ranks": "16-100",
    },
}
