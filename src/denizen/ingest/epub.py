"""EPUB books as one document, its chapters in the order of reading."""

from __future__ import annotations

import lzma
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from denizen.engine.errors import reason
from denizen.ingest.document import Document, Failure, Limits, Member, UnreadableError
from denizen.ingest.html import html_blocks, parsed_html
from denizen.ingest.markup import local_name
from denizen.ingest.unfolded import unfold
from denizen.ingest.xml import parsed_xml

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHAPTERS = frozenset({"application/xhtml+xml", "text/html", "application/xml", "text/xml"})
_BLOCK = 1 << 16  # bytes


class _TooLargeError(Exception):
    """The members take more than the limit."""


class _Members:
    """The files of the book, read into memory, all of them together within a limit."""

    def __init__(self, archive: zipfile.ZipFile, limits: Limits) -> None:
        self._archive = archive
        self._left = limits.unpacked_mb << 20
        self._limit = limits.unpacked_mb

    def names(self) -> list[str]:
        """All names, in the order of the archive."""
        return self._archive.namelist()

    def read(self, name: str) -> bytes:
        """A file's bytes, counted while they are unpacked, whatever size is stated.

        Raises:
            KeyError: When there is no such file.
            UnreadableError: When it is broken or encrypted.
        """
        info = self._archive.getinfo(name)
        if info.flag_bits & 1:
            raise UnreadableError("is encrypted; save it without a password")
        if info.compress_type not in _METHODS:
            raise UnreadableError(f"packs {name!r} by a method that EPUB does not allow")
        data = bytearray()
        try:
            with self._archive.open(info) as file:
                while block := file.read(_BLOCK):
                    data += block
                    self._left -= len(block)
                    if self._left < 0:
                        raise _TooLargeError(f"unpacks to more than {self._limit} MB, the limit, with {name!r}")
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise UnreadableError(f"has a broken part {name!r}: {reason(error)}") from None
        return bytes(data)

    def xml(self, name: str) -> Any:
        """The root of one of the files that say what the book is made of.

        Raises:
            KeyError: When there is no such file.
            UnreadableError: When it is broken or not safe.
        """
        data = self.read(name)
        try:
            return parsed_xml(data)
        except UnreadableError as error:
            raise UnreadableError(f"has a part {name!r} that {error}") from None


@dataclass(frozen=True)
class _Book:
    """What the package file says: facts of the book, and the names of its chapters in order."""

    title: str
    metadata: dict[str, str]
    chapters: list[str]


def read_epub(path: Path, limits: Limits) -> Iterator[Document | Member | Failure]:
    """The one document of a book; a chapter that cannot be read is a `Failure`.

    Raises:
        UnreadableError: When it is no EPUB, or protected by DRM.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, lzma.LZMAError) as error:
        raise UnreadableError(f"is not a readable EPUB: {reason(error)}") from None
    with archive:
        members = _Members(archive, limits)
        try:
            book = _book(members)
            _require_open(members, book.chapters)
        except _TooLargeError as error:
            raise UnreadableError(str(error)) from None
        document, failures = _read_chapters(members, book.chapters[: limits.members])
    yield replace(document, title=book.title, metadata=book.metadata)
    yield from failures
    if len(book.chapters) > limits.members:
        yield Failure("", f"has {len(book.chapters)} chapters, the limit is {limits.members}; the first were read")


def _read_chapters(members: _Members, chapters: list[str]) -> tuple[Document, list[Failure]]:
    document = Document([])
    failures: list[Failure] = []
    for name in chapters:
        try:
            root = parsed_html(members.read(name))
            document.left_out += unfold(root)
            document.blocks += html_blocks(root)
        except KeyError:
            failures.append(Failure(name, "is missing from the book"))
        except UnreadableError as error:
            failures.append(Failure(name, str(error)))
        except _TooLargeError as error:
            failures.append(Failure("", f"{error}; what comes after was not read"))
            break
    return document, failures


def _book(members: _Members) -> _Book:
    name = _package_name(members)
    try:
        root = members.xml(name)
    except KeyError:
        raise UnreadableError(f"is not a readable EPUB: its package file {name!r} is missing") from None
    manifest = {part.get("id"): part for part in root.iter() if local_name(part) == "item"}
    order = [manifest.get(part.get("idref")) for part in root.iter() if local_name(part) == "itemref"]
    chapters = [
        _inside(name, item.get("href") or "")
        for item in order
        # the table of contents repeats the headings
        if item is not None
        and item.get("media-type") in _CHAPTERS
        and "nav" not in (item.get("properties") or "").split()
    ]
    metadata = {
        "author": ", ".join(_facts(root, "creator")),
        "date": next(iter(_facts(root, "date")), ""),
        "lang": next(iter(_facts(root, "language")), ""),
        "publisher": next(iter(_facts(root, "publisher")), ""),
    }
    return _Book(
        title=next(iter(_facts(root, "title")), ""),
        metadata={key: value for key, value in metadata.items() if value},
        chapters=chapters,
    )


def _package_name(members: _Members) -> str:
    try:
        container = members.xml("META-INF/container.xml")
        found = [part.get("full-path") for part in container.iter() if local_name(part) == "rootfile"]
    except KeyError:
        found = [name for name in members.names() if name.lower().endswith(".opf")]
    name = next(filter(None, found), None)
    if name is None:
        raise UnreadableError("is not an EPUB: it names no package file")
    return str(name)


def _facts(root: Any, name: str) -> list[str]:
    """The texts of a Dublin Core element."""
    parts = (part for part in root.iter("{http://purl.org/dc/elements/1.1/}" + name))
    texts = (" ".join("".join(part.itertext()).split()) for part in parts)
    return list(filter(None, texts))


def _inside(package: str, href: str) -> str:
    """The name in the archive that a link in the package file means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(urlsplit(href).path)))


def _require_open(members: _Members, chapters: list[str]) -> None:
    """Raises an UnreadableError when chapters are encrypted; fonts are in free books, too."""
    try:
        root = members.xml("META-INF/encryption.xml")
    except KeyError:
        return
    for data in root.iter():
        if local_name(data) != "encrypteddata":
            continue
        covered = {unquote(part.get("URI") or "") for part in data.iter() if local_name(part) == "cipherreference"}
        if covered & set(chapters):
            raise UnreadableError("is protected by DRM; only a copy without it can be read")
