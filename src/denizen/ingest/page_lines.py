"""The printed lines of pages: running heads, feet and page numbers taken out, columns put one after the other.

Distances are in the unit of the page (points in a PDF); those that the rules compare with are multiples of the size of
the type, so that any unit will do. `y` grows upwards.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

# a space wider than this many times the type's size parts columns; justified words hardly ever stand so far apart
GAP = 1.2
# rows of a table, or printed lines of columns, in succession that share a gap, at least
FEWEST_ROWS = 3
# characters in each half of a line from which two columns are taken for running text, not for a table
_PROSE = 20
# lines at each edge of a page that may be running heads and feet; pages that must agree on one
_EDGE = 3
_FEWEST_PAGES = 3

_PAGE_WORD = re.compile(
    r"(?:page|seite|s\.|p\.|pagina|página)\s*\d{1,5}(?:\s*(?:/|of|von|de|di|sur)\s*\d{1,5})?"
    r"|\d{1,5}\s*(?:/|of|von|sur)\s*\d{1,5}|[-–—]\s*\d{1,5}\s*[-–—]",
    re.IGNORECASE,
)
_ROMAN = re.compile(r"[ivxl]{1,7}|[IVXL]{1,7}")


@dataclass(frozen=True, slots=True)
class Gap:
    """A wide space inside a line.

    Attributes:
        at: Where it stands in the line's text.
        left: Where the text before it ends.
        right: Where the text after it begins.
    """

    at: int
    left: float
    right: float


@dataclass(frozen=True, slots=True)
class Line:
    """A printed line.

    Attributes:
        text: Its text, words parted by single spaces; one that ends with U+00AD was parted by a soft hyphen.
        left: Where it begins.
        right: Where it ends.
        y: The height of its baseline.
        size: Of its type.
        gaps: Spaces in it of at least `GAP` times the size, from left to right.
    """

    text: str
    left: float
    right: float
    y: float
    size: float
    gaps: tuple[Gap, ...] = ()


def without_running_lines(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without running heads, running feet and page numbers.

    A line among the first or last three of its page is a running one when it stands there, whatever its digits, on half
    of the pages, or on a quarter that are all odd or all even, and on three at least. A line further inside stays.
    """
    tops, bottoms = _running_keys(pages, top=True), _running_keys(pages, top=False)
    left = []
    for lines in pages:
        last = len(lines) - 1
        left.append(
            [
                line
                for place, line in enumerate(lines)
                if not (place < _EDGE and _running_key(line) in tops)
                and not (last - place < _EDGE and _running_key(line) in bottoms)
            ]
        )
    counted = _counted_pages(left)
    return [_without_numbers(lines, page, counted, len(pages)) for page, lines in enumerate(left)]


def _running_key(line: Line) -> str:
    key = re.sub(r"\d+", "#", line.text.casefold())
    # rows of figures are alike, too, once their digits are taken away
    return key if any(map(str.isalpha, key)) else ""


def _running_keys(pages: Sequence[Sequence[Line]], top: bool) -> set[str]:
    found: dict[str, list[int]] = {}
    for page, lines in enumerate(pages):
        for key in {_running_key(line) for line in (lines[:_EDGE] if top else lines[-_EDGE:])} - {""}:
            found.setdefault(key, []).append(page)
    return {key for key, places in found.items() if _runs(places, len(pages))}


def _runs(places: list[int], pages: int) -> bool:
    if len(places) < _FEWEST_PAGES:
        return False
    one_side = len({place % 2 for place in places}) == 1
    return len(places) * (4 if one_side else 2) >= pages


def _number(line: Line) -> int | None:
    return int(line.text) if re.fullmatch(r"[0-9]{1,5}", line.text) else None


def _counted_pages(pages: Sequence[Sequence[Line]]) -> set[int]:
    """By how much numbers alone at the pages' edges are ahead of the pages, where enough pages agree on it."""
    ahead: Counter[int] = Counter()
    for page, lines in enumerate(pages):
        numbers = map(_number, (*lines[:1], *lines[-1:]))
        ahead.update({number - page for number in numbers if number is not None})
    return {shift for shift, count in ahead.items() if count >= max(2, min(_FEWEST_PAGES, len(pages)))}


def _without_numbers(lines: list[Line], page: int, counted: set[int], pages: int) -> list[Line]:
    def is_number(line: Line) -> bool:
        number = _number(line)
        if number is not None:
            return number - page in counted
        return bool(_PAGE_WORD.fullmatch(line.text)) or (pages >= _FEWEST_PAGES and bool(_ROMAN.fullmatch(line.text)))

    begin, end = 0, len(lines)
    while begin < end and is_number(lines[begin]):
        begin += 1
    while end > begin and is_number(lines[end - 1]):
        end -= 1
    return lines[begin:end]


def column_order(lines: Sequence[Line]) -> list[Line]:
    """The lines of a page with columns of text that were printed side by side put one after the other.

    Columns are three lines or more in succession that share a gap and have prose on either side of it. Other lines,
    those of tables among them, stay as they are.
    """
    ordered: list[Line] = []
    place = 0
    while place < len(lines):
        halves = _columns(lines, place) if lines[place].gaps else []
        if halves:
            ordered += [left for left, _ in halves if left] + [right for _, right in halves if right]
            place += len(halves)
        else:
            ordered.append(lines[place])
            place += 1
    return ordered


def _columns(lines: Sequence[Line], start: int) -> list[tuple[Line | None, Line | None]]:
    """The halves of the lines from `start` that lie in two columns; none where those are not columns of text."""
    gutter = lines[start].gaps[0]
    halves: list[tuple[Line | None, Line | None]] = []
    for place in range(start, len(lines)):
        line = lines[place]
        gap = next((gap for gap in line.gaps if gap.left < gutter.right and gap.right > gutter.left), None)
        if gap:
            gutter = Gap(0, max(gap.left, gutter.left), min(gap.right, gutter.right))
            halves.append(_halves(line, gap))
            continue
        apart = lines[place - 1].y - line.y > 2 * line.size
        if apart or (line.right > gutter.left and line.left < gutter.right):
            break
        halves.append((line, None) if line.right <= gutter.left else (None, line))
    both = [(left, right) for left, right in halves if left and right]
    prose = sum(len(left.text) >= _PROSE and len(right.text) >= _PROSE for left, right in both)
    return halves if len(both) >= FEWEST_ROWS and prose * 2 > len(both) else []


def _halves(line: Line, gap: Gap) -> tuple[Line, Line]:
    before = tuple(other for other in line.gaps if other.at < gap.at)
    after = tuple(Gap(other.at - gap.at - 1, other.left, other.right) for other in line.gaps if other.at > gap.at)
    return (
        Line(line.text[: gap.at], line.left, gap.left, line.y, line.size, before),
        Line(line.text[gap.at + 1 :], gap.right, line.right, line.y, line.size, after),
    )
