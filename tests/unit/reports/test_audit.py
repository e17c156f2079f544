"""The lines of an audit and of a comparison without labels."""

from __future__ import annotations

from typing import Any

from denizen.reports.audit import audit_lines
from denizen.reports.pool import pool_lines

KAPPA = {"value": 0.5, "low": 0.25, "high": 0.75, "agreement": 0.8, "pairs": 60, "reason": ""}
RATE = {"value": 0.9, "low": 0.8, "high": 0.95, "count": 40}


def test_an_audit_shows_what_was_measured_and_the_headline_last() -> None:
    found = {
        "llm": "tiny",
        "pairs": 60,
        "again": {"kappa": KAPPA},
        "people": {"kappa": {**KAPPA, "value": None, "reason": "too few"}, "sensitivity": RATE, "specificity": None},
        "planted": {"own passage": RATE, "random passage": None},
        "decoys": {"a long passage": RATE, "an order": None, "fooled": RATE},
        "headline": "kappa with itself",
    }
    assert audit_lines(found) == [
        "judge tiny, 60 pairs of the run",
        "  asked again                              kappa 0.50 [0.25, 0.75], agreement 80% of 60",
        "  against people                           kappa undefined (too few)",
        "  planted own passage                      90.0% right [80.0%, 95.0%] of 40",
        "  fooled by a long passage                 90.0% [80.0%, 95.0%] of 40",
        "  sensitivity against people 90.0% [80.0%, 95.0%]",
        "kappa with itself",
    ]


def test_an_exported_sheet_comes_back_by_people() -> None:
    assert audit_lines({"exported": 60}) == ["60 pairs for people to grade; give the sheet back with --people"]


def test_a_comparison_shows_each_model_and_its_difference_to_the_first() -> None:
    moments = {"mean": 0.5, "standard_error": 0.01}
    part: dict[str, Any] = {
        "pairs": 50,
        "ended": "all pairs were graded",
        "not_wholly_graded": 2,
        "means": {"MRR@5": {"base": moments, "run/model": moments}},
        "differences": {"MRR@5": {"run/model": {"value": 0.1, "low": -0.05, "high": 0.2}}},
        "by_domain": {},
    }
    lines = [
        "graded by other, 30 fresh queries on held-out documents",
        "random (query, document) pairs: 50 graded; 2 failed; all pairs were graded",
        "  MRR@5  0.500 +- 0.010  base",
        "  MRR@5  0.500 +- 0.010  run/model  +0.100 [-0.050, +0.200]",
    ]
    found: dict[str, Any] = {"judge": "other", "queries": 30, "random": part}
    assert pool_lines(found) == lines
    told = pool_lines(found | {"disagreeing": {**part, "not_wholly_graded": 0}})
    assert told[4] == "disagreeing (query, document) pairs: 50 graded; optimistic; all pairs were graded"
    assert told[:4] == lines and told[5:] == lines[2:]
    by_domain = {"10-K": {**part, "pairs": 90, "enough": True}, "8-K": {**part, "pairs": 20, "enough": False}}
    assert pool_lines(found | {"random": {**part, "by_domain": by_domain}})[4:] == [
        "  10-K     90 pairs  MRR@5  0.500 -> 0.500  run/model  +0.100 [-0.050, +0.200]",
        "  8-K      20 pairs  MRR@5  0.500 -> 0.500  run/model  +0.100",
    ]
