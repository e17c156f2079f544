"""A step that ends on its budget: it is taken as it is, completed by a larger one, and what follows is renewed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from denizen.engine.artifact import Artifact, Value
from denizen.engine.files import read_json, write_json
from denizen.engine.pipeline import Pipeline, records
from denizen.engine.settings import Params
from denizen.engine.step import Context, Partial, step


@dataclass
class Oracle:
    """Answers as long as it is paid; where `breaks` answers are given, the process is stopped."""

    budget: int
    breaks: int = -1
    given: int = 0

    def ask(self, question: str) -> str:
        if self.given == self.breaks:
            raise KeyboardInterrupt
        self.given += 1
        return question.upper()


@step(version=1, makes=Artifact)
def ask(out: Path, params: Params, ctx: Context, *, questions: Value) -> dict[str, Any] | Partial:
    """Each answer is on disk before the next one is paid, and none is paid twice."""
    journal, oracle = ctx.scratch / "answers.json", ctx[Oracle]
    answers = read_json(journal) or {}
    for question in questions.content:
        if question not in answers and len(answers) < oracle.budget:
            answers[question] = oracle.ask(question)
            write_json(journal, answers)
    write_json(out / "answers.json", answers)
    missing = len(questions.content) - len(answers)
    facts = {"answers": len(answers)}
    return Partial(facts, {"cut off by the budget": missing}) if missing else facts


@step(version=1, makes=Artifact)
def read(out: Path, params: Params, ctx: Context, *, answers: Artifact) -> dict[str, Any]:
    """Whatever comes after."""
    return {"read": sorted(read_json(answers.path / "answers.json"))}


def run(folder: Path, oracle: Oracle) -> tuple[list[str], int]:
    """What the last step has read, and how many answers were paid now."""
    made = Pipeline(folder, context=Context(resources={Oracle: oracle}), limits={"answers": oracle.budget})
    last = made(read, answers=made(ask, questions=Value(list("abcde"))))
    return last.facts["read"], oracle.given


def test_it_is_taken_completed_and_renews_what_follows(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Oracle(3, breaks=2))
    assert run(tmp_path, Oracle(3)) == (list("abc"), 1)
    assert run(tmp_path, Oracle(3)) == (list("abc"), 0)
    assert records(tmp_path)["ask"]["lacks"] == {"cut off by the budget": 2}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Oracle(9, breaks=1))
    # until it is completed, what there is stands
    assert records(tmp_path)["ask"]["facts"] == {"answers": 3}
    # d was paid before it was stopped, and a to c by the smaller budget
    assert run(tmp_path, Oracle(9)) == (list("abcde"), 1)
    assert records(tmp_path)["ask"]["lacks"] is None
    assert run(tmp_path, Oracle(0)) == (list("abcde"), 0)
