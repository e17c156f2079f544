"""Mails (.eml) and mailboxes (.mbox): each mail is a document, each of its attachments a file to read in turn."""

from __future__ import annotations

import binascii
import contextlib
import email
import mimetypes
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import policy
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import reduce
from pathlib import Path
from typing import IO, Any

from denizen.data.decoding import decode
from denizen.ingest.document import Document, Failure, Limits, Member, UnreadableError
from denizen.ingest.mail_header import BROKEN, declared_charset, file_name, header_text
from denizen.ingest.mail_text import MailText, chosen, joined, mail_text
from denizen.ingest.records import UniqueNames, content_name
from denizen.ingest.text import shortened

# The older of the standard library's policies: the newer one parses headers while it reads, and a broken header
# ends the reading of the whole mail.
_POLICY = policy.compat32.clone(mangle_from_=False)
_FACTS = ("from", "to", "date", "message-id")
_LONGEST_FACT = 200
_LONGEST_ID = 80
_RAW = 200
_BLOCK = 1 << 20
# "From ", a sender, and a time with the year at its end
_MAIL_BEGINS = re.compile(rb"From .{0,200}\d\d:\d\d.{0,40}\d{4}")
_QUOTED_FROM = re.compile(rb">+From ")
_PLAIN = "text/plain"
# pages, also as some programs write them for telephones, and what has its markup like a page
_RICH = ("text/html", "text/x-amp-html", "text/watch-html", "text/enriched", "text/richtext")


@dataclass
class _Parts:
    """What is in a mail: texts that are read here, files of their own, and what is not read."""

    texts: list[MailText] = field(default_factory=list)
    files: list[Message] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    pictures: int = 0


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
    except BROKEN as error:
        raise UnreadableError(f"is a broken mail: {type(error).__name__}") from None
    if not mail.keys():
        raise UnreadableError("has no mail headers")
    name = names.unique(_name(mail, data)) if names else ""
    inside = f"{name}/" if name else ""
    facts = {fact: _fact(mail, fact) for fact in _FACTS}
    facts["left_out"] = _left_out(parts)
    metadata = {fact: value for fact, value in facts.items() if value}
    blocks = [block for text in parts.texts for block in text.blocks]
    yield Document(blocks, name, header_text(mail, "subject", declared_charset(mail)), metadata=metadata)
    for failure in parts.failures:
        yield Failure(f"{inside}{failure.name}", failure.error)
    yield from _attachments(parts.files, inside, room)


def _left_out(parts: _Parts) -> str:
    sizes: Counter[str] = sum((text.left_out for text in parts.texts), Counter())
    said = [f"{what}, {size:,} characters" for what, size in sizes.items()]
    return "; ".join([*said, f"pictures within HTML, {parts.pictures}"] if parts.pictures else said)


def _name(mail: Message, data: bytes) -> str:
    given = header_text(mail, "message-id").strip("<> ")
    safe = re.sub(r"[^A-Za-z0-9._@-]", "_", given).lstrip(".")
    # half of one could be another mail's; the blank line before the next mail is no part of this one
    return safe if 0 < len(safe) <= _LONGEST_ID else content_name(given or data.rstrip())


def _sort_parts(part: Message, parts: _Parts, related: bool) -> None:
    kind, main = part.get_content_type(), part.get_content_maintype()
    if main == "multipart" and part.is_multipart():
        children: list[Message] = part.get_payload()  # type: ignore[assignment]
        if kind == "multipart/alternative":
            _sort_forms(children, parts, related)
            return
        for child in children:
            _sort_parts(child, parts, related or kind == "multipart/related")
    # without its boundary, the parts of a multipart are one text
    elif main == "multipart" or (kind in (_PLAIN, *_RICH) and not _is_file(part)):
        try:
            parts.texts.append(mail_text(part, kind in _RICH))
        except (*BROKEN, UnreadableError) as error:
            why = str(error) if isinstance(error, UnreadableError) else type(error).__name__
            number = len(parts.texts) + len(parts.failures) + 1
            parts.failures.append(Failure(f"text-{number}", f"cannot be read: {why}"))
    elif related and main == "image" and not _is_file(part):
        parts.pictures += 1
    else:
        parts.files.append(part)


