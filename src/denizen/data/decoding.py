"""Bytes as text: by their mark, by the encoding that is declared for them, or by a guess.

One place for all formats, files of labels too. What programs call an encoding is often not what they write: a name is
taken for the superset that its senders mean, and a name that the bytes contradict for none.
"""

from __future__ import annotations

import codecs
import dataclasses
import re
import unicodedata
from dataclasses import dataclass
from typing import IO

LOST = "\ufffd"
# the longer mark first: that of UTF-16 begins that of UTF-32
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_JAPANESE = "denizen.jis"
_WINDOWS = "denizen.cp1252"
# Python's name of a codec -> what is tried for it, in order; a codec of ISO 8859 is passed over where the bytes are
# control characters by it, for then the Windows code page is meant (https://encoding.spec.whatwg.org/#names-and-labels)
_MEANT: dict[str, tuple[str, ...]] = {
    "iso8859-1": ("cp1252",),
    "iso8859-2": ("iso8859-2", "cp1250"),
    "iso8859-5": ("iso8859-5", "cp1251"),
    "iso8859-6": ("iso8859-6", "cp1256"),
    "iso8859-7": ("iso8859-7", "cp1253"),
    "iso8859-8": ("iso8859-8", "cp1255"),
    "iso8859-9": ("cp1254",),
    "iso8859-11": ("cp874",),
    "tis-620": ("cp874",),
    "iso8859-13": ("iso8859-13", "cp1257"),
    "iso8859-15": ("iso8859-15", "cp1252"),
    "koi8-r": ("koi8-r", "koi8-u"),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "big5": ("cp950", "big5hkscs"),
    "cp950": ("cp950", "big5hkscs"),
    "euc_kr": ("cp949",),
    "shift_jis": ("cp932", "shift_jis_2004"),
    "euc_jp": ("euc_jp", f"euc_jp {_JAPANESE}", "euc_jis_2004"),
    "iso2022_jp": ("iso2022_jp_ext", "iso2022_jp_2", f"iso2022_jp_ext {_JAPANESE}", "iso2022_jp_2004"),
    "utf-16": ("utf-16-be", "utf-16-le"),
}
_MEANT["iso2022_jp_1"] = _MEANT["iso2022_jp_ext"] = _MEANT["iso2022_jp"]
# names that Python does not know, once blanks, "x-" and the like are away; from the labels of WHATWG and from mails
_ALIASES = {
    "cngb": "gb18030",
    "csgb2312": "gb18030",
    "gb_2312": "gb18030",
    "gb_2312-80": "gb18030",
    "cn-big5": "big5",
    "big5-eten": "big5",
    "x-big5": "big5",
    "euc": "euc_jp",
    "cseucpkdfmtjapanese": "euc_jp",
    "jis": "iso2022_jp",
    "iso-2022-jp-ms": "iso2022_jp",
    "sjis-win": "cp932",
    "windows-31j": "cp932",
    "cseuckr": "cp949",
    "csksc56011987": "cp949",
    "iso-ir-149": "cp949",
    "ks_c_5601-1989": "cp949",
    "ksc_5601": "cp949",
    "koi": "koi8-r",
    "koi8": "koi8-r",
    "koi8-ru": "koi8-u",
    "sun_eu_greek": "iso8859-7",
    "logical": "iso8859-8",
    "visual": "iso8859-8",
    "csmacintosh": "mac-roman",
    "mac": "mac-roman",
    "mac-ce": "mac-latin2",
    "mac-centraleurroman": "mac-latin2",
    "mac-ukrainian": "mac-cyrillic",
    "mac-icelandic": "mac-iceland",
    "mac-japanese": "cp932",
    "mac-korean": "cp949",
    "mac-chinesesimp": "gb18030",
    "mac-chinesetrad": "big5",
    "unicode": "utf-16",
    "ucs-2": "utf-16",
    "csunicode": "utf-16",
    "iso-10646-ucs-2": "utf-16",
    "unicodefeff": "utf-16-le",
    "unicodefffe": "utf-16-be",
    "unicode-1-1-utf-8": "utf-8",
}
# Python's other codecs (punycode, unicode_escape, rot13, ...) are no encodings of files
_TEXT = (
    *("cp", "iso", "koi8", "kz1048", "ptcp154", "mac", "euc", "gb", "big5", "shift", "hz", "johab", "tis"),
    *("hp-roman8", "utf-"),
)
_SEVEN_BIT = ("iso2022", "hz", "utf-7")
_WESTERN = ("cp1252", "iso8859-15", "cp850", "mac-roman")
_EASTERN = ("gb18030", "big5hkscs", "cp950", "cp932", "shift_jis", "euc_j", "cp949", "johab")
# what a guess may come to: encodings of the big languages, without those of mainframes and of single countries; the
# first are those of the Latin script, whose letters beyond ASCII mostly stand alone
_LATIN = (
    *("windows-1252", "windows-1250", "windows-1254", "windows-1257", "windows-1258", "iso-8859-1", "iso-8859-2"),
    *("iso-8859-9", "iso-8859-13", "iso-8859-15", "cp437", "cp850", "cp852", "macroman"),
)
_OTHERS = (
    *("windows-1251", "windows-1253", "windows-1255", "windows-1256", "iso-8859-5", "iso-8859-6", "iso-8859-7"),
    *("iso-8859-8", "koi8-r", "koi8-u", "ibm866", "maccyrillic", "cp874"),
    *("gb18030", "big5hkscs", "cp932", "euc-jp", "cp949", "johab"),
)
_ESCAPED = ("iso-2022-jp", "iso-2022-kr", "hz")
_BLOCK = 1 << 20
_SAMPLE = 65_536  # bytes; a guess does not get better with more
_CONTROLS = "".join(chr(code) for code in range(32) if chr(code) not in "\t\n\v\f\r\b\x1a\x1b") + LOST
_AS_GOOD = 0.95  # of a confidence
_COMMONEST = ("windows-1252", "iso-8859-1")
_BINARY = 0.05  # share of control characters; random bytes have 0.095, text has none but for strays
# a text in a declared encoding may have so many broken bytes; more of them contradict the declaration
_FEW = 0.05
# as many characters of two bytes each are now and then valid UTF-8 by chance (13 % of a Chinese character in GBK)
_CHANCE = 3


