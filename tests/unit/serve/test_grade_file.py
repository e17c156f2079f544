"""The grades that a server keeps: what others write counts, too, and what cannot be kept is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from denizen.data.formats.grades import append_grade
from denizen.engine.errors import InputError
from denizen.serve import grade_file
from denizen.serve.grade_file import Grades


def row(**changed: Any) -> dict[str, Any]:
    return {"query": "How?", "doc_id": "d1", "passage": "So.", "grade": 4, **changed}


def test_what_another_server_has_written_counts(tmp_path: Path) -> None:
    one = Grades(tmp_path / "grades.jsonl")
    assert len(one) == 0 and one.of("how?") == {} and not (tmp_path / "grades.jsonl").exists()
    assert one.add(row()) == 1
    append_grade(tmp_path / "grades.jsonl", row(doc_id="d2", grade=1))
    assert one.of(" HOW? ") == {"d1": 4, "d2": 1} and one.of("why?") == {}
    (tmp_path / "grades.jsonl").unlink()
    assert len(one) == 0 and one.add(row(grade=2)) == 1


def test_a_grade_that_somebody_has_changed_in_the_file_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "grades.jsonl"
    one = Grades(path)
    one.add(row())
    path.write_text(path.read_text().replace("4", "1"))
    os.utime(path, ns=(0, 0))
    one.add(row())
    assert one.of("how?") == {"d1": 4}


def test_the_same_again_is_no_line_and_nothing_taken_back_is_none(tmp_path: Path) -> None:
    one = Grades(tmp_path / "grades.jsonl")
    assert one.add(row(grade=None)) == 0 and not (tmp_path / "grades.jsonl").exists()
    one.add(row())
    one.add(row(query="how?"))
    assert len((tmp_path / "grades.jsonl").read_text().splitlines()) == 1
    assert one.add(row(grade=None)) == 0


def test_a_full_file_and_one_of_something_else_take_no_grade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Grades(tmp_path / "grades.jsonl")
    one.add(row())
    monkeypatch.setattr(grade_file, "_MOST_BYTES", 10)
    with pytest.raises(InputError, match="move it elsewhere"):
        one.add(row(grade=1))
    assert one.of("how?") == {"d1": 4}
    (tmp_path / "grades.jsonl").write_text('{"other": 1}\n')
    with pytest.raises(InputError, match="is no file of grades"):
        one.add(row())
