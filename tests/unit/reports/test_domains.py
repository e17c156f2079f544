"""The sentence of a run of several domains: what it must not leave out."""

from __future__ import annotations

from typing import Any

from denizen.reports.domains import domains_headline

_MEAN = {"value": 0.7, "low": 0.6, "high": 0.8, "p": 0.01}


def report_of(taken: str, near: list[str], fallen: dict[str, list[str]], seeds: tuple[str, ...]) -> dict[str, Any]:
    option = {"means": {"nDCG@10": _MEAN}, "differences": {"nDCG@10": _MEAN}, "to_oracle": {"nDCG@10": _MEAN}}
    names = ("base", "joint", "routed", "oracle")
    said = {"taken": taken, "best": taken, "near": near, "fallen": fallen, "told": True, "samples": [taken] * 5}
    said |= {"means": dict.fromkeys(names, 0.7), "bytes": dict.fromkeys(names, 1 << 20)}
    return {
        "recommended": {**said, "tolerance": 0.01, "fall_limit": 0.02},
        "options": {name: {"called": name, **option} for name in names},
        "domains": {"law": {}, "web": {}},
        "queries": 100,
        "seeds": [{"seed": at, "taken": name} for at, name in enumerate(seeds)],
    }


def test_a_domain_that_falls_by_what_is_taken_is_named() -> None:
    alone = domains_headline(report_of("routed", ["routed"], {"routed": ["law"]}, ("routed",)))
    assert "though by it law falls below its own expert or the base, and no other is near it." in alone
    both = domains_headline(report_of("routed", ["joint", "routed"], {"joint": ["web"], "routed": ["law"]}, ("x",)))
    assert (
        "though by it law falls below its own expert or the base, as does one by all that are near it; passed over"
        in both
    )
    assert "passed over, since a domain falls below its own expert or the base: joint (web)." in both


def test_seeds_that_recommend_something_else_are_counted() -> None:
    assert "Of 3 seeds 2 recommend it." in domains_headline(
        report_of("joint", ["joint"], {}, ("joint", "routed", "joint"))
    )
    assert "seeds" not in domains_headline(report_of("joint", ["joint"], {}, ("joint",)))
