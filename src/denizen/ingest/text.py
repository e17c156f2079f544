"""Plain text and Markdown as blocks, and what other readers use, too: the cutting of texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from denizen.data import decoding
from denizen.ingest.document import Block, Document, Failure, Limits, Member, UnreadableError

_GAP = re.compile(r" *\t[ \t]*| {2,}")
_RULE = re.compile(r"(?=.{3})[-=_*~#+^`|:\s]+")
_UNDERLINE = re.compile(r"([-=~^\"'*#+`_.:])\1{2,}")
_BULLET = re.compile(r"\s*(?:[-*+]|[•‣◦▪●·–])\s+(?=\S)")
_NUMBER = re.compile(r"\s*\(?(?:\d{1,3}[.)]|[a-zA-Z]\)|[ivx]{1,4}\))\s+(?=\S)")
_LONG_LINE = 200  # characters; nobody wraps lines wider than this
_LOG_LINES = 100  # of a block, so that a log without blank lines is not one block
_MARKDOWN_SPEED = 100_000  # characters a second that markdown-it reads at least
# backwards from a cut: what is left of a word, and the groups of a number (an IBAN has up to 9) before it; letters of
# Chinese, Japanese and Korean are words of their own
_CUT_OFF = re.compile(r"[^\s\u2e80-\U0003ffff]*(?:\s+[0-9()+./-]+(?=\s|\Z)){0,8}")


def decoded(data: bytes, *declared: str) -> str:
    """The text that bytes hold, the ends of its lines as line feeds; see `denizen.data.decoding`.

    Raises:
        UnreadableError: When it is not text.
    """
    try:
        return decoding.decoded(data, *declared)
    except decoding.NotTextError as error:
        raise UnreadableError(str(error)) from None


def shortened(text: str, longest: int) -> str:
    """The beginning of a text, up to a number of characters, without the word or number that would be cut through.

    Half an address or half a number would not be told for what it is when personal data is looked for. Of a single
    word that is too long, nothing is left.
    """
    if len(text) <= longest:
        return text
    cut = _CUT_OFF.match(text[longest::-1])
    return text[: min(longest, longest + 1 - (cut.end() if cut else 0))].rstrip()


def read_text(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """The one document of a plain text file (.txt, .log, .rst); the lines of a .log file are not joined.

    Raises:
        UnreadableError: When it is not text.
    """
    text = decoded(path.read_bytes())
    yield Document(_log_blocks(text) if path.suffix.lower() == ".log" else text_blocks(text))


def text_blocks(text: str) -> list[Block]:
    """The blocks of plain text: blank lines part them, form feeds part pages, lines of a paragraph are joined.

    Lists, tables set in columns and underlined headings are found by their looks.
    """
    pages = text.rstrip().split("\f")
    styles: list[str] = []
    blocks: list[Block] = []
    for number, content in enumerate(pages, start=1):
        page = number if len(pages) > 1 else 0
        for lines in _groups(content):
            for block in _blocks(lines, page, styles):
                last = blocks[-1] if blocks else None
                # the items of a list may have blank lines between them
                if last and block.kind == last.kind == "list" and block.page == last.page:
                    blocks[-1] = Block("list", f"{last.text}\n{block.text}", page=page)
                else:
                    blocks.append(block)
    return blocks


def _groups(text: str) -> Iterator[list[str]]:
    """The runs of lines that are not blank."""
    for filled, group in groupby(text.split("\n"), key=lambda line: bool(line.strip())):
        if filled:
            yield list(group)


def _log_blocks(text: str) -> list[Block]:
    lines = [[line.strip() for line in group] for group in _groups(text)]
    cuts = [group[at : at + _LOG_LINES] for group in lines for at in range(0, len(group), _LOG_LINES)]
    return [Block("text", "\n".join(cut)) for cut in cuts]


def _blocks(lines: list[str], page: int, styles: list[str]) -> Iterator[Block]:
    """The blocks of lines that follow each other without a blank line."""
    table = _table(lines)
    if table:
        yield Block("table", table, page=page)
        return
    title, style, used = _underlined(lines)
    if title:
        if style not in styles:
            styles.append(style)
        yield Block("heading", title, level=min(6, styles.index(style) + 1), page=page)
        lines = lines[used:]
    lines = [line for line in lines if not _RULE.fullmatch(line.strip())]
    start = _list_start(lines)
    if any(len(line) > _LONG_LINE for line in lines[:start]):
        yield from (Block("text", _folded(line), page=page) for line in lines[:start])
    elif start:
        yield Block("text", _folded(" ".join(lines[:start])), page=page)
    if start < len(lines):
        yield Block("list", _list(lines[start:]), page=page)


def _folded(text: str) -> str:
    return " ".join(text.split())


def _underlined(lines: list[str]) -> tuple[str, str, int]:
    """The title that the lines begin with, what marks it, and how many lines that takes; ("", "", 0) without one.

    As in reStructuredText, where the order of first use gives the level.
    """
    rules = [_UNDERLINE.fullmatch(line.strip()) for line in lines[:3]]
    over = len(rules) == 3 and rules[0] and not rules[1] and rules[2]
    if over and rules[0] and rules[2] and rules[0][1] == rules[2][1]:
        return _folded(lines[1]), rules[2][1] * 2, 3
    under = rules[1] if len(rules) > 1 and not rules[0] else None
    if under and len(under[0]) >= len(lines[0].strip()):
        return _folded(lines[0]), under[1], 2
    return "", "", 0


def _list_start(lines: list[str]) -> int:
    """The line that a list begins with; the number of lines when there is none."""
    for marker, at_least in ((_BULLET, 1), (_NUMBER, 2)):
        marked = [at for at, line in enumerate(lines) if marker.match(line)]
        # a line of prose may happen to be wrapped before a dash
        if marked and len(marked) >= (at_least if marked[0] == 0 else 2):
            return marked[0]
    return len(lines)


def _list(lines: list[str]) -> str:
    items: list[str] = []
    for line in lines:
        bullet = _BULLET.match(line)
        if bullet or _NUMBER.match(line):
            items.append(f"- {_folded(line[bullet.end() :] if bullet else line)}")
        else:
            items[-1] += f" {_folded(line)}"
    return "\n".join(items)


def _table(lines: list[str]) -> str:
    """The rows of lines set in columns; "" when they are not."""
    rows = [line.rstrip() for line in lines if not _RULE.fullmatch(line.strip())]
    most = 2 * len(rows) / 3
    if len(lines) < 3 or len(rows) < 2 or any(len(row) > 2 * _LONG_LINE for row in rows):
        return ""
    if sum("|" in row for row in rows) >= most:
        cells = [[_folded(cell) for cell in row.strip().strip("|").split("|")] for row in rows]
    elif sum("\t" in row.strip() for row in rows) >= most or _aligned(rows, most):
        cells = [_GAP.split(row.strip()) for row in rows]
        width = Counter(map(len, cells)).most_common(1)[0][0]
        indent = min(len(row) - len(row.lstrip()) for row in rows)
        for at, row in enumerate(rows):
            # the corner above the row labels is empty
            if len(cells[at]) == width - 1 and _GAP.match(row[indent:]):
                cells[at].insert(0, "")
    else:
        return ""
    return "\n".join(" | ".join(row) for row in cells)


def _aligned(rows: list[str], most: float) -> bool:
    """Whether rows have gaps at the same place.

    Those of justified text and after full stops are narrow, and meet by chance: without wide gaps all rows must agree.
    """
    places: Counter[int] = Counter()
    gaps: list[list[int]] = []
    for row in rows:
        spread = row.expandtabs()
        indent = len(spread) - len(spread.lstrip())
        found = [(indent + gap.start(), indent + gap.end()) for gap in re.finditer(r" {2,}", spread[indent:])]
        gaps.append([end - start for start, end in found])
        places.update(at for start, end in found for at in range(start, end))
    shared = max(places.values(), default=0)
    wide = sum(max(row, default=0) > 2 for row in gaps)
    return shared >= most if 3 * wide >= len(rows) else shared == len(rows) and len(set(map(len, gaps))) == 1


def read_markdown(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """The one document of a Markdown file (CommonMark with pipe tables), its front matter as metadata.

    What is too long for the parser to be done in time, or nested too deeply, is read as plain text.

    Raises:
        UnreadableError: When it is not text.
    """
    from denizen.ingest.markdown import front_matter, markdown_blocks

    metadata, text = front_matter(decoded(path.read_bytes()))
    title = metadata.pop("title", "")
    blocks = markdown_blocks(text) if len(text) <= limits.seconds * _MARKDOWN_SPEED else None
    yield Document(text_blocks(text) if blocks is None else blocks, title=title, metadata=metadata)
