"""SEC filings: submissions and pages made up on the spot, read to documents with headings and facts."""

from __future__ import annotations

import binascii
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.ingest.document import Block, Document, Failure, Limits
from denizen.ingest.filing_facts import cover_facts, cover_form
from denizen.ingest.filings import (
    PAPER_FORMS,
    is_filing_page,
    is_submission,
    read_filing_page,
    read_submission,
)

HEADER = """<SEC-DOCUMENT>0000001234-24-000003.txt : 20240201
<SEC-HEADER>0000001234-24-000003.hdr.sgml : 20240201
<ACCEPTANCE-DATETIME>20240201071218
ACCESSION NUMBER:\t\t0000001234-24-000003
CONFORMED SUBMISSION TYPE:\t10-K
PUBLIC DOCUMENT COUNT:\t\t5
CONFORMED PERIOD OF REPORT:\t20231231
FILED AS OF DATE:\t\t20240201

FILER:

\tCOMPANY DATA:
\t\tCOMPANY CONFORMED NAME:\t\t\tAcme Widgets Corp
\t\tCENTRAL INDEX KEY:\t\t\t0000001234
\t\tSTANDARD INDUSTRIAL CLASSIFICATION:\tMETAL WIDGETS [3499]
\t\tFISCAL YEAR END:\t\t\t1231

\tFILING VALUES:
\t\tFORM TYPE:\t\t10-K

\tFORMER COMPANY:
\t\tFORMER CONFORMED NAME:\tAcme Gadgets Corp
</SEC-HEADER>
"""
FACTS = {
    "form": "10-K",
    "company": "Acme Widgets Corp",
    "cik": "0000001234",
    "period": "2023-12-31",
    "filed": "2024-02-01",
    "accession": "0000001234-24-000003",
    "sic": "3499",
    "fiscal_year_end": "12-31",
}
REPORT = """<html><head><title>acme.htm</title></head><body>
<p><b>UNITED STATES SECURITIES AND EXCHANGE COMMISSION</b></p><p>Washington, D.C. 20549</p><p>FORM 10-K</p>
<p><b>Table of Contents</b></p>
<p>PART I</p>
<p><a href="#a">Item 1. Business</a></p><p>3</p>
<p><a href="#b">Item 1A. Risk Factors</a></p><p>9</p>
<p><a href="#c">Item 2. Properties</a></p><p>14</p>
<p>PART II</p>
<p><a href="#d">Item 7. Management's Discussion</a></p><p>20</p>
<p><b>PART I</b></p>
<p><b>Item 1. Business</b></p>
<p>We make widgets of brass and of steel in two plants, and sell them to plumbers. See Item 1A for the
risks.</p>
<p>4</p><p><a href="#toc">Table of Contents</a></p>
<table><tr><td><b>Item 1A.</b></td><td><b>Risk Factors</b></td></tr></table>
<p>Brass may become dear, and we hold no stock of it that would last for longer than a single quarter of a year.</p>
<p>5</p><p><a href="#toc">Table of Contents</a></p>
<p><b>Item 2. Properties</b></p>
<p>We own one plant.</p>
<p>6</p><p><a href="#toc">Table of Contents</a></p>
<p><b>PART II</b></p>
<p><b>ITEM 7.</b></p><p><b>Management's Discussion</b></p>
<p>Sales grew by a tenth, since we had raised the prices in the first quarter, and our customers stayed with us.</p>
<table><tr><td>Sales</td><td>$</td><td>1,234</td></tr><tr><td>Costs</td><td>$</td><td>1,001</td></tr></table>
</body></html>
"""
INLINE = """<?xml version='1.0' encoding='UTF-8'?>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:ix="http://www.xbrl.org/2013/inlineXBRL"
 xmlns:dei="http://xbrl.sec.gov/dei/2023"><head><title>x</title></head><body>
<div style="display:none"><ix:header><ix:hidden>
<ix:nonNumeric name="dei:EntityCentralIndexKey" contextRef="c">0000001234</ix:nonNumeric>
<ix:nonNumeric name="dei:AmendmentFlag" contextRef="c">true</ix:nonNumeric>
</ix:hidden></ix:header></div>
<p>FORM <ix:nonNumeric name="dei:DocumentType" contextRef="c">10-Q/A</ix:nonNumeric></p>
<p>For the period ended
<ix:nonNumeric name="dei:DocumentPeriodEndDate" contextRef="c">March\xa031, 2024</ix:nonNumeric></p>
<p><ix:nonNumeric name="dei:EntityRegistrantName" contextRef="c">Acme <b>Widgets</b> Corp</ix:nonNumeric></p>
<p>Item 2. Management's Discussion and Analysis</p>
<p>Sales were <ix:nonFraction name="us-gaap:Revenues" contextRef="c">1,234</ix:nonFraction> thousand dollars.</p>
</body></html>"""


