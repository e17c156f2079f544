"""What a document is called, and what becomes of a passage that it says twice."""

from __future__ import annotations

import pytest

from denizen.ingest.collection import Named
from denizen.ingest.corpus_tables import _passage_rows, _text_row
from denizen.ingest.document import Block, Document
from denizen.ingest.passages import character_cutter


def row(name: str, document: Document) -> dict[str, object]:
    return _text_row(Named(name, name, document), "folder")


@pytest.mark.parametrize(
    ("name", "document", "title"),
    [
        ("docs/a.pdf", Document([Block("heading", "Rules", 1)], title="Own"), "Own"),
        ("docs/a.pdf", Document([Block("heading", "Rules", 2), Block("text", "x")]), "Rules"),
        ("docs/a.pdf", Document([Block("text", "x"), Block("heading", "Rules", 1)]), ""),
        ("docs/annual_report 2023.pdf", Document([Block("text", "x")]), "annual report 2023"),
        ("docs/scan0001.pdf", Document([Block("text", "x")]), ""),
        ("docs/annual report.csv/7", Document([Block("text", "x")], name="7"), ""),
    ],
)
def test_a_title_is_the_document_s_own_or_says_something(name: str, document: Document, title: str) -> None:
    assert row(name, document)["title"] == title


def test_a_passage_that_stands_in_its_document_twice_is_dropped_the_second_time() -> None:
    document = Document([Block("text", "a" * 90), Block("text", "b" * 90), Block("text", "a" * 90, page=3)])
    rows = list(_passage_rows(Named("d", "d", document), row("d", document), character_cutter(100)))
    assert [found["text"][0] for found in rows] == ["a", "b", "a"]
    assert [found.get("reason") for found in rows] == [None, None, "repeats a passage of its document"]
    assert len({found["doc_id"] for found in rows[:2]}) == 2
