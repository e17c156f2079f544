"""Decoding, plain text and Markdown; all expected blocks are derived by hand from the text above them."""

from __future__ import annotations

import codecs
import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from denizen.ingest.document import Block, Document, Limits, UnreadableError
from denizen.ingest.text import decoded, read_markdown, read_text, shortened, text_blocks

GERMAN = "Der Vorstand prüft die Löhne für das Gebäude – größer als je zuvor.\n"
RUSSIAN = "Совет директоров принял решение о выплате дивидендов акционерам.\n"
JAPANESE = "取締役会は来年の株主への配当を決定しました。会社の業績は良好です。\n"


def _read(path: Path, content: str | bytes) -> Document:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    reader = read_markdown if path.suffix == ".md" else read_text
    (document,) = reader(path, Limits())
    assert isinstance(document, Document)
    return document


def _markdown(tmp_path: Path, content: str) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in _read(tmp_path / "a.md", content).blocks]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
def test_a_byte_order_mark_decides(encoding: str) -> None:
    assert decoded(GERMAN.encode(encoding)) == GERMAN


@pytest.mark.parametrize("mark, encoding", [(codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF32_BE, "utf-32-be")])
def test_a_mark_of_the_other_byte_order_decides(mark: bytes, encoding: str) -> None:
    assert decoded(mark + GERMAN.encode(encoding), "cp1251") == GERMAN


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_known_by_its_zero_bytes(encoding: str) -> None:
    assert decoded(GERMAN.encode(encoding)) == GERMAN


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (JAPANESE, "cp932"),
        ("50 °C or 122 °F\n", "cp1252"),
    ],
)
def test_an_undeclared_encoding_is_guessed(text: str, encoding: str) -> None:
    assert decoded((text * 3).encode(encoding)) == text * 3


@pytest.mark.parametrize("text", ["50 °C", "© 2020", "Le conseil a été réuni à Paris où l’œuvre est achevée."])
def test_accents_and_signs_among_ascii_are_windows(text: str) -> None:
    assert decoded(text.encode("cp1252")) == text


def test_a_declared_encoding_is_used_where_the_text_is_no_utf_8() -> None:
    assert decoded("Łódź".encode("cp1250"), "windows-1250") == "Łódź"
    # by https://encoding.spec.whatwg.org/ the label stands for Windows-1252, where 0x93 is a quotation mark
    assert decoded(b"\x93x\x94", "ISO-8859-1") == "“x”"
    assert decoded("会社".encode("iso2022_jp"), "iso-2022-jp") == "会社"


@pytest.mark.parametrize("declared", ["cp1251", "utf-16", "punycode", "unicode_escape", "rot13", "no such", "a\0b", ""])
def test_a_wrong_declaration_does_not_change_utf_8(declared: str) -> None:
    assert decoded(GERMAN.encode(), declared) == GERMAN


def test_a_few_bytes_of_windows_in_utf_8_do_not_change_the_rest() -> None:
    assert decoded(GERMAN.encode() + b"Caf\xe9 \x93x\x94\n") == GERMAN + "Café “x”\n"


def test_what_no_encoding_fits_is_windows_with_replacements() -> None:
    assert decoded(b"one lone \x81 byte in caf\xe9s") == "one lone \ufffd byte in cafés"


@pytest.mark.parametrize(
    ("text", "longest", "kept"),
    [
        ("one two", 7, "one two"),
        ("one two three", 9, "one two"),
        ("one two three", 7, "one two"),
        ("one two three", 8, "one two"),
        ("to: a@example.org, b@example.org", 25, "to: a@example.org,"),
        ("no. 4111 1111 1111 1111 ends", 19, "no."),
        ("of DE89 3704 0044 0532 0130 00 x", 27, "of DE89"),
        ("call (212) 555-0100 x", 16, "call"),
        ("x" * 30, 10, ""),
        ("取締役会は来年", 4, "取締役会"),
    ],
)
def test_a_text_is_cut_between_words_and_before_numbers(text: str, longest: int, kept: str) -> None:
    assert shortened(text, longest) == kept


@given(st.text(" \na1@-é一", max_size=40), st.integers(1, 20))
def test_what_is_kept_of_a_text_is_its_beginning(text: str, longest: int) -> None:
    kept = shortened(text, longest)
    assert text.startswith(kept) and len(kept) <= longest


def test_ends_of_lines_are_line_feeds() -> None:
    assert decoded(b"a\r\nb\rc\nd") == "a\nb\nc\nd"


