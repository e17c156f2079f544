"""Pairs from a tiny random model: given ones, every way, what is dropped, judged, killed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from denizen.data.artifacts import Model, Preferences, TaskRows
from denizen.data.tables import write_table
from denizen.data.task_rows import Message, Preference, TaskRow, preferences, task_table
from denizen.engine.artifact import Artifact
from denizen.engine.errors import InputError
from denizen.engine.step import Context, Partial
from denizen.language_models.language_model import Answer, LanguageModel
from denizen.tasks.balance import MOST_APART
from denizen.tasks.given import Given
from denizen.tasks.grounding import grounded_prompt, grounded_question
from denizen.tasks.pairs import PairMaking, make_preferences
from tests.llm_server import ScriptedServer
from tests.tiny_pair import tiny_pair
from tests.unit.supervision.asked_steps import client, context
from tests.unit.tasks.test_given import lines

Given_ = Sequence[Artifact]


def _rows(count: int) -> list[TaskRow]:
    made = []
    for at in range(count):
        passage = f"Every word{at:02} is kept for {at + 3} years by the office of matter{at:02}, and then destroyed."
        asked = (Message("user", grounded_prompt(f"How long is word{at:02} kept?", [passage])),)
        answer = (
            f"It is kept for {at + 3} years by the office of matter{at:02}, and after these it is destroyed there. [1]"
        )
        split = "test" if at % 6 == 5 else "dev" if at % 6 == 4 else "train"
        made.append(TaskRow(f"r{at:02}", "answer", split, f"d{at}", "written", asked, answer, passage))
    label = TaskRow("label", "classify", "train", "d0", "written", (Message("user", "which?"),), "keep", None)
    return [*made, label]


def says(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[str]:
    """Scripts what the model answers; what it was asked."""
    heard: list[str] = []

    def answers(self: LanguageModel, asked: Sequence[Sequence[Message]], max_new_tokens: int) -> list[Answer]:
        heard.extend(turns[-1].content for turns in asked)
        return [Answer(answer(turns[-1].content), True) for turns in asked]

    monkeypatch.setattr(LanguageModel, "answers", answers)
    return heard


def other(prompt: str) -> str:
    """About as long as a reference, and of other words."""
    return "Nobody could ever say such things about " + "zebras, lions or other animals that live out there. "


def run(
    folder: Path,
    rows: list[TaskRow],
    settings: dict[str, Any] | None = None,
    *,
    model: Path | None = None,
    llm: Any = None,
    given: Given_ = (),
) -> tuple[Any, list[Preference], Path]:
    for name in ("out", "in", "scratch", "model"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_table(folder / "in/rows.parquet", task_table(rows))
    ctx = context(llm, place="preferences")
    ctx = Context(ctx.progress, ctx.place, folder / "scratch", ctx.resources)
    inputs = {"rows": TaskRows.outside(folder / "in/rows.parquet"), "model": Model.outside(model or folder / "model")}
    params = PairMaking(precision="fp32", **(settings or {}))
    told = make_preferences(folder / "out", params, ctx, **inputs, given=given)
    return told, preferences(Preferences.outside(folder / "out").table), folder / "out"


def test_pairs_are_made_in_equal_parts_and_no_side_is_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = says(monkeypatch, other)
    told, pairs, _ = run(tmp_path, _rows(24))
    # 16 train rows and 4 of dev; a row of test and one of another expert make none
    assert Counter(pair.way for pair in pairs if pair.split == "train") == {
        "no passage": 4,
        "wrong passage": 4,
        "cut off": 4,
        "own answer": 4,
    }
    assert Counter(pair.split for pair in pairs) == {"train": 16, "dev": 4}
    assert len(heard) == 15 and sum(grounded_question(said) is None for said in heard) == 5
    by_id = {row.row_id: row for row in _rows(24)}
    for pair in pairs:
        row = by_id[pair.row_id[:3]]
        assert (pair.chosen, pair.messages, pair.origin) == (row.answer, row.messages, "written")
        assert pair.rejected != pair.chosen
    for way in told["ways"]:
        assert abs(way["rejected_chars"] / way["chosen_chars"] - 1) <= MOST_APART
    assert (told["judge"], told["dropped"], told["pairs"]) == ("overlap of words", {}, 20)


def test_what_is_no_worse_answer_is_dropped_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows(24)
    answer_to = {row.messages[0].content: row.answer for row in rows}

    def answer(prompt: str) -> str:
        """Nothing without the passage, the reference with it, and zebras with a wrong one."""
        return "" if grounded_question(prompt) is None else answer_to.get(prompt, other(prompt))

    says(monkeypatch, answer)
    told, pairs, _ = run(tmp_path, rows)
    assert {pair.way for pair in pairs} == {"wrong passage", "cut off"}
    assert told["dropped"] == {"no passage: nothing was answered": 5, "own answer: the same as the reference": 5}
    says(monkeypatch, lambda prompt: answer_to.get(prompt, other(prompt)).replace("It is", "They are"))
    told, *_ = run(tmp_path / "near", rows)
    assert told["dropped"] == {"own answer: says what the reference says": 5}


def test_given_pairs_are_taken_as_they_are_where_their_row_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, other)
    texts = [("a?", "yes", "no"), ("a?", "yes", "never"), ("b?", "yes", "no"), ("c?", "yes", "no"), ("d?", "yes", "no")]
    path = lines(tmp_path / "given.jsonl", *({"prompt": p, "chosen": c, "rejected": r} for p, c, r in texts))
    rows = []
    for prompt, split in (("a?", "train"), ("b?", "dev"), ("c?", "test")):
        one = Given("answer", None, None, (Message("user", prompt),), "yes")
        rows.append(TaskRow(one.row_id, "answer", split, None, "given", one.messages, "yes"))
    told, pairs, _ = run(tmp_path, rows, given=[Artifact.outside(path)])
    # one of the test is not learnt from, and one whose row was dropped is not, either
    assert [(pair.messages[0].content, pair.split, pair.rejected, pair.way) for pair in pairs] == [
        ("a?", "train", "no", "given"),
        ("a?", "train", "never", "given"),
        ("b?", "dev", "no", "given"),
    ]
    assert len({pair.row_id for pair in pairs}) == 3
    assert [(way["way"], way["split"], way["pairs"]) for way in told["ways"]] == [
        ("given", "train", 2),
        ("given", "dev", 1),
    ]


def test_as_many_as_are_wanted_and_dev_in_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, other)
    _, pairs, _ = run(tmp_path, _rows(24), {"made_pairs": 8})
    assert Counter(pair.split for pair in pairs) == {"train": 8, "dev": 2}
    with pytest.raises(InputError, match=r"of 0 rows no pair is left to train on"):
        run(tmp_path / "none", _rows(24), {"made_pairs": 0})


def _judge(body: dict[str, Any]) -> str:
    """Prefers the reference in both orders, but of word00 to word11 whatever stands first."""
    first = re.findall(r"<passage 1>\n(.*?)\n</passage 1>", body["messages"][1]["content"], re.DOTALL)[-1]
    number = int(re.findall(r"How long is word(\d\d)", body["messages"][1]["content"])[0])
    return json.dumps({"better": 1 if number < 12 or first.startswith("It is kept") else 2})


def test_an_llm_says_in_both_orders_whether_an_own_answer_is_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, other)
    rows = _rows(48)
    with ScriptedServer(_judge) as server:
        told, pairs, _ = run(tmp_path, rows, llm=client(tmp_path, server.url))
        own = {pair.row_id[:3] for pair in pairs if pair.way == "own answer"}
        # of 32 train rows and 8 of dev a quarter
        assert len(server.requests) == 2 * 10
    assert own and all(int(name[1:]) >= 12 for name in own)
    assert told["dropped"] == {"own answer: not judged worse in both orders": 10 - len(own)}
    assert (told["judge"], told["asked"], told["coverage"]) == ("tiny", 20, 1.0)
    with ScriptedServer(
        lambda body: "no" if "word47" in str(body) or "word45" in str(body) else _judge(body)
    ) as server:
        llm = client(tmp_path / "fails", server.url)
        told, *_ = run(tmp_path / "fails", rows, {"seed": 1}, llm=llm)
    if isinstance(told, Partial):
        assert told.facts["dropped"]["own answer: not judged"] >= 1


def test_a_budget_pays_for_a_quarter_and_what_was_not_judged_makes_no_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, other)
    with ScriptedServer(_judge) as server:
        told, *_ = run(tmp_path, _rows(48), llm=client(tmp_path, server.url, calls=40))
        assert len(server.requests) == 10
    assert isinstance(told, Partial) and told.lacks == {"cut_off_by_budget": 10}
    assert told.facts["dropped"]["own answer: not judged"] == 5


def test_a_tiny_model_answers_and_a_killed_step_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, instruct = tiny_pair(tmp_path / "models")
    settings = {"max_new_tokens": 160}
    asked = LanguageModel.answers
    calls: list[int] = []

    def counted(self: LanguageModel, turns: Any, most: int) -> list[Answer]:
        calls.append(len(turns))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return asked(self, turns, most)

    monkeypatch.setattr(LanguageModel, "answers", counted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", _rows(36), settings, model=instruct)
    killed = run(tmp_path / "killed", _rows(36), settings, model=instruct)
    # 22 or 23 answers in batches of 16, of which the first is not asked for again
    assert calls[0] == 16 and calls[1:] == [calls[1]] * 2 and calls[1] < 16
    monkeypatch.undo()
    whole = run(tmp_path / "whole", _rows(36), settings, model=instruct)
    assert whole[1] == killed[1] and whole[0] == killed[0]
    assert (whole[2] / "preferences.parquet").read_bytes() == (killed[2] / "preferences.parquet").read_bytes()
    assert isinstance(whole[0], dict)
