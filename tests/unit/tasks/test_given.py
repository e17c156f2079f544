"""Files of rows that a user brings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from denizen.data.formats.rows import BadRows
from denizen.engine.artifact import Artifact
from denizen.engine.errors import InputError
from denizen.tasks.given import Given, read_given
from denizen.tasks.label_set import Label


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(*paths: Path, labels: tuple[Label, ...] = (), skip: bool = False) -> tuple[list[Given], list[Label], BadRows]:
    bad = BadRows(skip)
    rows, sorted_by = read_given([Artifact.outside(path) for path in paths], labels, bad)
    return rows, sorted_by, bad


def test_columns_beside_the_shape_say_task_split_document_and_evidence(tmp_path: Path) -> None:
    more = {"task": "summarize", "split": "validation", "document": "d1", "evidence": "Gout hurts."}
    (row,), *_ = read(lines(tmp_path / "a.jsonl", {"prompt": "Sum up.", "completion": "It hurts.", **more}))
    assert (row.task, row.split, row.document, row.evidence) == ("summarize", "dev", "d1", "Gout hurts.")
    (plain,), *_ = read(lines(tmp_path / "b.jsonl", {"prompt": "Sum up.", "completion": "It hurts."}))
    assert (plain.task, plain.split, plain.document, plain.evidence) == ("answer", None, None, None)
    # a name that what it says gives it, and no place
    assert plain.row_id == row.row_id and plain.row_id.startswith("given-")


def test_every_kind_of_file_says_the_same(tmp_path: Path) -> None:
    rows = [{"prompt": "one?", "completion": "1, of course"}, {"prompt": "two?", "completion": "2"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.csv").write_text('prompt,completion\none?,"1, of course"\ntwo?,2\n')
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    made = [read(tmp_path / name)[0] for name in ("a.json", "a.csv", "a.parquet")]
    assert made[0] == made[1] == made[2] == read(lines(tmp_path / "a.jsonl", *rows))[0]


def test_files_of_a_folder_say_the_side_by_their_names(tmp_path: Path) -> None:
    for name in ("train", "validation", "test", "more"):
        lines(tmp_path / f"rows/{name}.jsonl", {"prompt": name, "completion": "x"})
    (tmp_path / "rows/README.md").write_text("no rows")
    rows, *_ = read(tmp_path / "rows")
    assert {row.messages[0].content: row.split for row in rows} == {
        "train": "train",
        "validation": "dev",
        "test": "test",
        "more": None,
    }
    # whose name its digest does not know
    (alone,), *_ = read(tmp_path / "rows/test.jsonl")
    assert alone.split is None
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no file of rows"):
        read(tmp_path / "none")


def test_texts_are_shown_with_all_labels_and_one_that_is_none_of_them_is_unusable(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"text": "my toe", "label": "gout"}, {"text": "my skin", "label": "lupus"})
    rows, labels, bad = read(path)
    assert labels == [Label("gout"), Label("lupus")] and not bad.rows
    assert "- gout\n- lupus\n\n<passage>\nmy toe\n</passage>" in rows[0].messages[0].content
    assert (rows[0].task, rows[0].answer) == ("classify", "gout")
    rows, labels, bad = read(path, labels=(Label("gout", "Joints."), Label("other")))
    assert len(rows) == 1 and "- gout: Joints.\n- other" in rows[0].messages[0].content
    assert bad.rows[0].place == "a.jsonl, line 2" and "'lupus' is none of those" in bad.rows[0].problem


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            {"prompt": "x", "completion": "y", "task": "sing"},
            "the task is 'sing'; there are answer, summarize, classify",
        ),
        ({"prompt": "x", "completion": "y", "split": "holdout"}, "the split is 'holdout'"),
        ({"text": "x", "label": "y", "task": "answer"}, "its columns are those of classify"),
        ({"messages": [{"role": "user", "content": "x"}]}, "has no turn of the assistant"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(row: dict[str, Any], problem: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"prompt": "x", "completion": "y"}, row)
    rows, _, bad = read(path)
    assert len(rows) == 1
    with pytest.raises(InputError, match=f"a.jsonl, line 2: .*{problem}"):
        bad.check()
    assert len(read(path, skip=True)[0]) == 1


def test_a_file_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(InputError, match="is empty"):
        read(tmp_path / "a.jsonl")
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(InputError, match="unknown kind"):
        read(tmp_path / "a.docx")
