"""Presentations (.pptx) as one document: a page for each slide, with its title, text, tables and notes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.office_zip import check_office_file, core_properties, folded, library_errors, table_text

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_RELATIONSHIPS = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_BULLETS = (f"{_A}buChar", f"{_A}buAutoNum", f"{_A}buBlip")
# the same on every slide
_FURNITURE = ("DATE", "FOOTER", "HEADER", "SLIDE_NUMBER")
# placeholders whose paragraphs have bullets unless they say otherwise
_BULLETED = ("BODY", "OBJECT", "VERTICAL_BODY", "VERTICAL_OBJECT")


def read_pptx(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Reads a presentation.

    A slide's title is a heading of level 2 and comes first, its notes come last; dates, footers and slide numbers are
    left out. Charts and text in pictures are not read.

    Args:
        path: A .pptx file.
        limits: Of it count `pages` (slides), `members` and `unpacked_mb`.

    Yields:
        One document with the metadata `author` and `created`; a failure for each slide that cannot be read, and one
        where there are more slides than the limit.

    Raises:
        UnreadableError: When the file is broken, encrypted, unsafe or of another kind.
    """
    check_office_file(path, limits, "pptx")
    import pptx

    with library_errors("pptx"):
        show = pptx.Presentation(str(path))
        # not `show.slides`, which fails for all slides where one has no part
        listed = show.element.sldIdLst
        links = [] if listed is None else [slide.rId for slide in listed.sldId_lst]
    blocks: list[Block] = []
    failures: list[Failure] = []
    for number, link in enumerate(links[: limits.pages], start=1):
        try:
            with library_errors("pptx"):
                blocks += _slide_blocks(show.part.related_slide(link), number)
        except UnreadableError as error:
            failures.append(Failure(f"slide {number}", str(error)))
    if len(links) > limits.pages:
        failures.append(Failure("", f"has {len(links)} slides; the limit is {limits.pages}, the rest is left out"))
    facts = core_properties(path)
    yield Document(blocks, title=facts.pop("title", ""), metadata=facts)
    yield from failures


def _slide_blocks(slide: Any, page: int) -> list[Block]:
    blocks: list[Block] = []
    title = slide.shapes.title
    if title is not None and (text := folded(title.text_frame.text)):
        blocks.append(Block("heading", text, 2, page))
    for shape in slide.shapes:
        if title is None or shape.shape_id != title.shape_id:
            blocks += _shape_blocks(shape, page)
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None:
        blocks += [Block("text", text, 0, page) for each in notes.paragraphs if (text := folded(each.text))]
    return blocks


def _shape_blocks(shape: Any, page: int) -> list[Block]:
    if hasattr(shape, "shapes"):
        return [block for inner in shape.shapes for block in _shape_blocks(inner, page)]
    kind = shape.placeholder_format.type.name if shape.is_placeholder else ""
    if kind in _FURNITURE:
        return []
    if getattr(shape, "has_table", False):
        rows = [["" if cell.is_spanned else cell.text for cell in row.cells] for row in shape.table.rows]
        text = table_text(rows)
        return [Block("table", text, 0, page)] if text else []
    if shape.has_text_frame:
        return _text_blocks(shape.text_frame.paragraphs, kind in _BULLETED, page)
    return _diagram_blocks(shape, page)


def _text_blocks(paragraphs: Any, bulleted: bool, page: int) -> list[Block]:
    texts = [(folded(paragraph.text), paragraph) for paragraph in paragraphs]
    texts = [(text, paragraph) for text, paragraph in texts if text]
    blocks: list[Block] = []
    for text, paragraph in texts:
        # a single paragraph is no list, whatever its placeholder is
        if not _has_bullet(paragraph, bulleted and len(texts) > 1):
            blocks.append(Block("text", text, 0, page))
        elif blocks and blocks[-1].kind == "list":
            blocks[-1] = Block("list", f"{blocks[-1].text}\n- {text}", 0, page)
        else:
            blocks.append(Block("list", f"- {text}", 0, page))
    return blocks


def _has_bullet(paragraph: Any, otherwise: bool) -> bool:
    properties = paragraph._p.find(f"{_A}pPr")
    if properties is None:
        return otherwise
    if any(properties.find(bullet) is not None for bullet in _BULLETS):
        return True
    return otherwise and properties.find(f"{_A}buNone") is None


def _diagram_blocks(shape: Any, page: int) -> list[Block]:
    """The texts of a diagram (SmartArt), which lie in a part of their own, as a list."""
    from pptx.oxml import parse_xml

    found = shape._element.find(f".//{_DIAGRAM}relIds")
    if found is None:
        return []
    root = parse_xml(shape.part.related_part(found.get(f"{_RELATIONSHIPS}dm")).blob)
    points = ("".join(each.text or "" for each in point.iter(f"{_A}t")) for point in root.iter(f"{_DIAGRAM}t"))
    items = [f"- {folded(point)}" for point in points if point.strip()]
    return [Block("list", "\n".join(items), 0, page)] if items else []
