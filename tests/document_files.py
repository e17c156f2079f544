"""The same content as a file of every kind that can be read, written by the libraries that people's programs use."""

from __future__ import annotations

import base64
import csv
import io
import json
import mailbox
import random
import re
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from html import escape
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it."""

    heading: str
    paragraphs: list[str]
    table: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Content:
    """What a document says."""

    title: str
    sections: list[Section]

    @property
    def words(self) -> list[str]:
        """All its words, in order."""
        found = self.title.split()
        for section in self.sections:
            found += section.heading.split()
            for paragraph in section.paragraphs:
                found += paragraph.split()
            for row in section.table:
                found += " ".join(row).split()
        return found


def plain(content: Content) -> str:
    """As plain text with tables in columns."""
    parts = [content.title]
    for section in content.sections:
        parts += [section.heading, *section.paragraphs]
        if section.table:
            parts.append("\n".join("   ".join(row) for row in section.table))
    return "\n\n".join(parts) + "\n"


def html(content: Content) -> str:
    """As a web page without navigation."""
    parts = [f"<h1>{escape(content.title)}</h1>"]
    for section in content.sections:
        parts.append(f"<h2>{escape(section.heading)}</h2>")
        parts += [f"<p>{escape(paragraph)}</p>" for paragraph in section.paragraphs]
        if section.table:
            rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in section.table)
            parts.append("<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>")
    head = f"<head><meta charset='utf-8'><title>{escape(content.title)}</title></head>"
    return f"<!DOCTYPE html><html lang='en'>{head}<body>{''.join(parts)}</body></html>"


def _txt(content: Content, path: Path) -> None:
    path.write_text(plain(content), encoding="utf-8")


def _html(content: Content, path: Path) -> None:
    path.write_text(html(content), encoding="utf-8")


def _md(content: Content, path: Path) -> None:
    parts = [f"# {content.title}"]
    for section in content.sections:
        parts += [f"## {section.heading}", *section.paragraphs]
        if section.table:
            first, *rest = (f"| {' | '.join(row)} |" for row in section.table)
            parts.append("\n".join([first, "|" + " --- |" * len(section.table[0]), *rest]))
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _xml(content: Content, path: Path) -> None:
    parts = [f"<title>{escape(content.title)}</title>"]
    for section in content.sections:
        inside = [f"<title>{escape(section.heading)}</title>"]
        inside += [f"<para>{escape(paragraph)}</para>" for paragraph in section.paragraphs]
        rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in section.table)
        inside.append("<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>" if section.table else "")
        parts.append(f"<section>{''.join(inside)}</section>")
    path.write_text(f"<?xml version='1.0' encoding='utf-8'?><article>{''.join(parts)}</article>", encoding="utf-8")


def _epub(content: Content, path: Path) -> None:
    container = (
        "<container xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><rootfiles>"
        "<rootfile full-path='OPS/book.opf' media-type='application/oebps-package+xml'/></rootfiles></container>"
    )
    package = (
        "<package xmlns='http://www.idpf.org/2007/opf'><metadata xmlns:dc='http://purl.org/dc/elements/1.1/'>"
        f"<dc:title>{escape(content.title)}</dc:title></metadata><manifest>"
        "<item id='a' href='a.xhtml' media-type='application/xhtml+xml'/></manifest>"
        "<spine><itemref idref='a'/></spine></package>"
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        file.writestr("META-INF/container.xml", container)
        file.writestr("OPS/book.opf", package)
        file.writestr("OPS/a.xhtml", html(content).replace("<meta charset='utf-8'>", ""))


def _docx(content: Content, path: Path) -> None:
    import docx

    document = docx.Document()
    document.core_properties.title = content.title
    document.add_heading(content.title, 0)
    for section in content.sections:
        document.add_heading(section.heading, 1)
        for paragraph in section.paragraphs:
            document.add_paragraph(paragraph)
        if section.table:
            table = document.add_table(len(section.table), len(section.table[0]))
            for at, row in enumerate(section.table):
                for cell, text in zip(table.rows[at].cells, row, strict=True):
                    cell.text = text
    document.save(str(path))


def _pptx(content: Content, path: Path) -> None:
    from pptx import Presentation
    from pptx.util import Inches

    slides = Presentation()
    slides.core_properties.title = content.title
    first = slides.slides.add_slide(slides.slide_layouts[0])
    first.shapes.title.text = content.title
    for section in content.sections:
        slide = slides.slides.add_slide(slides.slide_layouts[1])
        slide.shapes.title.text = section.heading
        slide.placeholders[1].text = "\n".join(section.paragraphs)
        if section.table:
            size = (Inches(1), Inches(5), Inches(8), Inches(1))
            table = slide.shapes.add_table(len(section.table), len(section.table[0]), *size).table
            for at, row in enumerate(section.table):
                for column, text in enumerate(row):
                    table.cell(at, column).text = text
    slides.save(str(path))


def _xlsx(content: Content, path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.properties.title = content.title
    sheet = book.active
    sheet.title = "Sheet"
    sheet.append([content.title])
    for section in content.sections:
        sheet.append([section.heading])
        for paragraph in section.paragraphs:
            sheet.append([paragraph])
        for row in section.table:
            sheet.append(row)
    book.save(path)


def _pdf(content: Content, path: Path) -> None:
    from fpdf import FPDF

    class Page(FPDF):
        def header(self) -> None:
            self.set_font("helvetica", size=8)
            self.cell(0, 8, "Running head of this document", new_x="LMARGIN", new_y="NEXT")

        def footer(self) -> None:
            self.set_y(-12)
            self.set_font("helvetica", size=8)
            self.cell(0, 8, f"Page {self.page_no()}")

    page = Page()
    page.set_title(content.title)
    page.add_page()
    page.set_font("helvetica", "B", 18)
    page.multi_cell(0, 10, content.title, new_x="LMARGIN", new_y="NEXT")
    for section in content.sections:
        page.ln(4)
        page.set_font("helvetica", "B", 14)
        page.multi_cell(0, 8, section.heading, new_x="LMARGIN", new_y="NEXT")
        page.set_font("helvetica", size=11)
        for paragraph in section.paragraphs:
            page.multi_cell(0, 6, paragraph, new_x="LMARGIN", new_y="NEXT")
            page.ln(3)
        for row in section.table:
            for text in row:
                page.cell(40, 6, text)
            page.ln(6)
    page.output(str(path))


def _ipynb(content: Content, path: Path) -> None:
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "metadata": {}, "source": f"# {content.title}"}]
    for section in content.sections:
        text = [f"## {section.heading}", *section.paragraphs]
        cells.append({"cell_type": "markdown", "metadata": {}, "source": "\n\n".join(text)})
        if section.table:
            rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in section.table)
            shown = {"text/html": "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"}
            output = {"output_type": "display_data", "data": shown, "metadata": {}}
            cells.append({"cell_type": "code", "metadata": {}, "source": "", "outputs": [output]})
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(book, indent=1), encoding="utf-8")


_OPEN_DOCUMENT = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text", "table")
)


def _odt(content: Content, path: Path) -> None:
    parts = []
    for section in content.sections:
        parts.append(f"<text:h text:outline-level='1'>{escape(section.heading)}</text:h>")
        parts += [f"<text:p>{escape(paragraph)}</text:p>" for paragraph in section.paragraphs]
        rows = [
            "".join(f"<table:table-cell><text:p>{escape(cell)}</text:p></table:table-cell>" for cell in row)
            for row in section.table
        ]
        if rows:
            inside = "".join(f"<table:table-row>{row}</table:table-row>" for row in rows)
            parts.append(f"<table:table>{inside}</table:table>")
    body = f"<office:body><office:text>{''.join(parts)}</office:text></office:body>"
    named = f'<dc:title xmlns:dc="http://purl.org/dc/elements/1.1/">{escape(content.title)}</dc:title>'
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.text", zipfile.ZIP_STORED)
        file.writestr("content.xml", f"<office:document-content {_OPEN_DOCUMENT}>{body}</office:document-content>")
        file.writestr("meta.xml", f"<office:document-meta {_OPEN_DOCUMENT}>{named}</office:document-meta>")


def uncalculated_workbook(path: Path) -> None:
    """Prices as formulas that no program has calculated."""
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["Which boat leaves from the southern pier in the morning?", '=CONCATENATE("The ","ferry")'])
    book.save(path)


def deck_with_chart(path: Path) -> None:
    """A slide whose only figures are those of a chart."""
    from pptx import Presentation
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    show = Presentation()
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.title.text = "Passengers of the ferries in each season"
    data = CategoryChartData()
    data.categories = ["early spring", "late autumn"]
    data.add_series("Passengers in thousands", (12.25, 7.5))
    slide.shapes.add_chart(XL_CHART_TYPE.PIE, Inches(1), Inches(2), Inches(4), Inches(3), data)
    show.save(str(path))


def strict_document(path: Path) -> None:
    """A text as Strict Open XML, which has other names for the same."""
    import docx

    made = io.BytesIO()
    document = docx.Document()
    document.add_paragraph("The harbour master keeps a list of all boats that lie in the basin over the winter.")
    document.save(made)
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            names = rb"http://schemas.openxmlformats.org/(officeDocument|\w+ml)/2006/"
            new.writestr(name, re.sub(names, rb"http://purl.oclc.org/ooxml/\1/", old.read(name)))


def notebook_with_picture(path: Path) -> None:
    """A cell whose output is a picture, beside a text with another."""
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(20_000)).decode()
    text = f"The tide table was drawn with the figures of last year. ![The tides](data:image/png;base64,{picture})"
    output = {"output_type": "display_data", "data": {"image/png": picture, "text/plain": "<Figure>"}, "metadata": {}}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": text},
        {"cell_type": "code", "metadata": {}, "source": "plot(tides)", "outputs": [output], "execution_count": 1},
    ]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(book), encoding="utf-8")


def folded_page(path: Path) -> None:
    """A question whose answer is shown when it is clicked on."""
    answer = "<div style='display:none'>Bicycles travel free on all ferries but the first of the morning.</div>"
    menu = "<nav><a href='/'>All timetables of the line</a></nav>"
    path.write_text(
        f"<html><body>{menu}<h1>Questions</h1><button>May I bring a bicycle?</button>{answer}</body></html>"
    )


def templated_page(path: Path) -> None:
    """An article that a program puts into its page."""
    article = "<p>The lighthouse has been lit by electricity since the keeper retired to the village.</p>"
    path.write_text(f"<html><body><h1>News</h1><script type='text/x-template'>{article}</script></body></html>")


def _mail(content: Content) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = content.title
    message["From"] = "a@example.org"
    message["To"] = "b@example.org"
    message["Date"] = "Mon, 05 Jan 2026 10:00:00 +0000"
    message.set_content("\n\n".join(plain(content).split("\n\n")[1:]))
    message.add_alternative(html(content), subtype="html")
    return message


def _eml(content: Content, path: Path) -> None:
    path.write_bytes(bytes(_mail(content)))


def _mbox(content: Content, path: Path) -> None:
    box = mailbox.mbox(path)
    box.add(_mail(content))
    box.close()


def _row(content: Content) -> dict[str, str]:
    return {"id": "1", "title": content.title, "text": plain(content).partition("\n\n")[2], "domain": "rows"}


def _json(content: Content, path: Path) -> None:
    path.write_text(json.dumps([_row(content)]), encoding="utf-8")


def _jsonl(content: Content, path: Path) -> None:
    path.write_text(json.dumps(_row(content)) + "\n", encoding="utf-8")


def _csv(content: Content, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(_row(content)))
        writer.writeheader()
        writer.writerow(_row(content))


def _parquet(content: Content, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([_row(content)]), path)


def _zip(content: Content, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inside/page.html", html(content))


def _tar(content: Content, path: Path) -> None:
    with tarfile.open(path, "w:gz") as file:
        data = plain(content).encode()
        member = tarfile.TarInfo("inside/note.txt")
        member.size = len(data)
        file.addfile(member, io.BytesIO(data))


def _submission(content: Content, path: Path) -> None:
    header = (
        "<SEC-DOCUMENT>0000000001-26-000001.txt : 20260105\n<SEC-HEADER>0000000001-26-000001.hdr.sgml : 20260105\n"
        "ACCESSION NUMBER:\t\t0000000001-26-000001\nCONFORMED SUBMISSION TYPE:\t10-K\n"
        "CONFORMED PERIOD OF REPORT:\t20251231\nFILED AS OF DATE:\t\t20260105\n\nFILER:\n\n\tCOMPANY DATA:\n"
        "\t\tCOMPANY CONFORMED NAME:\t\t\tMADE UP CO\n\t\tCENTRAL INDEX KEY:\t\t\t0000000001\n</SEC-HEADER>\n"
    )
    body = f"<DOCUMENT>\n<TYPE>10-K\n<SEQUENCE>1\n<FILENAME>a.htm\n<TEXT>\n{html(content)}\n</TEXT>\n</DOCUMENT>\n"
    path.write_text(header + body + "</SEC-DOCUMENT>\n", encoding="utf-8")


# the end of a file's name to what writes it
WRITERS: dict[str, Callable[[Content, Path], None]] = {
    "txt": _txt,
    "md": _md,
    "html": _html,
    "xml": _xml,
    "epub": _epub,
    "docx": _docx,
    "pptx": _pptx,
    "xlsx": _xlsx,
    "ipynb": _ipynb,
    "odt": _odt,
    "pdf": _pdf,
    "eml": _eml,
    "mbox": _mbox,
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
    "parquet": _parquet,
    "zip": _zip,
    "tar.gz": _tar,
    "sgml.txt": _submission,
}
