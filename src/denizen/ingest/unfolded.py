"""What a page keeps folded, unfolded: answers that a click shows, templates, alternative texts, questions in buttons.

The tree of the page is changed so that those who walk it see all that a person could make visible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from denizen.ingest.document import LeftOut
from denizen.ingest.html import parsed_html
from denizen.ingest.markup import BLOCKS, UNSEEN, local_name, shows_nothing, visible_text

# fewer words are labels of a program, not something to read
_FEWEST = 8
# what has fewer words, such as the answer "Yes.", stands somewhere on any page by chance
_FEWEST_REPEATED = 4
_NOTICE = 60
# pages of more hidden parts, or longer ones, are not compared with what is shown
_MOST_HIDDEN = 2_000
_LARGEST_JSON = 20_000_000
# letters of a piece by which a long text is looked up, and between two of them
_PIECE, _STRIDE = 12, 8
_PLACEHOLDERS = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|<%.*?%>|\$\{.*?\}", re.DOTALL)
_PROGRAMS = re.compile(
    r"^$|module|importmap|speculationrules|shader|(?:java|ecma|type|live|vb|coffee)script|babel|jsx|wasm|python"
)
_PROGRAM = "is data of the page's program"
_TAG = re.compile(r"<[a-zA-Z!/]")
_TAGS = re.compile(r"<[^>]*>")
_NO_SCRIPTS = re.compile(r"java\s?script|your browser|browser does", re.IGNORECASE)
_STATE = re.compile(r"\A[^{\[=]*=\s*(?=[{\[])")
_FILE_NAME = re.compile(r"\S+\.\w{3,4}")
_SAYS_NOTHING = re.compile(
    r"(?:\W|\d|the|a|an|of|image|img|picture|photo|photograph|icon|logo|avatar|banner|thumbnail|spacer)*", re.I
)
_TIPS = ("data-content", "data-bs-content", "data-tooltip", "data-tippy-content", "data-original-title", "data-tip")
_ABBREVIATIONS = frozenset({"abbr", "acronym", "dfn"})
_FALLBACKS = frozenset({"object", "audio", "video", "canvas", "iframe"})
_CHOICES = frozenset({"select", "datalist"})
# of schema.org: what an object says, in the order in which it is read
_SAID = (
    "name",
    "headline",
    "description",
    "articleBody",
    "text",
    "reviewBody",
    "recipeIngredient",
    "recipeInstructions",
)
_HELD = (
    *("@graph", "mainEntity", "mainEntityOfPage", "acceptedAnswer", "suggestedAnswer", "hasPart", "step", "item"),
    *("itemListElement", "recipeInstructions", "review", "comment"),
)
_SPEAKING = re.compile(r"article|posting|page|question|answer|howto|recipe|review|product|event|course|job|step", re.I)


def unfold(root: Any) -> list[LeftOut]:
    """Shows what is folded in a page; returns what is not, though it has more than a few words.

    Args:
        root: The page's root, which is changed.
    """
    left_out: list[LeftOut] = []
    shown = _squeezed(visible_text(root))
    told: set[str] = set()
    hidden = 0
    waiting = list(root.iter())
    for element in waiting:
        name = local_name(element)
        if not name or (element.getparent() is None and element is not root):
            continue
        if shows_nothing(element):
            hidden += 1
            _show_hidden(element, shown if hidden <= _MOST_HIDDEN else "")
        element.attrib.pop("aria-hidden", None)
        if name in ("script", "template", "textarea", "noscript") or name in _FALLBACKS:
            # what comes out of a template may be folded, too
            waiting += _show_template(name, element, left_out)
        elif name in _CHOICES:
            if text := " ".join(" ".join(element.itertext()).split()):
                left_out.append(LeftOut(text, "is a choice of a form"))
        elif name in ("img", "area", "input", "svg"):
            _show_alternative(name, element, told)
        elif name in ("button", "label"):
            # a question that its answer hangs on is a line of its own
            words = visible_text(element)
            if len(words.split()) >= 4 or words.endswith("?"):
                element.tag = "div"
        _show_tip(name, element)
    return left_out


def said_in_data(root: Any, blocks_text: str) -> tuple[list[str], list[LeftOut]]:
    """What the page's data say and the page does not: articles, questions and answers of JSON-LD.

    Where the page itself says next to nothing, also the longer texts of the data that its program draws it from;
    elsewhere these are left out.

    Args:
        root: The page's root.
        blocks_text: What the page says.
    """
    bare = len(blocks_text.split()) < 4 * _FEWEST
    texts: list[str] = []
    of_programs: list[str] = []
    for script in root.iter("script"):
        content = (script.text or "").strip()
        kind = (script.get("type") or "").lower()
        if len(content) > _LARGEST_JSON:
            continue
        if kind == "application/ld+json":
            texts += _said(_json(content))
        elif kind.endswith("json") or _STATE.match(content):
            (texts if bare else of_programs).extend(_long_strings(_json(_STATE.sub("", content))))
    known = _Known(_squeezed(blocks_text))
    fresh = known.unknown(texts)
    return fresh, [LeftOut(text, _PROGRAM) for text in known.unknown(of_programs)]


class _Known:
    """Texts by which others are known that stand in them; what a program's data hold may be megabytes of both.

    Pieces of them, each `_STRIDE` letters behind the last, are indexed: of a longer text that stands in them one of its
    first `_STRIDE` places is a piece, so that most texts are told to be new without a search.
    """

    def __init__(self, said: str) -> None:
        self.texts: list[str] = []
        self.pieces: dict[str, set[int]] = {}
        self._add(said)

    def unknown(self, texts: list[str]) -> list[str]:
        """The texts that say what is not known, each once; they are known from now on."""
        fresh: list[str] = []
        for text in dict.fromkeys(texts):
            key = _squeezed(_TAGS.sub(" ", text))
            if key and not self._holds(key):
                fresh.append(text)
                self._add(key)
        return fresh

    def _add(self, said: str) -> None:
        for at in range(0, len(said) - _PIECE + 1, _STRIDE):
            self.pieces.setdefault(said[at : at + _PIECE], set()).add(len(self.texts))
        self.texts.append(said)

    def _holds(self, key: str) -> bool:
        if len(key) < _STRIDE + _PIECE:
            return any(key in text for text in self.texts)
        places = (self.pieces.get(key[at : at + _PIECE], ()) for at in range(_STRIDE))
        return any(key in self.texts[at] for at in {at for found in places for at in found})


def _squeezed(text: str) -> str:
    return re.sub(r"\W+", "", text).casefold()


def _show_hidden(element: Any, shown: str) -> None:
    """Shows a hidden element, unless what it says is shown elsewhere, as a page for telephones repeats its menu."""
    text = "".join(element.itertext())
    if shown and len(text.split()) >= _FEWEST_REPEATED and _squeezed(text) in shown:
        return
    element.attrib.pop("hidden", None)
    element.attrib.pop("style", None)


def _show_template(name: str, element: Any, left_out: list[LeftOut]) -> list[Any]:
    """Puts what a template or a frame holds in its place; returns the elements that this makes."""
    kind = (element.get("type") or "").lower()
    if name == "script" and (_PROGRAMS.search(kind) or "json" in kind):
        return []
    made: list[Any] = []
    srcdoc = element.get("srcdoc") or ""
    shadow = element.get("shadowrootmode", element.get("shadowroot"))
    is_shown = bool(srcdoc) or name == "noscript" or shadow is not None
    content = srcdoc or (element.text or "")
    if content and not len(element) and (srcdoc or name in ("script", "textarea", "noscript")):
        element.text = None
        element.extend(_children(content))
        made = list(element.iterdescendants())
    for part in element.iter():
        for attribute in ("text", "tail"):
            words = getattr(part, attribute) if part is not element or attribute == "text" else None
            if words and isinstance(part.tag, str) and "{" in words:
                setattr(part, attribute, _PLACEHOLDERS.sub(" ", words))
    element.tag = "div"
    # what is folded in it is shown later
    pieces = [element.text]
    for part in element.iterdescendants():
        pieces += [part.text if local_name(part) not in UNSEEN else None, part.tail]
    text = " ".join(" ".join(filter(None, pieces)).split())
    words = len(text.split())
    notice = name in ("noscript", *_FALLBACKS) and words < _NOTICE and _NO_SCRIPTS.search(text)
    if notice or (not is_shown and words < _FEWEST):
        if text:
            left_out.append(LeftOut(text, "is said to other browsers" if notice else "is a template with few words"))
        element.set("hidden", "")
        return []
    head = next(element.iterancestors("head"), None)
    body = head.getnext() if head is not None else None
    if body is not None:
        body.append(element)
    return made


def _children(content: str) -> list[Any]:
    content = _PLACEHOLDERS.sub(" ", content.strip().removeprefix("<!--").removesuffix("-->"))
    if not _TAG.search(content):
        content = "".join(f"<p>{part}</p>" for part in re.split(r"\n\s*\n", content))
    root = parsed_html(content)
    body = root.find("body")
    return list(root if body is None else body)


def _show_alternative(name: str, element: Any, told: set[str]) -> None:
    if name == "input":
        kind = (element.get("type") or "").lower()
        text = element.get("value", "") if kind in ("button", "submit", "reset") else ""
        text = element.get("alt", "") if kind == "image" else text
        fewest = 4
    else:
        text = element.get("aria-label", "") if name == "svg" else element.get("alt") or element.get("title") or ""
        fewest = 2
    text = " ".join(text.split())
    if len(text.split()) < fewest or text in told or _SAYS_NOTHING.fullmatch(text) or _FILE_NAME.fullmatch(text):
        return
    told.add(text)
    if name == "svg":
        element.clear(keep_tail=True)
    element.tag = "span"
    element.text = f" {text} "


def _show_tip(name: str, element: Any) -> None:
    """Puts what is shown when one points at an element behind its text."""
    tip = next((element.get(tip, "") for tip in _TIPS if element.get(tip)), "")
    fewest = 1 if tip or name in _ABBREVIATIONS else _FEWEST - 2
    if not tip and name not in ("a", "img", "iframe", "link", "style", "svg", "input", "html", "body"):
        tip = element.get("title", "")
    words = " ".join(_TAGS.sub(" ", tip).split())
    if len(words.split()) >= fewest and _squeezed(words) not in _squeezed("".join(element.itertext())):
        from lxml import html

        # a new element, so that the element's own text and children stay as they are
        added = html.Element("p" if name in BLOCKS else "span")
        added.text = f" ({words})" if name not in BLOCKS else words
        element.append(added)


def _json(content: str) -> Any:
    try:
        return json.JSONDecoder(strict=False).raw_decode(content)[0]
    except (ValueError, RecursionError):
        return None


def _said(found: Any) -> Iterator[str]:
    """What objects of schema.org say that are made to be read; a publisher's address and the like are not.

    An answer of few words is said with its question, as it says nothing alone.
    """
    stack = [(found, "")]
    while stack:
        value, asked = stack.pop()
        if isinstance(value, list):
            stack += [(each, asked) for each in reversed(value)]
        elif isinstance(value, dict):
            kind = value.get("@type")
            kinds = kind if isinstance(kind, list) else [kind]
            if any(isinstance(each, str) and _SPEAKING.search(each) for each in kinds):
                for name in _SAID:
                    said = value.get(name)
                    for text in said if isinstance(said, list) else [said]:
                        if isinstance(text, str):
                            is_short = name == "text" and len(text.split()) < _FEWEST_REPEATED
                            yield f"{asked} {text}" if asked and is_short else text
            question = value.get("name")
            asked = question if kind == "Question" and isinstance(question, str) else ""
            stack += [(value[held], asked) for held in reversed(_HELD) if isinstance(value.get(held), dict | list)]


def _long_strings(found: Any) -> Iterator[str]:
    stack = [found]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            if len(value.split()) >= _FEWEST and not value.startswith(("http", "data:", "{", "[")):
                yield value
        elif isinstance(value, dict | list):
            stack += reversed(list(value.values()) if isinstance(value, dict) else value)
