"""Charts and diagrams of office files, as their title and the table of what is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from denizen.ingest.document import Block, Failure, Member, UnreadableError
from denizen.ingest.office_zip import OfficeParts, embedded_files, folded, table_text
from denizen.ingest.shown_numbers import shown_text

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
# of the charts that came with Office 2016: waterfall, funnel, treemap, sunburst, histogram, box and whisker, map
_X = "{http://schemas.microsoft.com/office/drawing/2014/chartex}"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
# beyond them no chart can be read by a person
_MOST_POINTS = 100_000
_NO_VALUES = "is a chart that keeps no values; open the file in its program and save it again"


def chart_blocks(parts: OfficeParts, name: str, page: int = 0) -> list[Block]:
    """A chart's title and axes as text, and a table with a row for each category and a column for each series.

    Args:
        parts: The file.
        name: The chart's part.
        page: For the blocks.

    Where the values are not in the chart, there is no table.
    """
    root = parts.root(name)
    is_new = root.tag.startswith(_X)
    columns = _new_columns(root) if is_new else _columns(root)
    title = _rich(root.find(f"{_X}chart/{_X}title" if is_new else f"{_C}chart/{_C}title"))
    rows = list(zip_longest(*columns, fillvalue=""))
    text = table_text(rows)
    # a heading of the columns alone is no table
    drawn = any(any(row) for row in rows[1:])
    axes = [folded(_rich(axis)) for axis in root.iter(f"{_X}title" if is_new else f"{_C}title")]
    shown = [text for text in dict.fromkeys([title, *axes]) if text]
    blocks = [Block("text", text, 0, page) for text in shown]
    # what is written on a chart by hand
    notes = [part for kind, part in parts.related(name).values() if kind == "chartUserShapes"]
    blocks += [Block("text", text, 0, page) for part in notes for text in paragraph_texts(parts.root(part))]
    return [*blocks, Block("table", text, 0, page)] if drawn else blocks


def diagram_blocks(parts: OfficeParts, name: str, page: int = 0) -> list[Block]:
    """The texts of a diagram (SmartArt), which lie in a part of their own, as a list."""
    points = (
        "".join(each.text or "" for each in point.iter(f"{_A}t")) for point in parts.root(name).iter(f"{_DIAGRAM}t")
    )
    items = [f"- {folded(point)}" for point in points if point.strip()]
    return [Block("list", "\n".join(items), 0, page)] if items else []


def paragraph_texts(element: Any) -> list[str]:
    """The paragraphs of a drawing's text that are not blank."""
    texts = (folded("".join(part.text or "" for part in each.iter(f"{_A}t"))) for each in element.iter(f"{_A}p"))
    return [text for text in texts if text]


class Drawings:
    """The charts and diagrams of an office file."""

    def __init__(self, parts: OfficeParts) -> None:
        """Reads nothing yet."""
        self._parts = parts
        self._without_values: list[str] = []

    def blocks(self, kind: str, name: str, page: int = 0) -> list[Block]:
        """The blocks of a part, none where it is no chart and no diagram.

        Args:
            kind: The last word of the relationship's kind.
            name: The part.
            page: For the blocks.
        """
        if kind == "diagramData":
            return diagram_blocks(self._parts, name, page)
        if kind not in ("chart", "chartEx"):
            return []
        found = chart_blocks(self._parts, name, page)
        if not any(block.kind == "table" for block in found):
            self._without_values.append(name)
        return found

    def workbooks(self) -> Iterator[Member | Failure]:
        """The workbooks behind the charts that keep no values, and a failure for each that has none."""
        for name in self._without_values:
            if any(kind == "package" for kind, _ in self._parts.related(name).values()):
                yield from embedded_files(self._parts, name)
            else:
                yield Failure(name.rpartition("/")[2], _NO_VALUES)


def _rich(element: Any) -> str:
    """A title's text, which may also stand in a cell that it refers to."""
    if element is None:
        return ""
    return folded(" ".join(paragraph_texts(element)) or " ".join(part.text or "" for part in element.iter(f"{_C}v")))


def _columns(root: Any) -> list[list[str]]:
    """The categories, in as many columns as they have levels, and each series, with its name on top."""
    columns: list[list[str]] = []
    known: list[list[str]] = []
    from_1904 = any(each.get("val", "1") in ("1", "true") for each in root.iter(f"{_C}date1904"))
    for series in root.iter(f"{_C}ser"):
        across = series.find(f"{_C}cat")
        across = series.find(f"{_C}xVal") if across is None else across
        categories = [list(column) for column in _levels(across, from_1904)]
        # series of a bar chart share their categories; those of a scatter chart may each have their own
        if categories and categories != known:
            axis = "x" if series.find(f"{_C}xVal") is not None else ""
            columns += [[axis, *column] for column in categories]
            known = categories
        name = _rich(series.find(f"{_C}tx"))
        for kind, heading in (("val", name), ("yVal", name), ("bubbleSize", f"{name} (size)".strip())):
            columns += [[heading, *column] for column in _levels(series.find(f"{_C}{kind}"), from_1904)]
        labels = {_index(label): text for label in series.iter(f"{_C}dLbl") if (text := _rich(label.find(f"{_C}tx")))}
        if labels:
            columns.append([f"{name} (label)".strip(), *(labels.get(at, "") for at in range(max(labels) + 1))])
    return columns


def _levels(data: Any, from_1904: bool) -> Iterator[list[str]]:
    """The points of a reference, the outer level of categories first."""
    if data is None:
        return
    levels = list(data.iter(f"{_C}lvl"))
    for holder in reversed(levels) if levels else [data]:
        formats = [part.text or "" for part in holder.iter(f"{_C}formatCode")]
        points: dict[int, str] = {}
        for point in holder.iter(f"{_C}pt"):
            value = point.find(f"{_C}v")
            own = point.get("formatCode") or (formats[0] if formats else "")
            points[_place(point.get("idx"))] = shown_text("" if value is None else value.text or "", own, from_1904)
        if points:
            yield [points.get(at, "") for at in range(max(points) + 1)]


def _new_columns(root: Any) -> list[list[str]]:
    columns: list[list[str]] = []
    names = {
        link.get("val"): _rich(series.find(f"{_X}tx")) or "".join(series.itertext(f"{_X}v"))
        for series in root.iter(f"{_X}series")
        for link in series.iter(f"{_X}dataId")
    }
    for data in root.iter(f"{_X}data"):
        for dimension in data:
            levels = [
                {_place(point.get("idx")): shown_text(point.text or "", level.get("formatCode", "")) for point in level}
                for level in dimension.iter(f"{_X}lvl")
            ]
            heading = names.get(data.get("id"), "") if dimension.tag == f"{_X}numDim" else ""
            columns += [
                [heading, *(points.get(at, "") for at in range(max(points) + 1))]
                for points in reversed(levels)
                if points
            ]
    return columns


def _index(label: Any) -> int:
    found = label.find(f"{_C}idx")
    return 0 if found is None else _place(found.get("val"))


def _place(value: str | None) -> int:
    if value is None or not value.isdecimal() or int(value) >= _MOST_POINTS:
        raise UnreadableError("a chart has a point that has no place in it")
    return int(value)
