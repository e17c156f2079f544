"""What HTML and XML have in common as blocks: the names and text of elements, and tables."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from denizen.ingest.document import Block, BlockKind

# elements that begin and end a paragraph; all others are part of a line
BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir", "div"}
    | {"dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header"}
    | {"hgroup", "hr", "html", "legend", "li", "main", "menu", "nav", "ol", "optgroup", "option", "p", "pre"}
    | {"section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"}
)
ROWS, CELLS = frozenset({"tr", "row"}), frozenset({"td", "th", "entry"})
# elements of HTML whose text is no part of the page
UNSEEN = frozenset(
    {"script", "style", "noscript", "template", "head", "title", "iframe", "object", "audio", "video", "canvas"}
    | {"select", "datalist", "textarea", "annotation", "annotation-xml", "ix:header"}
)
_NOT_SHOWN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
# parts of a cell that say that it is a page's column; lists are common in tables of data
_CELL_PARAGRAPHS = frozenset({"p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "article", "section"})
_HEADING = 300  # characters; what is longer is a heading that was never closed
_SPACES = re.compile(r"\s+")
_PARAGRAPHS = re.compile(r"\n\s*\n")

_OPENING = re.compile(r"[A-Z]{0,3}[$€£¥]\s*\(?|\(")
_CLOSING = re.compile(r"\)|\)?\s*%\s*\)?")
# a lone year is a heading, even beside a sign
_AMOUNT = re.compile(r"(?!(?:19|20)\d\d$)[\d(.,+\-–—−]")
_WIDEST_GROUP = 4  # columns of one figure: its sign, itself, its bracket, a spacer
_WIDEST = 1000  # columns; a cell may span no more: https://html.spec.whatwg.org/multipage/tables.html


@lru_cache(maxsize=1024)
def _named(tag: str) -> str:
    space, _, local = tag.rpartition("}")
    return f"ix:{local.lower()}" if "inlineXBRL" in space else local.lower()


def local_name(element: Any) -> str:
    """An element's name in lower case without its namespace; "" for comments, entities and instructions."""
    return _named(element.tag) if isinstance(element.tag, str) else ""


class Flow:
    """Collects text in document order and makes blocks of it.

    Attributes:
        blocks: Those that are finished.
        level: Of the heading that is open; 0 outside of headings.
        pre: Whether the lines of the text count.
        lists: How many lists and items are open.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.level = 0
        self.pre = False
        self.lists = 0
        self._pieces: list[str] = []
        self._items: list[str] = []

    def add(self, text: str | None) -> None:
        """Adds text to the block that is open."""
        if text:
            self._pieces.append(text if self.pre else _SPACES.sub(" ", text))

    def line_break(self) -> None:
        """Ends a line; two of them end a paragraph."""
        self._pieces.append("\n")

    def item(self) -> None:
        """Begins an item of a list."""
        self.end_block()
        self._items.append("")

    def end_block(self) -> None:
        """Ends the block that is open, if it has text; within a list, the next text goes to the same item."""
        text = "".join(self._pieces)
        self._pieces.clear()
        if self.pre:
            self.emit("text", "\n".join(line.rstrip() for line in text.split("\n")).strip("\n"))
        elif self.level:
            folded = " ".join(text.split())
            self.emit("heading" if len(folded) <= _HEADING else "text", folded)
        elif self.lists and text.strip():
            self._items = self._items or [""]
            self._items[-1] = f"{self._items[-1]} {' '.join(text.split())}".strip()
        else:
            for paragraph in _PARAGRAPHS.split(text):
                self.emit("text", " ".join(paragraph.split()))

    def define(self) -> None:
        """Sets the definition that follows apart from its term."""
        self.end_block()
        if self._items and self._items[-1] and not self._items[-1].endswith(":"):
            self._items[-1] += ":"

    def emit(self, kind: BlockKind, text: str) -> None:
        """Adds a whole block, after the list that is open."""
        if text.strip():
            self.end_list()
            self.blocks.append(Block(kind, text, level=self.level if kind == "heading" else 0))

    def took_table(self, table: Any) -> bool:
        """Adds a table of data with its caption; False when its content is to be walked like any other."""
        text = table_text(table)
        if not text:
            return False
        self.end_block()
        for part in table:
            if local_name(part) == "caption" and not is_hidden(part):
                self.emit("text", visible_text(part))
        self.emit("table", text)
        return True

    def end_list(self) -> None:
        """Ends the list that is open."""
        items, self._items = [f"- {item}" for item in self._items if item], []
        if items:
            self.blocks.append(Block("list", "\n".join(items)))


def is_hidden(element: Any) -> bool:
    """Whether a browser would not show the element, by its name or its own attributes."""
    return local_name(element) in UNSEEN or shows_nothing(element)


def shows_nothing(element: Any) -> bool:
    """Whether an element's own attributes say that a browser does not show it at first."""
    style = element.get("style")
    return element.get("hidden") is not None or (bool(style) and _NOT_SHOWN.search(style) is not None)


