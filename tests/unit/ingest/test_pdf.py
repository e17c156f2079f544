"""PDFs made with fpdf2: the words that come back are those that were written."""

import datetime
import re

import fpdf
import pypdf
import pytest
from PIL import Image
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, TextStringObject

from denizen.ingest import pdf as module
from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.pdf import read_pdf

SPOKEN = """council river meadow grant licence charter ledger harbour orchard tariff quarry engine custom lantern
    village märket größe öffnung straße measure beacon pasture timber granary"""
WORDS = SPOKEN.split()


def prose(seed, count):
    """Words in an order that differs by seed, as sentences of ten."""
    picked = [WORDS[(seed * 7 + number * number + 3 * number) % len(WORDS)] for number in range(count)]
    sentences = [picked[at : at + 10] for at in range(0, count, 10)]
    return " ".join(" ".join(sentence).capitalize() + "." for sentence in sentences)


def new(size=10):
    made = fpdf.FPDF(format="A4")
    made.set_compression(True)
    made.set_font("helvetica", size=size)
    return made


def lines_of(text, width):
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) + 1 > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


def write(made, lines, x=20, y=30, step=5):
    for row, line in enumerate(lines):
        made.text(x, y + step * row, line)


def read(path, limits=None):
    found = list(read_pdf(path, limits or Limits()))
    assert isinstance(found[0], Document)
    assert all(isinstance(one, Failure) for one in found[1:])
    return found[0], found[1:]


def text(document):
    return "\n".join(block.text for block in document.blocks)


def save(made, tmp_path, name="a.pdf"):
    path = tmp_path / name
    made.output(path)
    return path


def test_sixty_pages_come_back_word_for_word_without_heads_and_numbers(tmp_path):
    made = new()
    written = []
    for number in range(1, 61):
        made.add_page()
        made.text(20, 12, "Rules of the harbour 2024")
        lines = lines_of(prose(number, 118), 70)
        written += lines
        write(made, lines)
        made.text(100, 285, f"Page {number} of 60")
    document, failures = read(save(made, tmp_path))
    assert failures == []
    assert text(document).split() == " ".join(written).split()
    assert document.metadata["pages"] == "60"
    # 118 words: the last sentence of a page ends on it
    assert {block.page for block in document.blocks} == set(range(1, 61))


def test_headings_paragraphs_and_lists(tmp_path):
    made = new()
    made.add_page()
    made.set_font_size(20)
    made.text(20, 20, "Große Übersicht")
    made.set_font_size(14)
    made.text(20, 32, "Der erste Teil")
    made.set_font_size(10)
    first, second = prose(1, 60), prose(2, 40)
    write(made, lines_of(first, 80), y=40)
    write(made, lines_of(second, 80), y=75)
    write(made, ["\x95 apples", "\x95 pears"], y=105)
    document, _ = read(save(made, tmp_path))
    assert [(block.kind, block.level, block.text) for block in document.blocks] == [
        ("heading", 1, "Große Übersicht"),
        ("heading", 2, "Der erste Teil"),
        ("text", 0, first),
        ("text", 0, second),
        ("list", 0, "- apples\n- pears"),
    ]


def test_hyphenated_words_are_whole_again(tmp_path):
    made = new()
    made.add_page()
    made.set_char_spacing(0.3)
    write(
        made,
        ["The exam-", "ple is a long-", "term plan, and long-term it", "stays an Anglo-", "Saxon one of 2023-", "24."],
    )
    document, _ = read(save(made, tmp_path))
    assert text(document) == "The example is a long-term plan, and long-term it stays an Anglo-Saxon one of 2023-24."


def test_justified_text_is_one_paragraph(tmp_path):
    made = new()
    made.add_page()
    words = prose(3, 90)
    made.multi_cell(120, 5, words, align="J")
    document, _ = read(save(made, tmp_path))
    assert [(block.kind, block.text) for block in document.blocks] == [("text", words)]


def test_two_columns_written_line_by_line_are_read_one_after_the_other(tmp_path):
    made = new()
    made.add_page()
    left, right = lines_of(prose(4, 80), 38), lines_of(prose(5, 80), 38)
    for row, (one, other) in enumerate(zip(left, right, strict=False)):
        made.text(20, 30 + 5 * row, one)
        made.text(110, 30 + 5 * row, other)
    count = min(len(left), len(right))
    document, _ = read(save(made, tmp_path))
    assert text(document).split() == " ".join(left[:count] + right[:count]).split()


