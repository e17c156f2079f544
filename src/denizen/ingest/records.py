"""Rows as documents: JSON, JSON lines, delimited text (.csv, .tsv) and Parquet, each also where the row is broken."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from denizen.data.decoding import NotTextError, decode, stream_encoding
from denizen.data.delimited import delimited_rows
from denizen.engine.errors import reason
from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.text import shortened

_TEXT = ("text", "content", "body", "passage", "contents", "document")
_TITLE = ("title", "subject", "name")
_ID = ("id", "_id", "doc_id", "docid")
# where an object that wraps the rows keeps them
_ROWS = ("data", "documents", "rows", "records", "items", "results", "corpus", "passages")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_MOST_FACTS = 20
_LONGEST_FACT = 200
_RAW = 200
# a longer line than any document of a person; it is passed over without being held in memory
_LONGEST_LINE = 64 << 20
# after so many bad lines and no good one, the file is of another kind
_HOPELESS = 100
_BATCH = 256
# up to here a float holds each whole number
_WHOLE = 2**53

_Row = tuple[str, Any]


def read_json(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Reads a JSON file, plain or gzipped.

    An array of objects gives a document for each, and so does an object that has such an array (under `data`,
    `documents` and the like, or as its only one). An object with a text column is one document. Anything else is one
    document that says "key: value" line by line. See `read_jsonl` for what becomes of an object.

    Args:
        path: The file; it is held in memory as a whole.
        limits: Of it counts `unpacked_mb`, for a gzipped file.

    Yields:
        Documents, and a failure for each row that is no object.

    Raises:
        UnreadableError: When it is no JSON, is nested too deeply, or unpacks to too much.
    """
    with _opened(path, limits) as file:
        data = file.read()
    found, problem = _parsed(data)
    if problem:
        raise UnreadableError(problem)
    rows = found if isinstance(found, list) else _wrapped_rows(found)
    if any(isinstance(row, dict) for row in rows):
        yield from _documents((f"row {number}", row) for number, row in enumerate(rows, start=1))
    elif isinstance(found, dict):
        yield _document(found)
    else:
        yield Document(_rendered(found))


