"""Checks of answers, each by answers that fulfil it and others that do not."""

from __future__ import annotations

from collections import Counter

import pytest

from denizen.measuring import instruction_checks as of
from denizen.measuring.instruction_checks import INSTRUCTIONS, KINDS, Check


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (of.at_most_words(3), ["One two-fold three.", "Don't go"], ["one two three four"]),
        (of.at_least_words(3), ["one two three"], ["one two", "- , -"]),
        (of.sentences(2), ["It costs 3.50 in all. Good!", 'He said "no." Then he left'], ["One.", "A. B. C.", "1.5"]),
        (of.bullets(2), ["- a\n- b", "Here:\n - a\n- b"], ["- a", "- a\n- b\n- c", "-a\n-b", "* a\n* b", "-\na\n-\nb"]),
        (of.numbered(2), ["1. a\n2. b"], ["1. a", "1) a\n2) b", "1.\na\n2.\nb", "1. a\n3. b", "1. a\n2. b\n3. c"]),
        (of.paragraphs(2), ["a\n\nb", "a\nb\n \nc"], ["a\nb", "a\n\nb\n\nc"]),
        (of.lines(2), ["a\nb"], ["a", "a\n\nb", "a\nb\nc"]),
        (of.includes("silver"), ["Silver!", "a silver spoon"], ["silvery", "gold"]),
        (of.excludes("the"), ["then a bird"], ["The bird", "on the roof", "_the_ bird"]),
        (of.word_times("water", 2), ["Water, water."], ["water", "water water water", "waters water"]),
        (of.begins("Well,"), ["Well, no"], ["well, no", "Oh. Well,"]),
        (of.ends("The end."), ["So it was. The end."], ["The end. Or not", "the end."]),
        (
            of.json_object("a", "b"),
            ['{"a": 1, "b": [2]}', '```json\n{"b": 1, "a": 2}\n```'],
            ['{"a": 1}', '{"a": 1, "b": 2, "c": 3}', 'Here: {"a": 1, "b": 2}', "[1]", "{a: 1, b: 2}", "[" * 200_000],
        ),
        (of.one_of("yes", "no"), ["yes", "No."], ["yes and no", "yes, it is", "maybe"]),
        (of.LOWER, ["all small, 3"], ["A word", "123"]),
        (of.UPPER, ["ALL LARGE!"], ["ALL but", "42"]),
        (of.QUOTED, ['"All of it."', "“All of it.”"], ['"a" b', "'a'", '"', '""']),
        (of.NO_COMMAS, ["a b"], ["a, b"]),
        (of.ONE_WORD, ["Air.", "twenty-one"], ["the air", "..."]),
        (of.TITLE, ["<<A title>>\ntext"], ["<a title>", "<<>>", "<< >>", "<<a\nb>>"]),
        (of.PLACEHOLDERS, ["[name] at [place]"], ["[name]", "[] []", "[ ] [ ]"]),
        (of.POSTSCRIPT, ["text\n\nP.S. more", "P. S. more"], ["text P.S. more", "PS more", "P.S."]),
        (of.HIGHLIGHTED, ["*a* and *b c*", "**a** and **b**"], ["*a*", "2 * 3 * 4", "* a\n* b"]),
        (
            of.SEPARATED,
            ["a\n******\nb"],
            [
                "a\n******\na",
                "a",
                "******\na",
                "a\n******\nb\n******\nc",
                "a ****** b",
                "a\n******\n.",
                "a\n*******\nb",
            ],
        ),
        (of.QUESTION, ["Is it?"], ["Is it? Yes."]),
    ],
    ids=lambda value: value.kind if isinstance(value, Check) else "",
)
def test_what_fulfils_a_check(check: Check, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if not check.holds(text)] == []
    assert [text for text in bad if check.holds(text)] == []


def test_prompts_are_many_and_say_what_is_checked() -> None:
    assert len(INSTRUCTIONS) == 240 == len({each.prompt for each in INSTRUCTIONS})
    assert len({each.name for each in INSTRUCTIONS}) == len(INSTRUCTIONS)
    for each in INSTRUCTIONS:
        assert all(check.said in each.prompt for check in each.checks)
    counts = Counter(each.kind for each in INSTRUCTIONS)
    assert set(counts.values()) == {6, 7} and len(counts) == KINDS
    # who asks fewer asks some of every kind
    assert len({each.kind for each in INSTRUCTIONS[:KINDS]}) == KINDS


def test_every_check_of_a_prompt_counts_and_an_empty_answer_follows_nothing() -> None:
    both = next(each for each in INSTRUCTIONS if each.kind == "lower case + sentences")
    assert both.followed(" one. two. ") and not both.followed("One. Two.") and not both.followed("one.")
    without_comma = next(each for each in INSTRUCTIONS if each.kind == "no commas")
    assert [text for text in ("", "  ", "...", "```\n```", "🙂") if without_comma.followed(text)] == []
    assert without_comma.followed("a") and without_comma.followed("日本")


def test_two_checks_of_a_prompt_can_be_fulfilled_together() -> None:
    answers = {
        "lower case + sentences": "one. two.",
        "upper case + words at most": "ONE TWO",
        "bullet points + includes": "- be careful\n- b\n- c",
        "begins with + sentences": "Well, one. Two.",
        "ends with + no commas": "So it is. That is all.",
        "title + sentences": "<<On it>> One. Two.",
        "quoted + words at most": '"few words"',
        "paragraphs + includes": "in the morning\n\nlater",
        "excludes + sentences": "no article here.",
        "numbered list + lower case": "1. a\n2. b\n3. c",
        "postscript + words at most": "text\nP.S. more",
        "ends as a question + sentences": "One. Is it?",
    }
    doubles = {each.kind: each for each in INSTRUCTIONS if len(each.checks) == 2}
    assert doubles.keys() == answers.keys()
    assert [kind for kind, each in doubles.items() if not each.followed(answers[kind])] == []