def part(kind: str, text: str, name: str = "", sequence: int = 1) -> str:
    filename = f"<FILENAME>{name}\n" if name else ""
    return (
        f"<DOCUMENT>\n<TYPE>{kind}\n<SEQUENCE>{sequence}\n{filename}<DESCRIPTION>{kind} of Acme\n<TEXT>\n{text}\n"
        "</TEXT>\n</DOCUMENT>\n"
    )


def uuencoded(data: bytes, name: str) -> str:
    lines = (binascii.b2a_uu(data[at : at + 45]).decode() for at in range(0, len(data), 45))
    return f"begin 644 {name}\n{''.join(lines)}`\nend"


def read(folder: Path, text: str | bytes, limits: Limits | None = None) -> tuple[list[Document], list[Failure]]:
    path = folder / "filing.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = list(read_submission(path, limits or Limits()))
    documents = [item for item in found if isinstance(item, Document)]
    return documents, [item for item in found if isinstance(item, Failure)]


def headings(blocks: list[Block]) -> list[tuple[int, str]]:
    return [(block.level, block.text) for block in blocks if block.kind == "heading"]


def test_the_paper_has_14_forms() -> None:
    assert len(set(PAPER_FORMS)) == 14
    assert {"10-K", "424B4", "SC 13D/A", "DEF 14A"} < set(PAPER_FORMS)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (HEADER.encode(), True),
        (b"\xef\xbb\xbf\r\n<sec-document>0001.txt", True),
        (b"-----BEGIN PRIVACY-ENHANCED MESSAGE-----\nProc-Type: 2001,MIC-CLEAR", True),
        (b"<IMS-DOCUMENT>0000950129-95-000001.txt : 19960103", True),
        (b"<SUBMISSION>\n<ACCESSION-NUMBER>0001", True),
        (b"<DOCUMENT>\n<TYPE>10-K\n", True),
        (b"<DOCUMENT>\n<title>something else", False),
        (b"A text about <SEC-DOCUMENT>", False),
        (b"<html><body>FORM 10-K", False),
        (b"", False),
    ],
)
def test_submissions_are_recognised_by_how_they_begin(head: bytes, expected: bool) -> None:
    assert is_submission(head) is expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (INLINE.encode(), True),
        (b"<html><div><IX:HEADER>", True),
        (REPORT.encode(), True),
        (
            b"<p>SECURITIES AND EXCHANGE COMMISSION</p><p>Washington, D.C. 20549</p><p>SCHEDULE&nbsp;13G</p>",
            True,
        ),
        ("<p>Securities and Exchange Commission Washington 20549 FORM\xa08-K</p>".encode("latin-1"), True),
        (b"<p>Filed Pursuant to Rule 424(b)(2)</p><h1>Notes due 2030</h1>", True),
        (b"<p>The Securities and Exchange Commission asks for a Form 10-K each year.</p>", False),
        (b"<p>An article on xmlns:ix and on dei:DocumentType</p>", False),
        (b"<html><body><p>Hello</p></body></html>", False),
        (b"", False),
    ],
)
def test_pages_are_recognised_by_inline_xbrl_or_their_cover(head: bytes, expected: bool) -> None:
    assert is_filing_page(head) is expected


