"""OpenDocument files, written by hand after the standard; expected blocks are read off the XML."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from denizen.ingest.document import Block, Document, Failure, LeftOut, Limits, UnreadableError
from denizen.ingest.open_document import read_open_document
from denizen.ingest.reading import read_file

SPACES = " ".join(
    f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for short, name in {
        "office": "office",
        "text": "text",
        "table": "table",
        "draw": "drawing",
        "style": "style",
        "svg": "svg-compatible",
        "chart": "chart",
        "presentation": "presentation",
        "meta": "meta",
    }.items()
)
SPACES += ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'


def saved(tmp_path: Path, body: str, styles: str = "", **parts: str) -> Path:
    path = tmp_path / "a.odt"
    automatic = f"<office:automatic-styles>{styles}</office:automatic-styles>"
    content = (
        f"<office:document-content {SPACES}>{automatic}<office:body>{body}</office:body></office:document-content>"
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        file.writestr("content.xml", content)
        for name, text in parts.items():
            file.writestr(name.replace("_", "/").replace("/xml", ".xml"), text)
    return path


def read(path: Path, **limits: int) -> tuple[Document, list[str]]:
    document, *failures = read_open_document(path, Limits(**limits))
    assert isinstance(document, Document)
    return document, [each.error for each in failures if isinstance(each, Failure)]


def test_a_text(tmp_path):
    body = (
        "<office:text><text:tracked-changes><text:changed-region><text:deletion><text:p>old words</text:p>"
        "</text:deletion></text:changed-region></text:tracked-changes><text:h text:outline-level='2'>Parts</text:h>"
        "<text:p>one<text:s/>two<text:span>three</text:span><text:note><text:note-citation>1</text:note-citation>"
        "<text:note-body><text:p>A note.</text:p></text:note-body></text:note> four<office:annotation>"
        "<dc:creator>Somebody</dc:creator><text:p>Is that so?</text:p></office:annotation></text:p>"
        "<text:list><text:list-item><text:p>bolt</text:p><text:list><text:list-item><text:p>nut</text:p></text:list-item>"
        "</text:list></text:list-item></text:list><text:p><draw:frame><draw:text-box><text:p>boxed</text:p></draw:text-box>"
        "<svg:desc>A kettle</svg:desc></draw:frame></text:p></office:text>"
    )
    meta = (
        f"<office:document-meta {SPACES}><office:meta><dc:title>Manual</dc:title></office:meta></office:document-meta>"
    )
    document, failures = read(saved(tmp_path, body, meta_xml=meta))
    assert document.blocks == [
        Block("heading", "Parts", 2),
        Block("text", "one twothree four"),
        Block("text", "A note."),
        Block("text", "Is that so?"),
        Block("list", "- bolt\n- nut"),
        Block("text", "boxed"),
        Block("text", "A kettle"),
    ]
    assert (document.title, document.left_out, failures) == (
        "Manual",
        [LeftOut("old words", "was deleted in a tracked change")],
        [],
    )


def cell(text: str, more: str = "") -> str:
    return f"<table:table-cell {more}>{f'<text:p>{text}</text:p>' if text else ''}</table:table-cell>"


def test_a_workbook(tmp_path):
    many = "<table:table-row table:number-rows-repeated='1048570'>"
    rows = [
        cell("day") + cell("sum"),
        cell("1 March", "office:value-type='date'") + cell("5 €", "table:number-columns-repeated='2'"),
        cell("x") + cell("", "table:formula='of:=1+1'"),
    ]
    rows = [f"<table:table-row>{row}</table:table-row>" for row in rows]
    rows.insert(2, many + cell("", "table:number-columns-repeated='999'") + "</table:table-row>")
    sheet = "<table:table table:name='{}' table:style-name='{}'>{}</table:table>"
    body = sheet.format("Open", "ta1", rows) + sheet.format(
        "Shut", "ta2", f"<table:table-row>{cell('b')}</table:table-row>"
    )
    styles = "<style:style style:name='ta2'><style:table-properties table:display='false'/></style:style>"
    path = saved(tmp_path, f"<office:spreadsheet>{body}</office:spreadsheet>", styles)
    document, failures = read(path)
    assert document.blocks == [
        Block("heading", "Open", 2, 1),
        Block("table", "day | sum | \n1 March | 5 € | 5 €", 0, 1),
        Block("text", "x", 0, 1),
    ]
    assert document.left_out == [LeftOut("Shut", "stands on a hidden sheet"), LeftOut("b", "stands on a hidden sheet")]
    assert len(failures) == 1 and failures[0].startswith("1 cells hold a formula")
    assert read(path, pages=1)[1][-1].startswith("has 2 pages; the limit is 1")


def test_a_presentation_with_a_chart(tmp_path):
    page = (
        "<draw:page><draw:frame presentation:class='title'><draw:text-box><text:p>Goals</text:p></draw:text-box>"
        "</draw:frame><draw:frame><draw:object xlink:href='./Object1'/></draw:frame></draw:page>"
    )
    chart = (
        f"<office:document-content {SPACES}><chart:chart><chart:title><text:p>Sold</text:p></chart:title><table:table>"
        f"<table:table-row>{cell('')}{cell('pieces')}</table:table-row>"
        f"<table:table-row>{cell('north')}{cell('41.5')}</table:table-row></table:table></chart:chart>"
        "</office:document-content>"
    )
    path = saved(tmp_path, f"<office:presentation>{page}</office:presentation>", Object1_content_xml=chart)
    assert read(path)[0].blocks == [
        Block("heading", "Goals", 2, 1),
        Block("text", "Sold", 0, 1),
        Block("table", " | pieces\nnorth | 41.5", 0, 1),
    ]
    [(_, document)] = read_file(path, "deck.bin", Limits())
    assert isinstance(document, Document) and document.blocks[0].text == "Goals"


def test_what_cannot_be_read(tmp_path):
    manifest = "<manifest><encryption-data/></manifest>"
    with pytest.raises(UnreadableError, match="is encrypted"):
        read(saved(tmp_path, "", **{"META-INF_manifest_xml": manifest}))
    path = saved(tmp_path, "")
    data = path.read_bytes()
    for size in (0, 10, len(data) // 2):
        path.write_bytes(data[:size])
        with pytest.raises(UnreadableError, match="not a readable"):
            read(path)
