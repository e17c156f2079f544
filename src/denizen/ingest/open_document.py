"""OpenDocument files (.odt, .ods, .odp): headings, paragraphs, lists, tables and charts in order, as they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from denizen.ingest.document import Block, Document, Failure, LeftOut, Limits, Member, UnreadableError
from denizen.ingest.office_zip import OfficeParts, checked_office_file, folded, library_errors, table_text

_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_PRESENTATION = "{urn:oasis:names:tc:opendocument:xmlns:presentation:1.0}"
_SVG = "{urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_PARAGRAPHS = (_TEXT + "p", _TEXT + "h")
# what is said beside the text, and follows it
_ASIDE = (_OFFICE + "annotation", _TEXT + "note", _DRAW + "frame", _DRAW + "custom-shape", _TABLE + "table")
_TRACKED, _DELETED = _TEXT + "tracked-changes", "was deleted in a tracked change"
_HIDDEN = "stands on a hidden sheet"
_SPACES = (_TEXT + "s", _TEXT + "tab", _TEXT + "line-break")
_ROWS = 50
# a row or cell may be repeated to the sheet's end; more of the same says nothing
_MOST_REPEATED = 100
_DEEPEST_HEADING = 6


def read_open_document(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """Reads a text, workbook or presentation of LibreOffice and its like.

    A cell is what it shows, so dates and numbers are as formatted. Notes and comments follow their paragraph; deleted
    text and hidden sheets are left out. The pages of a presentation and the visible sheets of a workbook are pages.

    Args:
        path: The file.
        limits: Of it count `pages`, `members` and `unpacked_mb`.

    Yields:
        One document with the metadata `author` and `created`, a failure for formulas without values and where there
        are more pages than the limit.

    Raises:
        UnreadableError: When the file is broken, encrypted or unsafe.
    """
    with checked_office_file(path, limits, "odt") as checked, library_errors("OpenDocument"):
        parts = OfficeParts(checked)
        if parts.has("META-INF/manifest.xml") and b"encryption-data" in parts.content("META-INF/manifest.xml"):
            raise UnreadableError("is encrypted; save it without a password")
        root = parts.root("content.xml")
        reading = _Reading(parts, root, limits)
        for body in root.iter(f"{_OFFICE}text", f"{_OFFICE}spreadsheet", f"{_OFFICE}presentation", f"{_OFFICE}drawing"):
            reading.add_body(body)
        facts = _facts(parts)
        parts.close()
    yield Document(reading.blocks, title=facts.pop("title", ""), metadata=facts, left_out=reading.left_out)
    yield from reading.failures


def _facts(parts: OfficeParts) -> dict[str, str]:
    if not parts.has("meta.xml"):
        return {}
    root = parts.root("meta.xml")
    meta = "{urn:oasis:names:tc:opendocument:xmlns:meta:1.0}"
    named = {
        "title": f"{_DC}title",
        "author": f"{meta}initial-creator",
        "created": f"{meta}creation-date",
        "lang": f"{_DC}language",
    }
    found = {name: folded(next((each.text or "" for each in root.iter(tag)), "")) for name, tag in named.items()}
    found["created"] = found["created"][:10]
    return {name: value for name, value in found.items() if value}


class _Reading:
    """The blocks of a document's body."""

    def __init__(self, parts: OfficeParts, root: Any, limits: Limits) -> None:
        self.blocks: list[Block] = []
        self.left_out: list[LeftOut] = []
        self.failures: list[Failure] = []
        self._parts = parts
        self._limits = limits
        self._page = 0
        self._unvalued = 0
        # sheets are hidden by their style
        self._hidden = {
            style.get(_STYLE + "name")
            for style in root.iter(_STYLE + "style")
            for each in style.iter(_STYLE + "table-properties")
            if each.get(_TABLE + "display") == "false"
        }

    def add_body(self, body: Any) -> None:
        kind = body.tag.rpartition("}")[2]
        if kind == "text":
            self._add_children(body)
            return
        pages = list(body.iterchildren(_TABLE + "table", _DRAW + "page"))
        for page in pages[: self._limits.pages]:
            self._page += page.get(_TABLE + "style-name") not in self._hidden
            self._add_sheet(page) if kind == "spreadsheet" else self._add_children(page)
        if len(pages) > self._limits.pages:
            why = f"has {len(pages)} pages; the limit is {self._limits.pages}, the rest is left out"
            self.failures.append(Failure("", why))

    def _add_sheet(self, sheet: Any) -> None:
        name, before, self._unvalued = folded(sheet.get(_TABLE + "name", "")), len(self.blocks), 0
        self._add_table(sheet)
        for shapes in sheet.iterchildren(_TABLE + "shapes"):
            self._add_children(shapes)
        found, self.blocks = self.blocks[before:], self.blocks[:before]
        found = [Block("heading", name, 2, self._page), *found] if name and found else found
        if sheet.get(_TABLE + "style-name") in self._hidden:
            self.left_out += [LeftOut(block.text, _HIDDEN) for block in found]
        else:
            self.blocks += found
        if self._unvalued:
            why = (
                f"{self._unvalued:,} cells hold a formula and no value; open the file in LibreOffice and save it again"
            )
            self.failures.append(Failure(name, why))

    def _add_children(self, holder: Any) -> None:
        for child in holder.iterchildren("{*}*"):
            if child.tag in _PARAGRAPHS:
                self._add_paragraph(child)
            elif child.tag == _TEXT + "list":
                self._add_list(child)
            elif child.tag == _TABLE + "table":
                self._add_table(child)
            elif child.tag == _TRACKED:
                texts = (folded("".join(part.itertext())) for each in child.iter(_TEXT + "deletion") for part in each)
                self.left_out += [LeftOut(text, _DELETED) for text in texts if text]
            elif child.tag.startswith((_SVG, _DC, "{urn:oasis:names:tc:opendocument:xmlns:meta:1.0}")):
                self._add_described(child)
            elif child.tag == _DRAW + "object":
                self._add_object(child)
            elif child.get(_PRESENTATION + "class") == "title":
                before = len(self.blocks)
                self._add_children(child)
                titles = [Block("heading", block.text, 2, self._page) for block in self.blocks[before:]]
                self.blocks[before:] = titles
            else:
                # frames, sections, notes, forms and the like enclose paragraphs
                self._add_children(child)

    def _add_described(self, child: Any) -> None:
        # the alternative text of a picture; who wrote a comment and when is not what it says
        if child.tag in (_SVG + "title", _SVG + "desc") and (text := folded("".join(child.itertext()))):
            self.blocks.append(Block("text", text, 0, self._page))

    def _add_paragraph(self, paragraph: Any) -> None:
        pieces: list[str] = []
        aside: list[Any] = []
        _collect(paragraph, pieces, aside)
        if text := folded("".join(pieces)):
            level = paragraph.get(_TEXT + "outline-level", "1") if paragraph.tag == _TEXT + "h" else ""
            if level:
                depth = min(int(level), _DEEPEST_HEADING) if level.isdecimal() and int(level) else 1
                self.blocks.append(Block("heading", text, depth, self._page))
            else:
                self.blocks.append(Block("text", text, 0, self._page))
        for each in aside:
            self._add_table(each) if each.tag == _TABLE + "table" else self._add_children(each)

    def _add_list(self, element: Any) -> None:
        inner = _Reading(self._parts, element, self._limits)
        for item in element.iter(_TEXT + "list-item", _TEXT + "list-header"):
            for child in item.iterchildren(*_PARAGRAPHS):
                inner._add_paragraph(child)
        items = [f"- {block.text}" for block in inner.blocks]
        if items:
            self.blocks.append(Block("list", "\n".join(items), 0, self._page))

    def _add_table(self, table: Any) -> None:
        run: list[list[str]] = []
        for row in table.iter(_TABLE + "table-row"):
            cells = self._cells(row)
            for _ in range(_repeated(row, "rows") if any(cells) else 1):
                if any(cells):
                    run.append(cells)
                if run and (not any(cells) or len(run) == _ROWS):
                    self._end_run(run)
                    run = []
        self._end_run(run)

    def _end_run(self, rows: list[list[str]]) -> None:
        if not rows:
            return
        first = min(next(at for at, cell in enumerate(row) if cell) for row in rows)
        last = max(len(row) for row in rows)
        filled = [[*row, *[""] * (last - len(row))][first:] for row in rows]
        is_one = len(rows) == last - first == 1
        self.blocks.append(Block("text" if is_one else "table", table_text(filled), 0, self._page))

    def _cells(self, row: Any) -> list[str]:
        cells: list[str] = []
        for cell in row.iterchildren(_TABLE + "table-cell", _TABLE + "covered-table-cell"):
            inner = _Reading(self._parts, cell, self._limits)
            inner._add_children(cell)
            text = " ".join(block.text.replace(" | ", " ") for block in inner.blocks)
            formula = cell.get(_TABLE + "formula")
            self._unvalued += bool(formula) and not text and cell.get(_OFFICE + "value-type") is None
            cells += [text] * (_repeated(cell, "columns") if text else min(_repeated(cell, "columns"), _MOST_REPEATED))
        while cells and not cells[-1]:
            cells.pop()
        return cells

    def _add_object(self, element: Any) -> None:
        """Adds a chart or formula, which is a document in a folder of its own."""
        name = f"{element.get(_XLINK + 'href', '').removeprefix('./').strip('/')}/content.xml"
        if not self._parts.has(name):
            return
        root = self._parts.root(name)
        chart = "{urn:oasis:names:tc:opendocument:xmlns:chart:1.0}"
        for title in (*root.iter(f"{chart}title"), *root.iter(f"{chart}subtitle")):
            self._add_children(title)
        for table in root.iter(_TABLE + "table"):
            self._add_table(table)
        if root.tag.endswith("}math") and (text := folded(" ".join(root.itertext()))):
            self.blocks.append(Block("text", text, 0, self._page))


def _repeated(element: Any, what: str) -> int:
    found = element.get(f"{_TABLE}number-{what}-repeated", "1")
    return min(int(found), _MOST_REPEATED) if found.isdecimal() else 1


def _collect(element: Any, pieces: list[str], aside: list[Any]) -> None:
    pieces.append(element.text or "")
    for child in element.iterchildren("{*}*"):
        if child.tag in _SPACES:
            pieces.append(" ")
        elif child.tag in _ASIDE:
            aside.append(child)
        elif child.tag != _TRACKED:
            _collect(child, pieces, aside)
        pieces.append(child.tail or "")
