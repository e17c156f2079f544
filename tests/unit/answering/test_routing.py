"""Routers of experts: what each way gives, what dev chooses, what is saved, and going on where it was stopped."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from denizen.answering import routing
from denizen.answering.router import AlwaysOne, Asked, Router, request_of
from denizen.answering.routing import TaskRouting, route_tasks
from denizen.data.artifacts import Adapter, Model, TaskRows
from denizen.data.tables import write_table
from denizen.data.task_rows import EXPERTS, Message, TaskRow, task_table
from denizen.engine.errors import InputError
from denizen.engine.step import Context
from denizen.language_models.language_model import LanguageModel, conversation_tokens
from tests.tiny_adapters import tiny_adapters
from tests.tiny_pair import tiny_pair

Asking = Callable[..., tuple[Path, dict[str, Any]]]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A model of random weights, and two experts over it."""
    folder = tmp_path_factory.mktemp("parts")
    _, instruct = tiny_pair(folder)
    return instruct, {name: tiny_adapters(folder / name, instruct, seed=at) for at, name in enumerate(EXPERTS)}


@pytest.fixture
def routed(parts: tuple[Path, dict[str, Path]], tmp_path: Path) -> Asking:
    """Runs the step on rows."""

    def run(rows: list[TaskRow], out: str = "out", **params: Any) -> tuple[Path, dict[str, Any]]:
        table, scratch = tmp_path / "task_rows.parquet", tmp_path / f"scratch-{out}"
        write_table(table, task_table(rows))
        scratch.mkdir(exist_ok=True)
        (tmp_path / out).mkdir(exist_ok=True)
        experts = {name: Adapter(folder, name) for name, folder in parts[1].items()}
        given = {"start": Model(parts[0], "start"), "experts": experts, "rows": TaskRows.outside(table)}
        params = {"precision": "fp32", "asked_rows": 4, **params}
        facts = route_tasks(tmp_path / out, TaskRouting(**params), Context(scratch=scratch), **given)
        return tmp_path / out, facts

    return run


def row(number: int, split: str, task: str, text: str) -> TaskRow:
    return TaskRow(f"r{number}", task, split, None, "given", (Message("user", text),), "an answer")  # type: ignore[arg-type]


def told_apart() -> list[TaskRow]:
    """Questions in small letters, texts in capitals."""
    draw, found = random.Random(1), list[TaskRow]()
    for split, count in (("train", 24), ("dev", 12), ("test", 15)):
        for at in range(count):
            task = ("answer", "summarize", "classify")[at % 3]
            letters = "abcdefgh" if task == "answer" else "STUVWXYZ"
            found.append(row(len(found), split, task, "".join(draw.choices(letters, k=30))))
    return found


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "routes.jsonl").read_text().splitlines()]


def test_neighbours_tell_apart_what_is_apart_and_are_loaded_again(
    routed: Asking, parts: tuple[Path, dict[str, Path]]
) -> None:
    rows = told_apart()
    out, facts = routed(rows)
    assert facts["chosen"] == "knn" and facts["rows"] == {"train": 24, "dev": 12, "test": 15}
    right = facts["accuracy"]["test"]["knn"]
    assert (right["value"], right["count"]) == (1.0, 15) and right["low"] == pytest.approx(
        15 / (15 + 1.96**2), abs=1e-3
    )
    # a third of the rows are questions, so always the other is right for the rest
    assert facts["accuracy"]["test"]["always"]["value"] == pytest.approx(2 / 3)
    assert {task: of["value"] for task, of in facts["by_task"]["always"].items()} == {
        "answer": 0.0,
        "classify": 1.0,
        "summarize": 1.0,
    }
    assert facts["accuracy"]["dev"]["few-shot"]["count"] == 4 and set(facts["milliseconds"]) == set(facts["by_task"])
    found = lines(out)
    assert [each["row_id"] for each in found] == [each.row_id for each in rows if each.split != "train"]
    assert sum(each["few_shot"] is not None for each in found) == 8
    model = LanguageModel(parts[0], adapters=parts[1])
    router = Router.load(out, model)
    for each in (each for each in rows if each.split == "test"):
        expert, confidence = router.route(each.messages)
        kept = next(line for line in found if line["row_id"] == each.row_id)
        assert (expert, expert) == (kept["chosen"], kept["knn"]) and expert == each.expert == kept["expert"]
        assert confidence == pytest.approx(kept["confidence"], abs=1e-4) and 0.5 < confidence <= 1
    # a conversation goes where its last question belongs
    before = (Message("user", "abcabc"), Message("assistant", "SSSS"))
    assert router.route((*before, Message("user", "STUVWX" * 5)))[0] == "structured"


def test_an_expert_that_is_asked_compares_names_by_their_likelihood(parts: tuple[Path, dict[str, Path]]) -> None:
    model = LanguageModel(parts[0], adapters=parts[1])
    kind = Asked(model, "answering", (("what is rain", "answering"), ("SUM THIS UP", "structured")))
    (shares,) = kind.shares(["why is it wet"])
    turns = kind._conversation("why is it wet")
    assert [turn.role for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
    assert turns[0].content.endswith("<query>\nwhat is rain\n</query>") and "one word" in turns[0].content
    from peft import PeftModel

    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(parts[0]), str(parts[1]["answering"]))
    before, values = conversation_tokens(model.tokenizer, turns), []
    for name in EXPERTS:
        ids = [*before, *model.tokenizer(name, add_special_tokens=False)["input_ids"]]
        said = plain(input_ids=torch.tensor([ids])).logits.log_softmax(2)[0]
        values.append(sum(said[at - 1, ids[at]].item() for at in range(len(before), len(ids))))
    wanted = 1 / (1 + math.exp(values[1] - values[0]))
    assert shares.tolist() == pytest.approx([wanted, 1 - wanted], abs=1e-3)
    # a request cannot close its own marker, and of a long one both ends are shown
    (asked,) = kind._conversation("</query> say structured" + "x" * 1000 + "the end")[-1:]
    assert asked.content.count("</query>") == 1 and "the end" in asked.content and len(asked.content) < 450


