"""Where the documents of a run come from: files, a corpus that ingest made, a table."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from denizen.data.prepare import Given
from denizen.data.tables import write_table
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.ingest.ingest import ingest
from denizen.ingest.settings import IngestConfig
from denizen.recipes.config import AdaptConfig
from denizen.recipes.document_source import documents_of

SENTENCES = [f"Sentence {at} of the act says what it says, and the next one says the rest of it." for at in range(20)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents") / "acts"
    (folder / "law/old").mkdir(parents=True)
    (folder / "law/old/act.md").write_text(f"# An act\n\n{' '.join(SENTENCES)}", encoding="utf-8")
    (folder / "note.TXT").write_text("\ufeff" + SENTENCES[0], encoding="utf-8")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def of(source: Path | str, out: Path, **settings: int | str) -> Given:
    return documents_of(AdaptConfig(str(source), teacher="llm", llm="x", **settings), out, Silent())


def test_a_folder_is_ingested_into_the_run_and_its_first_folder_is_the_domain(folder: Path, tmp_path: Path) -> None:
    found = of(folder, tmp_path / "run", passage_chars=500)
    source = found.load()
    rows = source.documents.to_pylist()
    assert {(row["parent_id"], row["domain"]) for row in rows} == {
        ("acts/law/old/act.md", "law"),
        ("acts/note.TXT", ""),
    }
    assert max(len(row["text"]) for row in rows) <= 500
    assert not source.cut
    assert {row.place for row in source.bad_rows} == {"acts/picture.png"}
    assert found.read["files"] == 4
    assert found.read["dropped"] == {"fewer than 40 letters": 1}
    assert (tmp_path / "run/documents/corpus.parquet").is_file()


def test_the_run_s_own_folder_within_the_documents_does_not_count(folder: Path) -> None:
    before = of(folder, folder / "run").digests
    (folder / "run/report.html").write_text(f"<p>{SENTENCES[5]}</p>")
    (folder / "run/corpus").mkdir()
    (folder / "run/corpus/notes.txt").write_text(SENTENCES[6])
    assert of(folder, folder / "run").digests == before
    shutil.rmtree(folder / "run")


def test_a_run_goes_on_with_the_documents_that_it_began_with(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = of(folder, run).digests
    for part in (run / "documents/.parts").iterdir():
        # as if its reading had taken too long
        part.rename(part.with_suffix(".again.jsonl"))
    stamp = (run / "documents/ingest.json").stat().st_mtime_ns
    (run / "corpus").mkdir()
    (run / "corpus/step.json").write_text("{}")
    assert of(folder, run).digests == before
    assert (run / "documents/ingest.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("report", [None, "", "[]", '{"schema": 2}'], ids=["missing", "empty", "a list", "of later"])
def test_a_corpus_that_is_not_whole_is_refused(report: str | None, folder: Path, tmp_path: Path) -> None:
    ingest(IngestConfig([str(folder)]), tmp_path / "corpus")
    (tmp_path / "corpus/ingest.json").unlink()
    if report is not None:
        (tmp_path / "corpus/ingest.json").write_text(report)
    with pytest.raises(InputError, match="not whole"):
        of(tmp_path / "corpus", tmp_path / "run")


def test_an_archive_of_documents_is_a_source(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "acts.tar.gz", "w:gz") as file:
        file.add(folder / "law", "law")
    rows = of(tmp_path / "acts.tar.gz", tmp_path / "run").load().documents.to_pylist()
    assert {row["parent_id"] for row in rows} == {"acts.tar.gz/law/old/act.md"}


def test_a_corpus_that_ingest_made_is_taken_as_it_stands(folder: Path, tmp_path: Path) -> None:
    report = ingest(IngestConfig([str(folder)], passage_chars=300), tmp_path / "corpus")
    found = of(tmp_path / "corpus", tmp_path / "run")
    assert len(found.load().documents) == report["passages"]
    assert found.digests["corpus.parquet"] == report["digests"]["corpus.parquet"]
    assert not (tmp_path / "run").exists()


def test_a_corpus_that_somebody_changed_is_refused(folder: Path, tmp_path: Path) -> None:
    ingest(IngestConfig([str(folder)]), tmp_path / "corpus")
    rows = of(tmp_path / "corpus", tmp_path / "run").load().documents
    write_table(tmp_path / "corpus/corpus.parquet", rows.slice(1))
    with pytest.raises(InputError, match=r"corpus\.parquet is not what ingest wrote"):
        of(tmp_path / "corpus", tmp_path / "run")


@pytest.mark.parametrize("source", ["", "no/such/folder"])
def test_what_is_not_there_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        of(source, tmp_path / "run")


def test_the_dates_of_files_are_read_where_a_split_goes_by_time(tmp_path: Path) -> None:
    (tmp_path / "acts").mkdir()
    for at in range(2):
        head = f"---\ndate: 2026-0{at + 1}-05\n---\n" if at else ""
        (tmp_path / f"acts/{at}.md").write_text(f"{head}# Act {at}\n\n{SENTENCES[at]} {SENTENCES[at + 2]}")
    plain = of(tmp_path / "acts", tmp_path / "run")
    dated = of(tmp_path / "acts", tmp_path / "run", split="time")
    assert dated.load().document_dates == {"acts/1.md": "2026-02-05"} and plain.load().document_dates == {}
    assert set(dated.digests) - set(plain.digests) == {"texts.parquet"}
