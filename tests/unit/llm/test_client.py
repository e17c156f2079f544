from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from denizen.engine.errors import InputError
from denizen.llm.answer import Answer, Failure, Prompt
from denizen.llm.budget import Budget, Prices, Spending
from denizen.llm.client import LLM
from denizen.llm.endpoint import ChatEndpoint, response_format, retry_after
from denizen.llm.replies import Replies
from tests.llm_server import Cut, Fault, Hang, Page, Reply, ScriptedServer, Status, Trickle

KEY = "sk-secret-0123456789abcdef"
GRADE = '{"grade": 3}'


class Grade(BaseModel):
    grade: Literal[1, 2, 3, 4]


class Note(BaseModel):
    note: str = "none"
    grades: list[Grade] = []


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def prompt(text: str = "gout", **settings: Any) -> Prompt:
    return Prompt((("system", "Grade."), ("user", text)), Grade, **{"max_tokens": 50, **settings})


def unpaid(client: LLM, asked: Sequence[Prompt]) -> list[Prompt]:
    """The prompts, each once, that the store has no reply to."""
    by_key = {client.key(prompt): prompt for prompt in asked}
    stored = client.replies.find(by_key)
    return [prompt for key, prompt in by_key.items() if key not in stored]


def failed(client: LLM) -> list[tuple[str, str]]:
    """Kind and message of every failure in the store."""
    with sqlite3.connect(client.replies.path) as store:
        return store.execute("SELECT failure, message FROM replies WHERE failure IS NOT NULL").fetchall()


def prompts(count: int) -> list[Prompt]:
    return [prompt(f"passage {number}") for number in range(count)]


def llm(folder: Path, url: str, budget: Budget | None = None, **settings: Any) -> LLM:
    found = LLM(
        "tiny", Replies(folder / "r.sqlite", "run"), budget or Budget(allow_unpriced=True), endpoint=url, **settings
    )
    found.backoff = 0.001
    return found


def grade(body: dict[str, Any]) -> str:
    """The grade of "passage N" is 1 + N % 4."""
    return json.dumps({"grade": 1 + int(body["messages"][-1]["content"].split()[-1]) % 4})


def one(folder: Path, fault: Fault | str | dict[str, Any], **settings: Any) -> tuple[Answer | Failure, LLM]:
    """What a prompt comes to that is always answered alike."""
    with ScriptedServer(lambda body: fault) as server:
        client = llm(folder, server.url, **settings)
        return client.ask([prompt()], "judge")[0], client


# what is sent and what comes back


def test_answers_come_in_order_and_cost_what_was_used(tmp_path: Path) -> None:
    """(10 x 2 + 5 x 4) / 10^6 a call."""
    with ScriptedServer(grade) as server:
        client = llm(tmp_path, server.url, Budget(prices=Prices(2, 4)))
        answers = client.ask(prompts(10), "judge")
    assert [answer.value.grade for answer in answers] == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]  # type: ignore[union-attr]
    assert answers[1] == Answer(client.key(prompts(2)[1]), Grade(grade=2), '{"grade": 2}', None, 40e-6)
    assert client.replies.spent() == Spending(10, 150, pytest.approx(400e-6))
    assert client.budget.spent == Spending(10, 150, pytest.approx(400e-6))


def test_what_is_sent(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: GRADE) as server:
        llm(tmp_path, server.url).ask([prompt(temperature=0.5, logprobs=True)], "judge")
    assert server.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "system", "content": "Grade."}, {"role": "user", "content": "gout"}],
            "temperature": 0.5,
            "max_tokens": 50,
            "logprobs": True,
            "response_format": response_format(Grade),
        }
    ]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_the_schema_is_as_strict_endpoints_want_it() -> None:
    found = response_format(Note)
    assert found["type"] == "json_schema"
    assert found["json_schema"]["name"] == "Note" and found["json_schema"]["strict"] is True
    schema = found["json_schema"]["schema"]
    assert schema["required"] == ["note", "grades"] and schema["additionalProperties"] is False
    assert schema["$defs"]["Grade"]["additionalProperties"] is False
    assert schema["$defs"]["Grade"]["properties"]["grade"]["enum"] == [1, 2, 3, 4]
    assert "default" not in schema["properties"]["note"]


def test_the_mean_logprob_is_kept(tmp_path: Path) -> None:
    """-.1 and -.3 on average."""
    with ScriptedServer(lambda body: GRADE) as server:
        client = llm(tmp_path, server.url)
        with_, without = client.ask([prompt(logprobs=True), prompt()], "judge")
        again = client.ask([prompt(logprobs=True)], "judge")[0]
    assert isinstance(with_, Answer) and isinstance(without, Answer)
    assert with_.logprob == pytest.approx(-0.2) and without.logprob is None
    assert again == with_


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Reply(refusal="I will not."), "refusal"),
        ("I'm sorry, I can't.", "refusal"),
        (Reply(""), "empty"),
        (Reply(None), "empty"),
        (Reply('{"gra', "length"), "truncated"),
        ("Grade three.", "unparsable"),
        ('{"grade": 9}', "schema"),
    ],
)
def test_a_reply_that_is_of_no_use_is_a_failure_that_is_not_asked_again(
    tmp_path: Path, fault: Fault | str, kind: str
) -> None:
    failure, client = one(tmp_path, fault)
    assert isinstance(failure, Failure) and failure.kind == kind and failure.message
    assert failure.raw == (fault if isinstance(fault, str) else fault.text or "")  # type: ignore[union-attr]
    assert [found for found, _ in failed(client)] == [kind]
    with ScriptedServer(lambda body: GRADE) as server:
        later = llm(tmp_path, server.url)
        assert later.ask([prompt()], "judge") == [failure] and unpaid(later, [prompt()]) == []
        assert server.calls == 0
        assert later.replies.supersede_failures(1) == 1
        assert isinstance(later.ask([prompt()], "judge")[0], Answer) and server.calls == 1


@pytest.mark.parametrize("text", [f"```json\n{GRADE}\n```", f"<think>1?</think>{GRADE}"])
def test_a_fence_or_thinking_is_no_failure(tmp_path: Path, text: str) -> None:
    answer, _ = one(tmp_path, text)
    assert isinstance(answer, Answer) and answer.value == Grade(grade=3) and answer.text == text


