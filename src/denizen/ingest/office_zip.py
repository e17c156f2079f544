"""What the readers of .docx, .pptx and .xlsx share: checks before a file is opened, its parts and its properties."""

from __future__ import annotations

import contextlib
import posixpath
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from denizen.engine.errors import reason
from denizen.ingest.document import Failure, Limits, Member, UnreadableError

# the container of Word 97 to 2003, in which an encrypted .docx is kept, too
_OLE = bytes.fromhex("D0CF11E0A1B11AE1")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DECLARED = tuple(word.encode(code) for word in ("<!DOCTYPE", "<!ENTITY") for code in ("ascii", "utf-16-le"))
_XML = (".xml", ".rels", ".vml")
# kinds of relationships to whole files
_FILES = ("package", "aFChunk")
_BLOCK = 1 << 20
# Strict Open XML (ISO/IEC 29500-1) says the same as the transitional one under other names, which the libraries do not
# know: http://purl.oclc.org/ooxml/drawingml/main is http://schemas.openxmlformats.org/drawingml/2006/main
_STRICT = b"http://purl.oclc.org/ooxml/"
_STRICT_NAME = re.compile(re.escape(_STRICT) + rb"(\w+)/")
_STRICT_WORDS = {b"/extendedProperties": b"/extended-properties", b"/customProperties": b"/custom-properties"}
_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
# what Office adds to a description that it has made up
_GENERATED = "Description automatically generated"
_FILE_NAME = re.compile(r"\S*\.\w{3,4}")
# what programs write when nobody gave a title
_NO_TITLES = {"Word Document", "PowerPoint Presentation", "Slide 1"}


@contextlib.contextmanager
def checked_office_file(path: Path, limits: Limits, suffix: str) -> Iterator[Path]:
    """Checks a file before a library opens it, by unpacking all of it once without keeping it.

    Args:
        path: The file.
        limits: Of it count `members` (parts of the file) and `unpacked_mb`.
        suffix: What the file should be, such as "docx"; for messages.

    Yields:
        The file; of Strict Open XML a copy in the names of the transitional one, in the current folder.

    Raises:
        UnreadableError: When it is no whole zip file, is encrypted, is a zip bomb, or declares entities in its XML.
    """
    with path.open("rb") as file:
        if file.read(len(_OLE)) == _OLE:
            raise UnreadableError(f"is encrypted or in the old binary format; save it as .{suffix} without a password")
    strict = False
    with library_errors(suffix), zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if len(parts) > limits.members:
            raise UnreadableError(f"holds {len(parts)} parts; the limit is {limits.members}")
        if len({part.filename for part in parts}) < len(parts):
            raise UnreadableError("holds two parts of the same name")
        left = limits.unpacked_mb << 20
        for part in parts:
            size, is_strict = _checked(archive, part, left, limits)
            left -= size
            strict = strict or is_strict
    if not strict:
        yield path
        return
    with tempfile.NamedTemporaryFile(dir=Path.cwd(), prefix="transitional-", suffix=f".{suffix}") as copy:
        with library_errors(suffix):
            _write_transitional(path, copy)
        yield Path(copy.name)


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


def main_part(parts: OfficeParts, tag: str) -> tuple[str, Any]:
    """The name and the root of the part that an office file begins with.

    Raises:
        UnreadableError: When there is none, or it is of another kind than its tag says.
    """
    found = [name for kind, name in parts.related("").values() if kind == "officeDocument"]
    if not found:
        raise UnreadableError("names no document in it")
    root = parts.root(found[0])
    if root.tag != tag:
        raise UnreadableError(f"begins with <{root.tag.rpartition('}')[2]}>, not with <{tag.rpartition('}')[2]}>")
    return found[0], root


def core_properties(parts: OfficeParts) -> dict[str, str]:
    """The properties `title`, `author` and `created` (a date) that an office file states, as far as it does."""
    from lxml import etree

    found: dict[str, str] = {}
    # .psmdcp is what .NET's packaging library calls it
    names = [name for name in parts.names if name.lower().endswith(("docprops/core.xml", ".psmdcp"))]
    try:
        root = parts.root(names[0]) if names else None
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        return found
    texts = {etree.QName(node).localname: folded(node.text or "") for node in root.iterchildren(etree.Element)}
    if texts.get("title") and texts["title"] not in _NO_TITLES:
        found["title"] = texts["title"]
    if texts.get("creator"):
        found["author"] = texts["creator"]
    if created := _DATE.match(texts.get("created", "")):
        found["created"] = created.group()
    return found


def alternative_text(drawing: Any) -> str:
    """What a drawing's properties say to people who cannot see it; "" where that is only a file's name."""
    found = next(drawing.iter("{*}cNvPr", "{*}docPr"), None)
    texts = (folded(found.get(name, "")) for name in ("descr", "title")) if found is not None else ()
    text = next(filter(None, texts), "").removesuffix(_GENERATED).strip()
    return "" if _FILE_NAME.fullmatch(text) else text


