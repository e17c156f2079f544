"""Rows between delimiters, in whatever dialect a program has written them.

The dialect is the one by which most of the first rows have the same number of fields. A broken quote costs one row and
not the rest of the file. Python's `csv` takes a record apart; what it lacks is the choice, and the way back.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import IO

from denizen.data.decoding import NotTextError

_DELIMITERS = ("\t", ";", "|", "^", "~", "\x01", ",")
# stands between nothing: a file of one column
_NONE = "\x1f"
# what Excel takes for, and writes as, the word on the delimiter
_SEPARATOR = re.compile(r'"?sep=(\\t|[^\r\n"])"?[;,\t|]*\s*', re.IGNORECASE)
_SAMPLE_LINES = 500
# rows that agree, of the first; below it a delimiter is a sign of punctuation
_AGREE = 0.75
# a comma before a blank or between digits is one of prose or of decimals, if another delimiter does nearly as well
_WEAK = 0.3
# a first row of names speaks for the delimiter between them, in a file of few rows or many broken ones
_NAMED = 0.5
_NAME = re.compile(r"#? ?[^\W\d][\w./()%-]*(?: [\w./()%-]+){0,2}")
# a quote at the begin of a field is one of CSV, until so many more rows, and one, are right without
_LIKELY = 0.1
_QUOTED_BETWEEN_TABS = re.compile(r'(?:^|\t)"(?:[^"]|"")*"(?=[\t\r\n]|\Z)', re.MULTILINE)
_LONGEST_LINE = 64 << 20
# a quoted field that goes on for longer was never closed
_RECORD_LINES = 10_000
_RECORD_CHARACTERS = 16 << 20
_LONGEST_FIELD = 2**31 - 1
# the name of a column is no sentence
_LONGEST_NAME = 80
# a text, and not a code or a number, has so many characters in the mean
_TEXT_LENGTH = 20
_UNCLOSED = "opens a quote that is not closed"
_NUMBER = re.compile(r"[-+(]?[$€£]?\s?\d[\d.,\s]*%?\)?|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*")
_YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True)
class Dialect:
    """How rows are written.

    Attributes:
        delimiter: One character between fields.
        quote: The character around fields; "" where it is text.
        escaped: Whether a quote within quotes has a backslash before it instead of being doubled.
        spaced: Whether a blank stands between a delimiter and the quote behind it.
    """

    delimiter: str
    quote: str = '"'
    escaped: bool = False
    spaced: bool = False

    def split(self, lines: Iterable[str], strict: bool = True) -> Iterator[list[str]]:
        """The fields of each record; with `strict`, `csv.Error` says that quotes are not as the dialect has them."""
        if not self.quote:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE, quotechar=None)
        if self.escaped:
            lines = (re.sub(r'\\([\\"])', lambda found: '""' if found[1] == '"' else "\\", line) for line in lines)
        return csv.reader(
            lines, delimiter=self.delimiter, quotechar=self.quote, strict=strict, skipinitialspace=self.spaced
        )


@dataclass(frozen=True)
class Row:
    """A record under the header, or what stands where none can be.

    Attributes:
        first: The number of the line that it begins on, from 1.
        last: That of the line that it ends on.
        values: Column to value; empty for a comment or a line before the header.
        problem: What is wrong with it, although it is kept; "" for most.
        raw: Its lines as they stand, where there is a problem.
    """

    first: int
    last: int
    values: dict[str, str]
    problem: str = ""
    raw: str = ""


@dataclass
class _Record:
    first: int
    last: int
    fields: list[str]
    raw: str
    problem: str = ""
    # whether its quotes are text, against the dialect
    mended: bool = False

    @property
    def filled(self) -> list[str]:
        return [each for each in self.fields if each.strip()]


@dataclass
class _Lines:
    """Lines for `csv.reader`, which remembers those of the record at hand and can take them back."""

    lines: Iterator[str]
    waiting: deque[str] = field(default_factory=deque)
    number: int = 0
    record: list[str] = field(default_factory=list)
    characters: int = 0
    unclosed: bool = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        too_long = len(self.record) >= _RECORD_LINES or self.characters > _RECORD_CHARACTERS
        line = "" if too_long else self.waiting.popleft() if self.waiting else next(self.lines, "")
        if not line:
            # asked for more in the middle of a record: a quote is open
            self.unclosed = bool(self.record)
            raise StopIteration
        self.number += 1
        self.characters += len(line)
        self.record.append(line)
        return line.replace("\0", "")

    def begin_record(self) -> int:
        """Forgets the last record; returns the number of the line that the next one begins on."""
        self.record, self.characters, self.unclosed = [], 0, False
        return self.number + 1

    def take_back(self) -> None:
        """Gives all lines of the record but its first out once more."""
        again = self.record[1:]
        self.waiting.extendleft(reversed(again))
        self.number -= len(again)
        self.record = self.record[:1]


def delimited_rows(
    text: IO[str], known: Collection[str] = (), text_name: str = "", dialect: Dialect | None = None
) -> Iterator[Row]:
    """Yields the rows under the header, one after another.

    Lines before the header and comments ("# ...") are yielded without values and with the problem that they are such.
    A row of another length than the header is kept: what is missing is empty, and what is too much belongs to the
    column of the longest texts, where a delimiter stands within a text.

    Args:
        text: The text, opened with newline="".
        known: Names of columns, in lower case, by which a first row is known for a header.
        text_name: What the column of the texts is called where there is no header; "" for files that always have one.
        dialect: How rows are written, where that is known.

    Raises:
        NotTextError: When a line is longer than 64 million characters.
    """
    feed = _Lines(_lines_of(text))
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        sample = list(islice(feed.lines, _SAMPLE_LINES))
        feed.waiting.extend(sample)
        separator = _SEPARATOR.fullmatch(sample[0]) if sample and not dialect else None
        if separator:
            next(feed)
            sample = sample[1:]
        dialect = dialect or _dialect(sample, separator[1].replace("\\t", "\t") if separator else "")
        records = _records(feed, dialect)
        first = list(islice(records, _SAMPLE_LINES))
        if first:
            yield from _rows(first, records, dialect, known, text_name)
    finally:
        csv.field_size_limit(limit)


def _lines_of(text: IO[str]) -> Iterator[str]:
    number = 0
    while line := text.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise NotTextError(f"line {number} is longer than {_LONGEST_LINE >> 20} million characters")
        yield line.removeprefix("\ufeff") if number == 1 else line


def _records(feed: _Lines, dialect: Dialect) -> Iterator[_Record]:
    """The records, none of them blank."""
    reader = dialect.split(feed)
    widths: Counter[int] = Counter()
    while True:
        first, problem, mended = feed.begin_record(), "", False
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            mended, problem = True, _UNCLOSED if feed.unclosed or len(feed.record) > 1 else ""
            feed.take_back()
            fields = _mended(feed.record[0].replace("\0", ""), dialect, widths)
        raw = "".join(feed.record)
        if "\0" in raw:
            problem = problem or "holds a NUL, which is left out"
        if any(fields) and raw.strip():
            widths[len(fields)] += 1
            yield _Record(first, feed.number, fields, raw, problem, mended)


def _mended(line: str, dialect: Dialect, widths: Counter[int]) -> list[str]:
    """The fields of a line with a quote that is not closed, or not where a field ends: as text, if that fits."""
    plain = next(Dialect(dialect.delimiter, "").split([line]), [])
    wanted = widths.most_common(1)[0][0] if widths else len(plain)
    if len(plain) == wanted:
        return plain
    lenient = next(dialect.split([line], strict=False), [])
    return lenient if len(lenient) == wanted else plain


def _dialect(sample: list[str], delimiter: str) -> Dialect:
    """The dialect in which the most of the first rows agree; of those alike the one with quotes, and more columns."""
    text = "".join(sample)
    quotes = [('"', False), *([('"', True)] if '\\"' in text else []), ("", False)]
    candidates = [
        Dialect(each, *quote) for each in ([delimiter] if delimiter else [*_DELIMITERS, _NONE]) for quote in quotes
    ]
    candidates += [replace(each, spaced=True) for each in candidates if each.quote and f'{each.delimiter} "' in text]
    candidates += [Dialect(each.delimiter, "'") for each in candidates if not each.quote and _in_single(sample, each)]
    return max(candidates, key=lambda each: _fitness(sample, text, each))


def _fitness(sample: list[str], text: str, dialect: Dialect) -> tuple[float, int, int]:
    """The share of rows that agree, how likely the quotes are, and how many columns there are."""
    records = list(_records(_Lines(iter(sample)), dialect))
    # the sample ends within a record
    records = records[:-1] if len(sample) == _SAMPLE_LINES and len(records) > 1 else records
    rows = [record for record in records if not record.raw.startswith("#")] or records
    width = _width(rows)
    of_width = [record for record in rows if len(record.fields) == width]
    agree = sum(not record.mended for record in of_width) / max(1, len(rows))
    if dialect.delimiter == _NONE:
        agree *= _AGREE
    elif width == 1:
        agree = 0
    elif all(_NAME.fullmatch(name) for name in of_width[0].fields):
        agree += _NAMED
    elif dialect.delimiter == "," and 2 * len(re.findall(r"\d,(?=\d)|, ", text)) > text.count(","):
        agree -= _WEAK
    # between tabs a quote is often text; elsewhere it has to be shown by more than a row with a broken one
    if not dialect.quote and (dialect.delimiter != "\t" or _QUOTED_BETWEEN_TABS.search(text)):
        agree -= _LIKELY + 1 / max(1, len(records))
    quotes = {"'": 3, '"': 1 if dialect.escaped else 2, "": 0}[dialect.quote]
    return round(agree, 3), quotes, width


def _width(records: list[_Record]) -> int:
    """How many fields the most records have; of those alike, as many as the first."""
    widths = Counter(len(record.fields) for record in records)
    return max(widths, key=lambda each: (widths[each], each == len(records[0].fields), each), default=1)


def _in_single(sample: list[str], plain: Dialect) -> bool:
    """Whether most fields stand between single quotes."""
    fields = [each.strip() for fields in plain.split(sample) for each in fields]
    quoted = sum(len(each) > 1 and each[0] == each[-1] == "'" for each in fields)
    return 2 * quoted > len(fields)


def _rows(
    first: list[_Record], others: Iterator[_Record], dialect: Dialect, known: Collection[str], text_name: str
) -> Iterator[Row]:
    """The rows of records, of which the first say which columns there are."""
    width, begin = _width(first), 0
    if width > 1:
        # a title or a remark above the table
        of_table = (at for at, record in enumerate(first) if len(record.filled) > 1 and not _is_comment(record, width))
        begin = next(of_table, 0)
    for record in first[:begin]:
        what = "is a comment" if record.raw.startswith("#") else "stands before the header"
        yield Row(record.first, record.last, {}, f"{what}, and is left out", record.raw)
    header, rows = first[begin], first[begin + 1 :]
    same = [record.fields for record in rows if len(record.fields) == width]
    lengths = [
        sum(len(fields[at]) for fields in same or [header.fields]) for at in range(min(width, len(header.fields)))
    ]
    longest = lengths.index(max(lengths))
    if not text_name or _is_header(header.fields, same, known):
        # R writes no name above its row names
        unnamed = [""] if width == len(header.fields) + 1 > 2 and len(same) == len(rows) else []
        names, longest = _column_names([*unnamed, *header.fields]), longest + len(unnamed)
        if header.problem:
            yield Row(header.first, header.last, {}, header.problem, header.raw)
    else:
        names = [f"column {number}" for number in range(1, len(header.fields) + 1)]
        if len(names) == 1 or lengths[longest] >= _TEXT_LENGTH * max(1, len(same)):
            names[longest] = text_name
        rows = [header, *rows]
    for record in chain(rows, others):
        yield _row(record, names, longest, dialect.delimiter)


def _is_comment(record: _Record, width: int) -> bool:
    return record.raw.startswith("#") and len(record.fields) != width


def _row(record: _Record, names: list[str], longest: int, delimiter: str) -> Row:
    fields, problem, wanted = record.fields, record.problem, len(names)
    # below the header a sign of a comment may begin a text, such as "#1 reason, and more"
    if len(fields) == 1 and _is_comment(record, wanted):
        return Row(record.first, record.last, {}, "is a comment, and is left out", record.raw)
    while len(fields) > wanted and not fields[-1].strip():
        fields = fields[:-1]
    more = len(fields) - wanted
    if more:
        problem = problem or f"has {len(fields)} fields, the header has {wanted}"
        fields = [*fields, *[""] * -more]
    if more > 0:
        whole = delimiter.join(fields[longest : longest + more + 1])
        fields = [*fields[:longest], whole, *fields[longest + more + 1 :]]
    values = dict(zip(names, fields, strict=True))
    return Row(record.first, record.last, values, problem, record.raw if problem else "")


def _is_header(first: list[str], rows: list[list[str]], known: Collection[str]) -> bool:
    """Whether a first row names columns: it holds a known name, or neither a number nor a sentence."""
    names = [" ".join(each.split()) for each in first]
    if any(name.lstrip("# ").lower() in known for name in names):
        return True
    numbers = any(_NUMBER.fullmatch(name) and not _YEAR.fullmatch(name) for name in names)
    sentences = any(len(name) > _LONGEST_NAME or name.endswith((".", "!", "?", "。", "！", "？")) for name in names)
    if len(first) == 1 or numbers:
        return False
    # a name may be long or end in a dot; below one, numbers give it away
    return not sentences or any(
        len(rows) > 1 and all(_NUMBER.fullmatch(fields[at].strip()) for fields in rows)
        for at in range(len(first))
        if all(len(fields) > at for fields in rows)
    )


def _column_names(fields: list[str]) -> list[str]:
    names: list[str] = []
    for number, name in enumerate((" ".join(each.split()) for each in fields), start=1):
        name = name.lstrip("# ") if number == 1 else name
        names.append(name if name and name not in names else f"{name or 'column'} {number}")
    return names
