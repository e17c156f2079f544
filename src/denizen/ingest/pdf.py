"""PDF files: the text of their pages, read with PDFium, and with pypdf what PDFium does not read."""

from __future__ import annotations

import ctypes
import datetime
import itertools
import logging
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.engine.errors import reason
from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.page_lines import GAP, Gap, Line
from denizen.ingest.page_text import page_blocks

_ENCRYPTED = "is encrypted; save it without a password"
_SCANNED = "has no text layer; run OCR first"
# letters and digits below which a page counts as one without text: a scan may bear a stamp or a number
_FEWEST_CHARACTERS = 16
# drawn things of a page that are looked at to tell a scan from an empty page
_MOST_OBJECTS = 1000
# the mark that ends a PDF stands in its last bytes (ISO 32000-1, annex H, note 18)
_END = 1024
# PDFium's mark for a hyphen at the end of a line, which is followed by the next line at once
_HYPHEN = "\ufffe"
_LINE = re.compile(f"[^\r\n{_HYPHEN}]*(?:{_HYPHEN}|[^\r\n{_HYPHEN}])")
_NO_TITLE = re.compile(
    r"microsoft (?:word|powerpoint|excel)\b.*"
    r"|(?:untitled|unbenannt|unnamed|document|dokument|presentation|slide|folie|page)[ _-]?\d*"
    r"|powerpoint[- ]\w+|no title|title|titel"
    r"|.*\.(?:docx?|dotx?|odt|rtf|pdf|pptx?|xlsx?|indd|qxd|tex|dvi|ps|txt|html?)",
    re.IGNORECASE,
)
_NO_AUTHOR = frozenset(("", "unknown", "unbekannt", "user", "admin", "administrator", "owner", "author", "anonymous"))
_DATE = re.compile(r"(?:D:)?(\d{4})(\d{2})(\d{2})")


@dataclass(frozen=True)
class _Page:
    """The lines of a page, whether it holds images, and whether anything but text is drawn on it."""

    lines: list[Line]
    pictured: bool = False
    drawn: bool = False

    @property
    def has_text(self) -> bool:
        characters = itertools.chain.from_iterable(line.text for line in self.lines)
        return len(list(itertools.islice(filter(str.isalnum, characters), _FEWEST_CHARACTERS))) == _FEWEST_CHARACTERS


def read_pdf(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    """Reads the text of a PDF as one document, and yields a failure for each page that cannot be read.

    The order of the text is that of the file; columns that the file holds line by line are put one after the other.
    What was filled into its form stands at the end. Text in images and annotations is not read.

    Args:
        path: The file.
        limits: `pages` counts.

    Raises:
        UnreadableError: When the file is encrypted or broken, or holds images without text.
    """
    source = _open(path)
    failures: list[Failure] = []
    pages: list[_Page] = []
    try:
        for index in range(min(source.count, limits.pages)):
            try:
                pages.append(source.page(index))
            except UnreadableError as error:
                failures.append(Failure(f"page {index + 1}", str(error)))
                pages.append(_Page([]))
        facts = source.facts()
        count = source.count
        problems: list[Failure] = []
        filled = source.filled_fields(problems)
    finally:
        source.close()
    if failures and len(failures) == len(pages):
        raise UnreadableError(f"is broken: none of its {count} pages can be read ({failures[0].error})")
    silent = [page for page in pages if not page.has_text]
    if len(silent) == len(pages) and not filled and _is_scan(pages):
        raise UnreadableError(_SCANNED)
    metadata = {"pages": str(count), **_metadata(facts)}
    blocks = page_blocks([page.lines for page in pages])
    blocks += [Block("list", "\n".join(filled), page=count)] if filled else []
    yield Document(blocks, title=_title(facts), metadata=metadata)
    yield from (*failures, *problems)
    yield from _shortcomings(path, limits, count, sum(page.pictured for page in silent))


def _is_scan(pages: list[_Page]) -> bool:
    """Whether pages that have (almost) no text show something else."""
    empty = not any(page.lines for page in pages)
    return any(page.pictured or (empty and page.drawn) for page in pages)


def _shortcomings(path: Path, limits: Limits, count: int, scanned: int) -> Iterator[Failure]:
    if count > limits.pages:
        yield Failure("", f"has {count} pages, the limit is {limits.pages}; the first {limits.pages} were read")
    if scanned:
        yield Failure("", f"{scanned} of its pages are images without a text layer; run OCR first to have them, too")
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END))
        if b"%%EOF" not in file.read():
            yield Failure("", "is cut off: its end is missing; what is left of it was read")


