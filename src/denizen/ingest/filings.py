"""SEC filings: full submissions as EDGAR sends them out (a header and all documents in one text file), and the HTML
page of a single filing.

A document's domain is its form type, that of an exhibit its exhibit type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import BinaryIO

from denizen.ingest.document import Block, Document, Failure, Limits, Member, UnreadableError
from denizen.ingest.filing_facts import cover_facts, cover_form, header_facts, stated_facts, words
from denizen.ingest.filing_items import with_item_headings, without_page_lines

# the 14 filing types of arXiv 2512.08088, section on the corpus (SEC EDGAR, January to July 2024)
PAPER_FORMS = (
    "10-K",
    "10-Q",
    "6-K",
    "8-K",
    "424B2",
    "424B3",
    "424B4",
    "485BPOS",
    "497K",
    "DEF 14A",
    "S-8",
    "SC 13D/A",
    "SC 13G",
    "SC 13G/A",
)
# times its size is what a page takes as text, as a tree and as blocks; measured are 11
_TREE_SIZE = 12
_LINE = 1 << 20
_HEADER_LINES = 20_000

_STARTS = (
    b"<SEC-DOCUMENT>",
    b"<IMS-DOCUMENT>",
    b"-----BEGIN PRIVACY-ENHANCED MESSAGE",
    b"<SUBMISSION>",
    b"<SEC-HEADER>",
)
_SGML_START = re.compile(rb"<DOCUMENT>\s*<TYPE>")
_INLINE_XBRL = re.compile(rb"<html[^<>]*\sxmlns:ix\s*=|<ix:header|\sname\s*=\s*[\"']dei:", re.IGNORECASE)
_MARKUP = re.compile(r"<[^<>]*>|&nbsp;|&#160;|&#xa0;", re.IGNORECASE)
_TAG = re.compile(rb"<(/?[A-Za-z]+)>[ \t]*")
_FACTS = {b"TYPE": "type", b"SEQUENCE": "sequence", b"FILENAME": "filename", b"DESCRIPTION": "description"}
_TEXT_SUFFIXES = {"", ".htm", ".html", ".txt"}
_OTHER_TYPES = {"GRAPHIC", "ZIP", "EXCEL", "XML", "JSON", "PDF"}
_XBRL_TYPE = re.compile(r"EX-10[0-4]\.(?:INS|SCH|CAL|DEF|LAB|PRE)", re.IGNORECASE)
_NO_TEXT = re.compile(rb"\s*(?:<PDF>|<XML>|<JSON>|<EXCEL>|<ZIP>|<GRAPHIC>|begin [0-7]{3} )", re.IGNORECASE)
_WRAPPER = re.compile(rb"\A\s*<XBRL>|</XBRL>\s*\Z", re.IGNORECASE)
_HTML = re.compile(rb"<(?:html|!doctype html|head|body|div|font|p|br|center)[\s>/]", re.IGNORECASE)
_TABLE = re.compile(r"<TABLE>(.*?)(?:</TABLE>|\Z)", re.IGNORECASE | re.DOTALL)
_LAYOUT_TAG = re.compile(r"</?(?:PAGE|TABLE|CAPTION|S|C|FN|F\d+|R)>", re.IGNORECASE)
_RULE = re.compile(r"[\s=_.*|-]*")


@dataclass
class _Part:
    """One <DOCUMENT> of a submission, filled line by line."""

    facts: dict[str, str] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    size: int = 0
    in_text: bool = False
    text_seen: bool = False
    wanted: bool = True
    closed: bool = False

    def take(self, tag: bytes, line: bytes, rest: bytes, most: int) -> None:
        """Takes the next line; `tag` is the one that it begins with, and `rest` what follows that."""
        if self.in_text:
            if tag == b"/TEXT":
                self.in_text, self.closed = False, b"</DOCUMENT>" in rest.upper()
            else:
                self._add(line, most)
        elif tag == b"TEXT":
            self.in_text = self.text_seen = True
            self.wanted = self._is_readable()
            self._add(rest, most)
        elif tag in _FACTS:
            self.facts[_FACTS[tag]] = words(rest)

    def _add(self, line: bytes, most: int) -> None:
        if not self.wanted or (self.size == 0 and not line.strip()):
            return
        first, self.size = self.size == 0, self.size + len(line)
        if first and _NO_TEXT.match(line):
            self.wanted = False
        elif self.size <= most:
            self.lines.append(line)
        else:
            self.lines.clear()

    def _is_readable(self) -> bool:
        kind = self.facts.get("type", "").upper()
        suffix = Path(self.facts.get("filename", "")).suffix.lower()
        return suffix in _TEXT_SUFFIXES and kind not in _OTHER_TYPES and not _XBRL_TYPE.fullmatch(kind)


def is_submission(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a full submission of EDGAR."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:100].upper()
    return start.startswith(_STARTS) or _SGML_START.match(start) is not None


def is_filing_page(head: bytes) -> bool:
    """Whether an HTML page that begins with these bytes (50 kB tell most) is a filing: inline XBRL or a cover page."""
    if _INLINE_XBRL.search(head):
        return True
    # a hard space of another encoding comes out as the replacement character
    text = _MARKUP.sub(" ", head.decode("utf-8", "replace").replace("\ufffd", " "))
    return bool(cover_form(" ".join(text.split())))


def read_submission(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """Reads a full submission document by document; what is neither HTML nor plain text is passed over.

    Args:
        path: The file.
        limits: How many documents, and of what size, are read.

    Yields:
        A document for each <DOCUMENT>, with form, company, cik, period, filed and accession of the submission.
    """
    most = limits.memory_mb * 2**20 // _TREE_SIZE
    names: set[str] = set()
    with path.open("rb") as file:
        header = header_facts(_header_lines(file))
        for number, part in enumerate(_parts(file, most)):
            if number == limits.members:
                problem = f"has more than {limits.members:,} documents, the limit; those after it are not read"
                yield Failure("", problem, limit=True)
                break
            if part.wanted:
                name = _name(part, names)
                names.add(name)
                yield from _read_part(part, name, header, most)
            if not part.closed:
                yield Failure("", "ends within a document that is not closed; it is cut off, download it again")
    if not names:
        yield Failure("", "has no document in HTML or plain text; forms in XML alone are not read")


def read_filing_page(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """Reads the HTML page of a single filing; its facts come from inline XBRL, or else from its cover page.

    Args:
        path: The file.
        limits: Of what size it may be.

    Yields:
        One document.

    Raises:
        UnreadableError: When the page is larger than memory allows.
    """
    from denizen.ingest.html import html_blocks, parsed_html

    size, most = path.stat().st_size, limits.memory_mb * 2**20 // _TREE_SIZE
    if size > most:
        raise UnreadableError(_too_large(size, most), limit=True)
    root = parsed_html(path.read_bytes())
    stated = stated_facts(root)
    blocks = html_blocks(root)
    facts = {**cover_facts(blocks), **stated}
    facts["type"] = facts.get("form", "")
    known = {name: value for name, value in facts.items() if value}
    yield Document(_tidied(blocks, facts["type"]), title=_title(known), domain=facts["type"], metadata=known)


def _header_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines before the first document; the line that this begins with is read, too."""
    for _ in range(_HEADER_LINES):
        line = file.readline(_LINE)
        tag = _TAG.match(line)
        if not line or (tag is not None and tag[1].upper() == b"DOCUMENT"):
            return
        yield line


