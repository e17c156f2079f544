from __future__ import annotations

import base64
import hashlib
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from denizen.ingest.document import Block, Document, Failure, Limits, Member, UnreadableError
from denizen.ingest.mail import read_mail, read_mbox

LIMITS = Limits()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(data: bytes | EmailMessage, name: str = "mail.eml") -> Path:
    path = Path(name).absolute()
    path.write_bytes(bytes(data))
    return path


def letter(text: str = "Hello.") -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Offer", "sales@example.org", "office@example.org"
    mail["Date"], mail["Message-ID"] = "Mon, 4 Mar 2024 10:00:00 +0100", "<17@example.org>"
    mail.set_content(text)
    return mail


def texts(data: bytes | EmailMessage) -> list[str]:
    document = next(read_mail(written(data), LIMITS))
    assert isinstance(document, Document)
    return [block.text for block in document.blocks]


def members(data: bytes | EmailMessage, limits: Limits = LIMITS) -> list[tuple[str, bytes] | Failure]:
    found: list[tuple[str, bytes] | Failure] = []
    for each in list_after_document(read_mail(written(data), limits)):
        found.append(each if isinstance(each, Failure) else (each.name, each.path.read_bytes()))
    return found


def list_after_document(found):
    assert isinstance(next(found), Document)
    yield from found


def test_plain_mail():
    [document] = read_mail(written(letter("First\nparagraph.\n\n- one\n- two\n\nLast.")), LIMITS)
    assert document == Document(
        [Block("text", "First paragraph."), Block("list", "- one\n- two"), Block("text", "Last.")],
        title="Offer",
        metadata={
            "from": "sales@example.org",
            "to": "office@example.org",
            "date": "2024-03-04T10:00:00+01:00",
            "message-id": "<17@example.org>",
        },
    )


@pytest.mark.parametrize(
    "text, left",
    [
        ("Yes.\n\n-- \nSales\nExample Ltd", ["Yes."]),
        ("Yes.\n\nOn 3 March, a@example.org wrote:\n> Will you?\n>\n> Bye", ["Yes."]),
        ("Yes.\n-- \nSales\n\nOn 3 March, a@example.org wrote:\n> Will you?\n", ["Yes."]),
        ("> Will you?\n\nYes.", ["> Will you?", "Yes."]),
        ("Yes.\nSee:\n> Will you?", ["Yes. See:"]),
        ("> only\n> a quote", ["> only > a quote"]),
        ("a -- b\n--\nc", ["a -- b"]),
        ("> a quote\n-- \nSales", ["> a quote"]),
        ("-- \nSales", ["-- Sales"]),
        ("> a quote\n\n> and more\n", ["> a quote", "> and more"]),
        ("Yes.\n-- \n" + "line\n" * 10, ["Yes."]),
        ("Yes.\n-- \n" + "line\n" * 11, ["Yes. -- " + "line " * 10 + "line"]),
        ("Yes.\n--\n" + "line\n" * 11, ["Yes. -- " + "line " * 10 + "line"]),
        ("Yes.\n--\t\nline", ["Yes. -- line"]),
        ("price: 3\n---\nmore", ["price: 3 --- more"]),
    ],
)
def test_signature_and_quote(text, left):
    assert texts(letter(text)) == left


@pytest.mark.parametrize(
    "text, left_out",
    [
        ("Yes.\n\n-- \nSales\nExample Ltd\n", "signature, 21 characters"),
        ("Yes.\n\n> Will you?\n> " + "x" * 1500, "quoted mail, 1,514 characters"),
        ("Yes.\n\n> a\n\n-- \nSales\n\n> bcd\n", "signature, 9 characters; quoted mail, 8 characters"),
    ],
)
def test_what_is_left_out_is_told(text, left_out):
    document = next(read_mail(written(letter(text)), LIMITS))
    assert document.metadata["left_out"] == left_out


def test_a_long_header_ends_before_an_address_that_is_cut():
    mail = letter()
    del mail["To"]
    mail["To"] = ", ".join(f"person.number{number}@customer.example.org" for number in range(12))
    [document] = read_mail(written(mail), LIMITS)
    assert document.metadata["to"] == ", ".join(f"person.number{n}@customer.example.org" for n in range(5)) + ","


def test_plain_goes_before_html():
    mail = letter("plain, *bold*")
    mail.add_alternative("<p>plain, <b>bold</b></p>", subtype="html")
    assert texts(mail) == ["plain, *bold*"]


