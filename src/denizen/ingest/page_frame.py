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
_NAVIGATION = frozenset({"nav", "navbar", "navigation", "menu", "sidebar", "breadcrumb", "breadcrumbs", "topbar"})
_NAVIGATION |= {"site-header", "global-header", "page-footer", "site-footer", "global-footer"}
# one element of a page at most; as classes they are given to the heads of boxes, too
_IDS = frozenset({"header", "footer"})
# words without a link from which a box is none, such as the menu of a restaurant
_SPOKEN, _FEW_LINKED = 8, 0.3
# words of classes and ids that name what is put round an article
_SURROUNDINGS = frozenset(
    {
        "ad",
        "ads",
        "advert",
        "advertisement",
        "sponsor",
        "sponsored",
        "promo",
        "promotion",
        "teaser",
        "teasers",
        "social",
    }
    | {
        "sharing",
        "sharethis",
        "addthis",
        "related",
        "recommended",
        "recommendations",
        "newsletter",
        "subscribe",
        "signup",
    }
    | {"login", "breadcrumb", "breadcrumbs", "pagination", "pager", "skip", "skiplink", "toolbar", "masthead", "nav"}
    | {"navigation", "sidebar", "popular", "trending", "outbrain", "taboola", "backtotop", "copyright"}
)
_NOTICES = frozenset({"cookie", "cookies", "consent", "gdpr", "onetrust", "cookiebar", "ccpa"})
_NAME = re.compile(r"[a-z]+|[A-Z][a-z]*")
# of a run of words that counts as running text
_RUN = 10
# running text that makes content of what is called a frame, in words and as a share; a notice may be longer
_PROSE, _PROSE_SHARE = 40, 0.5
_LONGEST_FRAME, _LONGEST_NOTICE = 150, 300
# what asks for consent says so, in most languages by this word, and has a button; what claims a right names a year
_CONSENT, _LONGEST_CONSENT = re.compile(r"\bcookies?\b", re.IGNORECASE), 80
_RIGHTS, _LONGEST_RIGHTS = re.compile(r"(?:©|\(c\)|copyright)[^.]{0,40}\b(?:19|20)\d\d\b", re.IGNORECASE), 30
# a list of links: its share of linked words, its fewest links, and the most words of a link
_LINKED, _FEWEST_LINKS, _LONGEST_LINK = 0.7, 3, 12
# a page of which so much would be lost as lists of links is one of links
_MOST_LINKS = 0.6
# so often on one page, a line of links is a button
_BUTTON = 3
# a box of which frames are this share is one, too, with at most so many words beside them
_FRAMED, _BESIDE = 0.5, 25
_LISTS = frozenset({"ul", "ol", "dl", "div", "section", "aside", "td", "table", "p", "form", "center"})
_HEADINGS = frozenset({"h2", "h3", "h4", "h5", "h6"})
_LARGEST = 8_000  # elements; trafilatura takes 2 s for them, and its time grows nearly with the square
_SHORT = 15  # words; what is longer is dropped on no library's word alone
_ABOVE = 8  # words of a block above the title: a date or a rubric has as many as a button, and says less than the title
# trafilatura is made for articles: of a document with tables, forms or lists of links it leaves out whole sections.
# From this share of the words it tells where a page's content ends; it was not tuned on data
_TRUSTED = 0.7
_SHINGLE = 3  # words; with fewer, any sentence would vouch for a menu
_FEW_WORDS = 3
_LINE = re.compile(r"[\n|]")  # and the cells of a table
_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?:\S+\s+){3,}\S+[.!?:。？！]\W*\Z")
_NAMED = "is called navigation or a frame of the page"
_LINKS = "is a list of links"
_OUTSIDE = "stands before or behind the page's content"


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
        share = _LINKED if self.links >= _FEWEST_LINKS else 1.0
        short = self.links > 1 and self.linked <= _LONGEST_LINK * self.links
        return short and not self.prose and self.linked >= share * self.words

    @property
    def is_prose(self) -> bool:
        return self.prose >= _PROSE and self.prose >= _PROSE_SHARE * self.words