def read_jsonl(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Reads JSON lines, plain or gzipped, line by line.

    An object's text is its column `text`, `content`, `body`, `passage`, `contents` or `document`, the first that is
    not blank; where it has none of these, all its columns as lines "column: value". Its name is `id`, `_id`, `doc_id`
    or `docid`, or a digest of the row, so that it stays where other rows come and go; of rows with the same name, the
    second gets "~2" behind it, the third "~3". `title`, `subject` or `name` is its title, `domain` its domain; what
    else is a scalar is metadata, at most 20 columns of 200 characters. Upper and lower case are the same in columns'
    names.

    Args:
        path: The file.
        limits: Of it counts `unpacked_mb`, for a gzipped file.

    Yields:
        Documents, and a failure for each line that is no object.

    Raises:
        UnreadableError: When none of the first 100 lines is JSON, or a gzipped file is broken.
    """
    yield from _documents(_readable(_json_lines(path, limits)))


def read_delimited(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Reads rows between commas, tabs, semicolons or bars, plain or gzipped, row by row.

    Where the first row is no header, the longest texts are the text. See `denizen.data.delimited` for what is read
    as a row, and `read_jsonl` for what becomes of it.

    Args:
        path: A .csv or .tsv file.
        limits: Of it counts `unpacked_mb`, for a gzipped file.

    Yields:
        Documents, and a failure for each row with a fault (another number of fields than the header, a NUL, a quote
        without an end), which is kept, and for each line that is no row, which is not.

    Raises:
        UnreadableError: When it is no text, or a gzipped file is broken.
    """
    yield from _documents(_readable(_delimited_rows(path, limits)))


def _delimited_rows(path: Path, limits: Limits) -> Iterator[_Row | Failure]:
    try:
        with _opened(path, limits) as file:
            encoding, errors = stream_encoding(file)
        with _opened(path, limits) as file, io.TextIOWrapper(file, encoding, errors, newline="") as lines:
            for row in delimited_rows(lines, {*_TEXT, *_TITLE, *_ID}, _TEXT[0]):
                place = f"line {row.first}"
                if row.values:
                    yield place, row.values
                if row.problem:
                    kept = "; it is kept" if row.values else ""
                    yield Failure(place, row.problem + kept, shortened(row.raw, _RAW).replace("\0", "\ufffd"))
    except NotTextError as error:
        raise UnreadableError(str(error)) from None


def read_parquet(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Reads a Parquet file, some hundred rows at a time; see `read_jsonl` for what becomes of a row.

    Args:
        path: The file.
        limits: None of it counts here.

    Yields:
        Documents, and a failure for each row or row group that cannot be decoded.

    Raises:
        UnreadableError: When the file is no Parquet file or is cut off.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnreadableError(f"is not a readable Parquet file: {reason(error)}") from None
    with file:
        yield from _documents(_parquet_rows(file))


def text_blocks(text: str) -> list[Block]:
    """Plain text as a block for each paragraph, which blank lines separate."""
    paragraphs = (" ".join(part.split()) for part in _BLANK_LINE.split(text.replace("\r\n", "\n").replace("\r", "\n")))
    return [Block("text", paragraph) for paragraph in paragraphs if paragraph]


def content_name(content: str | bytes) -> str:
    """A name for what has none: the first 12 hex digits of the SHA-256 of its content."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()[:12]


class UniqueNames:
    """Gives each name once: the second "a" is "a~2", the third "a~3".

    It keeps hashes of 8 bytes and no names, as a file may have millions of rows.
    """

    def __init__(self) -> None:
        self._times: dict[bytes, int] = {}

    def unique(self, name: str) -> str:
        """The name, or the name with a number behind it where it was given out before."""
        first, found = _hash(name), name
        while (key := _hash(found)) in self._times:
            self._times[first] += 1
            found = f"{name}~{self._times[first]}"
        self._times[key] = 1
        return found


class _Gzipped(io.RawIOBase):
    """What a gzip file holds, up to a limit."""

    def __init__(self, path: Path, limit_mb: int) -> None:
        self.file = gzip.GzipFile(path)
        self.limit_mb = limit_mb
        self.read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            block = self.file.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableError(f"is a broken gzip file: {reason(error)}") from None
        self.read_bytes += len(block)
        if self.read_bytes > self.limit_mb << 20:
            raise UnreadableError(f"unpacks to more than {self.limit_mb} MiB, the limit")
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self.file.close()
        super().close()


def _opened(path: Path, limits: Limits) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return io.BufferedReader(_Gzipped(path, limits.unpacked_mb)) if zipped else path.open("rb")


def _readable(rows: Iterator[_Row | Failure]) -> Iterator[_Row | Failure]:
    """The rows; where the file breaks off after the first of them, a failure says so."""
    started = False
    try:
        for row in rows:
            yield row
            started = started or not isinstance(row, Failure)
    except UnreadableError as error:
        if not started:
            raise
        yield Failure("", f"{error}; the rest is left out")


def _json_lines(path: Path, limits: Limits) -> Iterator[_Row | Failure]:
    bad = good = 0
    with _opened(path, limits) as file:
        for number, line in _lines(file):
            if line is not None and not line.strip():
                continue
            row, problem = (None, "is too long") if line is None else _parsed(line)
            if problem:
                yield Failure(f"line {number}", problem, _start((line or b"").decode("utf-8", "replace")))
                bad += 1
                if not good and bad == _HOPELESS:
                    raise UnreadableError(f"none of the first {_HOPELESS} lines is JSON")
            else:
                good += 1
                yield f"line {number}", row


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        whole = len(line) < _LONGEST_LINE or line.endswith(b"\n")
        yield number, line if whole else None
        while not whole:
            line = file.readline(_LONGEST_LINE)
            whole = len(line) < _LONGEST_LINE or line.endswith(b"\n")


def _parsed(data: bytes) -> tuple[Any, str]:
    """What JSON says, and why it cannot be read, one of the two."""
    try:
        try:
            text = data.decode("utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else json.detect_encoding(data))
        except UnicodeDecodeError:
            text = decode(data).text
        return json.loads(text), ""
    except json.JSONDecodeError as error:
        return None, f"broken JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        return None, "is nested too deeply, or holds a number of too many digits"


def _wrapped_rows(found: Any) -> list[Any]:
    if not isinstance(found, dict) or _text_column(_columns(found)):
        return []
    lists = {key: value for key, value in found.items() if isinstance(value, list) and value}
    lists = {key: value for key, value in lists.items() if all(isinstance(row, dict) for row in value)}
    for key in _ROWS:
        if key in lists:
            return lists[key]
    return next(iter(lists.values())) if len(lists) == 1 else []


def _parquet_rows(file: Any) -> Iterator[_Row | Failure]:
    import pyarrow as pa

    number = 0
    for group in range(file.num_row_groups):
        following = number + file.metadata.row_group(group).num_rows
        try:
            for batch in file.iter_batches(_BATCH, row_groups=[group], use_threads=False):
                for index in range(batch.num_rows):
                    number += 1
                    yield _parquet_row(batch.slice(index, 1), number)
        except (pa.ArrowException, OSError, ValueError) as error:
            yield Failure(f"rows {number + 1} to {following}", f"cannot be read: {reason(error)}")
        number = following


def _parquet_row(batch: Any, number: int) -> _Row | Failure:
    try:
        return f"row {number}", batch.to_pylist()[0]
    # bytes that should be text, or a date beyond the calendar; they are decoded only here
    except (ValueError, OverflowError) as error:
        return Failure(f"row {number}", f"cannot be decoded: {reason(error)}")


def _documents(rows: Iterator[_Row | Failure]) -> Iterator[Document | Failure]:
    names = UniqueNames()
    for found in rows:
        if isinstance(found, Failure):
            yield found
            continue
        place, row = found
        if not isinstance(row, Mapping):
            yield Failure(place, f"is a JSON {type(row).__name__}, not an object", _start(row))
            continue
        document = _document(row)
        document.name = names.unique(document.name or content_name("\n".join(_rendered_lines(row))))
        yield document


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _document(row: Mapping[str, Any]) -> Document:
    columns = _columns(row)
    used = {"domain"}

    def first(names: tuple[str, ...]) -> str:
        for each in names:
            if value := _scalar(columns.get(each)):
                used.add(each)
                return value
        return ""

    document = Document([], first(_ID), first(_TITLE), _scalar(columns.get("domain")))
    column = _text_column(columns)
    if column:
        document.blocks = text_blocks(_long_text(columns[column]))
        found = ((key, _scalar(value)) for key, value in columns.items() if key and key not in {*used, column})
        facts = [(key, fact) for key, value in found if (fact := shortened(value, _LONGEST_FACT))]
        document.metadata = dict(facts[:_MOST_FACTS])
    else:
        document.blocks = _rendered(row)
    return document


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    return {_characters(str(key)).strip().lower(): value for key, value in row.items()}


def _text_column(columns: Mapping[str, Any]) -> str:
    """The known column that holds the text, a blank one if need be; "" where none can."""
    known = [name for name in _TEXT if name in columns]
    found = next((name for name in known if _long_text(columns[name]).strip()), "")
    # a column that holds something else, such as an object, is rendered with the row
    return found or next((name for name in known if columns[name] is None or isinstance(columns[name], str)), "")


def _long_text(value: Any) -> str:
    return _characters("\n\n".join(value)) if _is_texts(value) else _scalar(value, fold=False)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _scalar(value: Any, fold: bool = True) -> str:
    """A scalar as text; "" for None, for bytes and for what is nested."""
    if value is None or isinstance(value, bytes | Mapping | list):
        return ""
    # pandas makes floats of whole numbers where a column has gaps
    text = str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE else str(value)
    return _characters(" ".join(text.split()) if fold else text)


def _characters(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can escape and UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _rendered(value: Any) -> list[Block]:
    lines = _rendered_lines(value)
    return [Block("text", "\n".join(lines))] if lines else []


def _rendered_lines(value: Any) -> list[str]:
    """Any data as lines "key: value", with dots between the keys of what is nested."""
    lines: list[str] = []
    # a stack and not recursion: what JSON allows to be nested is deeper than what Python does
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        key, found = stack.pop()
        inner: Iterator[tuple[str, Any]] = iter(())
        if isinstance(found, Mapping):
            inner = ((str(name), each) for name, each in found.items())
        elif isinstance(found, list) and any(isinstance(each, Mapping | list) for each in found):
            inner = ((str(number), each) for number, each in enumerate(found, start=1))
        elif text := ", ".join(filter(None, map(_scalar, found))) if isinstance(found, list) else _scalar(found):
            lines.append(f"{_characters(' '.join(key.split()))}: {text}" if key else text)
        stack += reversed([(f"{key}.{name}" if key else name, each) for name, each in inner])
    return lines


def _start(row: object) -> str:
    return _characters(shortened(str(row), _RAW))
