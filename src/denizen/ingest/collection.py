"""What was read of all files as one collection: named, without repeated lines and copies; the rest with a reason."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from denizen.ingest.document import Document, Failure
from denizen.ingest.files import FoundFile
from denizen.ingest.parts import Parts
from denizen.ingest.passages import document_text
from denizen.ingest.repeated_lines import RepeatedLines

_PAGES = (".html", ".htm", ".xhtml")
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Named:
    """A document of the collection.

    Attributes:
        doc_id: The file's name, and behind it the name inside the file.
        source: The file's name.
        document: The document.
    """

    doc_id: str
    source: str
    document: Document


@dataclass(frozen=True)
class Dropped:
    """A text that was read and is left out.

    Attributes:
        doc_id: The document that it stood in.
        text: The text.
        source: The file's name.
        reason: Why.
    """

    doc_id: str
    text: str
    source: str
    reason: str


@dataclass
class ReadCollection:
    """Goes through what was read, first to see what repeats, then for the documents.

    Attributes:
        files: The files, in order, each with its key.
        parts: What was read of them.
        languages: Languages to keep; none: all.
        min_letters: The fewest letters of a document.
        repeated: What knows of repeated lines; None: they stay.
        kept_before: The documents that the corpus had, which are preferred among copies.
    """

    files: Sequence[tuple[FoundFile, str]]
    parts: Parts
    languages: Collection[str]
    min_letters: int
    repeated: RepeatedLines | None
    kept_before: Collection[str] = ()
    _owner: dict[bytes, str] = field(default_factory=dict, init=False)

    def look(self) -> Iterator[tuple[FoundFile, str, int, list[Failure]]]:
        """The first time: counts lines and finds copies.

        Yields each file with its key, the number of its documents, and what could not be read of it.
        """
        for file, key in self.files:
            documents = 0
            failures = []
            for item in self._read(file, key):
                if isinstance(item, Named):
                    documents += 1
                    self._see(item)
                else:
                    failures.append(item)
            yield file, key, documents, failures

    def documents(self) -> Iterator[Named | Dropped]:
        """The second time: the documents without repeated lines, and what is left out."""
        for file, key in self.files:
            for item in self._read(file, key):
                if isinstance(item, Named):
                    yield from self._cleaned(item)

    def _see(self, item: Named) -> None:
        # what is left out for another reason repeats nothing, and is no other document's original
        if self._reason(item):
            return
        if self.repeated and not item.document.name:
            self.repeated.see(item.document, _site(item.doc_id))
        digest = _digest(item.document)
        before = self._owner.setdefault(digest, item.doc_id)
        # a copy that comes into a folder does not take the place of what is there
        if item.doc_id in self.kept_before and before not in self.kept_before:
            self._owner[digest] = item.doc_id

    def _cleaned(self, item: Named) -> Iterator[Named | Dropped]:
        document = item.document
        text = document_text(document.blocks)
        reason = self._reason(item)
        if not reason and self._owner[_digest(document)] != item.doc_id:
            reason = "a copy of another document"
        if reason:
            yield Dropped(item.doc_id, text, item.source, reason)
            return
        for left in document.left_out:
            yield Dropped(item.doc_id, left.text, item.source, left.reason)
        if self.repeated and not document.name:
            document, removed = self.repeated.without(document, _site(item.doc_id))
            for line in removed:
                yield Dropped(item.doc_id, line, item.source, "repeats over many documents")
            if not document.blocks:
                return
        yield replace(item, document=document)

    def _reason(self, item: Named) -> str:
        text = document_text(item.document.blocks)
        # a row of a table says much of what it says in its title
        letters = len(_LETTER.findall(f"{item.document.title} {text}" if item.document.name else text))
        if letters < self.min_letters:
            return f"fewer than {self.min_letters} letters"
        language = item.document.language
        if self.languages and language and language not in self.languages:
            return f"in another language ({language})"
        return ""

    def _read(self, file: FoundFile, key: str) -> Iterator[Named | Failure]:
        taken: set[str] = set()
        for inner, found in self.parts.rows(key):
            if isinstance(found, Failure):
                yield replace(found, name=inner)
                continue
            doc_id = f"{file.name}/{inner}" if inner else file.name
            name, number = doc_id, 1
            while name in taken:
                number += 1
                name = f"{doc_id}~{number}"
            taken.add(name)
            yield Named(name, file.name, found)


def _site(doc_id: str) -> str:
    """What the site of a web page is known by: its folder; "" for what is no web page."""
    path = PurePosixPath(doc_id)
    return f"{path.parent}/" if path.suffix.lower() in _PAGES else ""


def _digest(document: Document) -> bytes:
    words = " ".join(document_text(document.blocks).lower().split())
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()[:16]
