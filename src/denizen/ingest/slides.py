"""Presentations (.pptx) as one document: a page for each slide, with its title, text, tables, charts and notes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from denizen.ingest.charts import Drawings
from denizen.ingest.document import Block, Document, Failure, Limits, Member, UnreadableError
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

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_DATA = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm"
_BULLETS = (f"{_A}buChar", f"{_A}buAutoNum", f"{_A}buBlip")
_DRAWN = tuple(_P + name for name in ("sp", "pic", "graphicFrame", "cxnSp"))
_TITLES = ("title", "ctrTitle")
# the same on every slide
_FURNITURE = ("dt", "ftr", "hdr", "sldNum")
# placeholders whose paragraphs have bullets unless they say otherwise; "obj" is what a placeholder without a type is
_BULLETED = ("body", "obj")


def read_pptx(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """Reads a presentation.

    A slide's title is a heading of level 2 and comes first, its notes and comments come last; dates, footers and slide
    numbers are left out. A chart is its title and the table of its values, a picture its alternative text.

    Args:
        path: A .pptx file.
        limits: Of it count `pages` (slides), `members` and `unpacked_mb`.

    Yields:
        One document with the metadata `author` and `created`; a failure for each slide, chart or diagram that cannot
        be read, and one where there are more slides than the limit.

    Raises:
        UnreadableError: When the file is broken, encrypted, unsafe or of another kind.
    """
    with checked_office_file(path, limits, "pptx") as checked:
        with library_errors("pptx"):
            parts = OfficeParts(checked)
            main, root = main_part(parts, f"{_P}presentation")
            links = [slide.get(_ID) for each in root.iter(f"{_P}sldIdLst") for slide in each.iter(f"{_P}sldId")]
            related = parts.related(main)
        show = _Show(parts)
        for number, link in enumerate(links[: limits.pages], start=1):
            show.add_slide(related.get(link, ("", ""))[1], number)
        if len(links) > limits.pages:
            why = f"has {len(links)} slides; the limit is {limits.pages}, the rest is left out"
            show.failures.append(Failure("", why))
        facts = core_properties(parts)
        yield Document(show.blocks, title=facts.pop("title", ""), metadata=facts)
        yield from show.failures
        yield from show.drawings.workbooks()
        yield from embedded_files(parts, *(related[link][1] for link in links[: limits.pages] if link in related))
        parts.close()


class _Show:
    """The blocks of slides, as they are found in the slides' parts."""

    def __init__(self, parts: OfficeParts) -> None:
        self.blocks: list[Block] = []
        self.failures: list[Failure] = []
        self.drawings = Drawings(parts)
        self._parts = parts
        self._related: dict[str, tuple[str, str]] = {}
        self._page = 0

    def add_slide(self, part: str, page: int) -> None:
        self._page = page
        found, self.blocks = self.blocks, []
        try:
            with library_errors("pptx"):
                if not part:
                    raise UnreadableError("is missing from the file")
                self._related = self._parts.related(part)
                tree = self._parts.root(part).find(f"{_P}cSld/{_P}spTree")
                titles = [shape for shape in tree.iter(f"{_P}sp") if _placeholder(shape) in _TITLES][:1]
                for title in titles:
                    if text := " ".join(_texts(title)):
                        self.blocks.append(Block("heading", text, 2, page))
                self._add_shapes(tree, titles)
                self._add_remarks()
        except UnreadableError as error:
            self.failures.append(Failure(f"slide {page}", str(error)))
        self.blocks = [*found, *self.blocks]

    def _add_shapes(self, holder: Any, passed: list[Any]) -> None:
        for shape in holder.iterchildren("{*}*"):
            if shape in passed or _placeholder(shape) in _FURNITURE:
                continue
            if shape.tag == f"{_P}sp":
                self._add_text(shape)
            elif shape.tag == f"{_P}graphicFrame":
                self._add_graphic(shape)
            elif shape.tag == f"{_MC}AlternateContent":
                # the first choice of today's programs; the fallback is a picture of it
                self._add_shapes(next(shape.iterchildren(f"{_MC}Choice", f"{_MC}Fallback"), shape), passed)
            elif shape.tag == f"{_P}grpSp":
                self._add_shapes(shape, passed)
            if shape.tag in _DRAWN and (text := alternative_text(shape)):
                self.blocks.append(Block("text", text, 0, self._page))

    def _add_text(self, shape: Any) -> None:
        bulleted = _placeholder(shape) in _BULLETED
        found = [(_text(each), each) for each in shape.iter(f"{_A}p")]
        found = [(text, paragraph) for text, paragraph in found if text]
        started = len(self.blocks)
        for text, paragraph in found:
            # a single paragraph is no list, whatever its placeholder is
            if not _has_bullet(paragraph, bulleted and len(found) > 1):
                self.blocks.append(Block("text", text, 0, self._page))
            elif len(self.blocks) > started and self.blocks[-1].kind == "list":
                self.blocks[-1] = Block("list", f"{self.blocks[-1].text}\n- {text}", 0, self._page)
            else:
                self.blocks.append(Block("list", f"- {text}", 0, self._page))

    def _add_graphic(self, frame: Any) -> None:
        for table in frame.iter(f"{_A}tbl"):
            rows = [
                [
                    "" if cell.get("hMerge") or cell.get("vMerge") else " ".join(_texts(cell))
                    for cell in row.iter(f"{_A}tc")
                ]
                for row in table.iter(f"{_A}tr")
            ]
            if text := table_text(rows):
                self.blocks.append(Block("table", text, 0, self._page))
        for drawn in frame.iter("{*}chart", "{*}relIds"):
            try:
                with library_errors("pptx"):
                    kind, part = self._related[drawn.get(_ID) or drawn.get(_DATA)]
                    self.blocks += self.drawings.blocks(kind, part, self._page)
            except UnreadableError as error:
                why = f"a chart or diagram cannot be read: {error}"
                self.failures.append(Failure(f"slide {self._page}", why))

    def _add_remarks(self) -> None:
        for kind, part in self._related.values():
            if kind == "notesSlide":
                for shape in self._parts.root(part).iter(f"{_P}sp"):
                    if _placeholder(shape) == "body":
                        self.blocks += [Block("text", text, 0, self._page) for text in _texts(shape)]
            elif kind == "comments":
                root = self._parts.root(part)
                found = [folded(each.text or "") for each in root.iter(f"{_P}text")] or _texts(root)
                self.blocks += [Block("text", text, 0, self._page) for text in found if text]


def _placeholder(shape: Any) -> str:
    """The type of a placeholder; "" for a shape that is none."""
    found = shape.find(f"*/{_P}nvPr/{_P}ph")
    return "" if found is None else found.get("type", "obj")


def _texts(element: Any) -> list[str]:
    return [text for each in element.iter(f"{_A}p") if (text := _text(each))]


def _text(paragraph: Any) -> str:
    pieces = (
        " " if part.tag == f"{_A}br" else part.text or "" for part in paragraph.iter(f"{_A}t", f"{_M}t", f"{_A}br")
    )
    return folded("".join(pieces))


def _has_bullet(paragraph: Any, otherwise: bool) -> bool:
    properties = paragraph.find(f"{_A}pPr")
    if properties is None:
        return otherwise
    if any(properties.find(bullet) is not None for bullet in _BULLETS):
        return True
    return otherwise and properties.find(f"{_A}buNone") is None
