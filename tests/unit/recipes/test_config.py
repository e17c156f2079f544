import dataclasses
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.recipes.config import PANELS, PRESETS, AdaptConfig, ranks

BOUNDED = [
    (spec.name, spec.metadata["least"], spec.metadata["most"])
    for spec in dataclasses.fields(AdaptConfig)
    if spec.metadata["least"] is not None
]


def test_the_default_preset_leaves_every_default():
    assert AdaptConfig("data") == AdaptConfig(source="data")


def test_gold_triplet_holds_the_published_values():
    config = AdaptConfig("data", preset="gold-triplet")
    assert config.preset == "gold-triplet"
    assert (config.loss, config.margin, config.learning_rate, config.batch_size) == ("triplet", 0.1, 5e-5, 8)
    assert (config.epochs, config.rounds, config.warmup_steps, config.easy_per_hard) == (2.0, 2, 100.0, 2.0)
    assert (config.hard_positive_ranks, config.hard_negative_ranks) == ("6-100", "1-15")
    assert config.easy_negative_ranks == "16-100"


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_class_itself_fills_in_the_preset_too(preset):
    assert AdaptConfig("data", preset=preset, seed=7) == AdaptConfig("data", preset=preset, seed=7)
    assert AdaptConfig("data", preset=preset).only(*PRESETS[preset]) == PRESETS[preset]


def test_a_changed_copy_keeps_all_other_settings():
    config = AdaptConfig("data", preset="gold-triplet", batch_size=16)
    assert dataclasses.replace(config, seed=7).as_dict() == {**config.as_dict(), "seed": 7}


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_valid_and_holds_what_it_names(preset):
    config = AdaptConfig("data", preset=preset)
    assert config.only(*PRESETS[preset]) == PRESETS[preset]


def test_a_given_setting_wins_over_the_preset():
    config = AdaptConfig("data", preset="gold-triplet", batch_size=16)
    assert config.batch_size == 16
    assert config.loss == "triplet"


def test_an_unknown_preset_is_refused_naming_those_there_are():
    with pytest.raises(InputError, match=r"preset 'gold' is unknown; there are \['default', 'gold-triplet'\]"):
        AdaptConfig("data", preset="gold")


def test_unknown_settings_are_refused_naming_all_of_them_and_those_there_are():
    with pytest.raises(InputError, match=r"unknown settings \['batchsize', 'lr'\]; there are .*'batch_size'"):
        AdaptConfig("data", lr=1, batchsize=2)


def _just_outside(bound, direction):
    return bound + direction * (1 if isinstance(bound, int) else 0.0005)


def _expected(name, value, least, most):
    limit = f"at least {least:.12g}" if most is None else f"between {least:.12g} and {most:.12g}"
    return re.escape(f"{name} is {value}; it must be {limit}")


@pytest.mark.parametrize("name, least, most", BOUNDED)
def test_a_value_below_its_bound_is_refused_with_value_and_limit(name, least, most):
    value = _just_outside(least, -1)
    with pytest.raises(InputError, match=_expected(name, value, least, most)):
        AdaptConfig("data", **{name: value})


@pytest.mark.parametrize("name, least, most", [entry for entry in BOUNDED if entry[2] is not None])
def test_a_value_above_its_bound_is_refused_with_value_and_limit(name, least, most):
    value = _just_outside(most, 1)
    with pytest.raises(InputError, match=_expected(name, value, least, most)):
        AdaptConfig("data", **{name: value})


@pytest.mark.parametrize("name, value", [(n, b) for n, least, most in BOUNDED for b in (least, most)])
def test_a_bound_itself_is_allowed(name, value):
    if value is None:
        value = 10**6
    others = {"hard_positive_ranks": "6-10", "hard_negative_ranks": "1-5", "easy_negative_ranks": "6-10"}
    config = AdaptConfig("data", **{**others, name: value})
    assert getattr(config, name) == value


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
def test_a_refusal_names_the_value_and_the_limit(name, value, limit):
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
def test_a_value_of_another_type_is_refused_naming_the_type(name, value, kind):
    with pytest.raises(InputError) as refused:
        AdaptConfig("data", **{name: value})
    assert str(refused.value) == f"{name} is {value!r}; it must be of type {kind}"


def test_a_whole_number_stands_for_a_float():
    assert AdaptConfig("data", epochs=2).epochs == 2


@pytest.mark.parametrize("name, value", [("split", "rows"), ("loss", "mnr"), ("precision", 16)])
def test_a_choice_outside_the_list_is_refused_with_the_list(name, value):
    with pytest.raises(InputError, match=re.escape(f"{name} is {value!r}; it must be one of [")) as refused:
        AdaptConfig("data", **{name: value})
    default = AdaptConfig("data").as_dict()[name]
    assert repr(default) in str(refused.value)


def test_dev_and_test_must_leave_something_to_train_on():
    with pytest.raises(InputError, match=r"dev_share \+ test_share is 0\.9; at most 0\.8"):
        AdaptConfig("data", dev_share=0.4, test_share=0.5)
    assert AdaptConfig("data", dev_share=0.3, test_share=0.5).test_share == 0.5


@pytest.mark.parametrize("name", ["hard_positive_ranks", "hard_negative_ranks", "easy_negative_ranks"])
def test_a_window_beyond_the_depth_is_refused_with_both_numbers(name):
    with pytest.raises(InputError, match=f"{name} is 5-101, beyond depth 100; raise depth or lower the window"):
        AdaptConfig("data", **{name: "5-101"})
    assert getattr(AdaptConfig("data", **{name: "5-101"}, depth=101), name) == "5-101"


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_window_is_read_in_order_and_refused_backwards(one, other):
    first, last = sorted((one, other))
    assert ranks(f"{first}-{last}") == (first, last)
    if first < last:
        with pytest.raises(InputError, match=f"rank window '{last}-{first}' is not of the form 6-100"):
            ranks(f"{last}-{first}")


@pytest.mark.parametrize("window", ["", "6", "6-", "-6", "0-5", "6-a", "1-2-3", "6 - 100", "6:100", "1.0-2"])
def test_what_is_no_window_is_refused_naming_it(window):
    with pytest.raises(InputError, match=re.escape(f"rank window {window!r} is not of the form 6-100")):
        ranks(window)


def test_the_settings_survive_json():
    config = AdaptConfig("data", preset="gold-triplet", seed=7)
    assert AdaptConfig(**json.loads(json.dumps(config.as_dict()))) == config


def test_only_gives_the_named_settings_and_no_others():
    assert AdaptConfig("data", seed=7).only("seed", "loss") == {"seed": 7, "loss": "infonce"}


def test_every_setting_has_a_help_text():
    assert [spec.name for spec in dataclasses.fields(AdaptConfig) if not spec.metadata["help"].strip()] == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["warmup_steps", "dev_share"])
def test_a_number_that_is_not_finite_is_refused(name, value):
    if name == "dev_share" and value == float("inf"):
        name = "warmup_steps"
    with pytest.raises(InputError, match=f"{name} is {value}"):
        AdaptConfig("data", **{name: value})


@pytest.mark.parametrize("window", ["²-5", "1-" + "9" * 5000, "٣-٥"])
def test_a_window_of_digits_that_are_no_number_here_is_refused(window):
    with pytest.raises(InputError, match="rank window"):
        ranks(window)


def test_every_setting_stands_in_one_group_of_the_help() -> None:
    grouped = [name for names in PANELS.values() for name in names]
    assert sorted(grouped) == sorted({spec.name for spec in dataclasses.fields(AdaptConfig)} - {"source"})
