"""Mails (.eml) and mailboxes (.mbox): each mail is a document, each of its attachments a file to read in turn."""

from __future__ import annotations

import contextlib
import email
import mimetypes
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import policy
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any

from denizen.ingest.document import Block, Document, Failure, Limits, Member, UnreadableError
from denizen.ingest.records import UniqueNames, content_name, text_blocks
from denizen.ingest.text import shortened

# The older of the standard library's policies: the newer one parses headers while it reads, and a broken header
# ends the reading of the whole mail.
_POLICY = policy.compat32.clone(mangle_from_=False)
# what that library lets out over mails that break their format
_BROKEN = (ValueError, LookupError, TypeError, AttributeError, AssertionError, MessageError, RecursionError)
_FACTS = ("from", "to", "date", "message-id")
_LONGEST_HEADER = 10_000
_LONGEST_FACT = 200
_LONGEST_NAME = 100
_LONGEST_ID = 80
_RAW = 200
_BLOCK = 1 << 20
# "From ", a sender, and a time with the year at its end
_MAIL_BEGINS = re.compile(rb"From .{0,200}\d\d:\d\d.{0,40}\d{4}")
_QUOTED_FROM = re.compile(rb">+From ")
# RFC 3676 has the blank at the end, which many programs take away
_SIGNATURE = ("-- ", "--")
# what is longer was set apart by the same line for another reason
_SIGNATURE_LINES = 10
_BULLET = re.compile(r"\s*[-*\u2022]\s+")
# "On ... wrote:", in any language
_ATTRIBUTION_LINES = 3


@dataclass
class _Parts:
    """The parts of a mail that are read here, and those that are files of their own."""

    bodies: list[Message] = field(default_factory=list)
    files: list[Message] = field(default_factory=list)


@dataclass
class _Room:
    """What attachments may still take."""

    limits: Limits
    members: int = 0
    size: int = 0

    def problem(self, size: int) -> str:
        self.members += 1
        self.size += size
        if self.members > self.limits.members:
            return f"is attachment {self.members}; the limit is {self.limits.members}, the rest is left out"
        if self.size > self.limits.unpacked_mb << 20:
            return f"attachments take more than {self.limits.unpacked_mb} MiB, the limit; the rest is left out"
        return ""


