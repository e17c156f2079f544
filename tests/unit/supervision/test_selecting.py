"""Rank windows, and how the examples of several rounds are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from denizen.data.artifacts import Examples
from denizen.data.tables import read_table
from denizen.engine.errors import InputError
from denizen.supervision.examples import Example
from denizen.supervision.selecting import Selecting, ranks, write_examples

from .asked_steps import Heard


@pytest.mark.parametrize("window", ["", "6", "6-", "-6", "0-5", "7-6", "6-a", "1-2-3", "6 - 100", "1.0-2", "²-5"])
def test_what_is_no_window_is_refused_naming_it(window: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"rank window {window!r} is not of the form 6-100")):
        ranks(window)
    assert (ranks("6-100"), ranks("3-3")) == ((6, 100), (3, 3))


def test_a_round_is_written_with_all_before_it_and_counted(tmp_path: Path) -> None:
    first = [Example("q1", "d1", ("d2",), "hard", ""), Example("q2", "d3", (), "easy", "")]
    again = [Example("q1", "d1", ("d2",), "hard", ""), Example("q1", "d1", ("d4",), "easy", "")]
    heard, folders = Heard(), [tmp_path / name for name in ("first", "again", "bare")]
    for folder in folders:
        folder.mkdir()
    made = write_examples(folders[0], first, 0, None, heard, bare=False)
    assert made == {"examples": 2, "new": 2, "hard": 1, "easy": 1, "without_negative": 0}
    later = write_examples(folders[1], again, 1, Examples.outside(folders[0]), heard, bare=False)
    assert later == {"examples": 3, "new": 2, "hard": 1, "easy": 2, "without_negative": 0}
    rows = read_table(folders[1] / "examples.parquet", "examples").to_pylist()
    assert [(row["query_id"], row["negative_ids"], row["round"]) for row in rows] == [
        ("q1", ["d2"], 0),
        ("q2", [], 0),
        ("q1", ["d4"], 1),
    ]
    assert heard.notes == [
        "2 examples: 1 hard, 1 easy; mined in this round: 2",
        "3 examples: 1 hard, 2 easy; mined in this round: 2",
    ]
    assert write_examples(folders[2], first, 0, None, heard, bare=True)["without_negative"] == 1
    assert heard.notes[-1] == "1 without a mined negative"


@pytest.mark.parametrize(
    ("settings", "examples", "texts"),
    [
        ({}, 20, 2),
        ({"negatives": 3, "positives": 2}, 40, 4),
        ({"positives": 0}, 20, 2),
        # a hard and an easy triplet
        ({"loss": "triplet", "negatives": 3}, 40, 2),
    ],
)
def test_a_plan_counts_examples_and_their_texts(settings: dict[str, int], examples: int, texts: int) -> None:
    assert Selecting(**settings).planned(10, 2) == {"examples": examples, "texts_a_row": texts}  # type: ignore[arg-type]
