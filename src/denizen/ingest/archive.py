"""Archives and compressed files, unpacked one member at a time to a temporary file, never under the names inside."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import re
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from denizen.ingest.document import Failure, Limits, Member, UnreadableError

_MB = 1 << 20
# zipfile gives a bzip2 or LZMA decoder this much at a time and takes all that comes out: at bzip2's 20,000-fold, 160 MB
_CHUNK = 8192
# text shrinks 3 to 20 times and repetitive tables 100 (where Apache POI's ZipSecureFile stops); deflate ends at 1,032
_RATIO = 200
_RATIO_FROM = 16 * _MB
_LONGEST_NAME = 500
_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)
_LEFT_BY_SYSTEMS = {"__macosx", "thumbs.db", "desktop.ini"}


def read_archive(path: Path, limits: Limits) -> Iterator[Member | Failure]:
    """Yields the files in a zip or tar archive, or the one in a .gz, .bz2 or .xz file, each unpacked for its turn.

    The unpacked file lies in the current folder and is deleted when the generator goes on. Folders, hidden files and
    what macOS and Windows leave behind are passed over. Links, devices and encrypted members are failures. An
    archive that is cut off gives the members before the cut.

    Args:
        path: The archive; what it is, its first bytes say.
        limits: `members` and `unpacked_mb` hold for this archive, with really decompressed bytes.

    Raises:
        UnreadableError: When it is no archive, or a zip without its directory, or a zip whose members overlap.
        OSError: When the disk is full.
    """
    try:
        with path.open("rb") as file:
            head = file.read(6)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield from _read_zip(path, limits)
        elif holds_tar(path):
            yield from _read_tar(path, limits)
        elif head.startswith(tuple(_OPENERS)):
            yield from _read_compressed(path, limits)
        else:
            raise UnreadableError("is not an archive that can be read, or is damaged at its beginning")
    except _TooMuchError as error:
        yield Failure("", str(error), limit=error.limit)
    except _DAMAGE as error:
        if disk_is_full(error):
            raise
        yield Failure("", f"is cut off or damaged ({_reason(error)}); what comes before was read")


def holds_tar(path: Path) -> bool:
    """Whether a file, or what is compressed in it, begins as a tar archive does."""
    try:
        with _opened(path) as stream:
            block = stream.read(tarfile.BLOCKSIZE)
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    # a tar of no members is zeros; any other file that begins with zeros is none
    except (*_DAMAGE, ValueError):
        return False
    return True


def disk_is_full(error: BaseException) -> bool:
    """Whether an error is no fault of the file, so that reading it again can help."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class _TooMuchError(UnreadableError):
    """A limit is passed; the message names it."""


@dataclass
class _Budget:
    """The bytes that an archive may still unpack to."""

    left: int
    limit_mb: int

    @classmethod
    def of(cls, limits: Limits) -> _Budget:
        return cls(limits.unpacked_mb * _MB, limits.unpacked_mb)

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise _TooMuchError(f"unpacks to more than the {self.limit_mb} MB that the limit leaves it", limit=True)


class _Counted:
    """A decompressed stream that counts, and that gives what comes before a cut before it fails."""

    def __init__(self, stream: Any, packed: int, budget: _Budget) -> None:
        self._stream = stream
        self._packed = packed
        self._budget = budget
        self._given = 0
        self._damage: BaseException | None = None

    def read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size and self._damage is None:
            try:
                piece = self._stream.read1(size - len(found))
            except _DAMAGE as error:
                self._damage = error
                break
            if not piece:
                break
            found += piece
        if self._damage is not None and not found:
            raise self._damage
        self._given += len(found)
        self._budget.take(len(found))
        if self._given > _RATIO_FROM and self._given > _RATIO * max(1, self._packed):
            raise _TooMuchError(
                f"is a decompression bomb: {self._packed:,} bytes unpack to more than {self._given:,} "
                f"(limit: {_RATIO} times)"
            )
        return bytes(found)

    def close(self) -> None:
        self._stream.close()


@dataclass(frozen=True)
class _Entry:
    """A file in an archive: its name as it stands there, what speaks against unpacking it, and its content."""

    name: str
    problem: str
    open: Callable[[], Any]


def _read_zip(path: Path, limits: Limits) -> Iterator[Member | Failure]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UnreadableError(
            f"is not a readable zip archive ({_reason(error)}); if it was cut off on its way, copy it again"
        ) from None
    with archive:
        if _overlap(archive):
            raise UnreadableError("is a decompression bomb: its members lie over one another")
        yield from _members(_zip_entries(archive, _Budget.of(limits)), limits)


def _overlap(archive: zipfile.ZipFile) -> bool:
    # a local header is 30 bytes and the name, which need not be as long as the directory's; the data follow
    spans = sorted((entry.header_offset, entry.header_offset + 30 + entry.compress_size) for entry in archive.filelist)
    ends = [start for start, _ in spans[1:]] + [archive.start_dir]
    return any(end > following for (_, end), following in zip(spans, ends, strict=True))