def test_html():
    mail = letter()
    mail.set_content("<html><body><p>One</p><p>Two</p></body></html>", subtype="html")
    assert texts(mail) == ["One", "Two"]


def test_html_that_names_its_own_encoding():
    page = "<html><head><meta charset='koi8-r'></head><body><p>\u0434\u0430</p></body></html>".encode("koi8-r")
    assert texts(b"Subject: a\nContent-Type: text/html\n\n" + page) == ["\u0434\u0430"]


def test_attachments_in_order_and_gone_afterwards():
    mail = letter()
    mail.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="Angebot für 2024.pdf")
    mail.add_attachment(b"\x00\x01", maintype="application", subtype="pdf")
    mail.add_attachment("a,b", subtype="csv", filename="t.csv")
    mail.add_attachment("c,d", subtype="csv", filename="t.csv")
    paths = []
    found = []
    for each in list_after_document(read_mail(written(mail), LIMITS)):
        assert isinstance(each, Member)
        assert each.path.suffix == Path(each.name).suffix
        found.append((each.name, each.path.read_bytes().strip()))
        paths.append(each.path)
    assert found == [
        ("Angebot für 2024.pdf", b"%PDF-"),
        ("attachment-2.pdf", b"\x00\x01"),
        ("t.csv", b"a,b"),
        ("4-t.csv", b"c,d"),
    ]
    assert not any(path.exists() for path in paths)
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["mail.eml"]


@pytest.mark.parametrize(
    "name, safe",
    [
        ("../../etc/x", "x"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/passwd", "passwd"),
        ("..", "attachment-1.bin"),
        (".profile", "profile"),
        ("a\r\nb.txt", "a b.txt"),
        ("a:b*?.t/x/", "attachment-1.bin"),
        ("x" * 300 + ".pdf", "attachment-1.pdf"),
        ("x " * 60 + "jo@example.org.pdf", "x " * 49 + "x.pdf"),
        ("n.a/../../b", "b"),
        ("x\u0000y.pdf", "x_y.pdf"),
    ],
)
def test_names_of_attachments(name, safe):
    quoted = name.replace("\\", "\\\\")
    head = b"Subject: a\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n--B\n"
    part = f'Content-Type: application/x-thing\nContent-Disposition: attachment; filename="{quoted}"\n\ndata\n--B--\n'
    if "\n" in name:
        part = part.replace("\r\n", "\n ")
    assert members(head + part.encode()) == [(safe, b"data")]
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["mail.eml"]


def test_mail_in_a_mail():
    outer = letter("outer")
    outer.add_attachment(letter("From here it is inner."))
    [(name, data)] = members(outer)
    assert name == "attachment-1.eml"
    assert texts(data) == ["From here it is inner."]


def test_picture_within_html_is_no_attachment():
    mail = letter("plain")
    mail.add_alternative("<img src='cid:1'>", subtype="html")
    mail.get_payload()[1].add_related(b"\x89PNG", "image", "png", cid="<1>", filename="logo.png", disposition="inline")
    assert members(mail) == []
    other = letter()
    other.set_content("<p>a</p>", subtype="html")
    other.add_related(b"\x89PNG", "image", "png", cid="<1>", filename="logo.png", disposition="inline")
    other.make_mixed()
    other.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="photo.png")
    assert [name for name, _ in members(other)] == ["photo.png"]


def test_limits():
    mail = letter()
    for number in range(3):
        mail.add_attachment(bytes(600_000), maintype="application", subtype="zip", filename=f"{number}.zip")
    first, second, failure = members(mail, Limits(members=2))
    assert (first[0], second[0]) == ("0.zip", "1.zip")
    assert isinstance(failure, Failure) and failure.name == "2.zip" and "the limit is 2" in failure.error
    first, failure = members(mail, Limits(unpacked_mb=1))
    assert isinstance(failure, Failure) and "1 MiB" in failure.error


