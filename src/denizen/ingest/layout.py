"""Office and HTML files read with docling, where the extra `docling` is installed; without any of its models."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from denizen.engine.errors import reason
from denizen.ingest import kinds
from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.office_zip import checked_office_file


def layout_is_installed() -> bool:
    """Whether docling can be imported."""
    return importlib.util.find_spec("docling") is not None


def read_layout(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Reads a .docx, .pptx or .html file as one document.

    Not PDF: there docling needs models for headings and tables, and gives bare lines without them.

    Args:
        path: The file; its content says which of the three it is, whatever its name.
        limits: `pages` counts, for slides and pages.

    Raises:
        UnreadableError: When docling is missing, does not know the kind, or cannot read the file.
    """
    if not layout_is_installed():
        raise UnreadableError("needs docling; install denizen[docling]")
    kind = _kind(path)
    with contextlib.nullcontext(path) if kind == "html" else checked_office_file(path, limits, kind) as checked:
        read = _converted(checked, kind, limits)
    blocks = list(_blocks(read.document))
    title = next((block.text for block in blocks if block.kind == "heading" and block.level == 1), "")
    slides = int(read.input.page_count or 0)
    yield Document(blocks, title=title, metadata={"pages": str(slides)} if slides else {})
    for error in read.errors:
        yield Failure(f"page {error.page_no}" if error.page_no else "", error.error_message)
    if slides > limits.pages:
        problem = f"has {slides} pages, the limit is {limits.pages}; the first {limits.pages} were read"
        yield Failure("", problem, limit=True)


def _kind(path: Path) -> str:
    kind = kinds.kind_of(path, path.name)
    if not kind:
        raise UnreadableError(kinds.why_not(path, path.name))
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    # what is wrong with a zip that is neither, its check says
    return kind if kind in ("docx", "pptx") else "docx" if is_zip else "html"


def _converted(path: Path, kind: str, limits: Limits) -> Any:
    from docling.datamodel.base_models import ConversionStatus, DocumentStream, InputFormat
    from docling.document_converter import DocumentConverter

    # by default docling fetches no link, loads no plug-in and has no model for these
    converter = DocumentConverter(allowed_formats=[InputFormat.DOCX, InputFormat.PPTX, InputFormat.HTML])
    try:
        # docling goes by the name, and a file's own may end otherwise
        source = DocumentStream(name=f"document.{kind}", stream=io.BytesIO(path.read_bytes()))
        read = converter.convert(source, raises_on_error=False, page_range=(1, max(1, limits.pages)))
    except Exception as error:  # noqa: BLE001  (the libraries below docling fail in ways of their own)
        raise UnreadableError(f"cannot be read by docling: {reason(error)}") from None
    if read.status not in (ConversionStatus.SUCCESS, ConversionStatus.PARTIAL_SUCCESS):
        why = "; ".join(error.error_message for error in read.errors) or read.status.value
        raise UnreadableError(f"cannot be read by docling: {why}")
    return read


def _blocks(document: Any) -> Iterator[Block]:
    """The blocks of docling's document, the items of one list in one block."""
    items: list[str] = []
    page = 0
    for block in _single_blocks(document):
        if block.kind == "list":
            page = page if items else block.page
            items.append(block.text)
            continue
        if items:
            yield Block("list", "\n".join(items), page=page)
            items = []
        yield block
    if items:
        yield Block("list", "\n".join(items), page=page)


def _single_blocks(document: Any) -> Iterator[Block]:
    from docling_core.types.doc.document import InlineGroup, TableItem

    told: set[str] = set()
    for item, _ in document.iterate_items(with_groups=True):
        if item.parent and item.parent.cref in told:
            told.add(item.self_ref)
            continue
        # a table has its cells' text, and words of one paragraph in different type are items of their own
        if isinstance(item, TableItem):
            told.add(item.self_ref)
            block = _block(item, _rows(item.data.grid))
        elif isinstance(item, InlineGroup):
            told.add(item.self_ref)
            parts = [child.resolve(document) for child in item.children]
            text = " ".join(getattr(part, "text", "") for part in parts)
            parent = item.parent.resolve(document) if item.parent else item
            # of an item or heading in several types only the parts have text
            block = _block(parent if getattr(parent, "text", None) == "" else item, re.sub(r" (?=[,.;:!?)])", "", text))
        else:
            block = _block(item, getattr(item, "text", ""))
        if block.text:
            yield block


def _block(item: Any, text: str) -> Block:
    from docling_core.types.doc.document import CodeItem, ListItem, SectionHeaderItem, TableItem, TitleItem

    page = item.prov[0].page_no if getattr(item, "prov", None) else 0
    folded = " ".join(text.split())
    if isinstance(item, TitleItem):
        return Block("heading", folded, 1, page)
    if isinstance(item, SectionHeaderItem):
        return Block("heading", folded, min(item.level + 1, 6), page)
    if isinstance(item, ListItem):
        return Block("list", f"- {folded}" if folded else "", page=page)
    if isinstance(item, TableItem):
        return Block("table", text, page=page)
    return Block("text", text.strip("\n") if isinstance(item, CodeItem) else folded, page=page)


def _rows(grid: list[list[Any]]) -> str:
    rows = []
    for row in grid:
        # docling repeats a cell in each column that it spans
        cells = [" ".join(cell.text.split()) if cell.start_col_offset_idx == at else "" for at, cell in enumerate(row)]
        if any(cells):
            rows.append(" | ".join(cells))
    return "\n".join(rows)
