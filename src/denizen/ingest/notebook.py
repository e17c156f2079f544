"""Notebooks (.ipynb) of all versions, cell by cell: a page for each, with its text or code and what it printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from denizen.ingest.document import Block, Document, Failure, LeftOut, Limits, UnreadableError
from denizen.ingest.html import html_blocks, parsed_html
from denizen.ingest.markdown import markdown_blocks
from denizen.ingest.text import decoded
from denizen.ingest.unfolded import unfold

# what is shown of an output that is kept in several forms, the best first; versions 1 to 3 name them by one word
_FORMS = ("text/markdown", "text/html", "text/latex", "text/plain", "application/json")
_OLD_FORMS = {"html": "text/html", "latex": "text/latex", "text": "text/plain", "json": "application/json"}
_PICTURES = ("png", "jpeg", "jpg", "svg", "gif", "pdf")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# what is printed in place of a drawing or an object: <Figure size 640x480 with 1 Axes>
_PLACEHOLDER = re.compile(r"(?:\s*\[?<[\w.]+[^<>]*>[\s,\]]*)+")
_PROGRAM = "is data of a program that draws, not text"
_TRACEBACK = "is the trace of an error"
_DEEPEST_HEADING = 6


def read_notebook(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Reads a notebook as one document, whose pages are its cells.

    Of an output in several forms the best is read. Pictures, in outputs and as attachments, are their alternative
    text; how many there are is in the metadata as `pictures`. The traces of errors and what widgets keep are left out.

    Args:
        path: A .ipynb file, of any version.
        limits: Of it counts `pages` (cells).

    Yields:
        One document, and a failure for each cell that is none, and where there are more cells than the limit.

    Raises:
        UnreadableError: When it is no JSON, or no notebook.
    """
    try:
        book = json.loads(decoded(path.read_bytes()))
    except json.JSONDecodeError as error:
        raise UnreadableError(f"broken JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):
        raise UnreadableError("is nested too deeply, or holds a number of too many digits") from None
    cells = _cells(book)
    reading = _Notebook()
    for number, cell in enumerate(cells[: limits.pages], start=1):
        reading.add(cell, number)
    if len(cells) > limits.pages:
        why = f"has {len(cells)} cells, the limit is {limits.pages}; the first {limits.pages} were read"
        reading.failures.append(Failure("", why, limit=True))
    metadata = book.get("metadata")
    stated = metadata.get("title") or metadata.get("name") if isinstance(metadata, dict) else ""
    headings = [block.text for block in reading.blocks if block.kind == "heading" and block.level == 1]
    title = stated if isinstance(stated, str) and stated else next(iter(headings), "")
    facts = {"pictures": str(reading.pictures)} if reading.pictures else {}
    yield Document(reading.blocks, title=title, metadata=facts, left_out=reading.left_out)
    yield from reading.failures


def _cells(book: Any) -> list[Any]:
    if isinstance(book, dict):
        sheets = book.get("worksheets")
        found = [book.get("cells")]
        if isinstance(sheets, list):
            found += [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
        lists = [cells for cells in found if isinstance(cells, list)]
        if lists:
            return [cell for cells in lists for cell in cells]
    raise UnreadableError("is no notebook: it has no cells")


class _Notebook:
    """The blocks of cells, one cell after another."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.left_out: list[LeftOut] = []
        self.failures: list[Failure] = []
        self.pictures = 0
        self._page = 0

    def add(self, cell: Any, page: int) -> None:
        self._page = page
        kind = cell.get("cell_type") if isinstance(cell, dict) else None
        source = _text(cell.get("source", cell.get("input"))) if isinstance(cell, dict) else ""
        if kind == "markdown":
            attached = cell.get("attachments")
            self.pictures += len(attached) if isinstance(attached, dict) else 0
            self._add_markdown(source)
        elif kind == "html":
            self._add_page(source)
        elif kind == "heading":
            level = cell.get("level")
            self._add(source, "heading", min(max(level, 1), _DEEPEST_HEADING) if isinstance(level, int) else 1)
        elif kind in ("code", "raw", "plaintext"):
            self._add(source)
            outputs = cell.get("outputs")
            for output in outputs if isinstance(outputs, list) else ():
                self._add_output(output)
        else:
            self._add(source)
            why = f"is of no kind that is known ({kind}){'; its text is kept' if source.strip() else ''}"
            self.failures.append(Failure(f"cell {page}", why))

    def _add_output(self, output: Any) -> None:
        if not isinstance(output, dict):
            return
        if output.get("output_type") in ("error", "pyerr"):
            self._add(f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}".strip(": "))
            trace = _COLOURS.sub("", _text(output.get("traceback"), between="\n")).strip()
            self.left_out += [LeftOut(trace, _TRACEBACK)] if trace else []
            return
        data = output.get("data")
        if output.get("output_type") == "stream" or not isinstance(data, dict):
            named = {form: output[name] for name, form in _OLD_FORMS.items() if name in output}
            data = {**named, **{f"image/{name}": output[name] for name in _PICTURES if name in output}}
        pictures = sum(form.startswith("image/") or form == "application/pdf" for form in data)
        self.pictures += pictures
        before = len(self.blocks)
        for form in _FORMS:
            # what stands for a drawing says nothing; a page may hold nothing but programs and styles
            is_drawing = form == "text/plain" and _PLACEHOLDER.fullmatch(_text(data.get(form)))
            if form in data and len(self.blocks) == before and not is_drawing:
                self._add_shown(form, data[form])
        if data and not pictures and len(self.blocks) == before:
            self.left_out.append(LeftOut(", ".join(sorted(data)), _PROGRAM))

    def _add_shown(self, form: str, content: Any) -> None:
        if form == "text/markdown":
            self._add_markdown(_text(content))
        elif form == "text/html":
            self._add_page(_text(content))
        elif form == "application/json" and not isinstance(content, str):
            self._add(json.dumps(content, ensure_ascii=False, indent=1))
        else:
            self._add(_COLOURS.sub("", _text(content)))

    def _add_page(self, text: str) -> None:
        root = parsed_html(text)
        self.left_out += unfold(root)
        self._add_blocks(html_blocks(root))

    def _add_markdown(self, text: str) -> None:
        found = markdown_blocks(text)
        if found is None:
            self._add(text)
        else:
            self._add_blocks(found)

    def _add_blocks(self, blocks: list[Block]) -> None:
        self.blocks += [Block(block.kind, block.text, block.level, self._page) for block in blocks]

    def _add(self, text: str, kind: Any = "text", level: int = 0) -> None:
        if text.strip():
            self.blocks.append(Block(kind, text.strip("\n"), level, self._page))


def _text(value: Any, between: str = "") -> str:
    """Text that may be kept as a list of lines."""
    if isinstance(value, list):
        return between.join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""