def _is_file(part: Message) -> bool:
    # pictures within HTML have names, too
    named = bool(part.get_filename()) and not part.get("content-id")
    return part.get_content_disposition() == "attachment" or named


def _sort_forms(children: list[Message], parts: _Parts, related: bool) -> None:
    """Of forms of one text, that which says the most; files among them, such as invitations, are files."""
    forms: list[MailText] = []
    for child in children:
        inside = _Parts()
        _sort_parts(child, inside, related)
        parts.files += inside.files
        parts.failures += inside.failures
        parts.pictures += inside.pictures
        if inside.texts:
            forms.append(joined(inside.texts))
    plain = [form for form in forms if not form.is_html and form.whole.strip()]
    # the best form stands last: https://www.rfc-editor.org/rfc/rfc2046#section-5.1.4
    rich = [form for form in reversed(forms) if form.is_html and form.blocks]
    said = [*plain, *rich] or forms[-1:]
    if said:
        parts.texts.append(reduce(lambda best, other: joined(chosen(best, other)), said))


def _fact(mail: Message, name: str) -> str:
    value = header_text(mail, name, declared_charset(mail))
    if name == "date":
        with contextlib.suppress(*BROKEN, OverflowError):
            return parsedate_to_datetime(value).isoformat()
    return shortened(value, _LONGEST_FACT)


def _attachments(files: list[Message], inside: str, room: _Room) -> Iterator[Member | Failure]:
    taken: set[str] = set()
    for number, part in enumerate(files, start=1):
        name = f"{inside}attachment-{number}"
        try:
            given = _file_name(part, number)
            name = inside + (f"{number}-{given}" if given in taken else given)
            taken.add(given)
            data = _content(part)
        except BROKEN as error:
            yield Failure(name, f"cannot be unpacked: {type(error).__name__}")
            continue
        if problem := room.problem(len(data)):
            yield Failure(name, problem)
            return
        # readers choose by the suffix, too
        suffix = Path(given).suffix
        with tempfile.NamedTemporaryFile(dir=Path.cwd(), prefix="attachment-", suffix=suffix) as file:
            file.write(data)
            file.flush()
            yield Member(name, Path(file.name))


def _content(part: Message) -> bytes:
    """The bytes of a file; a text's in UTF-8, as its reader does not know the charset that the mail declares."""
    if part.is_multipart():
        inner: list[Any] = part.get_payload()  # type: ignore[assignment]
        # against the standard, a mail in a mail may be in base64, which is taken for its body
        coded = part.get_content_type() == "message/rfc822" and "base64" in str(part.get("content-transfer-encoding"))
        if coded and not inner[0].keys():
            return binascii.a2b_base64(re.sub(r"[^A-Za-z0-9+/=]", "", str(inner[0].get_payload())))
        # a report of delivery is of several blocks of headers
        return b"\n".join(bytes(each.as_bytes(policy=_POLICY)) for each in inner)
    data: Any = part.get_payload(decode=True) or b""
    charset = declared_charset(part) if part.get_content_maintype() == "text" else ""
    return decode(data, charset).text.encode("utf-8", "replace") if charset else bytes(data)


def _file_name(part: Message, number: int) -> str:
    name, main = file_name(part), part.get_content_maintype()
    is_mail = part.get_content_type() in ("message/rfc822", "message/global", "message/news")
    if is_mail and not name.lower().endswith(".eml"):
        return f"{name or f'attachment-{number}'}.eml"
    if name:
        return name if not name.startswith(".") else f"attachment-{number}{name}"
    suffix = ".txt" if main == "message" else mimetypes.guess_extension(part.get_content_type()) or ".bin"
    return f"attachment-{number}{suffix}"
