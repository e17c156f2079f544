"""Cutting documents into passages: at headings, between blocks, at sentence ends, tables between rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from denizen.ingest.document import Block, Document

# a passage shorter than this part of the longest goes on behind the next heading
_SHORT = 0.25
# headings above a passage that it carries, and the longest of them, in characters
_HEADINGS = 3
_LONGEST_HEADING = 120
# the splitter's time grows faster than its text
_WINDOW = 20_000
BETWEEN_BLOCKS = "\n\n"


@dataclass(frozen=True)
class Passage:
    """A passage of a document.

    Attributes:
        title: The document's title and the headings above the passage, from the outermost, with " > " between.
        text: Its text.
        start: Where it begins in the document's text, in characters.
        end: Where it ends.
        page: The page that it begins on; 0 where there are none.
    """

    title: str
    text: str
    start: int
    end: int
    page: int


@dataclass(frozen=True)
class Cutter:
    """How long a passage may be, and what cuts a text that is longer.

    Attributes:
        capacity: The longest passage.
        length: The length of a text, in the unit of the capacity.
        splitter: A `semantic_text_splitter.TextSplitter` of that capacity.
    """

    capacity: int
    length: Callable[[str], int]
    splitter: Any


def character_cutter(characters: int) -> Cutter:
    """Passages of at most so many characters."""
    from semantic_text_splitter import TextSplitter

    return Cutter(characters, len, TextSplitter(characters))


def token_cutter(tokens: int, tokenizer: Any) -> Cutter:
    """Passages of at most so many tokens.

    Args:
        tokens: The longest passage, without the marks that a model puts round a text.
        tokenizer: A `tokenizers.Tokenizer`.
    """
    from semantic_text_splitter import TextSplitter

    tokenizer.no_truncation()
    tokenizer.no_padding()
    splitter = TextSplitter.from_huggingface_tokenizer(tokenizer, tokens)
    return Cutter(tokens, lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids), splitter)


def document_text(blocks: Sequence[Block]) -> str:
    """The text of a document, to which the offsets of its passages refer: its blocks with a blank line between."""
    return BETWEEN_BLOCKS.join(block.text for block in blocks)


def cut(document: Document, cutter: Cutter) -> list[Passage]:
    """Cuts a document into passages.

    Blocks go together as long as they fit. A heading begins a new passage unless the one before is short; it is then
    part of the title and not of the text. What does not fit is cut at sentence ends, a table between its rows.
    """
    packing = _Packing(document, cutter)
    for piece in _pieces(document.blocks, cutter):
        packing.add(piece)
    packing.close()
    return packing.passages


@dataclass(frozen=True)
class _Piece:
    """A block, or what was cut out of one."""

    kind: str
    text: str
    start: int
    length: int
    level: int
    page: int


class _Packing:
    """Puts pieces together to passages."""

    def __init__(self, document: Document, cutter: Cutter) -> None:
        self.document = document
        self.capacity = cutter.capacity
        self.whole = document_text(document.blocks)
        self.passages: list[Passage] = []
        self.above: list[tuple[int, str]] = []
        self.open: list[_Piece] = []
        self.title = ""
        # headings that nothing follows yet
        self.waiting: list[_Piece] = []

    def add(self, piece: _Piece) -> None:
        if piece.kind == "heading":
            self.waiting.append(piece)
            return
        ends = bool(self.waiting) and _length(self.open) >= _SHORT * self.capacity
        if self.open and (ends or _length([*self.open, *self.waiting, piece]) > self.capacity):
            self._publish()
        if self.open:
            self.open += self.waiting
        self._go_below(self.waiting)
        self.waiting = []
        if not self.open:
            self.title = self._title()
        self.open.append(piece)

    def close(self) -> None:
        """Publishes what is open; headings that nothing follows belong to it, or stand alone."""
        for heading in self.waiting:
            if self.open and _length([*self.open, heading]) > self.capacity:
                self._publish()
            if not self.open:
                self.title = self._title()
            self.open.append(heading)
        self._publish()

    def _go_below(self, headings: Sequence[_Piece]) -> None:
        for heading in headings:
            self.above = [(level, text) for level, text in self.above if level < heading.level]
            self.above.append((heading.level, _shortened(heading.text)))

    def _title(self) -> str:
        headings = [text for _, text in self.above[-_HEADINGS:]]
        named = _shortened(self.document.title)
        return " > ".join(dict.fromkeys(text for text in (named, *headings) if text))

    def _publish(self) -> None:
        if self.open:
            start, end = self.open[0].start, self.open[-1].start + len(self.open[-1].text)
            self.passages.append(Passage(self.title, self.whole[start:end], start, end, self.open[0].page))
        self.open = []


def _length(pieces: Sequence[_Piece]) -> int:
    return sum(piece.length for piece in pieces) + len(BETWEEN_BLOCKS) * (len(pieces) - 1)


def _pieces(blocks: Sequence[Block], cutter: Cutter) -> Iterator[_Piece]:
    at = 0
    for block in blocks:
        length = cutter.length(block.text)
        if length <= cutter.capacity:
            yield _Piece(block.kind, block.text, at, length, block.level, block.page)
        else:
            parts = _rows(block.text, cutter) if block.kind == "table" else _sentences(block.text, cutter)
            # a heading of this length is none
            kind = "text" if block.kind == "heading" else block.kind
            for start, text in parts:
                yield _Piece(kind, text, at + start, cutter.length(text), 0, block.page)
        at += len(block.text) + len(BETWEEN_BLOCKS)


def _rows(text: str, cutter: Cutter) -> Iterator[tuple[int, str]]:
    """Parts of a table that hold whole rows, as long as a row fits."""
    at, start, length = 0, 0, 0
    for line in text.splitlines(keepends=True):
        own = cutter.length(line)
        if length and length + own > cutter.capacity:
            yield start, text[start:at].rstrip("\n")
            start, length = at, 0
        if own > cutter.capacity:
            yield from ((at + inside, part) for inside, part in _sentences(line.rstrip("\n"), cutter))
            start, length = at + len(line), 0
        else:
            length += own
        at += len(line)
    if text[start:at].strip():
        yield start, text[start:at].rstrip("\n")


def _sentences(text: str, cutter: Cutter) -> Iterator[tuple[int, str]]:
    start = 0
    while start < len(text):
        end = min(len(text), start + _WINDOW)
        if end < len(text):
            # behind a space, since a word in two halves is none
            end = text.rfind(" ", start + 1, end) + 1 or end
        for inside, part in cutter.splitter.chunk_indices(text[start:end]):
            yield start + inside, part
        start = end


def _shortened(heading: str) -> str:
    return heading if len(heading) <= _LONGEST_HEADING else heading[: _LONGEST_HEADING - 1].rstrip() + "…"
