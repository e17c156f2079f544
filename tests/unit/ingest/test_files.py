"""Which files are found, under which names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from denizen.engine.errors import InputError
from denizen.ingest.document import Failure
from denizen.ingest.files import FoundFile, found_files


def names(*paths: Path, leave_out: Path | None = None) -> list[str]:
    return [item.name for item in found_files([str(path) for path in paths], [leave_out] if leave_out else ())]


def make(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(file)
    return folder


def test_names_begin_with_the_given_folder_and_hidden_files_do_not_count(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs", "b.txt", "a/c.txt", "a/d/e.txt", ".hidden", ".git/config")
    assert names(folder) == ["docs/b.txt", "docs/a/c.txt", "docs/a/d/e.txt"]


def test_the_first_folder_below_is_the_domain_of_last_resort(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs", "b.txt", "a/c.txt", "a/d/e.txt")
    found = [item.folder for item in found_files([str(folder)]) if isinstance(item, FoundFile)]
    assert found == ["", "a", "a"]


def test_single_files_and_several_paths(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", "x.txt"), make(tmp_path / "two", "x.txt")
    assert names(one, two, one / "x.txt") == ["one/x.txt", "two/x.txt", "x.txt"]


def test_two_files_of_one_name_are_refused_and_named(tmp_path: Path) -> None:
    one, two = make(tmp_path / "a/docs", "x.txt"), make(tmp_path / "b/docs", "x.txt")
    with pytest.raises(InputError, match=r"both be called docs/x\.txt"):
        names(one, two)


def test_the_corpus_s_own_folder_is_left_out(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs", "x.txt", "corpus/corpus.jsonl")
    assert names(folder, leave_out=folder / "corpus") == ["docs/x.txt"]


def test_links_to_folders_and_out_of_the_folder_are_failures_that_say_so(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs", "a/x.txt")
    make(tmp_path, "secret.txt")
    (folder / "a/again").symlink_to(folder)
    (folder / "b").symlink_to(folder / "a")
    (folder / "out").symlink_to(tmp_path / "secret.txt")
    (folder / "all").symlink_to("/")
    (folder / "self").symlink_to("self")
    (folder / "same").symlink_to("a/x.txt")
    found = list(found_files([str(folder)]))
    assert [item.name for item in found if isinstance(item, FoundFile)] == ["docs/same", "docs/a/x.txt"]
    failures = {item.name: item.error for item in found if isinstance(item, Failure)}
    assert set(failures) == {"docs/a/again", "docs/b", "docs/out", "docs/all", "docs/self"}
    assert failures["docs/out"] == failures["docs/all"]
    assert failures["docs/out"].startswith("is a link out of the given folder")
    assert failures["docs/self"].startswith("is a link that leads nowhere")


def test_what_denizen_made_below_the_folder_does_not_count(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs", "x.txt", "runs/one/.lock", "runs/one/config.json", "runs/one/report.html")
    make(folder, "runs/corpus/.lock", "runs/corpus/ingest.json", "runs/corpus/corpus.jsonl", "runs/other/.lock")
    make(folder, "runs/other/note.txt")
    assert names(folder) == ["docs/x.txt", "docs/runs/other/note.txt"]


def test_a_path_that_is_given_twice_is_read_once(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs", "x.txt")
    assert names(folder, folder, folder / "../docs") == ["docs/x.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_may_not_be_looked_into_is_a_failure(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs", "x.txt", "closed/y.txt")
    (folder / "closed").chmod(0o444)
    try:
        found = list(found_files([str(folder)]))
    finally:
        (folder / "closed").chmod(0o755)
    assert [item.name for item in found if isinstance(item, FoundFile)] == ["docs/x.txt"]
    assert [item.name for item in found if isinstance(item, Failure)] == ["docs/closed/y.txt"]


def test_pipes_and_broken_links_are_failures(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs", "x.txt")
    os.mkfifo(folder / "pipe")
    (folder / "gone").symlink_to(folder / "nothing")
    failures = {item.name: item.error for item in found_files([str(folder)]) if isinstance(item, Failure)}
    assert failures["docs/pipe"].startswith("is no regular file")
    assert failures["docs/gone"].startswith("is a link that leads nowhere")


def test_a_name_that_is_no_utf_8_is_written_out(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs")
    folder.mkdir(exist_ok=True)
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    assert names(folder) == ["docs/caf\\xe9.txt"]


@pytest.mark.parametrize("path", ["", "nowhere"])
def test_what_does_not_exist_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(found_files([path]))
