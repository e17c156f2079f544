"""The settings of experts: what goes together, and how many examples a cap on steps leaves."""

from __future__ import annotations

import pytest

from denizen.engine.errors import InputError
from denizen.recipes.config import AdaptConfig
from denizen.recipes.experts_config import EXPERTS_SETTINGS, EXPERTS_WITHOUT_EFFECT, ExpertsConfig


def test_settings_have_flat_names_and_come_back_from_what_is_kept() -> None:
    config = ExpertsConfig(["a", "b"], expert_steps=60, search="random", dev_passages=300)
    assert (config.expert_steps, config.merging.search, config.dev_size.dev_passages) == (60, "random", 300)
    kept = config.as_dict()
    assert set(kept) == set(EXPERTS_SETTINGS) and ExpertsConfig(**kept) == config
    assert config.changed(seed=7).training.seed == 7 != config.seed


def test_one_name_is_one_setting_in_all_parts() -> None:
    config = ExpertsConfig(["a", "b"], seed=3, batch_size=8)
    assert {config.training.seed, config.merging.seed, config.dev_size.seed, config.supervision.data.seed} == {3}


def test_settings_that_are_those_of_adapt_have_its_defaults_but_for_the_papers_epoch() -> None:
    ours, theirs = ExpertsConfig(["a", "b"]), AdaptConfig("a")
    shared = set(ours.as_dict()) & set(theirs.as_dict())
    assert {name for name in shared if getattr(ours, name) != getattr(theirs, name)} == {"epochs", "merge_evaluations"}
    assert ours.epochs == 1.0


def test_what_does_nothing_here_is_no_setting() -> None:
    for name in ("near_base", "margin", "rounds", "teacher", "general"):
        with pytest.raises(InputError, match=f"unknown settings .'{name}'"):
            ExpertsConfig(["a", "b"], **{name: 1})


def test_where_and_how_it_works_has_no_effect() -> None:
    assert set(EXPERTS_WITHOUT_EFFECT) == {"memory_mb", "store"}


@pytest.mark.parametrize(
    ("steps", "epochs", "most"), [(60, 1.0, 60 * 8), (60, 2.0, 30 * 8), (60, 0.5, 120 * 8), (1, 3.0, 8), (0, 1.0, None)]
)
def test_a_cap_on_steps_is_one_on_examples(steps: int, epochs: float, most: int | None) -> None:
    """So many batches of 8 that one epoch, or two, or half of one, take that many steps."""
    config = ExpertsConfig(["a", "b"], expert_steps=steps, epochs=epochs, batch_size=8)
    assert config.most_examples == most
    if most and epochs <= steps:
        assert config.training.steps(most) == steps


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"sources": []}, "there is no source"),
        ({"slices": "kind"}, "there are 2 sources"),
        ({"loss": "triplet"}, "trained by infonce or cached-infonce"),
        ({"hard_negative_ranks": "1-300"}, "beyond depth 100"),
        ({"search": "bayes"}, "must be one of"),
        ({"merge_evaluations": 0}, "must be between 1 and 1000"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict, why: str) -> None:
    with pytest.raises(InputError, match=why):
        ExpertsConfig(**{"sources": ["a", "b"], **given})
