"""Bytes as text: each text is encoded by Python's own codec under the name that programs declare for it."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.data.decoding import LOST, NotTextError, decode, decoded, meant, stream_encoding

RUSSIAN = "Договор аренды склада действует до конца года и продлевается по письму арендатора."
GREEK = "Η αποθήκη μισθώνεται μέχρι το τέλος του έτους και ανανεώνεται με επιστολή."
THAI = "สัญญาเช่าโกดังมีผลถึงสิ้นปีและต่ออายุได้ด้วยจดหมาย"
HEBREW = "חוזה השכירות של המחסן בתוקף עד סוף השנה ומתחדש במכתב"
ARABIC = "عقد إيجار المستودع ساري حتى نهاية العام ويجدد برسالة"
CHINESE = "仓库的租约有效期到年底，可以通过信件续签。负责人是陶喆和朱镕。"
TAIWANESE = "倉庫的租約有效期到年底，可以透過信件續簽。"
JAPANESE = "倉庫の賃貸契約は年末まで有効で、手紙で更新できます。"
KOREAN = "창고 임대 계약은 연말까지 유효하며 펲시와 똠은 서신으로 갱신합니다."
GERMAN = "Der Mietvertrag für das Lager läuft bis Ende des Jahres; größere Änderungen folgen später."
POLISH = "Umowa najmu magazynu obowiązuje do końca roku i może zostać przedłużona listem, dziękujemy."

DECLARED = [
    (CHINESE, "gb18030", ["gb2312", "GB_2312-80", "gbk", "x-gbk", "gb18030", "cp936"]),
    (TAIWANESE, "big5", ["big5", "Big5-HKSCS", "x-x-big5", "cn-big5", "cp950"]),
    (KOREAN, "cp949", ["ks_c_5601-1987", "euc-kr", "KS_C_5601", "windows-949", "x-windows-949"]),
    (JAPANESE, "cp932", ["shift_jis", "x-sjis", "Windows-31J", "ms_kanji"]),
    (JAPANESE, "euc_jp", ["euc-jp", "x-euc-jp"]),
    (JAPANESE, "iso2022_jp", ["iso-2022-jp", "ISO-2022-JP-MS", "csISO2022JP", ""]),
    (HEBREW, "iso8859_8", ["iso-8859-8-i", "iso-8859-8", "ISO-8859-8-E", "logical", "csISO88598I"]),
    (HEBREW, "cp1255", ["windows-1255", "x-cp1255", "win1255"]),
    (THAI, "cp874", ["windows-874", "tis-620", "iso-8859-11", "dos-874", "x-windows-874"]),
    (ARABIC, "cp1256", ["windows-1256", "cp-1256"]),
    (RUSSIAN, "koi8_r", ["koi8-r", "koi8", "KOI8_R"]),
    (RUSSIAN, "cp866", ["cp866", "ibm866", "IBM-866", "dos-866", "cp-866"]),
    (RUSSIAN, "mac_cyrillic", ["x-mac-cyrillic", "x-mac-ukrainian"]),
    (RUSSIAN, "cp1251", ["windows-1251", "WIN-1251", "x-cp1251", '"windows-1251"']),
    (GREEK, "iso8859_7", ["iso-8859-7", "sun_eu_greek", "iso88597"]),
    (GERMAN, "cp850", ["cp-850", "ibm850", "cp00850", "IBM_850"]),
    (GERMAN, "mac_roman", ["macintosh", "x-mac-roman", "mac"]),
    (GERMAN, "latin-1", ["iso-8859-1", "ISO_8859-1:1987", "us-ascii", "latin-9"]),
    (POLISH, "iso8859_2", ["iso-8859-2", "latin2"]),
    (POLISH, "cp852", ["cp852", "ibm-852"]),
    (GERMAN, "utf-7", ["utf-7", "unicode-1-1-utf-7"]),
    (CHINESE, "utf-16-be", ["utf-16", "utf-16be", "unicode"]),
    (CHINESE, "utf-16-le", ["utf-16", "utf-16le", "ucs-2"]),
    (RUSSIAN, "utf-16", ["utf-16", "iso-8859-1", ""]),
]


@pytest.mark.parametrize(
    "text, codec, label", [(text, codec, label) for text, codec, labels in DECLARED for label in labels]
)
def test_a_declared_name_is_what_its_senders_mean(text: str, codec: str, label: str) -> None:
    assert decode(text.encode(codec), label).text == text


@pytest.mark.parametrize("text", [row[0] for row in DECLARED])
@pytest.mark.parametrize(
    "label", ["iso-8859-1", "us-ascii", "gb2312", "windows-1251", "iso-2022-jp", "utf-16", "utf-7", "shift_jis", "x"]
)
def test_utf_8_is_told_under_any_name(text: str, label: str) -> None:
    assert decode(text.encode(), label).text == text


@pytest.mark.parametrize(
    "text, codec",
    [
        *((text, codec) for text, codec, _ in DECLARED if not codec.startswith("utf")),
        (KOREAN, "cp949"),
        (POLISH, "cp1250"),
    ],
)
@pytest.mark.parametrize("label", ["utf-8", "us-ascii", "unknown-8bit", ""])
def test_what_is_declared_wrongly_or_not_at_all_is_guessed(text: str, codec: str, label: str) -> None:
    assert decode(text.encode(codec), label).text == text


@pytest.mark.parametrize("text, codec", [(RUSSIAN, "cp1251"), (CHINESE, "gb18030"), (GREEK, "cp1253"), (THAI, "cp874")])
def test_letters_beyond_latin_contradict_a_western_name(text: str, codec: str) -> None:
    assert decode(text.encode(codec), "iso-8859-1").text == text


def test_characters_of_nec_in_japanese() -> None:
    # row 13 of JIS X 0208, which is empty there: 0x2D21 is a circled one, 0x2D6A the sign of a company
    assert decode(b"\x1b$B-!-j\x1b(B ok", "iso-2022-jp").text == "①㈱ ok"
    assert decode(b"\xad\xa1\xb5\xc4\xad\xea", "euc-jp").text == "①議㈱"


def test_c1_controls_mean_the_code_page_of_windows() -> None:
    # 0x84 and 0x93 are quotation marks in Windows-1250, and controls in ISO 8859-2
    assert decode(b"\x84Wa\xbfne\x93", "iso-8859-2").text == "„Waż" + "ne“"


@pytest.mark.parametrize("text", ["会议", "合同", "联通", "陶喆", "附件"])
def test_two_characters_are_not_taken_for_utf_8(text: str) -> None:
    assert decode(text.encode("gb18030"), "gb2312").text == text


def test_what_is_lost_is_counted() -> None:
    found = decode(CHINESE.encode("gb18030")[:-1] + b"\xff" + CHINESE.encode("gb18030"), "gb2312")
    assert found.lost >= 1 and found.text.endswith(CHINESE)
    assert decode(b"plain").lost == 0


@pytest.mark.parametrize("label", ["punycode", "rot13", "hex", "unicode_escape", "", "no such", "a\0b", "undefined"])
def test_names_that_say_nothing(label: str) -> None:
    assert meant(label) == ()


def test_binary_data_is_no_text() -> None:
    with pytest.raises(NotTextError):
        decoded(bytes(500))


@given(st.binary(max_size=120), st.sampled_from(["", "utf-8", "gb2312", "iso-2022-jp", "euc-jp", "utf-16", "utf-7"]))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_decoded_somehow(data: bytes, label: str) -> None:
    json.dumps(decode(data, label).text)


LETTERS = {
    "gb2312": "会议合同期限abc 12，。",
    "shift_jis": "会議のテスト日本abc 12、。",
    "euc-kr": "회의계약기한abc 12,.",
    "windows-1251": "абвгдеёжзabc 12,.",
    "iso-8859-7": "αβγδεζηabc 12,.",
    "windows-874": "กขคงจฉabc 12,.",
    "iso-8859-8-i": "אבגדהוabc 12,.",
    "koi8-r": "абвгдежзabc 12,.",
}


@given(st.data(), st.sampled_from(sorted(LETTERS)))
@settings(max_examples=150, deadline=None)
def test_a_text_in_its_declared_charset_comes_back(data: st.DataObject, label: str) -> None:
    text = data.draw(st.text(st.sampled_from(LETTERS[label]), min_size=1, max_size=40))
    assert decode(text.encode(meant(label)[0]), label).text == text


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "ascii"])
def test_the_encoding_of_a_stream(codec: str) -> None:
    text = ("plain line\n" * 200_000) + ("plain" if codec == "ascii" else GERMAN) + "\n"
    encoding, errors = stream_encoding(io.BytesIO(text.encode(codec)))
    read = io.TextIOWrapper(io.BytesIO(text.encode(codec)), encoding, errors, newline="").read()
    assert read.removeprefix("\ufeff") == text and LOST not in read
