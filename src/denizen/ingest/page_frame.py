"""The frame of a web page, told from its content: navigation, lists of links, notices, buttons to share.

What an element is called says much, what it holds says more: running text is content wherever it stands, and a list of
links is a frame unless trafilatura takes it for content, or the page is nothing else.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

from denizen.ingest.document import Block, LeftOut
from denizen.ingest.html import html_blocks
from denizen.ingest.markup import BLOCKS, is_hidden, local_name

_LANDMARKS = frozenset({"header", "footer", "aside"})
_CONTENT = frozenset({"main", "article", "section"})
_ROLES = frozenset({"navigation", "banner", "contentinfo", "complementary", "search", "menu", "menubar"})
_NAVIGATION = frozenset({"nav", "navbar", "navigation", "menu", "sidebar", "breadcrumb", "breadcrumbs"})
# words of classes and ids that name what is put round an article
_SURROUNDINGS = frozenset(
    {"ad", "ads", "advert", "advertisement", "sponsor", "sponsored", "promo", "promotion", "teaser", "teasers", "share"}
    | {"sharing", "social", "related", "recommended", "recommendations", "newsletter", "subscribe", "signup", "login"}
    | {"breadcrumb", "breadcrumbs", "pagination", "pager", "skip", "skiplink", "toolbar", "masthead", "footer", "nav"}
    | {"navigation", "sidebar", "popular", "trending", "outbrain", "taboola", "paywall", "backtotop", "copyright"}
)
_NOTICES = frozenset({"cookie", "cookies", "consent", "gdpr", "onetrust", "cookiebar", "ccpa"})
_NAME = re.compile(r"[a-z]+|[A-Z][a-z]*")
# of a run of words that counts as running text
_RUN = 10
# running text that makes content of what is called a frame, in words and as a share; a notice may be longer
_PROSE, _PROSE_SHARE = 40, 0.5
_LONGEST_FRAME, _LONGEST_NOTICE = 150, 300
# a list of links: its share of linked words, its fewest links, and the most words of a link
_LINKED, _FEWEST_LINKS, _LONGEST_LINK = 0.7, 3, 12
# a page of which so much would be lost as lists of links is one of links
_MOST_LINKS = 0.6
_LISTS = frozenset({"ul", "ol", "dl", "div", "section", "aside", "td", "table", "p", "form", "center"})
_HEADINGS = frozenset({"h2", "h3", "h4", "h5", "h6"})
# trafilatura is made for articles. Of a document with tables, forms or lists of links it leaves out whole sections; of
# an article, only the odd button or teaser that is marked up as text. A tenth is taken as the line between the two; it
# was not tuned on data.
_TRUSTED = 0.9
_LARGEST = 8_000  # elements; trafilatura takes 2 s for them, and its time grows nearly with the square
_SHORT = 15  # words; what is longer is dropped on no library's word alone
_SHINGLE = 3  # words; with fewer, any sentence would vouch for a menu
_FEW_WORDS = 3
_LINE = re.compile(r"[\n|]")  # and the cells of a table
_WORD = re.compile(r"\w+")
_NAMED = "is called navigation or a frame of the page"
_LINKS = "is a list of links"
_UNKNOWN = "is no part of the article, by trafilatura"


@dataclass
class PageContent:
    """What a page says.

    Attributes:
        blocks: Its content.
        left_out: Its frame, as far as that has more than a few words.
    """

    blocks: list[Block]
    left_out: list[LeftOut]


@dataclass
class _Size:
    """What an element holds: words, those in links, links, words of running text, and whether a title is among it."""

    words: int = 0
    linked: int = 0
    links: int = 0
    prose: int = 0
    titled: bool = False

    def add(self, inner: _Size) -> None:
        self.words += inner.words
        self.linked += inner.linked
        self.links += inner.links
        self.prose += inner.prose
        self.titled = self.titled or inner.titled

    @property
    def is_links(self) -> bool:
        few = self.links >= _FEWEST_LINKS and self.linked <= _LONGEST_LINK * self.links
        return few and not self.prose and self.linked >= _LINKED * self.words

    @property
    def is_prose(self) -> bool:
        return self.prose >= _PROSE and self.prose >= _PROSE_SHARE * self.words


def page_content(root: Any) -> PageContent:
    """The content of a page and its frame. The tree is changed: frames are hidden in it."""
    sizes = _sizes(root)
    named, lists = _frames(root, sizes)
    every = html_blocks(root)
    if not named and not lists:
        return PageContent(every, [])
    known = _known_to_trafilatura(root)
    total = sum(sizes[element].words for element in lists)
    rest = sizes[root].words - sum(sizes[element].words for element in named)
    lists = [] if known is None or total > _MOST_LINKS * rest else [each for each in lists if not _is_known(each, known)]
    left_out: list[LeftOut] = []
    for element in root.iter():
        if element in named or element in lists:
            text = " ".join(block.text for block in html_blocks(element)) or " ".join("".join(element.itertext()).split())
            left_out += _noted(text, _NAMED if element in named else _LINKS)
            element.set("hidden", "")
    own = html_blocks(root)
    if not own:
        return PageContent(every, [])
    own, short = _without_unknown(own, known)
    return PageContent(_without_bare_headings(own, every), [*left_out, *short])


def _noted(text: str, reason: str) -> list[LeftOut]:
    return [LeftOut(text, reason)] if len(text.split()) > _FEW_WORDS else []


def _sizes(root: Any) -> dict[Any, _Size]:
    """What each element holds that is shown."""
    from lxml import etree

    sizes: dict[Any, _Size] = {}
    open_sizes: list[_Size] = [_Size()]
    links = run = linked = 0

    def end_run() -> None:
        nonlocal run, linked
        if run - linked >= _RUN and 2 * linked <= run:
            open_sizes[-1].prose += run - linked
        run = linked = 0

    def count(text: str | None) -> None:
        nonlocal run, linked
        words = len(text.split()) if text else 0
        open_sizes[-1].words += words
        open_sizes[-1].linked += words if links else 0
        run += words
        linked += words if links else 0

    walker = etree.iterwalk(root, events=("start", "end"))
    passed = None
    for event, element in walker:
        name = local_name(element)
        if event == "start":
            if not name or is_hidden(element):
                passed = element
                walker.skip_subtree()
                continue
            if name in BLOCKS:
                end_run()
            links += name in ("a", "button")
            open_sizes.append(_Size(links=int(name in ("a", "button")), titled=name == "h1"))
            count(element.text)
            continue
        if element is not passed:
            if name in BLOCKS:
                end_run()
            links -= name in ("a", "button")
            sizes[element] = open_sizes.pop()
            open_sizes[-1].add(sizes[element])
        if element is not root:
            count(element.tail)
    return sizes


def _frames(root: Any, sizes: dict[Any, _Size]) -> tuple[list[Any], list[Any]]:
    """The elements that are called a frame and are one, and the lists of links; none lies within another."""
    from lxml import etree

    named, lists = list[Any](), list[Any]()
    walker = etree.iterwalk(root, events=("start",))
    for _, element in walker:
        size = sizes.get(element)
        if size is None or not size.words:
            walker.skip_subtree()
            continue
        if size.titled or local_name(element) in ("html", "body", "main", "article"):
            continue
        if _is_named(element, size):
            named.append(element)
            walker.skip_subtree()
        elif local_name(element) in _LISTS and size.is_links:
            lists.append(element)
            walker.skip_subtree()
    return named, lists


def _is_named(element: Any, size: _Size) -> bool:
    """Whether an element is navigation or another frame by its name, role or class, and holds no running text.

    A header, footer or aside of an article is part of it: https://www.w3.org/TR/html-aam-1.0/#mapping-html-to-aria
    """
    name, role = local_name(element), (element.get("role") or "").lower()
    called = f"{element.get('class') or ''} {element.get('id') or ''}"
    whole = set(called.lower().split())
    words = {word.lower() for word in _NAME.findall(called)}
    if words & _NOTICES and size.words <= _LONGEST_NOTICE:
        return True
    if name in ("nav", "menu") or role in _ROLES or whole & _NAVIGATION:
        return not size.is_prose
    if name in _LANDMARKS and not any(local_name(above) in _CONTENT for above in element.iterancestors()):
        return name == "footer" or not size.is_prose
    return bool(words & _SURROUNDINGS) and size.words <= _LONGEST_FRAME and not size.is_prose and name in BLOCKS


def _known_to_trafilatura(root: Any) -> set[tuple[str, ...]] | None:
    """The runs of words that trafilatura takes for content; None where the page is too large for it."""
    if sum(1 for _ in root.iter()) > _LARGEST:
        return None
    import trafilatura

    tree = copy.deepcopy(root)
    found = trafilatura.extract(tree, include_comments=False, include_tables=True, include_links=False) or ""
    return {shingle for line in _LINE.split(found.lower()) for shingle in _shingles(line)}


def _shingles(line: str) -> list[tuple[str, ...]]:
    """Runs of words, in which the ends of the line count, so that "Contact" is no part of a sentence."""
    words = ["^", *_WORD.findall(line), "$"]
    return [tuple(words[at : at + _SHINGLE]) for at in range(len(words) - _SHINGLE + 1)]


def _runs(text: str) -> list[tuple[str, ...]]:
    return [shingle for line in _LINE.split(text.lower()) for shingle in _shingles(line)]


def _is_known(element: Any, known: set[tuple[str, ...]]) -> bool:
    """Whether at least half of an element's runs of words are among those known."""
    runs = [run for block in html_blocks(element) for run in _runs(block.text)]
    return 2 * sum(run in known for run in runs) >= len(runs)


