"""The settings of adapt: presets, bounds, what does nothing, what does not go together, files, and JSON."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import re
import tempfile
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.settings import Params, settings_of
from denizen.recipes import config as module
from denizen.recipes.config import PRESETS, SETTINGS, SUPERVISIONS, WITHOUT_EFFECT, AdaptConfig, read_settings
from denizen.retrievers.encoding import Encoding
from denizen.supervision.gold import Labels
from denizen.supervision.selecting import ranks
from denizen.supervision.taught import TaughtByCrossEncoder, TaughtByLLM

BOUNDED = [
    (name, each.spec.metadata["least"], each.spec.metadata["most"])
    for name, each in SETTINGS.items()
    if each.spec.metadata["least"] is not None
]
# what each supervision cannot do without
NEEDED: dict[str, dict[str, Any]] = {
    "gold": {},
    "llm": {"teacher": "llm", "llm": "judge"},
    "cross-encoder": {"teacher": "cross-encoder", "cross_encoder": "/models/judge"},
}


def config(teacher: str = "gold", **given: Any) -> AdaptConfig:
    return AdaptConfig("data", **{**NEEDED[teacher], **given})


def with_a_say(name: str) -> str:
    """A teacher with which a setting decides on something."""
    return next(teacher for teacher in NEEDED if name in config(teacher).as_dict())


# presets


def test_the_default_preset_leaves_every_default() -> None:
    assert AdaptConfig("data") == AdaptConfig(source="data", preset="default")
    for teacher in NEEDED:
        made = config(teacher, **({"loss": "margin-mse"} if teacher == "cross-encoder" else {})).as_dict()
        own = {**NEEDED[teacher], "source": "data", **({"loss": "margin-mse"} if teacher == "cross-encoder" else {})}
        for name, value in made.items():
            default = SETTINGS[name].spec.default
            assert value == own.get(name, list(default) if isinstance(default, tuple) else default), name


def test_gold_triplet_holds_the_published_values() -> None:
    made = AdaptConfig("data", preset="gold-triplet")
    assert made.preset == "gold-triplet"
    assert (made.loss, made.margin, made.learning_rate, made.batch_size) == ("triplet", 0.1, 5e-5, 8)
    assert (made.epochs, made.rounds, made.warmup_steps, made.easy_per_hard) == (2.0, 2, 100.0, 2.0)
    assert (made.hard_positive_ranks, made.hard_negative_ranks) == ("6-100", "1-15")
    assert made.easy_negative_ranks == "16-100"


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_valid_and_reaches_the_parts_that_it_names(preset: str) -> None:
    made = AdaptConfig("data", preset=preset)
    assert {name: made.as_dict()[name] for name in PRESETS[preset]} == PRESETS[preset]
    in_parts = {**made.training.as_dict(), **made.supervision.as_dict(), **made.searching.as_dict()}
    for name, value in PRESETS[preset].items():
        assert in_parts.get(name, value) == value


@pytest.mark.parametrize("teacher", ["llm", "cross-encoder"])
def test_a_preset_goes_with_every_teacher_as_far_as_it_has_a_say(teacher: str) -> None:
    made = config(teacher, preset="gold-triplet")
    assert made.batch_size == 8 and "hard_negative_ranks" not in made.as_dict()
    assert made.loss == ("triplet" if teacher == "llm" else "margin-mse")


def test_a_given_setting_wins_over_the_preset() -> None:
    made = AdaptConfig("data", preset="gold-triplet", batch_size=16)
    assert made.batch_size == made.training.batch_size == 16
    assert made.loss == "triplet"


def test_an_unknown_preset_is_refused_naming_those_there_are() -> None:
    with pytest.raises(InputError, match=r"preset 'gold' is unknown; there are \['default', 'gold-triplet'\]"):
        AdaptConfig("data", preset="gold")


# parts and flat names


def test_a_setting_is_read_by_its_flat_name_and_stands_in_every_part_that_has_it() -> None:
    made = config(seed=7, loss="triplet", precision="fp32", depth=150, near_duplicate=0.8)
    assert (made.seed, made.loss, made.depth) == (7, "triplet", 150)
    assert made.training.seed == made.gating.seed == made.supervision.data.seed == made.supervision.selecting.seed == 7
    assert made.training.loss == made.supervision.selecting.loss == "triplet"
    assert made.training.precision == made.encoding.precision == "fp32" and made.searching.depth == 150
    assert made.supervision.data.near_duplicate == 0.8
    taught = config("llm", precision="fp32", near_duplicate=0.8, loss="triplet", depth=150)
    synthesis = taught.supervision.synthesis
    assert synthesis.encoding == taught.encoding == Encoding(precision="fp32")
    assert synthesis.llm == taught.supervision.grading.llm == taught.supervision.llm == "judge"
    assert synthesis.near_duplicate == taught.supervision.data.near_duplicate == 0.8
    assert taught.supervision.selecting.depth == taught.searching.depth == 150


def test_the_teacher_chooses_the_supervision_and_its_settings() -> None:
    kinds = [type(config(teacher).supervision) for teacher in NEEDED]
    assert kinds == [Labels, TaughtByLLM, TaughtByCrossEncoder] == list(SUPERVISIONS.values())
    assert "split" in config().as_dict() and "llm" not in config().as_dict()
    with pytest.raises(AttributeError, match="AdaptConfig has no setting 'llm' here"):
        _ = config().llm
    with pytest.raises(AttributeError, match="no setting 'grades_per_call' here"):
        _ = config("cross-encoder").grades_per_call
    assert config("llm").grades_per_call == 1


def test_every_part_has_the_value_that_the_flat_name_shows() -> None:
    for teacher, kind in SUPERVISIONS.items():
        made = config(teacher, seed=3, learning_rate=1e-3, dev_share=0.2, depth=120, negatives=1, precision="bf16")
        parts = (made.training, made.searching, made.encoding, made.gating, made.supervision)
        assert isinstance(made.supervision, kind)
        for inner in (inner for part in parts for inner in _nested(part)):
            for spec in dataclasses.fields(inner):
                value = getattr(inner, spec.name)
                assert isinstance(value, Params) or value == getattr(made, spec.name), (type(inner), spec.name)


def _nested(part: Params) -> list[Params]:
    inner = [getattr(part, spec.name) for spec in dataclasses.fields(part)]
    return [part, *(found for each in inner if isinstance(each, Params) for found in _nested(each))]


def _kinds(kind: type[Params]) -> list[type[Params]]:
    inner = [hint for hint in get_type_hints(kind).values() if isinstance(hint, type) and issubclass(hint, Params)]
    return [kind, *(found for each in inner for found in _kinds(each))]


KINDS = list(dict.fromkeys(kind for each in (*module._COMMON, *SUPERVISIONS.values()) for kind in _kinds(each)))


def test_a_flat_name_has_one_default_and_one_meaning_wherever_it_stands() -> None:
    seen: dict[str, list[tuple[Any, ...]]] = {}
    for kind in KINDS:
        hints = get_type_hints(kind)
        for spec in dataclasses.fields(kind):
            if spec.metadata:
                told = (spec.default, hints[spec.name], *(spec.metadata[name] for name in ("help", "least", "most")))
                seen.setdefault(spec.name, []).append(told)
    assert {name for name, found in seen.items() if len(set(map(repr, found))) > 1} == set()
    assert set(seen) == set(SETTINGS) and sum(len(found) > 1 for found in seen.values()) > 5


def test_every_setting_has_a_help_text_a_group_of_it_and_bounds_that_hold_its_default() -> None:
    for name, each in SETTINGS.items():
        assert each.spec.metadata["help"].strip().endswith("."), name
        assert each.panel, name
        least, most = each.spec.metadata["least"], each.spec.metadata["most"]
        if least is not None:
            assert least <= each.spec.default and (most is None or each.spec.default <= most), name
        # a number without bounds is a mistake that is found late
        assert least is not None or each.hint not in (int, float), name
    assert [name for name, each in SETTINGS.items() if each.required] == ["source"]


def test_what_decides_on_no_result_is_known() -> None:
    assert set(WITHOUT_EFFECT) == {
        "memory_mb",
        "store",
        "endpoint",
        "prices",
        "allow_unpriced",
        "budget_calls",
        "budget_tokens",
        "budget_money",
        "concurrency",
        "timeout",
        "thinking_tokens",
        "replies",
        "min_coverage",
    }


# names and values that are refused


def test_unknown_settings_are_refused_naming_all_of_them_and_those_there_are() -> None:
    with pytest.raises(InputError, match=r"unknown settings \['batchsize', 'lr'\]; there are .*'batch_size'"):
        AdaptConfig("data", lr=1, batchsize=2)


def _just_outside(bound: float, direction: int) -> float:
    return bound + direction * (1 if isinstance(bound, int) else 0.0005)


def _expected(name: str, value: float, least: float, most: float | None) -> str:
    limit = f"at least {least:.12g}" if most is None else f"between {least:.12g} and {most:.12g}"
    return re.escape(f"{name} is {value}; it must be {limit}")


@pytest.mark.parametrize("name, least, most", BOUNDED)
def test_a_value_below_its_bound_is_refused_with_value_and_limit(name: str, least: float, most: float) -> None:
    value = _just_outside(least, -1)
    with pytest.raises(InputError, match=_expected(name, value, least, most)):
        config(with_a_say(name), **{name: value})


@pytest.mark.parametrize("name, least, most", [entry for entry in BOUNDED if entry[2] is not None])
def test_a_value_above_its_bound_is_refused_with_value_and_limit(name: str, least: float, most: float) -> None:
    value = _just_outside(most, 1)
    with pytest.raises(InputError, match=_expected(name, value, least, most)):
        config(with_a_say(name), **{name: value})


@pytest.mark.parametrize("name, value", [(name, bound) for name, *bounds in BOUNDED for bound in bounds])
def test_a_bound_itself_is_allowed(name: str, value: float | None) -> None:
    if value is None:
        value = 10**6
    assert getattr(config(with_a_say(name), **{name: value}), name) == value


@pytest.mark.parametrize(
    "name, value, limit",
    [
        ("rounds", 0, "between 1 and 10"),
        ("depth", 99, "between 100 and 1000"),
        ("dev_share", 0.41, "between 0.01 and 0.4"),
        ("test_share", 0.0, "between 0.01 and 0.5"),
        ("near_duplicate", 1.5, "between 0.8 and 1"),
        ("seed", -1, "between 0 and 2147483648"),
        ("batch_size", 0, "between 1 and 65536"),
        ("memory_mb", 7, "between 8 and 4194304"),
    ],
)
def test_a_refusal_names_the_value_and_the_limit(name: str, value: float, limit: str) -> None:
    with pytest.raises(InputError) as refused:
        AdaptConfig("data", **{name: value})
    assert str(refused.value) == f"{name} is {value}; it must be {limit}"


@pytest.mark.parametrize(
    "name, value, kind",
    [
        ("rounds", 2.0, "int"),
        ("rounds", "2", "int"),
        ("rounds", True, "int"),
        ("seed", None, "int"),
        ("epochs", "1", "float"),
        ("epochs", False, "float"),
        ("model", 3, "str"),
        ("hard_positive_ranks", (6, 100), "str"),
        ("dropout", 1, "bool"),
        ("allow_leak", "no", "bool"),
    ],
)
def test_a_value_of_another_type_is_refused_naming_the_type(name: str, value: Any, kind: str) -> None:
    with pytest.raises(InputError) as refused:
        AdaptConfig("data", **{name: value})
    assert str(refused.value) == f"{name} is {value!r}; it must be of type {kind}"


def test_a_source_that_is_no_text_is_refused() -> None:
    with pytest.raises(InputError, match="source is 2024; it must be of type str"):
        AdaptConfig(2024)  # type: ignore[arg-type]


def test_a_whole_number_stands_for_a_float() -> None:
    assert AdaptConfig("data", epochs=2) == AdaptConfig("data", epochs=2.0)
    assert json.dumps(AdaptConfig("data", epochs=2).as_dict()) == json.dumps(AdaptConfig("data", epochs=2.0).as_dict())


@pytest.mark.parametrize("name, value", [("split", "rows"), ("loss", "mnr"), ("precision", 16), ("teacher", "me")])
def test_a_choice_outside_the_list_is_refused_with_the_list(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=re.escape(f"{name} is {value!r}; it must be one of [")) as refused:
        AdaptConfig("data", **{name: value})
    assert repr(AdaptConfig("data").as_dict()[name]) in str(refused.value)


@pytest.mark.parametrize("name, value", [("warmup_steps", "nan"), ("warmup_steps", "inf"), ("dev_share", "nan")])
def test_a_number_that_is_not_finite_is_refused(name: str, value: str) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}; it must be a finite number"):
        AdaptConfig("data", **{name: float(value)})


# what does nothing


@pytest.mark.parametrize("teacher", NEEDED)
@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ("source", "preset", "teacher")])
def test_a_setting_that_does_nothing_with_the_teacher_is_refused_by_name(name: str, teacher: str) -> None:
    """Whatever the teacher does not read is refused where it says something, and passed over where it says nothing."""
    made = config(teacher)
    default = SETTINGS[name].spec.default
    if name in made.as_dict():
        return
    assert config(teacher, **{name: default}) == made
    others = [other for other in NEEDED if name in config(other).as_dict()]
    expected = f"{name} does nothing with teacher {teacher}; leave it out, or choose teacher {' or '.join(others)}"
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        config(teacher, **{name: _another(name)})


def _another(name: str) -> Any:
    """A valid value of a setting that is not its default."""
    each = SETTINGS[name]
    default = each.spec.default
    if isinstance(default, bool):
        return not default
    if isinstance(default, str):
        return {"split": "random", "mine_within": "corpus"}.get(name, "1-2")
    return each.spec.metadata["least"] if default != each.spec.metadata["least"] else default + 1


def test_all_that_does_nothing_is_named_at_once() -> None:
    with pytest.raises(InputError, match=r"^budget_calls, decay, llm do nothing with teacher gold; .* teacher llm or "):
        AdaptConfig("data", llm="x", decay=1.0, budget_calls=3)
    with pytest.raises(InputError, match=r"^drop_leaks, same_document do nothing with teacher cross-enc.* gold or llm"):
        config("cross-encoder", drop_leaks=True, same_document=True)


@pytest.mark.parametrize("teacher", ["llm", "cross-encoder"])
def test_documents_are_split_by_time_with_any_teacher_and_by_row_with_none(teacher: str) -> None:
    assert config(teacher, split="time").supervision.data.split == "time"
    with pytest.raises(InputError, match=f"split is 'random', which goes by labelled rows; with teacher {teacher}"):
        config(teacher, split="random")


def test_what_only_an_llm_does_is_refused_beside_a_cross_encoder_without_one() -> None:
    idle = {"passages": 9, "styles": "keyword", "round_trip": 0, "endpoint": "x", "budget_calls": 1}
    for name, value in idle.items():
        expected = f"{name} does nothing with teacher cross-encoder and no llm; leave it out, or choose teacher llm"
        with pytest.raises(InputError, match=f"^{expected}$"):
            config("cross-encoder", **{name: value})
    assert config("cross-encoder", llm="writer", **idle).passages == 9
    # what queries from a log are dealt out by has a say without an LLM, too
    made = config("cross-encoder", query_log="log.txt", dev_share=0.2, seed=7, near_duplicate=0.8)
    assert made.supervision.synthesis.dev_share == 0.2


# what does not go together


def test_dev_and_test_must_leave_something_to_train_on() -> None:
    for teacher in NEEDED:
        with pytest.raises(InputError, match=r"dev_share \+ test_share is 0\.9; at most 0\.8"):
            config(teacher, dev_share=0.4, test_share=0.5)
        assert config(teacher, dev_share=0.3, test_share=0.5).test_share == 0.5


@pytest.mark.parametrize("name", ["hard_positive_ranks", "hard_negative_ranks", "easy_negative_ranks"])
def test_a_window_beyond_the_depth_is_refused_with_both_numbers(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is 5-101, beyond depth 100; raise depth or lower the window"):
        AdaptConfig("data", **{name: "5-101"})
    assert getattr(AdaptConfig("data", **{name: "5-101"}, depth=101), name) == "5-101"
    with pytest.raises(InputError, match="rank window '6' is not of the form 6-100"):
        AdaptConfig("data", **{name: "6"})


@pytest.mark.parametrize(
    "teacher, given, problem",
    [
        ("gold", {"loss": "gist", "negatives": 2}, "negatives is 2; the gist loss takes 0 or 1 mined negative a row"),
        ("gold", {"loss": "margin-mse"}, "loss margin-mse does not go with teacher gold"),
        ("llm", {"loss": "margin-mse"}, "loss margin-mse does not go with teacher llm"),
        ("cross-encoder", {"loss": "infonce"}, "loss infonce does not go with teacher cross-encoder"),
        ("cross-encoder", {"negatives": 0}, "negatives is 0; margin-mse needs at least 1"),
        ("llm", {"loss": "listwise", "negatives": 0}, "negatives is 0; listwise needs at least 1"),
        (
            "gold",
            {"loss": "graded-bce"},
            "loss graded-bce does not go with teacher gold; choose one of infonce, ",
        ),
        ("cross-encoder", {"cross_encoder": ""}, "teacher cross-encoder needs cross_encoder: the folder of a"),
        ("llm", {"llm": ""}, "teacher llm needs llm: a GGUF file, or the name of the model at the endpoint"),
        ("llm", {"seeds": 2}, "seeds is 2; only runs with labels are repeated"),
        ("cross-encoder", {"seeds": 2}, "seeds is 2; only runs with labels are repeated"),
    ],
)
def test_what_does_not_go_together_is_refused(teacher: str, given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(problem)}"):
        config(teacher, **given)


def test_a_cross_encoder_trains_on_its_scores_without_being_told() -> None:
    assert config("cross-encoder").loss == config("cross-encoder").training.loss == "margin-mse"
    assert config("cross-encoder", loss="margin-mse") == config("cross-encoder")


@pytest.mark.parametrize("teacher, loss", [("llm", "listwise"), ("llm", "graded-bce"), ("cross-encoder", "listwise")])
def test_a_loss_of_lists_has_lists_of_four_unless_something_else_is_given(teacher: str, loss: str) -> None:
    made = config(teacher, loss=loss)
    assert made.negatives == made.supervision.selecting.negatives == 3
    assert made.changed(rounds=1).negatives == 3
    assert config(teacher, loss=loss, negatives=1).negatives == 1
    assert config(teacher).negatives == 1


# copies, and the way through JSON


@pytest.mark.parametrize("teacher", NEEDED)
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_settings_outlive_json(teacher: str, preset: str, tmp_path: Path) -> None:
    made = config(teacher, preset=preset, seed=7, general=("a", "b"), epochs=3)
    shown = made.as_dict()
    again = AdaptConfig(**json.loads(json.dumps(shown)))
    assert again == made and again.as_dict() == shown and hash(again) == hash(made) and again != config(teacher)
    assert again.supervision == made.supervision and again.training == made.training
    assert again.general == ("a", "b") and shown["general"] == ["a", "b"]
    write_json(tmp_path / "config.json", shown)
    assert AdaptConfig(**read_settings(tmp_path / "config.json")) == made
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(shown))
    assert AdaptConfig(**read_settings(tmp_path / "config.yaml")) == made
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made


@pytest.mark.parametrize("teacher", NEEDED)
def test_a_changed_copy_keeps_all_other_settings(teacher: str) -> None:
    made = config(teacher, preset="gold-triplet", batch_size=16)
    assert made.changed(seed=7).as_dict() == {**made.as_dict(), "seed": 7}
    assert made.changed() == made
    with pytest.raises(InputError, match="seed is -1"):
        made.changed(seed=-1)


def test_settings_are_shown_whole() -> None:
    assert repr(AdaptConfig("data", seed=7)).startswith("AdaptConfig({'source': 'data', ")
    assert "'seed': 7" in repr(AdaptConfig("data", seed=7))
    assert AdaptConfig("data") != "data"


# files


@pytest.mark.parametrize(
    "text, found",
    [
        ("rounds: 3\nlearning-rate: 1e-4\nbatch_size: 8", {"rounds": 3, "learning_rate": 1e-4, "batch_size": 8}),
        ("general: [a, b]\nneighbour:\n  - c\n", {"general": ["a", "b"], "neighbour": ["c"]}),
        ('{"rounds": 3, "epochs": 1e-1}', {"rounds": 3, "epochs": 0.1}),
        ("dropout: yes\nhard_positive_ranks: 6-20", {"dropout": True, "hard_positive_ranks": "6-20"}),
        ("# all by itself\nsource: a.jsonl\nprices: 0.15/0.60", {"source": "a.jsonl", "prices": "0.15/0.60"}),
        ("unknown-name: 1e-4", {"unknown_name": "1e-4"}),
    ],
)
def test_a_file_of_settings_is_yaml_or_json(text: str, found: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "settings").write_text(text)
    assert read_settings(tmp_path / "settings") == found


@given(st.floats(0.001, 1000))
def test_every_float_is_read_as_yaml_writes_it(value: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for text in (yaml.safe_dump({"epochs": value}), f"epochs: {value:e}", json.dumps({"epochs": value})):
            path = Path(folder) / "settings"
            path.write_text(text)
            assert read_settings(path)["epochs"] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    "content, problem",
    [
        (None, "cannot be read: "),
        (b"\xff\xfe\x00", "cannot be read: "),
        (b"rounds: [1", "cannot be read: "),
        (b"", "holds no settings; it must map names to values, as in 'rounds: 2'"),
        (b"- rounds\n- 2", "holds no settings"),
        (b"rounds", "holds no settings"),
        (b"2: rounds", "holds no settings"),
        (b"epochs: much", "epochs is 'much'; it must be a number"),
        (b"!!python/object/apply:os.getcwd []", "cannot be read: "),
    ],
)
def test_a_file_without_settings_is_refused(content: bytes | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^--config {re.escape(str(path))}:? {re.escape(problem)}"):
        read_settings(path)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("source: a\nrounds: many", "rounds is 'many'; it must be of type int"),
        ("source: a\ngeneral: one", "general is 'one'; it must be a list of texts"),
        ("source: a\nguide:", "guide is None; it must be of type str"),
        ("source: a\nroundz: 2", "unknown settings ['roundz']"),
    ],
)
def test_what_a_file_says_is_checked_as_any_other_setting(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "settings").write_text(text)
    with pytest.raises(InputError, match=f"^{re.escape(problem)}"):
        AdaptConfig(**read_settings(tmp_path / "settings"))


# windows of ranks


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_window_is_read_in_order_and_refused_backwards(one: int, other: int) -> None:
    first, last = sorted((one, other))
    assert ranks(f"{first}-{last}") == (first, last)
    if first < last:
        with pytest.raises(InputError, match=f"rank window '{last}-{first}' is not of the form 6-100"):
            ranks(f"{last}-{first}")


@pytest.mark.parametrize(
    "window", ["", "6", "6-", "-6", "0-5", "6-a", "1-2-3", "6 - 100", "6:100", "1.0-2", "²-5", "1-" + "9" * 5000, "٣-٥"]
)
def test_what_is_no_window_is_refused_naming_it(window: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"rank window {window!r} is not of the form 6-100")):
        ranks(window)


def test_the_settings_of_a_class_are_those_of_its_parts() -> None:
    for teacher, kind in SUPERVISIONS.items():
        own = settings_of(*module._COMMON, kind)
        assert list(config(teacher).as_dict()) == list(own)
