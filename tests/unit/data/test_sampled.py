"""How many examples of each domain joint training draws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.artifacts import Examples, Queries
from denizen.data.sampled import DomainSampling, Sampled, sample_domains, shares
from denizen.data.tables import each, rows_table, write_table
from denizen.engine.step import Context


@pytest.mark.parametrize(
    ("temperature", "drawn"),
    # 900 and 100: as they are; roots 30 and 10; nearly alike
    [(1.0, {"a": 900, "b": 100}), (2.0, {"a": 750, "b": 250}), (100.0, {"a": 505, "b": 495})],
)
def test_shares_go_from_what_there_is_to_all_alike(temperature: float, drawn: dict[str, int]) -> None:
    """At T = 100: 900^.01 = 1.0704 and 100^.01 = 1.0471, so 505.5 and 494.5 of 1,000; the tie goes to the first."""
    found = shares({"a": 900, "b": 100}, temperature)
    assert sum(found.values()) == 1000 and all(abs(found[name] - drawn[name]) <= 1 for name in drawn)


@given(st.dictionaries(st.text("abcd", min_size=1), st.integers(1, 10_000), min_size=1), st.floats(1, 100))
def test_as_many_are_drawn_as_there_are_and_the_fewest_no_more_seldom(
    counts: dict[str, int], temperature: float
) -> None:
    found = shares(counts, temperature)
    assert sum(found.values()) == sum(counts.values()) and min(found.values()) >= 1
    fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    assert found[fewest] >= counts[fewest] - 1 and found[most] <= counts[most] + 1


def sampled(folder: Path, seed: int = 0) -> tuple[Sampled, dict]:
    ids = [f"big/q{at}" for at in range(90)] + [f"small/q{at}" for at in range(10)]
    rows = [{"query_id": name, "positive_id": f"{name}-d", "negative_ids": []} for name in ids]
    write_table(folder / "examples.parquet", rows_table("examples", rows))
    asked = [{"query_id": name, "text": name, "domain": "as the source says", "split": "train"} for name in ids]
    write_table(folder / "queries.parquet", rows_table("queries", asked))
    out = folder / f"out-{seed}"
    out.mkdir()
    given_ = {"examples": Examples.outside(folder / "examples.parquet")}
    given_["queries"] = Queries.outside(folder / "queries.parquet")  # type: ignore[assignment]
    facts = sample_domains(out, DomainSampling(seed=seed, sampling_temperature=2.0), Context(), **given_)
    return Sampled.outside(out), facts


def test_a_small_domain_repeats_and_a_large_one_loses(tmp_path: Path) -> None:
    """Roots 9.487 and 3.162 of 100: 75 and 25, so each of the 10 twice and half of them a third time."""
    found, facts = sampled(tmp_path)
    ids = found.examples.table["query_id"].to_pylist()
    times = Counter(name for name in ids if name.startswith("small/"))
    assert facts["drawn"] == {"big": 75, "small": 25} and facts["had"] == {"big": 90, "small": 10}
    assert Counter(times.values()) == {2: 5, 3: 5} and len(times) == 10
    large = [name for name in ids if name.startswith("big/")]
    assert len(large) == len(set(large)) == 75
    assert {name.partition("/")[0] == domain for name, domain in each(found.queries.table, "query_id", "domain")} == {
        True
    }


def test_a_seed_decides_what_is_drawn(tmp_path: Path) -> None:
    one, other = (sampled(tmp_path, seed)[0].examples.table["query_id"].to_pylist() for seed in (1, 2))
    assert one != other and len(one) == len(other) == 100
