"""Headers of mails as text: encoded words (RFC 2047), parameters (RFC 2231), and what programs write instead."""

from __future__ import annotations

import binascii
import re
from email.errors import MessageError
from email.message import Message
from email.utils import decode_params
from itertools import groupby
from unicodedata import category

from denizen.data.decoding import decode
from denizen.ingest.text import shortened

# what the standard library lets out over mails that break their format
BROKEN = (ValueError, LookupError, TypeError, AttributeError, AssertionError, MessageError, RecursionError)
_LONGEST = 10_000
_LONGEST_NAME = 100
# =?charset?B?text?=, also with blanks in its text, where RFC 2047 has none
_WORD = re.compile(rb"=\?([^?\s]*)\?([bq])\?(.*?)\?=", re.IGNORECASE | re.DOTALL)
# name=value; quotes may be missing around blanks
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)


def raw_header(part: Message, name: str) -> bytes:
    """The bytes of the first header of a name, in lower case; b"" without one."""
    found = next((str(value) for key, value in part.raw_items() if key.lower() == name), "")
    return found[:_LONGEST].encode("utf-8", "surrogateescape")


def header_text(part: Message, name: str, charset: str = "") -> str:
    """A header as text in one line.

    Args:
        part: A mail, or a part of one.
        name: The header's name, in lower case.
        charset: What bytes beyond ASCII outside of encoded words may be in: that of the body.
    """
    text = shortened(words_text(raw_header(part, name), charset), _LONGEST)
    return " ".join(text.split())


def words_text(raw: bytes, charset: str = "") -> str:
    """Bytes with encoded words as text; the bytes of neighbours are joined, as characters may be cut between them."""
    pieces: list[tuple[str, bytes, bytes]] = []
    end = 0
    for found in _WORD.finditer(raw):
        if found[2] in b"bB" and len(found[3]) < 2:
            continue
        between = raw[end : found.start()]
        # blanks between two encoded words are none of the text
        if between.strip() or not end:
            pieces.append(("", b"", between))
        label, kind, text = found.groups()
        pieces.append((label.decode("ascii", "replace").lower(), kind.lower(), text))
        end = found.end()
    pieces.append(("", b"", raw[end:]))
    declared = [label for label, _, _ in pieces if label]
    text = ""
    for (label, kind), group in groupby(pieces, key=lambda piece: piece[:2]):
        joined = _joined(kind, [text for _, _, text in group])
        text += _characters(joined, label) if label or kind else _characters(joined, charset, *declared)
    return text


def _joined(kind: bytes, texts: list[bytes]) -> bytes:
    if kind == b"q":
        return binascii.a2b_qp(b"".join(texts), header=True)
    if kind == b"b":
        whole = [text for text in texts if len(text.rstrip(b"=")) % 4 != 1]
        # some programs cut base64 itself into words
        parts = whole if len(whole) == len(texts) else [b"".join(texts)]
        return b"".join(map(_from_base64, parts))
    return b"".join(texts)


def _from_base64(text: bytes) -> bytes:
    plain = re.sub(rb"[^A-Za-z0-9+/]", b"", text)
    return binascii.a2b_base64(plain[: len(plain) - (len(plain) % 4 == 1)] + b"==")


def _characters(data: bytes, *declared: str) -> str:
    """The text without halves of surrogate pairs, which some charsets make and UTF-8 cannot hold."""
    return decode(data, *declared).text.encode("utf-8", "replace").decode("utf-8")


def parameters(part: Message, header: str) -> dict[str, str]:
    """The parameters of a header by their names in lower case, decoded; also those in several pieces.

    Raises:
        ValueError: When the numbers of pieces are none.
    """
    given = [("", "")]
    for name, value in _PARAMETER.findall(raw_header(part, header)):
        quoted = value[:1] == b'"' and len(value) > 1
        plain = re.sub(rb"\\(.)", rb"\1", value[1:-1]) if quoted else value.strip(b'" \t\r\n')
        given.append((name.decode("latin-1").lower(), plain.decode("latin-1")))
    found: dict[str, str] = {}
    for name, value in decode_params(given)[1:]:
        charset, _, text = value if isinstance(value, tuple) else ("", "", value)
        # decode_params puts the quotes back
        plain = text.removeprefix('"').removesuffix('"').encode("latin-1", "replace")
        found.setdefault(name, words_text(plain, charset or ""))
    return found


def declared_charset(part: Message) -> str:
    """The charset that a part declares for itself; "" without one, or where the header is broken."""
    try:
        return parameters(part, "content-type").get("charset", "")
    except BROKEN:
        return ""


def file_name(part: Message) -> str:
    """The name that a mail gives a part, as one that is safe on every system; "" without one.

    Raises:
        ValueError: When it is broken beyond reading.
    """
    given = parameters(part, "content-disposition").get("filename") or parameters(part, "content-type").get("name", "")
    last = re.split(r"[/\\]", given)[-1]
    kept = (each if each in "_.,()@+ -" or category(each)[0] in "LMN" else "_" for each in " ".join(last.split()))
    safe = "".join(kept).strip(". ")
    stem, dot, suffix = safe.rpartition(".")
    suffix = re.sub(r"\W", "", suffix)[:10] if dot else ""
    short = shortened(stem if suffix else safe, _LONGEST_NAME)
    return f"{short}.{suffix}" if suffix else short
