"""Word documents (.docx) as headings, paragraphs, lists, tables and charts in reading order, their notes at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denizen.ingest.charts import Drawings
from denizen.ingest.document import Block, Document, Failure, LeftOut, Limits, Member, UnreadableError
from denizen.ingest.office_zip import (
    OfficeParts,
    alternative_text,
    checked_office_file,
    core_properties,
    embedded_files,
    folded,
    library_errors,
    main_part,
    table_text,
)

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_DRAWINGS = ("inline", "anchor")
_TEXTS = (_W + "t", _M + "t")
# what stands between the parts of a formula once they are on one line
_SIGNS = {_M + "den": "/", _M + "sup": "^", _M + "sub": "_"}
# a second form of the same drawing, for older programs
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# deleted text, formatting, field codes, the reading aid above a word
_LEFT_OUT = {_FALLBACK} | {
    _W + name for name in ("del", "moveFrom", "pPr", "rPr", "sdtPr", "delText", "instrText", "rt", "trPr", "tcPr")
}
_SPACES = {_W + name for name in ("tab", "br", "cr", "ptab")}
_HEADING = re.compile(r"heading (\d)")
_LIST_STYLES = ("list bullet", "list number")
_DELETED = "was deleted in a tracked change"
_SIGNS_OF_FONTS = "holds {count:,} signs of fonts without letters, such as Symbol and Wingdings, which are not read"
_ON_EACH_PAGE = "stands at the head or foot of each page"
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
    drawings: Drawings
    related: dict[str, tuple[str, str]]
    blocks: list[Block] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

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
        drawings: list[Any] = []
        _collect(paragraph, pieces, boxes, drawings)
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
        for drawing in drawings:
            self.add_drawing(drawing)

    def add_drawing(self, drawing: Any) -> None:
        if text := alternative_text(drawing):
            self.blocks.append(Block("text", text))
        for drawn in drawing.iter("{*}chart", "{*}relIds"):
            try:
                with library_errors("docx"):
                    kind, part = self.related[drawn.get(_R + "id") or drawn.get(_R + "dm")]
                    self.blocks += self.drawings.blocks(kind, part)
            except UnreadableError as error:
                self.failures.append(Failure("", f"a chart or diagram cannot be read: {error}"))

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
        inner = _Content(self.styles, self.drawings, self.related, failures=self.failures)
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


def read_docx(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """Reads a Word document.

    Insertions that are not yet accepted count as text; deletions are left out, and so is what stands at the head and
    foot of each page. Text boxes, charts and the alternative texts of pictures follow the paragraph that they hang on,
    notes and comments stand at the end. Of merged cells the first has the text; a table of one cell counts as the text
    in it.

    Args:
        path: A .docx file.
        limits: Of it count `members` and `unpacked_mb`.

    Yields:
        One document with the metadata `author` and `created`, a member for each file that is embedded in it, and a
        failure for notes and charts that cannot be read.

    Raises:
        UnreadableError: When the file is broken, encrypted, unsafe or of another kind.
    """
    with checked_office_file(path, limits, "docx") as checked:
        with library_errors("docx"):
            parts = OfficeParts(checked)
            main, root = main_part(parts, f"{_W}document")
            styles = [name for kind, name in parts.related(main).values() if kind == "styles"]
            content = _Content(_styles(parts.root(styles[0])) if styles else {}, Drawings(parts), parts.related(main))
            for body in root.iterchildren(_W + "body"):
                content.add_children(body)
        left_out = [LeftOut(text, _DELETED) for text in _deleted(root)]
        for kind, part in content.related.values():
            if kind in ("footnotes", "endnotes", "comments"):
                content.blocks += _other_blocks(parts, part, kind, content)
            elif kind in ("header", "footer"):
                found = _other_blocks(parts, part, kind, content)
                left_out += [LeftOut(block.text, _ON_EACH_PAGE) for block in found]
        facts = core_properties(parts)
        left_out = list(dict.fromkeys(left_out))
        yield Document(content.blocks, title=facts.pop("title", ""), metadata=facts, left_out=left_out)
        if signs := sum(1 for _ in root.iter(_W + "sym")):
            content.failures.append(Failure("", _SIGNS_OF_FONTS.format(count=signs)))
        yield from content.failures
        yield from content.drawings.workbooks()
        yield from embedded_files(parts, main)
        parts.close()


def _other_blocks(parts: OfficeParts, part: str, kind: str, content: _Content) -> list[Block]:
    """The blocks of notes, comments, a header or a footer; a failure where they cannot be read."""
    other = _Content(content.styles, content.drawings, parts.related(part), failures=content.failures)
    try:
        with library_errors("docx"):
            root = parts.root(part)
            for each in [root] if kind in ("header", "footer") else root:
                if each.get(_W + "type") not in _SEPARATORS:
                    other.add_children(each)
    except UnreadableError as error:
        content.failures.append(Failure(kind, str(error)))
    return other.blocks


def _deleted(root: Any) -> Iterator[str]:
    for change in root.iter(_W + "del"):
        text = folded("".join(part.text or "" for part in change.iter(_W + "delText")))
        # a word that was mistyped is none
        if text:
            yield text
    for row in root.iter(_W + "tr"):
        if row.find(f"{_W}trPr/{_W}del") is not None and (text := folded("".join(row.itertext(*_TEXTS)))):
            yield text


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


def _collect(element: Any, pieces: list[str], boxes: list[Any], drawings: list[Any]) -> None:
    for child in element.iterchildren("{*}*"):
        if child.tag in _TEXTS:
            pieces.append(child.text or "")
            continue
        if child.tag in _SPACES:
            pieces.append(" ")
        elif child.tag == _W + "noBreakHyphen":
            pieces.append("-")
        elif child.tag == _W + "txbxContent":
            boxes.append(child)
            continue
        elif child.tag.rpartition("}")[2] in _DRAWINGS:
            drawings.append(child)
        elif child.tag.endswith("}textpath"):
            # WordArt of older programs
            pieces.append(f" {child.get('string', '')} ")
        pieces.append(_SIGNS.get(child.tag, ""))
        if child.tag not in _LEFT_OUT:
            _collect(child, pieces, boxes, drawings)
