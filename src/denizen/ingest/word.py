"""Word documents (.docx) as headings, paragraphs, lists and tables in reading order, with their notes at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.office_zip import check_office_file, core_properties, folded, library_errors, table_text

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
# a second form of the same drawing, for older programs
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# deleted text, formatting, field codes, the reading aid above a word, embedded objects
_LEFT_OUT = {_FALLBACK} | {
    _W + name
    for name in ("del", "moveFrom", "pPr", "rPr", "sdtPr", "delText", "instrText", "rt", "object", "trPr", "tcPr")
}
_SPACES = {_W + name for name in ("tab", "br", "cr", "ptab")}
_HEADING = re.compile(r"heading (\d)")
_LIST_STYLES = ("list bullet", "list number")
_SEPARATORS = ("separator", "continuationSeparator", "continuationNotice")
_DEEPEST_HEADING = 6
_BODY_TEXT = 9


@dataclass(frozen=True)
class _Style:
    level: int = 0
    is_list: bool = False


@dataclass
class _Content:
    """Blocks, as they are found in a document's XML."""

    styles: dict[str, _Style]
    blocks: list[Block] = field(default_factory=list)

    def add_children(self, container: Any) -> None:
        for child in container.iterchildren("{*}*"):
            if child.tag == _W + "p":
                self.add_paragraph(child)
            elif child.tag == _W + "tbl":
                self.add_table(child)
            elif child.tag not in _LEFT_OUT:
                # content controls, insertions and the like enclose paragraphs
                self.add_children(child)

    def add_paragraph(self, paragraph: Any) -> None:
        pieces: list[str] = []
        boxes: list[Any] = []
        _collect(paragraph, pieces, boxes)
        text = folded("".join(pieces))
        if text:
            style = self.style_of(paragraph)
            if style.level:
                self.blocks.append(Block("heading", text, min(style.level, _DEEPEST_HEADING)))
            elif style.is_list:
                self.add_item(text)
            else:
                self.blocks.append(Block("text", text))
        for box in boxes:
            self.add_children(box)

    def add_item(self, text: str) -> None:
        if self.blocks and self.blocks[-1].kind == "list":
            self.blocks[-1] = Block("list", f"{self.blocks[-1].text}\n- {text}")
        else:
            self.blocks.append(Block("list", f"- {text}"))

    def add_table(self, table: Any) -> None:
        rows = [list(_inner(row, "tc")) for row in _inner(table, "tr") if row.find(f"{_W}trPr/{_W}del") is None]
        if len(rows) == 1 and len(rows[0]) == 1:
            # a frame around text, not a table
            self.add_children(rows[0][0])
            return
        text = table_text([[self.cell_text(cell) for cell in row] for row in rows])
        if text:
            self.blocks.append(Block("table", text))

    def cell_text(self, cell: Any) -> str:
        for merge in ("vMerge", "hMerge"):
            found = cell.find(f"{_W}tcPr/{_W}{merge}")
            if found is not None and found.get(_W + "val") != "restart":
                return ""
        inner = _Content(self.styles)
        inner.add_children(cell)
        # the bar between cells belongs to the outer table
        return " ".join(block.text.replace(" | ", " ") for block in inner.blocks)

    def style_of(self, paragraph: Any) -> _Style:
        properties = paragraph.find(_W + "pPr")
        if properties is None:
            return _Style()
        style = self.styles.get(_value(properties, "pStyle"), _Style())
        outline, number = _value(properties, "outlineLvl"), _value(properties, f"numPr/{_W}numId")
        level = _outline_level(outline) if outline else style.level
        return _Style(level, number != "0" if number else style.is_list)


def read_docx(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Reads a Word document.

    Insertions that are not yet accepted count as text, deletions do not. Text boxes follow the paragraph that they
    hang on. Headers, footers and comments are left out. Of merged cells the first has the text; a table of one cell
    counts as the text in it.

    Args:
        path: A .docx file.
        limits: Of it count `members` and `unpacked_mb`.

    Yields:
        One document with the metadata `author` and `created`, and a failure for notes that cannot be read.

    Raises:
        UnreadableError: When the file is broken, encrypted, unsafe or of another kind.
    """
    check_office_file(path, limits, "docx")
    import docx
    from docx.opc.constants import RELATIONSHIP_TYPE

    with library_errors("docx"):
        word = docx.Document(str(path))
        content = _Content(_styles(word.styles.element))
        if word.element.body is not None:
            content.add_children(word.element.body)
    failures = []
    for name, kind in (("footnotes", RELATIONSHIP_TYPE.FOOTNOTES), ("endnotes", RELATIONSHIP_TYPE.ENDNOTES)):
        try:
            with library_errors("docx"):
                _add_notes(word.part, kind, content)
        except UnreadableError as error:
            failures.append(Failure(name, str(error)))
    facts = core_properties(path)
    yield Document(content.blocks, title=facts.pop("title", ""), metadata=facts)
    yield from failures


def _add_notes(part: Any, kind: str, content: _Content) -> None:
    from docx.oxml.parser import parse_xml

    for relationship in part.rels.values():
        if relationship.reltype == kind and not relationship.is_external:
            for note in parse_xml(relationship.target_part.blob):
                if note.get(_W + "type") not in _SEPARATORS:
                    content.add_children(note)


def _styles(element: Any) -> dict[str, _Style]:
    by_id = {style.get(_W + "styleId", ""): style for style in element.iterchildren(_W + "style")}
    found = {}
    for style_id in by_id:
        level, is_list, seen, current = 0, False, set(), style_id
        # a style is based on another one; a broken file may make that a circle
        while current in by_id and current not in seen:
            seen.add(current)
            style = by_id[current]
            name = _value(style, "name").lower()
            level = level or _named_level(name) or _outline_level(_value(style, f"pPr/{_W}outlineLvl"))
            is_list = is_list or name.startswith(_LIST_STYLES) or style.find(f"{_W}pPr/{_W}numPr") is not None
            current = _value(style, "basedOn")
        found[style_id] = _Style(level, is_list)
    return found


def _named_level(name: str) -> int:
    heading = _HEADING.match(name)
    return int(heading.group(1)) if heading else int(name == "title")


def _outline_level(value: str) -> int:
    return int(value) + 1 if value.isdecimal() and int(value) < _BODY_TEXT else 0


def _value(element: Any, name: str) -> str:
    found = element.find(_W + name)
    return "" if found is None else found.get(_W + "val", "")


def _inner(element: Any, name: str) -> Iterator[Any]:
    """The rows of a table or cells of a row, also those within content controls and insertions."""
    for child in element.iterchildren("{*}*"):
        if child.tag == _W + name:
            yield child
        elif child.tag not in _LEFT_OUT:
            yield from _inner(child, name)


def _collect(element: Any, pieces: list[str], boxes: list[Any]) -> None:
    for child in element.iterchildren("{*}*"):
        if child.tag in (_W + "t", _MATH_TEXT):
            pieces.append(child.text or "")
        elif child.tag in _SPACES:
            pieces.append(" ")
        elif child.tag == _W + "noBreakHyphen":
            pieces.append("-")
        elif child.tag == _W + "txbxContent":
            boxes.append(child)
        elif child.tag not in _LEFT_OUT:
            _collect(child, pieces, boxes)
