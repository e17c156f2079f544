"""A language run as chat clients meet it: the real openai package, plain HTTP, and what they may not do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

from denizen.answering.speaker import Speaker, speaker_folders
from denizen.data.task_rows import Message
from denizen.language_models.streaming import Decoding
from tests.e2e.serving import Server, server
from tests.language_run import language_run

ASKED = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "why does it rain"}]
# of the tiny model on any machine: far below a second
PATIENCE = 30


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_run(tmp_path_factory.mktemp("language") / "weather")


@pytest.fixture(scope="module")
def served(run: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The run, its model by itself, and an encoder; one answer may wait."""
    log = tmp_path_factory.mktemp("serve") / "log"
    models = (str(run), f"plain={run / 'residual'}", f"encoder={tiny_encoder}")
    with server(log, *models, "--queue-answers", "1", "--deadline", "60") as found:
        yield found


@pytest.fixture
def http(served: Server) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


def wanted(run: Path, expert: str | None, most: int, **decoding: Any) -> tuple[str, str | None, int]:
    """What the run says by itself."""
    speaker = Speaker(speaker_folders(str(run)), bf16=False)
    asked = speaker.tokens([Message(turn["role"], turn["content"]) for turn in ASKED])
    pieces = list(speaker.say(asked, expert, Decoding(most, **decoding)))
    return "".join(piece.text for piece in pieces), pieces[-1].finish, len(asked)


def asked(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json={"model": "weather", "messages": ASKED, "max_tokens": 8, **body})
    assert answer.status_code == httpx.codes.OK, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(client: httpx.Client, status: int = 400, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json={"model": "weather", "messages": ASKED, **body})
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_an_answer_is_that_of_the_expert_in_openais_shape(run: Path, http: httpx.Client) -> None:
    text, finish, tokens = wanted(run, "answering", 8)
    found = asked(http)
    assert found["object"] == "chat.completion" and found["id"].startswith("chatcmpl-")
    assert found["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": finish,
        }
    ]
    assert found["usage"] == {"prompt_tokens": tokens, "completion_tokens": 8, "total_tokens": tokens + 8}
    # the router sends all to this one, and the others are there by name
    assert found["model"] == "weather:answering"
    texts = {text}
    for name, expert in (("weather:structured", "structured"), ("weather:residual", None), ("plain", None)):
        own = asked(http, model=name)
        assert own["choices"][0]["message"]["content"] == wanted(run, expert, 8)[0]
        assert own["model"] == name.removesuffix(":residual")
        texts.add(own["choices"][0]["message"]["content"])
    assert len(texts) == 3


def test_the_openai_client_streams_it_and_gets_the_same(run: Path, served: Server) -> None:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", timeout=PATIENCE)
    whole = client.chat.completions.create(model="weather", messages=ASKED, max_completion_tokens=12)  # type: ignore[arg-type]
    events = list(
        client.chat.completions.create(
            model="weather",
            messages=ASKED,  # type: ignore[arg-type]
            max_completion_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    first, *middle, last, usage = events
    assert first.choices[0].delta.role == "assistant" and first.choices[0].delta.content == ""
    assert all(each.choices[0].delta.content and each.choices[0].finish_reason is None for each in middle)
    assert "".join(each.choices[0].delta.content for each in middle) == whole.choices[0].message.content
    assert last.choices[0].finish_reason == whole.choices[0].finish_reason == "length"
    assert last.choices[0].delta.content is None
    assert usage.choices == [] and usage.usage == whole.usage and all(each.usage is None for each in events[:-1])
    assert len({(each.id, each.created, each.model, each.object) for each in events}) == 1
    drawn = [
        client.chat.completions.create(model="weather", messages=ASKED, max_tokens=12, temperature=1.5, seed=seed)  # type: ignore[arg-type]
        for seed in (1, 1, 2)
    ]
    said = [each.choices[0].message.content for each in drawn]
    assert said[0] == said[1] != said[2]
    assert said[0] == wanted(run, "answering", 12, temperature=1.5, seed=1)[0]


def test_events_are_as_openai_sends_them(http: httpx.Client) -> None:
    body = {"model": "weather", "messages": ASKED, "max_tokens": 3, "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-denizen-expert"] == "answering"
        parts = "".join(answer.iter_text()).split("\n\n")
    assert parts[-1] == "" and parts[-2] == "data: [DONE]"
    found = [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]
    assert {each["object"] for each in found} == {"chat.completion.chunk"} and "usage" not in found[0]


def test_a_stop_text_ends_the_answer_before_it(run: Path, http: httpx.Client) -> None:
    text, _, _ = wanted(run, "answering", 12)
    stop = text[4:6]
    found = asked(http, max_tokens=12, stop=[stop, "never said"])
    assert found["choices"][0]["message"]["content"] == text[: text.index(stop)]
    assert found["choices"][0]["finish_reason"] == "stop"


def test_what_is_not_done_is_refused_by_name(http: httpx.Client) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    for name, given in (
        ("tools", [tool]),
        ("tool_choice", "required"),
        ("n", 2),
        ("logprobs", True),
        ("logit_bias", {"5": 1}),
        ("response_format", {"type": "json_object"}),
        ("frequency_penalty", 0.5),
        ("modalities", ["audio"]),
    ):
        error = refused(http, **{name: given})
        assert error["param"] == name and error["code"] == "unsupported_parameter" and name in error["message"]
    # what asks for nothing is taken
    nothing = {"tools": [], "tool_choice": "none", "n": 1, "logprobs": False, "response_format": {"type": "text"}}
    assert asked(http, **nothing, user="me", frequency_penalty=0)["choices"]
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    assert "a part of the type 'image_url'; texts alone" in refused(http, messages=[image])["message"]
    tools = [*ASKED, {"role": "tool", "content": "4", "tool_call_id": "a"}]
    assert "messages.2: no function is called here" in refused(http, messages=tools)["message"]


def test_what_cannot_be_answered_says_why(http: httpx.Client) -> None:
    for body, why in (
        ({"messages": []}, "messages do not end with something that a user says"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "so"}]}, "messages do not end with"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages do not end with"),
        ({"messages": [{"role": "poet", "content": "x"}]}, "messages.0.role is 'poet'; give system, developer"),
        ({"messages": [{"role": "user"}]}, "messages.0.content is missing"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "say the same thing"),
        ({"temperature": 3}, "temperature: "),
        ({"stop": ["a"] * 5}, "stop has 5 texts; give 4 at most"),
    ):
        assert why in refused(http, **body)["message"]
    parts = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": ASKED[1]["content"]}]},
    ]
    assert asked(http, messages=parts)["choices"] == asked(http)["choices"]
    error = refused(http, 404, model="weather:poet")
    assert error["code"] == "model_not_found" and "weather:residual, weather:answering" in error["message"]
    assert "there is no model 'other'" in refused(http, 404, model="other")["message"]
    assert "encoder is no language model; use /v1/embeddings" in refused(http, model="encoder")["message"]
    answer = http.post("/v1/embeddings", json={"model": "weather", "input": "x"})
    assert answer.status_code == 400 and "use /v1/chat/completions" in answer.json()["error"]["message"]


