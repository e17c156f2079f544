"""Reading one file with all that is inside it: the kind found, the reader called, limits kept, errors made rows."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from denizen.data.decoding import LOST
from denizen.ingest import kinds
from denizen.ingest.archive import disk_is_full
from denizen.ingest.document import Block, Document, Failure, Limits, Member, UnreadableError
from denizen.ingest.encoded_data import without_encoded_data

_MB = 1 << 20
_LONGEST_ERROR = 300
_LONGEST_RAW = 500
# what docling reads without models
_LAYOUT = ("docx", "pptx", "html")
# kinds whose documents are files for their owner, though they are no `Member`
_OF_FILES = ("mbox", "submission")

Item = tuple[str, Document | Failure]


def read_file(
    path: Path,
    name: str,
    limits: Limits,
    docling: bool = False,
    on_member: Callable[[], None] = lambda: None,
) -> Generator[Item, None, None]:
    """Yields (inner name, document or failure) for a file and for all that is inside it, in order.

    The inner name is the path inside the file, its parts joined by "/"; "" is the file itself. A document takes the
    metadata and the domain of the files around it where it has none of its own. Whatever goes wrong is a `Failure`
    at its place.

    Args:
        path: Where the bytes lie.
        name: The name that the owner knows the file under.
        limits: `members`, `unpacked_mb` and `depth` hold for the file with all that is inside; of `characters` each
            file has its own, and all together `total_characters`. Time and memory are those of the process; the
            caller limits them.
        docling: Whether DOCX, PPTX and HTML are read by docling.
        on_member: Is called when a file inside the file begins, and when it has ended.

    Raises:
        OSError: When the disk is full, which is no fault of the file.
    """
    return _Reading(limits, docling, on_member).read(_Place(path, name))


def described(error: BaseException) -> str:
    """An error as its type and message, in one line and without the path that a system's error names."""
    text = (isinstance(error, OSError) and error.strerror) or error
    return _line(f"{type(error).__name__}: {text}")


@dataclass(frozen=True)
class _Place:
    """A file to read, and where it was found."""

    path: Path
    name: str
    inner: str = ""
    depth: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    domain: str = ""


