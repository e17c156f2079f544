"""XML as blocks, whatever its elements are called; the entries of RSS and Atom feeds as documents of their own."""

from __future__ import annotations

import html as entities
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from denizen.engine.errors import reason
from denizen.ingest.document import Block, Document, Failure, Limits, Member, UnreadableError
from denizen.ingest.html import declared_encoding, html_blocks, parsed_html
from denizen.ingest.markup import UNSEEN, Flow, local_name
from denizen.ingest.page import read_html
from denizen.ingest.records import UniqueNames, content_name
from denizen.ingest.text import decoded

_HEADINGS = frozenset({"title", "heading", "head", "article-title", "h1", "h2", "h3", "h4", "h5", "h6"})
# elements between a section and its title, in DocBook and JATS
_WRAPPERS = frozenset(
    {"info", "bookinfo", "articleinfo", "chapterinfo", "sectioninfo", "front", "article-meta", "title-group", "header"}
)
# elements that are no part of a line even where text stands beside them, in XHTML, DocBook, JATS, TEI and DITA
_PARAGRAPHS = frozenset(
    {"p", "para", "simpara", "ab", "div", "sec", "section", "sect1", "sect2", "sect3", "table", "informaltable"}
    | {"table-wrap", "fig", "figure", "caption", "disp-quote", "blockquote", "note", "example", "pre", "codeblock"}
    | {"programlisting", "screen", "literallayout", "preformat"}
)
_LISTS = frozenset({"list", "itemizedlist", "orderedlist", "ul", "ol"})
_ITEMS = frozenset({"list-item", "listitem", "li", "item"})
_CODE = frozenset({"pre", "codeblock", "programlisting", "screen", "literallayout", "preformat"})
_TABLES = frozenset({"table", "informaltable", "tgroup"})
_DECLARES = re.compile(r"<!DOCTYPE[^>\[]*\[[^\]]*<!ENTITY")
_ENTITIES = "declares entities{} that could load files or grow without end; remove its DOCTYPE"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def parsed_xml(data: bytes) -> Any:
    """The root element; no entity is resolved and nothing is loaded.

    Raises:
        UnreadableError: When it is not well-formed, or its DOCTYPE declares entities.
    """
    root, problem = _parsed(data, recover=False)
    if problem:
        raise UnreadableError(f"is not well-formed XML: {problem}")
    return root


def _parsed(data: bytes, recover: bool) -> tuple[Any, str]:
    """The root and "", or None and what is wrong with the file."""
    from lxml import etree

    text = decoded(data, declared_encoding(data))
    parser = etree.XMLParser(
        # the text is UTF-8 by now, whatever it declares
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        recover=recover,
    )
    try:
        root = etree.fromstring(text.strip().encode(), parser)
    except etree.XMLSyntaxError as error:
        # entities within each other may stop the parser before it gets to the root
        if _DECLARES.search(text):
            raise UnreadableError(_ENTITIES.format("")) from None
        return None, reason(error)
    if root is None:
        return None, "it has no element"
    kind = root.getroottree().docinfo.internalDTD
    names = [entity.name for entity in kind.iterentities()] if kind is not None else []
    if names:
        raise UnreadableError(_ENTITIES.format(f" ({', '.join(names[:3])})"))
    return root, ""


