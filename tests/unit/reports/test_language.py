"""What a run of `language` says of itself: the verdict and each warning, by figures made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from denizen.reports.language import _verdict, _warnings, language_headline


def apart(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high, "p": 0.01}


def made(**changed: Any) -> dict[str, Any]:
    """A run in which all went well."""
    figures = {
        "prompts": 240,
        "weights": 8e9,
        "groups": 40,
        "learnt": apart(-0.1, -0.2, -0.05),
        "tuned": apart(0.3, 0.2, 0.4),
        "kept": apart(0.0, -0.01, 0.01),
        "stops": 1.0,
        **changed,
    }
    accuracy = {"accuracy": apart(0.5, 0.4, 0.6)}
    pairs = [
        {"model": "pretrained", "against": "base", "bits_a_byte": figures["learnt"]},
        {"model": "instruct", "against": "base", "accuracy": figures["tuned"]},
        {
            "model": "residual",
            "against": "instruct",
            "accuracy": figures["kept"],
            "perplexity": apart(-0.2, -0.3, -0.1),
        },
    ]
    report = {
        "systems": {"base": accuracy, "instruct": {**accuracy, "stops": 1.0}, "residual": {"stops": figures["stops"]}},
        "held_out": {"groups": figures["groups"]},
        "pairs": pairs,
        "prompts": figures["prompts"],
        "weights": figures["weights"],
    }
    return {**report, "verdict": _verdict(report)}


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({}, "shown"),
        ({"kept": apart(0.0, -0.02, 0.02)}, "not shown"),
        ({"kept": apart(-0.1, -0.15, -0.03)}, "lost"),
        # of 149 prompts without one that differs 3 / 149 may still be lost
        ({"kept": apart(0.0, 0.0, 0.0), "prompts": 149}, "not shown"),
        ({"kept": apart(0.0, 0.0, 0.0), "prompts": 150}, "shown"),
    ],
)
def test_the_verdict_goes_by_the_interval(changed: dict[str, Any], kept: str) -> None:
    assert made(**changed)["verdict"] == {"within": 0.02, "kept": kept}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"groups": 9}, "Only 9 documents are held out"),
        ({"learnt": apart(-0.1, -0.2, 0.0)}, "Pretraining is not shown to help"),
        ({"stops": 0.8}, "ends 8 of 10 short answers by itself, the instruct model 10"),
        # intervals of both overlap in every case here: what counts is the one of the paired difference
        ({"tuned": apart(0.05, 0.0, 0.1)}, "is not shown to be better than its base"),
        ({"weights": 2.7e8}, "has 270 million weights"),
    ],
)
def test_each_warning_has_its_reason(changed: dict[str, Any], why: str) -> None:
    assert _warnings(made()) == []
    (found,) = _warnings(made(**changed))
    assert why in found


def test_the_headline_says_what_came_out() -> None:
    assert language_headline(made()) == (
        "Against the instruct model the residual model has perplexity on held-out documents -20.0 % [-30.0, -10.0]. "
        "Instructions followed: +0.0 [-1.0, +1.0] points; it keeps within 2 points."
    )
