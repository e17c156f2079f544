"""Which LLM a GGUF file is, and what is no such file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from denizen.engine.errors import InputError
from denizen.llm.gguf_file import file_of

URL = "http://127.0.0.1:9/v1"


def _write(path: Path, content: bytes = b"") -> Path:
    path.write_bytes(b"GGUF" + content)
    return path


def _name(path: Path) -> str:
    found = file_of(str(path), "")
    assert found
    return found.name


def test_a_file_is_called_by_its_name_and_what_is_in_it(tmp_path: Path) -> None:
    file = _write(tmp_path / "Teacher.GGUF", b"weights")
    assert _name(file) == f"Teacher.GGUF@{hashlib.sha256(b'GGUFweights').hexdigest()[:12]}"


def test_a_moved_file_is_the_same_llm_and_another_of_its_name_is_not(tmp_path: Path) -> None:
    file = _write(tmp_path / "model.gguf", b"one")
    before = _name(file)
    (tmp_path / "other").mkdir()
    moved = file.rename(tmp_path / "other/model.gguf")
    assert _name(moved) == before
    _write(moved, b"two")
    # as large, and maybe in the same tick of the clock
    os.utime(moved, ns=(1, 1))
    assert _name(moved) != before and _name(moved).startswith("model.gguf@")


def test_a_name_is_no_file_where_an_endpoint_is_given_or_it_ends_in_something_else(tmp_path: Path) -> None:
    file = _write(tmp_path / "model.gguf")
    assert file_of(str(file), URL) is None
    assert file_of("there-is-none.gguf", URL) is None
    assert file_of("gpt-4.1-mini", "") is None and file_of("", "") is None
    assert file_of(str(file), "") is not None


def test_what_is_no_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"llm '.*gone\.gguf' ends in .gguf and is no file; give .*, or the endpoint"):
        file_of(str(tmp_path / "gone.gguf"), "")
    (tmp_path / "page.gguf").write_text("<html>")
    with pytest.raises(InputError, match=r"page\.gguf is no GGUF file \(it begins with b'<htm', not with b'GGUF'\)"):
        file_of(str(tmp_path / "page.gguf"), "")


def test_a_split_file_is_one_llm_of_all_its_parts(tmp_path: Path) -> None:
    parts = [_write(tmp_path / f"big-{at:05}-of-00002.gguf", bytes([at])) for at in (1, 2)]
    whole = hashlib.sha256(b"GGUF\x01GGUF\x02").hexdigest()
    assert _name(parts[0]) == f"big-00001-of-00002.gguf@{whole[:12]}"
    with pytest.raises(InputError, match=r"is part 2 of 2; give the first one, big-00001-of-00002\.gguf"):
        file_of(str(parts[1]), "")
    parts[1].unlink()
    with pytest.raises(InputError, match=r"first of 2 parts, and beside it there is no big-00002-of-00002\.gguf"):
        file_of(str(parts[0]), "")