def whole(message: dict[str, Any], finish_reason: str = "stop", **usage: Any) -> dict[str, Any]:
    """A whole body."""
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", **message}}
    return {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5, **usage}}


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "reasoning_content": f"\n\n{GRADE}\n"},
        {"content": "", "reasoning": f"It names gout, so: {GRADE}"},
        {"reasoning": None, "thinking": f"```json\n{GRADE}\n```"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": GRADE}]}]},
        {"content": GRADE, "reasoning_content": 'Perhaps {"grade": 1}?'},
        {"content": [{"type": "thinking", "thinking": "1?"}, {"type": "text", "text": GRADE}]},
        {"content": f"<think>1?</think>{GRADE}", "reasoning": "1?"},
        {"content": GRADE, "reasoning": 'Closed too early: </think> {"grade": 1}'},
    ],
)
def test_an_answer_is_read_where_the_server_has_put_it(tmp_path: Path, message: dict[str, Any]) -> None:
    answer, client = one(tmp_path, whole(message))
    assert isinstance(answer, Answer) and answer.value == Grade(grade=3)
    stored = client.replies.find([answer.key])[answer.key]
    # all that came is kept, and read alike from the store
    assert stored.text == answer.text and stored.text.count("<think>") == 1
    assert llm(tmp_path, "http://127.0.0.1:9/v1").ask([prompt()], "judge") == [answer]


@pytest.mark.parametrize(
    ("body", "kind", "kept"),
    [
        (whole({"content": None, "reasoning": f"{GRADE} is too high."}), "empty", "is too high"),
        (whole({"content": None, "reasoning": f'{{"grade": 1}} or {GRADE}'}), "empty", '{"grade": 1}'),
        (whole({"content": None, "reasoning": "So it goes"}, "length"), "truncated", "So it goes"),
        (whole({"content": None, "tool_calls": [{"arguments": GRADE}]}), "empty", "tool_calls"),
        (whole({"content": None, "tool_calls": [{"arguments": GRADE}]}, "length"), "truncated", "tool_calls"),
        ({"output": GRADE}, "transport", "output"),
    ],
)
def test_what_came_is_kept_where_it_is_no_answer(tmp_path: Path, body: dict[str, Any], kind: str, kept: str) -> None:
    failure, client = one(tmp_path, body)
    assert isinstance(failure, Failure) and failure.kind == kind and kept in failure.raw
    with sqlite3.connect(client.replies.path) as store:
        assert all(kept in text for (text,) in store.execute("SELECT text FROM replies"))


# 6 words, 500 times
LONG = "The clause on termination for convenience. " * 500


def test_a_reply_to_a_cut_prompt_is_a_failure_with_a_remedy(tmp_path: Path) -> None:
    """Paid for and kept; asked again when the server may have been given more."""
    with ScriptedServer(lambda body: GRADE, usage=(1026, 5)) as server:
        client = llm(tmp_path, server.url)
        failure = client.ask([prompt(LONG)], "judge")[0]
        assert isinstance(failure, Failure) and (failure.kind, failure.raw) == ("context", GRADE)
        assert "read 1,026 tokens" in failure.message and "OLLAMA_CONTEXT_LENGTH" in failure.message
        assert client.replies.spent() == Spending(1, 1031) and client.ask([prompt(LONG)], "judge") == [failure]
        with pytest.raises(InputError, match=r"first 20 replies.*read 1,026 tokens.*Then `denizen retry RUN` goes on"):
            client.ask([prompt(f"{LONG} {number}") for number in range(60)], "judge")
        server.usage = (3600, 5)
        assert client.replies.supersede_failures(0) >= 20
        assert isinstance(client.ask([prompt(LONG)], "judge")[0], Answer)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens_details": {"cached_tokens": 2600}},
        {"cache_read_input_tokens": 2600},
        {"prompt_tokens": None},
        {"prompt_tokens": 40},
        {"prompt_tokens": 3600},
    ],
)
def test_a_whole_prompt_is_not_taken_for_a_cut_one(tmp_path: Path, usage: dict[str, Any]) -> None:
    """By tokens from a cache, without usage, where only new tokens are counted, and where all are."""
    with ScriptedServer(lambda body: whole({"content": GRADE}, **{"prompt_tokens": 1000, **usage})) as server:
        assert isinstance(llm(tmp_path, server.url).ask([prompt(LONG)], "judge")[0], Answer)


def test_a_reply_that_was_stored_but_never_read_is_read_later(tmp_path: Path) -> None:
    """As after a kill between the two."""
    _, client = one(tmp_path, "Grade three.")
    with sqlite3.connect(client.replies.path) as rows:
        rows.execute("UPDATE replies SET failure = NULL, message = ''")
    failure = llm(tmp_path, "http://127.0.0.1:9/v1").ask([prompt()], "judge")[0]
    assert isinstance(failure, Failure) and failure.kind == "unparsable"
    assert [kind for kind, _ in failed(client)] == ["unparsable"]


def test_the_reply_is_stored_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from denizen.llm import client as module

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "parse_reply", broken)
    with pytest.raises(ZeroDivisionError):
        one(tmp_path, GRADE)
    assert [
        row.text for row in Replies(tmp_path / "r.sqlite", "run").find([llm(tmp_path, "").key(prompt())]).values()
    ] == [GRADE]


def test_text_that_is_no_utf8_is_sent_and_stored_all_the_same(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: '{"grade": 3, "x": "\ud83d"}') as server:
        client = llm(tmp_path, server.url)
        answer = client.ask([prompt("half a \ud83d pair")], "judge")[0]
    assert isinstance(answer, Answer)
    assert server.asked() == ["half a ? pair"]


def test_the_stored_request_says_what_was_sent(tmp_path: Path) -> None:
    _, client = one(tmp_path, GRADE)
    row = client.replies.find([client.key(prompt())])[client.key(prompt())]
    assert json.loads(row.request) == {
        "messages": [{"role": "system", "content": "Grade."}, {"role": "user", "content": "gout"}],
        "temperature": 0.0,
        "max_tokens": 50,
        "json_schema": True,
        "repeat": 0,
        "thinking_tokens": 0,
    }
    assert (row.stage, row.model, row.finish_reason, row.prompt_tokens, row.cost) == ("judge", "tiny", "stop", 10, None)
    assert row.created.endswith("+00:00") and 0 < row.seconds < 60


