"""The page of an ingested corpus: counts by hand, samples, escaping, and no place of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from denizen.data.tables import rows_table, write_table
from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.reports.ingest_page import ingest_page

REPORT = {
    "denizen": "1",
    "passages": 3,
    "documents": 2,
    "files": 4,
    "failures": 2,
    "repaired": 5,
    "languages": {"en": 2},
    "domains": {"none": 2},
    "dropped": {"fewer than 40 letters": 1, "<b>frame</b>": 7},
    "personal_data": {"EMAIL": 4},
    "settings": {"paths": ["/secret/place"], "personal_data": True, "min_letters": 40},
}
# name, documents and failures of each file; the fourth could not be looked at
FILES = (("a.tar.gz", 1, 1), ("b.txt", 1, 0), ("c.txt", 0, 1))


class Words(HTMLParser):
    """What a person sees of a page: rows of its tables, summaries, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[list[str]] = []
        self.text = ""
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begins a row or a cell."""
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        """Ends a cell."""
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        """Adds to what stands there."""
        self.text += data
        if self.inside:
            self.cells[-1][-1] += data


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_json(tmp_path / "ingest.json", REPORT)
    files = [
        {"name": name, "path": f"/secret/{name}", "size": 1_000_000, "documents": documents, "failures": faults}
        for name, documents, faults in FILES
    ]
    faults = [("ingest", "a.tar.gz/x.pdf", "no text on 3 pages"), ("ingest", "c.txt", "no text on 12 pages")]
    dropped = [("d1", "short", "a.txt", "fewer than 40 letters")]
    dropped += [(f"d{at}", f"<i>menu {at}</i>" + "." * at, "a.txt", "<b>frame</b>") for at in range(7)]
    texts = [{"doc_id": "d1", "text": "x" * 100}, {"doc_id": "d2", "text": "y\ufffd" * 50}]
    passages = [
        {"doc_id": f"p{at}", "title": title, "text": text, "source": "b.txt", "cluster": cluster}
        for at, (title, text, cluster) in enumerate(
            [("One", "a" * 10, 1), ("<script>", "b" * 20, 1), (None, "c" * 30, 3)]
        )
    ]
    for name, schema, rows in (
        ("files", "files", files),
        ("failures", "failures", faults),
        ("dropped", "dropped_texts", dropped),
        ("texts", "texts", texts),
        ("corpus", "corpus", passages),
    ):
        write_table(tmp_path / f"{name}.parquet", rows_table(schema, rows))
    return tmp_path


def shown(corpus: Path) -> Words:
    return Words(ingest_page(corpus).read_text(encoding="utf-8"))


def rows(page: Words, first: str) -> Iterator[list[str]]:
    return (row for row in page.cells if row and row[0] == first)


def test_every_file_is_counted_by_what_became_of_it(corpus: Path) -> None:
    page = shown(corpus)
    assert next(rows(page, ".tar.gz")) == [".tar.gz", "1", "0", "1", "0", "1", "1.00"]
    assert next(rows(page, ".txt")) == [".txt", "2", "1", "0", "1", "1", "2.00"]
    # c.txt, and the file that could not be looked at
    assert "from 4 files; nothing came of 2 of the files. 8 texts were left out, 2 faults were met." in page.text


def test_faults_that_differ_in_a_number_stand_together(corpus: Path) -> None:
    page = shown(corpus)
    assert "2 x no text on 3 pages" in page.text
    assert ["a.tar.gz/x.pdf: no text on 3 pages"] in page.cells and ["c.txt: no text on 12 pages"] in page.cells


def test_what_was_left_out_is_counted_and_the_longest_shown(corpus: Path) -> None:
    page = shown(corpus)
    # 200 characters kept, 5 and 7 x 13 + 21 left out
    assert next(rows(page, "fewer than 40 letters")) == ["fewer than 40 letters", "1", "5", "1.6%"]
    assert next(rows(page, "<b>frame</b>")) == ["<b>frame</b>", "7", "112", "35.3%"]
    samples = [row[0] for row in page.cells if len(row) == 2 and row[1].startswith("<i>menu")]
    assert samples == ["d6", "d5", "d4", "d3", "d2"]


def test_near_duplicates_personal_data_and_lengths(corpus: Path) -> None:
    page = shown(corpus)
    assert "2 of 3 passages stand in 1 group(s) of near-duplicates" in page.text
    assert ["EMAIL", "4"] in page.cells
    assert next(rows(page, "passages"))[1::2] == ["10", "20", "30"]
    assert "1 document(s) have characters that could not be decoded" in page.text


def test_a_page_is_escaped_and_names_no_place(corpus: Path) -> None:
    text = ingest_page(corpus).read_text(encoding="utf-8")
    assert "<script>" not in text and "&lt;script&gt;" in text and "<i>menu" not in text
    assert "/secret" not in text


def test_a_corpus_without_a_table_is_named(corpus: Path) -> None:
    (corpus / "dropped.parquet").unlink()
    with pytest.raises(InputError, match=r"dropped\.parquet does not exist"):
        ingest_page(corpus)
