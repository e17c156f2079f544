"""Boilerplate of a collection: short lines that many of its documents repeat, such as notices, navigation and running
heads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from denizen.ingest.document import Block, Document

# Boilerplate is told from a clause that a whole collection shares by where it stands. Notices, navigation and
# copyright lines are short and stand at the beginning or the end of a document; running heads stand on every page.
# Standard clauses of contracts stand in between, and once. So a line counts only at an edge or where its document
# repeats it, and only in at least a fifth of the documents: two forms of contract would reach any share.
_LONGEST = 200
_FEWEST_WORDS, _MOST_WORDS = 3, 40
_FEWEST_DOCUMENTS = 5
_SHARE = 0.2
# The pages of a site repeat their frame anywhere and in single words. What half of them say tells none from another.
_SHARE_OF_SITE = 0.5
# blocks at either end, but at most a quarter of the document each
_EDGE = 5
# so often in one document, a line is a running head; a table of contents and its chapter make two
_RUNNING = 3

_NUMBER = re.compile(r"[0-9]+")
_BULLET = "- "


@dataclass
class _Section:
    """A heading, where there is one, and what stands below it up to the next."""

    heading: Block | None
    content: list[Block]


class RepeatedLines:
    """Finds the boilerplate of a collection and takes it out, in two passes.

    The first pass is `see` with every document, the second `without`. Lines are compared without regard to case,
    to numbers and to white space. What is kept is a hash and a count for each distinct short line.

    Rows of a JSONL or CSV file are documents that share a form on purpose; leave them out of both passes.
    """

    def __init__(self, known: Collection[str] = ()) -> None:
        """Prepares the first pass.

        Args:
            known: What an earlier run over the collection had `decided`. It stays boilerplate whatever is seen now,
                so that a document that has not changed loses the same lines again.
        """
        self._decided = set(known)
        self._documents = 0
        self._counts: Counter[str] = Counter()
        self._pages: Counter[str] = Counter()
        self._on_pages: dict[str, Counter[str]] = {}
        self._pending = False

    @property
    def decided(self) -> list[str]:
        """The hashes of all boilerplate lines, known and new, sorted; for the next run's `known`."""
        self._decide()
        return sorted(self._decided)

    def see(self, document: Document, site: str = "") -> None:
        """Counts the lines of a document, each once.

        Args:
            document: The document.
            site: Of a web page, what its site is known by, such as its folder; "" for all else.
        """
        if site:
            lines = {_folded(line, 1) for block in document.blocks for line in _lines(block)}
            self._on_pages.setdefault(site, Counter()).update(_hash(f"{site}\n{line}") for line in lines if line)
            self._pages[site] += 1
        last = len(document.blocks) - 1
        edge = max(1, min(_EDGE, len(document.blocks) // 4))
        times: Counter[str] = Counter()
        at_edges = set()
        for position, block in enumerate(document.blocks):
            for line in _lines(block):
                folded = _folded(line)
                if folded:
                    times[folded] += 1
                    if position < edge or position > last - edge:
                        at_edges.add(folded)
        self._counts.update(_hash(line) for line, count in times.items() if line in at_edges or count >= _RUNNING)
        self._documents += 1
        self._pending = True

    def without(self, document: Document, site: str = "") -> tuple[Document, list[str]]:
        """The document without its boilerplate, and the lines that were taken out, in reading order.

        Args:
            document: The document.
            site: As it was told to `see`.

        Tables stay as they are. A line stays where it is all that a section under a heading says, a heading stays
        where something stands under it (unless it is a running head), and a document of nothing else stays whole. Of a
        web page a heading goes with what stands under it where its site repeats both.
        """
        self._decide()
        times = Counter(_folded(line) for block in document.blocks for line in _lines(block))
        blocks: list[Block] = []
        removed: list[str] = []
        sections = list(_sections(document.blocks))
        for number, section in enumerate(sections):
            following = sections[number + 1].heading if number + 1 < len(sections) else None
            stays = section.heading
            if section.heading:
                running = times[_folded(section.heading.text)] >= _RUNNING
                repeated = self._is_boilerplate(section.heading.text, site)
                if repeated and (running or _is_bare(section, following)):
                    removed.append(section.heading.text)
                    stays = None
                else:
                    blocks.append(section.heading)
            kept, gone = self._content_without(section.content, site)
            if stays and not kept and site and section.content and self._is_boilerplate(stays.text, site):
                blocks.pop()
                gone = [stays.text, *gone]
            elif stays and not kept:
                kept, gone = section.content, []
            blocks += kept
            removed += gone
        if not blocks or not removed:
            return document, []
        return dataclasses.replace(document, blocks=blocks), removed

    def _decide(self) -> None:
        """Adds what has become frequent; what was decided once stays, so that it does not come and go."""
        if not self._pending:
            return
        needed = max(_FEWEST_DOCUMENTS, _SHARE * self._documents)
        self._decided.update(line for line, count in self._counts.items() if count >= needed)
        for site, counts in self._on_pages.items():
            needed = max(_FEWEST_DOCUMENTS, _SHARE_OF_SITE * self._pages[site])
            self._decided.update(line for line, count in counts.items() if count >= needed)
        self._pending = False

    def _is_boilerplate(self, line: str, site: str) -> bool:
        folded, on_site = _folded(line), _folded(line, 1) if site else ""
        keys = (folded and _hash(folded), on_site and _hash(f"{site}\n{on_site}"))
        return any(key in self._decided for key in keys if key)

    def _content_without(self, content: list[Block], site: str) -> tuple[list[Block], list[str]]:
        kept: list[Block] = []
        removed: list[str] = []
        for block in content:
            staying: list[str] = []
            gone: list[str] = []
            for line in _lines(block):
                (gone if self._is_boilerplate(line, site) else staying).append(line)
            removed += gone
            if not gone:
                kept.append(block)
            elif text := "\n".join(staying).strip("\n"):
                kept.append(dataclasses.replace(block, text=text))
        return kept, removed


def _sections(blocks: list[Block]) -> Iterator[_Section]:
    section = _Section(None, [])
    for block in blocks:
        if block.kind == "heading":
            yield section
            section = _Section(block, [])
        else:
            section.content.append(block)
    yield section


def _is_bare(section: _Section, following: Block | None) -> bool:
    """Whether nothing stands under the section's heading, not even a heading of a deeper level."""
    deeper = following is not None and section.heading is not None and following.level > section.heading.level
    return not section.content and not deeper


def _lines(block: Block) -> list[str]:
    return [] if block.kind == "table" else block.text.split("\n")


def _folded(line: str, fewest: int = _FEWEST_WORDS) -> str:
    """What lines are compared by; "" for a line that cannot be boilerplate by its length."""
    if len(line) > _LONGEST:
        return ""
    words = _NUMBER.sub("#", line.casefold()).removeprefix(_BULLET).split()
    return " ".join(words) if fewest <= len(words) <= _MOST_WORDS else ""


def _hash(folded: str) -> str:
    # the chance that any two of a million lines share 64 bits is 3 in 100 million
    return hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
