"""Rows between delimiters, read so that a broken quote costs one row and not the rest of the file."""

from __future__ import annotations

import codecs
import csv
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from denizen.ingest.document import Failure, UnreadableError
from denizen.ingest.text import shortened

_DELIMITERS = (",", "\t", ";", "|")
_SAMPLE_ROWS = 20
_BLOCK = 1 << 20
_LONGEST_LINE = 64 << 20
# a quoted field that goes on for longer was never closed
_RECORD_LINES = 10_000
_RECORD_CHARACTERS = 16 << 20
_LONGEST_FIELD = 2**31 - 1
_RAW = 200


class _Lines:
    """Lines for `csv.reader`, which remembers those of the record at hand and can take them back."""

    def __init__(self, lines: IO[str]) -> None:
        self.lines = lines
        self.waiting: deque[str] = deque()
        self.number = 0
        self.record: list[str] = []
        self.characters = 0
        self.unclosed = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        too_long = len(self.record) >= _RECORD_LINES or self.characters > _RECORD_CHARACTERS
        line = "" if too_long else self.waiting.popleft() if self.waiting else self.lines.readline(_LONGEST_LINE)
        if len(line) == _LONGEST_LINE:
            raise UnreadableError(f"line {self.number + 1} is longer than {_LONGEST_LINE >> 20} million characters")
        if not line:
            # asked for more in the middle of a record: a quote is open
            self.unclosed = bool(self.record)
            raise StopIteration
        self.number += 1
        self.characters += len(line)
        self.record.append(line)
        return line

    def begin_record(self) -> int:
        """Forgets the last record; returns the number of the line that the next one begins on."""
        self.record, self.characters, self.unclosed = [], 0, False
        return self.number + 1

    def take_back(self) -> None:
        """Gives all lines of the record but its first out once more."""
        again = self.record[1:]
        self.waiting.extendleft(reversed(again))
        self.number -= len(again)


def encoding_of(file: IO[bytes]) -> str:
    """UTF-16 by its mark, UTF-8 where all bytes are, otherwise Windows-1252."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    block = file.read(_BLOCK)
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        while block:
            decoder.decode(block)
            block = file.read(_BLOCK)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def delimited_rows(
    lines: IO[str], known: set[str], text_column: str
) -> Iterator[tuple[str, Mapping[str, str]] | Failure]:
    """Yields (place, row) for each row under the header, and a failure for each that cannot be used.

    Args:
        lines: The text, opened with newline="".
        known: Names of columns, in lower case, that make a first row of a single column a header.
        text_column: What a single column is called where the file does not name it.

    Raises:
        UnreadableError: When the first line holds a NUL or a line is longer than 64 million characters.
    """
    feed = _Lines(lines)
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        delimiter = _delimiter(feed)
        header: list[str] = []
        for line, record in _records(feed, delimiter):
            if isinstance(record, Failure):
                if not header and "NUL" in record.error:
                    raise UnreadableError("is not text: its first line holds a NUL")
                yield record
                continue
            if not header:
                header = _column_names(record)
                if len(record) > 1 or header[0].lower() in known:
                    continue
                header = [text_column]
            if len(record) == len(header):
                yield f"line {line}", dict(zip(header, record, strict=True))
            else:
                problem = f"has {len(record)} fields, the header has {len(header)}"
                yield Failure(f"line {line}", problem, shortened("".join(feed.record), _RAW))
    finally:
        csv.field_size_limit(limit)


def _records(feed: _Lines, delimiter: str) -> Iterator[tuple[int, list[str] | Failure]]:
    reader = _split(feed, delimiter)
    while True:
        line = feed.begin_record()
        try:
            record = next(reader)
            problem = "opens a quote that is not closed" if feed.unclosed else ""
        except StopIteration:
            return
        except csv.Error as error:
            record, problem = [], f"broken CSV: {error}"
        if not problem and any("\0" in each for each in feed.record):
            problem = "holds a NUL"
        if problem:
            feed.take_back()
            yield line, Failure(f"line {line}", problem, shortened(feed.record[0], _RAW).replace("\0", "\ufffd"))
        elif any(field.strip() for field in record):
            yield line, record


def _split(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    # between tabs, a quote is text
    if delimiter == "\t":
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter)


def _delimiter(feed: _Lines) -> str:
    """The delimiter by which the most of the first rows have as many fields as the first, and that most often."""
    feed.begin_record()
    sample: list[str] = []
    for line in feed:
        sample.append(line)
        if len(sample) == _SAMPLE_ROWS * 5 or feed.characters > _BLOCK:
            break
    feed.waiting.extend(sample)
    feed.number = 0

    def fitness(delimiter: str) -> tuple[int, int]:
        widths = [len(record) for record in _split(sample, delimiter) if record]
        width = widths[0] if widths else 0
        return (widths[:_SAMPLE_ROWS].count(width), width) if width > 1 else (0, width)

    return max(_DELIMITERS, key=fitness)


def _column_names(record: list[str]) -> list[str]:
    names: list[str] = []
    for number, name in enumerate((" ".join(each.split()) for each in record), start=1):
        names.append(name if name and name not in names else f"{name or 'column'} {number}")
    return names
