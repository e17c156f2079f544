from __future__ import annotations

from typing import Any

import pytest

from denizen.llm.parameters import Parameters

BODY: dict[str, Any] = {
    "model": "tiny",
    "messages": [{"role": "system", "content": "Grade."}, {"role": "user", "content": "gout"}],
    "temperature": 0.0,
    "max_tokens": 50,
    "response_format": {"type": "json_schema"},
    "logprobs": True,
}


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 4096 tokens",
        "prompt is too long",
        "the request exceeds the available size",
        "The response was filtered by the content management policy",
        "input was flagged by moderation",
    ],
)
def test_an_error_of_the_prompt_is_not_put_down_to_parameters(said: str) -> None:
    assert Parameters().trials(400, said, BODY) == []


@pytest.mark.parametrize("status", [401, 402, 413, 429, 502, 503, 504, 529])
def test_a_status_that_never_means_a_parameter_tries_nothing(status: int) -> None:
    parameters = Parameters()
    assert not parameters.refuse(status, "logprobs are not supported", "logprobs", BODY)
    assert parameters.trials(status, "no", BODY) == [] and parameters.refused == set()


def test_each_is_tried_alone_and_then_all() -> None:
    names = ["response_format", "logprobs", "temperature"]
    alone = [frozenset([name]) for name in names]
    assert Parameters().trials(403, "no", BODY) == [*alone, frozenset(names)]
    assert Parameters().trials(403, "no", {"temperature": 0.0}) == [frozenset(["temperature"])]


def test_what_was_taken_is_neither_tried_nor_left_out() -> None:
    """By its value: another temperature may still be refused."""
    parameters = Parameters()
    parameters.learn({"temperature": 0.0, "logprobs": True}, frozenset(), BODY)
    assert parameters.trials(500, "no", BODY) == [frozenset(["response_format"])]
    assert frozenset(["temperature"]) in parameters.trials(500, "no", {**BODY, "temperature": 1.0})
    # another call was answered with it while this one was tried without
    parameters.learn({}, frozenset(["temperature", "response_format"]), BODY)
    assert parameters.refused == {"response_format"}


def test_what_is_refused_or_on_trial_is_left_out() -> None:
    parameters = Parameters()
    assert parameters.refuse(400, "Unsupported parameter: max_tokens", "", BODY)
    # a call under way was sent before another one's refusal was heard
    assert parameters.refuse(400, "Unsupported parameter: max_tokens", "", BODY)
    assert not parameters.refuse(400, "Unsupported parameter: max_tokens", "", parameters.sent(BODY))
    assert parameters.sent(BODY)["max_completion_tokens"] == 50
    assert parameters.sent(BODY, ["logprobs"]).keys() == {*BODY, "max_completion_tokens"} - {"max_tokens", "logprobs"}