# keys, and what is not asked twice


def test_the_key_is_of_all_that_the_reply_depends_on_and_of_nothing_else(tmp_path: Path) -> None:
    class Other(BaseModel):
        grade: Literal[1, 2, 3]

    client = llm(tmp_path, "http://localhost:1/v1", concurrency=1)
    others = [
        prompt("fever"),
        prompt(temperature=1.0),
        prompt(logprobs=True),
        prompt(repeat=1),
        Prompt(prompt().messages, Other, 50),
        Prompt(prompt().messages[::-1], Grade, 50),
        Prompt((("system", "Grade.\nuser"), ("user", "gout")), Grade, 50),
    ]
    keys = [client.key(other) for other in [prompt(), *others]]
    assert len(set(keys)) == len(keys) and {len(key) for key in keys} == {64}
    replies = Replies(tmp_path / "other.sqlite", "another run")
    budget = Budget(allow_unpriced=True)
    assert LLM("tiny", replies, budget, endpoint="http://localhost:2", timeout=5).key(prompt()) == keys[0]
    assert LLM("large", replies, budget, endpoint="http://localhost:1/v1").key(prompt()) != keys[0]


def test_the_key_stays_what_it_was_in_stores_that_people_have_paid_for(tmp_path: Path) -> None:
    found = llm(tmp_path, "http://localhost:1/v1").key(prompt())
    assert found == "e2262d1cdabe0882ff2f6577da502b98a2f252ae87640e49c6d6a48bf78ddbe3"


def test_the_same_prompt_is_asked_once(tmp_path: Path) -> None:
    done: list[int] = []
    with ScriptedServer(grade) as server:
        client = llm(tmp_path, server.url)
        asked = [*prompts(3), *prompts(3)]
        assert unpaid(client, asked) == prompts(3)
        answers = client.ask(asked, "judge", done.append)
    assert server.calls == 3 and answers[:3] == answers[3:] and sum(done) == 6


def test_a_second_run_calls_nothing_whatever_its_order_and_concurrency(tmp_path: Path) -> None:
    asked = prompts(40)
    with ScriptedServer(grade) as server:
        first = llm(tmp_path, server.url, concurrency=16).ask(asked, "judge")
        assert server.calls == 40
        order = random.Random(1).sample(range(40), 40)
        done: list[int] = []
        later = llm(tmp_path, server.url, concurrency=3)
        second = later.ask([asked[at] for at in order], "judge", done.append)
        assert server.calls == 40 and second == [first[at] for at in order] and sum(done) == 40
    # without any server and key
    os.environ.pop("OPENAI_API_KEY")
    assert llm(tmp_path, "").ask(asked, "judge") == first


def test_repeats_are_calls_of_their_own(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: GRADE) as server:
        llm(tmp_path, server.url).ask([prompt(repeat=number) for number in range(3)], "judge")
    assert server.calls == 3


def test_no_more_calls_at_a_time_than_allowed(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: Reply(GRADE, seconds=0.1)) as server:
        llm(tmp_path, server.url, concurrency=3).ask(prompts(12), "judge")
    assert server.most_at_once == 3 and server.calls == 12


# errors that pass


@pytest.mark.parametrize("fault", [Status(429), Status(500), Status(503), Status(408), Status(409), Cut()])
def test_what_may_pass_is_tried_again(tmp_path: Path, fault: Fault) -> None:
    with ScriptedServer(lambda body: GRADE, faults={1: fault, 2: fault}) as server:
        client = llm(tmp_path, server.url)
        answer = client.ask([prompt()], "judge")[0]
    assert isinstance(answer, Answer) and server.calls == 3
    # an error is no call; a stream that broke may have been one, at 12 bytes + 2 x 32 + 64 + 50 tokens
    assert client.replies.spent() == (Spending(3, 2 * 188 + 15) if fault == Cut() else Spending(1, 15))
    assert client.budget.spent == client.replies.spent()


@pytest.mark.parametrize("fault", [Hang(), Trickle()])
def test_the_watchdog_ends_a_call_even_while_bytes_come(tmp_path: Path, fault: Fault) -> None:
    with ScriptedServer(lambda body: GRADE, faults={1: fault}) as server:
        client = llm(tmp_path, server.url, timeout=1.5)
        client.ask([], "judge")
        began = time.monotonic()
        assert isinstance(client.ask([prompt()], "judge")[0], Answer)
        assert server.times[1] - began > 1.5 and time.monotonic() - began < 10
    assert client.replies.spent() == Spending(2, 188 + 15)


def test_after_six_tries_it_is_a_transport_failure_that_is_asked_again(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: Status(502, "bad gateway")) as server:
        client = llm(tmp_path, server.url)
        failure = client.ask([prompt()], "judge")[0]
        assert server.calls == 6
    assert failure == Failure(client.key(prompt()), "transport", f"{server.url} answered 502: bad gateway", "")
    assert unpaid(client, [prompt()]) == [prompt()] and client.replies.spent() == Spending()
    with ScriptedServer(lambda body: GRADE) as server:
        assert isinstance(llm(tmp_path, server.url).ask([prompt()], "judge")[0], Answer)


def test_pauses_grow(tmp_path: Path) -> None:
    """.1 to .2 s, then .2 to .4, then .4 to .8."""
    with ScriptedServer(lambda body: GRADE, faults=dict.fromkeys([1, 2, 3], Status(500))) as server:
        client = llm(tmp_path, server.url)
        client.backoff = 0.1
        client.ask([prompt()], "judge")
    pauses = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert all(pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True)) and sum(pauses) < 4


@pytest.mark.parametrize("headers", [{"Retry-After": "1"}, {"retry-after-ms": "1000", "Retry-After": "5"}])
def test_retry_after_holds_all_callers_back(tmp_path: Path, headers: dict[str, str]) -> None:
    """The first of two is told to wait 1 s; the third prompt starts when the second is done, and waits too."""
    told = threading.Event()

    def answer(body: dict[str, Any]) -> Fault | str:
        if body["messages"][-1]["content"] == "passage 0" and not told.is_set():
            told.set()
            return Status(429, headers=headers)
        return Reply(grade(body), seconds=0.2)

    with ScriptedServer(answer) as server:
        answers = llm(tmp_path, server.url, concurrency=2).ask(prompts(4), "judge")
    assert all(isinstance(answer, Answer) for answer in answers) and server.calls == 5
    # two at once, then nothing for a second
    assert server.times[2] - server.times[0] > 0.99 and server.times[2] - server.times[0] < 3


