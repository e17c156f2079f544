"""BERTScore by hand, what answers to a task are worth, systems put together, verdicts by rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denizen.answering.answers import TaskAnswer
from denizen.answering.bert_score import BertScorer
from denizen.answering.classification import Labels
from denizen.answering.measures import differences, figures, measured
from denizen.answering.systems import ORACLE, PAIRS, ROUTED, asked_text, document_groups, pairs_of, systems_of
from denizen.answering.verdicts import kept_within, sentences, verdict
from denizen.data.task_rows import Message
from denizen.engine.errors import InputError

from .rows import answered, evaluation, row


def test_bert_score_of_the_same_text_is_1_and_of_none_0(tiny_encoder: Path) -> None:
    scorer = BertScorer(tiny_encoder)
    same, none, apart = scorer.scores(["the cause of gout", " ", "drug"], ["the cause of gout", "gout", "the cause"])
    assert same == pytest.approx(1) and none == 0 and -1 < apart < 1
    # three quarters of two layers are 1.5, and halves go to the even one
    assert scorer.used_layer == 2


def test_bert_score_by_hand(tiny_encoder: Path) -> None:
    """Of one word against two: precision is the better match of the word, recall the mean of both words' matches."""
    import torch

    scorer = BertScorer(tiny_encoder, 1)

    def vectors(text: str) -> torch.Tensor:
        ids = torch.tensor([scorer.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            return torch.nn.functional.normalize(
                scorer.model(ids, output_hidden_states=True).hidden_states[1][0], dim=-1
            )

    # with what begins and ends each
    alike = vectors("drug") @ vectors("the cause").T
    assert alike.shape == (3, 4)
    precision, recall = alike[1].max(), (alike[:, 1].max() + alike[:, 2].max()) / 2
    (found,) = scorer.scores(["drug"], ["the cause"])
    assert found == pytest.approx(float(2 * precision * recall / (precision + recall)), abs=1e-6)


def test_a_layer_that_is_not_there_is_refused(tiny_encoder: Path) -> None:
    with pytest.raises(InputError, match=r"layer 3 is asked for, and .* has 2; give one of them"):
        BertScorer(tiny_encoder, 3).scores(["a"], ["a"])


def said(name: str, task: str, text: str, likelihood: float = -1.0, tokens: int = 2, ended: bool = True) -> TaskAnswer:
    return TaskAnswer(name, task, text, ended, likelihood, tokens)


def test_figures_of_texts_by_hand() -> None:
    """ROUGE-L 1 and 0; likelihood (-1 - 3) / (2 + 6) a token, not the mean of -1/2 and -3/6."""
    rows = [row("a", answer="rain", document="d"), row("b", answer="snow", document="e")]
    given = [said("a", "answer", "Rain"), said("b", "answer", "it is fog", -3.0, 8, False)]
    found = figures(measured(rows, given, [0, 1], Labels(())))
    assert found["rouge_l"]["value"] == 0.5 and (found["rouge_l"]["low"], found["rouge_l"]["high"]) == (0, 1)
    assert found["log_likelihood"]["value"] == pytest.approx(-4 / 10)
    assert (found["ended"], found["words"]) == (0.5, 2.0) and "macro_f1" not in found


def test_figures_and_differences_of_labels_by_hand() -> None:
    rows = [row(name, "classify", answer) for name, answer in (("a", "Rain"), ("b", "snow"), ("c", "snow"))]
    labels = Labels(("Rain", "snow"))
    one = measured(
        rows,
        [said(name, "classify", text) for name, text in zip("abc", ("rain.", "snow", "it is snow"), strict=True)],
        [0, 1, 2],
        labels,
    )
    other = measured(rows, [said(name, "classify", "snow", tokens=3) for name in "abc"], [0, 1, 2], labels)
    found, apart = figures(one), differences(one, other)
    assert found["accuracy"]["value"] == pytest.approx(2 / 3) and found["no_label"] == pytest.approx(1 / 3)
    # rain: 1; snow: one right of one said and two wanted
    assert found["macro_f1"]["value"] == pytest.approx((1 + 2 / 3) / 2)
    # of the other snow alone, 2 * 2 / (3 + 2)
    assert apart["macro_f1"] and apart["macro_f1"]["value"] == pytest.approx((1 + 2 / 3) / 2 - 0.8 / 2)
    assert apart["accuracy"] and apart["accuracy"]["value"] == 0
    # what was cut into other tokens is not held against one another
    assert apart["log_likelihood"] is None


def test_rows_of_one_document_are_one_group_and_those_of_none_stand_alone() -> None:
    rows = [row("a", document="d"), row("b"), row("c", document="d"), row("d")]
    assert document_groups(rows) == [0, 1, 0, 2]


def test_experts_are_put_together_row_by_row(tmp_path: Path) -> None:
    rows = [row("a"), row("c", "classify"), row("s", "summarize")]
    systems = {
        name: answered(tmp_path / name, rows, dict.fromkeys("acs", name)) for name in ("answering", "structured")
    }
    systems["instruct"] = answered(tmp_path / "instruct", rows, dict.fromkeys("acs", "i"))
    chosen = [
        {"row_id": name, "chosen": expert}
        for name, expert in zip("acs", ("structured", "structured", "answering"), strict=True)
    ]
    routes = evaluation(tmp_path / "router", "routes.jsonl", chosen)
    found = systems_of(rows, systems, routes)
    assert {name: [each.answer for each in its] for name, its in found.items()} == {
        "instruct": ["i"] * 3,
        ORACLE: ["answering", "structured", "structured"],
        ROUTED: ["structured", "structured", "answering"],
    }
    assert pairs_of(found) == [(ORACLE, "instruct"), (ROUTED, "instruct"), (ROUTED, ORACLE)]
    assert set(pairs_of(found)) < set(PAIRS)
    assert set(systems_of(rows, {"instruct": systems["instruct"]})) == {"instruct"}
    with pytest.raises(InputError, match="instruct has no answer to 1 of 4 rows, such as x; let it answer the same"):
        systems_of([*rows, row("x")], {"instruct": systems["instruct"]})
    short = evaluation(tmp_path / "short", "routes.jsonl", chosen[:2])
    with pytest.raises(InputError, match="the router has not seen 1 of 3 rows, such as s; route the same rows"):
        systems_of(rows, systems, short)


def test_several_turns_are_shown_with_who_speaks() -> None:
    several = replace(row("a"), messages=(Message("system", "Be short."), Message("user", "Rain?")))
    assert asked_text(row("a", asked="Rain?")) == "Rain?"
    assert asked_text(several) == "system: Be short.\n\nuser: Rain?"


def apart(value: float, p: float = 0.001) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "p": p}


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ({"task": "classify", "accuracy": apart(0.1)}, "better"),
        ({"task": "classify", "accuracy": apart(-0.1)}, "worse"),
        ({"task": "classify", "accuracy": apart(0.1, 0.06)}, "not shown"),
        # what counts alone does not count as one of three: .02 * 3 is above .05
        (
            {"task": "answer", "log_likelihood": apart(0.1, 0.02), "rouge_l": apart(0), "bert_score": apart(0)},
            "not shown",
        ),
        ({"task": "answer", "log_likelihood": apart(0.1, 0.02), "rouge_l": apart(0.1, 0.5)}, "better"),
        ({"task": "answer", "log_likelihood": apart(0.1), "rouge_l": apart(-0.1)}, "mixed"),
        ({"task": "answer", "log_likelihood": None, "rouge_l": apart(-0.1)}, "worse"),
        # a judge that counts decides, whatever the others say
        ({"task": "answer", "rouge_l": apart(-0.1), "preference": apart(0.7)}, "better"),
        ({"task": "answer", "rouge_l": apart(0.1), "preference": apart(0.45, 0.3)}, "not shown"),
        ({"task": "answer", "rouge_l": apart(0.1), "preference": apart(0.3)}, "worse"),
    ],
)
def test_a_verdict_is_by_rule(pair: dict[str, Any], expected: str) -> None:
    assert verdict(pair)[0] == expected


