"""Following instructions as a probe: scripted answers, what is kept of a stopped asking, and what the step says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from denizen.engine.step import Context
from denizen.language_models.language_model import Answer
from denizen.language_models.stopping import STOPPING
from denizen.measuring import forgetting
from denizen.measuring import instructions as of
from denizen.measuring.instruction_checks import INSTRUCTIONS
from denizen.measuring.instructions import Answering, InstructionProbe, accuracy, accuracy_difference, answered_by
from denizen.retrievers.model_ref import outside_model


@dataclass
class Scripted:
    """Answers each prompt by a rule, and ends those of fewer than ten letters."""

    answer: Any
    asked: list[str] = field(default_factory=list)

    def answers(self, prompts: list[str], max_new_tokens: int) -> list[Answer]:
        self.asked += prompts
        return [Answer(text := self.answer(prompt), len(text) < 10) for prompt in prompts]


def small(prompt: str) -> str:
    return "yes"


def nothing(prompt: str) -> str:
    return ""


def test_a_probe_of_scripted_answers(tmp_path: Path) -> None:
    probe, one, other = InstructionProbe(INSTRUCTIONS[:36]), Scripted(small), Scripted(nothing)
    values = probe.values(one)  # type: ignore[arg-type]
    # "yes" is at most 10 words, 1 sentence, without "the" or a comma, one of yes and no, small, one word, ...
    good = {each.name[4:] for each in INSTRUCTIONS[:36] if values[each.name]}
    assert good == {
        "words at most",
        "sentences",
        "excludes",
        "one of",
        "lower case",
        "no commas",
        "one word",
        "excludes + sentences",
    }
    assert set(probe.values(other).values()) == {0.0}  # type: ignore[arg-type]
    report = probe.report({"base": one, "adapted": other}, tmp_path)  # type: ignore[dict-item]
    assert report["means"]["base"]["strict accuracy"] == pytest.approx(8 / 36)
    assert forgetting.reported({probe.name: report}) == pytest.approx({"general": -8 / 36})
    assert len((tmp_path / "adapted.jsonl").read_text().splitlines()) == 36


def test_what_is_answered_is_not_asked_again(tmp_path: Path) -> None:
    probe, kept = InstructionProbe(INSTRUCTIONS[:40]), tmp_path / "kept.jsonl"

    @dataclass
    class Stops(Scripted):
        def answers(self, prompts: list[str], max_new_tokens: int) -> list[Answer]:
            if len(self.asked) == 32:
                raise KeyboardInterrupt
            return super().answers(prompts, max_new_tokens)

    with pytest.raises(KeyboardInterrupt):
        probe.answered(Stops(small), kept)  # type: ignore[arg-type]
    model = Scripted(small)
    found = probe.answered(model, kept)  # type: ignore[arg-type]
    assert found == probe.answered(Scripted(small)) and len(model.asked) == 8  # type: ignore[arg-type]


def test_the_step_says_how_many_are_followed_and_how_many_answers_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of, "LanguageModel", lambda folder, bf16: Scripted(lambda prompt: "a" * (len(prompt) // 3)))
    out, folder = tmp_path / "out", tmp_path / "model"
    for path in (out, folder, tmp_path / "scratch"):
        path.mkdir()
    (folder / "config.json").write_text("{}")
    model, context = outside_model(folder), Context(scratch=tmp_path / "scratch")
    facts = of.instructions(out, Answering(instruction_prompts=48, max_new_tokens=20), context, model=model)
    assert facts["prompts"] == 48 and len(facts["kinds"]) == 36
    # a third as many letters as the question: ended below ten
    assert facts["stops"] == sum(len(prompt) < 30 for prompt in STOPPING) / 10
    made = type("Made", (), {"path": out})
    found = answered_by(made)  # type: ignore[arg-type]
    assert len(found) == 48 and accuracy(found).value == facts["accuracy"]["value"]
    assert accuracy_difference(found, found).value == 0