def test_retry_after_is_read_in_all_its_forms() -> None:
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after-ms": "250"}) == 0.25
    assert 58 < retry_after({"retry-after": formatdate(time.time() + 60, usegmt=True)}) <= 60
    assert retry_after({"retry-after": formatdate(time.time() - 60, usegmt=True)}) == 0
    assert [retry_after({"retry-after": text}) for text in ("soon", "nan", "inf", "-3", "")] == [0] * 5
    assert retry_after({}) == 0


def test_a_wait_of_more_than_ten_minutes_is_not_waited_for(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Fault | str:
        if body["messages"][-1]["content"] == "passage 1":
            return Status(429, headers={"Retry-After": "5400"})
        return Reply(grade(body), seconds=0.3)

    with ScriptedServer(answer) as server:
        client = llm(tmp_path, server.url, concurrency=2)
        with pytest.raises(InputError, match=r"asks to wait 90 minutes.*Nothing is lost: run the same command again"):
            client.ask(prompts(6), "judge")
        # the one under way was awaited and is stored, no further one was started
        assert server.calls == 2 and unpaid(client, prompts(6)) == prompts(6)[1:]


@pytest.mark.parametrize("seconds", ["0", "-5", "soon"])
def test_a_senseless_retry_after_is_no_wait(tmp_path: Path, seconds: str) -> None:
    with ScriptedServer(lambda body: GRADE, faults={1: Status(429, headers={"Retry-After": seconds})}) as server:
        assert isinstance(llm(tmp_path, server.url).ask([prompt()], "judge")[0], Answer)


@pytest.mark.parametrize("page", ["<html>hello</html>", '{"choices": []}', '{"error": {"message": "x"}}', "[", "null"])
def test_what_is_no_completion_is_a_transport_failure(tmp_path: Path, page: str) -> None:
    for content_type in ("text/html", "application/json"):
        failure, _ = one(tmp_path, Page(page, content_type))
        assert isinstance(failure, Failure) and failure.kind == "transport"
        assert "answered with what is no chat completion" in failure.message


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """Nothing was sent, so nothing is counted."""
    client = llm(tmp_path, "http://127.0.0.1:9/v1")
    failure = client.ask([prompt()], "judge")[0]
    assert isinstance(failure, Failure) and failure.kind == "transport" and "127.0.0.1:9" in failure.message
    assert client.replies.spent() == Spending() == client.budget.spent


# what an endpoint refuses

MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) is supported."
)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("response_format", Status(400, "response_format of type json_schema is not supported")),
        ("response_format", Status(422, "guided decoding is switched off")),
        ("logprobs", Status(400, "This model does not support the 'logprobs' parameter.")),
        ("logprobs", Status(400, "no", fields={"param": "logprobs"})),
        ("max_tokens", Status(400, MAX_TOKENS, fields={"param": "max_tokens"})),
        ("max_tokens", Status(422, "[{'type': 'extra_forbidden', 'loc': ('body', 'max_tokens')}]")),
        ("temperature", Status(400, TEMPERATURE)),
        ("logprobs", Status(403, "You are not allowed to request logprobs from this model")),
        ("response_format", Status(404, "No endpoints found that support structured outputs")),
        ("response_format", Status(500, "failed to parse the grammar")),
        ("response_format", Status(400, "no", fields={"param": "response_format.json_schema"})),
        ("logprobs", Status(200, "Argument not supported on this model: logprobs", fields={"code": 400})),
    ],
)
def test_a_refused_parameter_is_left_out_from_then_on(tmp_path: Path, name: str, error: Status) -> None:
    with ScriptedServer(lambda body: error if name in body else GRADE) as server:
        client = llm(tmp_path, server.url, concurrency=1)
        asked = [prompt(f"passage {number}", logprobs=True) for number in range(3)]
        assert all(isinstance(answer, Answer) for answer in client.ask(asked, "judge"))
        assert [name in body for body in server.requests] == [True, False, False, False]
        assert all(isinstance(answer, Answer) for answer in client.ask([prompt("more", logprobs=True)], "judge"))
        assert server.calls == 5
    assert [body.get("max_completion_tokens") for body in server.requests[1:]] == [
        50 if name == "max_tokens" else None
    ] * 4
    # an error in the body of a success may have been paid for
    assert client.replies.spent().calls == 4 + (error.code == 200) and client.endpoint.parameters.refused == {name}


def test_an_endpoint_that_refuses_everything_and_is_asked_at_once(tmp_path: Path) -> None:
    """Each of 8 first calls is refused four times at most: what others were told meanwhile is not sent again."""

    def answer(body: dict[str, Any]) -> Fault | str:
        for name, message in [("max_tokens", MAX_TOKENS), ("temperature", TEMPERATURE), ("logprobs", "no logprobs")]:
            if name in body:
                return Status(400, message)
        return Status(400, "no json_schema") if "response_format" in body else grade(body)

    asked = [prompt(f"passage {number}", logprobs=True) for number in range(24)]
    with ScriptedServer(answer) as server:
        answers = llm(tmp_path, server.url, concurrency=8).ask(asked, "judge")
    assert all(isinstance(answer, Answer) for answer in answers)
    assert 24 + 4 <= server.calls <= 24 + 8 * 4


@pytest.mark.parametrize("status", [400, 403, 404, 422, 500])
@pytest.mark.parametrize(
    "refused", [{"response_format"}, {"logprobs"}, {"temperature"}, {"response_format", "logprobs"}]
)
def test_a_parameter_that_is_refused_without_being_named_is_found_and_left_out(
    tmp_path: Path, status: int, refused: set[str]
) -> None:
    error = Status(status, "model tiny: not supported")
    with ScriptedServer(lambda body: error if refused & body.keys() else GRADE) as server:
        client = llm(tmp_path, server.url, concurrency=2)
        asked = [prompt(f"passage {number}", logprobs=True) for number in range(4)]
        assert all(isinstance(answer, Answer) for answer in client.ask(asked, "judge"))
        before = server.calls
        assert isinstance(client.ask([prompt("more", logprobs=True)], "judge")[0], Answer)
        assert server.calls == before + 1
    # two together are not told from the third, which is left out with them
    expected = refused if len(refused) == 1 else refused | {"temperature"}
    assert client.endpoint.parameters.refused == expected and client.replies.spent().calls == 5