def page_content(root: Any) -> PageContent:
    """The content of a page and its frame. The tree is changed: frames are hidden in it."""
    sizes = _sizes(root)
    named, doubtful = _frames(root, sizes)
    every = html_blocks(root)
    if not named and not doubtful:
        return PageContent(every, [])
    known = _known_to_trafilatura(root)
    total = sum(sizes[element].words for element in doubtful)
    rest = sizes[root].words - sum(sizes[element].words for element in named)
    reasons = dict.fromkeys(named, _NAMED)
    if known is not None and total <= _MOST_LINKS * rest:
        reasons |= {element: why for element, why in doubtful.items() if not _is_known(element, known)}
    left_out: list[LeftOut] = []
    for element in _outermost(root, {**_boxes(reasons, sizes), **reasons}):
        text = " ".join(block.text for block in html_blocks(element)) or " ".join("".join(element.itertext()).split())
        left_out += _noted(text, reasons.get(element, _NAMED))
        element.set("hidden", "")
    own = html_blocks(root)
    if not own:
        return PageContent(every, [])
    own, short = _without_unknown(own, known)
    return PageContent(_without_bare_headings(own, every), [*left_out, *short])


def _boxes(frames: dict[Any, str], sizes: dict[Any, _Size]) -> dict[Any, str]:
    """The elements round frames that hold little else, such as a column of lists with a line above each."""
    framed: dict[Any, int] = {}
    for element in frames:
        for above in element.iterancestors():
            framed[above] = framed.get(above, 0) + sizes[element].words
    return {
        element: _NAMED
        for element, words in framed.items()
        if words >= _FRAMED * sizes[element].words
        and sizes[element].words - words <= _BESIDE
        and not sizes[element].prose
        and not sizes[element].titled
        and local_name(element) not in ("html", "body", "main", "article")
    }


def _outermost(root: Any, frames: dict[Any, str]) -> list[Any]:
    """The frames that lie in no other, in the order of the page."""
    return [
        each for each in root.iter() if each in frames and not any(above in frames for above in each.iterancestors())
    ]


def _noted(text: str, reason: str) -> list[LeftOut]:
    return [LeftOut(text, reason)] if len(text.split()) > _FEW_WORDS else []


def _sizes(root: Any) -> dict[Any, _Size]:
    """What each element holds that is shown."""
    from lxml import etree

    counting = _Counting()
    passed = None
    walker = etree.iterwalk(root, events=("start", "end"))
    for event, element in walker:
        if event == "start" and (not local_name(element) or is_hidden(element)):
            passed = element
            walker.skip_subtree()
        elif event == "start":
            counting.open(element)
        else:
            if element is not passed:
                counting.close(element)
            if element is not root:
                counting.add(element.tail)
    return counting.sizes


class _Counting:
    """Counts the words of elements as they open and close.

    Attributes:
        sizes: Those of the elements that have closed.
    """

    def __init__(self) -> None:
        self.sizes: dict[Any, _Size] = {}
        self._open = [_Size()]
        self._links = 0
        # words since a paragraph began or ended, and those of them in links
        self._run = self._linked = 0

    def open(self, element: Any) -> None:
        name = local_name(element)
        self._end_run(name)
        is_link = name in ("a", "button")
        self._links += is_link
        self._open.append(_Size(links=int(is_link), titled=name == "h1"))
        self.add(element.text)

    def close(self, element: Any) -> None:
        name = local_name(element)
        self._end_run(name)
        self._links -= name in ("a", "button")
        self.sizes[element] = self._open.pop()
        self._open[-1].add(self.sizes[element])

    def add(self, text: str | None) -> None:
        words = len(text.split()) if text else 0
        linked = words if self._links else 0
        self._open[-1].words += words
        self._open[-1].linked += linked
        self._run += words
        self._linked += linked

    def _end_run(self, name: str) -> None:
        if name not in BLOCKS:
            return
        if self._run - self._linked >= _RUN and 2 * self._linked <= self._run:
            self._open[-1].prose += self._run - self._linked
        self._run = self._linked = 0


