"""Paragraphs, headings, lists and tables out of the printed lines of pages, by their places and sizes."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from denizen.ingest.document import Block, BlockKind
from denizen.ingest.page_lines import FEWEST_ROWS, Gap, Line, column_order, without_running_lines

# how much larger than the body a heading is printed, and how many characters it has at most
_LARGER = 1.15
_LONGEST_HEADING = 200
# sizes that differ by less are one size
_SAME_SIZE = 0.05
# lines whose sizes differ by more belong to different paragraphs, such as a footnote and the text above it
_OTHER_SIZE = 0.12
# how much farther than usual apart two lines stand when they belong to different paragraphs
_FARTHER = 1.35
# the mean width of a letter and the least indentation, in multiples of the type's size
_LETTER = 0.5
_INDENT = 0.7
# lines before and after that tell how wide the column of a line is
_AROUND = 8

_BULLET = re.compile(r"[•◦▪▫‣⁃∙●○■□◆➢✓\uf0b7\uf0a7\uf0d8\uf0fc](?:\s+|$)")
_DASH = re.compile(r"[-–—*·](?:\s+|$)")
_NUMBERED = re.compile(
    r"\(?(?:\d{1,3}(?:\.\d{1,2}){0,3}|[A-Za-z]|[ivxIVX]{1,5})[.)](?=\s|$)|\d{1,2}(?:\.\d{1,2}){1,3}(?=\s|$)"
)
_MARKS = (_BULLET, _DASH, _NUMBERED)
_ENDED = re.compile(r"[.!?:;…。！？：；][)\]\"'”’»]*$")
_COMPOUND = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)+")
# after a word that ends with a hyphen these begin the second half of a pair: "short- and long-term"
_PAIRING = frozenset(("and", "or", "to", "und", "oder", "bzw", "bis", "sowie", "et", "ou", "y", "o", "e"))


@dataclass
class _Group:
    kind: BlockKind
    page: int
    lines: list[Line]
    last_page: int = 0
    level: int = 0


@dataclass(frozen=True)
class _Print:
    """How a document is printed: the size of its body, the distance of its lines in sizes, its headings' sizes."""

    body: float
    pitch: float
    headings: list[float] = field(default_factory=list)

    def level(self, line: Line) -> int:
        """The level of the heading that a line is, or 0."""
        if line.size < self.body * _LARGER or sum(map(str.isalpha, line.text)) < 2:
            return 0
        above = sum(size > line.size * (1 + _SAME_SIZE) for size in self.headings)
        return min(above + 1, 6)


def page_blocks(pages: Sequence[Sequence[Line]]) -> list[Block]:
    """What the lines of a document's pages say.

    Args:
        pages: The lines of each page, in reading order, running heads and page numbers included.
    """
    ordered = [column_order(lines) for lines in without_running_lines(pages)]
    printed = _print_of(ordered)
    groups: list[_Group] = []
    for number, lines in enumerate(ordered, start=1):
        _group_page(groups, number, lines, printed)
    compounds = _compounds(ordered)
    blocks: list[Block] = []
    for group in groups:
        block = _block(group, compounds)
        if block.kind == "list" and blocks and blocks[-1].kind == "list":
            blocks[-1] = Block("list", f"{blocks[-1].text}\n{block.text}", page=blocks[-1].page)
        elif block.text:
            blocks.append(block)
    return blocks


def _print_of(pages: Sequence[Sequence[Line]]) -> _Print:
    sizes: Counter[float] = Counter()
    pitches: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[round(line.size, 1)] += len(line.text)
        for before, line in itertools.pairwise(lines):
            apart = round((before.y - line.y) / max(line.size, 0.1), 1)
            if 0.7 <= apart <= 3:
                pitches[apart] += 1
    body = max(sizes, key=lambda size: (sizes[size], -size), default=0.0)
    pitch = max(pitches, key=lambda apart: (pitches[apart], -apart), default=1.2)
    headings: list[float] = []
    for size in sorted(sizes, reverse=True):
        if size >= body * _LARGER and (not headings or size < headings[-1] * (1 - _SAME_SIZE)):
            headings.append(size)
    return _Print(body, pitch, headings)


def _group_page(groups: list[_Group], page: int, lines: list[Line], printed: _Print) -> None:
    """Adds the lines of one page to the groups of lines that become blocks."""
    place = 0
    while place < len(lines):
        rows = _table_rows(lines, place)
        if rows:
            groups.append(_Group("table", page, lines[place : place + rows], page))
            place += rows
            continue
        line = lines[place]
        level = printed.level(line)
        group = groups[-1] if groups else None
        if group and _continues(group, line, level, _Place(page, _margin(lines, place)), printed):
            group.lines.append(line)
            group.last_page = page
        else:
            kind: BlockKind = "heading" if level else "list" if _is_item(line, group) else "text"
            groups.append(_Group(kind, page, [line], page, level))
        place += 1