class _Source:
    """The two libraries on one file: PDFium, and behind it pypdf, which is opened when it is first needed."""

    def __init__(self, path: Path, pdf: Any) -> None:
        self._path = path
        self._pdf = pdf
        self._second: Any = None
        self.count: int = len(pdf) if pdf else len(self._reader().pages)

    def page(self, index: int) -> _Page:
        """One page, from 0; UnreadableError where neither library reads it."""
        problem = "cannot be read"
        if self._pdf:
            from pypdfium2 import PdfiumError

            try:
                return _pdfium_page(self._pdf, index)
            # AssertionError: pypdfium2 checks the lengths that PDFium tells
            except (PdfiumError, AssertionError) as error:
                problem = reason(error)
        try:
            pages = self._reader().pages
            if len(pages) != self.count:
                # the libraries number the pages in different ways, so this would be another one
                raise UnreadableError(problem)
            text = pages[index].extract_text()
        except Exception as error:  # noqa: BLE001  (pypdf: "broken PDF files might cause other Exceptions")
            raise UnreadableError(problem if self._pdf else reason(error)) from None
        if self._pdf and not text.strip():
            raise UnreadableError(problem)
        return _Page(_typed_lines(text))

    def facts(self) -> dict[str, str]:
        """The document information: Title, Author and so on."""
        try:
            if self._pdf:
                return dict(self._pdf.get_metadata_dict())
            return {str(key).lstrip("/"): str(value) for key, value in (self._reader().metadata or {}).items()}
        except Exception:  # noqa: BLE001  (pypdf: as above; PDFium: half of a surrogate pair)
            return {}

    def filled_fields(self, problems: list[Failure]) -> list[str]:
        """What was filled into the form, an item "- label: value" for each field that has a value."""
        if self._pdf:
            from pypdfium2 import raw

            if self._pdf.get_formtype() == raw.FORMTYPE_NONE:
                return []
        try:
            fields = (self._reader().get_fields() or {}).items()
            found = [(field.get("/TU") or name, _field_value(field.get("/V"))) for name, field in fields]
        except Exception as error:  # noqa: BLE001  (pypdf: as above)
            problems.append(Failure("form", f"what was filled into it cannot be read: {reason(error)}"))
            return []
        return [f"- {' '.join(str(label).split())}: {value}" for label, value in found if value]

    def close(self) -> None:
        if self._pdf:
            self._pdf.close()
        if self._second:
            self._second.close()

    def _reader(self) -> Any:
        if self._second is None:
            from pypdf import PdfReader

            # it reports every oddity of a broken file on stderr
            logging.getLogger("pypdf").setLevel(logging.CRITICAL)
            self._second = PdfReader(self._path)
            if self._second.is_encrypted and not self._second.decrypt(""):
                raise UnreadableError(_ENCRYPTED)
        return self._second


