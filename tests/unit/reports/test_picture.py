"""The picture at the top: its figures are those of the run, said as ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from denizen.reports.finished_run import FinishedRun
from denizen.reports.picture import _band, _ranges, parts_picture, run_picture
from tests.unit.reports.conftest import CHANGE


def test_ranks_are_the_inverse_of_the_mean_reciprocal_rank(run: Path) -> None:
    """Base .75 is rank 1 / .75 = 1.3, and adapted 1.0 is rank 1."""
    found = run_picture(FinishedRun(run))
    assert found is not None
    assert (found.before, found.after) == ("1.3", "1.0")
    assert "MRR@5 0.750 → 1.000 (+0.250, 95 % interval +0.100 to +0.400), adapted against the base" in found.means
    assert "harmonic mean" in found.footnote


def test_where_the_base_is_shipped_there_is_none(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["shipped"]["name"] = "base"
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert run_picture(FinishedRun(run)) is None


@pytest.mark.parametrize(
    ("depth", "ranges"),
    [(100, [(1, 1), (2, 3), (4, 5), (6, 10), (11, 100)]), (5, [(1, 1), (2, 3), (4, 5)]), (1, [(1, 1)])],
)
def test_bands_end_where_systems_were_no_longer_asked(depth: int, ranges: list[tuple[int, int]]) -> None:
    assert _ranges(depth) == ranges
    # every rank has its band, and who was not found the last
    bands = [_band(rank, depth) for rank in (*range(1, depth + 1), None)]
    assert bands == sorted(bands) and bands[0] == 0 and bands[-1] == len(ranges)


def test_parts_weigh_the_same_and_the_base_has_no_picture() -> None:
    parts = {name: {"means": {"base": {"nDCG@10": 0.5}, "routed": {"nDCG@10": 0.7}}} for name in ("a", "b")}
    found = parts_picture(parts, "routed", "routing", (0.5, 0.7), CHANGE)
    assert found is not None and (found.what, found.before, found.after) == ("nDCG@10, mean of 2", "0.500", "0.700")
    assert parts_picture(parts, "base", "base", (0.5, 0.5), {}) is None