def _without_unknown(blocks: list[Block], known: set[tuple[str, ...]] | None) -> tuple[list[Block], list[LeftOut]]:
    """The blocks without the short ones that trafilatura leaves out, where it finds nearly all the others."""
    if not known:
        return blocks, []
    found = [2 * sum(run in known for run in runs) >= len(runs) for runs in (_runs(block.text) for block in blocks)]
    words = [len(_WORD.findall(block.text)) for block in blocks]
    if sum(count for count, is_found in zip(words, found, strict=True) if is_found) < _TRUSTED * sum(words):
        return blocks, []
    kept, left_out = list[Block](), list[LeftOut]()
    for block, count, is_found in zip(blocks, words, found, strict=True):
        if is_found or count > _SHORT or block.kind == "heading" or block.text.rstrip().endswith("?"):
            kept.append(block)
        else:
            left_out += _noted(block.text, _UNKNOWN)
    return kept, left_out


def _without_bare_headings(blocks: list[Block], every: list[Block]) -> list[Block]:
    """The blocks without headings of which all that stood below has been left out."""
    kept: list[Block] = []
    alone = {id(block) for block in _bare(every)}
    texts = {block.text for block in every if id(block) in alone}
    bare = {id(block) for block in _bare(blocks)}
    for block in blocks:
        # a heading that stood alone before says something by itself
        if id(block) not in bare or block.text in texts or block.level == 1:
            kept.append(block)
    return kept


def _bare(blocks: list[Block]) -> list[Block]:
    """Headings that nothing follows, not even a deeper heading."""
    found = []
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        ends = following is None or (following.kind == "heading" and following.level <= block.level)
        if block.kind == "heading" and ends:
            found.append(block)
    return found