@pytest.mark.parametrize(
    ("error", "calls", "words"),
    [
        (Status(403, "not yours"), 4, "answered 403: not yours; see that the key in OPENAI_API_KEY"),
        (Status(404, "nothing here"), 4, r"answered 404: nothing here; the model is 'tiny', and there are \['mini'"),
        (Status(400, "tiny is not supported"), 4, r"the model is 'tiny', and there are \['mini'"),
        (Status(403, "you may not use logprobs"), 4, "answered 403: you may not use logprobs; see that the key"),
    ],
)
def test_what_no_parameter_is_at_fault_for_is_told_as_it_is(
    tmp_path: Path, error: Status, calls: int, words: str
) -> None:
    """The whole request, then without the schema, the temperature, and both; nothing is remembered of it."""
    with ScriptedServer(lambda body: error, models=("mini",)) as server:
        client = llm(tmp_path, server.url, concurrency=1)
        with pytest.raises(InputError, match=words):
            client.ask(prompts(5), "judge")
        assert server.calls == calls and client.endpoint.parameters.refused == set()


def test_the_error_of_the_whole_request_is_what_is_told(tmp_path: Path) -> None:
    """Of another request than the one that was meant nobody needs to know."""
    with ScriptedServer(lambda body: Status(400, "less"), faults={1: Status(403, "all of it")}) as server:
        with pytest.raises(InputError, match="answered 403: all of it; see that the key"):
            llm(tmp_path, server.url, concurrency=1).ask(prompts(5), "judge")
        assert server.calls == 4


def test_an_outage_is_no_refusal(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: Status(500, "no")) as server:
        client = llm(tmp_path, server.url, concurrency=4)
        with pytest.raises(
            InputError, match=r"10 prompts in a row got no reply.*answered 500: no\. See that the server"
        ):
            client.ask([prompt(f"passage {number}", logprobs=True) for number in range(40)], "judge")
    assert client.endpoint.parameters.refused == set()


@pytest.mark.parametrize("error", [Status(403, "no"), Status(404, "no")])
def test_what_was_taken_once_is_not_at_fault_later(tmp_path: Path, error: Status) -> None:
    with ScriptedServer(lambda body: GRADE, faults={2: error}) as server:
        client = llm(tmp_path, server.url, concurrency=1)
        with pytest.raises(InputError, match=f"answered {error.code}: no"):
            client.ask(prompts(3), "judge")
        assert server.calls == 2 and client.endpoint.parameters.refused == set()


def test_an_internal_error_that_names_what_was_taken_is_one(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: GRADE, faults={2: Status(500, "structured log is full")}) as server:
        client = llm(tmp_path, server.url, concurrency=1)
        assert all(isinstance(answer, Answer) for answer in client.ask(prompts(3), "judge"))
        assert server.calls == 4 and client.endpoint.parameters.refused == set()


def test_the_name_of_the_model_is_no_word_about_a_parameter(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: GRADE, faults={1: Status(500, "grammar-7b is loading")}) as server:
        client = LLM("grammar-7b", Replies(tmp_path / "r", "run"), Budget(allow_unpriced=True), endpoint=server.url)
        assert isinstance(client.ask([prompt()], "judge")[0], Answer)
    assert client.endpoint.parameters.refused == set()


def test_an_error_that_passes_ends_no_trial(tmp_path: Path) -> None:
    """Whole, without the schema: too many at once, and without the schema again."""
    error = Status(403, "no")
    with ScriptedServer(lambda body: error if "response_format" in body else GRADE, faults={2: Status(429)}) as server:
        client = llm(tmp_path, server.url, concurrency=1)
        assert isinstance(client.ask([prompt()], "judge")[0], Answer)
        assert server.calls == 3 and client.endpoint.parameters.refused == {"response_format"}