def test_the_documents_of_a_submission_come_in_order_with_facts_and_without_binaries(tmp_path: Path) -> None:
    text = HEADER + part("10-K", REPORT, "acme.htm")
    text += part("EX-21.1", "<html><body><p>Acme Brass Ltd, of Delaware</p></body></html>", "ex21.htm", 2)
    text += part("GRAPHIC", uuencoded(bytes(range(256)) * 8, "logo.jpg"), "logo.jpg", 3)
    text += part("EX-99.1", "Acme sold more widgets\nthan ever before.\n\nThis is a second paragraph.", sequence=4)
    text += part("EX-101.INS", "<XBRL>\n<?xml version='1.0'?><xbrl>1234</xbrl>\n</XBRL>", "acme.xml", 5)
    text += part("XML", "<html><body>R1</body></html>", "R1.htm", 6)
    text += part("EX-99.2", "<PDF>\n" + uuencoded(b"%PDF-1.4", "x.pdf") + "\n</PDF>", "ex99.pdf", 7)
    text += part("EX-99.3", uuencoded(b"PK\x03\x04", "x.zip"), sequence=8)
    text += part("JSON", "<JSON>\n{}\n</JSON>", "MetaLinks.json", 9) + "</SEC-DOCUMENT>\n"
    documents, failures = read(tmp_path, text)
    assert not failures
    assert [(document.name, document.domain) for document in documents] == [
        ("acme.htm", "10-K"),
        ("ex21.htm", "EX-21.1"),
        ("EX-99.1-4", "EX-99.1"),
    ]
    assert documents[0].metadata == {**FACTS, "type": "10-K", "description": "10-K of Acme"}
    assert documents[1].metadata == {**FACTS, "type": "EX-21.1", "description": "EX-21.1 of Acme"}
    assert [document.title for document in documents] == [
        "Acme Widgets Corp 10-K 2023-12-31",
        "Acme Widgets Corp EX-21.1 2023-12-31",
        "Acme Widgets Corp EX-99.1 2023-12-31",
    ]
    assert [block.text for block in documents[1].blocks] == ["Acme Brass Ltd, of Delaware"]
    assert [block.text for block in documents[2].blocks] == [
        "Acme sold more widgets than ever before.",
        "This is a second paragraph.",
    ]


def test_items_are_headings_and_the_table_of_contents_is_not(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, HEADER + part("10-K", REPORT, "acme.htm"))
    (document,) = documents
    found = [heading for heading in headings(document.blocks) if heading[1].lower().startswith(("part", "item"))]
    assert found == [
        (1, "PART I"),
        (2, "Item 1. Business"),
        (2, "Item 1A. Risk Factors"),
        (2, "Item 2. Properties"),
        (1, "PART II"),
        (2, "ITEM 7. Management's Discussion"),
    ]
    texts = [block.text for block in document.blocks]
    assert not {"4", "5", "6"} & set(texts)
    assert texts.count("Table of Contents") == 1
    assert any("See Item 1A for the risks." in text for text in texts)
    assert [block.text for block in document.blocks if block.kind == "table"] == ["Sales | $1,234\nCosts | $1,001"]


def test_an_amendment_keeps_its_form(tmp_path: Path) -> None:
    text = HEADER.replace("TYPE:\t10-K", "TYPE:\t10-K/A") + part(
        "10-K/A", "<p>Only the signatures changed.</p>", "a.htm"
    )
    documents, _ = read(tmp_path, text)
    assert (documents[0].domain, documents[0].metadata["form"]) == ("10-K/A", "10-K/A")


