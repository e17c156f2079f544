"""Cutting: every passage stands in the document where its offsets say, and nothing gets lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.ingest.document import Block, Document
from denizen.ingest.passages import character_cutter, cut, document_text, token_cutter

WORDS = "one two three four five six seven eight nine ten eleven twelve"


def text(sentences: int) -> str:
    return " ".join(f"Sentence {at} says {WORDS}." for at in range(sentences))


def test_blocks_go_together_as_long_as_they_fit() -> None:
    document = Document([Block("text", "a" * 60), Block("text", "b" * 38), Block("text", "c" * 10)], title="T")
    found = cut(document, character_cutter(100))
    assert [passage.text for passage in found] == ["a" * 60 + "\n\n" + "b" * 38, "c" * 10]
    assert [(passage.start, passage.end) for passage in found] == [(0, 100), (102, 112)]


def test_headings_are_carried_as_title_and_begin_passages() -> None:
    blocks = [
        Block("heading", "Rules", 1, page=1),
        Block("heading", "Scope", 2, page=1),
        Block("text", "x" * 80, page=1),
        Block("heading", "Limits", 2, page=2),
        Block("text", "y" * 80, page=2),
        Block("heading", "Other", 1, page=3),
        Block("text", "z" * 80, page=3),
    ]
    found = cut(Document(blocks, title="Manual"), character_cutter(200))
    assert [passage.title for passage in found] == [
        "Manual > Rules > Scope",
        "Manual > Rules > Limits",
        "Manual > Other",
    ]
    assert [passage.text[0] for passage in found] == ["x", "y", "z"]
    assert [passage.page for passage in found] == [1, 2, 3]


def test_short_sections_share_a_passage_with_the_headings_between_them() -> None:
    blocks = [Block("heading", "A", 2), Block("text", "first"), Block("heading", "B", 2), Block("text", "second")]
    (found,) = cut(Document(blocks), character_cutter(200))
    assert found.text == "first\n\nB\n\nsecond"
    assert found.title == "A"


def test_a_title_that_is_the_first_heading_is_carried_once() -> None:
    (found,) = cut(Document([Block("heading", "Terms", 1), Block("text", "some text")], title="Terms"), chars())
    assert found.title == "Terms"


def test_headings_that_nothing_follows_are_kept_as_text() -> None:
    found = cut(Document([Block("text", "x" * 90), Block("heading", "End of document", 2)]), character_cutter(100))
    assert [passage.text for passage in found] == ["x" * 90, "End of document"]
    (alone,) = cut(Document([Block("heading", "Only this", 1)], title="T"), chars())
    assert alone.text == "Only this"


def test_tables_are_cut_between_rows() -> None:
    rows = [f"row {at} | {at * 1000} | {at * 2000}" for at in range(100)]
    found = cut(Document([Block("table", "\n".join(rows))]), character_cutter(300))
    assert len(found) > 5
    assert [line for passage in found for line in passage.text.split("\n")] == rows


def test_a_row_longer_than_a_passage_is_cut_and_its_neighbours_stay_whole() -> None:
    rows = ["a | b", "long | " + text(20), "c | d"]
    found = cut(Document([Block("table", "\n".join(rows))]), character_cutter(300))
    assert found[0].text.startswith("a | b\nlong")
    assert all(len(passage.text) <= 300 for passage in found)
    assert "c | d" in found[-1].text


def test_long_texts_are_cut_at_sentence_ends() -> None:
    found = cut(Document([Block("text", text(100))]), character_cutter(500))
    assert all(passage.text.endswith(".") for passage in found)
    assert " ".join(passage.text for passage in found) == text(100)


def test_a_text_of_a_megabyte_without_an_end_is_cut_in_seconds() -> None:
    found = cut(Document([Block("text", "word " * 200_000)]), character_cutter(1000))
    assert sum(len(passage.text.split()) for passage in found) == 200_000


def test_passages_by_tokens_are_no_longer_than_that(tiny_encoder: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    found = cut(Document([Block("text", text(30)), Block("text", text(3))]), token_cutter(64, tokenizer))
    lengths = [len(tokenizer.encode(passage.text, add_special_tokens=False).ids) for passage in found]
    assert max(lengths) <= 64
    assert len(found) < sum(lengths) / 20


def chars() -> object:
    return character_cutter(1000)


BLOCKS = st.lists(
    st.builds(
        Block,
        kind=st.sampled_from(["heading", "text", "list", "table"]),
        text=st.lists(st.text("abc .|é漢", min_size=1, max_size=60), min_size=1, max_size=6).map(
            lambda lines: "\n".join(line.strip() or "x" for line in lines)
        ),
        level=st.integers(1, 6),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(BLOCKS, st.integers(20, 120))
def test_every_passage_stands_where_it_says_and_no_letter_is_lost(blocks: list[Block], capacity: int) -> None:
    whole = document_text(blocks)
    found = cut(Document(blocks), character_cutter(capacity))
    at, between = 0, []
    for passage in found:
        assert passage.text == whole[passage.start : passage.end]
        assert passage.text
        assert len(passage.text) <= capacity
        assert passage.start >= at
        between.append(whole[at : passage.start])
        at = passage.end
    between.append(whole[at:])
    # what stands in no passage is white space, and headings, which stand in the titles
    left = "".join("".join(between).split())
    headings = ["".join(block.text.split()) for block in blocks if block.kind == "heading"]
    assert len(left) <= sum(len(heading) for heading in headings)
    for block in blocks:
        if block.kind != "heading":
            for letter in set(block.text.split()):
                assert any(letter[:1] in passage.text for passage in found)


@pytest.mark.parametrize("capacity", [20, 1000])
def test_no_blocks_no_passages(capacity: int) -> None:
    assert cut(Document([]), character_cutter(capacity)) == []
