"""The texts of a mail: what its parts say without the quoted mail and the signature, and which of two forms is read."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from dataclasses import dataclass
from email.message import Message
from typing import Any

from denizen.ingest.document import Block
from denizen.ingest.mail_header import BROKEN, declared_charset, parameters
from denizen.ingest.records import text_blocks
from denizen.ingest.text import decoded

# RFC 3676 has the blank at the end, which many programs take away
_SIGNATURE = ("-- ", "--")
# what is longer was set apart by the same line for another reason
_SIGNATURE_LINES = 10
_BULLET = re.compile(r"\s*[-*\u2022]\s+")
# "On ... wrote:", in any language
_ATTRIBUTION_LINES = 3
# the share of a text beyond which it says more than its other form, and the letters beyond which it says much
_ADDS = 0.2
_MUCH = 200
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
_AFTER_BASE64 = re.compile(r"(?:=[ \t\r]*|\n[ \t\r]*)\n\s*(\S*[^A-Za-z0-9+/=\s].*)", re.DOTALL)


@dataclass
class MailText:
    """A text of a mail, as one of its parts has it.

    Attributes:
        blocks: What is said in it.
        whole: All its characters, with what is left out of the blocks.
        is_html: Whether it is a page.
        left_out: Characters that are left out, by what they are.
    """

    blocks: list[Block]
    whole: str
    is_html: bool
    left_out: Counter[str]


def joined(texts: list[MailText]) -> MailText:
    """Several texts, such as those before and behind a picture, as one."""
    return MailText(
        [block for text in texts for block in text.blocks],
        "\n".join(text.whole for text in texts),
        any(text.is_html for text in texts),
        sum((text.left_out for text in texts), Counter()),
    )


def chosen(first: MailText, second: MailText) -> list[MailText]:
    """Of two forms the first, unless the second says more; both where each says much that the other does not.

    A plain part that only says that there is a page, in whatever language, has little of what the page says; where it
    has more words than the page, nobody can tell that it says nothing, and both are read.
    """
    of_first, of_second = _trigrams(first.whole), _trigrams(second.whole)
    only_first, only_second = (of_first - of_second).total(), (of_second - of_first).total()
    if only_second <= _ADDS * of_second.total():
        return [first]
    if only_first > min(only_second, max(_MUCH, of_first.total() / 2)):
        return [first, second]
    if only_first > _ADDS * of_first.total():
        second.left_out["the other form of the text"] += len(first.whole.strip())
    return [second]


def _trigrams(text: str) -> Counter[str]:
    """Letters in threes, which need no words; addresses of pages are no text."""
    letters = "".join(re.findall(r"\w", _ADDRESS.sub("", text).casefold()))
    return Counter(letters[at : at + 3] for at in range(max(bool(letters), len(letters) - 2)))


def _payload(part: Message) -> bytes:
    """The bytes of a part, and below them the text that a mailing list has put behind base64."""
    payload: Any = part.get_payload(decode=True) or b""
    if str(part.get("content-transfer-encoding", "")).strip().lower() == "base64":
        raw: Any = part.get_payload()
        after = _AFTER_BASE64.search(str(raw))
        return bytes(payload) + b"\n\n" + after[1].encode("ascii", "surrogateescape") if after else bytes(payload)
    return bytes(payload)


def mail_text(part: Message, is_html: bool) -> MailText:
    """A part as text.

    Raises:
        UnreadableError: When it is none.
    """
    payload = _payload(part)
    if is_html:
        from denizen.ingest.html import declared_encoding, html_blocks, parsed_html
        from denizen.ingest.unfolded import unfold

        # a page may name its encoding where the mail does not
        page = _characters(decoded(payload, declared_charset(part), declared_encoding(payload)))
        if not page.strip():
            return MailText([], "", True, Counter())
        root = parsed_html(page)
        unseen = sum(len(item.text) for item in unfold(root))
        blocks = html_blocks(root)
        left_out = Counter({"parts of the page that are not shown": unseen} if unseen else {})
        return MailText(blocks, "\n".join(block.text for block in blocks), True, left_out)
    text = _characters(decoded(payload, declared_charset(part)))
    with contextlib.suppress(*BROKEN):
        wrapped = parameters(part, "content-type")
        if wrapped.get("format", "").lower() == "flowed":
            text = _unwrapped(text, wrapped.get("delsp", "").lower() == "yes")
    left_out = Counter[str]()
    blocks = _text_blocks(_own_lines(text.split("\n"), left_out))
    return MailText(blocks, text, False, left_out)


def _unwrapped(text: str, without_blank: bool) -> str:
    """Lines that were wrapped as RFC 3676 has it, joined again."""
    lines: list[str] = []
    open_at = ""
    for line in text.split("\n"):
        depth = re.match(r">*", line)[0]  # type: ignore[index]
        said = line[len(depth) :].removeprefix(" ")
        if lines and open_at == depth + " " and said != "-- ":
            lines[-1] += said
        else:
            lines.append(f"{depth} {said}" if depth else said)
        flows = said.endswith(" ") and said != "-- "
        open_at = depth + " " if flows else ""
        if flows and without_blank:
            lines[-1] = lines[-1][:-1]
    return "\n".join(lines)


def _text_blocks(lines: list[str]) -> list[Block]:
    blocks: list[Block] = []
    for paragraph in re.split(r"\n(?:[^\S\n]*\n)+", "\n".join(lines)):
        filled = [line for line in paragraph.split("\n") if line.strip()]
        if len(filled) > 1 and all(_BULLET.match(line) for line in filled):
            items = (" ".join(_BULLET.sub("", line, count=1).split()) for line in filled)
            blocks.append(Block("list", "\n".join(f"- {item}" for item in items)))
        else:
            blocks += text_blocks(paragraph)
    return blocks


def _own_lines(lines: list[str], left_out: Counter[str]) -> list[str]:
    """The lines without the quoted mail at the end and the signature; what would be all there is stays."""
    # a quote may stand on either side of the signature
    unquoted = _without_quote(lines)
    unsigned = _without_signature(unquoted)
    own = _without_quote(unsigned)
    if not "".join(own).strip():
        unquoted, unsigned = lines, _without_signature(lines)
        own = unsigned
    if not "".join(own).strip():
        return lines
    left_out["signature"] += _size(unquoted[len(unsigned) :])
    left_out["quoted mail"] += _size(unsigned[len(own) :]) + _size(lines[len(unquoted) :])
    left_out += Counter()
    return own


def _size(lines: list[str]) -> int:
    return len("\n".join(lines).strip())


def _without_signature(lines: list[str]) -> list[str]:
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    starts = [number for number in range(max(0, end - 1 - _SIGNATURE_LINES), end) if lines[number] in _SIGNATURE]
    return lines[: starts[-1]] if starts else lines


def _without_quote(lines: list[str]) -> list[str]:
    end = len(lines)
    while end and (not lines[end - 1].strip() or lines[end - 1].startswith(">")):
        end -= 1
    if not any(line.startswith(">") for line in lines[end:]):
        return lines
    begin = end
    while begin and lines[begin - 1].strip():
        begin -= 1
    attribution = " ".join(lines[begin:end])
    # "On 3 May, N. N. wrote:" names a time or an address
    is_attribution = attribution.rstrip().endswith(":") and re.search(r"\d|@", attribution)
    return lines[:begin] if is_attribution and end - begin <= _ATTRIBUTION_LINES else lines[:end]


def _characters(text: str) -> str:
    """The text without halves of surrogate pairs, which some charsets make and UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