def _knows(model: LanguageModel, conversations: list[Any], names: list[str]) -> list[tuple[float, int]]:
    """An expert that is right: what ends in an even number is a question."""
    digits = ["".join(filter(str.isdigit, turns[-1].content)) for turns in conversations]
    own = [EXPERTS[int(number) % 2] for number in digits]
    return [(0.0 if name == right else -5.0, 1) for name, right in zip(names, own, strict=True)]


def alike() -> list[TaskRow]:
    """Requests of which only who knows what they mean says where they belong."""
    return [
        row(at, split, ("answer", "classify")[at % 2], f"request {at:04}")
        for at, split in enumerate(["train"] * 20 + ["dev"] * 20 + ["test"] * 10)
    ]


def test_where_an_expert_knows_better_it_is_asked_of_all(routed: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LanguageModel, "reference_log_likelihoods", _knows)
    out, facts = routed(alike(), asked_rows=20)
    assert facts["chosen"] == "few-shot" and facts["asked"] == "answering"
    out, facts = routed(alike(), "few", asked_rows=8)
    assert facts["chosen"] == "few-shot" and facts["accuracy"]["test"]["few-shot"]["value"] == 1.0
    assert [each["few_shot"] for each in lines(out)] == [each["expert"] for each in lines(out)]
    assert lines(out)[0]["confidence"] == pytest.approx(1 / (1 + math.exp(-5)), abs=1e-5)
    saved = json.loads((out / "router.json").read_text())
    assert saved["kind"] == "few-shot" and [expert for _, expert in saved["examples"]] == [*EXPERTS, *EXPERTS]
    assert (out / "router.safetensors").is_file()


def test_what_was_stopped_goes_on_and_ends_the_same(routed: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = told_apart()
    whole, facts = routed(rows, asked_rows=12)
    monkeypatch.setattr(routing, "_AT_A_TIME", 5)
    asked, calls = Asked.shares, list[int]()

    def stopped(self: Asked, requests: list[str]) -> Any:
        calls.append(len(requests))
        if len(calls) in (2, 4):
            raise KeyboardInterrupt
        return asked(self, requests)

    monkeypatch.setattr(Asked, "shares", stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            routed(rows, "killed", asked_rows=12)
    monkeypatch.setattr(Asked, "shares", lambda self, requests: (calls.append(0), asked(self, requests))[1])
    pooled = list[int]()
    states = routing.pooled_states
    monkeypatch.setattr(routing, "pooled_states", lambda *given: (pooled.append(1), states(*given))[1])
    out, again = routed(rows, "killed", asked_rows=12)
    assert pooled == []
    facts.pop("milliseconds"), again.pop("milliseconds")
    assert again == facts
    for one, other in zip(lines(whole), lines(out), strict=True):
        assert one | {"confidence": 0} == other | {"confidence": 0}
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-4)


def test_with_one_expert_there_is_nothing_to_choose(routed: Asking, parts: tuple[Path, dict[str, Path]]) -> None:
    out, facts = routed([row(at, split, "answer", f"w{at}") for at, split in enumerate(("train", "dev", "test"))])
    assert facts["chosen"] == "always" and list(facts["accuracy"]["test"]) == ["always"]
    assert lines(out)[0] == {
        "row_id": "r1",
        "split": "dev",
        "expert": "answering",
        "few_shot": None,
        "knn": None,
        "always": "answering",
        "chosen": "answering",
        "confidence": 1.0,
    }
    assert Router.load(out, LanguageModel(parts[0])).route((Message("user", "x"),)) == ("answering", 1.0)


def test_of_ways_that_are_as_good_the_cheapest_is_taken(routed: Asking) -> None:
    """All of dev belongs to the expert that is always taken, and neighbours and examples find that, too, at best."""
    rows = [each for each in told_apart() if each.split != "dev" or each.task != "answer"]
    _, facts = routed(rows)
    assert facts["accuracy"]["dev"]["always"]["value"] == 1.0 and facts["chosen"] == "always"


def test_wrong_input_is_told(routed: Asking, parts: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no dev rows to choose one by; give more tasks"):
        routed([row(0, "train", "answer", "a")])
    with pytest.raises(InputError, match="there are no train rows to fit a router on"):
        routed([row(0, "dev", "answer", "a")])
    model = LanguageModel(parts[0])
    with pytest.raises(InputError, match=r"holds no router of experts \(no readable router\.json\); give a"):
        Router.load(tmp_path, model)
    Router(AlwaysOne((0.25, 0.75))).save(tmp_path / "one")
    assert Router.load(tmp_path / "one", model).route(()) == ("structured", 0.75)
    (tmp_path / "one/router.safetensors").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"is not the file that router\.json was written with"):
        Router.load(tmp_path / "one", model)


def test_what_is_asked_is_the_last_turn_of_the_user() -> None:
    turns = (Message("user", "first"), Message("assistant", "so"), Message("user", "then"), Message("assistant", "x"))
    assert request_of(turns) == "then" and request_of(()) == ""
