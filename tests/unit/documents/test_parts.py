"""What was read of a file is kept whole, or as far as a stopped reader came."""

from __future__ import annotations

import json
from pathlib import Path

from denizen.documents.document import Block, Document, Failure
from denizen.documents.parts import Parts, part_key


def row(text: str, inner: str = "") -> str:
    return json.dumps({"inner": inner, "document": Document([Block("text", text)]).as_dict()}) + "\n"


def kept(parts: Parts, key: str) -> list[str]:
    return [found.blocks[0].text if isinstance(found, Document) else found.error for _, found in parts.rows(key)]


def test_a_part_is_there_once_it_is_whole(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts")
    parts.being_read("k").write_text(row("one", "a") + row("two", "b"))
    assert parts.waits("k")
    assert kept(parts, "k") == []
    parts.keep("k", None)
    assert not parts.waits("k")
    assert [inner for inner, _ in parts.rows("k")] == ["a", "b"]
    assert kept(parts, "k") == ["one", "two"]


def test_a_stopped_reading_is_kept_as_far_as_it_came_and_done_again(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts")
    parts.being_read("k").write_text(row("one") + row("two") + row("three")[:20])
    parts.keep("k", "took longer than 1 s")
    assert kept(parts, "k") == ["one", "two", "took longer than 1 s"]
    assert parts.waits("k")
    # a second try that comes less far does not take away what is there
    parts.being_read("k").write_text(row("one"))
    parts.keep("k", "took longer than 1 s")
    assert kept(parts, "k") == ["one", "two", "took longer than 1 s"]
    parts.being_read("k").write_text(row("one") + row("two") + row("three"))
    parts.keep("k", None)
    assert kept(parts, "k") == ["one", "two", "three"]
    assert not parts.waits("k")
    assert len(list(parts.folder.iterdir())) == 1


def test_a_reader_that_dies_before_its_first_row_leaves_the_reason(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts")
    parts.keep("k", "its reader crashed (signal 11)")
    assert kept(parts, "k") == ["its reader crashed (signal 11)"]


def test_rows_of_another_shape_are_failures_and_nothing_worse(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts")
    rows = [{"inner": "x", "document": {"blocks": [[1]]}}, {"inner": "y", "failure": {"name": 3}}, {"inner": "z"}, []]
    wrong = {**Document([]).as_dict(), "blocks": [["text", 5, 0, 0]]}
    rows.append({"inner": "v", "document": wrong})
    parts.being_read("k").write_text("".join(json.dumps(one) + "\n" for one in rows) + row("good"))
    parts.keep("k", None)
    found = list(parts.rows("k"))
    assert [inner for inner, item in found if isinstance(item, Failure)] == ["x", "y", "z", "v"]
    assert kept(parts, "k")[-1] == "good"


def test_parts_of_files_that_are_gone_are_removed(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts")
    for key in ("a", "b"):
        parts.being_read(key).write_text(row("x"))
        parts.keep(key, None)
    parts.forget({"a"})
    assert [path.name for path in parts.folder.iterdir()] == ["a.jsonl"]


def test_the_key_follows_content_suffix_and_settings_and_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    key = part_key(tmp_path / "a", "one.txt", {"docling": False})
    assert key == part_key(tmp_path / "a", "other/TWO.TXT", {"docling": False})
    assert key != part_key(tmp_path / "a", "one.html", {"docling": False})
    assert key != part_key(tmp_path / "a", "one.txt", {"docling": True})
    (tmp_path / "a").write_text("y")
    assert key != part_key(tmp_path / "a", "one.txt", {"docling": False})