def visible_text(element: Any) -> str:
    """The text of an element on one line."""
    from lxml import etree

    if not len(element):
        return "" if is_hidden(element) else " ".join((element.text or "").split())
    pieces: list[str] = []
    passed = None
    walker = etree.iterwalk(element, events=("start", "end", "comment", "pi"))
    for event, part in walker:
        name = local_name(part)
        if name in BLOCKS or name == "br":
            pieces.append(" ")
        if event == "start":
            if name and is_hidden(part):
                passed = part
                walker.skip_subtree()
            elif part is not passed:
                pieces.append(part.text or "")
        elif part is not element:
            pieces.append(part.tail or "")
    return " ".join("".join(pieces).split())


class _Grid:
    """The cells of a table by row and column.

    Attributes:
        rows: The text of each row's cells that have any, by column.
        groups: First column and end of the cells that span a few columns.
        prose: Characters in cells that hold several paragraphs.
        total: Characters in all cells.
    """

    def __init__(self) -> None:
        self.rows: list[dict[int, str]] = []
        self.groups: set[tuple[int, int]] = set()
        self.prose = 0
        self.total = 0
        self._covered: dict[int, int] = {}

    def add(self, row: Any) -> None:
        """Adds a row, whose cells stand right of those that reach down into it."""
        number, column = len(self.rows), 0
        self.rows.append({})
        for cell in row:
            if local_name(cell) not in CELLS or is_hidden(cell):
                continue
            while self._covered.get(column, 0) > number:
                column += 1
            width, height = _span(cell, "colspan"), _span(cell, "rowspan")
            if height > 1 and column + width <= _WIDEST:
                self._covered.update(dict.fromkeys(range(column, column + width), number + height))
            text = visible_text(cell)
            if text:
                self.rows[-1][column] = text
                self.total += _size(text)
                self.prose += _size(text) if _has_paragraphs(cell) else 0
                if 1 < width <= _WIDEST_GROUP:
                    self.groups.add((column, column + width))
            column += width

    def text(self) -> str:
        """A line for each row that has text."""
        rows = [_joined(row) for row in self.rows if row]
        place = self._places(rows)
        lines = []
        for row in rows:
            cells = {place[column]: text for column, text in row.items()}
            lines.append(" | ".join(cells.get(column, "") for column in range(max(cells) + 1)))
        return "\n".join(lines)

    def _places(self, rows: list[dict[int, str]]) -> dict[int, int]:
        """Where each column goes: without empty ones, and the columns of one figure in one."""
        used: dict[int, set[int]] = {}
        for number, row in enumerate(rows):
            for column in row:
                used.setdefault(column, set()).add(number)
        places: dict[int, int] = {}
        last, filled = -1, set[int]()
        for column in sorted(used):
            # a heading stands over the sign, its figures beside it
            if last >= 0 and self._are_grouped(last, column) and filled.isdisjoint(used[column]):
                places[column] = places[last]
                filled |= used[column]
            else:
                places[column] = places[last] + 1 if last >= 0 else 0
                filled = set(used[column])
            last = column
        return places

    def _are_grouped(self, left: int, right: int) -> bool:
        starts = range(max(0, right - _WIDEST_GROUP + 1), left + 1)
        return any(
            (start, start + width) in self.groups
            for start in starts
            for width in range(2, _WIDEST_GROUP + 1)
            if start + width > right
        )


def table_text(table: Any) -> str:
    """The rows of a table of data, cells joined by " | "; "" when the table only lays out other content.

    That is the case when it holds another table, has one column, has text outside of its cells, or when most of its
    text stands in cells of several paragraphs. Signs and brackets in cells of their own are joined to their figure.
    """
    grid = _Grid()
    for part in table.iterdescendants():
        name = local_name(part)
        if name == local_name(table):
            return ""
        if name in ROWS and not is_hidden(part):
            grid.add(part)
    captions = sum(_size(visible_text(part)) for part in table if local_name(part) == "caption")
    columns = max((len(row) for row in grid.rows), default=0)
    if columns < 2 or 2 * grid.prose >= grid.total or grid.total + captions != _size(visible_text(table)):
        return ""
    return grid.text()


def _size(text: str) -> int:
    return len(text) - text.count(" ")


def _span(cell: Any, name: str) -> int:
    value = (cell.get(name) or "").strip()
    return max(1, min(int(value), _WIDEST)) if value.isascii() and value.isdigit() and len(value) < 10 else 1


def _has_paragraphs(cell: Any) -> bool:
    found = 0
    for part in cell.iterdescendants():
        if local_name(part) in _CELL_PARAGRAPHS and not any(local_name(inner) in BLOCKS for inner in part):
            found += bool(visible_text(part))
    return found > 1


def _joined(cells: dict[int, str]) -> dict[int, str]:
    """A row with signs and brackets joined to their figure: "$", "1,234", ")" is "$1,234)"."""
    found: dict[int, str] = {}
    sign, last = -1, -1
    for column in sorted(cells):
        text = cells[column]
        if last >= 0 and _CLOSING.fullmatch(text) and _AMOUNT.match(found[last].lstrip("$€£¥ ")):
            found[last] += text
            sign = -1
            continue
        if sign >= 0 and _AMOUNT.match(text):
            text = found.pop(sign) + text
        sign = column if _OPENING.fullmatch(text) else -1
        found[column] = text
        last = column
    return found