def test_the_subject_company_counts_and_who_filed_is_kept(tmp_path: Path) -> None:
    header = HEADER.replace("FILER:", "FILED BY:").replace("</SEC-HEADER>\n", "")
    header += "SUBJECT COMPANY:\n\tCOMPANY DATA:\n\t\tCOMPANY CONFORMED NAME:\t\tBolt Inc\n"
    header += "\t\tCENTRAL INDEX KEY:\t\t5678\n</SEC-HEADER>\n"
    documents, _ = read(tmp_path, header + part("SC 13G/A", "We hold a twentieth of the shares.", "a.txt"))
    metadata = documents[0].metadata
    assert (metadata["company"], metadata["cik"], metadata["filed_by"]) == (
        "Bolt Inc",
        "0000005678",
        "Acme Widgets Corp",
    )
    assert "sic" not in metadata


def test_the_first_of_several_filers_counts(tmp_path: Path) -> None:
    other = (
        "FILER:\n\tCOMPANY DATA:\n\t\tCOMPANY CONFORMED NAME:\tBolt Inc\n\t\tCENTRAL INDEX KEY:\t5678\n</SEC-HEADER>\n"
    )
    documents, _ = read(tmp_path, HEADER.replace("</SEC-HEADER>\n", other) + part("10-K", "Text.", "a.txt"))
    assert (documents[0].metadata["company"], documents[0].metadata["cik"]) == ("Acme Widgets Corp", "0000001234")


def test_the_header_in_tags_says_the_same(tmp_path: Path) -> None:
    text = """<SUBMISSION>
<ACCESSION-NUMBER>0000001234-24-000003
<TYPE>10-K
<PERIOD>20231231
<FILING-DATE>20240201
<FILER>
<COMPANY-DATA>
<CONFORMED-NAME>Acme Widgets Corp
<CIK>0000001234
<ASSIGNED-SIC>3499
<FISCAL-YEAR-END>1231
</COMPANY-DATA>
</FILER>
"""
    documents, _ = read(tmp_path, text + part("10-K", "Text.", "a.txt") + "</SUBMISSION>\n")
    assert documents[0].metadata == {**FACTS, "type": "10-K", "description": "10-K of Acme"}


def test_tables_in_columns_become_rows(tmp_path: Path) -> None:
    table = """Sales are shown below.

<PAGE>
<TABLE>
<CAPTION>
                     1995        1994
<S>                  <C>         <C>
Sales of widgets     $ 1,234     $ 1,100
                     -------     -------
Costs                  1,001         990
</TABLE>

They grew."""
    documents, _ = read(tmp_path, HEADER + part("10-K", table))
    assert [(block.kind, block.text) for block in documents[0].blocks] == [
        ("text", "Sales are shown below."),
        ("table", "1995 | 1994\nSales of widgets | $ 1,234 | $ 1,100\nCosts | 1,001 | 990"),
        ("text", "They grew."),
    ]


def test_documents_that_are_not_closed_are_read_and_a_cut_end_is_told(tmp_path: Path) -> None:
    first = part("10-K", "The first.", "a.txt").replace("</TEXT>\n</DOCUMENT>\n", "")
    documents, failures = read(tmp_path, HEADER + first + part("EX-99.1", "The second.", "b.txt"))
    assert [document.blocks[0].text for document in documents] == ["The first.", "The second."]
    assert not failures
    documents, failures = read(tmp_path, HEADER + first)
    assert [document.blocks[0].text for document in documents] == ["The first."]
    assert [(failure.name, "cut off" in failure.error) for failure in failures] == [("", True)]


def test_a_submission_without_header_is_read(tmp_path: Path) -> None:
    documents, failures = read(tmp_path, part("8-K", "We hired a new auditor.", "a.txt"))
    assert not failures
    (document,) = documents
    assert (document.domain, document.title) == ("8-K", "8-K")
    assert document.metadata == {"type": "8-K", "description": "8-K of Acme"}


def test_wrong_dates_are_left_out(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, HEADER.replace("20231231", "20231399") + part("10-K", "Text.", "a.txt"))
    assert "period" not in documents[0].metadata
    assert documents[0].metadata["filed"] == "2024-02-01"


