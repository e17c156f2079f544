"""Files that are whole or not there, digests, links and locks."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.files import (
    file_digest,
    files_below,
    json_digest,
    link_file,
    link_tree,
    locked,
    read_json,
    replace_folder,
    tree_digest,
    write_json,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
trees = st.dictionaries(st.text("ab/", min_size=1, max_size=3), st.sampled_from(["0" * 64, "f" * 64]), max_size=4)


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_digest_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\x00abc" * 100_000)
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"\x00abc" * 100_000).hexdigest()


@given(trees, trees)
def test_trees_have_one_digest_exactly_when_they_are_equal(one: dict[str, str], other: dict[str, str]) -> None:
    assert (tree_digest(one) == tree_digest(other)) == (one == other)
    assert tree_digest(dict(reversed(one.items()))) == tree_digest(one)


def test_a_name_that_is_no_text_has_a_digest() -> None:
    assert tree_digest({os.fsdecode(b"caf\xe9"): "0"}) != tree_digest({"cafe": "0"})


@given(values)
def test_a_digest_outlives_json_and_does_not_see_the_order_of_keys(value: Any) -> None:
    again = json.loads(json.dumps(value), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert json_digest(again) == json_digest(value)
    assert json_digest([value]) != json_digest(value)


def test_json_values_that_python_calls_equal_have_digests_of_their_own() -> None:
    """Which is why settings make floats of whole numbers: 1 == 1.0 == True."""
    assert len({json_digest(value) for value in (1, 1.0, True, "1")}) == 4


@pytest.mark.parametrize("value", [{"ä": [1, 2.5, None]}, [], "text"])
def test_json_is_written_readable_and_leaves_no_other_file(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value == read_json(path)
    assert path.read_bytes().endswith(b"\n")
    assert b"\\u" not in path.read_bytes()
    assert names_in(tmp_path) == ["value.json"]


def test_json_that_cannot_be_written_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"long": "x" * 100_000, "bad": object()})
    assert json.loads(path.read_text()) == {"old": 1}


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "value.json", []
    write_json(path, {"old": 1})
    monkeypatch.setattr("os.fsync", lambda descriptor: seen.append(json.loads(path.read_text())))
    write_json(path, {"new": 2})
    assert seen == [{"old": 1}]
    assert json.loads(path.read_text()) == {"new": 2}


def test_a_part_of_json_is_as_good_as_none(tmp_path: Path) -> None:
    whole = tmp_path / "whole.json"
    write_json(whole, {"größe": ["中", 1]})
    written = whole.read_bytes()
    for end in range(len(written) - 2):
        (tmp_path / "part.json").write_bytes(written[:end])
        assert read_json(tmp_path / "part.json") is None, end
    assert read_json(tmp_path / "missing.json") is None
    assert read_json(whole / "below.json") is None


def test_files_are_listed_by_name_through_links_to_folders(tmp_path: Path) -> None:
    for name in ("b/two", "a/one", "top"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    (tmp_path / "tree/c").symlink_to(tmp_path / "tree/a")
    (tmp_path / "tree/gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "tree/empty").mkdir()
    assert files_below(tmp_path / "tree") == ["a/one", "b/two", "c/one", "top"]
    assert files_below(tmp_path / "nowhere") == []


@pytest.mark.parametrize("links", [True, False])
def test_a_linked_tree_has_the_same_bytes_and_needs_no_second_place_for_them(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a/sub").mkdir(parents=True)
    (tmp_path / "a/sub/file").write_text("content")
    (tmp_path / "a/left").write_text("out")
    if not links:

        def refused(*arguments: object) -> None:
            raise OSError("another file system")

        monkeypatch.setattr(os, "link", refused)
    link_tree(tmp_path / "a", tmp_path / "b/c", lambda at, names: {"left"} & set(names))
    assert names_in(tmp_path / "b") == ["c/sub/file"]
    one, other = tmp_path / "a/sub/file", tmp_path / "b/c/sub/file"
    assert other.read_text() == "content" and one.stat().st_mtime_ns == other.stat().st_mtime_ns
    assert one.samefile(other) == links
    link_file(one, tmp_path / "d/e/file")
    assert (tmp_path / "d/e/file").read_text() == "content"


def test_a_folder_takes_a_place_whatever_is_there(tmp_path: Path) -> None:
    for name in ("new", "deep/place"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / Path(name).name).touch()
    replace_folder(tmp_path / "new", tmp_path / "deep/place")
    assert names_in(tmp_path) == ["deep/place/new"]
    replace_folder(tmp_path / "deep/place", tmp_path / "other/place")
    assert names_in(tmp_path) == ["other/place/new"]


def _hold(folder: Path, name: str, log: Path, met: Any) -> None:
    with locked(folder, name):
        with log.open("a") as file:
            file.write("in ")
        if met:
            met.wait(60)
        else:
            time.sleep(0.2)
        with log.open("a") as file:
            file.write("out ")


@pytest.mark.parametrize("names", [("one", "one"), ("one", "other")])
def test_a_lock_lets_in_one_at_a_time_for_each_name(names: tuple[str, str], tmp_path: Path) -> None:
    fork, apart = multiprocessing.get_context("fork"), names[0] == names[1]
    met = None if apart else fork.Barrier(2)
    processes = [fork.Process(target=_hold, args=(tmp_path / "new", name, tmp_path / "log", met)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert (tmp_path / "log").read_text() == ("in out in out " if apart else "in in out out ")
