"""Reading one file with all that is inside it: the kind found, the reader called, limits kept, errors made rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from denizen.documents import kinds
from denizen.documents.document import Block, Document, Failure, Limits, Member, UnreadableError

_MB = 1 << 20
_LONGEST_ERROR = 300
_LONGEST_RAW = 500
# what docling reads without models
_LAYOUT = ("docx", "pptx", "html")

Item = tuple[str, Document | Failure]


def read_file(path: Path, name: str, limits: Limits, docling: bool = False) -> Generator[Item, None, None]:
    """Yields (inner name, document or failure) for a file and for all that is inside it, in order.

    The inner name is the path inside the file, its parts joined by "/"; "" is the file itself. A document takes the
    metadata and the domain of the files around it where it has none of its own. Whatever goes wrong is a `Failure`
    at its place.

    Args:
        path: Where the bytes lie.
        name: The name that the owner knows the file under.
        limits: `members`, `unpacked_mb`, `characters` and `depth` hold for the file with all that is inside. Time and
            memory are those of the process; the caller limits them.
        docling: Whether DOCX, PPTX and HTML are read by docling.
    """
    return _Reading(limits, docling).read(_Place(path, name))


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
    """What has been used of the limits, over the whole tree of files."""

    def __init__(self, limits: Limits, docling: bool) -> None:
        self._limits = limits
        self._docling = docling
        self._members = 0
        self._unpacked = 0
        self._characters = 0
        self._stopped = False

    def read(self, place: _Place) -> Generator[Item, None, None]:
        try:
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
                if self._stopped:
                    return
        except MemoryError:
            yield place.inner, Failure("", f"needs more than {self._limits.memory_mb} MB of memory")
        except RecursionError:
            yield place.inner, Failure("", "is nested too deeply")
        except UnreadableError as error:
            yield place.inner, Failure("", _line(str(error)))
        # a reader stands on foreign libraries and foreign bytes: no error of theirs may cost the other files
        except Exception as error:  # noqa: BLE001
            yield place.inner, Failure("", _line(f"{type(error).__name__}: {error}"))

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
            yield "", Failure("", problem)
        elif place.depth >= self._limits.depth:
            yield inner, Failure("", f"lies more than {self._limits.depth} files deep, the limit")
        else:
            metadata = _merged(place.metadata, member.metadata)
            found = _Place(member.path, name, inner, place.depth + 1, metadata, member.domain or place.domain)
            yield from self.read(found)

    def _document(self, place: _Place, document: Document) -> Iterator[Item]:
        limit = self._limits.characters
        left = limit - self._characters
        size = len(document.title) + sum(len(block.text) for block in document.blocks)
        self._characters += size
        metadata = _merged(place.metadata, document.metadata)
        whole = dataclasses.replace(document, metadata=metadata, domain=document.domain or place.domain)
        inner = _joined(place.inner, document.name)
        if size <= left:
            yield inner, whole
            return
        self._stopped = True
        title = whole.title[:left]
        blocks = _cut(whole.blocks, left - len(title))
        if blocks:
            yield inner, dataclasses.replace(whole, title=title, blocks=blocks)
        yield inner, Failure("", f"holds more than {limit:,} characters, the limit; the rest is not read")

    def _failure(self, place: _Place, failure: Failure) -> Iterator[Item]:
        raw = failure.raw[:_LONGEST_RAW]
        # a file of nothing but bad lines must not fill the disk with them
        self._characters += len(failure.name) + len(failure.error) + len(raw)
        yield _joined(place.inner, failure.name), Failure(failure.name, _line(failure.error), raw)
        if self._characters > self._limits.characters:
            self._stopped = True
            problem = f"holds more than {self._limits.characters:,} characters, the limit, with its failures"
            yield "", Failure("", problem)


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
