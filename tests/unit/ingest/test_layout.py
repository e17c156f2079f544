"""Office and HTML files read with docling; without docling only what needs none of it is tested."""

import contextlib
import importlib.util

import docx
import pptx
import pytest

from denizen.ingest import layout
from denizen.ingest.document import Block, Document, Limits, UnreadableError
from denizen.ingest.layout import layout_is_installed, read_layout

HAS_DOCLING = importlib.util.find_spec("docling") is not None
needs_docling = pytest.mark.skipif(not HAS_DOCLING, reason="docling is an extra that is not installed here")


def test_whether_docling_is_there():
    assert layout_is_installed() is HAS_DOCLING


@pytest.mark.skipif(HAS_DOCLING, reason="docling is installed")
def test_missing_docling_is_named(tmp_path):
    (tmp_path / "a.docx").write_bytes(b"PK")
    with pytest.raises(UnreadableError, match=r"install denizen\[docling\]"):
        list(read_layout(tmp_path / "a.docx", Limits()))


def made(path, program):
    if program == "docx":
        document = docx.Document()
        document.add_paragraph("All boats wait.")
        document.save(path)
    elif program == "pptx":
        slides = pptx.Presentation()
        slides.slides.add_slide(slides.slide_layouts[0]).shapes.title.text = "All boats wait."
        slides.save(path)
    else:
        path.write_text("<html><body><p>All boats wait.</p></body></html>", encoding="utf-8")


@pytest.mark.parametrize("name", ["tmp", "a.doc", "a.pptx", "a.html", "a.docx"])
@pytest.mark.parametrize("program", ["docx", "pptx", "html"])
def test_content_and_not_the_name_says_what_a_file_is(tmp_path, monkeypatch, name, program):
    """Office files are checked before docling opens them, under whatever name."""
    told = []

    def converted(path, kind, limits):
        told.append(f"converted {kind}")
        raise UnreadableError("enough")

    monkeypatch.setattr(layout, "layout_is_installed", lambda: True)

    @contextlib.contextmanager
    def checked(path, limits, suffix):
        told.append(f"checked {suffix}")
        yield path

    monkeypatch.setattr(layout, "checked_office_file", checked)
    monkeypatch.setattr(layout, "_converted", converted)
    made(tmp_path / name, program)
    with pytest.raises(UnreadableError, match="enough"):
        list(read_layout(tmp_path / name, Limits()))
    assert told == [f"checked {program}", f"converted {program}"][program == "html" :]


def test_a_broken_zip_of_any_name_is_not_given_to_docling(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "layout_is_installed", lambda: True)
    (tmp_path / "tmp").write_bytes(b"PK\x03\x04" + bytes(500))
    with pytest.raises(UnreadableError, match=r"is not a readable \.docx file"):
        list(read_layout(tmp_path / "tmp", Limits()))


@needs_docling
@pytest.mark.parametrize("program", ["docx", "pptx", "html"])
def test_docling_reads_under_any_name(tmp_path, program):
    made(tmp_path / "a.bin", program)
    (document,) = read_layout(tmp_path / "a.bin", Limits())
    assert document.blocks[0].text == "All boats wait."


@needs_docling
def test_html(tmp_path):
    path = tmp_path / "a.html"
    path.write_text(
        "<html><head><title>T</title></head><body><h1>The harbour</h1><p>It is <b>closed</b>, today.</p>"
        "<ul><li>an <i>old</i> pier</li><li>boats<ul><li>nets</li></ul></li></ul>"
        "<table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2 <b>or</b> 3</td></tr></table>"
        "<h2>Winter</h2><p>Ice.</p></body></html>",
        encoding="utf-8",
    )
    (document,) = read_layout(path, Limits())
    assert isinstance(document, Document)
    assert document.title == "The harbour"
    assert document.blocks == [
        Block("heading", "The harbour", 1),
        Block("text", "It is closed, today."),
        Block("list", "- an old pier\n- boats\n- nets"),
        Block("table", "A | B\n1 | 2 or 3"),
        Block("heading", "Winter", 2),
        Block("text", "Ice."),
    ]


@needs_docling
def test_docx_and_what_is_none(tmp_path):
    made = docx.Document()
    made.add_heading("Rules", 0)
    made.add_heading("Boats", 1)
    made.add_paragraph("All boats\nwait.")
    made.add_paragraph("nets", style="List Bullet")
    table = made.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "x\ny", "z"
    made.save(tmp_path / "a.docx")
    (document,) = read_layout(tmp_path / "a.docx", Limits())
    assert document.blocks == [
        Block("heading", "Rules", 1),
        Block("heading", "Boats", 2),
        Block("text", "All boats wait."),
        Block("list", "- nets"),
        Block("table", "x y | z"),
    ]
    (tmp_path / "b.docx").write_bytes(bytes(500))
    with pytest.raises(UnreadableError):
        list(read_layout(tmp_path / "b.docx", Limits()))


@needs_docling
def test_slides_beyond_the_limit_are_a_failure(tmp_path):
    made = pptx.Presentation()
    for number in range(3):
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text = f"Slide {number}"
        slide.placeholders[1].text = f"Text {number}"
    made.save(tmp_path / "a.pptx")
    document, failure = read_layout(tmp_path / "a.pptx", Limits(pages=2))
    assert {block.page for block in document.blocks} == {1, 2}
    assert "has 3 pages, the limit is 2" in failure.error
    assert failure.limit
