"""The settings of domains: what there is beside those of experts, and what does nothing here."""

from __future__ import annotations

import pytest

from denizen.engine.errors import InputError
from denizen.recipes.domains_config import DOMAINS_SETTINGS, DomainsConfig


def test_settings_have_flat_names_and_come_back_from_what_is_kept() -> None:
    config = DomainsConfig(["a", "b"], router="knn", sampling_temperature=1.0, tolerance=0.02, seed=3)
    assert (config.routing.router, config.sampling.sampling_temperature) == ("knn", 1.0)
    assert {config.routing.seed, config.sampling.seed, config.recommending.seed, config.training.seed} == {3}
    kept = config.as_dict()
    assert set(kept) == set(DOMAINS_SETTINGS) and DomainsConfig(**kept) == config


@pytest.mark.parametrize("name", ["llm_queries", "near_base"])
def test_what_does_nothing_here_is_no_setting(name: str) -> None:
    with pytest.raises(InputError, match=f"unknown settings .'{name}'"):
        DomainsConfig(["a", "b"], **{name: 30})
