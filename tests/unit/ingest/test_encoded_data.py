"""Bytes written as text; what stays is counted by hand."""

from __future__ import annotations

import base64
import random
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.ingest.document import Block, Document
from denizen.ingest.encoded_data import without_encoded_data

BYTES = base64.b64encode(random.Random(2).randbytes(500)).decode()


def left(text: str) -> list[str]:
    return [block.text for block in without_encoded_data(Document([Block("text", text)])).blocks]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"before {BYTES} after", "before  after"),
        (f"before\n{textwrap.fill(BYTES, 76)}\nafter", "before\n\nafter"),
        (f"before {' '.join(textwrap.wrap(BYTES, 64))} after", "before  after"),
        (f'src="data:image/png;base64,{BYTES}" after', 'src="" after'),
        ("a url(data:image/svg+xml;charset=utf-8,%3Csvg%20viewBox%3E" + "%20" * 30 + ") b", "a url() b"),
        (f"key: {BYTES.replace('+', '-').replace('/', '_')}", "key:"),
    ],
)
def test_bytes_are_taken_out_and_the_text_round_them_stays(text, expected):
    document = without_encoded_data(Document([Block("text", text)], metadata={"lang": "en"}))
    assert [block.text for block in document.blocks] == [expected]
    assert document.metadata == {"lang": "en", "pictures": "1"}


@pytest.mark.parametrize(
    "text",
    [
        "ACGT" * 100,
        "0123456789abcdef" * 20,
        "https://example.org/" + "a-long-path/of-many-words/that-goes-on/" * 5,
        "/usr/share/" + "SomeFolder/OtherFolder/" * 8,
        "data: image; base64, three words of prose " * 5,
        "Donaudampfschifffahrtsgesellschaftskapitaenswitwenrentenauszahlungsstellenleiterin" * 2,
        "x" * 500,
    ],
    ids=["genes", "digest", "address", "path", "prose", "word", "rule"],
)
def test_long_words_stay(text):
    assert left(text) == [text.strip() if "prose" not in text else text]


def test_a_block_of_bytes_alone_goes_and_pictures_add_up():
    document = Document([Block("text", BYTES), Block("text", "a")], title=f"t {BYTES}", metadata={"pictures": "3"})
    found = without_encoded_data(document)
    assert (found.title, found.blocks, found.metadata) == ("t", [Block("text", "a")], {"pictures": "5"})


@given(st.binary(min_size=200, max_size=400))
def test_random_bytes_never_stay(data):
    # a few values again and again are as many letters again and again
    if len(set(data)) > 100:
        assert left(f"a {base64.b64encode(data).decode()} b") == ["a  b"]


@given(st.text(alphabet="abcDEF123 \n.,;:/+=-", max_size=300))
def test_what_has_no_long_word_is_the_same(text):
    if all(len(word) < 50 for word in text.split()):
        document = Document([Block("text", text)])
        assert without_encoded_data(document) is document