@pytest.mark.parametrize(
    "body",
    ["Müller’s widgets – new".encode(), "Müller’s widgets – new".encode("cp1252")],
    ids=["utf-8", "cp1252"],
)
def test_encodings_that_nobody_states_are_read(tmp_path: Path, body: bytes) -> None:
    start, end = (HEADER + part("10-K", "@", "a.txt")).encode().split(b"@")
    documents, failures = read(tmp_path, start + body * 3 + end)
    assert not failures
    assert "widgets" in documents[0].blocks[0].text


def test_bytes_of_no_encoding_do_not_stop_the_rest(tmp_path: Path) -> None:
    start, end = (HEADER + part("10-K", "@", "a.txt")).encode().split(b"@")
    documents, _ = read(tmp_path, start + bytes(range(128, 256)) + end + part("EX-99", "The second.", "b.txt").encode())
    assert documents[-1].blocks[0].text == "The second."


def test_an_empty_text_is_a_document_without_blocks(tmp_path: Path) -> None:
    documents, failures = read(tmp_path, HEADER + part("10-K", "", "a.htm") + part("EX-99", " \n", "b.txt"))
    assert [(document.name, document.blocks) for document in documents] == [("a.htm", []), ("b.txt", [])]
    assert not failures


@pytest.mark.parametrize("text", [HEADER, "", HEADER + part("4", "<XML>\n<ownership/>\n</XML>", "form4.xml")])
def test_a_submission_with_nothing_to_read_says_so(tmp_path: Path, text: str) -> None:
    documents, failures = read(tmp_path, text)
    assert not documents
    assert [(failure.name, "XML" in failure.error) for failure in failures] == [("", True)]


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, HEADER + 3 * part("10-K", "Text.", "a.txt"))
    assert [document.name for document in documents] == ["a.txt", "a.txt-2", "a.txt-3"]


def test_limits_are_kept_and_named(tmp_path: Path) -> None:
    text = HEADER + part("10-K", "<p>" + "word " * 300_000 + "</p>", "a.htm") + part("EX-99", "Short.", "b.txt")
    documents, failures = read(tmp_path, text, Limits(memory_mb=12))
    assert [document.name for document in documents] == ["b.txt"]
    assert [failure.name for failure in failures] == ["a.htm"] and "limit is 1 MB, 1/12 of --memory-mb" in failures[
        0
    ].error
    assert failures[0].limit
    # what comes later in a document that is too large cannot make it one to pass over
    late = part("10-K", "<p>" + "word\n" * 300_000 + "<XML>\n</p>", "a.htm")
    assert [failure.name for failure in read(tmp_path, HEADER + late, Limits(memory_mb=12))[1]] == ["a.htm"]
    documents, failures = read(tmp_path, HEADER + 3 * part("10-K", "Text.", "a.txt"), Limits(members=2))
    assert len(documents) == 2
    problem = "has more than 2 documents, the limit; those after it are not read"
    assert failures == [Failure("", problem, limit=True)]


