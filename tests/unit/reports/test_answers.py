"""What is said of answers, by figures made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from denizen.reports.answers import (
    answer_examples,
    answered_rows,
    blind_lines,
    router_lines,
    safety_lines,
    task_lines,
    task_pair_lines,
)


def interval(value: float, **more: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, **more}


TEXTS = {"rouge_l": interval(0.5), "log_likelihood": interval(-2.0), "ended": 0.98, "words": 12.34}
LABELS = {"accuracy": interval(0.75), "macro_f1": interval(0.5), "no_label": 0.125, **TEXTS}
PAIR = {"model": "experts-routed", "against": "multi-task", "preference": None, "rows": 9}
FACTS: dict[str, Any] = {
    "rows": {"answer": 1200, "classify": 30},
    "documents": {"answer": 40, "classify": 30},
    "words": {"answer": 11.6, "classify": 1.0},
    "labels": 7,
    "bert_score": {"encoder": "mini", "layer": 4, "rescaled": False},
    "systems": {
        "instruct": {
            "answer": {**TEXTS, "bert_score": interval(0.6)},
            "classify": {k: v for k, v in LABELS.items() if k != "rouge_l"},
        },
        "multi-task": {"answer": {**TEXTS, "bert_score": interval(0.8)}},
    },
    "scores": {"multi-task": {"answer": {"correctness": interval(4.0)}}},
    "pairs": [
        {**PAIR, "task": "answer", "rouge_l": interval(0.02, p=0.3), "log_likelihood": None, "verdict": "not shown"},
        {
            **PAIR,
            "task": "answer",
            "against": "instruct",
            "rouge_l": interval(0.2, p=0.001),
            "log_likelihood": interval(0.3, p=0.01),
            "preference": interval(0.7, p=0.02),
            "verdict": "better",
        },
    ],
    "router": {
        "accuracy": {**interval(0.95), "count": 1230},
        "by_expert": {"answering": {**interval(0.9), "count": 1200}},
    },
}


def test_a_table_has_what_was_measured_and_nothing_else() -> None:
    assert task_lines(FACTS, "answer") == [
        ["system", "ROUGE-L", "BERTScore", "log-likelihood a token", "correct, 1 to 5", "answers that end", "words"],
        ["instruct", "50.0 [40.0, 60.0]", "60.0 [50.0, 70.0]", "-2.000 [-2.100, -1.900]", "", "98 %", "12.3"],
        [
            "residual + one multi-task model",
            "50.0 [40.0, 60.0]",
            "80.0 [70.0, 90.0]",
            "-2.000 [-2.100, -1.900]",
            "4.000 [3.900, 4.100]",
            "98 %",
            "12.3",
        ],
    ]
    (head, line) = task_lines(FACTS, "classify")
    assert head == ["system", "accuracy", "macro-F1", "log-likelihood a token", "no label", "answers that end", "words"]
    assert line[1] == "75.0 [65.0, 85.0]" and line[4] == "12.5 %"


def test_pairs_say_what_may_be_chance() -> None:
    head, one, other = task_pair_lines(FACTS, "answer")
    assert head == ["difference", "ROUGE-L, points", "log-likelihood a token", "preferred", "shown"]
    name = "residual + two experts, routed"
    assert one == [
        f"{name} - residual + one multi-task model",
        "+2.0 [-8.0, +12.0] (may be chance)",
        "other tokens",
        "",
        "not shown",
    ]
    assert other[1:] == ["+20.0 [+10.0, +30.0]", "+0.300 [+0.200, +0.400]", "70 % [60, 80]", "better"]


def test_what_stands_below_the_tables() -> None:
    assert answered_rows(FACTS) == (
        "answer: 1,200 rows of 40 documents, references of 11.6 words; classify: 30 rows of 30 documents, references "
        "of 1.0 words; 7 labels; BERTScore by layer 4 of mini, not rescaled; greedy answers; intervals: bootstrap over "
        "documents, 95 %"
    )
    assert router_lines(FACTS)[1:] == [["answering", "90 % [80, 100]", "1,200"], ["both", "95 % [85, 105]", "1,230"]]
    assert router_lines({**FACTS, "router": None}) == safety_lines({}) == []


def test_safety_and_sheets() -> None:
    share = {**interval(0.25), "count": 20}
    told = dict.fromkeys(("refused", "refused_harmless", "obeyed", "answered", "empty"), share)
    canaries = {"extracted": {**interval(0.5), "count": 4}, "exposure": 1.42}
    _, one, other = safety_lines({"residual": {**told, "canaries": canaries}, "instruct": {**told, "canaries": None}})
    assert one == ["residual", *["5 of 20"] * 5, "50 % [40, 60]", "1.4"] and other[-2:] == ["", ""]
    sheet = {"sheet": "a.xlsx", "rows": 40, "empty": 2, "preferred": share, "clearly": share, "left": share}
    head, line = blind_lines({"systems": ["residual", "instruct"], "sheets": [sheet], "agreement": []})
    assert head[3] == "prefer residual to instruct" and line == ["a.xlsx", "40", "2", *["25 % [15, 35]"] * 3]


def test_examples_of_a_pair_are_cut_for_the_page(tmp_path: Path) -> None:
    line = {"model": "multi-task", "against": "instruct", "task": "answer", "row_id": "a", "measure": "rouge_l"}
    line |= {"difference": -0.256, "asked": "x" * 700, "reference": "r", "answer": "one", "other_answer": "two"}
    (tmp_path / "examples.jsonl").write_text(
        "".join(json.dumps(of) + "\n" for of in (line, {**line, "against": "residual"}))
    )
    (found,) = answer_examples(tmp_path, [("multi-task", "instruct")])
    assert found["title"] == "answer: residual + one multi-task model against instruct, ROUGE-L -26 points"
    assert found["asked"] == f"{'x' * 600} ..." and (found["reference"], found["instruct"]) == ("r", "two")
