"""Settings are checked when they are made, composed of parts, and shown as JSON keeps them."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, dataclass, field, replace
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.settings import Params, Seeded, check_names, setting, settings_of


@dataclass(frozen=True)
class Where(Params):
    panel: ClassVar[str] = "Machine"
    effect: ClassVar[bool] = False

    store: str = setting("", "Where.", metavar="FOLDER")


@dataclass(frozen=True)
class Loss(Params):
    panel: ClassVar[str] = "Training"

    loss: Literal["one", "other"] = setting("one", "Which.")


@dataclass(frozen=True)
class Training(Loss, Seeded):
    panel: ClassVar[str] = "More training"

    rate: float = setting(0.5, "How fast.", least=0, most=1)
    share: float = setting(0.0, "No end.", least=0, panel="Elsewhere")
    steps: int = setting(3, "How long.", least=1, most=9)
    dropout: bool = setting(False, "Whether.")


@dataclass(frozen=True)
class Mining(Loss):
    depth: int = setting(100, "How deep.", least=1)


@dataclass(frozen=True)
class Whole(Params):
    source: str = setting(MISSING, "What.")
    names: tuple[str, ...] = setting((), "Of what.")
    training: Training = field(default_factory=Training)
    mining: Mining = field(default_factory=Mining)
    where: Where = field(default_factory=Where)


NAMES = ["source", "names", "seed", "loss", "rate", "share", "steps", "dropout", "depth", "store"]
flat = st.fixed_dictionaries(
    {"source": st.text()},
    optional={
        "names": st.lists(st.text(max_size=3), max_size=3),
        "loss": st.sampled_from(["one", "other"]),
        "seed": st.integers(0, 2**31),
        "rate": st.floats(0, 1) | st.integers(0, 1),
        "share": st.floats(0, allow_infinity=False) | st.integers(0, 10**300),
        "steps": st.integers(1, 9),
        "dropout": st.booleans(),
        "depth": st.integers(1),
        "store": st.text(),
    },
)


@given(flat)
def test_settings_outlive_flat_names_and_json(values: dict[str, Any]) -> None:
    made = Whole.of(values)
    shown = made.as_dict()
    assert set(shown) == set(NAMES) and {name: shown[name] for name in values} == values
    again = Whole.of(json.loads(json.dumps(shown)))
    assert again == made and json_digest(again.as_dict()) == json_digest(shown)
    # a name that several parts have means the same in all
    assert made.mining.loss == made.training.loss == shown["loss"]


@given(flat, flat)
def test_settings_are_equal_exactly_when_their_digests_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    """1 and 1.0 are one value of a float, so they must not be two to a fingerprint."""
    made = [Whole.of(values) for values in (one, other)]
    digests = [json_digest(each.as_dict()) for each in made]
    assert (made[0] == made[1]) == (digests[0] == digests[1])


def test_what_is_not_given_has_its_default_and_other_names_are_not_looked_at() -> None:
    made = Whole.of({"source": "here", "steps": 5, "unknown": 1})
    assert made == Whole("here", training=Training(steps=5))
    assert made.as_dict() == {
        "source": "here",
        "names": [],
        "loss": "one",
        "seed": 42,
        "rate": 0.5,
        "share": 0.0,
        "steps": 5,
        "dropout": False,
        "depth": 100,
        "store": "",
    }
    with pytest.raises(TypeError, match="source"):
        Whole.of({})


@pytest.mark.parametrize(
    "given, problem",
    [
        ({"rate": 1.5}, "rate is 1.5; it must be between 0 and 1"),
        ({"rate": -1}, "rate is -1; it must be between 0 and 1"),
        ({"share": -0.1}, "share is -0.1; it must be at least 0"),
        ({"steps": 0}, "steps is 0; it must be between 1 and 9"),
        ({"steps": 10}, "steps is 10; it must be between 1 and 9"),
        ({"seed": 2**31 + 1}, "seed is 2147483649; it must be between 0 and 2147483648"),
        ({"rate": float("nan")}, "rate is nan; it must be a finite number"),
        ({"share": float("inf")}, "share is inf; it must be a finite number"),
        ({"share": 10**400}, "share is 1000"),
        ({"steps": 2.0}, "steps is 2.0; it must be of type int"),
        ({"steps": True}, "steps is True; it must be of type int"),
        ({"rate": True}, "rate is True; it must be of type float"),
        ({"rate": "0.5"}, "rate is '0.5'; it must be of type float"),
        ({"rate": None}, "rate is None; it must be of type float"),
        ({"dropout": 1}, "dropout is 1; it must be of type bool"),
        ({"loss": "third"}, "loss is 'third'; it must be one of ['one', 'other']"),
        ({"loss": None}, "loss is None; it must be one of ['one', 'other']"),
    ],
)
def test_a_wrong_value_is_refused_with_the_limit(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(problem)}"):
        Training(**given)
    with pytest.raises(InputError, match=f"^{re.escape(problem)}"):
        replace(Training(), **given)
    with pytest.raises(InputError, match=f"^{re.escape(problem)}"):
        Whole.of({"source": "", **given})


@pytest.mark.parametrize("value", ["text", ("a", 1), [None], {"a": "b"}])
def test_a_list_of_texts_is_nothing_else(value: Any) -> None:
    with pytest.raises(InputError, match=re.escape(f"names is {value!r}; it must be a list of texts")):
        Whole("", names=value)


@pytest.mark.parametrize("given", [{"rate": 0}, {"rate": 1}, {"steps": 1}, {"steps": 9}, {"seed": 0}, {"seed": 2**31}])
def test_a_bound_itself_is_allowed(given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    assert getattr(Training(**given), name) == value


def test_a_whole_number_stands_for_a_float_and_becomes_one() -> None:
    assert isinstance(Training(rate=1).rate, float) and json_digest(Training(rate=1).as_dict()) == json_digest(
        Training(rate=1.0).as_dict()
    )


def test_settings_by_name_know_who_declares_them() -> None:
    found = settings_of(Whole)
    assert list(found) == NAMES
    owners = {name: each.owner for name, each in found.items()}
    assert owners["loss"] is Loss and owners["seed"] is Seeded and owners["rate"] is Training
    assert owners["depth"] is Mining and owners["store"] is Where and owners["source"] is Whole
    assert found["rate"].hint is float and found["names"].hint == tuple[str, ...]
    panels = {name: found[name].panel for name in ("loss", "seed", "rate", "share", "store", "source")}
    assert panels == {
        "loss": "Training",
        "seed": "Model and data",
        "rate": "More training",
        "share": "Elsewhere",
        "store": "Machine",
        "source": "",
    }
    assert [name for name, each in found.items() if each.required] == ["source"]
    assert [name for name, each in found.items() if not each.owner.effect] == ["store"]
    assert found["store"].spec.metadata["metavar"] == "FOLDER"


def test_the_first_of_a_name_counts() -> None:
    found = settings_of(Mining, Training)
    assert list(found) == ["loss", "depth", "seed", "rate", "share", "steps", "dropout"]
    assert found["loss"].owner is Loss


def test_unknown_names_are_refused_with_all_that_are_known() -> None:
    check_names({"rate": 1}, settings_of(Training))
    with pytest.raises(InputError, match=r"unknown settings \['lr', 'ratio'\]; there are .*'rate'"):
        check_names({"ratio": 1, "rate": 1, "lr": 1}, settings_of(Training))