def _parts(file: BinaryIO, most: int) -> Iterator[_Part]:
    """The documents one after another, from within the first one on; only one is held in memory."""
    part = _Part()
    starts = True
    while line := file.readline(_LINE):
        match = _TAG.match(line[:100]) if starts and line.startswith(b"<") else None
        tag = match[1].upper() if match else b""
        if tag in (b"DOCUMENT", b"/DOCUMENT"):
            part.closed = True
            if part.facts or part.text_seen:
                yield part
            part = _Part()
        else:
            part.take(tag, line, line[match.end() :] if match else line, most)
        starts = line.endswith(b"\n")
    if part.facts or part.text_seen:
        yield part


def _read_part(part: _Part, name: str, header: Mapping[str, str], most: int) -> Iterator[Document | Failure]:
    if part.size > most:
        yield Failure(name, _too_large(part.size, most), limit=True)
        return
    kind = part.facts.get("type", "").upper() or header.get("form", "")
    body = _WRAPPER.sub(b"", b"".join(part.lines))
    part.lines.clear()
    try:
        blocks = _tidied(_body_blocks(body, part.facts.get("filename", "")), kind)
    except (UnreadableError, ValueError, LookupError, RecursionError) as error:
        limit = isinstance(error, UnreadableError) and error.limit
        yield Failure(name, str(error) or type(error).__name__, body[:200].decode("latin-1"), limit)
        return
    metadata = {**header, "type": kind, "description": part.facts.get("description", "")}
    metadata = {key: value for key, value in metadata.items() if value}
    yield Document(blocks, name=name, title=_title(metadata), domain=kind, metadata=metadata)


def _too_large(size: int, most: int) -> str:
    limit = f"{most / 2**20:,.0f} MB, 1/{_TREE_SIZE} of --memory-mb"
    return f"has {size / 2**20:,.0f} MB; the limit is {limit}"


def _body_blocks(body: bytes, filename: str) -> list[Block]:
    from denizen.ingest.html import html_blocks, parsed_html

    if not body.strip():
        return []
    if Path(filename).suffix.lower() in (".htm", ".html") or _HTML.search(body[:4_000]):
        return html_blocks(parsed_html(body))
    return _plain_blocks(body)


def _plain_blocks(body: bytes) -> list[Block]:
    """Paragraphs and tables of a plain text document, whose tables are set in columns between <TABLE> tags."""
    from denizen.ingest.text import decoded, text_blocks

    blocks: list[Block] = []
    for at, piece in enumerate(_TABLE.split(decoded(body))):
        if at % 2 == 0:
            blocks += text_blocks(_LAYOUT_TAG.sub("\n", piece))
            continue
        lines = (_LAYOUT_TAG.sub(" ", line) for line in piece.splitlines())
        rows = [re.sub(r"\s{2,}", " | ", line.strip()) for line in lines if not _RULE.fullmatch(line)]
        if rows:
            blocks.append(Block("table", "\n".join(rows)))
    return blocks


def _tidied(blocks: Sequence[Block], kind: str) -> list[Block]:
    tidied = without_page_lines(blocks)
    return tidied if kind.startswith("EX-") else with_item_headings(tidied)


def _name(part: _Part, taken: set[str]) -> str:
    facts = part.facts
    name = facts.get("filename") or "-".join(filter(None, (facts.get("type", "document"), facts.get("sequence"))))
    if name not in taken:
        return name
    return next(other for number in count(len(taken) + 1) if (other := f"{name}-{number}") not in taken)


def _title(facts: Mapping[str, str]) -> str:
    return " ".join(facts[name] for name in ("company", "type", "period") if facts.get(name))