def test_what_is_kept_is_a_matter_of_the_interval_and_of_how_many_rows() -> None:
    """What none of 149 rows shows may befall 3 of 149, which is more than 2 in a hundred; of 150 it is not."""
    ends = ({"low": -0.01, "high": 0.1}, {"low": -0.05, "high": -0.03}, {"low": -0.05, "high": 0.0})
    assert [kept_within(each, 150) for each in ends] == ["shown", "lost", "not shown"]
    assert [kept_within(each, 149) for each in ends] == ["not shown", "lost", "not shown"]


@pytest.mark.parametrize(
    ("rows", "said"), [(12, "that it keeps within 2 points is not shown"), (1200, "it keeps within 2 points")]
)
def test_no_difference_on_a_few_rows_shows_nothing(rows: int, said: str) -> None:
    none = {"value": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    pairs = [{"model": ROUTED, "against": ORACLE, "task": "classify", "rows": rows, "accuracy": none}]
    share = {"value": 1.0, "low": 0.8, "high": 1.0, "count": rows}
    found = sentences({"pairs": pairs, "router": {"accuracy": share}, "judge": None})
    assert found[1] == f"Against a router that is always right it has +0.0 points of accuracy at classifying; {said}."


def test_sentences_say_what_is_shown_and_what_is_not() -> None:
    pairs = [
        {"model": ROUTED, "against": "multi-task", "task": "classify", "rows": 1200, "accuracy": apart(0.01, 0.4)},
        {"model": ROUTED, "against": "multi-task", "task": "answer", "rows": 90, "rouge_l": apart(0.2)},
        {"model": "multi-task", "against": "instruct", "task": "classify", "rows": 1200, "accuracy": apart(0.2)},
        {"model": ROUTED, "against": ORACLE, "task": "classify", "rows": 1200, "accuracy": apart(-0.02)},
    ]
    share = {"value": 0.95, "low": 0.9, "high": 0.975, "count": 1290}
    found = sentences({"pairs": pairs, "router": {"accuracy": share}, "judge": {"passed": False, "why": "it guesses"}})
    assert found == [
        "At classifying, two experts behind the router are not shown to be better than one multi-task model (by "
        "accuracy; 1,200 rows).",
        "At answering, two experts behind the router are better than one multi-task model (by ROUGE-L; 90 rows).",
        "At classifying, one multi-task model is better than the instruct model (by accuracy; 1,200 rows).",
        "The router names the expert that a row belongs to in 95.0% [90.0%, 97.5%] of 1,290 rows.",
        "Against a router that is always right it has -2.0 points of accuracy at classifying; that it keeps within 2 "
        "points is not shown.",
        "The judge does not count (it guesses): likelihood, ROUGE-L and, where an encoder was given, BERTScore decide "
        "on texts.",
    ]
