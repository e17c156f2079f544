"""Whole ingestions: every format, growing folders, hostile files, kills, and the way to a model."""

from __future__ import annotations

import difflib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from denizen.data.tables import read_table
from denizen.engine.errors import InputError
from denizen.ingest.ingest import ingest, ingest_lines
from denizen.ingest.settings import IngestConfig
from tests import document_files
from tests.conftest import WORDS
from tests.document_files import WRITERS, Content, Section


def content(seed: int, sections: int = 3) -> Content:
    """A made-up document of about 100 words a section, none of which another one repeats at length."""
    draw = random.Random(seed)
    syllables = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]

    def word() -> str:
        return "".join(draw.choices(syllables, k=draw.randint(1, 4)))

    def sentence() -> str:
        words = [*draw.choices(WORDS, k=4), *(word() for _ in range(8))]
        draw.shuffle(words)
        return " ".join(words).capitalize() + "."

    made = []
    for number in range(sections):
        table = [["Year", "Income", "Costs"]] if number == 1 else []
        table += [
            [str(2020 + at), str(draw.randint(100, 9999)), str(draw.randint(100, 9999))] for at in range(4)
        ] * bool(table)
        paragraphs = [" ".join(sentence() for _ in range(4)) for _ in range(2)]
        made.append(Section(f"Section {word()} {word()}".title(), paragraphs, table))
    return Content(f"Report on {word()} {word()}".title(), made)


def recovered(wanted: list[str], found: list[str]) -> float:
    """The share of words that stand in a text in the same order."""
    matcher = difflib.SequenceMatcher(None, wanted, found, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(wanted)


def texts(out: Path) -> dict[str, dict[str, Any]]:
    return {row["doc_id"]: row for row in read_table(out / "texts.parquet", "texts").to_pylist()}


def passages(out: Path) -> list[dict[str, Any]]:
    return list(read_table(out / "corpus.parquet", "corpus").to_pylist())


def failures(out: Path) -> dict[str, str]:
    return {row["key"]: row["error"] for row in read_table(out / "failures.parquet", "failures").to_pylist()}


def text_folder(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for at in range(count):
        WRITERS["txt"](content(at), folder / f"{at:03}.txt")
    return folder


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Content], dict[str, Any]]:
    """A folder with a file of every kind, read; each has its own content."""
    root = tmp_path_factory.mktemp("every")
    made = {}
    for at, (suffix, write) in enumerate(WRITERS.items()):
        folder = root / "docs" / suffix.replace(".", "_")
        folder.mkdir(parents=True)
        made[f"docs/{folder.name}/file.{suffix}"] = content(1000 + at)
        write(content(1000 + at), folder / f"file.{suffix}")
    report = ingest(IngestConfig([str(root / "docs")]), root / "corpus")
    return root / "corpus", made, report


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_every_kind_of_file_is_read_whole_and_in_order(
    suffix: str, every: tuple[Path, dict[str, Content], dict[str, Any]]
) -> None:
    out, made, _ = every
    (name,) = [name for name in made if name.endswith(f"file.{suffix}")]
    (found,) = [row for row in texts(out).values() if row["source"] == name]
    wanted = made[name]
    # plain text has no title, and a filing is called by company, form and period
    expected = {"txt": "", "tar.gz": "", "sgml.txt": "MADE UP CO 10-K 2025-12-31"}.get(suffix, wanted.title)
    assert found["title"] == expected
    words = [word for word in f"{found['title']} {found['text']}".split() if word not in ("|", "-")]
    assert recovered(wanted.words, words) >= 0.99
    # nothing but the words, and a title; two pages are too few to know a running head by
    more = {"pdf": 2 * len(["Running", "head", "of", "this", "document"]), "xlsx": len(["Sheet"])}.get(suffix, 0)
    assert len(words) <= len(wanted.words) + len(expected.split()) + more


def test_nothing_failed_and_every_file_is_accounted_for(
    every: tuple[Path, dict[str, Content], dict[str, Any]],
) -> None:
    out, made, report = every
    assert failures(out) == {}
    assert report["files"] == report["documents"] == len(made)
    assert {row["source"].partition("#")[0] for row in passages(out)} == set(made)
    assert report["domains"]["10-K"] == 1
    assert report["domains"]["rows"] == 4


