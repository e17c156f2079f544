"""Rows in the shapes in which people have them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from denizen.data.task_rows import Message
from denizen.tasks.shapes import Shape, shape_of

ASKED = (Message("user", "What is gout?"),)
SYSTEM = (Message("system", "Be short."), *ASKED)
GOUT = "A disease of the joints."
TURNS = [{"role": "user", "content": "What is gout?"}, {"role": "assistant", "content": GOUT}]
LONGER = [
    {"from": "human", "value": "Hello"},
    {"from": "gpt", "value": "Hello!"},
    {"from": "human", "value": "What is gout?"},
    {"from": "gpt", "value": GOUT},
]
BEFORE = (Message("user", "Hello"), Message("assistant", "Hello!"), *ASKED)
WORSE = [TURNS[0], {"role": "assistant", "content": "No idea."}]
HH = "\n\nHuman: Hello\n\nAssistant: Hello!\n\nHuman: What is gout?\n\nAssistant:"


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"messages": TURNS}, Shape(ASKED, GOUT)),
        ({"messages": json.dumps(TURNS)}, Shape(ASKED, GOUT)),
        ({"messages": [{"role": "system", "content": "Be short."}, *TURNS]}, Shape(SYSTEM, GOUT)),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is gout?"}]}, TURNS[1]]},
            Shape(ASKED, GOUT),
        ),
        ({"conversations": LONGER}, Shape(BEFORE, GOUT)),
        ({"conversations": LONGER[2:], "system": "Be short."}, Shape(SYSTEM, GOUT)),
        ({"prompt": "What is gout?", "completion": GOUT}, Shape(ASKED, GOUT)),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, Shape(ASKED, GOUT)),
        ({"question": "What is gout?", "answer": GOUT, "messages": None}, Shape(ASKED, GOUT)),
        ({"instruction": "What is gout?", "input": "", "output": GOUT}, Shape(ASKED, GOUT)),
        (
            {"instruction": "What is this?", "input": "gout", "output": GOUT},
            Shape((Message("user", "What is this?\n\ngout"),), GOUT),
        ),
        ({"prompt": "What is gout?", "chosen": GOUT, "rejected": "No."}, Shape(ASKED, GOUT, "No.")),
        ({"prompt": "x", "chosen": TURNS, "rejected": WORSE}, Shape(ASKED, GOUT, "No idea.")),
        ({"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": WORSE[1:]}, Shape(ASKED, GOUT, "No idea.")),
        ({"chosen": TURNS, "rejected": WORSE}, Shape(ASKED, GOUT, "No idea.")),
        ({"chosen": f"{HH} {GOUT}", "rejected": f"{HH} A fruit."}, Shape(BEFORE, GOUT, "A fruit.")),
        ({"prompt": HH, "chosen": GOUT, "rejected": "A fruit."}, Shape(BEFORE, GOUT, "A fruit.")),
        (
            {"dialogue": "A: hi", "summary": "A greets."},
            Shape((Message("user", "A: hi"),), "A greets.", None, "summarize"),
        ),
        (
            {"text": "my toe hurts", "label": "gout"},
            Shape((Message("user", "my toe hurts"),), "gout", None, "classify"),
        ),
        ({"text": "my toe hurts", "label": 3.0}, Shape((Message("user", "my toe hurts"),), "3", None, "classify")),
    ],
)
def test_a_row_of_a_known_shape_is_read(row: dict[str, Any], shape: Shape) -> None:
    assert shape_of(row) == shape


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": TURNS[:1]}, "has no turn of the assistant"),
        ({"messages": [*TURNS, TURNS[0]]}, "ends with a turn of user"),
        ({"messages": [TURNS[0], {"role": "tool", "content": "x"}]}, "the role 'tool'"),
        ({"messages": []}, "no list of role and content"),
        ({"messages": "hello"}, "no list of role and content"),
        ({"messages": [TURNS[0], {"role": "assistant", "content": " "}]}, "the answer is empty"),
        ({"messages": [TURNS[0], {"role": "assistant", "content": None}]}, "holds no text"),
        ({"messages": [TURNS[1]]}, "asks nothing"),
        ({"prompt": "What is gout?", "completion": ""}, "the answer is empty"),
        ({"instruction": "", "output": GOUT}, "asks nothing"),
        ({"prompt": "What is gout?", "chosen": GOUT, "rejected": f" {GOUT}"}, "nothing is preferred"),
        ({"prompt": "What is gout?", "chosen": GOUT, "rejected": None}, "the rejected answer is empty"),
        ({"chosen": TURNS, "rejected": TURNS}, "nothing is preferred"),
        ({"chosen": "Yes.", "rejected": "No."}, "has no prompt"),
        ({"chosen": LONGER, "rejected": TURNS}, "must differ in one turn"),
        ({"body": "x"}, r"has the columns \['body'\]; it needs messages"),
    ],
)
def test_what_is_missing_is_named(row: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        shape_of(row)
