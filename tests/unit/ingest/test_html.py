"""HTML: what a reader of a page sees, in order; expected blocks are read off the markup by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.ingest.document import Block, UnreadableError
from denizen.ingest.html import html_blocks, parsed_html


def _found(markup: str | bytes) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in html_blocks(parsed_html(markup))]


def test_blocks_come_in_order_with_their_kinds() -> None:
    markup = "<h1>Top <i>one</i></h1>loose<p>a\n b</p>tail<h3>Sub</h3><div>c<div>d</div>e</div><pre>x  y\n\n  z\n</pre>"
    assert html_blocks(parsed_html(markup)) == [
        Block("heading", "Top one", level=1),
        Block("text", "loose"),
        Block("text", "a b"),
        Block("text", "tail"),
        Block("heading", "Sub", level=3),
        Block("text", "c"),
        Block("text", "d"),
        Block("text", "e"),
        Block("text", "x  y\n\n  z"),
    ]


def test_two_line_breaks_end_a_paragraph_and_one_does_not() -> None:
    assert _found("<p>a<br>b<br>\n<br/>c") == [("text", "a b"), ("text", "c")]


def test_lists_are_one_block_with_a_line_for_each_item() -> None:
    markup = "<ul><li>a<ol><li><p>b</p><p>b2</p></li><li>c</ol><li><br></ul><ul><li>d</ul>after"
    assert _found(markup) == [("list", "- a\n- b b2\n- c"), ("list", "- d"), ("text", "after")]
    assert _found("<li>stray<li>two") == [("list", "- stray\n- two")]
    assert _found("<dl><dt>Term<dd>One<dd>Two<dt>Next:<dd>Three</dl>") == [("list", "- Term: One Two\n- Next: Three")]


def test_a_table_within_a_list_keeps_its_place() -> None:
    markup = "<ul><li>a<table><tr><td>x<td>y</table><li>b</ul>"
    assert _found(markup) == [("list", "- a"), ("table", "x | y"), ("list", "- b")]


def test_what_is_not_shown_is_left_out() -> None:
    markup = (
        "<head><title>t</title><style>s</style></head><script>s</script>a<!-- no --> b<noscript>n</noscript>"
        "<template>t</template><p hidden>h</p><p style='color:red;DISPLAY : None'>d</p><img alt='picture'> c"
        "<ix:header><p>fact</p></ix:header><ix:nonFraction name='x'>12</ix:nonFraction>"
    )
    assert _found(markup) == [("text", "a b c12")]


def test_a_heading_that_is_never_closed_is_text() -> None:
    assert [kind for kind, _ in _found(f"<h2>{'word ' * 100}")] == ["text"]


def test_xhtml_is_parsed_as_xml_with_the_entities_of_html() -> None:
    markup = (
        '<?xml version="1.0" encoding="ASCII"?><html xmlns="http://www.w3.org/1999/xhtml" '
        'xmlns:ix="http://www.xbrl.org/2013/inlineXBRL"><head><title/></head><body><ix:header>no</ix:header>'
        "<p>a&nbsp;<ix:nonNumeric>b</ix:nonNumeric>&mdash;&amp;lt; &#233;</p><table><tr><td/><td>x</td><td>y</td></tr>"
        "</table></body></html>"
    )
    assert _found(markup.encode()) == [("text", "a b—&lt; é"), ("table", "x | y")]


def test_xhtml_that_is_no_xml_is_read_as_html() -> None:
    assert _found("<?xml version='1.0'?><html><p>a<br>b & c<p>d</html>") == [("text", "a b & c"), ("text", "d")]


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ("<meta charset=iso-8859-2>", "utf-8"),
        ("<meta http-equiv=Content-Type content='text/html; charset=windows-1250'>", "cp1250"),
        ("<meta charset=utf-8>", "cp1252"),
        ("<meta charset=utf-16>", "utf-8"),
        ("<meta charset=ascii>", "utf-16"),
    ],
)
def test_encodings_declared_rightly_or_wrongly(head: str, encoding: str) -> None:
    assert _found(f"{head}<p>Größe für Möbel</p>".encode(encoding)) == [("text", "Größe für Möbel")]


@pytest.mark.parametrize("data", [b"", b"  \n", b"<!-- x -->", "", b"<html></html>"])
def test_an_empty_page_has_no_blocks(data: bytes | str) -> None:
    assert _found(data) == []


def test_zeros_are_not_text() -> None:
    with pytest.raises(UnreadableError, match="is not text"):
        parsed_html(bytes(4000))


def test_text_below_the_parsers_depth_is_not_lost() -> None:
    markup = (
        "<p>before</p>" + "<div>" * 10_000 + "deep<p>text</p><script>no</script>" + "</div>" * 10_000 + "<p>after</p>"
    )
    assert _found(markup) == [("text", "before"), ("text", "deep"), ("text", "text"), ("text", "after")]


def test_elements_that_are_never_closed_do_not_end_the_page() -> None:
    markup = "".join(f"<font size=2>para {number}<br><br>" for number in range(600))
    assert [text for _, text in _found(markup)] == [f"para {number}" for number in range(600)]


def test_broken_names_and_attributes_below_that_depth_do_no_harm() -> None:
    markup = "<b>" * 300 + '<a<b \'q="1" style="a\x02">x</a<b><o:p>y</o:p>\x01<p hidden>no</p>' + "</b>" * 300
    assert "".join(text for _, text in _found(markup)).replace("\ufffd", " ").split() == ["xy"]


def test_one_text_longer_than_the_parsers_limit_is_read() -> None:
    (first, second) = _found("<p>" + "x" * 10_100_000 + "<p>after")
    assert (len(first[1]), second) == (10_100_000, ("text", "after"))


def test_an_external_entity_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hidden words", encoding="utf-8")
    markup = f'<?xml version="1.0"?><!DOCTYPE html [<!ENTITY x SYSTEM "{secret.as_uri()}">]><html><p>a &x; b</p></html>'
    assert "hidden words" not in str(_found(markup))
    assert "a" in str(_found(markup))


def test_entities_within_entities_do_not_grow() -> None:
    names = [f"&{name};" for name in "abcdefghijkl"]
    bomb = "".join(f'<!ENTITY {name} "{before * 10}">' for name, before in zip("bcdefghijklm", names, strict=True))
    markup = (
        f'<?xml version="1.0"?><!DOCTYPE html [<!ENTITY a "aaaaaaaaaa">{bomb}]><html><p title="&m;">x &m;</p></html>'
    )
    assert len(str(_found(markup))) < 5_000


_TAGS = st.sampled_from(
    [
        "p",
        "div",
        "span",
        "b",
        "h2",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "table",
        "tr",
        "td",
        "th",
        "pre",
        "br",
        "a",
        "section",
        "blockquote",
    ]
)
_TREES = st.recursive(
    st.integers(0, 99).map(lambda number: f" w{number} "),
    lambda inner: st.tuples(_TAGS, st.lists(inner, max_size=4)).map(lambda it: f"<{it[0]}>{''.join(it[1])}</{it[0]}>"),
    max_leaves=15,
)


@given(st.lists(_TREES, max_size=4).map("".join))
@settings(max_examples=50)
def test_every_visible_word_is_in_a_block_and_in_order(markup: str) -> None:
    root = parsed_html(markup)
    assert " ".join(block.text for block in html_blocks(root)).translate(str.maketrans("-|:", "   ")).split() == (
        "".join(root.itertext()).split()
    )
