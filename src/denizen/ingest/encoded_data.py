"""Pictures and other bytes that are written as text (base64): they are no text, and are taken out of it."""

from __future__ import annotations

import re
from dataclasses import replace

from denizen.ingest.document import Block, Document

# the shortest that is taken for bytes; a picture of one dot takes about as much
_FEWEST = 96
# also over several lines, which are at least as long as what mail programs and notebooks make
_LINE = 56
_CHARACTERS = "[A-Za-z0-9+/_-]"
_MORE_LINES = rf"(?:\s{{1,3}}{_CHARACTERS}{{{_LINE},}})*(?:\s{{1,3}}{_CHARACTERS}+={{1,2}}|={{0,2}})"
_DATA_URI = re.compile(
    rf"data:[\w.+-]*/?[\w.+-]*(?:;[\w.+-]+=?[\w.+-]*)*?(?:;base64,\s?[A-Za-z0-9+/_%-]*{_MORE_LINES}|,%[\w%.~!*:@&=+$,/?#-]*)"
)
_RUN = re.compile(rf"(?<![\w+/-]){_CHARACTERS}{{{_LINE},}}{_MORE_LINES}")
# how PNG, JPEG, GIF, WebP, BMP, TIFF, SVG, XML, PDF, zip and gzip begin
_BEGINNINGS = (
    "iVBORw0KGgo",
    "/9j/",
    "R0lGOD",
    "UklGR",
    "Qk",
    "SUkq",
    "TU0A",
    "PHN2Zy",
    "PD94bW",
    "JVBERi",
    "UEsDB",
    "H4sI",
)
# of the characters of any base64, capitals and small letters are 41 % each and digits 16 %; of those of a long name,
# path or word far less of one of them
_FEWEST_LETTERS, _FEWEST_DIGITS = 0.15, 0.05


def without_encoded_data(document: Document) -> Document:
    """The document without bytes in its blocks and its title; how many there were is in its metadata as `pictures`.

    Blocks of which nothing is left are left out.
    """
    title, count = _cleared(document.title)
    blocks: list[Block] = []
    for block in document.blocks:
        text, found = _cleared(block.text)
        count += found
        if not found:
            blocks.append(block)
        elif text:
            blocks.append(replace(block, text=text))
    if not count:
        return document
    count += int(document.metadata.get("pictures", "0"))
    return replace(document, title=title, blocks=blocks, metadata={**document.metadata, "pictures": str(count)})


def _cleared(text: str) -> tuple[str, int]:
    if len(text) < _FEWEST or ("data:" not in text and not _may_hold(text)):
        return text, 0
    count = 0

    def cut(found: re.Match[str]) -> str:
        nonlocal count
        if found[0].startswith("data:") or _is_encoded(found[0]):
            count += 1
            return ""
        return found[0]

    return _RUN.sub(cut, _DATA_URI.sub(cut, text)).strip(), count


def _may_hold(text: str) -> bool:
    return any(len(word) >= _LINE for word in text.split())


def _is_encoded(run: str) -> bool:
    characters = "".join(run.split())
    if len(characters) < _FEWEST:
        return False
    if characters.startswith(_BEGINNINGS):
        return True
    capitals, small = sum(map(str.isupper, characters)), sum(map(str.islower, characters))
    digits = sum(map(str.isdigit, characters))
    fewest = _FEWEST_LETTERS * len(characters)
    return min(capitals, small) >= fewest and digits >= _FEWEST_DIGITS * len(characters)