def test_a_context_that_is_too_long_has_openais_code(served: Server, http: httpx.Client) -> None:
    long = [{"role": "user", "content": "x" * 3000}]
    error = refused(http, messages=long)
    assert error["code"] == "context_length_exceeded" and "maximum context length is 1,024 tokens" in error["message"]
    assert refused(http, max_tokens=2000)["code"] == "context_length_exceeded"
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="weather", messages=long)  # type: ignore[arg-type]
    assert caught.value.code == "context_length_exceeded"


def test_models_are_listed_with_their_experts(http: httpx.Client) -> None:
    asked(http)
    found = {each["id"]: each for each in http.get("/v1/models").json()["data"]}
    assert found["weather"]["experts"] == ["answering", "structured"] and found["weather"]["context_length"] == 1024
    measures = http.get("/metrics").text
    assert 'denizen_answer_tokens_total{expert="answering",model="weather"}' in measures
    assert "denizen_answers 0.0" in measures


def _waiting(client: httpx.Client) -> int:
    measures = client.get("/metrics").text
    return int(float(next(line.split()[1] for line in measures.splitlines() if line.startswith("denizen_answers "))))


def _until(client: httpx.Client, count: int) -> None:
    begun = time.monotonic()
    while _waiting(client) != count:
        assert time.monotonic() - begun < PATIENCE, f"{_waiting(client)} answers, not {count}"
        time.sleep(0.05)


def test_one_answers_at_a_time_one_waits_and_the_third_is_told_when_to_come(served: Server, http: httpx.Client) -> None:
    """Whoever leaves ends the work for him, and the next has the turn."""
    long = {"model": "weather", "messages": ASKED, "max_tokens": 900, "stream": True}
    found = list[str]()

    def second() -> None:
        with served.client() as client:
            found.append(asked(client)["choices"][0]["finish_reason"])

    with http.stream("POST", "/v1/chat/completions", json=long) as answer:
        # held: what is let go closes the connection
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        waits = threading.Thread(target=second)
        with served.client() as other:
            waits.start()
            _until(other, 2)
            third = other.post("/v1/chat/completions", json=long)
            assert third.status_code == httpx.codes.TOO_MANY_REQUESTS
            assert int(third.headers["retry-after"]) >= 1 and "1 answers wait" in third.json()["error"]["message"]
            # others have their turn between two tokens
            begun = time.monotonic()
            assert other.post("/v1/embeddings", json={"model": "encoder", "input": "x"}).status_code == 200
            assert time.monotonic() - begun < PATIENCE and _waiting(other) == 2
    waits.join(PATIENCE)
    assert found == ["length"]
    _until(http, 0)
