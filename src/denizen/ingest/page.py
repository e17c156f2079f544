"""Web pages: their content without the frame round it, what is folded in them, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from denizen.ingest.document import Document, Failure, Limits, Member
from denizen.ingest.html import html_blocks, parsed_html
from denizen.ingest.page_frame import page_content
from denizen.ingest.unfolded import said_in_data, unfold

_DATES = ("date", "article:published_time", "dcterms.date", "dc.date", "dcterms.created", "last-modified")


def read_html(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """The one document of a page: all that a person can see or make visible, without the frame round its content.

    Raises:
        UnreadableError: When it is not text.
    """
    root = parsed_html(path.read_bytes())
    facts = _meta(root)
    headed = (visible for element in root.iter("title") if (visible := " ".join("".join(element.itertext()).split())))
    title = next(headed, "") or facts.get("og:title", "")
    metadata = {
        "author": facts.get("author", "") or facts.get("article:author", "") or facts.get("dc.creator", ""),
        "date": next((facts[name] for name in _DATES if facts.get(name)), ""),
        "description": facts.get("description", "") or facts.get("og:description", ""),
        "lang": (root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang") or "").strip(),
    }
    left_out = unfold(root)
    content = page_content(root)
    frame = [item.text for item in content.left_out]
    said, of_programs = said_in_data(root, " ".join([*(block.text for block in content.blocks), *frame]))
    for text in said:
        content.blocks += html_blocks(parsed_html(text))
    yield Document(
        content.blocks,
        title=title,
        metadata={name: value for name, value in metadata.items() if value},
        left_out=[*left_out, *content.left_out, *of_programs],
    )


def _meta(root: Any) -> dict[str, str]:
    facts: dict[str, str] = {}
    for element in root.iter("meta"):
        name = element.get("name") or element.get("property") or ""
        facts.setdefault(name.strip().lower(), " ".join((element.get("content") or "").split()))
    return facts
