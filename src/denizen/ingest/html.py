"""HTML as blocks: what a reader of the page would see."""

from __future__ import annotations

import re
from html.entities import html5
from typing import Any

from denizen.ingest.document import Block
from denizen.ingest.markup import BLOCKS, Flow, is_hidden, local_name
from denizen.ingest.text import decoded

_LISTS = frozenset({"ul", "ol", "dl", "dir", "menu"})
_ITEMS = frozenset({"li", "dt"})
_LEVELS = {f"h{level}": level for level in range(1, 7)}
_DECLARED = re.compile(
    rb"""<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)|<meta[^>]*?charset\s*=\s*["']?\s*([\w.:-]+)""", re.I
)
# entities of HTML, which XML does not know, but for those of its own
_ENTITY = re.compile(rb"&((?!(?:amp|lt|gt|quot|apos);)[A-Za-z][A-Za-z0-9]*;)")
_HEAD = 4096  # bytes in which an encoding is looked for; the standard's 1024 are often taken up by scripts
_ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_DEEPEST = 200  # elements; the parser gives up at 256
_ATTRIBUTES = ("hidden", "style", "colspan", "rowspan", "role", "class", "id", "lang", "name", "property", "content")


def parsed_html(data: bytes | str) -> Any:
    """The root element of a page, however broken it is; well-formed XHTML is parsed as such.

    Nothing is loaded, and no entity but those of HTML is resolved. Elements that are nested too deeply for the parser
    are kept side by side at a depth of 200.

    Raises:
        UnreadableError: When the bytes are not text.
    """
    from lxml import etree, html

    text = data if isinstance(data, str) else decoded(data, declared_encoding(data))
    raw = text.replace("\0", "").encode("utf-8", "replace")
    root = _parsed_xhtml(raw)
    if root is not None:
        return root
    parser = html.HTMLParser(encoding="utf-8", no_network=True, recover=True, huge_tree=False)
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, etree.ParserError):
        root = None
    if parser.error_log.filter_types([etree.ErrorTypes.ERR_RESOURCE_LIMIT]):
        # no entity multiplies anything in HTML, so that only its own length makes a page large
        root = etree.fromstring(raw, etree.HTMLParser(target=_Shallow(), encoding="utf-8", huge_tree=True))
    return html.Element("html") if root is None else root


def declared_encoding(data: bytes) -> str:
    """The encoding that an XML declaration or a meta element names; "" without one."""
    found = _DECLARED.search(data[:_HEAD])
    return (found[1] or found[2]).decode("ascii", "replace") if found else ""


def _parsed_xhtml(raw: bytes) -> Any:
    """The root of XHTML, where an empty element may be written <div/>; None for all else."""
    from lxml import etree, html

    head = raw[:_HEAD].lstrip()
    if not head.startswith(b"<?xml") and b"http://www.w3.org/1999/xhtml" not in head:
        return None
    raw = _ENTITY.sub(lambda found: html5.get(found[1].decode(), "").encode() or found[0], raw)
    parser = html.XHTMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        root = etree.fromstring(raw.lstrip(), parser)
    except etree.XMLSyntaxError:
        return None
    html.xhtml_to_html(root)
    return root if local_name(root) == "html" else None


class _Shallow:
    """A target of the parser that builds a tree of limited depth."""

    def __init__(self) -> None:
        from lxml import etree, html

        self._make = html.html_parser.makeelement
        self._builder = etree.TreeBuilder(element_factory=self._make)
        self._open: list[str] = []
        self._depth = 0
        self._begun = False

    def start(self, tag: str, attributes: Any) -> None:
        """Opens an element, at the greatest depth in place of the one that is open there."""
        self._depth += 1
        self._begun = True
        if len(self._open) >= _DEEPEST:
            self._builder.end(self._open.pop())
        kept = {name: _ILLEGAL.sub("", attributes[name] or "") for name in _ATTRIBUTES if name in attributes}
        try:
            self._make(tag)
        except ValueError:
            tag = "span"
        self._open.append(tag)
        self._builder.start(tag, kept)

    def end(self, tag: str) -> None:
        """Closes the element, unless another has taken its place."""
        if len(self._open) == min(self._depth, _DEEPEST):
            self._builder.end(self._open.pop())
        self._depth -= 1

    def data(self, text: str) -> None:
        """Adds text to the open element."""
        self._builder.data(_ILLEGAL.sub(" ", text))

    def close(self) -> Any:
        """The root; None when there is no element at all."""
        while self._open:
            self._builder.end(self._open.pop())
        return self._builder.close() if self._begun else None


def html_blocks(root: Any) -> list[Block]:
    """The visible text of an element and all below it, as blocks in document order."""
    from lxml import etree

    flow = Flow()
    passed = None
    walker = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
    for event, element in walker:
        if event == "start":
            name = local_name(element)
            if not name:
                flow.add(element.text)
            elif is_hidden(element) or (name == "table" and flow.took_table(element)):
                passed = element
                walker.skip_subtree()
            else:
                _open(name, element, flow)
                flow.add(element.text)
            continue
        if event == "end" and element is not passed:
            _close(local_name(element), flow)
        if element is not root:
            flow.add(element.tail)
    flow.end_block()
    flow.end_list()
    return flow.blocks


def _open(name: str, element: Any, flow: Flow) -> None:
    if name == "br":
        flow.line_break()
    if name not in BLOCKS:
        return
    flow.end_block()
    flow.level = _LEVELS.get(name, flow.level)
    flow.pre = flow.pre or name == "pre"
    if name in _LISTS or name == "li":
        flow.lists += 1
    if name in _ITEMS:
        flow.item()
    previous = element.getprevious()
    if name == "dd" and previous is not None and local_name(previous) == "dt":
        flow.define()


def _close(name: str, flow: Flow) -> None:
    if name not in BLOCKS:
        return
    flow.end_block()
    if name in _LEVELS:
        flow.level = 0
    if name == "pre":
        flow.pre = False
    if name in _LISTS or name == "li":
        flow.lists -= 1
        if not flow.lists and name in _LISTS:
            flow.end_list()