def test_another_schema_may_be_refused_where_one_was_taken(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Fault | str:
        name = body.get("response_format", {}).get("json_schema", {}).get("name")
        return Status(500, "no") if name == "Note" else '{"grade": 3, "note": "x", "grades": []}'

    with ScriptedServer(answer) as server:
        client = llm(tmp_path, server.url)
        asked = [prompt(), Prompt(prompt().messages, Note, 50)]
        assert [type(client.ask([one], "judge")[0]) for one in asked] == [Answer, Answer]


def test_without_a_place_for_a_system_message_it_stands_before_the_users(tmp_path: Path) -> None:
    error = Status(400, "System role not supported")
    with ScriptedServer(lambda body: error if body["messages"][0]["role"] == "system" else GRADE) as server:
        assert isinstance(llm(tmp_path, server.url).ask([prompt()], "judge")[0], Answer)
    assert server.requests[-1]["messages"] == [{"role": "user", "content": "Grade.\n\ngout"}]


def test_an_endpoint_that_knows_no_limit_by_either_name(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> Fault | str:
        names = [name for name in ("max_tokens", "max_completion_tokens") if name in body]
        return Status(422, f"{names[0]}: extra inputs are not permitted") if names else GRADE

    with ScriptedServer(answer) as server:
        assert isinstance(llm(tmp_path, server.url).ask([prompt()], "judge")[0], Answer) and server.calls == 3


def test_max_tokens_that_are_too_many_are_not_renamed(tmp_path: Path) -> None:
    """A server that ignores the other name would answer without end."""
    message = "'max_tokens' or 'max_completion_tokens' is too large: 9000. This model supports at most 4096 tokens."
    failure, client = one(tmp_path, Status(400, message, fields={"param": "max_tokens"}))
    assert isinstance(failure, Failure) and failure.kind == "transport" and "is too large: 9000" in failure.message
    assert client.endpoint.parameters.refused == set()


def test_a_prompt_that_is_refused_is_lost_alone(tmp_path: Path) -> None:
    """Every third one is too long: 20 of 60, more than 10 in a row would be, but others were answered."""
    too_long = Status(400, "This model's maximum context length is 4096 tokens")

    def answer(body: dict[str, Any]) -> Fault | str:
        return grade(body) if int(body["messages"][-1]["content"].split()[-1]) < 3 else too_long

    with ScriptedServer(answer) as server:
        client = llm(tmp_path, server.url, concurrency=2)
        answers = client.ask(prompts(20), "judge")
        assert server.calls == 20
    assert [isinstance(answer, Answer) for answer in answers] == [True] * 3 + [False] * 17
    assert answers[3] == Failure(
        client.key(prompts(4)[3]), "transport", f"{server.url} answered 400: {too_long.message}", ""
    )


@pytest.mark.parametrize(("fault", "tries"), [(Status(400, "too long"), 1), (Status(500, "too long"), 6)])
def test_ten_losses_from_the_start_end_the_run(tmp_path: Path, fault: Status, tries: int) -> None:
    with ScriptedServer(lambda body: fault) as server:
        client = llm(tmp_path, server.url, concurrency=1)
        with pytest.raises(
            InputError, match=r"10 prompts in a row got no reply; the last time: .* too long.*run the same"
        ):
            client.ask(prompts(100), "judge")
        assert server.calls == 10 * tries


def test_fewer_than_ten_losses_are_failures(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: Status(400, "too long")) as server:
        answers = llm(tmp_path, server.url, concurrency=1).ask(prompts(9), "judge")
    assert [answer.kind for answer in answers] == ["transport"] * 9  # type: ignore[union-attr]


def test_a_server_that_dies_in_the_middle_ends_the_run(tmp_path: Path) -> None:
    with ScriptedServer(grade, faults=dict.fromkeys(range(6, 1000), Status(500))) as server:
        client = llm(tmp_path, server.url, concurrency=1)
        with pytest.raises(InputError, match="10 prompts in a row"):
            client.ask(prompts(100), "judge")
        assert server.calls == 5 + 60 and len(unpaid(client, prompts(100))) == 95


# errors that do not pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            Status(401, "Incorrect API key provided"),
            r"answered 401: Incorrect API key .*the key in OPENAI_API_KEY is valid",
        ),
        (Status(404, "The model `tiny` does not exist"), r"answered 404.*the model is 'tiny', and there are \['mini'"),
        (Status(400, "model tiny not found"), r"answered 400.*the model is 'tiny', and there are \['mini'"),
        (Status(400, "no", fields={"code": "model_not_found"}), r"there are \['mini'"),
        (Status(402, "pay"), "add credit to the account"),
        (Status(429, "quota", fields={"code": "insufficient_quota"}), "add credit to the account"),
    ],
)
def test_what_cannot_pass_stops_at_once_with_a_remedy(tmp_path: Path, error: Status, words: str) -> None:
    with ScriptedServer(lambda body: error, models=("mini", "maxi")) as server:
        client = llm(tmp_path, server.url, concurrency=1)
        with pytest.raises(InputError, match=words) as caught:
            client.ask(prompts(5), "judge")
        assert server.calls == 1 and server.url in str(caught.value)


def test_many_models_are_not_all_listed(tmp_path: Path) -> None:
    names = tuple(f"m{number}" for number in range(13))
    with (
        ScriptedServer(lambda body: Status(404), models=names) as server,
        pytest.raises(InputError, match=r"'m9', 'and 3 more'\]"),
    ):
        llm(tmp_path, server.url).ask([prompt()], "judge")


def test_a_wrong_base_url_is_told(tmp_path: Path) -> None:
    with ScriptedServer(grade, models=None) as server:
        client = llm(tmp_path, server.url.removesuffix("/v1"))
        with pytest.raises(InputError, match=r"404: Not Found.*a base URL, which mostly ends in /v1"):
            client.ask([prompt()], "judge")


def test_a_key_that_is_wanted_and_not_set_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with ScriptedServer(lambda body: Status(401)) as server:
        with pytest.raises(InputError, match="it wants a key and MY_KEY is not set"):
            llm(tmp_path, server.url, key_variable="MY_KEY").ask([prompt()], "judge")
        assert server.headers[0]["authorization"] == "Bearer none"
    with pytest.raises(InputError, match=r"https://api\.openai\.com/v1 needs a key and OPENAI_API_KEY is not set"):
        llm(tmp_path, "").ask([prompt()], "judge")


@pytest.mark.parametrize("key", ["sk with space", "sk-ключ", "sk-\x01"])
def test_a_malformed_key_is_told_without_showing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(InputError, match="characters that no key has") as caught:
        llm(tmp_path, "http://127.0.0.1:9").ask([prompt()], "judge")
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8000", "no http or https address"),
        ("ftp://host/v1", "no http or https address"),
        ("http://", "no http or https address"),
        ("http://host:port/v1", "no URL"),
        ("http://me:hunter2@host/v1", "user or password in its URL"),
        ("http://hunter2@host/v1", "user or password in its URL"),
        ("http://host/v1?key=hunter2", r"has a \? or # in its URL"),
    ],
)
def test_a_malformed_endpoint_is_told_without_passwords(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        llm(tmp_path, url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"concurrency": 0}, {"timeout": 0.0}])
def test_senseless_numbers_are_told(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="concurrency is"):
        llm(tmp_path, "http://localhost:1", **settings)


def test_an_explicit_endpoint_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(lambda body: GRADE) as named, ScriptedServer(lambda body: GRADE) as ambient:
        monkeypatch.setenv("OPENAI_BASE_URL", ambient.url)
        llm(tmp_path, named.url).ask([prompt("a")], "judge")
        assert (named.calls, ambient.calls) == (1, 0)
        llm(tmp_path, "").ask([prompt("b")], "judge")
        assert (named.calls, ambient.calls) == (1, 1)
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert ChatEndpoint("m", "", "K", 1).url == "https://api.openai.com/v1"


def test_a_proxy_is_not_used_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    answer, _ = one(tmp_path, GRADE)
    assert isinstance(answer, Answer)


# the key


