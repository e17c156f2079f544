"""Which prompts hold an instruction, and where it stands in them."""

from __future__ import annotations

import pytest

from denizen.retrievers.instruction import QueryPrompt


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("Find answers.\nQuery: ", ("", "Find answers.", "\nQuery: ")),
        ("Instruct: Given a query, find it\nQuery:", ("Instruct: ", "Given a query, find it", "\nQuery:")),
        ("Two lines.\nOf one task.\n\nQuestion: ", ("", "Two lines.\nOf one task.", "\n\nQuestion: ")),
        ("query: ", None),
        ("what is asked: ", None),
        ("\nQuery: ", None),
        ("Query: Find answers.", None),
        ("", None),
    ],
)
def test_an_instruction_is_a_sentence_with_the_mark_of_a_query_after_it(
    prompt: str, parts: tuple[str, str, str] | None
) -> None:
    found = QueryPrompt.read(prompt)
    assert found == (None if parts is None else QueryPrompt(*parts))
    if found:
        assert found.saying(found.sentence) == prompt and found.saying("Other.").endswith(found.after)
