"""Charts as title and table, in every kind of office file; the rows are those that the charts were made of."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from openpyxl.chart import BarChart, Reference
from pptx.chart.data import BubbleChartData, CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from denizen.ingest.charts import Drawings, chart_blocks
from denizen.ingest.document import Block, Document, Failure, Limits, Member, UnreadableError
from denizen.ingest.office_zip import OfficeParts
from denizen.ingest.sheets import read_xlsx
from denizen.ingest.slides import read_pptx
from denizen.ingest.word import read_docx

AREA = (Inches(1), Inches(1), Inches(4), Inches(2))
C = "http://schemas.openxmlformats.org/drawingml/2006/chart"
X = "http://schemas.microsoft.com/office/drawing/2014/chartex"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def deck(tmp_path: Path, kind: Any, data: Any, title: str = "") -> Path:
    show = pptx.Presentation()
    chart = show.slides.add_slide(show.slide_layouts[6]).shapes.add_chart(kind, *AREA, data).chart
    chart.has_title = bool(title)
    if title:
        chart.chart_title.text_frame.text = title
    path = tmp_path / "deck.pptx"
    show.save(str(path))
    return path


def only(path: Path) -> list[Block]:
    (document,) = read_pptx(path, Limits())
    assert isinstance(document, Document)
    return document.blocks


def changed(path: Path, change: Any) -> Path:
    target = path.with_name(f"changed{path.suffix}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def test_title_series_and_values_as_they_are_shown(tmp_path):
    data = CategoryChartData(number_format="0.0%")
    data.categories = ["first", "second", "third"]
    data.add_series("A", (0.125, None, 0.2505))
    data.add_series("B", (1200, 3, 4), number_format="#,##0")
    found = only(deck(tmp_path, XL_CHART_TYPE.LINE, data, "Shares of A and B"))
    assert found == [
        Block("text", "Shares of A and B", 0, 1),
        Block("table", " | A | B\nfirst | 12.5% | 1,200\nsecond |  | 3\nthird | 25.1% | 4", 0, 1),
    ]


def test_categories_of_two_levels_and_of_dates(tmp_path):
    data = CategoryChartData()
    for year in ("2024", "2025"):
        category = data.add_category(year)
        for half in ("spring", "autumn"):
            category.add_sub_category(half)
    data.add_series("Sold", (1, 2, 3, 4))
    assert only(deck(tmp_path, XL_CHART_TYPE.COLUMN_CLUSTERED, data))[0].text == (
        " |  | Sold\n2024 | spring | 1\n | autumn | 2\n2025 | spring | 3\n | autumn | 4"
    )
    data = CategoryChartData()
    data.categories = [datetime.date(2025, 3, 1), datetime.date(2025, 4, 1)]
    data.add_series("Sold", (1.5, 2))
    assert only(deck(tmp_path, XL_CHART_TYPE.LINE, data))[0].text == " | Sold\n2025-03-01 | 1.5\n2025-04-01 | 2"


def test_points_of_scatter_and_bubble_charts(tmp_path):
    data = XyChartData()
    for name, points in (("P", [(1, 10), (2, 20)]), ("Q", [(5, 50)])):
        series = data.add_series(name)
        for x, y in points:
            series.add_data_point(x, y)
    assert (
        only(deck(tmp_path, XL_CHART_TYPE.XY_SCATTER, data))[0].text == "x | P | x | Q\n1 | 10 | 5 | 50\n2 | 20 |  | "
    )
    bubbles = BubbleChartData()
    bubbles.add_series("S").add_data_point(1, 2, 3)
    assert only(deck(tmp_path, XL_CHART_TYPE.BUBBLE, bubbles))[0].text == "x | S | S (size)\n1 | 2 | 3"


def chart_file(tmp_path: Path, xml: str) -> OfficeParts:
    path = tmp_path / "parts.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/chart.xml", xml)
    return OfficeParts(path)


def test_charts_of_newer_kinds(tmp_path):
    xml = (
        f"<c:chartSpace xmlns:c='{X}' xmlns:a='http://schemas.openxmlformats.org/drawingml/2006/main'><c:chartData>"
        "<c:data id='0'><c:strDim type='cat'><c:lvl><c:pt idx='0'>begin</c:pt><c:pt idx='1'>rent</c:pt></c:lvl>"
        "</c:strDim>"
        "<c:numDim type='val'><c:lvl formatCode='0'><c:pt idx='0'>100</c:pt><c:pt idx='1'>-30</c:pt></c:lvl></c:numDim>"
        "</c:data></c:chartData><c:chart><c:title><a:p><a:r><a:t>Where it went</a:t></a:r></a:p></c:title>"
        "<c:plotArea><c:series layoutId='waterfall'><c:tx><c:txData><c:v>Money</c:v></c:txData></c:tx>"
        "<c:dataId val='0'/></c:series></c:plotArea></c:chart></c:chartSpace>"
    )
    assert chart_blocks(chart_file(tmp_path, xml), "a/chart.xml") == [
        Block("text", "Where it went"),
        Block("table", " | Money\nbegin | 100\nrent | -30"),
    ]


@pytest.mark.parametrize("place", ["9999999999", "x", "-1"])
def test_a_point_without_a_place_is_refused(tmp_path, place):
    points = f"<c:numLit><c:pt idx='{place}'><c:v>1</c:v></c:pt></c:numLit>"
    xml = f"<c:chartSpace xmlns:c='{C}'><c:ser><c:val>{points}</c:val></c:ser></c:chartSpace>"
    with pytest.raises(UnreadableError, match="no place"):
        Drawings(chart_file(tmp_path, xml)).blocks("chart", "a/chart.xml")


def test_a_chart_without_values_gives_its_workbook(tmp_path):
    data = CategoryChartData()
    data.categories = ["first"]
    data.add_series("A", (5,))
    path = deck(tmp_path, XL_CHART_TYPE.PIE, data)

    def emptied(name: str, content: bytes) -> bytes:
        return content.replace(b"c:pt ", b"c:no ").replace(b"/c:pt>", b"/c:no>") if "charts/chart" in name else content

    document, member = read_pptx(changed(path, emptied), Limits())
    assert isinstance(document, Document) and document.blocks == []
    assert isinstance(member, Member) and member.name.endswith(".xlsx")

    def alone(name: str, content: bytes) -> bytes | None:
        return None if name.endswith(("chart1.xml.rels", ".xlsx")) else emptied(name, content)

    _, failure = read_pptx(changed(path, alone), Limits())
    assert isinstance(failure, Failure) and "keeps no values" in failure.error


def test_a_chart_in_a_text_follows_its_paragraph(tmp_path):
    data = CategoryChartData()
    data.categories = ["first"]
    data.add_series("A", (5,))
    with zipfile.ZipFile(deck(tmp_path, XL_CHART_TYPE.PIE, data, "Pie")) as file:
        (name,) = [name for name in file.namelist() if name.startswith("ppt/charts/chart")]
        chart = file.read(name)
    word = docx.Document()
    for text in ("before", "after"):
        word.add_paragraph(text)
    path = tmp_path / "text.docx"
    word.save(str(path))
    drawing = (
        "<w:r><w:drawing><wp:inline xmlns:wp='http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing'>"
        f"<wp:docPr id='1' name='Chart 1' descr='A whole pie'/><c:chart xmlns:c='{C}' xmlns:r='{R}' r:id='rId99'/>"
        "</wp:inline></w:drawing></w:r>"
    )

    def with_chart(name: str, content: bytes) -> bytes:
        if name == "word/document.xml":
            return content.replace(b"before</w:t></w:r>", b"before</w:t></w:r>" + drawing.encode())
        link = f"<Relationship Id='rId99' Type='{R}/chart' Target='charts/c.xml'/></Relationships>".encode()
        return content.replace(b"</Relationships>", link) if name == "word/_rels/document.xml.rels" else content

    path = changed(path, with_chart)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("word/charts/c.xml", chart)
    (document,) = read_docx(path, Limits())
    assert isinstance(document, Document)
    texts = [block.text for block in document.blocks]
    assert texts == ["before", "A whole pie", "Pie", " | A\nfirst | 5", "after"]


def test_a_chart_on_a_sheet_has_its_title_and_the_cells_their_values(tmp_path):
    book = openpyxl.Workbook()
    for row in (["kind", "sold"], ["a", 1], ["b", 2]):
        book.active.append(row)
    chart = BarChart()
    chart.title = "Sold by kind"
    chart.add_data(Reference(book.active, min_col=2, min_row=1, max_row=3), titles_from_data=True)
    book.active.add_chart(chart, "E1")
    book.save(tmp_path / "a.xlsx")
    (document,) = read_xlsx(tmp_path / "a.xlsx", Limits())
    assert isinstance(document, Document)
    assert [block.text for block in document.blocks] == ["Sheet", "kind | sold\na | 1\nb | 2", "Sold by kind"]


def test_days_are_counted_from_1904_where_the_chart_says_so(tmp_path):
    """Day 0 is 1 January 1904; by Excel's other count, 366 is 31 December 1900 (which has a 29 February there)."""
    points = "<c:numLit><c:formatCode>d/m/yyyy</c:formatCode><c:pt idx='0'><c:v>366</c:v></c:pt></c:numLit>"
    for said, day in (("<c:date1904/>", "1905-01-01"), ("<c:date1904 val='0'/>", "1900-12-31"), ("", "1900-12-31")):
        xml = f"<c:chartSpace xmlns:c='{C}'>{said}<c:ser><c:cat>{points}</c:cat></c:ser></c:chartSpace>"
        assert chart_blocks(chart_file(tmp_path, xml), "a/chart.xml") == [Block("table", day)]
