"""XML by the looks of its elements, feeds, and files that attack their reader."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest

from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.xml import parsed_xml, read_xml


def _items(tmp_path: Path, content: str | bytes) -> list[object]:
    path = tmp_path / "a.xml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_xml(path, Limits()))


def _read(tmp_path: Path, content: str | bytes) -> Document:
    (document,) = _items(tmp_path, content)
    assert isinstance(document, Document)
    return document


def _bomb(places: str) -> str:
    names = "abcdefghij"
    pairs = pairwise(names)
    inner = "".join(f'<!ENTITY {name} "' + f"&{before};" * 10 + '">' for before, name in pairs)
    return f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "lol">{inner}]><r>{places}</r>'


def test_elements_are_paragraphs_in_order_and_those_within_a_line_stay_in_it(tmp_path: Path) -> None:
    document = _read(
        tmp_path, "<r lang='de'><a>one\n two</a><b><c>three</c><d/>\n<e>four <f>fi</f>ve<!-- no --> six</e></b></r>"
    )
    assert [block.text for block in document.blocks] == ["one two", "three", "four five six"]
    assert (document.title, document.metadata) == ("", {"lang": "de"})


def test_titles_are_headings_as_deep_as_their_sections(tmp_path: Path) -> None:
    content = (
        "<book><info><title>T</title></info><chapter><title>C <i>1</i></title>"
        "<para>see <title>Other</title> there</para>"
        "<section><title>S</title><para>p</para></section></chapter><head>H</head><h5>five</h5></book>"
    )
    document = _read(tmp_path, content)
    assert document.title == "T"
    assert document.blocks == [
        Block("heading", "T", level=1),
        Block("heading", "C 1", level=2),
        Block("text", "see Other there"),
        Block("heading", "S", level=3),
        Block("text", "p"),
        Block("heading", "H", level=1),
        Block("heading", "five", level=5),
    ]


def test_a_head_that_holds_a_title_is_no_heading(tmp_path: Path) -> None:
    document = _read(tmp_path, "<r><head><title>T</title><date>today</date></head></r>")
    assert [(block.kind, block.text) for block in document.blocks] == [("heading", "T"), ("text", "today")]


def test_tables_lists_and_code_of_articles(tmp_path: Path) -> None:
    content = (
        "<article xmlns='urn:x'><front><article-meta><title-group><article-title>T</article-title></title-group>"
        "</article-meta></front><body><p>before<table-wrap><label>Table 1</label>"
        "<table><thead><tr><th>a</th><th>b</th></tr>"
        "</thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table></table-wrap>after</p>"
        "<list><list-item><p>x</p></list-item><list-item><p>y</p></list-item></list>"
        "<programlisting>if x:\n  y</programlisting>"
        "<table><title>Prices</title><tgroup><tbody><row><entry>c</entry><entry><para>d</para></entry></row></tbody></tgroup>"
        "</table></body><ref><article-title>Cited</article-title></ref></article>"
    )
    document = _read(tmp_path, content)
    assert document.title == "T"
    assert [(block.kind, block.text) for block in document.blocks] == [
        ("heading", "T"),
        ("text", "before"),
        ("text", "Table 1"),
        ("table", "a | b\n1 | 2"),
        ("text", "after"),
        ("list", "- x\n- y"),
        ("text", "if x:\n  y"),
        ("heading", "Prices"),
        ("table", "c | d"),
        ("text", "Cited"),
    ]


def test_xhtml_is_read_as_html(tmp_path: Path) -> None:
    content = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>T</title></head><body><ul><li>a</li></ul></body></html>'
    document = _read(tmp_path, content)
    assert (document.title, document.blocks) == ("T", [Block("list", "- a")])


def test_a_doctype_without_entities_is_fine(tmp_path: Path) -> None:
    content = '<!DOCTYPE r SYSTEM "http://a.example/r.dtd" [<!ATTLIST r x CDATA "y">]><r>a&nbsp;b &amp; c</r>'
    assert _read(tmp_path, content).blocks == [Block("text", "a b & c")]


@pytest.mark.parametrize("places", ["&j;", "<x y='&j;'/>", ""], ids=["text", "attribute", "unused"])
def test_entities_within_entities_are_refused(places: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"declares entities.*remove its DOCTYPE"):
        _items(tmp_path, _bomb(places))


@pytest.mark.parametrize("declared", ['x SYSTEM "{}"> ]><r>&x;</r>', '% x SYSTEM "{}"> %x; ]><r>a</r>'])
def test_external_entities_are_refused(declared: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text('<!ENTITY y "hidden words">', encoding="utf-8")
    with pytest.raises(UnreadableError, match="declares entities") as raised:
        _items(tmp_path, "<!DOCTYPE r [ <!ENTITY " + declared.format(secret.as_uri()))
    assert "hidden" not in str(raised.value)


def test_files_named_in_a_doctype_or_an_include_are_not_loaded(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text('<!ENTITY y "hidden words">', encoding="utf-8")
    include = f'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="{secret.as_uri()}" parse="text"/>'
    document = _read(tmp_path, f'<!DOCTYPE r SYSTEM "{secret.as_uri()}"><r>a {include}&y;</r>')
    assert document.blocks == [Block("text", "a &y;")]


def test_words_about_entities_are_no_declaration(tmp_path: Path) -> None:
    found = _items(tmp_path, '<r>a<![CDATA[ <!ENTITY x "y"> ]]><b>open</r>')
    assert isinstance(found[0], Document) and found[0].blocks[0].text == 'a <!ENTITY x "y"> open'


def test_a_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    document, failure = _items(tmp_path, "<r><a>one</a><b>two & three</b><c>fo")
    assert isinstance(document, Document) and [block.text for block in document.blocks] == ["one", "two three", "fo"]
    assert isinstance(failure, Failure) and "not well-formed" in failure.error and "line 1" in failure.error


def test_elements_too_deep_for_the_parser_are_a_failure(tmp_path: Path) -> None:
    found = _items(tmp_path, "<r><a>one</a>" + "<b>" * 10_000 + "deep" + "</b>" * 10_000 + "</r>")
    assert isinstance(found[0], Document) and found[0].blocks[0].text == "one"
    assert isinstance(found[1], Failure) and "depth" in found[1].error


@pytest.mark.parametrize("content", [bytes(3000), b"just words", b"<", b"<!-- only -->"])
def test_what_is_no_xml_is_unreadable(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"is not (text|well-formed XML)"):
        _items(tmp_path, content)
    with pytest.raises(UnreadableError):
        parsed_xml(content)


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_file_is_an_empty_document(content: bytes, tmp_path: Path) -> None:
    assert _read(tmp_path, content).blocks == []


@pytest.mark.parametrize(
    ("declared", "encoding"), [("utf-16", "utf-8"), ("utf-8", "cp1252"), ("windows-1250", "cp1250")]
)
def test_encodings_declared_rightly_or_wrongly(declared: str, encoding: str, tmp_path: Path) -> None:
    content = f'<?xml version="1.0" encoding="{declared}"?><r>Größe für Möbel</r>'.encode(encoding)
    assert _read(tmp_path, content).blocks == [Block("text", "Größe für Möbel")]


def test_entries_of_rss_are_documents(tmp_path: Path) -> None:
    content = (
        "<rss xmlns:content='http://purl.org/rss/1.0/modules/content/' xmlns:dc='http://purl.org/dc/elements/1.1/'><channel>"
        "<title>News</title><item><title>One</title><link>http://a.example/1</link><guid>g1</guid>"
        "<dc:creator>J. Doe</dc:creator>"
        "<pubDate>Mon, 01 Jan 2024</pubDate><description>short</description>"
        "<content:encoded>&lt;p&gt;a &amp;amp; b&lt;/p&gt;&lt;ul&gt;&lt;li&gt;c&lt;/ul&gt;</content:encoded></item>"
        "<item><guid>g1</guid><description><![CDATA[x <b>y</b>]]></description></item><item><title>Bare</title></item>"
        "</channel></rss>"
    )
    first, second, third = _items(tmp_path, content)
    assert first == Document(
        [Block("text", "a & b"), Block("list", "- c")],
        name="g1",
        title="One",
        metadata={"feed": "News", "author": "J. Doe", "date": "Mon, 01 Jan 2024", "link": "http://a.example/1"},
    )
    assert second == Document([Block("text", "x y")], name="g1~2", metadata={"feed": "News"})
    assert third == Document([], name=hashlib.sha256(b"Bare").hexdigest()[:12], title="Bare", metadata={"feed": "News"})


def test_entries_of_atom_are_documents(tmp_path: Path) -> None:
    content = (
        "<feed xmlns='http://www.w3.org/2005/Atom'><title>F</title>"
        "<entry><id>e1</id><link href='http://a.example/1'/>"
        "<author><name>J. Doe</name></author><updated>2024-01-02</updated>"
        "<summary>short</summary><content type='xhtml'>"
        "<div xmlns='http://www.w3.org/1999/xhtml'><h2>H</h2><p>p</p></div></content>"
        "</entry><entry><link href='http://a.example/2'/><content type='text'>1 &lt; 2</content></entry></feed>"
    )
    first, second = _items(tmp_path, content)
    assert isinstance(first, Document) and first.blocks == [Block("heading", "H", level=2), Block("text", "p")]
    assert first.metadata == {"feed": "F", "author": "J. Doe", "date": "2024-01-02", "link": "http://a.example/1"}
    assert isinstance(second, Document)
    assert (second.name, second.blocks) == ("http://a.example/2", [Block("text", "1 < 2")])


def test_a_feed_without_entries_is_a_document(tmp_path: Path) -> None:
    assert _read(tmp_path, "<rss><channel><title>N</title></channel></rss>").blocks == [Block("heading", "N", level=1)]
