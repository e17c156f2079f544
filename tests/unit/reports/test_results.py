"""What a run says at its end: sentences and rows by hand."""

from __future__ import annotations

from typing import Any

from denizen.reports.results import (
    analyser_lines,
    baseline_lines,
    gate_sentence,
    headline,
    length_sentence,
    records,
    result_lines,
    seed_lines,
    spending_lines,
)

GAIN = {"value": 0.1, "low": 0.05, "high": 0.15, "p": 0.00005}


def _shipped(name: str = "adapted", mean: float = 0.6, gain: Any = GAIN, over: Any = GAIN) -> dict[str, Any]:
    figures = {"means": {"MRR@5": mean}, "difference": {"MRR@5": gain}, "difference_bm25": {"MRR@5": over}}
    return {"name": name, "model": "base" if name == "base" else "adapted", "why": "it proved itself", **figures}


def _report(**changed: Any) -> dict[str, Any]:
    gain = {"value": 0.1, "low": 0.05, "high": 0.15, "p": 0.00005}
    report = {
        "queries": 1234,
        "shipped": _shipped(),
        "base": {"MRR@5": 0.5, "nDCG@10": 0.4},
        "bm25": {"MRR@5": 0.45, "nDCG@10": 0.4},
        "adapted": {"MRR@5": 0.6, "nDCG@10": 0.5},
        "difference": {"MRR@5": gain, "nDCG@10": gain},
        "differences": {"adapted": {"MRR@5": gain, "nDCG@10": gain}, "bm25": {"MRR@5": gain, "nDCG@10": gain}},
        "advantages": {"bm25": {"MRR@5": gain, "nDCG@10": gain}},
        "chosen": "round 2",
        "gate": None,
        "seeds": [],
    }
    return {**report, **changed}


def test_the_headline_says_what_is_shipped_how_sure_its_gain_is_and_why() -> None:
    assert headline(_report()) == (
        "The adapted model is shipped: on 1,234 held-out questions MRR@5 rises from 0.500 to 0.600: +0.100, 95 % "
        "interval +0.050 to +0.150; that is more than chance (p < 0.0001). Plain keyword search (BM25) has 0.450. "
        "Why: it proved itself."
    )
    poor = {"value": -0.01, "low": -0.03, "high": 0.01, "p": 0.3}
    text = headline(_report(shipped=_shipped("hybrid", 0.49, poor)))
    assert text.startswith("The hybrid of adapted model and BM25 is shipped: ")
    assert "falls from 0.500 to 0.490: -0.010" in text and "that may be chance (p 0.3000)" in text
    assert headline(_report(shipped=_shipped("base", 0.5))) == (
        "The base is shipped as it was, with an MRR@5 of 0.500 on 1,234 held-out questions: it proved itself."
    )


def test_the_headline_says_where_keyword_search_is_as_good_or_better() -> None:
    unsure = {"value": 0.01, "low": -0.01, "high": 0.03, "p": 0.3}
    assert "(BM25) is as good, as far as" in headline(_report(shipped=_shipped(over=unsure)))
    worse = {"value": -0.04, "low": -0.05, "high": -0.03, "p": 0.001}
    assert "Plain keyword search (BM25) is better: 0.450." in headline(_report(shipped=_shipped(over=worse)))


def test_the_gate_in_a_sentence() -> None:
    assert gate_sentence(_report()).startswith("forgetting was not measured")
    points = [{"merge": None}, {"merge": None}, {"merge": {"method": "linear"}}]
    change = {"value": 0.0, "low": -0.004, "high": 0.004, "p": 1.0}
    sets = {"nq": {"differences": {"adapted": {"nDCG@10": change}}}}
    gate = {"met": True, "limit": 0.005, "points": points, "measure": "nDCG@10", "sets": sets}
    assert gate_sentence(_report(gate=gate, chosen="linear 0.5 of round 2")) == (
        "gate met: linear 0.5 of round 2 is taken (1 merge measured); a mean may fall by 0.005 at most"
    )
    gate = {**gate, "met": False, "points": points[:2]}
    assert gate_sentence(_report(gate=gate)).startswith("gate NOT MET: round 2 is taken; ")
    wide = {"nq": {"differences": {"adapted": {"nDCG@10": {**change, "low": -0.03, "high": 0.01}}}}}
    assert gate_sentence(_report(gate={**gate, "sets": wide})).endswith("the interval of nq reaches beyond the limit")


def test_rows_for_other_programs() -> None:
    sets = {
        "nq": {
            "role": "general",
            "queries": 7,
            "means": {"base": {"nDCG@10": 0.9}, "adapted": {"nDCG@10": 0.8}},
            "differences": {"adapted": {"nDCG@10": {"value": -0.1, "low": -0.2, "high": 0.0, "p": 0.04}}},
        }
    }
    rows = records(_report(gate={"sets": sets}))
    assert len(rows) == 3 * 2 + 2
    assert {row["difference"] for row in rows if row["system"] == "base"} == {None}
    (row,) = (row for row in rows if row["set"] == "nq" and row["system"] == "adapted")
    assert row == {
        "set": "nq",
        "role": "general",
        "queries": 7,
        "system": "adapted",
        "measure": "nDCG@10",
        "value": 0.8,
        "difference": -0.1,
        "low": -0.2,
        "high": 0.0,
        "p": 0.04,
    }