@pytest.mark.parametrize(
    "data",
    [bytes(5000), b"\x7fELF\x02\x01\x01" + bytes(300), random.Random(1).randbytes(20_000), b"\xff\xfe" + b"\1\0" * 50],
    ids=["zeros", "program", "noise", "controls in UTF-16"],
)
def test_binary_data_is_not_text(data: bytes) -> None:
    with pytest.raises(UnreadableError, match="is not text"):
        decoded(data)


def test_a_stray_zero_byte_is_dropped() -> None:
    assert decoded(b"a" * 100 + b"\0" + b"b" * 100) == "a" * 100 + "b" * 100


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffd"), max_size=60))
@settings(max_examples=60)
def test_utf_8_is_always_read_as_such(text: str) -> None:
    assert decoded(text.encode()) == text


@given(st.binary(max_size=200))
@example(b"\xff\xfe\0")
@example(b"\xef\xbb\xbf\xff")
@settings(max_examples=60)
def test_any_bytes_are_text_or_unreadable(data: bytes) -> None:
    with contextlib.suppress(UnreadableError):
        assert "\0" not in decoded(data)


def test_wrapped_lines_are_joined_and_blank_lines_part_paragraphs(tmp_path: Path) -> None:
    document = _read(tmp_path / "a.txt", "One  two\n  three.\n \t\n\nFour.\n")
    assert document.blocks == [Block("text", "One two three."), Block("text", "Four.")]


def test_lines_too_long_to_be_wrapped_are_paragraphs() -> None:
    long = "word " * 50
    assert [block.text for block in text_blocks(f"{long}\nshort\n{long}")] == [long.strip(), "short", long.strip()]


def test_form_feeds_number_the_pages() -> None:
    assert text_blocks("a\n\fb\n\f\fd\f") == [
        Block("text", "a", page=1),
        Block("text", "b", page=2),
        Block("text", "d", page=4),
    ]
    assert text_blocks("a\n\f") == [Block("text", "a")]


def test_lists_are_found_with_their_wrapped_lines() -> None:
    found = text_blocks("We sell:\n- apples\n  and pears\n* nuts\n\n- figs\n\nEnd - of\n- it.")
    assert found == [
        Block("text", "We sell:"),
        Block("list", "- apples and pears\n- nuts\n- figs"),
        Block("text", "End - of - it."),
    ]


def test_numbered_items_keep_their_numbers() -> None:
    assert text_blocks("1. Open.\n2) Close.\n(a) Lock.") == [Block("list", "- 1. Open.\n- 2) Close.\n- (a) Lock.")]
    assert text_blocks("1. Scope of this") == [Block("text", "1. Scope of this")]


def test_columns_are_a_table() -> None:
    text = "Item        2023   2022\n----------  ----   ----\nNet revenue  120    100\nOther           7      9\n"
    assert text_blocks(text) == [Block("table", "Item | 2023 | 2022\nNet revenue | 120 | 100\nOther | 7 | 9")]


def test_the_empty_corner_of_a_table_stays_empty() -> None:
    (block,) = text_blocks("             2023   2022\nRevenue       120    100\nCosts          90     80")
    assert block == Block("table", " | 2023 | 2022\nRevenue | 120 | 100\nCosts | 90 | 80")


def test_tabs_and_pipes_part_cells() -> None:
    assert text_blocks("a\tb\nlonger\tc\nd\te")[0] == Block("table", "a | b\nlonger | c\nd | e")
    grid = "+---+----+\n| x | yy |\n+===+====+\n| 1 | 2  |\n+---+----+"
    assert text_blocks(grid) == [Block("table", "x | yy\n1 | 2")]


def test_narrow_columns_are_a_table_when_all_rows_agree() -> None:
    assert text_blocks("2021  10\n2022  12\n2023   9") == [Block("table", "2021 | 10\n2022 | 12\n2023 | 9")]


def test_justified_prose_is_no_table() -> None:
    prose = (
        "The  lender  shall keep the record of\nthe loan.  It shall  be kept for some\n"
        "years,  and  shown to all  who ask it."
    )
    assert text_blocks(prose)[0].kind == "text"
    # two of three narrow gaps meet
    assert text_blocks("aa  bb cc\ndd  ee ff\ngg hh  ii") == [Block("text", "aa bb cc dd ee ff gg hh ii")]


def test_underlined_titles_have_levels_in_order_of_use() -> None:
    text = "=====\nTitle\n=====\n\nPart\n====\nText of it.\n\nSub\n---\n\nPart 2\n======\n"
    found = [(block.level, block.text) for block in text_blocks(text)]
    assert found == [(1, "Title"), (2, "Part"), (0, "Text of it."), (3, "Sub"), (2, "Part 2")]