def read_mail(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """Reads a mail: its text, then its attachments.

    Plain text goes before HTML where a mail has both. A signature (at most 10 lines below "-- ") and the quoted mail
    at the end of plain text are left out where something else is said, and so are pictures that stand within HTML.

    Args:
        path: A .eml file.
        limits: Of it count `members` (attachments) and `unpacked_mb`.

    Yields:
        The document, with the subject as its title and the metadata `from`, `to`, `date`, `message-id` and `left_out`
        (such as "signature, 212 characters; quoted mail, 1,830 characters"); a member for each attachment, whose
        bytes lie in a temporary file in the current folder; failures for broken parts.

    Raises:
        UnreadableError: When it has no mail headers or cannot be taken apart.
    """
    yield from _mail(path.read_bytes(), None, _Room(limits))


def read_mbox(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """Reads a mailbox mail by mail; see `read_mail`.

    Args:
        path: A .mbox file; one mail of it at a time is held in memory.
        limits: Of it count `members` (attachments of all mails) and `unpacked_mb` (those, and also a single mail).

    Yields:
        What `read_mail` yields, under the mail's Message-ID or, where it has none, a digest of the mail: "17@host",
        "17@host/report.pdf" and so on; a failure, such as "message 3", for each mail that cannot be read.

    Raises:
        UnreadableError: When it does not begin as a mailbox does.
    """
    room, names = _Room(limits), UniqueNames()
    with path.open("rb") as file:
        for number, data in enumerate(_mails(file, limits.unpacked_mb << 20), start=1):
            if data is None:
                yield Failure(f"message {number}", f"is larger than {limits.unpacked_mb} MiB, the limit")
                continue
            try:
                yield from _mail(data, names, room)
            except UnreadableError as error:
                start = data[: 4 * _RAW].decode("utf-8", "replace")
                yield Failure(f"message {number}", str(error), shortened(start, _RAW))


def _mails(file: IO[bytes], largest: int) -> Iterator[bytes | None]:
    """The mails of a mailbox; None for one that is too large to be held."""
    start = file.readline(_BLOCK)
    if not start.startswith(b"From "):
        raise UnreadableError("is no mailbox: its first line does not begin with 'From '")
    # where the first separator has a time, a line of text such as "From my point of view" is none
    has_time = _MAIL_BEGINS.match(start) is not None
    lines: list[bytes] = []
    size, new_line, after_blank = 0, start.endswith(b"\n"), False
    while line := file.readline(_BLOCK):
        begins = new_line and after_blank and line.startswith(b"From ")
        if begins and (not has_time or _MAIL_BEGINS.match(line)):
            yield b"".join(lines) if size <= largest else None
            lines, size = [], 0
        else:
            size += len(line)
            if size > largest:
                lines = []
            else:
                lines.append(line[1:] if new_line and _QUOTED_FROM.match(line) else line)
        after_blank = new_line and not line.strip()
        new_line = line.endswith(b"\n")
    yield b"".join(lines) if size <= largest else None


def _mail(data: bytes, names: UniqueNames | None, room: _Room) -> Iterator[Document | Member | Failure]:
    """What is in a mail; with `names`, it is one of many and gets a name of its own."""
    try:
        mail = email.message_from_bytes(data, policy=_POLICY)
        parts = _Parts()
        if mail.keys():
            _sort_parts(mail, parts, False)
    except _BROKEN as error:
        raise UnreadableError(f"is a broken mail: {type(error).__name__}") from None
    if not mail.keys():
        raise UnreadableError("has no mail headers")
    name = names.unique(_name(mail, data)) if names else ""
    inside = f"{name}/" if name else ""
    blocks: list[Block] = []
    left_out: Counter[str] = Counter()
    failures: list[Failure] = []
    for number, part in enumerate(parts.bodies, start=1):
        try:
            blocks += _body_blocks(part, left_out)
        except (*_BROKEN, UnreadableError) as error:
            failures.append(Failure(f"{inside}text-{number}", f"cannot be read: {type(error).__name__}"))
    facts = {fact: _fact(mail, fact) for fact in _FACTS}
    facts["left_out"] = "; ".join(f"{what}, {size:,} characters" for what, size in left_out.items())
    metadata = {fact: value for fact, value in facts.items() if value}
    yield Document(blocks, name, _header(mail, "subject"), metadata=metadata)
    yield from failures
    yield from _attachments(parts.files, inside, room)


def _name(mail: Message, data: bytes) -> str:
    given = _header(mail, "message-id").strip("<> ")
    safe = re.sub(r"[^A-Za-z0-9._@-]", "_", given).lstrip(".")
    # half of one could be another mail's; the blank line before the next mail is no part of this one
    return safe if 0 < len(safe) <= _LONGEST_ID else content_name(given or data.rstrip())


def _sort_parts(part: Message, parts: _Parts, related: bool) -> None:
    kind, main = part.get_content_type(), part.get_content_maintype()
    if main == "multipart" and part.is_multipart():
        children: list[Message] = part.get_payload()  # type: ignore[assignment]
        if kind == "multipart/alternative":
            children = _preferred(children)
        for child in children:
            _sort_parts(child, parts, related or kind == "multipart/related")
    elif main == "multipart":
        # without its boundary, the parts are one text
        parts.bodies.append(part)
    elif kind in ("text/plain", "text/html") and not _is_file(part):
        parts.bodies.append(part)
    # a picture within HTML; a report of delivery
    elif not (related and main == "image" and not _is_file(part)) and not kind.startswith("message/delivery"):
        parts.files.append(part)


def _is_file(part: Message) -> bool:
    # pictures within HTML have names, too
    named = bool(part.get_filename()) and not part.get("content-id")
    return part.get_content_disposition() == "attachment" or named


def _preferred(children: list[Message]) -> list[Message]:
    """Of forms of the same text the plain one, otherwise the last, which is the richest."""
    plain = [child for child in children if child.get_content_type() == "text/plain" and _text(child).strip()]
    rich = [child for child in children if child.get_content_type().startswith(("text/html", "multipart/"))]
    return plain[:1] or rich[-1:] or children[-1:]


def _text(part: Message) -> str:
    payload: Any = part.get_payload(decode=True) or b""
    for charset in (part.get_content_charset() or "utf-8", "utf-8"):
        try:
            return _characters(payload.decode(charset))
        except (LookupError, UnicodeError, ValueError):
            continue
    return str(payload.decode("cp1252", "replace"))


def _body_blocks(part: Message, left_out: Counter[str]) -> list[Block]:
    """The blocks of a text; the characters that are left out are added to `left_out`."""
    text = _text(part)
    if part.get_content_type() == "text/html":
        from denizen.ingest.html import html_blocks, parsed_html

        # a page may name its encoding where the mail does not
        page: Any = text if part.get_content_charset() else part.get_payload(decode=True)
        return html_blocks(parsed_html(page)) if text.strip() else []
    blocks: list[Block] = []
    own = _own_lines(text.splitlines(), left_out)
    for paragraph in re.split(r"\n(?:[^\S\n]*\n)+", "\n".join(own)):
        lines = [line for line in paragraph.split("\n") if line.strip()]
        if len(lines) > 1 and all(_BULLET.match(line) for line in lines):
            items = (" ".join(_BULLET.sub("", line, count=1).split()) for line in lines)
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


def _header(mail: Message, name: str) -> str:
    found = next((str(value) for key, value in mail.raw_items() if key.lower() == name), "")
    raw = shortened(found, _LONGEST_HEADER)
    data = raw.encode("utf-8", "surrogateescape")
    try:
        raw = data.decode("utf-8")
    except UnicodeDecodeError:
        raw = data.decode("cp1252", "replace")
    try:
        pieces = decode_header(raw)
    except _BROKEN:
        return " ".join(raw.split())
    text = "".join(_decoded_word(piece, charset) for piece, charset in pieces)
    return " ".join(_characters(text).split())


def _characters(text: str) -> str:
    """The text without halves of surrogate pairs, which some charsets make and UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _decoded_word(piece: bytes | str, charset: str | None) -> str:
    if isinstance(piece, str):
        return piece
    try:
        # what stands between encoded words comes in this form
        return piece.decode(charset or "raw-unicode-escape", "replace")
    except (LookupError, ValueError):
        return piece.decode("cp1252", "replace")


def _fact(mail: Message, name: str) -> str:
    value = _header(mail, name)
    if name == "date":
        with contextlib.suppress(*_BROKEN, OverflowError):
            return parsedate_to_datetime(value).isoformat()
    return shortened(value, _LONGEST_FACT)


def _attachments(files: list[Message], inside: str, room: _Room) -> Iterator[Member | Failure]:
    taken: set[str] = set()
    for number, part in enumerate(files, start=1):
        name = f"{inside}attachment-{number}"
        try:
            file_name = _file_name(part, number)
            name = inside + (f"{number}-{file_name}" if file_name in taken else file_name)
            taken.add(file_name)
            data = _content(part)
        except _BROKEN as error:
            yield Failure(name, f"cannot be unpacked: {type(error).__name__}")
            continue
        if problem := room.problem(len(data)):
            yield Failure(name, problem)
            return
        # readers choose by the suffix, too
        suffix = Path(file_name).suffix
        with tempfile.NamedTemporaryFile(dir=Path.cwd(), prefix="attachment-", suffix=suffix) as file:
            file.write(data)
            file.flush()
            yield Member(name, Path(file.name))


def _content(part: Message) -> bytes:
    if part.is_multipart():
        inner: Any = part.get_payload(0)
        return bytes(inner.as_bytes(policy=_POLICY))
    payload: Any = part.get_payload(decode=True)
    return payload or b""


def _file_name(part: Message, number: int) -> str:
    """The name that the mail gives the file, as one that is safe on every system."""
    given = "".join(_decoded_word(piece, charset) for piece, charset in decode_header(part.get_filename() or ""))
    last = re.split(r"[/\\]", given)[-1]
    safe = re.sub(r"[^\w.,()@+ -]", "_", " ".join(last.split())).lstrip(". ").rstrip(". ")
    stem, dot, suffix = safe.rpartition(".")
    suffix = re.sub(r"\W", "", suffix)[:10] if dot else ""
    short = shortened(stem if suffix else safe, _LONGEST_NAME) or (f"attachment-{number}" if safe else "")
    name = f"{short}.{suffix}" if suffix else short
    if part.get_content_maintype() == "message" and suffix.lower() != "eml":
        return f"{name or f'attachment-{number}'}.eml"
    if name:
        return name
    return f"attachment-{number}{mimetypes.guess_extension(part.get_content_type()) or '.bin'}"
