"""Which files are found, under which names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from denizen.core.errors import InputError
from denizen.documents.document import Failure
from denizen.documents.files import FoundFile, found_files


def names(*paths: Path, leave_out: Path | None = None) -> list[str]:
    return [item.name for item in found_files([str(path) for path in paths], leave_out)]


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
    found = [item.folder for item in found_files([str(folder)], None) if isinstance(item, FoundFile)]
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


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs", "a/x.txt")
    (folder / "a/again").symlink_to(folder)
    (folder / "b").symlink_to(folder / "a")
    (folder / "self").symlink_to("self")
    found = list(found_files([str(folder)], None))
    assert [item.name for item in found if isinstance(item, FoundFile)] == ["docs/a/x.txt"]
    (failure,) = [item for item in found if isinstance(item, Failure)]
    assert failure.name == "docs/self"


def test_pipes_and_broken_links_are_failures(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs", "x.txt")
    os.mkfifo(folder / "pipe")
    (folder / "gone").symlink_to(folder / "nothing")
    failures = {item.name: item.error for item in found_files([str(folder)], None) if isinstance(item, Failure)}
    assert failures["docs/pipe"].startswith("is no regular file")
    assert failures["docs/gone"].startswith("cannot be looked at")


def test_a_name_that_is_no_utf_8_is_written_out(tmp_path: Path) -> None:
    folder = make(tmp_path / "docs")
    folder.mkdir(exist_ok=True)
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    assert names(folder) == ["docs/caf\\xe9.txt"]


@pytest.mark.parametrize("path", ["", "nowhere"])
def test_what_does_not_exist_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(found_files([path], None))
