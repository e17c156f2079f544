from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.retrievers import store as embedding_store
from denizen.retrievers.store import StorePart, text_keys


def vectors_of(*rows: float) -> np.ndarray:
    return np.array([[row, row + 0.5] for row in rows], dtype=np.float32)


def filled(folder: Path) -> StorePart:
    part = StorePart(folder / "part", 2)
    part.add(text_keys("", ["gout", "lupus"]), vectors_of(1, 2))
    return part


def test_what_was_added_is_found_in_any_order_and_nothing_else(tmp_path: Path) -> None:
    part = filled(tmp_path)
    part.add(text_keys("", ["fever"]), vectors_of(3))
    rows = part.find(text_keys("", ["fever", "rash", "gout", "fever"]))
    assert rows.tolist() == [2, -1, 0, 2]
    assert np.array_equal(part.vectors(rows[[0, 2]])[:], vectors_of(3, 1))


def test_an_empty_store_finds_nothing_and_writes_nothing(tmp_path: Path) -> None:
    part = StorePart(tmp_path / "part", 2)
    assert part.find(text_keys("", ["gout"])).tolist() == [-1]
    assert part.vectors(np.zeros(0, dtype=np.int64)).shape == (0, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_later_process_finds_what_an_earlier_one_added(tmp_path: Path) -> None:
    filled(tmp_path)
    again = StorePart(tmp_path / "part", 2)
    rows = again.find(text_keys("", ["lupus", "gout"]))
    assert np.array_equal(again.vectors(rows)[:], vectors_of(2, 1))


@pytest.mark.parametrize("left", [1, 8, 11])
def test_a_vector_whose_key_was_not_written_is_overwritten(tmp_path: Path, left: int) -> None:
    """As after a kill between the two writes, or within the first."""
    part = filled(tmp_path)
    with (part.folder / "vectors.f32").open("ab") as file:
        file.write(b"\x7f" * left)
    again = StorePart(part.folder, 2)
    again.add(text_keys("", ["fever"]), vectors_of(3))
    rows = again.find(text_keys("", ["gout", "lupus", "fever"]))
    assert np.array_equal(again.vectors(rows)[:], vectors_of(1, 2, 3))


def test_half_a_key_is_no_key(tmp_path: Path) -> None:
    part = filled(tmp_path)
    with (part.folder / "keys.bin").open("ab") as file:
        file.write(b"\x01" * 17)
    again = StorePart(part.folder, 2)
    again.add(text_keys("", ["fever"]), vectors_of(3))
    assert again.find(text_keys("", ["lupus", "fever"])).tolist() == [1, 2]


@pytest.mark.parametrize("left", [0, 8, 11])
def test_a_key_whose_vector_is_gone_is_no_key(tmp_path: Path, left: int) -> None:
    """As in a copy of a store that was made while it grew."""
    part = filled(tmp_path)
    os.truncate(part.folder / "vectors.f32", left)
    again = StorePart(part.folder, 2)
    whole = left // 8
    assert (again.find(text_keys("", ["gout", "lupus"])) >= 0).tolist() == [whole > 0, False]
    again.add(text_keys("", ["fever"]), vectors_of(3))
    row = again.find(text_keys("", ["fever"]))
    assert np.array_equal(again.vectors(row)[:], vectors_of(3))
    assert again.find(text_keys("", ["lupus"])).tolist() == [-1]


def test_keys_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    part = StorePart(tmp_path / "part", 2)
    keys = np.array([[7, 1, 1, 1], [7, 2, 2, 2], [9, 1, 1, 1], [7, 3, 3, 3]], dtype=np.uint64)
    part.add(keys, vectors_of(1, 2, 3, 4))
    assert part.find(keys[::-1]).tolist() == [3, 2, 1, 0]
    assert part.find(np.array([[7, 1, 1, 2]], dtype=np.uint64)).tolist() == [-1]


@given(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4), st.text(max_size=4))
def test_keys_are_equal_only_for_equal_prompt_and_text(prompt: str, text: str, other: str, further: str) -> None:
    same = np.array_equal(text_keys(prompt, [text]), text_keys(other, [further]))
    assert same == ((prompt, text) == (other, further))


def test_stored_vectors_are_read_slice_by_slice(tmp_path: Path) -> None:
    part = filled(tmp_path)
    stored = part.vectors(np.array([1, 0, 1]))
    assert len(stored) == 3 and stored.shape == (3, 2)
    assert np.array_equal(stored[1:], vectors_of(1, 2))
    assert np.array_equal(np.asarray(stored), vectors_of(2, 1, 2))


def test_the_longest_stretch_of_equal_numbers_is_searched_through() -> None:
    assert embedding_store._chain(np.array([1, 2, 2, 2, 5, 5], dtype=np.uint64)) == 3
