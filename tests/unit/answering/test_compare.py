"""The comparison of systems as a step: figures, pairs, the router, examples, with and without encoder and judge."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from denizen.answering.compare import EXAMPLES, AnswerScoring, compare_answers
from denizen.data.artifacts import Evaluation
from denizen.data.task_rows import TaskRow
from denizen.engine.errors import InputError
from denizen.engine.step import Context
from denizen.retrievers.model_ref import outside_model

from .rows import answered, evaluation, row, stored_rows

LABELS = ("fog", "hail")
ROWS = [
    *(row(f"a{at:02}", answer=f"the rain on day {at}", document=f"d{at // 2}") for at in range(20)),
    *(row(f"c{at:02}", "classify", LABELS[at % 2], document=f"e{at}") for at in range(20)),
    row("dev", "classify", "mist", split="dev"),
]
RIGHT = {each.row_id: each.answer for each in ROWS}


def compared(folder: Path, rows: list[TaskRow] = ROWS, **more: Any) -> tuple[dict[str, Any], Path]:
    """The experts are right each at its own and wrong elsewhere; multi-task is right at half of all; instruct never."""
    own = {"answering": "a", "structured": "c"}
    said = {name: {each: RIGHT[each] if each[0] == of else "snow" for each in RIGHT} for name, of in own.items()}
    said["multi-task"] = {each: RIGHT[each] if int(each[1:].replace("ev", "0")) < 10 else "snow" for each in RIGHT}
    said["instruct"] = dict.fromkeys(RIGHT, "it may snow")
    worth = {"instruct": -4.0, "multi-task": -2.0, "answering": -1.0, "structured": -1.0}
    answers = {
        name: answered(folder / name, rows, of, log_likelihood=worth[name], ended=name != "instruct")
        for name, of in said.items()
    }
    named = [
        {"row_id": each.row_id, "chosen": "answering" if each.row_id in ("c00", "c01") else each.expert}
        for each in rows
    ]
    routes = evaluation(folder / "router", "routes.jsonl", named)
    (folder / "out").mkdir(parents=True, exist_ok=True)
    facts = compare_answers(
        folder / "out",
        AnswerScoring(),
        Context(),
        rows=stored_rows(folder / "rows", rows),
        answers=answers,
        routes=routes,
        **more,
    )
    return facts, folder / "out"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    return compared(tmp_path_factory.mktemp("compared"))


def test_figures_of_every_system_by_hand(done: tuple[dict[str, Any], Path]) -> None:
    facts, _ = done
    assert facts["rows"] == {"answer": 20, "classify": 20} and facts["documents"] == {"answer": 10, "classify": 20}
    # that of dev is one of them
    assert facts["labels"] == 3 and facts["words"] == {"answer": 5, "classify": 1}
    assert set(facts["systems"]) == {"instruct", "multi-task", "experts-oracle", "experts-routed"}
    value = {name: its["classify"]["accuracy"]["value"] for name, its in facts["systems"].items()}
    assert value == {"instruct": 0, "multi-task": 0.5, "experts-oracle": 1, "experts-routed": 0.9}
    multi, instruct = (facts["systems"][name] for name in ("multi-task", "instruct"))
    assert multi["answer"]["rouge_l"]["value"] == 0.5 and multi["answer"]["log_likelihood"]["value"] == -1
    # ten of twenty are right, and the others no label: F1 is 2 * 5 / (5 + 10) of both labels
    assert multi["classify"]["no_label"] == 0.5 and multi["classify"]["macro_f1"]["value"] == pytest.approx(2 / 3)
    assert (instruct["answer"]["ended"], instruct["answer"]["words"]) == (0, 3)
    assert facts["bert_score"] is None and "bert_score" not in multi["answer"]


def test_pairs_have_differences_and_verdicts(done: tuple[dict[str, Any], Path]) -> None:
    pairs = {(its["model"], its["against"], its["task"]): its for its in done[0]["pairs"]}
    assert len(pairs) == 2 * 6
    experts = pairs["experts-routed", "multi-task", "classify"]
    assert experts["accuracy"]["value"] == pytest.approx(0.4) and experts["verdict"] == "better"
    assert pairs["experts-routed", "experts-oracle", "classify"]["accuracy"]["value"] == pytest.approx(-0.1)
    assert pairs["experts-routed", "experts-oracle", "classify"]["verdict"] == "not shown"
    # -1 for 2 tokens against -2
    assert pairs["experts-oracle", "multi-task", "answer"]["log_likelihood"]["value"] == pytest.approx(0.5)
    assert pairs["experts-oracle", "multi-task", "answer"]["preference"] is None
    assert done[0]["router"]["accuracy"]["value"] == pytest.approx(38 / 40)
    assert done[0]["router"]["by_expert"]["structured"]["value"] == pytest.approx(18 / 20)
    assert done[0]["sentences"][-1].startswith("No judge was asked: likelihood, ROUGE-L")


def test_every_value_is_kept_and_examples_go_both_ways(done: tuple[dict[str, Any], Path]) -> None:
    values = [json.loads(line) for line in (done[1] / "values.jsonl").read_text().splitlines()]
    assert Counter(each["system"] for each in values) == dict.fromkeys(done[0]["systems"], 40)
    found = [json.loads(line) for line in (done[1] / "examples.jsonl").read_text().splitlines()]
    worse = {(one["model"], one["against"], one["row_id"]) for one in found if one["difference"] < 0}
    others = ("multi-task", "experts-oracle")
    # two rows went to the wrong expert, and multi-task had both of them right
    assert worse == {("experts-routed", other, name) for other in others for name in ("c00", "c01")}
    ours = [one for one in found if (one["model"], one["against"]) == ("experts-oracle", "multi-task")]
    assert Counter(one["task"] for one in ours) == {"answer": EXAMPLES, "classify": EXAMPLES}
    assert all(one["answer"] == one["reference"] and one["other_answer"] == "snow" for one in ours)


def test_an_encoder_and_a_judge_that_counts_decide_with(tmp_path: Path, tiny_encoder: Path) -> None:
    preference = {"value": 0.9, "low": 0.8, "high": 1.0, "p": 0.001}
    pairs = [{"model": "multi-task", "against": "instruct", "task": "answer", "preference": preference}]
    judged = Evaluation(tmp_path, "judged", {"trial": {"passed": True, "why": "so"}, "pairs": pairs, "scores": {}})
    facts, _ = compared(tmp_path, encoder=outside_model(tiny_encoder), judged=judged)
    assert facts["bert_score"] == {"encoder": tiny_encoder.name, "layer": 2, "rescaled": False}
    assert facts["systems"]["experts-oracle"]["answer"]["bert_score"]["value"] == pytest.approx(1)
    (pair,) = (its for its in facts["pairs"] if its["preference"])
    assert (pair["model"], pair["task"], pair["preference"], pair["verdict"]) == (
        "multi-task",
        "answer",
        preference,
        "better",
    )
    assert "(by the judge; 20 rows)" in " ".join(facts["sentences"])
    assert facts["sentences"][-1] == "The judge counts: so."


def test_without_a_test_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hold none of the test; add rows"):
        compared(tmp_path, ROWS[-1:])