class NotTextError(ValueError):
    """Bytes hold no text."""


@dataclass(frozen=True)
class Decoded:
    """What bytes say.

    Attributes:
        text: The text, as the bytes have it; U+FFFD stands for what could not be decoded.
        encoding: The codec that read it, by Python's name.
        errors: The error handler that it was read with.
    """

    text: str
    encoding: str
    errors: str = "replace"

    @property
    def lost(self) -> int:
        """How many characters could not be decoded."""
        return self.text.count(LOST)


def decoded(data: bytes, *declared: str) -> str:
    """The text that bytes hold, the ends of its lines as line feeds; see `decode`.

    Raises:
        NotTextError: When it is not text.
    """
    text = decode(data, *declared).text
    if sum(map(text.count, _CONTROLS)) > _BINARY * len(text):
        raise NotTextError("is not text")
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes, *declared: str) -> Decoded:
    """Decodes bytes; any bytes are decoded somehow, and what is lost is U+FFFD.

    A byte order mark decides; then whether it is valid UTF-8, which other encodings hardly ever are by chance; then
    the declared encodings; then a guess.

    Args:
        data: All of it.
        declared: The encodings that its surroundings name (a header, a page's meta), the nearest first; they may be
            wrong, unknown or empty.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return Decoded(data[len(mark) :].decode(encoding, "replace"), encoding)
    if wide := _wide(data):
        return Decoded(data.decode(wide, "replace"), wide)
    names = [name for label in declared for name in meant(label)]
    found = _seven_bit(data, names) if data.isascii() else _eight_bit(data, names)
    # a mark may stand within what was joined, such as the words of a header
    return dataclasses.replace(found, text=found.text.replace("\ufeff", ""))


def stream_encoding(file: IO[bytes]) -> tuple[str, str]:
    """The codec and the error handler with which a file is read line by line; the file is read to its end.

    Raises:
        NotTextError: When it does not begin with text.
    """
    block = file.read(_BLOCK)
    decoded(block)
    if block.startswith(tuple(mark for mark, _ in _MARKS)) or _wide(block):
        found = decode(block)
        return found.encoding, found.errors
    utf_8, is_utf_8, sample = codecs.getincrementaldecoder("utf-8")(), True, bytearray()
    while block:
        if is_utf_8:
            try:
                utf_8.decode(block)
            except UnicodeDecodeError:
                is_utf_8 = False
        if len(sample) < _SAMPLE:
            sample += _marked_lines(block[: block.rfind(b"\n") + 1] or block)
        block = file.read(_BLOCK)
    found = decode(bytes(sample))
    return ("utf-8", "replace") if is_utf_8 and found.encoding in ("utf-8", "ascii") else (found.encoding, found.errors)


def _marked_lines(data: bytes) -> bytes:
    """Lines that are not plain ASCII, which says nothing; a mark of degrees may come late."""
    sample = bytearray()
    for line in data.splitlines(keepends=True):
        telling = re.search(rb"[\x1b\x80-\xff]", line)
        if telling:
            sample += line[max(0, telling.start() - _SAMPLE) : telling.start() + _SAMPLE]
        if len(sample) > _SAMPLE:
            break
    return bytes(sample)


def meant(label: str) -> tuple[str, ...]:
    """The codecs that a declared name stands for, the first to be tried first; () for a name that says nothing.

    Each is Python's name of a codec, with the name of an error handler behind a blank where it needs one.
    """
    name = re.sub(r"[\s\"';,]|[*(].*", "", label).lower()
    name = re.sub(r"^(?:cs)?(?:x-)+", "", name)
    # windows-874, win1251, dos-862, ibm-850, cp-850, cp00850, ms932
    name = re.sub(r"^(?:windows|win|dos|ibm|ccsid|cp|ms|oem)[-_]*0*(?=\d+$)", "cp", name)
    name = re.sub(r"^(?:cs)?iso[-_]?8859[-_]?(\d+)(?:[-_]?[ei]|:\d+)?$", r"iso8859-\1", name)
    name = re.sub(r"^latin-(?=\d)", "latin", name)
    name = _ALIASES.get(name, name)
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):
        return ()
    return _MEANT.get(codec, (codec,)) if codec.startswith(_TEXT) else ()


def _seven_bit(data: bytes, names: list[str]) -> Decoded:
    """ASCII, unless escapes say otherwise."""
    switching = [name for name in names if name.startswith(_SEVEN_BIT)]
    if not switching and re.search(rb"\x1b[$(]|~\{.*~\}", data):
        switching = list(meant(_detected(data, _ESCAPED)))
    return _first(data, [*switching, "utf-8"]) or Decoded(data.decode("ascii"), "ascii")


def _eight_bit(data: bytes, names: list[str]) -> Decoded:
    names = _ordered(data, names)
    doubtful = bool(names) and names[0].startswith(_EASTERN) and _valid_by_chance(data)
    found = _first(data, [*names, "utf-8"] if doubtful else ["utf-8", *names])
    if found and not (found.encoding in _WESTERN and _in_runs(data)):
        return found
    guess = _guessed(data)
    if found:
        # letter upon letter with an accent is no Western text, if another is found in it
        return guess if _beyond_latin(guess.text) else found
    utf_8 = data.decode("utf-8", "replace")
    # in other encodings hardly any sequence is a valid one
    if utf_8.count(LOST) < sum(map(len, re.findall(rf"[^\x00-\x7f{LOST}]+", utf_8))):
        codecs.register_error(_WINDOWS, _windows)
        return Decoded(data.decode("utf-8", _WINDOWS), "utf-8", _WINDOWS)
    wide = (name for name in names if name.startswith((*_EASTERN, "utf-16", "iso2022")))
    return next(filter(None, (_with_few_lost(data, name) for name in wide)), guess)


def _first(data: bytes, names: list[str]) -> Decoded | None:
    """What the first encoding makes of it that has no fault to find."""
    for name in names:
        codec, _, handler = name.partition(" ")
        if handler:
            codecs.register_error(_JAPANESE, _japanese)
        try:
            text = data.decode(codec, handler or "strict")
        except UnicodeDecodeError:
            continue
        # C1 controls are letters and signs of the Windows code page
        if not (codec.startswith("iso8859") and re.search(r"[\x80-\x9f]", text)) and LOST not in text:
            return Decoded(text, codec, handler or "replace")
    return None


def _with_few_lost(data: bytes, name: str) -> Decoded | None:
    codec = name.partition(" ")[0]
    text = data.decode(codec, "replace")
    return Decoded(text, codec) if text.count(LOST) <= max(2, _FEW * len(text)) else None


def _ordered(data: bytes, names: list[str]) -> list[str]:
    """The names, the byte order of UTF-16 first by which the text is of the commoner characters."""
    if "utf-16-be" not in names or "utf-16-le" not in names:
        return names
    first = max(("utf-16-be", "utf-16-le"), key=lambda name: _common(data.decode(name, "ignore")))
    return [first, *(name for name in names if name != first)]


def _common(text: str) -> int:
    return len(
        re.findall(r"[\s!-~\u00a0-\u07ff\u0e00-\u0e7f\u2010-\u2026\u3000-\u30ff\u4e00-\u9fff\uff00-\uff5e]", text)
    )


def _wide(data: bytes) -> str:
    """UTF-16 without a mark shows in the zero bytes of its spaces, digits and Latin letters."""
    zeros = data[0::2].count(0), data[1::2].count(0)
    if max(zeros) < max(2, 0.1 * (len(data) / 2)) or min(zeros) > 0.1 * max(zeros):
        return ""
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def _valid_by_chance(data: bytes) -> bool:
    """Whether so few characters, all of two bytes and none beside a Latin letter, make it valid UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    pairs = len(re.findall(rb"[\xc2-\xdf][\x80-\xbf]", data))
    wide = re.search(rb"[\xe0-\xff]", data) or re.search(rb"[A-Za-z][\x80-\xff]|[\x80-\xff][A-Za-z]", data)
    return pairs <= _CHANCE and not wide