def test_the_key_is_nowhere_but_in_the_header(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    leaks = {1: Reply(f'{{"grade": 2, "x": "{KEY}"}}'), 2: Reply(refusal=KEY), 3: Status(400, KEY), 4: Page(KEY)}
    with ScriptedServer(lambda body: Status(401, f"key {KEY} is wrong"), faults=leaks) as server:
        client = llm(tmp_path, server.url, concurrency=1)
        found = client.ask(prompts(3), "judge")
        with pytest.raises(InputError, match=r"key \*\*\* is wrong") as caught:
            client.ask([prompt(KEY)], "judge")
    assert server.headers[0]["authorization"].endswith(KEY)
    shown = [repr(found), str(caught.value), repr(client), repr(vars(client)), repr(vars(client.endpoint)), caplog.text]
    assert caught.value.__cause__ is None
    assert not [text for text in shown if KEY in text]
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("r.sqlite*"))
    assert KEY.encode() not in stored and b"passage 0" in stored and b"***" in stored


def test_a_placeholder_key_may_be_a_word_of_a_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    answer, _ = one(tmp_path, '{"grade": 2, "why": "EMPTY"}')
    assert isinstance(answer, Answer) and "EMPTY" in answer.text


# budgets


@pytest.mark.parametrize("concurrency", [1, 16])
def test_calls_stop_before_the_limit_and_the_later_prompts_are_left_out(tmp_path: Path, concurrency: int) -> None:
    with ScriptedServer(lambda body: Reply(grade(body), seconds=0.02)) as server:
        client = llm(tmp_path, server.url, Budget(calls=25, allow_unpriced=True), concurrency=concurrency)
        answers = client.ask(prompts(40), "judge")
        assert server.calls == 25
        assert [isinstance(answer, Answer) for answer in answers] == [True] * 25 + [False] * 15
        assert {answer.kind for answer in answers[25:]} == {"budget"}  # type: ignore[union-attr]
        # another process of the same run has nothing left either; a larger budget takes it up where it ended
        assert llm(tmp_path, server.url, Budget(calls=25, allow_unpriced=True)).ask(prompts(40), "judge") == answers
        assert server.calls == 25
        more = llm(tmp_path, server.url, Budget(calls=40, allow_unpriced=True)).ask(prompts(40), "judge")
        assert server.calls == 40 and all(isinstance(answer, Answer) for answer in more)


@pytest.mark.parametrize("concurrency", [1, 16])
def test_tokens_and_money_are_never_exceeded(tmp_path: Path, concurrency: int) -> None:
    """A call's worst case is 6 + 9 bytes ("passage N"; 10 from N = 10) + 128 + 50 = 193 or 194 tokens; it uses 15.

    With 1000 tokens: after n calls 1000 - 15 n are left; the 54th (N = 53) is made with 205 left, the 55th would have
    190.
    """
    with ScriptedServer(grade) as server:
        client = llm(tmp_path, server.url, Budget(tokens=1000, allow_unpriced=True), concurrency=concurrency)
        answers = client.ask(prompts(80), "judge")
        assert server.calls == 54 and client.replies.spent() == Spending(54, 810)
        assert [isinstance(answer, Answer) for answer in answers] == [True] * 54 + [False] * 26


def test_a_prompt_that_waits_for_the_budget_is_not_overtaken(tmp_path: Path) -> None:
    """Of 700 tokens the first may take 185 (7 bytes + 128 + 50), the second 635, the third 185; each takes 15."""
    asked = [prompt("a"), prompt("b", max_tokens=500), prompt("c")]
    with ScriptedServer(lambda body: Reply(GRADE, seconds=0.2)) as server:
        client = llm(tmp_path, server.url, Budget(tokens=700, allow_unpriced=True))
        assert all(isinstance(answer, Answer) for answer in client.ask(asked, "judge"))
    assert server.asked() == ["a", "b", "c"] and server.most_at_once == 1


def test_money_is_never_exceeded_whatever_calls_use(tmp_path: Path) -> None:
    """Usage is drawn up to the worst case, and at times not told at all."""
    chance = random.Random(5)
    limit = 20_000e-6

    def answer(body: dict[str, Any]) -> Fault:
        usage = (chance.randint(1, 143), chance.randint(1, 50))
        return Reply(grade(body), usage=usage, seconds=chance.uniform(0, 0.02))

    with ScriptedServer(answer, faults={5: Cut(), 9: Status(500), 12: Cut()}) as server:
        client = llm(tmp_path, server.url, Budget(money=limit, prices=Prices(3, 7)), concurrency=16)
        answers = client.ask(prompts(200), "judge")
        kinds = Counter(answer.kind if isinstance(answer, Failure) else "answer" for answer in answers)
        spent = client.budget.spent.money
        # what is left is less than the worst case of one more call: 143 x 3 + 50 x 7 (the longer ones have a byte more)
        assert limit - (145 * 3 + 350) * 1e-6 < spent <= limit
        assert client.replies.spent().money == pytest.approx(spent)
        assert kinds["answer"] + kinds["budget"] == 200 and kinds["answer"] > 20


def test_a_reply_without_usage_counts_at_its_worst_case(tmp_path: Path) -> None:
    """6 + 4 bytes + 128 + 50."""
    with ScriptedServer(lambda body: GRADE, usage=None) as server:
        client = llm(tmp_path, server.url)
        client.ask([prompt()], "judge")
    assert client.replies.spent() == Spending(1, 188)


def test_a_retry_that_no_longer_fits_is_not_made(tmp_path: Path) -> None:
    """188 tokens may be gone with the first try; 300 do not hold another one."""
    with ScriptedServer(lambda body: Cut()) as server:
        client = llm(tmp_path, server.url, Budget(tokens=300, allow_unpriced=True))
        failure = client.ask([prompt()], "judge")[0]
        assert server.calls == 1
    assert isinstance(failure, Failure) and failure.kind == "budget"
    assert client.budget.spent == Spending(1, 188) == client.replies.spent()


# interruptions

# asks 60 prompts, one after the other of each of 4 workers
ASKING = """
import signal
import sys
from pathlib import Path
from denizen.llm.budget import Budget
from denizen.llm.client import LLM
from denizen.llm.replies import Replies
from tests.unit.llm.test_client import prompts
if __name__ == "__main__":
    # ignored where the tests were started in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder, url = sys.argv[1:]
    replies = Replies(Path(folder) / "r.sqlite", "run")
    llm = LLM("tiny", replies, Budget(allow_unpriced=True), endpoint=url, concurrency=4)
    print(len(llm.ask(prompts(60), "judge")))
"""