def test_a_table_has_a_line_for_each_row(tmp_path):
    made = new()
    made.add_page()
    made.text(20, 20, "The figures are these:")
    for row, cells in enumerate([("Year", "Income", "Costs"), ("2023", "1,200", "800"), ("2024", "1,300", "900")]):
        for column, cell in enumerate(cells):
            made.text(20 + 50 * column, 30 + 6 * row, cell)
    document, _ = read(save(made, tmp_path))
    assert [(block.kind, block.text) for block in document.blocks] == [
        ("text", "The figures are these:"),
        ("table", "Year | Income | Costs\n2023 | 1,200 | 800\n2024 | 1,300 | 900"),
    ]


def raw_pdf(content, page_extra=""):
    """A PDF of one page whose content stream is given, so that its matrices are known."""
    bodies = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] {page_extra} /Contents 4 0 R "
        "/Resources << /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
    ]
    objects = [f"{number} 0 obj\n{body}\nendobj\n" for number, body in enumerate(bodies, start=1)]
    # the trailer stands before the content, as in files that are made for the web
    objects.insert(3, "trailer << /Root 1 0 R /Size 5 >>\n")
    return ("%PDF-1.4\n" + "".join(objects) + "startxref\n0\n%%EOF\n").encode()


def shown(size, x, y, line, turn="{s} 0 0 {s} {x} {y}"):
    return f"BT /F 1 Tf {turn.format(s=size, x=x, y=y)} Tm ({line}) Tj ET "


def test_sizes_count_as_they_are_shown_not_as_the_font_was_set(tmp_path):
    path = tmp_path / "scaled.pdf"
    body = "".join(shown(10, 50, 600 - 12 * row, "a line of the body of this page") for row in range(4))
    path.write_bytes(raw_pdf(shown(18, 50, 700, "The heading") + body))
    document, _ = read(path)
    assert [(block.kind, block.text) for block in document.blocks] == [
        ("heading", "The heading"),
        ("text", " ".join(["a line of the body of this page"] * 4)),
    ]


def test_a_page_that_is_shown_turned_has_its_paragraphs(tmp_path):
    path = tmp_path / "turned.pdf"
    # /Rotate 90 shows what runs up the page from left to right, and what lies to the right below
    turn = "0 {s} -{s} 0 {x} {y}"
    lines = [
        "The harbour is closed in winter and in spring,",
        "when ice is on it.",
        "Boats wait for the summer to come and for sun.",
    ]
    content = "".join(shown(10, 100 + 12 * row, 50, line, turn) for row, line in enumerate(lines))
    path.write_bytes(raw_pdf(content, "/Rotate 90"))
    document, _ = read(path)
    assert [block.text for block in document.blocks] == [f"{lines[0]} {lines[1]}", lines[2]]


def test_facts_of_the_document_information(tmp_path):
    made = new()
    made.add_page()
    made.text(20, 20, "A page of the ledger")
    made.set_title("The harbour ledger")
    made.set_author("Harbour office")
    made.set_creation_date(datetime.datetime(2021, 3, 4, tzinfo=datetime.UTC))
    document, _ = read(save(made, tmp_path))
    assert document.title == "The harbour ledger"
    assert document.metadata == {"pages": "1", "author": "Harbour office", "date": "2021-03-04"}


@pytest.mark.parametrize(
    "title, expected",
    [
        ("Microsoft Word - x.doc", ""),
        ("report_final.PDF", ""),
        ("untitled", ""),
        ("Untitled 3", ""),
        ("Document1", ""),
        ("PowerPoint Presentation", ""),
        ("12-34", ""),
        ("Title insurance", "Title insurance"),
        ("Documents of the council", "Documents of the council"),
        ("条例", "条例"),
    ],
)
def test_what_is_a_title(title, expected):
    assert module._title({"Title": title}) == expected


def test_a_date_that_is_none_is_left_out():
    assert module._metadata({"CreationDate": "D:20211399", "Author": "Unknown"}) == {}