def _table_rows(lines: Sequence[Line], start: int) -> int:
    """How many lines from `start` are rows of a table; 0 where they are not."""
    shared = _row_gaps(lines[start])
    rows = 0
    for line in itertools.islice(lines, start, None) if shared else ():
        shared = [
            Gap(0, max(gap.left, other.left), min(gap.right, other.right))
            for gap in shared
            for other in _row_gaps(line)
            if gap.left < other.right and other.left < gap.right
        ]
        if not shared:
            break
        rows += 1
    return rows if rows >= FEWEST_ROWS else 0


def _row_gaps(line: Line) -> list[Gap]:
    """The gaps of a line, without the one behind a bullet or a number."""
    return [gap for gap in line.gaps if not any(mark.fullmatch(line.text, 0, gap.at) for mark in _MARKS)]


def _margin(lines: Sequence[Line], place: int) -> float:
    """Where the column that a line stands in ends, as the lines around it show."""
    line = lines[place]
    around = lines[max(0, place - _AROUND) : place + _AROUND + 1]
    return max(other.right for other in around if abs(other.left - line.left) < 4 * line.size or other is line)


@dataclass(frozen=True)
class _Place:
    page: int
    margin: float


def _is_item(line: Line, group: _Group | None) -> bool:
    if _BULLET.match(line.text):
        return True
    # a dash may as well stand within a sentence
    open_sentence = group is not None and group.kind == "text" and not _ENDED.search(group.lines[-1].text)
    return bool(_DASH.match(line.text)) and not open_sentence


def _continues(group: _Group, line: Line, level: int, place: _Place, printed: _Print) -> bool:
    """Whether a line goes on with what the lines before it began."""
    before = group.lines[-1]
    down = before.y - line.y
    jumped = place.page != group.last_page or down < -line.size / 2
    if group.kind == "heading" or level:
        whole = level == group.level and not jumped and down < 2 * line.size
        return group.kind == "heading" and whole and not _NUMBERED.match(line.text)
    if group.kind == "table" or _is_item(line, group):
        return False
    if abs(before.size - line.size) > _OTHER_SIZE * line.size:
        return False
    if jumped:
        return not _ENDED.search(before.text) or line.text[:1].islower()
    if down > _FARTHER * printed.pitch * line.size:
        return False
    if group.kind == "list":
        hangs = line.left > group.lines[0].left + 0.3 * line.size
        return hangs or (not _ENDED.search(before.text) and line.text[:1].islower())
    return not (_ENDED.search(before.text) and _begins(before, line, place.margin))


def _begins(before: Line, line: Line, margin: float) -> bool:
    """Whether a line after the end of a sentence begins a paragraph."""
    indented = line.left - before.left > _INDENT * line.size
    # had the paragraph gone on, the line before would have taken this word, too
    word = len(line.text.split(" ", 1)[0])
    had_room = before.right + (word + 2) * _LETTER * line.size < margin
    return indented or had_room or bool(_NUMBERED.match(line.text))


def _block(group: _Group, compounds: frozenset[str]) -> Block:
    if group.kind == "table":
        rows = "\n".join(" | ".join(_cells(line)) for line in group.lines)
        return Block("table", rows.replace("\u00ad", ""), page=group.page)
    text = joined([line.text for line in group.lines], compounds)
    if group.kind == "list":
        mark = _BULLET.match(text) or _DASH.match(text)
        return Block("list", f"- {text[mark.end() :] if mark else text}".rstrip(), page=group.page)
    if group.kind == "heading" and len(text) > _LONGEST_HEADING:
        return Block("text", text, page=group.page)
    return Block(group.kind, text, group.level, group.page)


def _cells(line: Line) -> Iterator[str]:
    begin = 0
    for gap in _row_gaps(line):
        yield line.text[begin : gap.at]
        begin = gap.at + 1
    yield line.text[begin:]


def _compounds(pages: Sequence[Sequence[Line]]) -> frozenset[str]:
    """The words with hyphens that stand within lines, in lower case, and each pair of their parts."""
    found: set[str] = set()
    for lines in pages:
        for line in lines:
            for compound in _COMPOUND.findall(line.text.lower()) if "-" in line.text else ():
                parts = compound.split("-")
                found.add(compound)
                found.update(f"{one}-{other}" for one, other in itertools.pairwise(parts))
    return frozenset(found)


def joined(lines: Sequence[str], compounds: frozenset[str] = frozenset()) -> str:
    """The lines of one paragraph as running text, words that were parted at the ends of lines made whole.

    Args:
        lines: The lines.
        compounds: Words, in lower case, that keep their hyphen, such as "long-term".
    """
    pieces: list[str] = []
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=""):
        pieces.append(_up_to(line, following, compounds) if following else line)
    return "".join(pieces).replace("\u00ad", "").strip()


def _up_to(line: str, following: str, compounds: frozenset[str]) -> str:
    """A line as it goes on into the one that follows: with a space, with its hyphen, or without."""
    if line.endswith("\u00ad"):
        return line[:-1]
    token = line.rpartition(" ")[2][:-1].lstrip("([{\"'“„‘«")
    word = re.match(r"[^\W_]+(?:-[^\W\d_]+)*", following)
    if line[-1:] not in "-‐" or not token or not word or word[0].lower() in _PAIRING:
        return f"{line} "
    parted = token.isalpha() and word[0][0].islower()
    return line[:-1] if parted and f"{token}-{word[0]}".lower() not in compounds else line
