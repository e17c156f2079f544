"""The parts and items of an SEC filing as headings, and the lines that only pages have as nothing.

Filings set their headings as bold paragraphs or as tables of one row, seldom as h1 to h6: what makes a heading here
is its wording, which the forms prescribe.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from denizen.ingest.document import Block

# the longest prescribed title, that of Item 5.02 of form 8-K, has 155 characters with its number
_LONGEST_TITLE = 200
_LONGEST_ENTRY = 120
# a reserved item follows its neighbour without a word between; three of them in a row are a table of contents
_LEAST_CONTENTS = 3
_LEAST_REPEATED = 3
# of neighbouring page numbers, those that must rise
_RISING = 0.8

_NUMBER = r"\d{1,2}(?:\.\d{2}|[A-K])?(?![A-Za-z0-9])(?:\s?\(T\))?|\d{1,2}(?=[A-Z]{2})"
_ITEM = re.compile(
    rf"items?\s+(?P<number>{_NUMBER})(?:\.?\s*(?:and|&|,)\s*\d{{1,2}}[A-C]?(?![a-z]))*(?P<gap>[\s.:–—-]*)(?P<title>.*)",
    re.IGNORECASE,
)
_PART = re.compile(r"part\s+(?P<number>I{1,3}|IV|V)\b(?P<gap>[\s.:,–—-]*)(?P<title>.*)", re.IGNORECASE)
_PART_BEFORE_ITEM = re.compile(r"part\s+(?:I{1,3}|IV|V)[\s.:,–—-]+(?=items?\s)", re.IGNORECASE)
_PAGE_AT_END = re.compile(r"(?:\s|\.{2,}|…)\s*(?:[A-Z]-)?\d{1,3}(?:\s?[-–]\s?\d{1,3})?$")
_SENTENCES = re.compile(r"[a-z)]{2,}\.\s+[A-Z]|:\s*\S")
_LOWER_WORD = re.compile(r"\b[a-z]{5,}\b")
_PREPOSITIONS = {"about", "among", "between", "during", "other", "related", "under", "within", "without"}
# what stands under an item that has nothing to say
_NOTHING = re.compile(r"\W*(?:none|n/?a|not applicable|not required|reserved|omitted)\W*", re.IGNORECASE)
_PAGE_NUMBER = re.compile(
    r"(?:page\s+)?[-–—]?\s*(?P<prefix>[A-Z]{0,2})-?(?P<number>\d{1,3})\s*[-–—]?(?:\s+of\s+\d{1,4})?", re.IGNORECASE
)
_CONTENTS_LINE = re.compile(
    r"(?:\d{1,3}\s+)?(?:(?:back|return) to )?(?:the )?(?:table of contents|contents|index)(?:\s+\d{1,3})?",
    re.IGNORECASE,
)
_RUNNING_LINE = re.compile(r"\bform\s+\w+-\w+|(?:annual|quarterly) report", re.IGNORECASE)
_NUMBER_AT_EDGE = re.compile(r"\d{1,3}\b(?!,).*\D$|.*\D\s\d{1,3}")


@dataclass(frozen=True)
class _Line:
    """A block whose wording is that of a part or an item."""

    kind: Literal["part", "item"]
    number: str
    title: str
    text: str
    entry: bool = False


def without_page_lines(blocks: Sequence[Block]) -> list[Block]:
    """The blocks without page numbers, running titles of the form, and repeated links to the table of contents."""
    texts = [_one_line(block) for block in blocks]
    drop = _page_numbers(texts)
    links = [at for at, text in enumerate(texts) if _CONTENTS_LINE.fullmatch(text)]
    drop.update(links[1:])
    running: dict[str, list[int]] = defaultdict(list)
    for at, text in enumerate(texts):
        if text and len(text) <= _LONGEST_ENTRY and _RUNNING_LINE.search(text) and _NUMBER_AT_EDGE.fullmatch(text):
            running[re.sub(r"\d+", "#", text).casefold()].append(at)
    for places in running.values():
        if len({texts[at] for at in places}) >= _LEAST_REPEATED:
            drop.update(places)
    return [block for at, block in enumerate(blocks) if at not in drop]


def with_item_headings(blocks: Sequence[Block]) -> list[Block]:
    """Turns the lines of parts into headings of level 1 and those of items into headings of level 2.

    Entries of a table of contents and references within sentences stay as they are; a heading that is repeated at the
    head of every page is kept once, and an item's title that stands in a block of its own joins its number.
    """
    lines = {at: line for at, block in enumerate(blocks) if (line := _line(block)) is not None}
    entries = _contents(blocks, lines)
    found: list[Block] = []
    part: _Line | None = None
    item: _Line | None = None
    taken = -1
    for at, block in enumerate(blocks):
        if at == taken:
            continue
        line = lines.get(at)
        if line is None or at in entries or line.entry:
            found.append(block)
            continue
        if line.kind == "part":
            if not _repeats(line, part):
                found.append(replace(block, kind="heading", text=line.text, level=1))
                part, item = line, None
            continue
        after = lines.get(at + 1)
        if _repeats(line, item) or (not line.title and after is not None and after.number == line.number):
            continue
        if not line.title and after is None and at + 1 < len(blocks) and _is_bare_title(blocks[at + 1]):
            taken = at + 1
            title = _one_line(blocks[taken])
            line = replace(line, title=title, text=f"{line.text.rstrip()} {title}")
        found.append(replace(block, kind="heading", text=line.text, level=2))
        item = line
    return found


def _line(block: Block) -> _Line | None:
    text = _one_line(block)
    if not text or len(text) > _LONGEST_TITLE or block.kind == "list":
        return None
    # "Part I, Item 2" is the line of an item
    match = _ITEM.fullmatch(_PART_BEFORE_ITEM.sub("", text))
    if match is not None:
        number, title = match["number"].upper(), match["title"].strip()
        # 8-K and its like leave out the full stop after their numbers, and write titles as sentences are
        strict = not match["gap"].strip() and "." not in number
        return _titled("item", number, title, text, strict)
    match = _PART.fullmatch(text)
    if match is not None:
        return _titled("part", match["number"].upper(), match["title"].strip(), text, not match["gap"].strip())
    return None


def _titled(kind: Literal["part", "item"], number: str, title: str, text: str, strict: bool) -> _Line | None:
    if _PAGE_AT_END.search(f" {title}"):
        return _Line(kind, number, title, text, entry=True)
    if title and not _is_title(title, strict):
        return None
    return _Line(kind, number, title, text)


def _is_title(title: str, strict: bool) -> bool:
    if not (title[0].isupper() or title[0] in "[“\"'‘") or title[-1] in ",;":
        return False
    if _SENTENCES.search(title):
        return False
    return not strict or not set(_LOWER_WORD.findall(title)) - _PREPOSITIONS


def _is_bare_title(block: Block) -> bool:
    text = _one_line(block)
    if block.kind == "list" or not 0 < len(text) <= _LONGEST_TITLE or _NOTHING.fullmatch(text):
        return False
    return text[-1] not in ".:" and not _PAGE_AT_END.search(text) and _is_title(text, strict=True)


def _repeats(line: _Line, current: _Line | None) -> bool:
    if current is None or current.number != line.number:
        return False
    return not line.title or _plain(line.title) == _plain(current.title)


def _plain(title: str) -> str:
    return re.sub(r"\W|continued", "", title.casefold())


def _contents(blocks: Sequence[Block], lines: Mapping[int, _Line]) -> set[int]:
    """Places of the lines that are entries of a table of contents: many, with nothing but short lines between."""
    runs: list[list[int]] = []
    seen: set[tuple[str, str]] = set()
    part, last = "", -1
    for at in sorted(lines):
        line = lines[at]
        part = line.number if line.kind == "part" else part
        key = (part, line.number if line.kind == "item" else "")
        near = bool(runs) and all(_is_entry(block) for block in blocks[last + 1 : at])
        # the first real heading follows at once, and says again what the table of contents began with
        if not near or key in seen:
            runs.append([])
            seen = set()
        runs[-1].append(at)
        seen.add(key)
        last = at
    long = [run for run in runs if sum(lines[at].kind == "item" for at in run) >= _LEAST_CONTENTS]
    return {at for run in long for at in run}


def _is_entry(block: Block) -> bool:
    text = _one_line(block)
    return 0 < len(text) <= _LONGEST_ENTRY and text[-1] not in ".;:" and not _NOTHING.fullmatch(text)


def _page_numbers(texts: Sequence[str]) -> set[int]:
    """Places of the numbers that stand alone and rise through the document; other lone numbers are data."""
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for at, text in enumerate(texts):
        match = _PAGE_NUMBER.fullmatch(text)
        if match is not None:
            places[match["prefix"].upper()].append((at, int(match["number"])))
    drop: set[int] = set()
    for found in places.values():
        steps = Counter(after > before for (_, before), (_, after) in pairwise(found))
        if len(found) >= _LEAST_REPEATED and steps[True] >= _RISING * (len(found) - 1):
            drop.update(at for at, _ in found)
    return drop


def _one_line(block: Block) -> str:
    """The block's text, "" where it has several lines; the cells of a table's only row follow each other."""
    if "\n" in block.text:
        return ""
    return " ".join(block.text.replace(" | ", " ").split()) if block.kind == "table" else block.text.strip()
