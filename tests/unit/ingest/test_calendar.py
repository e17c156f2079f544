"""Calendars and cards; what is expected is written out by hand from the lines of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from denizen.ingest.calendar import read_calendar
from denizen.ingest.document import Block, Document, Limits


def read(tmp_path: Path, text: str | bytes) -> list[Document]:
    path = tmp_path / "a.ics"
    path.write_bytes(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode())
    found = list(read_calendar(path, Limits()))
    assert all(isinstance(each, Document) for each in found)
    return found  # type: ignore[return-value]


def test_an_invitation_is_a_document_of_lines(tmp_path):
    text = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VTIMEZONE
TZID:Vienna
END:VTIMEZONE
BEGIN:VEVENT
UID:1@example.org
DTSTART;TZID=Vienna:20260203T100000
DTEND:20260203T113000Z
SUMMARY:Budget\\, second
  reading
DESCRIPTION:Bring the figures.\\nUse room 4.
ATTENDEE;CN="Ann: B";ROLE=CHAIR:mailto:ann@example.org
BEGIN:VALARM
DESCRIPTION:Reminder
END:VALARM
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20260204
SUMMARY:Holiday
END:VEVENT
END:VCALENDAR
"""
    lines = [
        "dtstart: 2026-02-03 10:00",
        "dtend: 2026-02-03 11:30 UTC",
        "description: Bring the figures. Use room 4.",
        "attendee: Ann: B <ann@example.org>",
    ]
    assert read(tmp_path, text) == [
        Document([Block("text", "\n".join(lines))], "1", "Budget, second reading"),
        Document([Block("text", "dtstart: 2026-02-04")], "2", "Holiday"),
    ]


def test_a_card_in_quoted_printable(tmp_path):
    text = (
        "BEGIN:VCARD\nVERSION:2.1\nFN;ENCODING=QUOTED-PRINTABLE:J=C3=BCrgen Gr=C3=BCn\nTEL:+43 1 5550100\nEND:VCARD\n"
    )
    assert read(tmp_path, text) == [Document([Block("text", "tel: +43 1 5550100")], "1", "Jürgen Grün")]


@pytest.mark.parametrize("text", ["no calendar", "BEGIN:VEVENT\nDESCRIPTION:no calendar"])
def test_what_is_cut_off_or_none_keeps_its_text(tmp_path, text):
    [document] = read(tmp_path, text)
    assert "no calendar" in document.blocks[0].text