def _in_runs(data: bytes) -> bool:
    """Whether bytes beyond ASCII stand in runs; lone ones are accents and signs of Latin text."""
    marked = len(re.findall(rb"[\x80-\xff]", data))
    # the second byte of a character may be an ASCII letter
    runs = re.findall(rb"[\x80-\xff]{4,}|(?:[\x81-\xfe][\x40-\x7e\x80-\xfe]){4,}", data)
    return marked > 0 and 2 * len(re.findall(rb"[\x80-\xff]", b" ".join(runs))) >= marked


def _beyond_latin(text: str) -> bool:
    marked = [character for character in text if character > "\x7f" and character.isalpha()]
    return 2 * sum(character > "\u036f" for character in marked) > len(marked)


def _guessed(data: bytes) -> Decoded:
    sample = _marked_lines(data)
    names = ["cp1252"]
    # a sign that stands alone, as in 50 °C, tells nothing of a language
    if re.search(rb"(?=[A-Za-z]{0,2}[\x80-\xff])[A-Za-z\x80-\xff]{3}", sample):
        names = [*meant(_detected(sample, (*_LATIN, *_OTHERS) if _in_runs(sample) else _LATIN)), *names]
    text = _first(data, names)
    return text or min((Decoded(data.decode(name.partition(" ")[0], "replace"), name) for name in names), key=_faults)