def test_what_files_hide_is_in_the_corpus_or_a_row_says_so(tmp_path: Path) -> None:
    folder, out = tmp_path / "docs", tmp_path / "corpus"
    folder.mkdir()
    for name, write in {
        "a.xlsx": document_files.uncalculated_workbook,
        "b.pptx": document_files.deck_with_chart,
        "c.docx": document_files.strict_document,
        "d.ipynb": document_files.notebook_with_picture,
        "e.html": document_files.folded_page,
        "f.html": document_files.templated_page,
    }.items():
        write(folder / name)
    report = ingest(IngestConfig([str(folder)], personal_data=False), out)
    found = {name.rpartition("/")[2]: row for name, row in texts(out).items()}
    (failure,) = failures(out).items()
    assert failure[0] == "docs/a.xlsx/Sheet" and failure[1].startswith("1 cells hold a formula and no value (B1")
    assert found["b.pptx"]["text"].endswith(" | Passengers in thousands\nearly spring | 12.25\nlate autumn | 7.5")
    assert found["c.docx"]["text"].startswith("The harbour master")
    assert found["d.ipynb"]["text"] == (
        "The tide table was drawn with the figures of last year. The tides\n\nplot(tides)"
    )
    assert json.loads(found["d.ipynb"]["metadata"]) == {"pictures": "1"}
    assert found["e.html"]["text"] == (
        "Questions\n\nMay I bring a bicycle?\n\nBicycles travel free on all ferries but the first of the morning."
    )
    assert found["f.html"]["text"].startswith("News\n\nThe lighthouse has been lit")
    lines = ingest_lines(report, out, explain_drops=True)
    at = lines.index("left out, is called navigation or a frame of the page (1):")
    assert lines[at + 1] == "  docs/e.html: All timetables of the line"


def test_passages_stand_in_their_texts_and_carry_headings_and_pages(
    every: tuple[Path, dict[str, Content], dict[str, Any]],
) -> None:
    out, made, _ = every
    whole = texts(out)
    rows = passages(out)
    assert len({row["doc_id"] for row in rows}) == len(rows)
    for row in rows:
        assert whole[row["parent_id"]]["text"][row["start"] : row["end"]] == row["text"]
        assert len(row["text"]) <= 1000
    docx = [row for row in rows if row["source"].endswith("file.docx")]
    (wanted,) = [value for name, value in made.items() if name.endswith("file.docx")]
    assert {row["title"] for row in docx} >= {f"{wanted.title} > {section.heading}" for section in wanted.sections}
    assert {row["source"].partition("#page=")[2] for row in rows if ".pdf" in row["source"]} >= {"1"}