@pytest.mark.parametrize(
    "header, title",
    [
        (b"=?utf-8?q?caf=C3=A9?= and =?iso-8859-1?q?th=E9?=", "café and thé"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        (b"=?no-such-code?q?caf=E9?=", "café"),
        (b"=?utf-8?q?=FF?=", "ÿ"),
        (b"=?utf-8?b?a?=", "=?utf-8?b?a?="),
        (b"two\n lines", "two lines"),
        (b"\\ud800 =?utf-8?q?a?=", "\\ud800 a"),
        (b"", ""),
    ],
)
def test_subjects(header, title):
    document = next(read_mail(written(b"From: a@example.org\nSubject: " + header + b"\n\ntext"), LIMITS))
    assert document.title.replace("\ufffd", "?") == title.replace("\ufffd", "?")
    document.title.encode()


@pytest.mark.parametrize(
    "head, body, text",
    [
        (b"text/plain; charset=latin-1", b"caf\xe9", "café"),
        (b"text/plain; charset=utf-8", b"caf\xe9", "café"),
        (b"text/plain; charset=martian", b"caf\xc3\xa9", "café"),
        (b"text/plain", b"\x93quoted\x94", "“quoted”"),
        (b"text/plain; charset=hex", b"caf", "caf"),
        (b'text/plain; charset="', b"text", "text"),
        (b"text/plain; charset*0=a; charset*99999999999999999999=b", b"text", "text"),
        (b"multipart/mixed", b"no boundary", "no boundary"),
        (b"nonsense", b"text", "text"),
    ],
)
def test_broken_encodings(head, body, text):
    assert texts(b"Subject: a\nContent-Type: " + head + b"\n\n" + body) == [text]


def test_broken_base64():
    data = b"Subject: a\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nSGVsbG8\n!!"
    assert texts(data) == ["Hello"]


@pytest.mark.parametrize("data", [b"", bytes(5000), b"\nonly text", b"just a line\nand one more\n"])
def test_no_mail(data):
    with pytest.raises(UnreadableError, match="no mail headers"):
        list(read_mail(written(data), LIMITS))


def test_deep_nesting():
    parts = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(3000))
    with pytest.raises(UnreadableError, match="broken mail"):
        list(read_mail(written(b"Subject: a\n" + parts.encode()), LIMITS))


pieces = st.sampled_from(
    [
        b"Content-Type: ",
        b"multipart/mixed; boundary=b\n",
        b"multipart/alternative; boundary=b\n",
        b"text/html\n",
        b"\n",
        b"--b\n",
        b"--b--",
        b"\xff=?x?q?",
        b";*0=",
        b"Content-Disposition: attachment; filename*=",
        b"message/rfc822\n",
        b"Subject: ",
        b"Content-Transfer-Encoding: uu\n",
    ]
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.one_of(pieces, st.binary(max_size=6)), max_size=20))
def test_anything_is_read_or_refused(parts):
    data = b"Subject: a\n" + b"".join(parts)
    assert isinstance(next(read_mail(written(data), LIMITS)), Document)
    for each in members(data):
        name = each.name if isinstance(each, Failure) else each[0]
        assert name and not name.startswith((".", "/"))


def test_mailbox():
    with_file = letter("second")
    with_file.add_attachment(b"data", maintype="application", subtype="zip", filename="../a.zip")
    separator = b"From sales@example.org Mon Mar  4 10:00:00 2024\n"
    first = bytes(letter("first\n\nFrom my point of view\n>From here")) + b"\n"
    data = separator + first + separator + b"no headers here\n\n" + separator + bytes(with_file) + b"\n"
    found = []
    for each in read_mbox(written(data, "box.mbox"), LIMITS):
        found.append((type(each).__name__, each.name))
        if isinstance(each, Member):
            assert each.path.read_bytes() == b"data"
        if each.name == "17@example.org":
            assert [block.text for block in each.blocks] == ["first", "From my point of view From here"]
        if isinstance(each, Failure):
            assert "no mail headers" in each.error and each.raw.startswith("no headers")
    assert found == [
        ("Document", "17@example.org"),
        ("Failure", "message 2"),
        ("Document", "17@example.org~2"),
        ("Member", "17@example.org~2/a.zip"),
    ]


@pytest.mark.parametrize(
    "header, name",
    [
        ("Message-ID: <a.b-c_9@example.org>\n", "a.b-c_9@example.org"),
        ("Message-Id: <../a/b c$@example.org>\n", "_a_b_c_@example.org"),
        ("Message-ID: <" + "x" * 81 + ">\n", hashlib.sha256(b"x" * 81).hexdigest()[:12]),
        ("Message-ID: <>\n", hashlib.sha256(b"Message-ID: <>\nSubject: a\n\ntext").hexdigest()[:12]),
        ("", hashlib.sha256(b"Subject: a\n\ntext").hexdigest()[:12]),
    ],
)
def test_mails_of_a_mailbox_have_names_of_their_own(header, name):
    mail = b"From a Mon Mar  4 10:00:00 2024\n" + header.encode() + b"Subject: a\n\ntext\n"
    other = b"From a Mon Mar  4 10:00:00 2024\nSubject: b\n\nother\n\n"
    assert [each.name for each in read_mbox(written(mail, "box.mbox"), LIMITS)] == [name]
    assert [each.name for each in read_mbox(written(other + mail, "box.mbox"), LIMITS)][1:] == [name]
    assert [each.name for each in read_mbox(written(mail + b"\n" + other, "box.mbox"), LIMITS)][:1] == [name]