def stopped(folder: Path, server: ScriptedServer, after: int, signal_: int) -> int:
    """Starts a process that asks, stops it once the server has seen `after` requests, and returns its exit code."""
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root / "src"), str(root)])
    child = subprocess.Popen(
        [sys.executable, "-c", ASKING, str(folder), server.url],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while server.calls < after and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal_)
    began = time.monotonic()
    code = child.wait()
    assert time.monotonic() - began < 5
    return code


def test_after_kill_9_only_what_was_under_way_is_asked_again(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: Reply(grade(body), seconds=0.05)) as server:
        assert stopped(tmp_path, server, 15, signal.SIGKILL) == -signal.SIGKILL
        time.sleep(0.2)
        client = llm(tmp_path, server.url, concurrency=9)
        missing = {item.messages[-1][1] for item in unpaid(client, prompts(60))}
        first = set(server.asked())
        assert len(first) == server.calls >= 15 and len(first & missing) <= 4
        before = server.calls
        answers = client.ask(prompts(60), "judge")
        assert set(server.asked()[before:]) == missing and server.calls - before == len(missing)
        assert all(isinstance(answer, Answer) for answer in answers)


def test_ctrl_c_leaves_at_once_and_counts_what_was_under_way(tmp_path: Path) -> None:
    """The 11th and later requests hang."""
    faults = dict.fromkeys(range(11, 100), Hang())
    with ScriptedServer(grade, faults=faults) as server:
        assert stopped(tmp_path, server, 14, signal.SIGINT) == -signal.SIGINT
        assert server.calls == 14
    client = llm(tmp_path, server.url)
    assert len(unpaid(client, prompts(60))) == 50
    assert client.replies.spent().calls == 14
    assert {message for _, message in failed(client)} == {"interrupted before the reply came"}


def test_it_asks_where_an_event_loop_runs_already(tmp_path: Path) -> None:
    async def cell() -> list[Answer | Failure]:
        return llm(tmp_path, server.url).ask(prompts(3), "judge")

    with ScriptedServer(grade) as server:
        assert [type(answer) for answer in asyncio.run(cell())] == [Answer] * 3


def test_ctrl_c_in_a_notebook_leaves_at_once(tmp_path: Path) -> None:
    """Its loop leaves signals alone, so that Ctrl-C interrupts the cell."""

    def interrupt(server: ScriptedServer) -> None:
        while server.calls < 2:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    async def cell() -> None:
        llm(tmp_path, server.url, concurrency=2).ask(prompts(3), "judge")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with ScriptedServer(lambda body: Hang()) as server:
        threading.Thread(target=interrupt, args=[server], daemon=True).start()
        loop = asyncio.new_event_loop()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(cell())
        loop.close()
        signal.signal(signal.SIGINT, before)
        assert time.monotonic() - began < 10
    assert llm(tmp_path, server.url).replies.spent().calls == 2


def test_an_error_of_the_store_stops_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(grade) as server:
        client = llm(tmp_path, server.url, concurrency=2)

        def full(*arguments: object) -> int:
            raise InputError("no space left")

        monkeypatch.setattr(client.replies, "add", full)
        with pytest.raises(InputError, match="no space left"):
            client.ask(prompts(50), "judge")
        assert server.calls <= 4


def test_an_error_that_concerns_all_ends_the_pauses_of_the_others(tmp_path: Path) -> None:
    """The first prompt would be tried again in 30 seconds."""

    def answer(body: dict[str, Any]) -> Fault:
        return Status(500) if body["messages"][-1]["content"] == "passage 0" else Status(401)

    with ScriptedServer(answer) as server:
        client = llm(tmp_path, server.url, concurrency=2)
        client.backoff = 30.0
        began = time.monotonic()
        with pytest.raises(InputError, match="answered 401"):
            client.ask(prompts(2), "judge")
        assert server.calls == 2 and time.monotonic() - began < 10


def test_a_defect_leaves_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    def answer(body: dict[str, Any]) -> Fault | str:
        return Reply(GRADE, seconds=0.3) if body["messages"][-1]["content"] == "passage 0" else Hang()

    with ScriptedServer(answer) as server:
        client = llm(tmp_path, server.url, concurrency=2, timeout=40)
        monkeypatch.setattr(client, "outcome", broken)
        began = time.monotonic()
        with pytest.raises(ZeroDivisionError):
            client.ask(prompts(2), "judge")
        assert time.monotonic() - began < 10
    assert client.replies.spent().calls == 2


def test_two_clients_share_a_budget_one_after_the_other(tmp_path: Path) -> None:
    budget = Budget(calls=5, allow_unpriced=True)
    with ScriptedServer(grade) as server:
        ask: Callable[..., Any] = llm(tmp_path, server.url, budget).ask
        ask(prompts(3), "write")
        other = LLM("large", Replies(tmp_path / "r.sqlite", "run"), budget, endpoint=server.url)
        kinds = [type(answer) for answer in other.ask(prompts(3), "judge")]
    assert kinds == [Answer, Answer, Failure] and server.calls == 5


def test_a_model_whose_first_replies_are_all_useless_is_given_up_before_the_rest_is_paid_for(tmp_path: Path) -> None:
    cut = Reply("", finish_reason="length")
    with ScriptedServer(lambda body: cut) as server:
        client = llm(tmp_path, server.url, concurrency=4)
        with pytest.raises(InputError, match=r"first 20 replies of tiny were of no use.*raise --thinking-tokens"):
            client.ask(prompts(200), "judge")
        assert 20 <= server.calls < 28
    with ScriptedServer(lambda body: cut if body["max_tokens"] < 500 else GRADE) as server:
        later = llm(tmp_path, server.url)
        assert later.replies.supersede_failures(0) == 0
        roomy = LLM("tiny", later.replies, Budget(allow_unpriced=True), endpoint=server.url, thinking_tokens=450)
        assert later.replies.supersede_failures(450) >= 20
        assert all(isinstance(answer, Answer) for answer in roomy.ask(prompts(200), "judge"))
        assert server.calls == 200


def test_a_model_that_has_answered_once_may_fail_often(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "no", faults={3: Reply(GRADE)}) as server:
        found = llm(tmp_path, server.url, concurrency=1).ask(prompts(60), "judge")
        assert server.calls == 60 and sum(isinstance(answer, Answer) for answer in found) == 1