def _faults(found: Decoded) -> int:
    return found.lost + sum(unicodedata.category(character) in ("Cc", "Co", "Cn") for character in found.text)


def _detected(data: bytes, among: tuple[str, ...]) -> str:
    import chardet

    found = chardet.detect_all(data, include_encodings=among, no_match_encoding="cp1252")
    # where several are as good, the commonest
    best = [str(each["encoding"]) for each in found if each["confidence"] >= _AS_GOOD * found[0]["confidence"]]
    return next((each for each in best if each.lower() in _COMMONEST), best[0])


def _windows(error: UnicodeError) -> tuple[str, int]:
    """Single bytes that were pasted into UTF-8 from a Windows file."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


def _japanese(error: UnicodeError) -> tuple[str, int]:
    """A character of NEC or IBM, which Windows writes into JIS: its row and cell are those of Shift-JIS."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    pair = error.object[error.start : error.start + 2]
    if len(pair) < 2:
        return LOST, len(error.object)
    row, cell = (byte & 0x7F for byte in pair)
    # JIS X 0208, appendix 1: two rows of 94 cells make one of Shift-JIS
    lead = (row - 0x21) // 2 + (0x81 if row < 0x5F else 0xC1)
    trail = cell + (0x7E if row % 2 == 0 else 0x1F + (cell >= 0x60))
    text = bytes((max(lead, 0), trail)).decode("cp932", "replace")
    return text if len(text) == 1 else LOST, error.start + 2
