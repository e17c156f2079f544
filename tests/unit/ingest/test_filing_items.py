"""Parts and items of filings as headings, and what only pages have as nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.ingest.document import Block
from denizen.ingest.filing_items import with_item_headings, without_page_lines

BODY = "This is a paragraph that says something about the business of the company, in whole sentences."


def headings(blocks: list[Block]) -> list[tuple[int, str]]:
    return [(block.level, block.text) for block in blocks if block.kind == "heading"]


def paragraphs(*texts: str) -> list[Block]:
    return [Block("text", text) for text in texts]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("PART I", 1),
        ("PART II — OTHER INFORMATION", 1),
        ("Part III. Directors and Officers", 1),
        ("Part II of this report holds more", 0),
        ("Part I Of the whole we know little. And more", 0),
        ("Item 1. Business", 2),
        ("ITEM 1A - RISK FACTORS", 2),
        ("ITEM 1BUSINESS", 2),
        ("Item 9A(T). Controls and Procedures", 2),
        ("Items 1 and 2. Business and Properties", 2),
        ("Item 16F. Change in registrant's certifying accountant", 2),
        ("Item 2.02 Results of Operations and Financial Condition.", 2),
        ("Item 9.01. Financial statements and exhibits", 2),
        ("Item 7 Management's Discussion and Analysis", 2),
        ("Part II, Item 5. Other Information", 2),
        ("Item 6. [Reserved]", 2),
        ("Item 1A of our annual report lists the risks", 0),
        ("Item 1A Risk Factors describes what may go wrong", 0),
        ("Item 3. Legal Proceedings. We are sued by a plumber", 0),
        ("Item 4. Ownership: 5,000 shares", 0),
        ("Item 1. (a) Name of Issuer", 0),
        ("Item 1. Business 3", 0),
        ("Item 1A. Risk Factors ........ 12", 0),
        ("Item 1. Business, see above,", 0),
        ("Items that we sold", 0),
        ("See Item 1A. Risk Factors", 0),
        ("Item 2. Properties " + "and more " * 30, 0),
    ],
)
def test_the_wording_makes_a_heading(text: str, level: int) -> None:
    (first, *_) = with_item_headings([Block("text", text, page=3), *paragraphs(BODY)])
    expected = Block("heading", text, level, 3) if level else Block("text", text, page=3)
    assert first == expected


def test_a_number_alone_joins_the_title_after_it() -> None:
    blocks = [Block("table", "Item 1A. | RISK FACTORS"), *paragraphs(BODY, "ITEM 2.", "PROPERTIES", BODY)]
    blocks += paragraphs("Item 3.", BODY, "Item 4.", "Not applicable")
    assert headings(with_item_headings(blocks)) == [
        (2, "Item 1A. RISK FACTORS"),
        (2, "ITEM 2. PROPERTIES"),
        (2, "Item 3."),
        (2, "Item 4."),
    ]
    assert with_item_headings(blocks)[-1] == Block("text", "Not applicable")


def test_headings_of_pages_are_kept_once() -> None:
    blocks = paragraphs("PART I", "Item 1", "ITEM 1. BUSINESS", BODY, "PART I", "Item 1", BODY)
    blocks += paragraphs("Item 1. Business (continued)", BODY, "PART II", "Item 1. Legal Proceedings", BODY)
    found = with_item_headings(blocks)
    assert headings(found) == [
        (1, "PART I"),
        (2, "ITEM 1. BUSINESS"),
        (1, "PART II"),
        (2, "Item 1. Legal Proceedings"),
    ]
    assert [block.text for block in found if block.kind == "text"] == [BODY] * 4


def test_a_quarterly_report_has_items_of_equal_numbers_in_its_contents() -> None:
    entries = ["PART I", "Item 1. Financial Statements", "Item 2. Discussion", "Item 3. Market Risk"]
    entries += ["PART II", "Item 1. Legal Proceedings", "Item 1A. Risk Factors", "Item 6. Exhibits", "Signatures"]
    blocks = paragraphs(*entries, "PART I", "Item 1. Financial Statements")
    blocks += [Block("table", "Sales | 1\nCosts | 2"), *paragraphs("Item 2. Discussion", BODY)]
    found = with_item_headings(blocks)
    assert found[: len(entries)] == paragraphs(*entries)
    assert headings(found) == [(1, "PART I"), (2, "Item 1. Financial Statements"), (2, "Item 2. Discussion")]


def test_items_that_say_none_are_no_table_of_contents() -> None:
    blocks = paragraphs(
        "Item 3. Defaults", "None", "Item 4. Mine Safety", "Not applicable", "Item 5. Other Matters", "N/A"
    )
    assert len(headings(with_item_headings(blocks))) == 3


def test_a_table_of_contents_in_one_table_stays() -> None:
    table = Block("table", "Item 1. | Business | 3\nItem 2. | Properties | 9")
    assert with_item_headings([table]) == [table]


def test_page_numbers_go_and_other_numbers_stay() -> None:
    rising = paragraphs("3", BODY, "- 4 -", BODY, "Page 5 of 80", BODY, "F-1", "F-2", BODY, "F-3")
    assert without_page_lines(rising) == paragraphs(BODY, BODY, BODY, BODY)
    data = paragraphs("Shares held:", "0", "Votes:", "0", "Percent:", "5", "Year:", "2023", "7", "2", "1")
    assert without_page_lines(data) == data
    few = paragraphs("1", BODY, "2")
    assert without_page_lines(few) == few


def test_running_titles_of_the_form_go() -> None:
    footers = [f"Acme Corp | 2023 Form 10-K | {number}" for number in (3, 4, 5)]
    blocks = [block for footer in footers for block in paragraphs(BODY, footer)]
    assert without_page_lines(blocks) == paragraphs(BODY, BODY, BODY)
    notes = paragraphs(*(f"Note {number}" for number in (1, 2, 3)), *["Exhibit 4.1 of Form 8-K, filed in 2019"] * 4)
    assert without_page_lines(notes) == notes


@settings(max_examples=40)
@given(
    st.lists(
        st.sampled_from(
            ["PART I", "Item 1.", "Item 1. Business", "Item 2. Properties", "7", "8", "None", BODY, "Overview"]
        )
    )
)
def test_nothing_but_repetitions_is_lost(texts: list[str]) -> None:
    """Every paragraph of content stays, in order, and headings are never empty."""
    found = with_item_headings(paragraphs(*texts))
    assert [block.text for block in found if block.text == BODY] == [text for text in texts if text == BODY]
    assert all(block.text and (block.level > 0) == (block.kind == "heading") for block in found)
    assert " ".join(block.text for block in found).count("Overview") == texts.count("Overview")