def test_seeds_with_mean_and_standard_deviation() -> None:
    seeds = [
        {
            "seed": seed,
            "difference": {"MRR@5": {"value": value}, "nDCG@10": {"value": 0.5}},
            "chosen": "round 1",
            "change": {},
            "met": True,
        }
        for seed, value in ((42, 0.1), (43, 0.2))
    ]
    header, *_, last = seed_lines(_report(seeds=seeds))
    assert header == ["seed", "gain in MRR@5", "gain in nDCG@10", "taken"]
    # the standard deviation of .1 and .2 is .1 / sqrt(2)
    assert last == ["mean ± sd", "+0.150 ± 0.071", "+0.500 ± 0.000", ""]
    assert seed_lines(_report(seeds=seeds[:1])) == []
    gated = [{**found, "change": {"general": 0.01 * at}, "met": not at} for at, found in enumerate(seeds)]
    rows = seed_lines(_report(seeds=gated))
    assert rows[0][3:] == ["change of general", "taken", "gate"]
    assert [row[3:] for row in rows[1:3]] == [["+0.000", "round 1", "met"], ["+0.010", "round 1", "NOT MET"]]


def test_baselines_only_where_they_were_measured() -> None:
    (_, bm25) = baseline_lines(_report())
    assert bm25 == ["BM25", "0.450", "+0.100 [+0.050, +0.150]", "0.400", "+0.100 [+0.050, +0.150]"]
    change = {"value": 0.02, "low": 0.01, "high": 0.03, "p": 0.01}
    report = _report(plain={"MRR@5": 0.58, "nDCG@10": 0.48})
    report["advantages"]["plain"] = {"MRR@5": change, "nDCG@10": change}
    _, _, row = baseline_lines(report)
    assert row == ["plain fine-tuning", "0.580", "+0.020 [+0.010, +0.030]", "0.480", "+0.020 [+0.010, +0.030]"]


def test_how_words_were_compared_is_said_where_it_is_known() -> None:
    assert analyser_lines(_report(analyser="Thai, letters and their pairs")) == ["BM25: Thai, letters and their pairs"]
    assert analyser_lines(_report()) == []


def test_a_reader_hears_what_is_not_read() -> None:
    assert (
        length_sentence(_report()) == length_sentence(_report(reading={"longer": {"tokens": 254, "share": 0.0}})) == ""
    )
    reading = {"longer": {"tokens": 254, "share": 0.224}, "trained_on_longer": 0.98}
    assert length_sentence(_report(reading=reading)) == (
        "22% of the passages are longer than the 254 tokens that the model reads at once, whose ends are not read; "
        "98% of those it was trained on are longer than training reads: it saw their best window"
    )
    asked = {"longer": {"tokens": 254, "share": 0.0, "queries": 0.031}}
    assert length_sentence(_report(reading=asked)) == (
        "3% of the queries are longer than 254 tokens: their ends are not read"
    )
    shipped = {**_shipped(), "reading": "windows of 64 tokens by 32"}
    assert "which windows read to the end" in length_sentence(_report(reading=reading, shipped=shipped))


def test_the_table_ends_with_what_is_shipped() -> None:
    better = {"MRR@5": {**GAIN, "value": 0.2, "low": 0.1, "high": 0.3}}
    report = _report(shipped={**_shipped("hybrid"), "difference": better}, hybrid={"MRR@5": 0.7, "nDCG@10": 0.6})
    header, row = result_lines(report)
    assert header[3:6] == ["adapted", "adapted + BM25", "adapted + BM25 - base"]
    assert row == ["MRR@5", "0.500", "0.450", "0.600", "0.700", "+0.200", "+0.100 to +0.300", "< 0.0001"]
    assert result_lines(report, alone=True) == result_lines(_report())


def test_what_calls_cost_is_shown_at_the_prices_that_were_known() -> None:
    spent = {"total": {"calls": 2, "tokens": 3000, "money": 0.5}, "by_stage": {}}
    for told, config, heading in (
        ({"llm": {"name": "a", "prices": {"input": 0.15, "output": 0.6}}}, "", "money at 0.15/0.6"),
        ({"llm": {"name": "a.gguf@0123456789ab", "prices": {"input": 0.0, "output": 0.0}}}, "", "money at 0/0"),
        ({"llm": {"name": "a", "prices": None}}, "", "money at no price"),
        # of a run from before that was kept
        ({}, "1/2", "money at 1/2"),
    ):
        rows = spending_lines({"spending": spent, "config": {"prices": config}, **told})
        assert rows == [["spent by stage", "calls", "tokens", heading], ["in all", "2", "3,000", "0.5000"]]
    assert spending_lines({"config": {"prices": "1/2"}}) == []
