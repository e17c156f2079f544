"""What a file is, by its content first and its name second."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from denizen.ingest import kinds
from denizen.ingest.kinds import READERS, SUFFIXES, kind_of, unpacked_name, why_not

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


def _zip(*names: str, mimetype: str = "") -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "x")
    return found.getvalue()


def _tar(compression: str = "") -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode=f"w:{compression}") as archive:
        entry = tarfile.TarInfo("a.txt")
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"a"))
    return found.getvalue()


MAIL = b"Received: from here\n by there\nFrom: a@b.example\nSubject: x\n\nText\n"
PAGE = b"<!-- saved -->\n<!DOCTYPE html><html><p>x"
WORD = _zip("[Content_Types].xml", "word/document.xml")
KINDS = [
    ("a.txt", b"some text", "text"),
    ("A.TXT", b"some text", "text"),
    ("notes", b"some text", "text"),
    ("a.py", b"x = 1\n", "text"),
    ("a.txt", b"", "text"),
    ("a.txt", "\ufeffWort".encode("utf-16"), "text"),
    ("a.txt", "word and word".encode("utf-16-le"), "text"),
    ("a.txt", b"<p>is how a paragraph begins", "text"),
    ("a.md", b"<html> is a tag", "markdown"),
    ("a.html", b"plain words", "html"),
    ("a.html", b"<?xml version='1.0'?><html/>", "html"),
    ("a.html", MAIL, "mail"),
    ("a.txt", PAGE, "html"),
    ("a", PAGE, "html"),
    ("a.pdf", PAGE, "html"),
    ("a.docx", PAGE, "html"),
    ("a.xls", PAGE, "html"),
    ("a.json", PAGE, "html"),
    ("a.xml", b"<?xml version='1.0'?><!-- c --><html/>", "html"),
    ("a.xml", b"<?xml version='1.0'?><root/>", "xml"),
    ("a.xml", b"<root/>", "xml"),
    ("a.xml", b"words", "text"),
    ("a", b"<?xml version='1.0'?><root/>", "xml"),
    ("a.jsonl", b"{}\n", "jsonl"),
    ("a.csv", b"a,b\n", "delimited"),
    ("a.ics", b"BEGIN:VCALENDAR\n", "calendar"),
    ("a.jsonl.gz", gzip.compress(b"{}\n"), "jsonl"),
    ("a.jsonl.gz", b"{}\n", "jsonl"),
    ("a.txt.gz", gzip.compress(b"x"), "compressed"),
    ("a.eml", b"Subject: x\n\n", "mail"),
    ("123.M4P5.host:2,S", MAIL, "mail"),
    ("inbox", b"From a@b.example Mon Jan  1 10:00:00 2024\nSubject: x\n\n", "mbox"),
    ("memo.txt", MAIL, "text"),
    ("a.bin", b"%PDF-1.7\n", "pdf"),
    ("a.pdf", b"\x00junk before\n%PDF-1.7\n", "pdf"),
    ("a.txt", b"the mark %PDF- stands in a text", "text"),
    ("a.pdf", b"words", "text"),
    ("a.zip", WORD, "docx"),
    ("a", _zip("[Content_Types].xml", "ppt/presentation.xml"), "pptx"),
    ("a.docx", _zip("[Content_Types].xml", "xl/workbook.xml"), "xlsx"),
    ("a.zip", _zip("OEBPS/x.html", mimetype="application/epub+zip"), "epub"),
    ("a.docx", _zip("a.txt"), "archive"),
    ("a.zip", _zip(), "archive"),
    ("a.docx", WORD[:100], "docx"),
    ("a", WORD[:100], "archive"),
    ("a.tar", _tar(), "archive"),
    ("a", _tar(), "archive"),
    ("a.gz", _tar("gz"), "archive"),
    ("a.tar.bz2", _tar("bz2"), "archive"),
    ("a", _tar("xz"), "archive"),
    ("a.tgz", gzip.compress(b"no tar"), "archive"),
    ("a", b"PAR1....", "parquet"),
]


@pytest.mark.parametrize(("name", "content", "kind"), KINDS, ids=lambda value: value if isinstance(value, str) else "")
def test_content_goes_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, kind: str
) -> None:
    monkeypatch.setattr(kinds, "RECOGNISERS", {})
    path = tmp_path / "bytes"
    path.write_bytes(content)
    assert (kind_of(path, name), why_not(path, name)) == (kind, "")
    assert kind in READERS


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.doc", OLE, "is an old Word file (.doc); save it as .docx"),
        ("a", OLE + "Workbook".encode("utf-16-le"), "is an old Excel file (.xls); save it as .xlsx"),
        ("a.msg", OLE, "is an Outlook message (.msg); save it as .eml"),
        ("a.docx", OLE + "EncryptedPackage".encode("utf-16-le"), "is encrypted; save it without a password"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\x00", "is an image, and images are not read"),
        ("a", b"\x7fELF\x02\x01\x01\x00", "is a program, not a document"),
        ("a.exe", b"MZ\x90\x00\x03", "is a program, not a document"),
        ("a.mp4", b"\x00\x00\x00\x20ftypisom", "is a film or a sound, and these are not read"),
        ("a.au", b".snd\x00\x00\x00\x18 of letters", "is a film or a sound, and these are not read"),
        ("a.rtf", b"{\\rtf1 x}", "is a Rich Text file (.rtf); save it as .docx"),
        ("a.css", b"p {}", "is a style sheet of a web page, not a document"),
        ("a.odt", _zip(mimetype="application/vnd.oasis.opendocument.text"), "is an OpenDocument file without"),
        ("a.xlsb", _zip("[Content_Types].xml", "xl/workbook.bin"), "is a binary Excel file (.xlsb)"),
        ("a.pages", _zip("Index/Document.iwa"), "is a Pages file; export it as .docx"),
        ("a.vsdx", _zip("[Content_Types].xml", "visio/document.xml"), "is an Office file of a kind that is not read"),
        ("a.pdf", b"", "is empty"),
        ("a.txt", bytes(range(256)), "is damaged, or no .txt file"),
        ("a", bytes(range(256)), "is of a kind that is not known, and not text"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(content)
    assert kind_of(path, name) == ""
    assert why_not(path, name).startswith(words)


def test_filings_are_told_by_their_recognisers(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"<SEC-DOCUMENT>0000000000-24-000001.txt : 20240102\n<SEC-HEADER>")
    assert kind_of(path, "x.txt") == "submission"
    assert kind_of(path, "x.csv") == "delimited"
    path.write_bytes(b"<?xml version='1.0'?><html xmlns:ix='http://www.xbrl.org/2013/inlineXBRL'><body/></html>")
    assert kind_of(path, "x.htm") == "filing"


def test_a_hostile_beginning_takes_no_time(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"<!---->" * 7000 + b"x", b"<!--" * 12000, b"from:" * 9000, b"to: x\n " * 7000):
        path.write_bytes(content)
        assert kind_of(path, "x") in ("text", "html")


def test_every_suffix_has_a_reader() -> None:
    assert set(SUFFIXES.values()) <= set(READERS)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)


@pytest.mark.parametrize(
    ("name", "inner"), [("a.csv.gz", "a.csv"), ("b/A.TXT.BZ2", "b/A.TXT"), ("a.csv", "a.csv"), ("gz", "gz")]
)
def test_a_compressed_file_is_named_after_what_it_holds(name: str, inner: str) -> None:
    assert unpacked_name(name) == inner