def read_xml(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """The document of an XML file, or one for each entry of a feed; XHTML is read as HTML.

    Of a file that breaks off, or breaks the rules of XML, what can be read is read.

    Raises:
        UnreadableError: When it is not XML, or declares entities.
    """
    data = path.read_bytes()
    if not data.strip():
        yield Document([])
        return
    root, problem = _parsed(data, recover=False)
    if root is None:
        root = _parsed(data, recover=True)[0]
    if root is None:
        raise UnreadableError(f"is not well-formed XML: {problem}")
    if local_name(root) == "html":
        yield from read_html(path, limits)
        return
    wanted = {"rss": "item", "rdf": "item", "feed": "entry"}.get(local_name(root))
    entries = [element for element in root.iter() if local_name(element) == wanted] if wanted else []
    if entries:
        yield from _feed(root, entries)
    else:
        yield _document(root)
    if problem:
        yield Failure("", f"is not well-formed XML, and was read as far as possible: {problem}")


def _document(root: Any) -> Document:
    blocks = _blocks(root)
    headings = [block.text for block in blocks if block.kind == "heading"]
    language = root.get(_LANGUAGE) or root.get("lang")
    title = headings[0] if headings and _is_titled(root) else ""
    return Document(blocks, title=title, metadata={"lang": language} if language else {})


class _Parent(NamedTuple):
    """An open element: whether it is part of a line, whether those in it are, and how many titles stand above those."""

    inline: bool = False
    lines: bool = False
    titles: int = 0


def _blocks(root: Any) -> list[Block]:
    """The text of all elements in order; an element with text of its own is a paragraph with all its inline ones."""
    from lxml import etree

    flow = Flow()
    passed = None
    parents: list[_Parent] = []
    walker = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
    for event, element in walker:
        name = local_name(element)
        if event == "start" and not name:
            flow.add(entities.unescape(element.text))
        elif event == "start" and _is_plain_table(element) and flow.took_table(element):
            passed = element
            walker.skip_subtree()
        elif event == "start":
            above = parents[-1] if parents else _Parent()
            inline = above.lines and name not in _PARAGRAPHS | _LISTS | _ITEMS
            titles = above.titles + (name not in _WRAPPERS and _is_titled(element))
            parents.append(_Parent(inline, inline or _has_text(element), titles))
            if not inline:
                _open(name, element, flow, above.titles)
            flow.add(element.text)
        else:
            if event == "end" and name and element is not passed and not parents.pop().inline:
                _close(name, flow)
            if element is not root:
                flow.add(element.tail)
    flow.end_list()
    return flow.blocks


def _open(name: str, element: Any, flow: Flow, titles: int) -> None:
    flow.end_block()
    if name in _LISTS:
        flow.lists += 1
    elif name in _ITEMS and flow.lists:
        flow.item()
    elif _is_heading(element):
        digit = name[1:] if name[0] == "h" else ""
        flow.level = int(digit) if digit.isdigit() else min(6, max(1, titles))
    flow.pre = flow.pre or name in _CODE


def _close(name: str, flow: Flow) -> None:
    flow.end_block()
    if name in _LISTS:
        flow.lists -= 1
        if not flow.lists:
            flow.end_list()
    if name in _HEADINGS:
        flow.level = 0
    if name in _CODE:
        flow.pre = False


def _is_plain_table(element: Any) -> bool:
    """Whether it is a table without elements that would not be shown in HTML, such as a title."""
    return local_name(element) in _TABLES and not any(local_name(inner) in UNSEEN for inner in element.iter())


def _has_text(element: Any) -> bool:
    return bool((element.text or "").strip() or any((child.tail or "").strip() for child in element))


def _is_heading(element: Any) -> bool:
    name = local_name(element)
    if name not in _HEADINGS:
        return False
    # the titles of cited articles are no headings
    if name == "article-title" and local_name(element.getparent()) != "title-group":
        return False
    return not any(local_name(inner) in _HEADINGS | _PARAGRAPHS for inner in element.iterdescendants())


def _is_titled(element: Any) -> bool:
    """Whether an element has a heading of its own, directly or in what wraps titles."""
    return any(
        _is_heading(child)
        or (local_name(child) in _WRAPPERS and any(_is_heading(inner) for inner in child.iterdescendants()))
        for child in element
    )


def _feed(root: Any, entries: list[Any]) -> Iterator[Document]:
    """A document for each entry, named by its id, its link or a digest of its text."""
    channel = root if local_name(root) == "feed" else next((part for part in root.iter() if _is(part, "channel")), root)
    feed = _field(channel, "title")
    names = UniqueNames()
    for entry in entries:
        given = _field(entry, "guid", "id") or _link(entry)
        name = names.unique(given or content_name(" ".join("".join(entry.itertext()).split())))
        author = _field(entry, "creator", "author")
        date = _field(entry, "published", "pubdate", "date", "updated")
        metadata = {"feed": feed, "author": author, "date": date, "link": _link(entry)}
        yield Document(
            _entry_blocks(entry),
            name=name,
            title=_field(entry, "title"),
            metadata={key: value for key, value in metadata.items() if value},
        )


def _is(element: Any, *names: str) -> bool:
    return local_name(element) in names


def _field(element: Any, *names: str) -> str:
    """The text of the first child of the first name that has any."""
    texts = (" ".join("".join(child.itertext()).split()) for name in names for child in element if _is(child, name))
    return next(filter(None, texts), "")


def _link(entry: Any) -> str:
    links = (child.get("href") or "" for child in entry if _is(child, "link"))
    return _field(entry, "link") or next(filter(None, links), "")


def _entry_blocks(entry: Any) -> list[Block]:
    """What an entry says: its whole content where that is there, otherwise its summary."""
    for name in ("encoded", "content", "description", "summary"):
        for child in entry:
            if not _is(child, name):
                continue
            if len(child):
                blocks = html_blocks(child)
            elif child.get("type") in ("text", "text/plain"):
                text = " ".join((child.text or "").split())
                blocks = [Block("text", text)] if text else []
            else:
                blocks = html_blocks(parsed_html(child.text or ""))
            if blocks:
                return blocks
    return []
