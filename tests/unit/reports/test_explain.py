"""What a query and its training come from, of a run made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from denizen.engine.errors import InputError
from denizen.reports.explain import explain, explain_lines
from denizen.reports.finished_run import FinishedRun


def test_from_a_query_to_passages_grades_replies_and_steps(run: Path) -> None:
    found = explain(run, "q1")
    assert "\n".join(explain_lines(found)) == "\n".join(
        [
            "query q1  (train, origin: the source)",
            "  what is alpha",
            "written for",
            "  a  (document paper-a, characters 0 to 5)",
            "    alpha",
            "    grade 4 by judge in round-0/judgments, price 0.500000",
            '    its reply (2026-11-28): {"grade": 4}',
            "trained on in round 1 (hard)",
            "  positive",
            "    a  (document paper-a, characters 0 to 5)",
            "      alpha",
            "      grade 4 by judge in round-0/judgments, price 0.500000",
            '      its reply (2026-11-28): {"grade": 4}',
            "  negative",
            "    c  (document paper-c, characters 0 to 5)",
            "      gamma",
            "      score 0.125 by judge in round-0/judgments, price 0.500000",
            "2 passages judged for it, 1.000000 in all",
            "examples made by corpus (1.5 s), synthesis (1.5 s), round-0/judgments (1.5 s), round-0/examples (1.5 s)",
        ]
    )
    assert json.loads(json.dumps(found)) == found


def test_ranks_of_a_test_query_and_no_steps_for_what_was_not_trained_on(run: Path) -> None:
    found = explain(run, "q2")
    assert found["test"]["ranks"] == {"base": 2, "adapted": 1}
    assert [passage["doc_id"] for passage in found["test"]["relevant"]] == ["b"]
    lines = explain_lines(found)
    assert "test: rank of the first relevant passage: base 2, adapted 1" in lines
    assert lines[-1] == "not trained on" and found["steps"] == []


def test_an_unknown_query_is_named_with_some_that_are_there(run: Path) -> None:
    with pytest.raises(InputError, match="no query 'q9'; it has 3, such as q1, q2, q3"):
        explain(run, "q9")


def test_the_store_of_replies_is_where_the_settings_say_or_gone(run: Path, tmp_path: Path) -> None:
    (run / "replies.sqlite").rename(tmp_path / "shared.sqlite")
    assert FinishedRun(run).replies({"key"}) == {}
    assert not (run / "replies.sqlite").exists()
    (run / "config.json").write_text(json.dumps({"replies": str(tmp_path / "shared.sqlite")}))
    assert FinishedRun(run).replies({"key", "other"})["key"].text == '{"grade": 4}'


def test_of_a_merge_the_examples_of_its_last_round_and_of_the_base_none(run: Path) -> None:
    found = FinishedRun(run)
    assert found.examples_at == "round-0/examples"
    point = {"chosen": True, "merge": {"rounds": [1, 3]}}
    found = FinishedRun(run)
    found.metrics |= {"gate": {"points": [{"chosen": False, "merge": {"rounds": [5]}}, point]}}
    assert found.examples_at == "round-2/examples"
    with pytest.raises(InputError, match=r"round-2/examples/examples\.parquet does not exist"):
        _ = found.examples
    found = FinishedRun(run)
    found.metrics |= {"chosen": "base"}
    assert (found.examples_at, found.examples) == (None, [])
