"""Invitations and calendars (.ics, .vcs), and cards of addresses (.vcf): each entry is a document of lines."""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterator
from pathlib import Path

from denizen.ingest.document import Block, Document, Failure, Limits
from denizen.ingest.text import decoded

# RFC 5545 and RFC 6350
_ENTRIES = ("VEVENT", "VTODO", "VJOURNAL", "VCARD")
_TITLES = ("SUMMARY", "FN")
# what programs tell each other, and what is no text
_LEFT_OUT = ("BEGIN", "END", "UID", "DTSTAMP", "SEQUENCE", "VERSION", "PRODID", "PHOTO", "LOGO", "SOUND", "KEY", "REV")
_LINE = re.compile(r"(?:[\w-]+\.)?([\w-]+)((?:;(?:\"[^\"]*\"|[^\":])*)?):(.*)", re.DOTALL)
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d*(Z?))?")


def read_calendar(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Yields a document for each entry: what it is called, when and where it is, who takes part, what is said of it.

    Raises:
        UnreadableError: When it is no text.
    """
    # a line that begins with a blank goes on with the one before it
    text = re.sub(r"\n[ \t]", "", decoded(path.read_bytes()))
    lines: list[str] = []
    title, inside, alarm, number = "", "", "", 0
    for line in text.split("\n"):
        found = _LINE.fullmatch(line.strip())
        if not found:
            continue
        name, parameters, value = found[1].upper(), found[2], found[3]
        if alarm or (inside and name == "BEGIN"):
            # an alarm within an event says nothing of it
            alarm = "" if (name, value) == ("END", alarm) else alarm or value
        elif name == "BEGIN" and value.upper() in _ENTRIES:
            inside, number = value.upper(), number + 1
        elif name == "END" and value.upper() == inside:
            yield Document([Block("text", "\n".join(lines))] if lines else [], str(number), title)
            lines, title, inside = [], "", ""
        elif inside and name in _TITLES and not title:
            title = _plain(value, parameters)
        elif inside and name not in _LEFT_OUT and (said := _plain(value, parameters)):
            lines.append(f"{name.lower()}: {said}")
    if not number:
        yield Document([Block("text", " ".join(text.split()))] if text.strip() else [])
    elif inside:
        yield Document([Block("text", "\n".join(lines))] if lines else [], str(number), title)


def _plain(value: str, parameters: str) -> str:
    if "QUOTED-PRINTABLE" in parameters.upper():
        value = decoded(quopri.decodestring(value.encode("latin-1", "replace")))
    value = re.sub(r"\\(.)", lambda found: "\n" if found[1] in "nN" else found[1], value)
    value = _DATE.sub(_spelled, value) if _DATE.fullmatch(value) else value
    value = re.sub(r"^mailto:", "", value, flags=re.IGNORECASE)
    # who takes part has an address for a value, and a name beside it
    person = re.search(r";CN=(\"[^\"]*\"|[^;]*)", parameters, re.IGNORECASE)
    whole = "{} <{}>".format(person[1].strip('"'), value) if person else value
    return " ".join(whole.split()).strip("; ")


def _spelled(found: re.Match[str]) -> str:
    day = f"{found[1]}-{found[2]}-{found[3]}"
    return f"{day} {found[4]}:{found[5]}{' UTC' if found[6] else ''}" if found[4] else day