def test_mail_larger_than_the_limit():
    separator = b"From a Mon Mar  4 10:00:00 2024\n"
    data = separator + b"Subject: a\n\n" + b"x" * (3 << 20) + b"\n\n" + separator + bytes(letter("small"))
    failure, document = read_mbox(written(data, "box.mbox"), Limits(unpacked_mb=2))
    assert isinstance(failure, Failure) and (failure.name, "2 MiB" in failure.error) == ("message 1", True)
    assert isinstance(document, Document) and document.name == "17@example.org"


@pytest.mark.parametrize("data", [b"", bytes(3000), b"Subject: a\n\ntext"])
def test_no_mailbox(data):
    with pytest.raises(UnreadableError, match="no mailbox"):
        list(read_mbox(written(data, "box.mbox"), LIMITS))


HOUSE = "Ab dem ersten März gilt für das Lager eine neue Hausordnung mit längeren Öffnungszeiten."


def raw(head: str, body: bytes, **more: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\n".join(["Subject: a", "MIME-Version: 1.0", f"Content-Type: {head}", *lines, "", ""]).encode() + body


def form(kind: str, text: str | bytes, **more: str) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    more = {"Content_Type": f"{kind}; charset=utf-8", **more}
    return (
        "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in more.items()).encode() + b"\n" + data + b"\n"
    )


def multipart(kind: str, *parts: bytes, boundary: str = "B", end: bool = True) -> bytes:
    body = b"".join(b"--" + boundary.encode() + b"\n" + part for part in parts)
    return body + (b"--" + boundary.encode() + b"--\n" if end else b"")


PAGE = "<html><body><h1>Hausordnung</h1>" + "".join(f"<p>{HOUSE} Absatz {n}.</p>" for n in "12345") + "</body></html>"
STUBS = [
    "Ihr Programm zeigt kein HTML an. Lesen Sie diese Nachricht im Browser: https://example.org/m/42",
    "このメールはHTML形式です。ブラウザでご覧ください。",
    "Это письмо в формате HTML. Откройте его в браузере: https://example.org/very/long/address/of/a/page",
    "Hausordnung",
    HOUSE,
    ".",
]


@pytest.mark.parametrize("stub", STUBS)
def test_a_plain_form_that_says_little_of_the_page_gives_way_to_it(stub):
    mail = letter(stub)
    mail.add_alternative(PAGE, subtype="html")
    found = texts(mail)
    assert found[0] == "Hausordnung" and sum(HOUSE in text for text in found) == 5
    document = next(read_mail(written(mail), LIMITS))
    # what is only in the stub is told
    assert ("left_out" in document.metadata) is (stub not in ("Hausordnung", HOUSE, "."))


def test_a_short_page_is_read_beside_a_plain_form_of_more_and_other_words():
    """A notice of law, say, in place of the text: nobody can tell it from a text by its length."""
    law = [f"{HOUSE} Absatz {n}." for n in "12345"]
    mail = letter("\n\n".join(law))
    mail.add_alternative("<p>The pump is repaired on Monday.</p>", subtype="html")
    assert texts(mail) == [*law, "The pump is repaired on Monday."]


def test_what_only_one_of_several_plain_or_rich_forms_says_is_kept():
    page = "text/html", "<p>The short page.</p>"
    for forms in (
        [("text/plain", "See below."), ("text/plain", HOUSE), page],
        [("text/plain", "See below."), ("text/x-amp-html", f"<p>{HOUSE}</p>"), page],
    ):
        body = multipart("", *(form(kind, text) for kind, text in forms))
        assert HOUSE in texts(raw("multipart/alternative; boundary=B", body))


def test_what_a_page_in_a_mail_hides_is_shown():
    mail = letter()
    mail.set_content(f"<div style='display:none'>{HOUSE}</div><select><option>a<option>b</select>", subtype="html")
    assert texts(mail) == [HOUSE]
    assert next(read_mail(written(mail), LIMITS)).metadata["left_out"] == (
        "parts of the page that are not shown, 3 characters"
    )


def test_forms_that_each_say_much_are_both_kept():
    mail = letter(" ".join(f"Regulation {n} of the new warehouse is described on sheet {n}." for n in range(20)))
    mail.add_alternative(PAGE, subtype="html")
    found = " ".join(texts(mail))
    assert "Regulation 19" in found and "Absatz 5." in found


def test_a_reply_with_its_quote_in_both_forms_stays_plain():
    quote = "".join(f"> {HOUSE} Absatz {n}.\n" for n in "12345")
    mail = letter(f"Das passt uns gut.\n\nAm 3. März schrieb a@example.org:\n{quote}")
    mail.add_alternative(f"<p>Das passt uns gut.</p><blockquote>{PAGE}</blockquote>", subtype="html")
    assert texts(mail) == ["Das passt uns gut."]


def test_files_within_forms_are_kept():
    invitation = form("text/calendar", "BEGIN:VCALENDAR\n")
    inner = form(
        "multipart/mixed; boundary=C",
        multipart(
            "",
            form("text/html", PAGE),
            form("application/pdf", "%PDF-", Content_Disposition="attachment; filename=plan.pdf"),
            boundary="C",
        ),
        Content_Type="multipart/mixed; boundary=C",
    )
    data = raw("multipart/alternative; boundary=B", multipart("", form("text/plain", "Stub."), inner, invitation))
    assert sum(HOUSE in text for text in texts(data)) == 5
    assert [name for name, _ in members(data)] == ["plan.pdf", "attachment-2.ics"]


@pytest.mark.parametrize(
    "declared, codec, text",
    [
        ("gb2312", "gb18030", "仓库的租约有效期到年底，可以通过信件续签。负责人是陶喆。"),
        ("iso-8859-8-i", "iso8859_8", "חוזה השכירות של המחסן בתוקף עד סוף השנה"),
        ("ks_c_5601-1987", "cp949", "창고 임대 계약은 펲시가 갱신합니다."),
        ("windows-874", "cp874", "สัญญาเช่าโกดังมีผลถึงสิ้นปี"),
        ("cp-850", "cp850", HOUSE),
        ("us-ascii", "cp1252", HOUSE),
        ("iso-8859-1", "utf-8", HOUSE),
        ("utf-8", "cp1252", HOUSE),
        ("utf-7", "utf-7", HOUSE),
        ("utf-16", "utf-16-le", "仓库的租约有效期到年底，可以通过信件续签。"),
        ("x-mac-roman", "mac_roman", HOUSE),
        ("big5", "cp950", "倉庫的租約有效期到年底，可以透過信件續簽。"),
    ],
)
def test_body_page_subject_and_name_in_one_charset(declared, codec, text):
    """Bodies in base64, the subject in two words cut within a character, the name as RFC 2231 and RFC 2047 have it."""
    data = text[:8].encode(codec)
    words = " ".join(
        f"=?{declared}?B?{base64.b64encode(each).decode()}?=" for each in (data[:3], data[3:]) if declared != "utf-7"
    )
    subject = words or f"=?utf-7?Q?{data.decode()}?="
    name = text.replace(" ", "")[:6]
    coded = "".join(f"%{byte:02x}" for byte in name.encode(codec))
    word = base64.b64encode(name.encode(codec)).decode()
    forms = {"text/plain": text, "text/html": f"<p>{text}</p>"}
    body = multipart(
        "",
        *(
            form(
                kind,
                base64.encodebytes(said.encode(codec)),
                Content_Type=f"{kind}; charset={declared}",
                Content_Transfer_Encoding="base64",
            )
            for kind, said in forms.items()
        ),
        form("application/x-a", "1", Content_Disposition=f"attachment; filename*={declared}''{coded}"),
        form("application/x-a", "2", Content_Disposition=f'attachment; filename="=?{declared}?B?{word}?=.dat"'),
    )
    mail = raw("multipart/mixed; boundary=B", body).replace(b"Subject: a", f"Subject: {subject}".encode())
    document = next(read_mail(written(mail), LIMITS))
    assert document.title == text[:8].strip()
    assert [block.text for block in document.blocks] == [text, text]
    assert [name for name, _ in members(mail)] == [name, f"{name}.dat"]


@pytest.mark.parametrize("declared, codec", [("gb2312", "gb18030"), ("iso-8859-1", "utf-8"), ("koi8-r", "koi8_r")])
def test_headers_of_plain_bytes_are_in_the_charset_of_the_body(declared, codec):
    text = {"gb18030": "仓库租约", "utf-8": "Größe", "koi8_r": "Договор"}[codec]
    head = b"Subject: " + text.encode(codec) + f"\nContent-Type: text/plain; charset={declared}\n\n".encode()
    document = next(read_mail(written(head + text.encode(codec)), LIMITS))
    assert (document.title, document.blocks[0].text) == (text, text)


def test_a_text_file_is_handed_on_in_utf_8():
    data = raw(
        "multipart/mixed; boundary=B",
        multipart(
            "",
            form(
                "text/csv",
                "id;text\n1;Größe".encode("cp850"),
                Content_Type="text/csv; charset=cp-850",
                Content_Disposition="attachment; filename=a.csv",
            ),
        ),
    )
    [(name, content)] = members(data)
    assert (name, content.decode().strip()) == ("a.csv", "id;text\n1;Größe")


@pytest.mark.parametrize("delsp, expected", [("no", "One two three."), ("yes", "Onetwothree.")])
def test_lines_that_flow(delsp, expected):
    body = b"One \ntwo \nthree.\n\n From here.\n-- \nSales\n"
    data = raw(f"text/plain; format=flowed; delsp={delsp}", body)
    assert texts(data) == [expected, "From here."]


def test_a_list_puts_its_text_behind_base64():
    coded = base64.encodebytes(HOUSE.encode()) + b"\n_______________________\nannounce mailing list\n"
    data = raw("text/plain; charset=utf-8", coded, Content_Transfer_Encoding="base64")
    assert " ".join(texts(data)).endswith("announce mailing list") and texts(data)[0].startswith(HOUSE)


def test_broken_quoted_printable_and_no_last_boundary():
    body = b"1 =3D 1 and =C3=A9 =ZZ = and soft=\n break=\n"
    part = form("text/plain", body, Content_Transfer_Encoding="quoted-printable")
    data = raw("multipart/mixed; boundary=B", multipart("", part, end=False))
    assert texts(data) == ["1 = 1 and é =ZZ = and soft break"]


def test_a_mail_in_base64_within_a_mail():
    inner = base64.encodebytes(bytes(letter("Inner text.")))
    part = form("message/rfc822", inner, Content_Type="message/rfc822", Content_Transfer_Encoding="base64")
    [(name, data)] = members(raw("multipart/mixed; boundary=B", multipart("", form("text/plain", "Outer."), part)))
    assert name == "attachment-1.eml" and texts(data) == ["Inner text."]


def test_pictures_within_html_are_told():
    mail = letter()
    mail.set_content(PAGE, subtype="html")
    mail.add_related(b"\x89PNG", "image", "png", cid="<1>", disposition="inline")
    assert next(read_mail(written(mail), LIMITS)).metadata["left_out"] == "pictures within HTML, 1"


CHARSETS = {
    "gb2312": ("gb18030", "会议合同期限"),
    "shift_jis": ("cp932", "会議のテスト日本"),
    "iso-2022-jp": ("iso2022_jp", "会議のテスト日本"),
    "ks_c_5601-1987": ("cp949", "회의계약기한펲"),
    "windows-1251": ("cp1251", "абвгдеёжз"),
    "windows-874": ("cp874", "กขคงจฉ"),
    "iso-8859-8-i": ("iso8859_8", "אבגדהו"),
    "utf-8": ("utf-8", "é€會я"),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), declared=st.sampled_from(sorted(CHARSETS)), coding=st.sampled_from(["base64", "8bit"]))
def test_a_text_in_any_charset_comes_back_from_a_mail(data, declared, coding):
    codec, letters = CHARSETS[declared]
    text = data.draw(st.text(st.sampled_from(letters + "ab1"), min_size=1, max_size=30))
    body = base64.encodebytes(text.encode(codec)) if coding == "base64" else text.encode(codec)
    mail = raw(f'text/plain; charset="{declared}"', body, Content_Transfer_Encoding=coding)
    words = f"=?{declared}?B?{base64.b64encode(text.encode(codec)).decode()}?=".encode()
    document = next(read_mail(written(mail.replace(b"Subject: a", b"Subject: " + words)), LIMITS))
    assert (document.title, [block.text for block in document.blocks]) == (text, [text])