def _zip_entries(archive: zipfile.ZipFile, budget: _Budget) -> Iterator[_Entry]:
    for entry in archive.filelist:
        if entry.is_dir():
            continue
        name = entry.filename
        if not entry.flag_bits & 0x800:
            # many programs write UTF-8 without the flag for it
            with suppress(UnicodeError):
                name = name.encode("cp437").decode("utf-8")
        problem = ""
        if entry.flag_bits & 0x1:
            problem = "is encrypted; save the archive without a password"
        elif stat.S_ISLNK(entry.external_attr >> 16):
            problem = "is a link, not a file"

        def content(entry: zipfile.ZipInfo = entry) -> _Counted:
            return _Counted(archive.open(entry), entry.compress_size, budget)

        yield _Entry(name, problem, content)


class _Header(tarfile.TarInfo):
    """A header that is cut off or broken is an error; TarFile takes it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(archive)
        except (tarfile.TruncatedHeaderError, tarfile.InvalidHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(str(error)) from None


def _read_tar(path: Path, limits: Limits) -> Iterator[Member | Failure]:
    with _opened(path) as stream:
        counted = cast("IO[bytes]", _Counted(stream, path.stat().st_size, _Budget.of(limits)))
        with tarfile.open(fileobj=counted, mode="r|", tarinfo=_Header) as archive:
            yield from _members(_tar_entries(archive), limits)


def _tar_entries(archive: tarfile.TarFile) -> Iterator[_Entry]:
    while (entry := archive.next()) is not None:
        # the archive keeps all headers, for which there is no use in a stream
        archive.members.clear()  # type: ignore[attr-defined]
        if entry.isdir():
            continue
        problem = ""
        if entry.issym() or entry.islnk():
            problem = "is a link, not a file"
        elif not entry.isreg() or entry.issparse():
            problem = "is a device or another special file"

        def content(entry: tarfile.TarInfo = entry) -> IO[bytes] | None:
            return archive.extractfile(entry)

        yield _Entry(entry.name, problem, content)


def _members(entries: Iterator[_Entry], limits: Limits) -> Iterator[Member | Failure]:
    count = 0
    taken: dict[str, int] = {}
    for entry in entries:
        name, climbs = _cleaned(entry.name)
        if _is_hidden(name):
            continue
        count += 1
        if count > limits.members:
            problem = f"holds more than the {limits.members} files that the limit leaves it; the rest is not read"
            yield Failure("", problem, limit=True)
            return
        name = _unique(name, taken)
        problem = "has a path that climbs out of the archive" if climbs else entry.problem
        if problem:
            yield Failure(name, problem)
            continue
        try:
            place = _unpacked(entry, name)
        except _TooMuchError as error:
            yield Failure(name, str(error), limit=error.limit)
            return
        # RuntimeError, NotImplementedError: zipfile on encryption and compression that it does not know
        except (*_DAMAGE, RuntimeError) as error:
            if disk_is_full(error):
                raise
            yield Failure(name, f"is damaged, or packed in a way that is not known ({_reason(error)})")
            continue
        try:
            yield Member(name, place)
        finally:
            place.unlink(missing_ok=True)
    if not count:
        yield Failure("", "holds no files")


def _read_compressed(path: Path, limits: Limits) -> Iterator[Member | Failure]:
    name = path.stem
    with _opened(path) as stream:
        source = _Counted(stream, path.stat().st_size, _Budget.of(limits))
        with _temporary(name) as (place, target):
            damage: BaseException | None = None
            try:
                while piece := source.read(_CHUNK):
                    target.write(piece)
            except _DAMAGE as error:
                damage = error
            target.close()
            if damage is None or place.stat().st_size:
                yield Member(name, place)
            if damage is not None:
                raise damage


def _unpacked(entry: _Entry, name: str) -> Path:
    with _temporary(name, keep=True) as (place, target):
        source = entry.open()
        try:
            while piece := source.read(_CHUNK):
                target.write(piece)
        finally:
            source.close()
    return place


@contextmanager
def _temporary(name: str, keep: bool = False) -> Iterator[tuple[Path, IO[bytes]]]:
    # readers may look at the suffix; nothing else of a name that others chose reaches the file system
    suffix = re.search(r"(?:\.[A-Za-z0-9]{1,8}){1,2}$", name)
    descriptor, found = tempfile.mkstemp(suffix=suffix.group() if suffix else "", dir=".")
    place = Path(found)
    try:
        with os.fdopen(descriptor, "wb") as target:
            yield place, target
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    if not keep:
        place.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        head = file.read(6)
    for magic, opener in _OPENERS.items():
        if head.startswith(magic):
            with opener(path) as stream:
                yield stream
            return
    with path.open("rb") as file:
        yield file


def _cleaned(name: str) -> tuple[str, bool]:
    """A member's name as a path that stays inside, and whether it tried to leave."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\\", "/")
    text = re.sub(r"[\x00-\x1f\x7f]", "_", re.sub(r"^[A-Za-z]:", "", text))
    parts = [part for part in text.split("/") if part not in ("", ".")]
    kept = "/".join(part for part in parts if part != "..")
    return kept[-_LONGEST_NAME:].lstrip("/") or "unnamed", ".." in parts


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in _LEFT_BY_SYSTEMS for part in name.split("/"))


def _unique(name: str, taken: dict[str, int]) -> str:
    """The name, with " (2)" before the suffix where it was there before."""
    path = PurePosixPath(name)
    found = name
    while found in taken:
        taken[name] += 1
        found = str(path.with_name(f"{path.stem} ({taken[name]}){path.suffix}"))
    taken[found] = 1
    return found


def _reason(error: BaseException) -> str:
    # the whole message of a system's error holds a path of ours
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__
