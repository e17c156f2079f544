from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from denizen.llm.answer import Answer, Failure
from denizen.llm.parsing import parse_reply
from denizen.llm.replies import StoredReply


class Grade(BaseModel):
    grade: Literal[1, 2, 3, 4]


class Question(BaseModel):
    question: str


def parsed(text: str, model: type[BaseModel], finish_reason: str = "stop", refusal: str = "") -> Answer | Failure:
    """What a reply comes to, which says where it comes from whatever it is."""
    reply = StoredReply("k", "judge", "tiny", "{}", text, finish_reason, refusal, logprob=-0.5, cost=0.25)
    found = parse_reply(reply, model)
    if isinstance(found, Failure):
        assert (found.key, found.raw) == ("k", text) and found.message
    else:
        assert (found.key, found.text, found.logprob, found.cost) == ("k", text, -0.5, 0.25)
    return found


def kind(text: str, finish_reason: str = "stop", refusal: str = "") -> str:
    found = parsed(text, Grade, finish_reason, refusal)
    return found.kind if isinstance(found, Failure) else f"grade {found.value.grade}"


@pytest.mark.parametrize(
    "text",
    [
        '{"grade": 3}',
        '  \n{ "grade" : 3 }\n',
        '```json\n{"grade": 3}\n```',
        '```\n{"grade": 3}\n```',
        'Here is my judgment:\n\n{"grade": 3}\n\nI hope that this helps.',
        '<think>It could be {"grade": 1}, or {this}.</think>\n{"grade": 3}',
        'the template opened it; {"grade": 1}?</think>{"grade": 3}',
        '[{"grade": 3}]',
        '{"grade": 3} and once more: {"grade":3}',
        'The passage says {"dose": 5}, so: {"grade": 3}',
        "In {braces} and {'single': quotes}, but {\"grade\": 3}",
        '{"grade": 3, "why": "it names gout"}',
        '<think>\n{"grade": 3}\n</think>',
        '<think>It names gout, so {"grade": 3}',
    ],
)
def test_one_object_is_read_whatever_stands_around_it(text: str) -> None:
    assert kind(text) == "grade 3"


@pytest.mark.parametrize(
    ("text", "finish_reason", "refusal", "expected"),
    [
        ('{"grade": 3}', "stop", "I will not grade this.", "refusal"),
        ('{"grade": 3}', "content_filter", "", "refusal"),
        ("I'm sorry, but I can't do that.", "stop", "", "refusal"),
        ("I\N{RIGHT SINGLE QUOTATION MARK}m sorry.", "stop", "", "refusal"),
        ("I cannot help with this.", "stop", "", "refusal"),
        ("**As an AI** model I have no view.", "stop", "", "refusal"),
        ("<think>hm</think>I can't assist with that", "stop", "", "refusal"),
        ("", "stop", "", "empty"),
        (" \n ", "stop", "", "empty"),
        ("<think>{}</think>", "stop", "", "empty"),
        ('<think>{"grade": 3} is too high</think>', "stop", "", "empty"),
        ('<think>{"grade": 3}? {"grade": 2}</think>', "stop", "", "empty"),
        ('<think>{"grade": 3, {"grade": 2}</think>', "stop", "", "empty"),
        ('<think>{"grade": 3}', "length", "", "truncated"),
        ('{"gra', "length", "", "truncated"),
        ("", "length", "", "truncated"),
        ("<think>so long", "length", "", "truncated"),
        ('{"grade": 3, "x": {"grade": 1}', "length", "", "truncated"),
        ('{"grade": 3} or rather {"gra', "length", "", "truncated"),
        ('{"grade": 3}', "length", "", "grade 3"),
        ("Grade 3.", "stop", "", "unparsable"),
        ("3", "stop", "", "unparsable"),
        ("In short: I cannot help.", "stop", "", "unparsable"),
        ('{"grade": 3,}', "stop", "", "unparsable"),
        ('{"grade": 3', "stop", "", "unparsable"),
        ('{"grade": 3} no, {"grade": 2}', "stop", "", "unparsable"),
        ('{"grade": 1, "grade": 4}', "stop", "", "unparsable"),
        ('{"grade": 3, "x": {"grade": 1}', "stop", "", "unparsable"),
        ('{"grade": NaN}', "stop", "", "unparsable"),
        ('{"a":' * 5000, "stop", "", "unparsable"),
        ('{"grade": 5}', "stop", "", "schema"),
        ('{"mark": 3}', "stop", "", "schema"),
        ("{}", "stop", "", "schema"),
        ('I\'m sorry: {"grade": 0}', "stop", "", "schema"),
    ],
)
def test_each_way_to_be_of_no_use_has_its_name(text: str, finish_reason: str, refusal: str, expected: str) -> None:
    assert kind(text, finish_reason, refusal) == expected


def test_a_wrong_object_is_told_by_field_and_reason() -> None:
    found = parsed('{"grade": 7}', Grade)
    assert isinstance(found, Failure)
    assert found.message == "grade: Input should be 1, 2, 3 or 4"


@pytest.mark.parametrize("question", ["first\nsecond", 'a "quoted" {"grade": 1}', "ends in </think> so"])
def test_what_stands_in_a_string_is_text(question: str) -> None:
    """Also a bare line break, which strict JSON does not allow."""
    text = '{"question": "' + question.replace('"', '\\"') + '"}'
    found = parsed(text, Question)
    assert isinstance(found, Answer) and found.value == Question(question=question)


@given(st.text(), st.sampled_from(["stop", "length", "", "content_filter"]))
def test_no_text_breaks_the_parser(text: str, finish_reason: str) -> None:
    found = parsed(text, Grade, finish_reason)
    assert isinstance(found, Failure) or isinstance(found.value, Grade)


@given(
    st.text(alphabet=st.characters(exclude_characters="{}<")), st.text(alphabet=st.characters(exclude_characters="{}<"))
)
def test_prose_without_braces_never_changes_the_grade(before: str, after: str) -> None:
    assert kind(f'{before}{{"grade": 2}}{after}') == "grade 2"
