"""Tables and their cells, as blocks of the HTML around them; expected lines are read off the markup by hand."""

from __future__ import annotations

import pytest

from denizen.ingest.html import html_blocks, parsed_html


def _found(markup: str) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in html_blocks(parsed_html(markup))]


def _row(*cells: str) -> str:
    return "<tr>" + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in cells) + "</tr>"


def test_rows_are_lines_and_empty_columns_are_dropped() -> None:
    markup = f"<table>{_row('a', '', 'b  <b>c</b>', '')}{_row('', ' ', 'd<br>e', '&nbsp;')}{_row('', '')}</table>"
    assert _found(markup) == [("table", "a | b c\n | d e")]


def test_signs_and_brackets_join_their_figures_under_their_heading() -> None:
    """The heading spans three columns: "$", the figure, and ")" or "%"."""
    markup = (
        "<table>"
        + _row("", "<td colspan=3>2023</td>", "", "<td colspan=3>2022</td>")
        + _row("Loss", "$", "(1,234", ")", "", "$", "—", "")
        + _row("Margin", "", "12", "%", "", "", "(3.5", ")%")
        + "</table>"
    )
    assert _found(markup) == [("table", " | 2023 | 2022\nLoss | $(1,234) | $—\nMargin | 12% | (3.5)%")]


def test_signs_in_headings_are_left_alone() -> None:
    markup = f"<table>{_row('', '2023', '%', '$', 'Name')}{_row('x', '5', '6', '7', 'y')}</table>"
    assert _found(markup) == [("table", " | 2023 | % | $ | Name\nx | 5 | 6 | 7 | y")]


def test_a_cell_over_several_rows_takes_its_column() -> None:
    markup = f"<table>{_row('<td rowspan=2>a</td>', 'b', 'c')}{_row('d', 'e')}{_row('f', 'g', 'h')}</table>"
    assert _found(markup) == [("table", "a | b | c\n | d | e\nf | g | h")]


def test_a_caption_comes_before_its_table() -> None:
    markup = f"<table><caption>Fees</caption>{_row('a', 'b')}</table>"
    assert _found(markup) == [("text", "Fees"), ("table", "a | b")]


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        (
            "<table>" + _row("<table>" + _row("a", "b") + "</table>", "side") + "</table>",
            [("table", "a | b"), ("text", "side")],
        ),
        (f"<table>{_row('<p>a</p><p>b</p>', 'c')}</table>", [("text", "a"), ("text", "b"), ("text", "c")]),
        (f"<table>{_row('<h2>A</h2><p>b</p>', '')}</table>", [("heading", "A"), ("text", "b")]),
        (f"<table>{_row('a')}{_row('b')}</table>", [("text", "a"), ("text", "b")]),
        (f"<table>loose{_row('a', 'b')}</table>", [("text", "loose"), ("text", "a"), ("text", "b")]),
        ("<table></table>", []),
    ],
    ids=["nested", "paragraphs", "heading", "one column", "text outside", "empty"],
)
def test_a_table_that_only_lays_out_is_walked(markup: str, expected: list[tuple[str, str]]) -> None:
    assert _found(markup) == expected


def test_one_heading_of_two_lines_does_not_make_a_layout() -> None:
    markup = f"<table>{_row('Item', '<p>Year</p><p>2023</p>')}{_row('Net revenue of the group', '120')}</table>"
    assert _found(markup) == [("table", "Item | Year 2023\nNet revenue of the group | 120")]


def test_hidden_rows_and_cells_are_left_out() -> None:
    markup = f"<table>{_row('a', '<td hidden>x</td>', 'b')}<tr style='Display : none'><td>y</td></tr></table>"
    assert _found(markup) == [("table", "a | b")]


@pytest.mark.parametrize("span", ["1000000000", "-3", "x", "0", "99999999999999999999999", "٣"])
def test_hostile_spans_cost_nothing(span: str) -> None:
    rows = "".join(_row(f"<td colspan='{span}' rowspan='{span}'>a</td>", "b") for _ in range(300))
    ((kind, text),) = _found(f"<table>{rows}</table>")
    assert kind == "table" and text.count("b") == 300
