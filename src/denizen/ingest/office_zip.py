"""What the readers of .docx, .pptx and .xlsx share: checks before a library opens the file, and its properties."""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from denizen.engine.errors import reason
from denizen.ingest.document import Limits, UnreadableError

# the container of Word 97 to 2003, in which an encrypted .docx is kept, too
_OLE = bytes.fromhex("D0CF11E0A1B11AE1")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DECLARED = tuple(word.encode(code) for word in ("<!DOCTYPE", "<!ENTITY") for code in ("ascii", "utf-16-le"))
_BLOCK = 1 << 20
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
# what programs write when nobody gave a title
_NO_TITLES = {"Word Document", "PowerPoint Presentation", "Slide 1"}


def check_office_file(path: Path, limits: Limits, suffix: str) -> None:
    """Checks a file before a library opens it, by unpacking all of it once without keeping it.

    Args:
        path: The file.
        limits: Of it count `members` (parts of the file) and `unpacked_mb`.
        suffix: What the file should be, such as "docx"; for messages.

    Raises:
        UnreadableError: When it is no whole zip file, is encrypted, is a zip bomb, or declares entities in its XML.
    """
    with path.open("rb") as file:
        if file.read(len(_OLE)) == _OLE:
            raise UnreadableError(f"is encrypted or in the old binary format; save it as .{suffix} without a password")
    with library_errors(suffix), zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if len(parts) > limits.members:
            raise UnreadableError(f"holds {len(parts)} parts; the limit is {limits.members}")
        if len({part.filename for part in parts}) < len(parts):
            raise UnreadableError("holds two parts of the same name")
        left = limits.unpacked_mb << 20
        for part in parts:
            left -= _checked_size(archive, part, left, limits)


@contextlib.contextmanager
def library_errors(suffix: str) -> Iterator[None]:
    """Turns whatever a library raises over a broken file into an `UnreadableError`."""
    try:
        yield
    except (UnreadableError, MemoryError):
        raise
    # the libraries let KeyError, AttributeError, zlib.error and many more out of a file that breaks its format
    except Exception as error:
        raise UnreadableError(f"is not a readable .{suffix} file: {reason(error)}") from error


def core_properties(path: Path) -> dict[str, str]:
    """The properties `title`, `author` and `created` (a date) that an office file states, as far as it does."""
    from lxml import etree

    found: dict[str, str] = {}
    with zipfile.ZipFile(path) as archive:
        # .psmdcp is what .NET's packaging library calls it
        names = [name for name in archive.namelist() if name.lower().endswith(("docprops/core.xml", ".psmdcp"))]
        if not names:
            return found
        try:
            root = etree.fromstring(archive.read(names[0]), etree.XMLParser(resolve_entities=False, no_network=True))
        except etree.XMLSyntaxError:
            return found
    texts = {etree.QName(node).localname: folded(node.text or "") for node in root.iterchildren(etree.Element)}
    if texts.get("title") and texts["title"] not in _NO_TITLES:
        found["title"] = texts["title"]
    if texts.get("creator"):
        found["author"] = texts["creator"]
    if created := _DATE.match(texts.get("created", "")):
        found["created"] = created.group()
    return found


def folded(text: str) -> str:
    """The text with each run of white space as one space, and none around it."""
    return " ".join(text.split())


def table_text(rows: Iterable[Sequence[str]]) -> str:
    """A table as a block keeps it: a line for each row that has text, " | " between the cells."""
    return "\n".join(" | ".join(folded(cell) for cell in row) for row in rows if any(cell.strip() for cell in row))


def _checked_size(archive: zipfile.ZipFile, part: zipfile.ZipInfo, left: int, limits: Limits) -> int:
    if part.flag_bits & 1:
        raise UnreadableError("is encrypted; save it without a password")
    if part.compress_type not in _METHODS:
        raise UnreadableError(f"packs {part.filename!r} by a method that office files do not use")
    is_xml = part.filename.lower().endswith((".xml", ".rels"))
    size, tail = 0, b""
    with archive.open(part) as file:
        while block := file.read(_BLOCK):
            size += len(block)
            if size > left:
                raise UnreadableError(f"unpacks to more than {limits.unpacked_mb} MiB, the limit")
            if is_xml and any(word in tail + block for word in _DECLARED):
                raise UnreadableError(f"declares a document type or entities in {part.filename!r}, which is not safe")
            # a declaration may lie across two blocks
            tail = block[-len(max(_DECLARED, key=len)) :]
    return size