def test_the_corpus_is_beir_that_any_tool_reads(every: tuple[Path, dict[str, Content], dict[str, Any]]) -> None:
    out, _, report = every
    rows = [json.loads(line) for line in (out / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == report["passages"]
    assert set(rows[0]) == {"_id", "title", "text", "metadata"}


def test_a_second_run_reads_nothing_and_a_grown_folder_only_what_is_new(tmp_path: Path) -> None:
    folder, out = text_folder(tmp_path / "docs", 6), tmp_path / "corpus"
    config = IngestConfig([str(folder)])
    first = ingest(config, out)
    assert first["reading"]["files"] == 6
    before = (out / "corpus.parquet").read_bytes()
    stamp = (out / "ingest.json").stat().st_mtime_ns
    ingest(config, out)
    assert (out / "ingest.json").stat().st_mtime_ns == stamp
    ids = {row["parent_id"]: row["doc_id"] for row in passages(out)}
    # one comes first in order, one is changed, one goes away
    WRITERS["txt"](content(50), folder / "0.txt")
    WRITERS["txt"](content(51), folder / "003.txt")
    (folder / "005.txt").unlink()
    second = ingest(config, out)
    assert second["reading"]["files"] == 2
    after = {row["parent_id"]: row["doc_id"] for row in passages(out)}
    assert set(after) == {f"docs/{name}.txt" for name in ("0", "000", "001", "002", "003", "004")}
    assert {name: own for name, own in ids.items() if name in after and name != "docs/003.txt"} == {
        name: own for name, own in after.items() if name not in ("docs/0.txt", "docs/003.txt")
    }
    # what was there before is there again
    (folder / "0.txt").unlink()
    WRITERS["txt"](content(3), folder / "003.txt")
    WRITERS["txt"](content(5), folder / "005.txt")
    ingest(config, out)
    assert (out / "corpus.parquet").read_bytes() == before


def test_a_copy_that_comes_later_does_not_take_the_place_of_what_is_there(tmp_path: Path) -> None:
    folder, out = text_folder(tmp_path / "docs", 3), tmp_path / "corpus"
    ingest(IngestConfig([str(folder)]), out)
    before = (out / "corpus.parquet").read_bytes()
    shutil.copy(folder / "001.txt", folder / "0-copy.txt")
    report = ingest(IngestConfig([str(folder)]), out)
    assert report["dropped"] == {"a copy of another document": 1}
    assert (out / "corpus.parquet").read_bytes() == before
    dropped = read_table(out / "dropped.parquet", "dropped_texts").to_pylist()
    assert [row["doc_id"] for row in dropped] == ["docs/0-copy.txt"]


def test_hostile_files_cost_their_own_row_and_nothing_else(tmp_path: Path) -> None:
    folder, out = text_folder(tmp_path / "docs", 2), tmp_path / "corpus"
    (folder / "zeros.pdf").write_bytes(bytes(100_000))
    (folder / "empty.docx").write_bytes(b"")
    (folder / "laughs.xml").write_text(
        '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">'
        + "".join(f'<!ENTITY b{at} "{"&b;" * 10}">' for at in range(9))
        + "]><a>&b;</a>"
    )
    (folder / "outside.xml").write_text('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>')
    bomb = zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED)
    with bomb, bomb.open("bomb.txt", "w") as member:
        for _ in range(1100):
            member.write(bytes(1 << 20))
    with zipfile.ZipFile(folder / "climbs.zip", "w") as file:
        file.writestr("../../../climbed.txt", "out of the archive")
        file.writestr("good.txt", " ".join(content(7).words))
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (folder / "loop").symlink_to(folder)
    report = ingest(IngestConfig([str(folder)], timeout=30.0), out)
    found = failures(out)
    assert {name.partition("/")[2].partition("/")[0] for name in found} == {
        "zeros.pdf",
        "empty.docx",
        "laughs.xml",
        "outside.xml",
        "bomb.zip",
        "climbs.zip",
        "photo.jpg",
        "loop",
    }
    assert set(texts(out)) == {"docs/000.txt", "docs/001.txt", "docs/climbs.zip/good.txt"}
    assert report["documents"] == 3
    assert not list(tmp_path.rglob("climbed.txt"))
    assert not (out / ".unpacked").exists() or not list((out / ".unpacked").iterdir())


def test_personal_data_carries_the_same_label_everywhere_and_no_other_corpus_has_it(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "docs", 1)
    address = "jo.miller@example.org"
    (folder / "a.txt").write_text(
        f"Please write to {address} about the annual meeting of the shareholders and bring it."
    )
    (folder / f"{address}.txt").write_text(
        f"The chair can be reached under {address.upper()} on all working days of a week."
    )
    ingest(IngestConfig([str(folder)]), tmp_path / "one")
    ingest(IngestConfig([str(folder)]), tmp_path / "two")
    ingest(IngestConfig([str(folder)], personal_data=False), tmp_path / "kept")
    labels = [
        {word for row in texts(tmp_path / name).values() for word in row["text"].split() if word.startswith("[EMAIL-")}
        for name in ("one", "two")
    ]
    assert len(labels[0]) == len(labels[1]) == 1
    assert labels[0] != labels[1]
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file() and path.name not in ("files.parquet", "ingest.json"):
            assert address.encode() not in path.read_bytes().lower()
    assert any(address in row["text"] for row in texts(tmp_path / "kept").values())


def test_names_that_carry_the_same_label_stay_two_documents(tmp_path: Path) -> None:
    folder, out = tmp_path / "docs", tmp_path / "corpus"
    folder.mkdir()
    for at, name in enumerate(("Call 212-555-0100.txt", "Call 212.555.0100.txt")):
        WRITERS["txt"](content(at), folder / name)
    ingest(IngestConfig([str(folder)]), out)
    first = {name: row["text"] for name, row in texts(out).items()}
    assert len(set(first.values())) == 2
    assert not any("0100" in name for name in first)
    # the second time all is written again, from what is known of the files
    ingest(IngestConfig([str(folder)], passage_chars=300), out)
    assert {name: row["text"] for name, row in texts(out).items()} == first


def test_without_its_secret_a_corpus_is_read_anew_and_a_person_has_one_label(tmp_path: Path) -> None:
    folder, out = tmp_path / "docs", tmp_path / "corpus"
    folder.mkdir()
    for at in range(2):
        text = f"Number {at}: please write to jo.miller@example.org about the annual meeting of all the shareholders."
        (folder / f"{at}.txt").write_text(text)
    ingest(IngestConfig([str(folder)]), out)
    before = {word for row in texts(out).values() for word in row["text"].split() if word.startswith("[EMAIL-")}
    (out / ".secret").unlink()
    (folder / "2.txt").write_text("And jo.miller@example.org answers letters about the annual meeting on working days.")
    assert ingest(IngestConfig([str(folder)]), out)["reading"]["files"] == 3
    after = {word for row in texts(out).values() for word in row["text"].split() if word.startswith("[EMAIL-")}
    assert len(before) == len(after) == 1
    assert before != after


def test_a_name_that_is_no_utf_8_is_read_under_a_name_that_is(tmp_path: Path) -> None:
    folder, out = text_folder(tmp_path / "docs", 1), tmp_path / "corpus"
    WRITERS["txt"](content(1), folder / os.fsdecode(b"caf\xe9.txt"))
    for _ in range(2):
        ingest(IngestConfig([str(folder)]), out)
        assert set(texts(out)) == {"docs/000.txt", "docs/caf\\xe9.txt"}


def test_a_damaged_corpus_is_made_again(tmp_path: Path) -> None:
    folder, out = text_folder(tmp_path / "docs", 2), tmp_path / "corpus"
    first = ingest(IngestConfig([str(folder)]), out)
    for name in ("texts.parquet", "files.parquet", "ingest.json", "corpus.jsonl"):
        (out / name).write_bytes(b"{")
        assert ingest(IngestConfig([str(folder)]), out)["digests"] == first["digests"]
        (out / name).unlink()
        assert ingest(IngestConfig([str(folder)]), out)["digests"] == first["digests"]


def test_a_run_that_finds_nothing_leaves_the_corpus_that_is_there(tmp_path: Path) -> None:
    folder, out = text_folder(tmp_path / "docs", 2), tmp_path / "corpus"
    ingest(IngestConfig([str(folder)]), out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    for path in folder.iterdir():
        path.write_text("Too short.")
    with pytest.raises(InputError, match="no document"):
        ingest(IngestConfig([str(folder)]), out)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_a_copy_in_a_language_that_is_left_out_takes_nothing_away(tmp_path: Path) -> None:
    folder, out = tmp_path / "docs", tmp_path / "corpus"
    folder.mkdir()
    english = "The board has decided in its last meeting that the contract with the bank will not be renewed. " * 3
    (folder / "en.txt").write_text(english)
    german = "Der Verwaltungsrat hat in seiner letzten Sitzung beschlossen, den Vertrag nicht zu verlängern. " * 3
    (folder / "de.txt").write_text(german)
    report = ingest(IngestConfig([str(folder)], languages=["EN", "DE"]), out)
    assert set(texts(out)) == {"docs/de.txt", "docs/en.txt"}
    report = ingest(IngestConfig([str(folder)], languages=["FR", "EN"]), out)
    assert report["dropped"]["in another language (de)"] == 1


def test_killed_at_any_moment_the_same_command_ends_with_the_same_corpus(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "docs", 200)
    whole = tmp_path / "whole"
    ingest(IngestConfig([str(folder)]), whole)
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "denizen", "ingest", str(folder), "--out", str(out), "--quiet", "--workers", "1"]
    draw = random.Random(3)
    for _ in range(4):
        process = subprocess.Popen(command, start_new_session=True)
        time.sleep(draw.uniform(0.6, 1.8))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, timeout=200)
    assert (out / "corpus.parquet").read_bytes() == (whole / "corpus.parquet").read_bytes()