def test_encrypted_files_say_so(tmp_path):
    made = new()
    made.add_page()
    made.text(20, 20, "A page of the ledger")
    plain = save(made, tmp_path)
    for algorithm in ("RC4-128", "AES-256"):
        writer = pypdf.PdfWriter(clone_from=plain)
        writer.encrypt("fishing", algorithm=algorithm)
        locked = tmp_path / "locked.pdf"
        writer.write(locked)
        with pytest.raises(UnreadableError, match="is encrypted; save it without a password"):
            list(read_pdf(locked, Limits()))


def test_a_password_for_changes_only_does_not_hinder_reading(tmp_path):
    made = new()
    made.add_page()
    made.text(20, 20, "A page of the ledger")
    made.set_encryption("owner")
    document, _ = read(save(made, tmp_path))
    assert text(document) == "A page of the ledger"


def test_a_file_cut_anywhere_is_read_in_part_or_unreadable(tmp_path):
    made = new()
    made.set_title("The harbour ledger")
    for number in range(3):
        made.add_page()
        write(made, lines_of(prose(number, 60), 70))
    # the first has its trailer at its end, the second before its content
    content = "".join(shown(10, 50, 700 - 12 * row, f"{WORDS[row % 15]} and {WORDS[row % 7]}") for row in range(40))
    files = [save(made, tmp_path).read_bytes(), raw_pdf(content)]
    path = tmp_path / "cut.pdf"
    outcomes = []
    for whole in files:
        for end in range(0, len(whole) - 10, 211):
            path.write_bytes(whole[:end])
            try:
                document, failures = read(path)
            except UnreadableError as error:
                outcomes.append(str(error).partition(",")[0])
            else:
                outcomes.append("read")
                assert "is cut off" in failures[-1].error
                # the last word may be cut
                assert set(re.findall(r"\w+", text(document).lower())[:-1]) <= {*WORDS, "and"}
    assert {"is broken or cut off", "read"} == set(outcomes)


@pytest.mark.parametrize("content", [b"", bytes(5000), b"%PDF-1.7\n", b"hello " * 500, b"%PDF-1.4\n%%EOF"])
def test_what_is_no_pdf_is_unreadable(tmp_path, content):
    path = tmp_path / "a.pdf"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match="is broken or cut off, or no PDF"):
        list(read_pdf(path, Limits()))


def test_a_broken_page_costs_only_itself(tmp_path):
    made = new()
    for number in range(3):
        made.add_page()
        made.text(20, 20, f"The ledger of harbour number {WORDS[number]}")
    whole = save(made, tmp_path).read_bytes()
    kids = re.search(rb"/Kids \[(\d+) 0 R\s+(\d+) 0 R", whole)
    broken = whole[: kids.start(2)] + b"99" + whole[kids.end(2) :]
    path = tmp_path / "broken.pdf"
    path.write_bytes(broken)
    document, failures = read(path)
    assert WORDS[0] in text(document) and WORDS[2] in text(document)
    assert text(document).count(WORDS[2]) == 1
    assert [(failure.name, failure.error) for failure in failures] == [("page 2", "Failed to load page.")]


def test_pypdf_reads_the_page_that_pdfium_fails_on(tmp_path, monkeypatch):
    made = new()
    for number in range(2):
        made.add_page()
        write(made, lines_of(prose(number, 30), 70))
    path = save(made, tmp_path)
    import pypdfium2

    read_by_pdfium = module._pdfium_page

    def failing(pdf, index):
        if index == 1:
            raise pypdfium2.PdfiumError("Failed to load page.")
        return read_by_pdfium(pdf, index)

    monkeypatch.setattr(module, "_pdfium_page", failing)
    document, failures = read(path)
    assert text(document).split() == f"{prose(0, 30)} {prose(1, 30)}".split()
    assert failures == []


def test_pypdf_reads_the_file_that_pdfium_does_not_open(tmp_path, monkeypatch):
    made = new()
    made.add_page()
    made.set_title("The harbour ledger")
    write(made, lines_of(prose(0, 30), 70))
    path = save(made, tmp_path)
    import pypdfium2

    def failing(_):
        raise pypdfium2.PdfiumError("Failed to load document.", err_code=3)

    monkeypatch.setattr(pypdfium2, "PdfDocument", failing)
    document, failures = read(path)
    assert (document.title, text(document), failures) == ("The harbour ledger", prose(0, 30), [])