def _field_value(value: Any) -> str:
    """The value of a field as text: a choice of several as a list, a box that is not ticked as ""."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_field_value, value)))
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return "" if text == "/Off" else text.removeprefix("/")


def _open(path: Path) -> _Source:
    import pypdfium2
    from pypdfium2 import raw

    pdf = None
    problem = "it has no pages"
    try:
        pdf = pypdfium2.PdfDocument(path)
        if len(pdf):
            return _Source(path, pdf)
        pdf.close()
    except pypdfium2.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise UnreadableError(_ENCRYPTED) from None
        problem = reason(error)
    try:
        source = _Source(path, None)
    except UnreadableError:
        raise
    except Exception:  # noqa: BLE001  (pypdf: "broken PDF files might cause other Exceptions")
        source = None
    if source is None or source.count == 0:
        raise UnreadableError(f"is broken or cut off, or no PDF ({problem}); save or fetch it anew")
    return source


def _pdfium_page(pdf: Any, index: int) -> _Page:
    from pypdfium2 import raw

    page = pdf[index]
    try:
        text_page = page.get_textpage()
        try:
            found = _Page(_lines(text_page, page.get_rotation()))
        finally:
            text_page.close()
        if not found.has_text:
            objects = itertools.islice(page.get_objects(max_depth=3), _MOST_OBJECTS)
            kinds = {drawn.type for drawn in objects} - {raw.FPDF_PAGEOBJ_TEXT}
            found = _Page(found.lines, raw.FPDF_PAGEOBJ_IMAGE in kinds, bool(kinds))
        return found
    finally:
        page.close()


def _lines(text_page: Any, rotation: int) -> list[Line]:
    text = text_page.get_text_range()
    if text and max(text) > "\uffff":
        # PDFium counts such characters as two
        units = text.encode("utf-16-le")
        text = "".join(map(chr, memoryview(units).cast("H")))
    places = _Places(text_page, rotation, plain=len(text) == text_page.count_chars())
    found = []
    for match in _LINE.finditer(text):
        line = _line(match[0], match.start(), places)
        if line:
            found.append(line)
    return found


def _line(text: str, start: int, places: _Places) -> Line | None:
    parts: list[str] = []
    gaps: list[tuple[int, float, float]] = []
    ends: list[float] = []
    length = 0
    words = list(re.finditer(r"\S+", text.replace(_HYPHEN, "-")))
    for word in words:
        left = places.extent(start + word.start())[0]
        if parts:
            gaps.append((length, ends[-1], left))
        ends += (left, places.extent(start + word.end() - 1)[1])
        part = _clean(word[0])
        length += len(part) + bool(parts)
        parts.append(part)
    if not "".join(parts):
        return None
    y, size = places.baseline(start + words[len(words) // 2].start())
    wide = tuple(Gap(*gap) for gap in gaps if gap[2] - gap[1] >= GAP * size)
    return Line(" ".join(parts), min(ends), max(ends), y, size, wide)


def _clean(word: str) -> str:
    """A word without control characters, its surrogates paired again."""
    if word.isascii() and word.isprintable():
        return word
    whole = word.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return "".join(character for character in whole if character >= " " and character not in "\x7f\ufffe\uffff")


class _Places:
    """Where the characters of a page stand, the page turned as it is shown."""

    def __init__(self, text_page: Any, rotation: int, plain: bool) -> None:
        from pypdfium2 import raw

        self._raw = raw
        self._text_page = text_page
        # whole numbers, since pages turn by right angles only
        self._cosine, self._sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[rotation]
        self._plain = plain
        self._numbers = [ctypes.c_double() for _ in range(4)]
        self._matrix = raw.FS_MATRIX()

    def extent(self, place: int) -> tuple[float, float]:
        """Where a character begins and ends."""
        left, right, bottom, top = self._numbers
        self._raw.FPDFText_GetCharBox(self._text_page, self._index(place), left, right, bottom, top)
        one = left.value * self._cosine + bottom.value * self._sine
        other = right.value * self._cosine + top.value * self._sine
        return (one, other) if one < other else (other, one)

    def baseline(self, place: int) -> tuple[float, float]:
        """The height that a character stands at, and the size of its type."""
        index = self._index(place)
        x, y = self._numbers[:2]
        self._raw.FPDFText_GetCharOrigin(self._text_page, index, x, y)
        self._raw.FPDFText_GetMatrix(self._text_page, index, self._matrix)
        size = self._raw.FPDFText_GetFontSize(self._text_page, index) * math.hypot(self._matrix.c, self._matrix.d)
        return y.value * self._cosine - x.value * self._sine, round(size, 1)

    def _index(self, place: int) -> int:
        return place if self._plain else int(self._raw.FPDFText_GetCharIndexFromTextIndex(self._text_page, place))


def _typed_lines(text: str) -> list[Line]:
    """Lines whose places are not known, as if a typewriter had set them."""
    lines = []
    for number, line in enumerate(text.encode("utf-8", "ignore").decode().splitlines()):
        words = " ".join(filter(None, map(_clean, line.split())))
        if words:
            left = 0.5 * (len(line) - len(line.lstrip()))
            lines.append(Line(words, left, left + 0.5 * len(words), -1.2 * number, 1.0))
    return lines


def _title(facts: dict[str, str]) -> str:
    title = " ".join(facts.get("Title", "").split())
    sensible = sum(map(str.isalpha, title)) > 1 and not _NO_TITLE.fullmatch(title)
    return title if sensible else ""


def _metadata(facts: dict[str, str]) -> dict[str, str]:
    found = {}
    author = " ".join(facts.get("Author", "").split())
    if author.casefold() not in _NO_AUTHOR:
        found["author"] = author
    match = _DATE.match(facts.get("CreationDate", ""))
    if match:
        try:
            found["date"] = datetime.date(*map(int, match.groups())).isoformat()
        except ValueError:
            return found
    return found