def test_settings_that_change_what_comes_out_are_applied_to_what_was_read(tmp_path: Path) -> None:
    folder, out = text_folder(tmp_path / "docs", 3), tmp_path / "corpus"
    ingest(IngestConfig([str(folder)]), out)
    report = ingest(IngestConfig([str(folder)], passage_chars=300), out)
    assert report["reading"]["files"] == 0
    assert max(len(row["text"]) for row in passages(out)) <= 300


def test_passages_by_tokens_of_a_model(tmp_path: Path, tiny_encoder: Path) -> None:
    from tokenizers import Tokenizer

    folder, out = text_folder(tmp_path / "docs", 2), tmp_path / "corpus"
    ingest(IngestConfig([str(folder)], passage_tokens=50, tokenizer=str(tiny_encoder)), out)
    tokenizer = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    tokenizer.no_truncation()
    lengths = [len(tokenizer.encode(row["text"], add_special_tokens=False).ids) for row in passages(out)]
    assert 25 < max(lengths) <= 50


def test_a_folder_with_nothing_to_read_is_an_error_that_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    with pytest.raises(InputError, match="no file"):
        ingest(IngestConfig([str(folder)]), tmp_path / "corpus")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (folder / "short.txt").write_text("Too short.")
    with pytest.raises(InputError, match=r"(?s)no document.*photo\.jpg.*fewer than 40 letters"):
        ingest(IngestConfig([str(folder)]), tmp_path / "corpus")


def test_a_folder_that_is_not_a_corpus_is_not_written_into(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "docs", 1)
    with pytest.raises(InputError, match="was not made by denizen"):
        ingest(IngestConfig([str(folder)]), folder)
    assert [path.name for path in folder.iterdir()] == ["000.txt"]