def _frames(root: Any, sizes: dict[Any, _Size]) -> tuple[list[Any], dict[Any, str]]:
    """The elements that are a frame, and those that may be one, each with the reason; none lies within another."""
    from lxml import etree

    frames, doubtful = list[Any](), dict[Any, str]()
    buttons: dict[str, list[Any]] = {}
    walker = etree.iterwalk(root, events=("start",))
    for _, element in walker:
        size = sizes.get(element)
        if size is None or not size.words:
            walker.skip_subtree()
            continue
        name = local_name(element)
        if size.titled or name in ("html", "body", "main", "article"):
            continue
        if _is_navigation(element, size) or _is_notice(element, size):
            frames.append(element)
            walker.skip_subtree()
        elif name in _LISTS and size.is_links:
            doubtful[element] = _LINKS
            walker.skip_subtree()
        elif name in BLOCKS and size.words <= _LONGEST_FRAME and not size.is_prose and _words(element) & _SURROUNDINGS:
            doubtful[element] = _NAMED
            walker.skip_subtree()
        elif name in ("a", "button") and size.words <= _LONGEST_LINK:
            buttons.setdefault(" ".join("".join(element.itertext()).split()), []).append(element)
    for found in buttons.values():
        frames += found if len(found) >= _BUTTON else []
    return frames, doubtful


def _called(element: Any) -> str:
    return f"{element.get('class') or ''} {element.get('id') or ''}"


def _words(element: Any) -> set[str]:
    """The words of an element's classes and id: "related" and "posts" of "relatedPosts"."""
    return {word.lower() for word in _NAME.findall(_called(element))}


def _is_navigation(element: Any, size: _Size) -> bool:
    """Whether an element is navigation by its name, role or class, and holds no running text.

    A header, footer or aside of an article is part of it: https://www.w3.org/TR/html-aam-1.0/#mapping-html-to-aria
    """
    name, role = local_name(element), (element.get("role") or "").lower()
    whole = set(_called(element).lower().split())
    linked = size.words <= _SPOKEN or size.linked >= _FEW_LINKED * size.words
    if name in ("nav", "menu") or role in _ROLES or (linked and whole & _NAVIGATION) or element.get("id") in _IDS:
        return not size.is_prose
    if name in _LANDMARKS and not any(local_name(above) in _CONTENT for above in element.iterancestors()):
        return name == "footer" or not size.is_prose
    return bool(_words(element) & _NOTICES) and size.words <= _LONGEST_NOTICE


def _is_notice(element: Any, size: _Size) -> bool:
    """Whether an element asks for consent or claims rights, and does nothing else."""
    if local_name(element) not in BLOCKS or size.words > _LONGEST_CONSENT:
        return False
    text = " ".join(element.itertext())
    if size.words <= _LONGEST_RIGHTS and _RIGHTS.search(text):
        return True
    return bool(size.links and local_name(element) != "p" and _CONSENT.search(text))


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
    """The blocks without the short ones that trafilatura leaves out above the title and, where it finds most of the
    words, behind the last block that it knows. In between it leaves out answers of three words, too.
    """
    if not known:
        return blocks, []
    found = [2 * sum(run in known for run in runs) >= len(runs) for runs in (_runs(block.text) for block in blocks)]
    words = [len(_WORD.findall(block.text)) for block in blocks]
    share = sum(count for count, is_found in zip(words, found, strict=True) if is_found) / max(1, sum(words))
    title = next((at for at, block in enumerate(blocks) if block.kind == "heading" and block.level == 1), 0)
    end = max((at for at, is_found in enumerate(found) if is_found or words[at] > _SHORT), default=len(blocks))
    kept, left_out = list[Block](), list[LeftOut]()
    for at, block in enumerate(blocks):
        # links of a list have been judged; what else is listed there, or stands in rows, is no button
        spoken = (
            found[at]
            or block.kind in ("list", "table")
            or words[at] > _SHORT
            or _SENTENCE.search(block.text) is not None
        )
        above = at < title and words[at] <= _ABOVE
        behind = share >= _TRUSTED and at > end
        if not spoken and (above or behind):
            left_out += _noted(block.text, _OUTSIDE)
        else:
            kept.append(block)
    return kept, left_out


def _without_bare_headings(blocks: list[Block], every: list[Block]) -> list[Block]:
    """The blocks without headings of which all that stood below has been left out."""
    # a heading that stood alone before says something by itself
    alone = {block.text for block in _bare(every)}
    bare = {id(block) for block in _bare(blocks) if block.level > 1 and block.text not in alone}
    return [block for block in blocks if id(block) not in bare]


def _bare(blocks: list[Block]) -> list[Block]:
    """Headings that nothing follows, not even a deeper heading."""
    found = []
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        ends = following is None or (following.kind == "heading" and following.level <= block.level)
        if block.kind == "heading" and ends:
            found.append(block)
    return found