def test_what_is_passed_over_is_not_held_in_memory(tmp_path: Path) -> None:
    picture = uuencoded(bytes(45) * 20_000, "x.jpg")
    text = HEADER + part("GRAPHIC", picture, "x.jpg") + part("EX-99", picture) + part("10-K", "Text.", "a.txt")
    (tmp_path / "filing.txt").write_text(text)
    tracemalloc.start()
    documents = list(read_submission(tmp_path / "filing.txt", Limits()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(documents) == 1
    assert peak < len(text) / 2


@settings(max_examples=40)
@given(st.lists(st.sampled_from([*part("10-K", "Item 1. Business", "a.txt").splitlines(), "<PDF>", "x" * 50, ""])))
def test_lines_in_any_order_end_in_documents_or_failures(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    path.write_text("\n".join(lines))
    found = list(read_submission(path, Limits()))
    assert found
    assert len({item.name for item in found if isinstance(item, Document)}) == sum(
        isinstance(item, Document) for item in found
    )


def page(folder: Path, text: str) -> Document:
    path = folder / "filing.htm"
    path.write_text(text, encoding="utf-8")
    (document,) = read_filing_page(path, Limits())
    assert isinstance(document, Document)
    return document


def test_a_page_with_inline_xbrl_tells_its_facts_and_hides_its_header(tmp_path: Path) -> None:
    document = page(tmp_path, INLINE)
    assert document.domain == "10-Q/A"
    assert document.metadata == {
        "form": "10-Q/A",
        "type": "10-Q/A",
        "company": "Acme Widgets Corp",
        "cik": "0000001234",
        "period": "2024-03-31",
    }
    assert document.title == "Acme Widgets Corp 10-Q/A 2024-03-31"
    assert (2, "Item 2. Management's Discussion and Analysis") in headings(document.blocks)
    texts = [block.text for block in document.blocks]
    assert "Sales were 1,234 thousand dollars." in texts
    assert "0000001234" not in " ".join(texts)


def test_a_page_without_inline_xbrl_tells_what_its_cover_says(tmp_path: Path) -> None:
    cover = """<html><body><p>UNITED STATES</p><p>SECURITIES AND EXCHANGE COMMISSION</p><p>Washington, D.C. 20549</p>
    <p><b>FORM 10-K</b></p><p>(Amendment No. 1)</p><p>For the fiscal year ended December 31, 2009</p>
    <p><b>Acme Widgets Corp</b></p><p>(Exact name of registrant as specified in its charter)</p>
    <p>Item 1. Business</p><p>We make widgets.</p></body></html>"""
    document = page(tmp_path, cover)
    assert document.domain == "10-K/A"
    assert document.metadata == {
        "form": "10-K/A",
        "type": "10-K/A",
        "company": "Acme Widgets Corp",
        "period": "2009-12-31",
    }


def test_a_page_that_tells_nothing_is_read_without_a_domain(tmp_path: Path) -> None:
    document = page(tmp_path, '<html xmlns:ix="x"><body><p>Some report.</p></body></html>')
    assert (document.domain, document.title, document.metadata) == ("", "", {})
    assert [block.text for block in document.blocks] == ["Some report."]


@pytest.mark.parametrize("piece", [b"<", b"<html ", b"\xff", b"_", b" name", b"FORM 1-A "])
def test_a_head_that_repeats_itself_is_judged_at_once(piece: bytes, tmp_path: Path) -> None:
    began = time.process_time()
    assert not is_filing_page(piece * (50_000 // len(piece)))
    assert not cover_facts([Block("text", piece.decode("latin-1") * 2_000)])
    assert time.process_time() - began < 2


COVER = "SECURITIES AND EXCHANGE COMMISSION Washington, D.C. 20549 "


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (COVER + "FORM 8-K CURRENT REPORT", "8-K"),
        (COVER + "FORM 8-K/A (Amendment No. 2)", "8-K/A"),
        (COVER + "FORM 10-K405", "10-K405"),
        (COVER + "SCHEDULE 13G (Amendment No. 3)*", "SC 13G/A"),
        (COVER + "SCHEDULE 13G (Amendment No. )*", "SC 13G"),
        (COVER + "SCHEDULE 13D/A", "SC 13D/A"),
        (COVER + "Post-Effective Amendment No. 1 to FORM S-8", "S-8"),
        (COVER + "SCHEDULE 14A Proxy Statement ☒ Definitive Proxy Statement", "DEF 14A"),
        (COVER + "SCHEDULE 14A Proxy Statement ☐ Definitive Proxy Statement", "SCHEDULE 14A"),
        ("FORM 20-F " + COVER, "20-F"),
        ("Filed Pursuant to Rule 424(b)(3) Registration No. 333-1", "424B3"),
        ("Filed pursuant to Rule 497(k)", "497K"),
        ("Filed pursuant to Rule 497(e)", "497"),
        ("x " * 2000 + "Filed pursuant to Rule 424(b)(3)", ""),
        (COVER + "y " * 400 + "Form 10-K", ""),
        ("a form pre-tax and FORM 10-K", ""),
    ],
)
def test_cover_pages_tell_their_form(text: str, form: str) -> None:
    assert cover_form(text) == form
