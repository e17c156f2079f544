"""The settings of a teacher: which there are, and which are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from denizen.engine.errors import InputError
from denizen.recipes.config import PRESETS, AdaptConfig
from denizen.retrievers.cross_encoder import locate_cross_encoder
from denizen.supervision.taught import TaughtByCrossEncoder, TaughtByLLM

LLM: dict[str, Any] = {"teacher": "llm", "llm": "tiny", "prices": "0/0"}
# settings of labels, each with a value that is not the default
OF_LABELS = {
    "drop_leaks": True,
    "allow_leak": True,
    "hard_negative_ranks": "2-15",
    "easy_negative_ranks": "16-90",
    "positive_ceiling": 0.5,
}
OF_GRADES = {
    "grades_per_call": 2,
    "same_document": True,
    "hard_positive_ranks": "7-100",
    "positives": 2,
    "easy_per_hard": 1.0,
}
CROSS_ENCODER: dict[str, Any] = {"teacher": "cross-encoder", "cross_encoder": "model", "query_log": "log.txt"}


@pytest.mark.parametrize(("name", "value"), OF_LABELS.items())
def test_a_setting_of_labels_is_refused_by_name_with_an_llm(name: str, value: Any) -> None:
    told = f"{name} does nothing with teacher llm; leave it out, or choose teacher gold"
    with pytest.raises(InputError, match=re.escape(told) + "$"):
        AdaptConfig("documents", **LLM, **{name: value})
    # the default says nothing, as in a file of all settings
    default = AdaptConfig("documents").as_dict()[name]
    assert AdaptConfig("documents", **LLM, **{name: default}) == AdaptConfig("documents", **LLM)
    assert name not in AdaptConfig("documents", **LLM).as_dict()


def test_several_are_refused_together() -> None:
    with pytest.raises(
        InputError, match=r"^allow_leak, easy_negative_ranks, positive_ceiling do nothing with teacher llm; leave it"
    ):
        AdaptConfig(
            "documents", **LLM, easy_negative_ranks="16-90", positive_ceiling=0.5, allow_leak=True, drop_leaks=False
        )


@pytest.mark.parametrize(("name", "value"), {**OF_LABELS, **OF_GRADES}.items())
def test_a_setting_of_labels_or_grades_is_refused_by_name_with_a_cross_encoder(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{name} does nothing with teacher cross-encoder; leave it out, or choose"):
        AdaptConfig("documents", **CROSS_ENCODER, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    {"passages": 60, "persona_queries": 2.0, "styles": "long", "round_trip": 3}.items(),
)
def test_a_setting_of_writing_is_refused_by_name_where_nobody_writes(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{name} does nothing with teacher cross-encoder and no llm; leave it out"):
        AdaptConfig("documents", **CROSS_ENCODER, **{name: value})
    # an LLM may write what a cross-encoder judges
    given = {**CROSS_ENCODER, "llm": "tiny", "prices": "0/0", name: value}
    assert getattr(AdaptConfig("documents", **given), name) == value


@pytest.mark.parametrize("name", ["passages", "budget_calls", "graded_top", "styles", "replies", "min_coverage"])
def test_a_setting_of_teachers_is_refused_by_name_with_labels(name: str) -> None:
    value = {"styles": "long", "replies": "file", "min_coverage": 0.5}.get(name, 3)
    with pytest.raises(
        InputError, match=f"^{name} does nothing with teacher gold; leave it out, or choose teacher llm"
    ):
        AdaptConfig("pairs", **{name: value})


def test_what_a_preset_says_of_labels_is_no_fault_of_the_user() -> None:
    config = AdaptConfig("documents", preset="gold-triplet", **LLM)
    assert not set(OF_LABELS) & set(config.as_dict())
    assert config.loss == "triplet" and config.supervision.selecting.triplets  # type: ignore[union-attr]
    told = PRESETS["gold-triplet"]["hard_negative_ranks"]
    AdaptConfig("documents", preset="gold-triplet", **LLM, hard_negative_ranks=told)
    with pytest.raises(InputError, match="hard_negative_ranks does nothing"):
        AdaptConfig("documents", preset="gold-triplet", **LLM, hard_negative_ranks="2-15")


def test_a_check_says_what_is_missing_before_anything_is_read(tmp_path: Path) -> None:
    def of(**values: Any) -> TaughtByLLM:
        return TaughtByLLM.of({"llm": "tiny", "prices": "0/0", **values})

    of().check()
    for values, told in (
        ({"llm": ""}, "teacher llm needs llm"),
        ({"prices": ""}, "the price of the LLM is not known"),
        ({"styles": "haiku"}, r"styles 'haiku': \['haiku'\]"),
        ({"query_log": str(tmp_path)}, "query_log .* does not exist"),
    ):
        with pytest.raises(InputError, match=told):
            of(**values).check()


def test_a_cross_encoder_needs_its_folder_and_somebody_s_queries(tmp_path: Path) -> None:
    def of(**values: Any) -> TaughtByCrossEncoder:
        return TaughtByCrossEncoder.of({"cross_encoder": str(tmp_path), **values})

    (tmp_path / "log.txt").write_text("what is gout?")
    with pytest.raises(InputError, match="teacher cross-encoder needs cross_encoder"):
        of(cross_encoder="").check()
    with pytest.raises(InputError, match=r"is no model folder \(it has no config.json\)"):
        of(query_log=str(tmp_path / "log.txt")).check()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="queries must come from somewhere: give llm, or query_log"):
        of().check()
    of(query_log=str(tmp_path / "log.txt")).check()
    assert locate_cross_encoder(str(tmp_path)) == tmp_path


def test_what_an_llm_is_asked_for_depends_on_its_file_and_not_on_where_that_lies(tmp_path: Path) -> None:
    def of(folder: str, content: str) -> TaughtByLLM:
        (tmp_path / folder).mkdir(exist_ok=True)
        file = tmp_path / folder / "teacher.gguf"
        file.write_text(f"GGUF{content}")
        return TaughtByLLM.of({"llm": str(file)})

    one, moved, other = of("one", "a"), of("moved", "a"), of("other", "b")
    assert one.judges()[0] == moved.judges()[0] != other.judges()[0]
    assert one.judges()[0].as_dict()["llm"] == one.llm_called
    assert one.llm_called.startswith("teacher.gguf@") and str(tmp_path) not in one.llm_called
    assert TaughtByLLM.of({"llm": "tiny"}).llm_called == "tiny"


def test_a_check_finds_a_file_that_is_missing_and_an_endpoint_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"llm '.*gone\.gguf' ends in .gguf and is no file"):
        TaughtByLLM.of({"llm": str(tmp_path / "gone.gguf")}).check()
    with pytest.raises(InputError, match="is no http or https address"):
        TaughtByLLM.of({"llm": "tiny", "prices": "0/0", "endpoint": "localhost"}).check()


def test_after_the_last_training_only_dev_is_looked_at() -> None:
    supervision = AdaptConfig("documents", **LLM).supervision
    assert (supervision.splits(False), supervision.splits(True)) == (("train", "dev"), ("dev",))