def test_pages_beyond_the_limit_are_a_failure_with_value_and_limit(tmp_path):
    made = new()
    for number in range(4):
        made.add_page()
        made.text(20, 20, f"The ledger of harbour number {WORDS[number]}.")
    document, failures = read(save(made, tmp_path), Limits(pages=2))
    assert [block.page for block in document.blocks] == [1, 2]
    assert failures == [Failure("", "has 4 pages, the limit is 2; the first 2 were read")]


def picture(tmp_path):
    path = tmp_path / "scan.png"
    Image.new("L", (40, 60), 128).save(path)
    return path


def test_a_scan_has_no_text_layer(tmp_path):
    made = new()
    for number in range(3):
        made.add_page()
        made.image(picture(tmp_path), 0, 0, 210, 297)
        made.text(100, 290, str(number + 1))
    with pytest.raises(UnreadableError, match="has no text layer; run OCR first"):
        list(read_pdf(save(made, tmp_path), Limits()))


def test_scanned_pages_among_others_are_counted(tmp_path):
    made = new()
    for number in range(4):
        made.add_page()
        if number % 2:
            made.image(picture(tmp_path), 0, 0, 210, 297)
        else:
            made.text(20, 20, f"The ledger of harbour number {WORDS[number]}.")
    made.add_page()
    document, failures = read(save(made, tmp_path))
    assert len(document.blocks) == 2
    assert failures == [Failure("", "2 of its pages are images without a text layer; run OCR first to have them, too")]


def test_text_drawn_as_shapes_is_no_text_and_an_empty_page_is_empty(tmp_path):
    made = new()
    made.add_page()
    assert read(save(made, tmp_path))[0].blocks == []
    made = new()
    made.add_page()
    made.line(20, 20, 60, 60)
    with pytest.raises(UnreadableError, match="has no text layer"):
        list(read_pdf(save(made, tmp_path), Limits()))


def test_a_few_words_on_one_page_are_a_document(tmp_path):
    made = new()
    made.add_page()
    made.text(20, 20, "Closed")
    assert text(read(save(made, tmp_path))[0]) == "Closed"


def form(tmp_path, fields):
    """A page with a form whose fields have the given entries."""
    made = new()
    made.add_page()
    write(made, lines_of(prose(1, 20), 60))
    writer = pypdf.PdfWriter(clone_from=save(made, tmp_path, "plain.pdf"))
    added = []
    for name, entries in fields.items():
        found = {"/T": TextStringObject(name), "/FT": NameObject("/Tx"), **entries}
        added.append(writer._add_object(DictionaryObject({NameObject(key): value for key, value in found.items()})))
    acro = DictionaryObject({NameObject("/Fields"): ArrayObject(added)})
    writer._root_object[NameObject("/AcroForm")] = writer._add_object(acro)
    path = tmp_path / "form.pdf"
    writer.write(path)
    return path


def test_what_was_filled_into_a_form_stands_at_the_end(tmp_path):
    fields = {
        "name": {"/V": TextStringObject("Ada  Lovelace"), "/TU": TextStringObject("Name of the applicant")},
        "empty": {"/V": TextStringObject("")},
        "none": {},
        "off": {"/FT": NameObject("/Btn"), "/V": NameObject("/Off")},
        "agrees": {"/FT": NameObject("/Btn"), "/V": NameObject("/Yes")},
        "days": {"/FT": NameObject("/Ch"), "/V": ArrayObject([TextStringObject("Monday"), TextStringObject("Friday")])},
    }
    document, failures = read(form(tmp_path, fields))
    assert failures == []
    assert document.blocks[-1] == Block(
        "list", "- Name of the applicant: Ada Lovelace\n- agrees: Yes\n- days: Monday, Friday", 0, 1
    )


def test_a_form_that_cannot_be_read_costs_only_itself(tmp_path, monkeypatch):
    path = form(tmp_path, {"name": {"/V": TextStringObject("Ada")}})

    def broken(self):
        raise KeyError("/T")

    monkeypatch.setattr(pypdf.PdfReader, "get_fields", broken)
    document, failures = read(path)
    assert len(document.blocks) == 1 and [failure.name for failure in failures] == ["form"]
