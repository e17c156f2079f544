from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

import pptx
import pytest
from pptx.opc.constants import CONTENT_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.oxml import parse_xml
from pptx.util import Inches

from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.slides import read_pptx

SMALL = Limits(unpacked_mb=16)
AREA = (Inches(1), Inches(1), Inches(4), Inches(2))
TITLE_AND_CONTENT, BLANK = 1, 6


def saved(tmp_path: Path, show) -> Path:
    path = tmp_path / "file.pptx"
    show.save(str(path))
    return path


def only(path: Path) -> Document:
    [document] = read_pptx(path, SMALL)
    assert isinstance(document, Document)
    return document


def test_slides(tmp_path):
    show = pptx.Presentation()
    show.core_properties.title, show.core_properties.author = "Plan", "Board"
    slide = show.slides.add_slide(show.slide_layouts[TITLE_AND_CONTENT])
    slide.placeholders[1].text = "one\ntwo"
    slide.shapes.title.text = "Goals\vof 2030"
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    second = show.slides.add_slide(show.slide_layouts[BLANK])
    table = second.shapes.add_table(2, 2, *AREA).table
    table.cell(0, 0).merge(table.cell(0, 1))
    for row, column, text in ((0, 0, "both"), (1, 0, "a"), (1, 1, "b\nc")):
        table.cell(row, column).text = text
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(*AREA).text_frame.text = "in a  group"
    group.shapes.add_group_shape().shapes.add_textbox(*AREA).text_frame.text = "deeper"
    document = only(saved(tmp_path, show))
    assert document.blocks == [
        Block("heading", "Goals of 2030", 2, 1),
        Block("list", "- one\n- two", 0, 1),
        Block("text", "Say it slowly.", 0, 1),
        Block("table", "both | \na | b c", 0, 2),
        Block("text", "in a group", 0, 2),
        Block("text", "deeper", 0, 2),
    ]
    assert (document.title, document.metadata["author"]) == ("Plan", "Board")


def test_bullets(tmp_path):
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[TITLE_AND_CONTENT])
    frame = slide.placeholders[1].text_frame
    frame.text = "no bullet\nbullet"
    properties = frame.paragraphs[0]._p.get_or_add_pPr()
    namespace = "http://schemas.openxmlformats.org/drawingml/2006/main"
    properties.append(parse_xml(f'<a:buNone xmlns:a="{namespace}"/>'))
    box = slide.shapes.add_textbox(*AREA).text_frame
    box.text = "numbered"
    number = parse_xml(f'<a:buAutoNum xmlns:a="{namespace}" type="arabicPeriod"/>')
    box.paragraphs[0]._p.get_or_add_pPr().append(number)
    single = show.slides.add_slide(show.slide_layouts[TITLE_AND_CONTENT])
    single.placeholders[1].text = "a sentence"
    found = [(block.kind, block.text, block.page) for block in only(saved(tmp_path, show)).blocks]
    assert found == [
        ("text", "no bullet", 1),
        ("list", "- bullet", 1),
        ("list", "- numbered", 1),
        ("text", "a sentence", 2),
    ]


def test_slide_number_is_left_out(tmp_path):
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[BLANK])
    shape = slide.shapes.add_textbox(*AREA)
    shape.text_frame.text = "17"
    namespace = "http://schemas.openxmlformats.org/presentationml/2006/main"
    shape._element.nvSpPr.nvPr.append(parse_xml(f'<p:ph xmlns:p="{namespace}" type="sldNum" idx="12"/>'))
    assert only(saved(tmp_path, show)).blocks == []


def test_diagram(tmp_path):
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[BLANK])
    a, d = (f"http://schemas.openxmlformats.org/drawingml/2006/{name}" for name in ("main", "diagram"))
    point = "<d:pt><d:t><a:p><a:r><a:t>{}</a:t></a:r></a:p></d:t></d:pt>"
    points = "".join(point.format(text) for text in ("plan", " ", "do"))
    data = f'<d:dataModel xmlns:a="{a}" xmlns:d="{d}"><d:ptLst>{points}</d:ptLst></d:dataModel>'
    part = Part(PackURI("/ppt/diagrams/data1.xml"), CONTENT_TYPE.XML, slide.part.package, data.encode())
    link = slide.part.relate_to(part, "http://schemas.openxmlformats.org/officeDocument/2006/relationships/diagramData")
    frame = slide.shapes.add_table(1, 1, *AREA)._element
    graphic = frame.find(f".//{{{a}}}graphicData")
    graphic.set("uri", d)
    graphic.remove(graphic[0])
    r = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    graphic.append(parse_xml(f'<d:relIds xmlns:d="{d}" xmlns:r="{r}" r:dm="{link}"/>'))
    assert only(saved(tmp_path, show)).blocks == [Block("list", "- plan\n- do", 0, 1)]


