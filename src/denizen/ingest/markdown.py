"""Markdown as blocks, parsed by markdown-it, and the front matter before it."""

from __future__ import annotations

import re
from typing import Any

from denizen.ingest.document import Block, BlockKind
from denizen.ingest.html import html_blocks, parsed_html
from denizen.ingest.unfolded import unfold

_DEEPEST = (
    100  # levels; the library leaves out what is nested deeper, and its own limit, 20, is reached by quoted mails
)
_FACT = re.compile(r"([A-Za-z][\w .-]*?)\s*:(?:\s+(.*))?")


def markdown_blocks(text: str) -> list[Block] | None:
    """The blocks of CommonMark with pipe tables; None when it is nested so deeply that the parser would lose text."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable("table")
    # no link is followed; one that is refused would be text, with all of a picture's bytes
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    tokens = parser.parse(text)
    if any(token.level >= _DEEPEST - 1 for token in tokens):
        return None
    return _MarkdownBlocks().of(tokens)


def front_matter(text: str) -> tuple[dict[str, str], str]:
    """The facts between two lines of "---" at the very beginning, and the text after them.

    Only `key: value` on one line is read; nested values are left out.
    """
    lines = text.split("\n")
    ends = (at for at, line in enumerate(lines[1:], start=1) if line.rstrip() in ("---", "..."))
    end = next(ends, 0) if lines[0].rstrip() == "---" else 0
    found = [(line, _FACT.fullmatch(line.rstrip())) for line in lines[1:end] if line.strip()]
    if not any(fact for _, fact in found) or not all(fact or line[0] in " \t-#" for line, fact in found):
        return {}, text
    facts = {fact[1].lower(): (fact[2] or "").strip().strip("\"'") for _, fact in found if fact}
    return {key: value for key, value in facts.items() if value}, "\n".join(lines[end + 1 :])


class _MarkdownBlocks:
    """Makes blocks of the tokens of markdown-it."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.items: list[str] = []
        self.rows: list[list[str]] = []
        self.lists = 0
        self.level = 0

    def of(self, tokens: list[Any]) -> list[Block]:
        """The blocks, in order."""
        for token in tokens:
            self._structure(token)
            if token.type == "inline":
                self._text(_inline(token.children or []))
            elif token.type in ("fence", "code_block"):
                self._add("text", token.content.strip("\n"))
            elif token.type == "html_block":
                self._html(token.content)
        self._end_list()
        return self.blocks

    def _structure(self, token: Any) -> None:
        if token.type == "heading_open":
            self.level = int(token.tag[1])
        elif token.type == "heading_close":
            self.level = 0
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            self.lists += 1
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            self.lists -= 1
            if not self.lists:
                self._end_list()
        elif token.type == "list_item_open":
            self.items.append("")
        elif token.type == "tr_open":
            self.rows.append([])
        elif token.type == "table_close":
            rows, self.rows = self.rows, []
            self._add("table", "\n".join(" | ".join(row).rstrip(" |") for row in rows if any(row)))

    def _text(self, text: str) -> None:
        if self.rows:
            self.rows[-1].append(text)
        elif self.level:
            self._add("heading", text)
        elif self.lists:
            self.items = self.items or [""]
            self.items[-1] = f"{self.items[-1]} {text}".strip()
        else:
            self._add("text", text)

    def _add(self, kind: BlockKind, text: str) -> None:
        if text.strip():
            self._end_list()
            self.blocks.append(Block(kind, text, level=self.level if kind == "heading" else 0))

    def _end_list(self) -> None:
        items, self.items = [f"- {item}" for item in self.items if item], []
        if items:
            self.blocks.append(Block("list", "\n".join(items)))

    def _html(self, content: str) -> None:
        root = parsed_html(content)
        unfold(root)
        found = html_blocks(root)
        if found:
            self._end_list()
            self.blocks += found


def _inline(tokens: list[Any]) -> str:
    parts: list[str] = []
    for token in tokens:
        if token.type == "image":
            parts.append(_inline(token.children or []))
        elif token.type in ("softbreak", "hardbreak") or token.content.lower().startswith("<br"):
            parts.append(" ")
        elif token.type != "html_inline":
            parts.append(token.content)
    return " ".join("".join(parts).split())
