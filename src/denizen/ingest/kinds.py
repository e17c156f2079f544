"""What a file is: by its content first, then by the name that its owner knows it under."""

from __future__ import annotations

import importlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from denizen.ingest.archive import holds_tar
from denizen.ingest.document import Document, Failure, Limits, Member

Reader = Callable[[Path, Limits], Iterator[Document | Member | Failure]]

# kind -> where its reader stands; imported only when a file of the kind comes up
READERS: dict[str, str] = {
    "archive": "denizen.ingest.archive:read_archive",
    "calendar": "denizen.ingest.calendar:read_calendar",
    "compressed": "denizen.ingest.archive:read_archive",
    "delimited": "denizen.ingest.records:read_delimited",
    "docx": "denizen.ingest.word:read_docx",
    "epub": "denizen.ingest.epub:read_epub",
    "filing": "denizen.ingest.filings:read_filing_page",
    "html": "denizen.ingest.page:read_html",
    "json": "denizen.ingest.records:read_json",
    "jsonl": "denizen.ingest.records:read_jsonl",
    "layout": "denizen.ingest.layout:read_layout",
    "mail": "denizen.ingest.mail:read_mail",
    "markdown": "denizen.ingest.text:read_markdown",
    "mbox": "denizen.ingest.mail:read_mbox",
    "notebook": "denizen.ingest.notebook:read_notebook",
    "open_document": "denizen.ingest.open_document:read_open_document",
    "parquet": "denizen.ingest.records:read_parquet",
    "pdf": "denizen.ingest.pdf:read_pdf",
    "pptx": "denizen.ingest.slides:read_pptx",
    "submission": "denizen.ingest.filings:read_submission",
    "text": "denizen.ingest.text:read_text",
    "xlsx": "denizen.ingest.sheets:read_xlsx",
    "xml": "denizen.ingest.xml:read_xml",
}
# kinds of text that only a look at the text tells apart
RECOGNISERS: dict[str, str] = {
    "submission": "denizen.ingest.filings:is_submission",
    "filing": "denizen.ingest.filings:is_filing_page",
}
# suffix -> kind; content that contradicts it wins
SUFFIXES: dict[str, str] = {
    ".txt": "text",
    ".text": "text",
    ".log": "text",
    ".rst": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".xml": "xml",
    ".json": "json",
    ".ipynb": "notebook",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "delimited",
    ".tsv": "delimited",
    ".tab": "delimited",
    ".parquet": "parquet",
    ".ics": "calendar",
    ".vcs": "calendar",
    ".vcf": "calendar",
    ".eml": "mail",
    ".mht": "mail",
    ".mhtml": "mail",
    ".mbox": "mbox",
    ".pdf": "pdf",
    ".epub": "epub",
    ".docx": "docx",
    ".docm": "docx",
    ".dotx": "docx",
    ".odt": "open_document",
    ".ott": "open_document",
    ".ods": "open_document",
    ".ots": "open_document",
    ".odp": "open_document",
    ".otp": "open_document",
    ".odg": "open_document",
    ".pptx": "pptx",
    ".pptm": "pptx",
    ".ppsx": "pptx",
    ".potx": "pptx",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xltx": "xlsx",
    ".zip": "archive",
    ".tar": "archive",
    ".tgz": "archive",
    ".tbz2": "archive",
    ".txz": "archive",
    ".gz": "compressed",
    ".bz2": "compressed",
    ".xz": "compressed",
}
_BINARY = {"archive", "compressed", "docx", "epub", "open_document", "parquet", "pdf", "pptx", "xlsx"}
# their readers unpack .gz on their own, row by row
_READ_GZIPPED = {"delimited", "json", "jsonl"}
_ZIPPED = {"archive", "docx", "epub", "open_document", "pptx", "xlsx"}
# suffixes of text that is no document, and of zipped formats without a reader
_REFUSED = {
    ".css": "is a style sheet of a web page, not a document",
    ".js": "is a program of a web page, not a document",
    ".svg": "is a drawing, and images are not read",
    ".xlsb": "is a binary Excel file (.xlsb); save it as .xlsx",
    ".p7s": "is the signature of a mail, not a document",
    ".p7m": "is an encrypted or sealed mail (S/MIME); save it without encryption",
    ".pages": "is a Pages file; export it as .docx",
    ".numbers": "is a Numbers file; export it as .xlsx",
    ".key": "is a Keynote file; export it as .pptx",
}
_IMAGE = "is an image, and images are not read"
_FILM = "is a film or a sound, and these are not read"
_PROGRAM = "is a program, not a document"
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", _IMAGE),
    (0, b"\xff\xd8\xff", _IMAGE),
    (0, b"GIF87a", _IMAGE),
    (0, b"GIF89a", _IMAGE),
    (0, b"II*\x00", _IMAGE),
    (0, b"MM\x00*", _IMAGE),
    (8, b"WEBP", _IMAGE),
    (4, b"ftypheic", _IMAGE),
    (4, b"ftypavif", _IMAGE),
    (0, b"\x00\x00\x01\x00", _IMAGE),
    (4, b"ftyp", _FILM),
    (8, b"AVI ", _FILM),
    (8, b"WAVE", _FILM),
    (0, b"ID3", _FILM),
    (0, b"OggS\x00", _FILM),
    (0, b"fLaC", _FILM),
    (0, b".snd\x00", _FILM),
    (8, b"AIFF", _FILM),
    (8, b"AIFC", _FILM),
    (0, b"MThd\x00", _FILM),
    (0, b"\x1a\x45\xdf\xa3", _FILM),
    (0, b"\x7fELF", _PROGRAM),
    (0, b"\xca\xfe\xba\xbe", _PROGRAM),
    (0, b"\xcf\xfa\xed\xfe", _PROGRAM),
    (0, b"\x00asm", _PROGRAM),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it, or pack it as .zip"),
    (0, b"Rar!\x1a\x07", "is a RAR archive; unpack it, or pack it as .zip"),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with Zstandard; unpack it, or pack it as .gz"),
    (0, b"{\\rtf", "is a Rich Text file (.rtf); save it as .docx"),
    (0, b"%!PS", "is a PostScript file; save it as .pdf"),
    (0, b"AT&TFORM", "is a DjVu file; save it as .pdf"),
    (0, b"SQLite format 3\x00", "is an SQLite database; export its tables as .csv"),
    (0, b"ARROW1\x00", "is an Arrow file; save it as .parquet"),
    (0, b"\x78\x9f\x3e\x22", "is Outlook's winmail.dat (TNEF); ask its sender for a mail in HTML or plain text"),
    (0, b"!BDN", "is an Outlook folder (.pst); export its mails as .eml or .mbox"),
)
_GZIP = b"\x1f\x8b"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "is encrypted; save it without a password"
_WORD = "is an old Word file (.doc); save it as .docx"
_EXCEL = "is an old Excel file (.xls); save it as .xlsx"
_POWERPOINT = "is an old PowerPoint file (.ppt); save it as .pptx"
_OUTLOOK = "is an Outlook message (.msg); save it as .eml"
_OLE_SUFFIXES = {
    ".doc": _WORD,
    ".dot": _WORD,
    ".xls": _EXCEL,
    ".ppt": _POWERPOINT,
    ".pps": _POWERPOINT,
    ".msg": _OUTLOOK,
}
# names in the file's own directory; a message comes first, since its attachments' names lie in it as well
_OLE_NAMES = {
    "__substg1.0_": _OUTLOOK,
    "WordDocument": _WORD,
    "PowerPoint Document": _POWERPOINT,
    "Workbook": _EXCEL,
}
_OLE_SEARCHED = 1 << 24
# filings.is_filing_page tells most filings by as much
_HEAD = 50_000
# where a PDF may begin (Acrobat's implementation note 13 to the PDF 1.7 reference)
_PDF_WITHIN = 1024
# above this share of control characters a file is no text
_CONTROLS = 0.02
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1b")
_NOTEBOOK = re.compile(rb'\{[^{}]*"(?:cells|worksheets)"\s*:\s*\[.*"cell_type"\s*:', re.DOTALL)
_MBOX = re.compile(rb"From \S+ [^\n]*\d\d:\d\d[^\n]*\n")
_MAIL = re.compile(
    rb"(?:(?:from|to|cc|date|subject|sender|reply-to|received|return-path|delivered-to|message-id|mime-version"
    rb"|content-type|x-[\w-]+)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*){3}",
    re.IGNORECASE,
)