def test_lines_of_a_log_are_kept(tmp_path: Path) -> None:
    document = _read(tmp_path / "a.log", "".join(f"line {number}\n" for number in range(250)))
    assert [block.text.count("\n") + 1 for block in document.blocks] == [100, 100, 50]
    assert document.blocks[0].text.startswith("line 0\nline 1\n")


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_an_empty_file_is_an_empty_document(name: str, tmp_path: Path) -> None:
    assert _read(tmp_path / name, b"").blocks == []
    assert _read(tmp_path / name, b" \n\f\n").blocks == []


@given(st.lists(st.text("ab \n\t-|1.=\f*", max_size=40), max_size=6))
@settings(max_examples=80)
def test_no_word_of_plain_text_is_lost(pieces: list[str]) -> None:
    text = "\n\n".join(pieces)
    letters = [letter for letter in text if letter in "ab1"]
    found = [letter for block in text_blocks(text) for letter in block.text if letter in "ab1"]
    assert found == letters
    assert all(block.text.strip() for block in text_blocks(text))


def test_headings_of_markdown_have_levels(tmp_path: Path) -> None:
    found = _read(tmp_path / "a.md", "Top\n===\n\n### Third #\n\nSecond\n---\ntext").blocks
    assert [(block.kind, block.level, block.text) for block in found] == [
        ("heading", 1, "Top"),
        ("heading", 3, "Third"),
        ("heading", 2, "Second"),
        ("text", 0, "text"),
    ]


def test_marks_within_a_line_are_reduced_to_text(tmp_path: Path) -> None:
    text = (
        "Some **bold *and*** `co  de`, a [link](http://a.example/x) and ![a *picture*](p.png)\n"
        "wrapped<br>on  \nto &amp; fro"
    )
    expected = "Some bold and co de, a link and a picture wrapped on to & fro"
    assert _markdown(tmp_path, text) == [("text", expected)]


def test_lists_tables_and_code_of_markdown(tmp_path: Path) -> None:
    text = (
        "- a\n  - b\n\n    more\n3. c\n\n| x | y |\n|---|--:|\n| 1 | `2` |\n|   | 3 |\n\n"
        "```py\nif x:\n\n    y  = 1\n```\n\n> quoted\n> words\n"
    )
    assert _markdown(tmp_path, text) == [
        ("list", "- a\n- b more"),
        ("list", "- c"),
        ("table", "x | y\n1 | 2\n | 3"),
        ("text", "if x:\n\n    y  = 1"),
        ("text", "quoted words"),
    ]


def test_code_within_a_list_keeps_its_place(tmp_path: Path) -> None:
    found = _markdown(tmp_path, "1. Run\n\n   ```\n   make  all\n   ```\n\n2. Wait\n")
    assert found == [("list", "- Run"), ("text", "make  all"), ("list", "- Wait")]


def test_html_within_markdown_is_read_as_html(tmp_path: Path) -> None:
    text = (
        "<div hidden>folded</div>\n\n<!-- no -->\n\n<table><tr><td>a</td><td>b</td></tr></table>\n\nyes <b>bold</b>\n"
    )
    assert _markdown(tmp_path, text) == [("text", "folded"), ("table", "a | b"), ("text", "yes bold")]


def test_front_matter_is_metadata(tmp_path: Path) -> None:
    text = '---\ntitle: "A: title"\nAuthor: J. Doe\ntags:\n  - x\ndate: 2024-01-02\n# note\n---\n# H\n'
    document = _read(tmp_path / "a.md", text)
    assert (document.title, document.metadata) == ("A: title", {"author": "J. Doe", "date": "2024-01-02"})
    assert document.blocks == [Block("heading", "H", level=1)]


@pytest.mark.parametrize(
    "text", ["---\n\nNo facts here\n\n---\n", "---\nfact: one\nbut prose, too\n---\n", "---\nopen: end\n"]
)
def test_a_rule_at_the_beginning_is_no_front_matter(text: str, tmp_path: Path) -> None:
    document = _read(tmp_path / "a.md", text)
    assert document.metadata == {} and document.blocks


@pytest.mark.parametrize("text", [">" * 20_000 + "deep", "* " * 5_000 + "deep", "- " * 300 + "deep"])
def test_markdown_nested_too_deeply_is_still_read(text: str, tmp_path: Path) -> None:
    assert "deep" in _markdown(tmp_path, text)[-1][1]


def test_markdown_too_long_for_its_time_is_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("# Head\n\n**bold**\n", encoding="utf-8")
    (document,) = read_markdown(path, Limits(seconds=0.0001))
    assert isinstance(document, Document)
    assert [block.text for block in document.blocks] == ["# Head", "**bold**"]
