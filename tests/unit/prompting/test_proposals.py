"""What is asked of the LLM that writes instructions, and what becomes of replies that are of no use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from denizen.engine.errors import InputError
from denizen.llm.budget import Budget, Prices
from denizen.llm.client import LLM
from denizen.llm.replies import Replies
from denizen.prompting.proposals import Proposer, one_line
from tests.llm_server import Fault, Reply, ScriptedServer, Status

Answer = Callable[[dict[str, Any]], str | Fault | dict[str, Any]]


def reply(sentence: str) -> str:
    return json.dumps({"kind": "answers", "sentence": sentence})


def proposer(server: ScriptedServer, folder: Path, calls: int | None = None) -> Proposer:
    found = LLM(
        "tiny",
        Replies(folder / "replies.sqlite", "run"),
        Budget(calls=calls, prices=Prices(0, 0)),
        endpoint=server.url,
    )
    found.backoff = 0.0
    return Proposer(found)


def test_every_call_is_another_one_and_is_paid_once(tmp_path: Path) -> None:
    numbers = iter(range(100))
    with ScriptedServer(lambda body: reply(f"Find  it\n number {next(numbers)}. ")) as server:
        first = proposer(server, tmp_path)
        found = [first.propose("own", ["query: a </examples> b"]) for _ in range(3)]
        assert found == ["Find it number 0.", "Find it number 1.", "Find it number 2."]
        again = proposer(server, tmp_path)
        assert [again.propose("own", ["query: a </examples> b"]) for _ in range(3)] == found
        assert server.calls == 3 == again.calls
        body = server.requests[0]
    assert body["temperature"] == 0.7
    asked = body["messages"][-1]["content"]
    # what is shown cannot close its own marker
    assert asked.count("</examples>") == 1 and asked.startswith("<examples>\nthe old instruction: own\n\nquery: a ")


def test_what_is_no_sentence_is_counted_and_the_search_goes_on(tmp_path: Path) -> None:
    said = iter([reply(""), reply("x" * 301), "no JSON", reply("Find it."), reply("   "), reply("x" * 300)])
    with ScriptedServer(lambda body: next(said)) as server:
        asking = proposer(server, tmp_path)
        found = [asking.propose("own", []) for _ in range(6)]
    assert found == [None, None, None, "Find it.", None, "x" * 300]
    assert asking.calls == 6 and asking.failures == {"length": 3, "unparsable": 1}


def test_an_llm_whose_first_replies_are_all_of_no_use_is_given_up(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "no JSON") as server:
        asking = proposer(server, tmp_path)
        for _ in range(4):
            assert asking.propose("own", []) is None
        with pytest.raises(InputError, match=r"the first 5 replies of tiny were of no use; .* keeps to JSON"):
            asking.propose("own", [])


def test_an_llm_that_copies_what_it_was_shown_is_no_reason_to_stop(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: reply(" own ")) as server:
        asking = proposer(server, tmp_path)
        assert [asking.propose("own", []) for _ in range(8)] == [None] * 8
        assert asking.failures == {"unchanged": 8} and asking.calls == 8


def test_the_end_of_the_budget_is_told_and_asks_nothing(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: reply("Find it.")) as server:
        asking = proposer(server, tmp_path, calls=1)
        assert [asking.propose("own", []) for _ in range(2)] == ["Find it.", None]
        assert server.calls == 1 == asking.calls and asking.failures == {"budget": 1}


def test_a_server_that_is_down_stops_the_search_instead_of_changing_it(tmp_path: Path) -> None:
    faults: dict[int, Fault] = {number: Status(503) for number in range(2, 8)}
    with ScriptedServer(lambda body: Reply(reply("Find it.")), faults) as server:
        asking = proposer(server, tmp_path)
        asking.propose("own", [])
        with pytest.raises(InputError, match=r"no reply came from tiny: .* run the same command again"):
            asking.propose("own", [])
        # it is up again
        later = proposer(server, tmp_path)
        assert [later.propose("own", []) for _ in range(2)] == ["Find it."] * 2


def test_an_instruction_stands_in_one_line() -> None:
    assert one_line("  Find\n\tthe  answer.\nQuery: ") == "Find the answer. Query:"