class _Reading:
    """What has been used of the limits, by the file that is read now and over the whole tree of files."""

    def __init__(self, limits: Limits, docling: bool, on_member: Callable[[], None]) -> None:
        self._limits = limits
        self._docling = docling
        self._on_member = on_member
        self._members = 0
        self._unpacked = 0
        self._characters = 0
        self._total = 0
        # whether the file, or the whole tree, has come to a limit
        self._full = False
        self._stopped = False

    def read(self, place: _Place) -> Generator[Item, None, None]:
        failure = None
        try:
            yield from self._items(place)
        # a reader stands on foreign libraries and foreign bytes: no error of theirs may cost the other files
        except Exception as error:
            if disk_is_full(error):
                raise
            failure = self._problem(error)
        # not before the error with all that its frames hold is gone
        if failure:
            yield place.inner, failure

    def _items(self, place: _Place) -> Iterator[Item]:
        kind = kinds.kind_of(place.path, place.name)
        if not kind:
            yield place.inner, Failure("", kinds.why_not(place.path, place.name))
            return
        reader = kinds.reader("layout" if self._docling and kind in _LAYOUT else kind)
        for item in reader(place.path, self._left()):
            if isinstance(item, Member):
                yield from self._member(place, item, kind)
            elif isinstance(item, Failure):
                yield from self._failure(place, item)
            else:
                yield from self._document(place, item)
            if kind in _OF_FILES:
                self._begin()
            if self._stopped or self._full:
                return

    def _problem(self, error: Exception) -> Failure:
        number = error.errno if isinstance(error, OSError) else None
        if isinstance(error, MemoryError) or number == errno.ENOMEM:
            return Failure("", self._limits.out_of_memory, limit=True)
        if isinstance(error, UnreadableError):
            return Failure("", _line(str(error)), limit=error.limit)
        if isinstance(error, RecursionError):
            return Failure("", "is nested too deeply")
        # the process may write no larger file than the limits ask for
        return Failure("", described(error), limit=number == errno.EFBIG)

    def _begin(self, used: int = 0) -> None:
        """A file begins, or goes on after one inside it, of whose characters so many were used."""
        self._characters, self._full = used, False
        self._on_member()

    def _left(self) -> Limits:
        return dataclasses.replace(
            self._limits,
            members=max(0, self._limits.members - self._members),
            unpacked_mb=max(0, self._limits.unpacked_mb - self._unpacked // _MB),
        )

    def _member(self, place: _Place, member: Member, kind: str) -> Iterator[Item]:
        inner, name = _joined(place.inner, member.name), member.name
        if kind == "compressed":
            # "a.csv.gz" is one file for its owner, and what is in it is "a.csv"
            inner, name = place.inner, kinds.unpacked_name(place.name)
        self._members += 1
        self._unpacked += member.path.stat().st_size
        problem = ""
        if self._members > self._limits.members:
            problem = f"holds more than {self._limits.members} files, the limit; the rest is not read"
        elif self._unpacked > self._limits.unpacked_mb * _MB:
            problem = f"unpacks to more than {self._limits.unpacked_mb} MB, the limit; the rest is not read"
        if problem:
            self._stopped = True
            yield "", Failure("", problem, limit=True)
        elif place.depth >= self._limits.depth:
            yield inner, Failure("", f"lies more than {self._limits.depth} files deep, the limit", limit=True)
        else:
            metadata = _merged(place.metadata, member.metadata)
            found = _Place(member.path, name, inner, place.depth + 1, metadata, member.domain or place.domain)
            used = self._characters
            self._begin()
            yield from self.read(found)
            self._begin(used)

    def _document(self, place: _Place, document: Document) -> Iterator[Item]:
        document = without_encoded_data(document)
        left = min(self._limits.characters - self._characters, self._limits.total_characters - self._total)
        left_out = sum(len(item.text) for item in document.left_out)
        characters = len(document.title) + sum(len(block.text) for block in document.blocks) + left_out
        problem = self._spent(characters)
        metadata = _merged(place.metadata, document.metadata)
        whole = dataclasses.replace(document, metadata=metadata, domain=document.domain or place.domain)
        inner = _joined(place.inner, document.name)
        if lost := _lost(whole):
            yield inner, Failure("", f"holds {lost:,} characters that cannot be decoded; they are kept as \ufffd")
        if not problem:
            yield inner, whole
            return
        title = whole.title[:left]
        blocks = _cut(whole.blocks, left - len(title))
        if blocks:
            yield inner, dataclasses.replace(whole, title=title, blocks=blocks, left_out=[])
        yield "" if self._stopped else inner, Failure("", problem, limit=True)

    def _failure(self, place: _Place, failure: Failure) -> Iterator[Item]:
        raw = failure.raw[:_LONGEST_RAW]
        # a file of nothing but bad lines must not fill the disk with them
        problem = self._spent(len(failure.name) + len(failure.error) + len(raw))
        kept = dataclasses.replace(failure, error=_line(failure.error), raw=raw)
        yield _joined(place.inner, failure.name), kept
        if problem:
            yield "" if self._stopped else place.inner, Failure("", problem, limit=True)

    def _spent(self, characters: int) -> str:
        """Counts characters; returns what is said of the limit that they pass, if any."""
        self._characters += characters
        self._total += characters
        own, total = self._limits.characters, self._limits.total_characters
        if self._total > total:
            self._stopped = True
            return f"holds more than {total:,} characters with all files inside, the limit; the rest is not read"
        self._full = self._characters > own
        return f"holds more than {own:,} characters, the limit; the rest is not read" if self._full else ""


def _lost(document: Document) -> int:
    return sum(text.count(LOST) for text in (document.title, *(block.text for block in document.blocks)))


def _joined(inner: str, name: str) -> str:
    return "/".join(part for part in (inner, name) if part)


def _merged(outer: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    return {**outer, **{name: value for name, value in own.items() if value or name not in outer}}


def _cut(blocks: list[Block], left: int) -> list[Block]:
    kept: list[Block] = []
    for block in blocks:
        text = block.text[:left]
        if not text:
            break
        kept.append(dataclasses.replace(block, text=text))
        left -= len(text)
    return kept


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_ERROR].strip() or "cannot be read"