def kind_of(path: Path, name: str) -> str:
    """The kind of a file, a key of `READERS`, or "" where it cannot be read.

    Args:
        path: Where its bytes lie.
        name: The name that its owner knows it under; its suffix decides where the content leaves a choice.

    Raises:
        OSError: When the file cannot be opened.
    """
    return _recognised(path, name)[0]


def why_not(path: Path, name: str) -> str:
    """Why a file is of no kind that can be read, in words for its owner; "" where it can be."""
    return _recognised(path, name)[1]


def reader(kind: str) -> Reader:
    """The function that reads a kind.

    Raises:
        KeyError: When there is no such kind.
    """
    found: Reader = _imported(READERS[kind])
    return found


def unpacked_name(name: str) -> str:
    """The name of what a compressed file holds: "a.csv" of "a.csv.gz"."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and SUFFIXES.get(f".{suffix.lower()}") == "compressed" else name


def _recognised(path: Path, name: str) -> tuple[str, str]:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    suffix = _suffix(name)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zipped(path, suffix)
    if head.startswith(_OLE):
        return "", _old_office(path, suffix)
    kind = _by_magic(path, head, suffix)
    if kind == "compressed" and head.startswith(_GZIP):
        inside = SUFFIXES.get(_suffix(unpacked_name(name)), "")
        kind = inside if inside in _READ_GZIPPED else kind
    if kind:
        return kind, ""
    why = next((words for at, magic, words in _MAGIC if head.startswith(magic, at)), "")
    why = why or (_PROGRAM if head.startswith(b"MZ") and b"\x00" in head else "") or _REFUSED.get(suffix, "")
    if why:
        return "", why
    claimed = SUFFIXES.get(suffix, "")
    if not head:
        return ("", "is empty") if claimed in _BINARY else (claimed or "text", "")
    if _is_binary(head):
        words = f"is damaged, or no {suffix} file" if claimed else "is of a kind that is not known, and not text"
        return "", words
    return _written(_plain(head), _suffix(unpacked_name(name))), ""


def _suffix(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/").strip()).suffix.lower()


def _by_magic(path: Path, head: bytes, suffix: str) -> str:
    within = _PDF_WITHIN if suffix == ".pdf" else len(head) - len(head.lstrip()) + 5
    if b"%PDF-" in head[:within]:
        return "pdf"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((_GZIP, b"BZh", b"\xfd7zXZ\x00")):
        return "archive" if SUFFIXES.get(suffix) == "archive" or holds_tar(path) else "compressed"
    return "archive" if suffix == ".tar" or holds_tar(path) else ""


def _zipped(path: Path, suffix: str) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            mimetype = archive.open("mimetype").read(100) if "mimetype" in names else b""
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError):
        claimed = SUFFIXES.get(suffix, "")
        # the reader says what is broken
        return (claimed if claimed in _ZIPPED else "archive"), ""
    if mimetype.startswith(b"application/epub+zip"):
        return "epub", ""
    if mimetype.startswith(b"application/vnd.oasis.opendocument"):
        known = "content.xml" in names
        return ("open_document", "") if known else ("", "is an OpenDocument file without content; save it as .docx")
    if "xl/workbook.bin" in names:
        return "", _REFUSED[".xlsb"]
    if "[Content_Types].xml" in names:
        parts = {name.split("/", 1)[0] for name in names}
        kind = next((kind for part, kind in (("word", "docx"), ("ppt", "pptx"), ("xl", "xlsx")) if part in parts), "")
        return kind, "" if kind else "is an Office file of a kind that is not read; save it as .pdf"
    if suffix in _REFUSED:
        return "", _REFUSED[suffix]
    return "archive", ""


def _old_office(path: Path, suffix: str) -> str:
    with path.open("rb") as file:
        content = file.read(_OLE_SEARCHED)
    if "EncryptedPackage".encode("utf-16-le") in content:
        return _ENCRYPTED
    if suffix in _OLE_SUFFIXES:
        return _OLE_SUFFIXES[suffix]
    found = (words for name, words in _OLE_NAMES.items() if name.encode("utf-16-le") in content)
    return next(found, "is in an old Office format; save it in a current one")


def _is_binary(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    low, high = head[::2].count(0), head[1::2].count(0)
    # UTF-16 without a mark has a zero in every other byte, as far as it is Latin
    if min(low, high) == 0 and max(low, high) > len(head) / 4:
        return False
    return len(head) - len(head.translate(None, _CONTROL)) > _CONTROLS * len(head)


def _plain(head: bytes) -> bytes:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    return head.removeprefix(b"\xef\xbb\xbf")


def _written(head: bytes, suffix: str) -> str:
    """The kind of a text."""
    claimed = SUFFIXES.get(suffix, "")
    claimed = "" if claimed in _BINARY else claimed
    if claimed in ("", "text", "html") and head.lstrip().startswith((b"<", b"-----BEGIN")):
        for kind, recogniser in RECOGNISERS.items():
            if _imported(recogniser)(head):
                return kind
    if claimed in ("", "text", "json") and head.lstrip().startswith(b"{") and _NOTEBOOK.match(head.lstrip()):
        return "notebook"
    markup = _markup(head)
    if markup and claimed not in ("html", "mail", "markdown", "mbox"):
        return markup
    if claimed in ("", "html") and _MAIL.match(head):
        return "mail"
    if claimed == "xml" and not head.lstrip().startswith(b"<"):
        return "text"
    return claimed or ("mbox" if _MBOX.match(head) else "text")


def _markup(head: bytes) -> str:
    is_xml = False
    rest = head.lstrip()
    while rest.startswith((b"<!--", b"<?")):
        is_xml = is_xml or rest.startswith(b"<?xml")
        rest = rest.partition(b"-->" if rest.startswith(b"<!--") else b"?>")[2].lstrip()
    if re.match(rb"<(?:!doctype\s+html|html|head|body)\b", rest, re.IGNORECASE):
        return "html"
    return "xml" if is_xml else ""


def _imported(place: str) -> Any:
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function)