def test_alternative_texts_formulas_and_comments(tmp_path):
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[BLANK])
    box = slide.shapes.add_textbox(*AREA)
    box.text_frame.text = "x"
    named = slide.shapes.add_textbox(*AREA)._element.nvSpPr.cNvPr
    named.set("descr", "A kettle on a stove\n\nDescription automatically generated")
    slide.shapes.add_textbox(*AREA)._element.nvSpPr.cNvPr.set("descr", "IMG_2041.jpg")
    # a shape with a formula stands in two forms
    tree, element = slide.shapes._spTree, box._element
    mc = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    both = parse_xml(
        f'<mc:AlternateContent xmlns:mc="{mc}"><mc:Choice Requires="a14"/><mc:Fallback/></mc:AlternateContent>'
    )
    tree.replace(element, both)
    both[0].append(element)
    m = "http://schemas.openxmlformats.org/officeDocument/2006/math"
    element.find(".//{*}p").append(parse_xml(f'<m:oMath xmlns:m="{m}"><m:r><m:t>=2y</m:t></m:r></m:oMath>'))
    p = "http://schemas.openxmlformats.org/presentationml/2006/main"
    comments = f'<p:cmLst xmlns:p="{p}"><p:cm><p:text>Is that so?</p:text></p:cm></p:cmLst>'.encode()
    part = Part(PackURI("/ppt/comments/comment1.xml"), CONTENT_TYPE.XML, slide.part.package, comments)
    slide.part.relate_to(part, "http://schemas.openxmlformats.org/officeDocument/2006/relationships/comments")
    texts = [block.text for block in only(saved(tmp_path, show)).blocks]
    assert texts == ["x=2y", "A kettle on a stove", "Is that so?"]


def test_more_slides_than_the_limit(tmp_path):
    show = pptx.Presentation()
    for number in range(3):
        show.slides.add_slide(show.slide_layouts[TITLE_AND_CONTENT]).shapes.title.text = f"slide {number}"
    document, failure = read_pptx(saved(tmp_path, show), Limits(pages=2))
    assert isinstance(document, Document) and [block.text for block in document.blocks] == ["slide 0", "slide 1"]
    assert isinstance(failure, Failure)
    assert (failure.name, "3 slides" in failure.error, "limit is 2" in failure.error) == ("", True, True)


def test_slide_without_its_part(tmp_path):
    show = pptx.Presentation()
    for text in ("first", "second"):
        show.slides.add_slide(show.slide_layouts[TITLE_AND_CONTENT]).shapes.title.text = text
    show.slides._sldIdLst[0].rId = "rId999"
    document, failure = read_pptx(saved(tmp_path, show), SMALL)
    assert isinstance(failure, Failure) and failure.name == "slide 1"
    assert isinstance(document, Document) and document.blocks == [Block("heading", "second", 2, 2)]


def test_default_title_is_none(tmp_path):
    # the title is "PowerPoint Presentation", which says nothing
    document = only(saved(tmp_path, pptx.Presentation()))
    assert (document.blocks, document.title) == ([], "")


def test_encrypted_and_other_files(tmp_path):
    path = tmp_path / "file.pptx"
    path.write_bytes(bytes.fromhex("D0CF11E0A1B11AE1") + bytes(2000))
    with pytest.raises(UnreadableError, match=r"save it as \.pptx without a password"):
        list(read_pptx(path, SMALL))
    for data in (b"", bytes(3000), b"text"):
        path.write_bytes(data)
        with pytest.raises(UnreadableError):
            list(read_pptx(path, SMALL))


def test_document_type_in_a_slide(tmp_path):
    show = pptx.Presentation()
    show.slides.add_slide(show.slide_layouts[BLANK])
    source, path = saved(tmp_path, show), tmp_path / "hostile.pptx"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            declared = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>'
            new.writestr(name, declared if name == "ppt/slides/slide1.xml" else old.read(name))
    with pytest.raises(UnreadableError, match="declares"):
        list(read_pptx(path, SMALL))


def test_cut_off(tmp_path):
    show = pptx.Presentation()
    show.slides.add_slide(show.slide_layouts[TITLE_AND_CONTENT]).shapes.title.text = "title"
    data = saved(tmp_path, show).read_bytes()
    path = tmp_path / "cut.pptx"
    for size in [1, 100, *range(500, len(data), 3000), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(UnreadableError):
            list(read_pptx(path, SMALL))
    for at in range(len(data) // 3, len(data), 4999):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with contextlib.suppress(UnreadableError):
            assert list(read_pptx(path, SMALL))