def embedded_files(parts: OfficeParts, *names: str) -> Iterator[Member | Failure]:
    """The files that parts embed, each unpacked for its turn, such as a workbook within a text.

    Args:
        parts: The file.
        names: Of the parts; the workbook behind a chart, which its own part names, repeats what the chart says.
    """
    found = {link for name in names for link in parts.related(name).values() if link[0] in (*_FILES, "oleObject")}
    for kind, name in sorted(found):
        file = posixpath.basename(name)
        if kind == "oleObject":
            yield Failure(file, "is an object that another program has embedded, and is not read")
            continue
        with tempfile.NamedTemporaryFile(
            dir=Path.cwd(), prefix="embedded-", suffix=posixpath.splitext(file)[1]
        ) as copy:
            with parts.opened(name) as source:
                shutil.copyfileobj(source, copy)
            copy.flush()
            yield Member(file, Path(copy.name))


def folded(text: str) -> str:
    """The text with each run of white space as one space, and none around it."""
    return " ".join(text.split())


def table_text(rows: Iterable[Sequence[str]]) -> str:
    """A table as a block keeps it: a line for each row that has text, " | " between the cells."""
    return "\n".join(" | ".join(folded(cell) for cell in row) for row in rows if any(cell.strip() for cell in row))


class OfficeParts:
    """The parts of an office file, by their names and by the relationships between them.

    Attributes:
        names: Of all parts.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file, which has been checked."""
        self._archive = zipfile.ZipFile(path)
        self.names = self._archive.namelist()
        self._names = {name.lower(): name for name in self.names}

    def close(self) -> None:
        """Closes the file."""
        self._archive.close()

    def has(self, name: str) -> bool:
        """Whether there is such a part."""
        return name.lower() in self._names

    def content(self, name: str) -> bytes:
        """A part's bytes.

        Raises:
            KeyError: When there is none of that name.
        """
        return self._archive.read(self._names[name.lower()])

    def opened(self, name: str) -> IO[bytes]:
        """A part, to be read piece by piece.

        Raises:
            KeyError: When there is none of that name.
        """
        return self._archive.open(self._names[name.lower()])

    def root(self, name: str) -> Any:
        """The root element of a part; no entity is resolved and nothing is loaded.

        Raises:
            KeyError: When there is none of that name.
            lxml.etree.XMLSyntaxError: When it is no XML.
        """
        from lxml import etree

        return etree.fromstring(self.content(name), etree.XMLParser(resolve_entities=False, no_network=True))

    def related(self, name: str) -> dict[str, tuple[str, str]]:
        """The parts that a part names: its id for each, then the last word of the kind, and the name of the part.

        What is missing, broken or outside of the file is left out.
        """
        from lxml import etree

        folder, file = posixpath.split(name)
        found: dict[str, tuple[str, str]] = {}
        with contextlib.suppress(KeyError, etree.XMLSyntaxError):
            for link in self.root(posixpath.join(folder, "_rels", f"{file}.rels")).iter(_RELATIONSHIP):
                target = posixpath.normpath(posixpath.join("/", folder, link.get("Target", ""))).lstrip("/")
                if link.get("TargetMode") != "External" and self.has(target):
                    found[link.get("Id", "")] = (link.get("Type", "").rpartition("/")[2], target)
        return found


def _checked(archive: zipfile.ZipFile, part: zipfile.ZipInfo, left: int, limits: Limits) -> tuple[int, bool]:
    """The size of a part, and whether it names what only Strict Open XML does."""
    if part.flag_bits & 1:
        raise UnreadableError("is encrypted; save it without a password")
    if part.compress_type not in _METHODS:
        raise UnreadableError(f"packs {part.filename!r} by a method that office files do not use")
    is_xml = part.filename.lower().endswith(_XML)
    size, tail, strict = 0, b"", False
    with archive.open(part) as file:
        while block := file.read(_BLOCK):
            size += len(block)
            if size > left:
                raise UnreadableError(f"unpacks to more than {limits.unpacked_mb} MiB, the limit")
            if is_xml and any(word in tail + block for word in _DECLARED):
                raise UnreadableError(f"declares a document type or entities in {part.filename!r}, which is not safe")
            strict = strict or (is_xml and _STRICT in tail + block)
            # a declaration may lie across two blocks
            tail = block[-len(max(_DECLARED, key=len)) - len(_STRICT) :]
    return size, strict


def _write_transitional(path: Path, copy: IO[bytes]) -> None:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for part in old.infolist():
            with old.open(part) as source, new.open(part.filename, "w", force_zip64=True) as target:
                if not part.filename.lower().endswith(_XML):
                    shutil.copyfileobj(source, target)
                    continue
                rest = b""
                while block := source.read(_BLOCK):
                    # no name lies across the end of an element
                    whole, end, rest = (rest + block).rpartition(b">")
                    target.write(_transitional(whole + end))
                target.write(rest)
    copy.flush()


def _transitional(xml: bytes) -> bytes:
    if _STRICT not in xml:
        return xml
    named = _STRICT_NAME.sub(rb"http://schemas.openxmlformats.org/\1/2006/", xml)
    for word, other in _STRICT_WORDS.items():
        named = named.replace(word + b'"', other + b'"').replace(word + b"'", other + b"'")
    return named
