"""Mails and rows as programs write them, through the whole of `ingest`: what was in the file is in the corpus."""

from __future__ import annotations

import base64
from email.message import EmailMessage
from pathlib import Path

from denizen.ingest.ingest import ingest
from denizen.ingest.settings import IngestConfig
from tests.e2e.test_ingest import failures, texts

MAILS = {
    "gb2312": ("gb18030", "仓库合同", "仓库的租约有效期到年底，可以通过信件续签。负责人是陶喆小姐和朱镕先生。"),
    "iso-8859-8-i": ("iso8859_8", "חוזה שכירות", "חוזה השכירות של המחסן בתוקף עד סוף השנה ומתחדש במכתב לבעל הבית"),
    "windows-874": ("cp874", "สัญญาเช่า", "สัญญาเช่าโกดังมีผลถึงสิ้นปีและต่ออายุได้ด้วยจดหมายถึงเจ้าของ"),
    "cp-850": (
        "cp850",
        "Lager für Öl",
        "Der Mietvertrag für das Lager läuft bis zum Ende des Jahres, größere Änderungen folgen.",
    ),
    "us-ascii": (
        "cp1251",
        "Договор",
        "Договор аренды склада действует до конца года и продлевается по письму арендатора.",
    ),
    "utf-8": (
        "cp1252",
        "Dépôt",
        "Le bail du dépôt court jusqu’à la fin de l’année et se prolonge par lettre recommandée.",
    ),
}
CLAIM = "Claims are sent to the service centre within thirty days, and repairs take ten working days at most."
ROWS = [
    ["id", "title", "text"],
    ["1", 'What is "rent"?', "The rent is paid on the first of the month,\nand covers heating; water is paid apart."],
    ["2", "Keys", "Keys are handed out at the gate between 8,30 and 10,15 on working days."],
]


def mail(charset: str, codec: str, subject: str, text: str) -> bytes:
    word = base64.b64encode(subject.encode(codec)).decode()
    head = f"From: office@example.org\nSubject: =?{charset}?B?{word}?=\nMIME-Version: 1.0\n"
    head += f'Content-Type: text/plain; charset="{charset}"\nContent-Transfer-Encoding: base64\n\n'
    return head.encode() + base64.encodebytes(text.encode(codec))


def delimited(delimiter: str, end: str = "\r\n") -> str:
    quoted = [[f'"{each.replace(chr(34), chr(34) * 2)}"' for each in row] for row in ROWS]
    return "".join(delimiter.join(row) + end for row in quoted)


def test_mails_and_rows_as_programs_write_them(tmp_path: Path) -> None:
    folder, out = tmp_path / "docs", tmp_path / "corpus"
    folder.mkdir()
    for charset, (codec, subject, text) in MAILS.items():
        (folder / f"{charset}.eml").write_bytes(mail(charset, codec, subject, text))
    news = EmailMessage()
    news["From"], news["Subject"] = "news@example.org", "Terms"
    news.set_content("Это письмо в формате HTML, откройте его в браузере: https://example.org/m/42")
    news.add_alternative(
        f"<h1>Terms</h1><p>{CLAIM}</p><p>The warranty lasts three years from the day of sale.</p>", "html"
    )
    (folder / "news.eml").write_bytes(bytes(news))
    (folder / "separator.csv").write_bytes(("\ufeffsep=;\r\n" + delimited(";")).encode())
    (folder / "quotes.tsv").write_bytes(delimited("\t").encode())
    (folder / "unicode.txt.csv").write_bytes(delimited("\t").encode("utf-16"))
    (folder / "old.csv").write_bytes(delimited("|", "\r").encode("cp1252"))
    (folder / "ragged.csv").write_text(
        "id,text\n1,Rain, snow and hail fall on the roof of the old warehouse\n2,\0Dry days\n"
    )
    ingest(IngestConfig(paths=(str(folder),), min_letters=1, personal_data=False, repeated_lines=False), out)
    found = texts(out)
    for charset, (_, subject, text) in MAILS.items():
        row = found[f"docs/{charset}.eml"]
        assert (row["title"], "".join(row["text"].split())) == (subject, "".join(text.split()))
    assert CLAIM in found["docs/news.eml"]["text"] and "браузере" not in found["docs/news.eml"]["text"]
    # the four tables are copies of one another, of which one is kept
    assert {name.partition("/")[2].partition("/")[0] for name in found if name.endswith("/2")} >= {"ragged.csv"}
    rows = [row for name, row in found.items() if name.endswith("/1") and "ragged" not in name]
    assert [row["title"] for row in rows] == ['What is "rent"?']
    assert rows[0]["text"] == "The rent is paid on the first of the month, and covers heating; water is paid apart."
    assert "Rain, snow and hail" in found["docs/ragged.csv/1"]["text"]
    assert failures(out) == {
        "docs/ragged.csv/line 2": "has 3 fields, the header has 2; it is kept",
        "docs/ragged.csv/line 3": "holds a NUL, which is left out; it is kept",
    }
