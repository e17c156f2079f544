from __future__ import annotations

import contextlib
import io
import re
import zipfile
from pathlib import Path

import docx
import pytest

from denizen.ingest.document import Block, Document, Failure, Limits, Member, UnreadableError
from denizen.ingest.word import read_docx

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
SMALL = Limits(unpacked_mb=16)


def saved(tmp_path: Path, word) -> Path:
    path = tmp_path / "file.docx"
    word.save(str(path))
    return path


def with_parts(path: Path, changes: dict[str, bytes | None], add: dict[str, bytes] | None = None) -> Path:
    """The file with some of its parts replaced, and others added."""
    target = path.with_name(f"x{path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = changes.get(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
        for name, data in (add or {}).items():
            new.writestr(name, data)
    return target


def body(tmp_path: Path, xml: str) -> Path:
    """A file whose body is the given XML."""
    path = saved(tmp_path, docx.Document())
    text = f'<?xml version="1.0"?><w:document {W}><w:body>{xml}</w:body></w:document>'
    return with_parts(path, {"word/document.xml": text.encode()})


def only(path: Path, limits: Limits = SMALL) -> Document:
    [document] = read_docx(path, limits)
    assert isinstance(document, Document)
    return document


def p(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def test_order_and_kinds(tmp_path):
    word = docx.Document()
    word.core_properties.title, word.core_properties.author = "Manual", "Works council"
    word.add_heading("Manual", 0)
    word.add_paragraph("First  line\nsecond\tline")
    word.add_heading("Parts", 2)
    word.add_paragraph("bolt", "List Bullet")
    word.add_paragraph("nut", "List Bullet")
    word.add_paragraph("")
    table = word.add_table(2, 2)
    for index, text in enumerate(("part", "price\nin euro", "bolt", "3")):
        table.cell(index // 2, index % 2).text = text
    word.add_paragraph("The end.")
    document = only(saved(tmp_path, word))
    assert document.blocks == [
        Block("heading", "Manual", 1),
        Block("text", "First line second line"),
        Block("heading", "Parts", 2),
        Block("list", "- bolt\n- nut"),
        Block("table", "part | price in euro\nbolt | 3"),
        Block("text", "The end."),
    ]
    assert document.title == "Manual"
    assert document.metadata["author"] == "Works council"
    assert document.name == ""


def test_default_title_and_empty_document(tmp_path):
    document = only(saved(tmp_path, docx.Document()))
    assert (document.blocks, document.title) == ([], "")


def test_merged_cells_once(tmp_path):
    word = docx.Document()
    table = word.add_table(3, 2)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
    table.cell(1, 0).merge(table.cell(2, 0)).text = "tall"
    table.cell(1, 1).text, table.cell(2, 1).text = "a", "b"
    assert only(saved(tmp_path, word)).blocks == [Block("table", "wide\ntall | a\n | b")]


def test_nested_table_and_frame(tmp_path):
    word = docx.Document()
    table = word.add_table(1, 2)
    table.cell(0, 0).text = "outer"
    inner = table.cell(0, 1).add_table(1, 2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "x", "y"
    frame = word.add_table(1, 1)
    frame.cell(0, 0).text = "framed"
    assert only(saved(tmp_path, word)).blocks == [Block("table", "outer | x y"), Block("text", "framed")]


def test_tracked_changes_links_and_controls(tmp_path):
    xml = (
        "<w:p><w:r><w:t>kept </w:t></w:r><w:ins><w:r><w:t>new </w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>old </w:delText></w:r></w:del>"
        "<w:moveFrom><w:r><w:t>moved </w:t></w:r></w:moveFrom>"
        "<w:hyperlink><w:r><w:t>link</w:t></w:r></w:hyperlink>"
        "<w:r><w:instrText>PAGEREF x</w:instrText></w:r></w:p>"
        f"<w:sdt><w:sdtPr><w:alias/></w:sdtPr><w:sdtContent>{p('in control')}</w:sdtContent></w:sdt>"
        f"<w:tbl><w:tr><w:trPr><w:del/></w:trPr><w:tc>{p('gone')}</w:tc><w:tc>{p('gone')}</w:tc></w:tr>"
        f"<w:tr><w:tc>{p('a')}</w:tc><w:sdt><w:sdtContent><w:tc>{p('b')}</w:tc></w:sdtContent></w:sdt></w:tr></w:tbl>"
    )
    texts = [block.text for block in only(body(tmp_path, xml)).blocks]
    assert texts == ["kept new link", "in control", "a | b"]


def test_levels_and_numbers_in_the_paragraph(tmp_path):
    number = '<w:numPr><w:numId w:val="{}"/></w:numPr>'
    xml = (
        p("by outline", '<w:outlineLvl w:val="1"/>')
        + p("plain", '<w:outlineLvl w:val="9"/>')
        + p("deep", '<w:outlineLvl w:val="8"/>')
        + p("odd", '<w:outlineLvl w:val="x"/>')
        + p("item", number.format(3))
        + p("no item", number.format(0))
    )
    found = [(block.kind, block.level) for block in only(body(tmp_path, xml)).blocks]
    assert found == [("heading", 2), ("text", 0), ("heading", 6), ("text", 0), ("list", 0), ("text", 0)]


def test_style_based_on_a_heading_and_circle(tmp_path):
    path = body(tmp_path, p("own", '<w:pStyle w:val="Own"/>') + p("round", '<w:pStyle w:val="A"/>'))
    style = '<w:style w:type="paragraph" w:styleId="{}"><w:name w:val="{}"/><w:basedOn w:val="{}"/></w:style>'
    chain = [("Own", "Own", "H3"), ("H3", "heading 3", "A"), ("A", "a", "B"), ("B", "b", "A")]
    styles = f"<w:styles {W}>{''.join(style.format(*each) for each in chain)}</w:styles>"
    found = only(with_parts(path, {"word/styles.xml": styles.encode()})).blocks
    assert found == [Block("heading", "own", 3), Block("text", "round")]


def test_text_box_once(tmp_path):
    box = f"<w:txbxContent>{p('boxed')}</w:txbxContent>"
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    xml = (
        f"<w:p><w:r><w:t>around</w:t></w:r><w:r><mc:AlternateContent {mc}><mc:Choice Requires='wps'>{box}</mc:Choice>"
        f"<mc:Fallback><w:pict>{box}</w:pict></mc:Fallback></mc:AlternateContent></w:r></w:p>"
    )
    assert [block.text for block in only(body(tmp_path, xml)).blocks] == ["around", "boxed"]


def notes_file(tmp_path: Path, notes: str) -> Path:
    path = body(tmp_path, p("text"))
    with zipfile.ZipFile(path) as file:
        types = file.read("[Content_Types].xml").decode()
        links = file.read("word/_rels/document.xml.rels").decode()
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    link = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
    types = types.replace("</Types>", f'<Override PartName="/word/footnotes.xml" ContentType="{kind}"/></Types>')
    links = links.replace(
        "</Relationships>", f'<Relationship Id="rId900" Type="{link}" Target="footnotes.xml"/></Relationships>'
    )
    changes: dict[str, bytes | None] = {
        "[Content_Types].xml": types.encode(),
        "word/_rels/document.xml.rels": links.encode(),
    }
    target = tmp_path / "with_notes"
    target.mkdir()
    return with_parts(path.rename(target / "file.docx"), changes, {"word/footnotes.xml": notes.encode()})


def test_footnotes_at_the_end(tmp_path):
    notes = (
        f'<w:footnotes {W}><w:footnote w:type="separator" w:id="-1">{p("line")}</w:footnote>'
        f'<w:footnote w:id="1">{p("A note.")}</w:footnote></w:footnotes>'
    )
    assert [block.text for block in only(notes_file(tmp_path, notes)).blocks] == ["text", "A note."]


def test_broken_footnotes_cost_only_themselves(tmp_path):
    document, failure = read_docx(notes_file(tmp_path, "<w:footnotes"), SMALL)
    assert isinstance(document, Document) and [block.text for block in document.blocks] == ["text"]
    assert isinstance(failure, Failure) and failure.name == "footnotes"


def strict(path: Path) -> Path:
    """The file as "Strict Open XML Document" of Word keeps it: other names for all that it is made of."""
    target = path.with_name(f"strict{path.suffix}")
    names = {b"extended-properties": b"extendedProperties"}
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = re.sub(
                rb"http://schemas.openxmlformats.org/(officeDocument|\w+ml)/2006/([\w/-]+)",
                lambda found: b"http://purl.oclc.org/ooxml/%s/%s" % (found[1], names.get(found[2], found[2])),
                old.read(name),
            )
            new.writestr(name, data)
    return target


def test_strict_open_xml(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    word = docx.Document()
    word.core_properties.title = "Manual"
    word.add_heading("Parts", 1)
    word.add_paragraph("bolt", "List Bullet")
    word.add_table(1, 2).cell(0, 0).text = "price"
    path = saved(tmp_path, word)
    found = only(strict(path))
    assert (found.blocks, found.title) == (only(path).blocks, "Manual")
    assert [block.kind for block in found.blocks] == ["heading", "list", "table"]
    # the copy in other names is gone
    assert {each.name for each in tmp_path.iterdir()} == {"file.docx", "strict.docx"}


@pytest.mark.parametrize("at", range(-60, 0, 7))
def test_strict_names_across_two_blocks(tmp_path, monkeypatch, at):
    monkeypatch.chdir(tmp_path)
    path = strict(body(tmp_path, p("text")))
    with zipfile.ZipFile(path) as file:
        xml = file.read("word/document.xml").replace(b"?>", b"?><!--%s-->" % (b"x" * ((1 << 20) + at)))
    assert [block.text for block in only(with_parts(path, {"word/document.xml": xml})).blocks] == ["text"]


def related(path: Path, parts: dict[str, tuple[str, str]]) -> Path:
    """The file with parts that its document names, by their kind and content."""
    with zipfile.ZipFile(path) as file:
        links = file.read("word/_rels/document.xml.rels").decode()
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
    for at, (name, (word, _)) in enumerate(parts.items()):
        link = f'<Relationship Id="rId80{at}" Type="{kind}{word}" Target="{name}"/></Relationships>'
        links = links.replace("</Relationships>", link)
    added = {f"word/{name}": content.encode() for name, (_, content) in parts.items()}
    return with_parts(path, {"word/_rels/document.xml.rels": links.encode()}, added)


def test_comments_heads_and_deletions(tmp_path):
    xml = p("text") + "<w:p><w:del><w:r><w:delText>old words</w:delText></w:r></w:del></w:p>"
    xml += f"<w:tbl><w:tr><w:trPr><w:del/></w:trPr><w:tc>{p('old row')}</w:tc></w:tr></w:tbl>"
    parts = {
        "comments.xml": ("comments", f"<w:comments {W}><w:comment>{p('Is that so?')}</w:comment></w:comments>"),
        "header1.xml": ("header", f"<w:hdr {W}>{p('Secret')}</w:hdr>"),
        "header2.xml": ("header", f"<w:hdr {W}>{p('Secret')}</w:hdr>"),
    }
    document = only(related(body(tmp_path, xml), parts))
    assert [block.text for block in document.blocks] == ["text", "Is that so?"]
    assert [(item.text, item.reason) for item in document.left_out] == [
        ("old words", "was deleted in a tracked change"),
        ("old row", "was deleted in a tracked change"),
        ("Secret", "stands at the head or foot of each page"),
    ]


def test_embedded_files_and_objects(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = {
        "chunk.html": ("aFChunk", "<p>chunk"),
        "embeddings/a.xlsx": ("package", "x"),
        "embeddings/o.bin": ("oleObject", "y"),
    }
    found = {}
    for item in read_docx(related(body(tmp_path, p("text")), parts), SMALL):
        if isinstance(item, Member):
            found[item.name] = item.path.read_text(encoding="utf-8")
        elif isinstance(item, Failure):
            found[item.name] = item.error
    assert found == {
        "chunk.html": "<p>chunk",
        "a.xlsx": "x",
        "o.bin": "is an object that another program has embedded, and is not read",
    }


def test_formulas_and_old_word_art(tmp_path):
    m = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    run = "<m:r><m:t>{}</m:t></m:r>"
    fraction = f"<m:f><m:num>{run.format('a')}</m:num><m:den>{run.format('b')}</m:den></m:f>"
    power = f"<m:sSup><m:e>{run.format('c')}</m:e><m:sup>{run.format('2')}</m:sup></m:sSup>"
    art = '<w:r><w:pict><v:textpath xmlns:v="urn:schemas-microsoft-com:vml" string="Sale"/></w:pict></w:r>'
    xml = f"<w:p><m:oMath {m}>{fraction}{run.format('+')}{power}</m:oMath>{art}</w:p>"
    assert [block.text for block in only(body(tmp_path, xml)).blocks] == ["a/b+c^2 Sale"]


def test_encrypted(tmp_path):
    path = tmp_path / "secret.docx"
    path.write_bytes(bytes.fromhex("D0CF11E0A1B11AE1") + bytes(2000))
    with pytest.raises(UnreadableError, match=r"is encrypted or in the old binary format; save it as \.docx without"):
        list(read_docx(path, SMALL))


def test_bomb(tmp_path):
    path = saved(tmp_path, docx.Document())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("word/media/image1.bmp", bytes(200 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UnreadableError, match="unpacks to more than 16 MiB"):
        list(read_docx(path, SMALL))


def test_size_in_the_header_is_not_trusted(tmp_path):
    path = with_parts(saved(tmp_path, docx.Document()), {}, {"word/media/image1.bmp": bytes(8 << 20)})
    data = path.read_bytes().replace((8 << 20).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match="CRC"):
        list(read_docx(path, Limits(unpacked_mb=4)))


@pytest.mark.parametrize("code", ["utf-8", "utf-16"])
@pytest.mark.parametrize("before", ["", "<!--" + "x" * ((1 << 20) - 50) + "-->"])
def test_document_type(tmp_path, code, before):
    xml = f'{before}<!DOCTYPE d [<!ENTITY a "b">]><w:document {W}><w:body>{p("&a;")}</w:body></w:document>'
    path = with_parts(saved(tmp_path, docx.Document()), {"word/document.xml": xml.encode(code)})
    with pytest.raises(UnreadableError, match=r"declares a document type or entities in 'word/document\.xml'"):
        list(read_docx(path, SMALL))


@pytest.mark.parametrize("at", range(3, 20, 4))
def test_document_type_across_two_blocks(tmp_path, at):
    xml = "<!--" + "x" * ((1 << 20) - at) + f"--><!DOCTYPE d><w:document {W}/>"
    path = with_parts(saved(tmp_path, docx.Document()), {"word/document.xml": xml.encode()})
    with pytest.raises(UnreadableError, match="declares"):
        list(read_docx(path, SMALL))


def test_part_twice_and_too_many(tmp_path):
    path = saved(tmp_path, docx.Document())
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("word/document.xml", b"<x/>")
    with pytest.raises(UnreadableError, match="two parts of the same name"):
        list(read_docx(path, SMALL))
    with pytest.raises(UnreadableError, match="the limit is 3"):
        list(read_docx(path, Limits(members=3)))


def test_cut_off_and_damaged(tmp_path):
    word = docx.Document()
    word.add_paragraph("text")
    data = saved(tmp_path, word).read_bytes()
    path = tmp_path / "cut.docx"
    for size in [0, 1, 10, 100, *range(1000, len(data), 4000), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(UnreadableError):
            list(read_docx(path, SMALL))
    # a byte that flips breaks a check sum, a header or nothing; it never breaks the reader
    for at in range(0, len(data), 997):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with contextlib.suppress(UnreadableError):
            assert list(read_docx(path, SMALL))


@pytest.mark.parametrize("data", [bytes(5000), b"PK\x03\x04" + bytes(5000), b"plain text"])
def test_no_zip(tmp_path, data):
    path = tmp_path / "file.docx"
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match=r"is not a readable \.docx file"):
        list(read_docx(path, SMALL))


def test_other_zip_and_broken_xml(tmp_path):
    path = tmp_path / "file.docx"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "text")
    with pytest.raises(UnreadableError):
        list(read_docx(path, SMALL))
    for xml in (b"", b"<w:document", b"<html/>", b"<a>" * 100_000):
        with pytest.raises(UnreadableError):
            list(read_docx(with_parts(saved(tmp_path, docx.Document()), {"word/document.xml": xml}), SMALL))


def test_file_is_left_alone(tmp_path):
    path = saved(tmp_path, docx.Document())
    before = path.read_bytes()
    only(path)
    assert path.read_bytes() == before
    assert zipfile.is_zipfile(io.BytesIO(before))


def test_signs_of_fonts_are_counted(tmp_path):
    sign = '<w:sym w:font="Symbol" w:char="F06D"/>'
    document, failure = read_docx(body(tmp_path, f"<w:p><w:r><w:t>5 </w:t>{sign}<w:t>m</w:t></w:r></w:p>"), SMALL)
    assert isinstance(document, Document) and document.blocks == [Block("text", "5 m")]
    assert isinstance(failure, Failure) and failure.error.startswith("holds 1 signs of fonts")
