"""Paragraphs out of printed lines: expectations derived by hand, on lines of 10 point type, 12 points apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.ingest.document import Block
from denizen.ingest.page_lines import Gap, Line, column_order, without_running_lines
from denizen.ingest.page_text import joined, page_blocks


def line(text, row, left=50.0, right=None, size=10.0):
    """A line in row `row` from the top; a letter is half as wide as the type is high."""
    return Line(text, left, left + 0.5 * size * len(text) if right is None else right, 800 - 12 * row, size)


def rows(*texts, left=50.0):
    return [line(text, row, left) for row, text in enumerate(texts)]


def cells(row, *parts):
    """A line of (left edge, text) parts, with gaps between them."""
    text, gaps, right = "", [], 0.0
    for left, part in parts:
        if text:
            gaps.append(Gap(len(text), right, left))
            text += " "
        text += part
        right = left + 5.0 * len(part)
    return Line(text, parts[0][0], right, 800 - 12 * row, 10.0, tuple(gaps))


def texts(pages):
    return [block.text for block in page_blocks(pages)]


FULL = "The council has the power to amend this part of"  # 47 characters, as wide as the column in these tests


def test_lines_of_a_paragraph_become_one_text_with_the_page_it_begins_on():
    assert page_blocks([rows(FULL, "the rules at any time.")]) == [
        Block("text", f"{FULL} the rules at any time.", 0, 1)
    ]


def test_a_short_last_line_ends_a_paragraph_only_after_a_full_stop():
    assert texts([rows(FULL, "the rules.", FULL, "all the rules.")]) == [f"{FULL} the rules.", f"{FULL} all the rules."]
    assert texts([rows(FULL, "the rules", FULL, "all.")]) == [f"{FULL} the rules {FULL} all."]


def test_a_full_stop_at_the_end_of_a_full_line_does_not_end_a_paragraph():
    whole = "It was decided in favour of the other party to."  # 47 characters, no room for "the"
    assert texts([rows(FULL, whole, "The rest.")]) == [f"{FULL} {whole} The rest."]


def test_a_vertical_gap_begins_a_paragraph():
    lines = [line(FULL, 0), line(FULL, 1), line(FULL, 2), line("and more", 4), line(FULL, 5)]
    assert texts([lines]) == [f"{FULL} {FULL} {FULL}", f"and more {FULL}"]


def test_double_spacing_is_no_gap():
    assert texts([[line(FULL, 2 * row) for row in range(4)]]) == [" ".join([FULL] * 4)]


def test_an_indented_line_after_a_sentence_begins_a_paragraph():
    whole = "It was decided in favour of the other party to."
    lines = [
        line(FULL, 0),
        line(whole, 1),
        line("However, nobody has seen it since the day", 2, left=60),
        line(FULL, 3),
    ]
    assert texts([lines]) == [f"{FULL} {whole}", f"However, nobody has seen it since the day {FULL}"]


def test_a_paragraph_goes_on_over_a_page_break_unless_its_sentence_ended():
    first, second = [*rows(FULL), line("and then the", 1)], rows("council met.", FULL)
    assert page_blocks([first, second]) == [
        Block("text", f"{FULL} and then the council met.", 0, 1),
        Block("text", FULL, 0, 2),
    ]
    assert texts([rows(FULL, "It ended."), rows("Another began.")]) == [f"{FULL} It ended.", "Another began."]


def test_larger_short_lines_are_headings_by_the_rank_of_their_size():
    lines = [
        line("The great report", 0, size=20),
        line("on everything", 1.5, size=20),
        line("First part", 4, size=14),
        *[line(FULL, row) for row in range(6, 9)],
        line("Second part", 10, size=13.8),
        line("A remark", 12, size=12),
        *[line(FULL, row) for row in range(14, 16)],
    ]
    found = [(block.kind, block.level, block.text) for block in page_blocks([lines])]
    assert found == [
        ("heading", 1, "The great report on everything"),
        ("heading", 2, "First part"),
        ("text", 0, " ".join([FULL] * 3)),
        ("heading", 2, "Second part"),
        ("heading", 3, "A remark"),
        ("text", 0, " ".join([FULL] * 2)),
    ]


def test_long_runs_of_large_type_and_large_figures_are_no_headings():
    large = [line("a whole page of large type for everyone to read", 2 * row, size=14) for row in range(6)]
    small = [line(FULL, 20 + row) for row in range(20)]
    assert [block.kind for block in page_blocks([[*large, *small]])] == ["text", "text"]
    assert [block.kind for block in page_blocks([[line("42 %", 0, size=30), *small]])] == ["text", "text"]


def test_bullets_become_one_list_with_an_item_a_line():
    lines = [
        line("We sell:", 0),
        line("• apples from our own garden, which are", 1),
        line("picked by hand", 2, left=60),
        line("\uf0b7 pears", 3),
        line("– plums", 4),
        line("All prices include taxes.", 6),
    ]
    assert page_blocks([lines]) == [
        Block("text", "We sell:", 0, 1),
        Block("list", "- apples from our own garden, which are picked by hand\n- pears\n- plums", 0, 1),
        Block("text", "All prices include taxes.", 0, 1),
    ]


def test_a_dash_within_a_sentence_is_no_bullet():
    assert texts([rows("The council", "– which met in May –", "agreed.")]) == [
        "The council – which met in May – agreed."
    ]


def test_numbered_paragraphs_are_apart_after_a_sentence_only():
    whole = "It was decided in favour of the other party to."
    assert texts([rows(whole, "2. The council meets", "in the year", "2. of the reign.")]) == [
        whole,
        "2. The council meets in the year 2. of the reign.",
    ]


def test_rows_that_share_gaps_become_a_table():
    lines = [
        line("The figures:", 0),
        cells(1, (50, "Year"), (200, "Revenue"), (300, "Costs")),
        cells(2, (50, "2023"), (210, "1,200"), (305, "900")),
        cells(3, (50, "2024 and later"), (210, "1,300"), (310, "95")),
        line("All in thousands.", 5),
    ]
    assert [(block.kind, block.text) for block in page_blocks([lines])] == [
        ("text", "The figures:"),
        ("table", "Year | Revenue | Costs\n2023 | 1,200 | 900\n2024 and later | 1,300 | 95"),
        ("text", "All in thousands."),
    ]


def test_gaps_at_other_places_two_rows_and_numbered_items_are_no_table():
    other = [cells(row, (50, "long " * (5 * row + 1)), (100 + 125 * row, "another")) for row in range(3)]
    two = [cells(row, (50, "a word"), (120, "another")) for row in range(2)]
    numbered = [cells(row, (50, f"{row + 1}."), (90, f"The rule {row}.")) for row in range(3)]
    for lines in (other, two, numbered):
        assert "table" not in {block.kind for block in page_blocks([lines])}


def test_columns_printed_line_by_line_are_put_one_after_the_other():
    left = [f"left column, line number {row} here" for row in range(5)]
    right = [f"right column, line number {row} is" for row in range(4)]
    lines = [line("A line above both of the columns, as wide as the page is printed", 0)]
    lines += [
        cells(row + 1, (50, one), (300, other)) for row, (one, other) in enumerate(zip(left, right, strict=False))
    ]
    lines += [line(left[4], 5), line("Far below", 9)]
    ordered = [found.text for found in column_order(lines)]
    assert ordered == [lines[0].text, *left, *right, "Far below"]


def test_a_table_is_not_taken_for_columns():
    lines = [cells(row, (50, "Year"), (300, "the turnover of all the shops in the north")) for row in range(6)]
    assert column_order(lines) == lines


def test_halves_of_a_line_keep_their_own_gaps():
    three = [
        cells(
            row,
            (50, "a left column of some width"),
            (250, "the middle column of the page"),
            (450, "and a third column at right"),
        )
        for row in range(3)
    ]
    ordered = [found.text for found in column_order(three)]
    assert ordered[:3] == ["a left column of some width"] * 3
    assert [(found.text, found.left) for found in column_order(column_order(three)[3:])][:3] == [
        ("the middle column of the page", 250)
    ] * 3


@pytest.mark.parametrize(
    "lines, expected",
    [
        (["an exam-", "ple of it"], "an example of it"),
        (["a long-", "term plan"], "a long-term plan"),
        (["Long-", "term plans"], "Long-term plans"),
        (["soft\u00ad", "ware and co\u00adoperation"], "software and cooperation"),
        (["Anglo-", "Saxon"], "Anglo-Saxon"),
        (["2023-", "24"], "2023-24"),
        (["U.S.-", "based"], "U.S.-based"),
        (["state-of-", "the-art"], "state-of-the-art"),
        (["Haupt-", "und Nebensatz"], "Haupt- und Nebensatz"),
        (["the council -", "which met"], "the council - which met"),
        (["a (re-", "newed) plan"], "a (renewed) plan"),
        (["Über-", "prüfung", "der Stra-", "ße"], "Überprüfung der Straße"),
        (["ends with a-"], "ends with a-"),
        ([], ""),
    ],
)
def test_words_parted_at_the_end_of_a_line(lines, expected):
    assert joined(lines, frozenset(["long-term"])) == expected


def test_a_compound_is_known_from_elsewhere_in_the_document():
    assert texts([rows("our well-known and decision-making", "and a well-", "known decision-", "making body")]) == [
        "our well-known and decision-making and a well-known decision-making body"
    ]


def page(number, body, head="Annual report 2024", foot="{}"):
    lines = [head, *body, foot.format(number)]
    return rows(*lines)


def bodies(count):
    return [[f"{word} begins here", f"here is {word}", f"{word} ends here"] for word in WORDS[:count]]


WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo", "lima"]


def remaining(pages):
    return [[found.text for found in lines] for lines in without_running_lines(pages)]


@pytest.mark.parametrize("foot", ["{}", "Page {} of 10", "- {} -", "Seite {}", "{}/10"])
def test_running_heads_and_page_numbers_are_removed(foot):
    assert remaining([page(n, body, foot=foot) for n, body in enumerate(bodies(6), start=7)]) == bodies(6)


def test_heads_that_alternate_are_removed():
    heads = ["The book of rivers", "Chapter three"]
    pages = [page(n, body, head=heads[n % 2]) for n, body in enumerate(bodies(10), start=1)]
    assert remaining(pages) == bodies(10)


def test_roman_numbers_are_removed():
    numbers = ["i", "ii", "iii", "iv", "v"]
    pages = [rows(*body, number) for body, number in zip(bodies(5), numbers, strict=True)]
    assert remaining(pages) == bodies(5)


def test_lines_that_equal_a_head_stay_within_the_page():
    inner = ["one", "two", "three", "Annual report 2024", "four", "five", "six"]
    pages = [
        page(n, [f"{WORDS[n]} {text}" if text != "Annual report 2024" else text for text in inner]) for n in range(6)
    ]
    assert all(found.count("Annual report 2024") == 1 and len(found) == 7 for found in remaining(pages))


def test_a_line_on_few_pages_stays():
    pages = [rows("Only on three" if n < 3 else f"{WORDS[n]} first", *body) for n, body in enumerate(bodies(12))]
    assert sum("Only on three" in found for found in remaining(pages)) == 3


def test_rows_of_figures_are_no_running_lines():
    pages = [rows(f"{17 * n} {5 * n}", *body, f"{n * n + 100}") for n, body in enumerate(bodies(6), start=1)]
    assert remaining(pages) == [[found.text for found in lines] for lines in pages]


def test_a_short_document_loses_page_numbers_only():
    pages = [page(n, body, foot="Page {} of 2") for n, body in enumerate(bodies(2), start=1)]
    assert remaining(pages) == [["Annual report 2024", *body] for body in bodies(2)]
    assert remaining([rows("The answer is", "42")]) == [["The answer is", "42"]]
    assert remaining([[], rows("v")]) == [[], ["v"]]


def test_nothing_makes_nothing():
    assert page_blocks([]) == page_blocks([[], []]) == []


words = st.text(st.sampled_from("abcxyzABC.-•1 äß\u00ad"), min_size=1, max_size=12).map(
    lambda text: " ".join(text.split())
)
some_lines = st.builds(
    line,
    words.filter(bool),
    st.integers(0, 60),
    st.sampled_from([50.0, 60.0, 300.0]),
    size=st.sampled_from([8.0, 10.0, 16.0]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(some_lines, max_size=12), max_size=2))
def test_no_letter_is_lost_or_added(pages):
    given_letters = sorted(c for lines in pages for found in lines for c in found.text if c.isalpha())
    blocks = page_blocks(pages)
    assert all(block.text and 1 <= block.page <= len(pages) for block in blocks)
    # letters alone in roman numbers or page words do not occur among these
    assert sorted(c for block in blocks for c in block.text if c.isalpha()) == given_letters
