"""What was read of a file is kept whole, or as far as a stopped reader came."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from denizen.ingest import parts as parts_module
from denizen.ingest.document import Block, Document, Failure, Limits
from denizen.ingest.parts import Parts, part_key

LIMITS = Limits(seconds=10, memory_mb=200)


def row(text: str, inner: str = "") -> str:
    return json.dumps({"inner": inner, "document": Document([Block("text", text)]).as_dict()}) + "\n"


def kept(parts: Parts, key: str) -> list[str]:
    return [found.blocks[0].text if isinstance(found, Document) else found.error for _, found in parts.rows(key)]


def test_a_part_is_there_once_it_is_whole(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts", LIMITS)
    parts.being_read("k").write_text(row("one", "a") + row("two", "b"))
    assert parts.waits("k")
    assert kept(parts, "k") == []
    parts.keep("k", None)
    assert not parts.waits("k")
    assert [inner for inner, _ in parts.rows("k")] == ["a", "b"]
    assert kept(parts, "k") == ["one", "two"]


def test_a_stopped_reading_is_kept_as_far_as_it_came_and_done_again(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts", LIMITS)
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
    parts = Parts(tmp_path / "parts", LIMITS)
    parts.keep("k", "its reader crashed (signal 11)")
    assert kept(parts, "k") == ["its reader crashed (signal 11)"]


def test_rows_of_another_shape_are_failures_and_nothing_worse(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts", LIMITS)
    rows = [{"inner": "x", "document": {"blocks": [[1]]}}, {"inner": "y", "failure": {"name": 3}}, {"inner": "z"}, []]
    parts.being_read("k").write_text("".join(json.dumps(one) + "\n" for one in rows) + "no JSON\n" + row("good"))
    parts.keep("k", None)
    found = list(parts.rows("k"))
    assert [inner for inner, item in found if isinstance(item, Failure)] == ["x", "y", "z", "", ""]
    assert kept(parts, "k")[-1] == "good"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": None},
        {"title": 1},
        {"domain": ["x"]},
        {"language": 5},
        {"title": "\ud800"},
        {"metadata": {"pages": 3}},
        {"metadata": [["pages", "3"]]},
        {"repaired": True},
        {"repaired": -1},
        {"repaired": 2**31},
        {"repaired": 0.5},
        {"other": "x"},
        {"blocks": [["text", 5, 0, 0]]},
        {"blocks": [["text", "", 0, 0]]},
        {"blocks": [["verse", "x", 0, 0]]},
        {"blocks": [[["text"], "x", 0, 0]]},
        {"blocks": [["heading", "x", 7, 0]]},
        {"blocks": [["heading", "x", "1", 0]]},
        {"blocks": [["text", "x", 0, 2**31]]},
        {"blocks": [["text", "x", 0, None]]},
        {"blocks": ["text"]},
        {"blocks": 3},
    ],
)
def test_each_field_of_a_document_is_checked(tmp_path: Path, wrong: dict[str, object]) -> None:
    parts = Parts(tmp_path / "parts", LIMITS)
    right = Document([Block("heading", "x", 6, 2**31 - 1)], "n", "t", "d", {"a": "b"}, "en", 2**31 - 1).as_dict()
    rows = [{"inner": "i", "document": right}, {"inner": "i", "document": {**right, **wrong}}]
    parts.being_read("k").write_text("".join(json.dumps(one) + "\n" for one in rows))
    parts.keep("k", None)
    assert list(parts.rows("k")) == [
        ("i", Document.from_dict(right)),
        ("i", Failure("", "its reader wrote what cannot be read")),
    ]


def test_a_row_that_is_too_long_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(tmp_path / "parts", LIMITS)
    parts.being_read("k").write_text(row("one") + row("x" * 1000) + row("never"))
    parts.keep("k", None)
    monkeypatch.setattr(parts_module, "_LONGEST_ROW", 1000)
    assert kept(parts, "k") == ["one", "its reader wrote what cannot be read"]


def test_what_a_limit_has_cut_off_is_read_again_under_a_larger_one(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    parts = Parts(folder, LIMITS)
    failure = {"inner": "", "failure": {"name": "", "error": "too large", "raw": "", "limit": True}}
    parts.being_read("k").write_text(row("one") + json.dumps(failure) + "\n")
    parts.keep("k", None, limited=True)
    assert list(parts.rows("k"))[1] == ("", Failure("", "too large", limit=True))
    assert not parts.waits("k")
    assert not Parts(folder, Limits(seconds=9, memory_mb=100)).waits("k")
    larger = Parts(folder, Limits(seconds=9, memory_mb=201))
    assert larger.waits("k")
    # stopped before it came as far: what is there stays, and waits
    larger.being_read("k").write_text("")
    larger.keep("k", "took longer than 9 s")
    assert kept(larger, "k") == ["one", "too large"] and larger.waits("k")
    larger.being_read("k").write_text(row("one") + row("two"))
    larger.keep("k", None)
    assert kept(larger, "k") == ["one", "two"]
    assert not Parts(folder, Limits(seconds=1000)).waits("k")


@pytest.mark.parametrize("left", [b"", row("one").encode(), row("one").encode() + b'{"read": tr', b'{"read": false}\n'])
def test_a_part_without_its_last_line_is_read_again(tmp_path: Path, left: bytes) -> None:
    parts = Parts(tmp_path / "parts", LIMITS)
    parts.being_read("k").write_text(row("one"))
    parts.keep("k", None)
    # as after a power failure
    (parts.folder / "k.jsonl").write_bytes(left)
    assert parts.waits("k") and kept(parts, "k") == []
    parts.being_read("k").write_text(row("one"))
    parts.keep("k", "took longer than 1 s")
    assert kept(parts, "k") == ["one", "took longer than 1 s"] and parts.waits("k")


def test_a_part_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(tmp_path / "parts", LIMITS)
    synced = []

    def fsync(descriptor: int) -> None:
        assert not (parts.folder / "k.jsonl").exists()
        synced.append(Path(f"/proc/self/fd/{descriptor}").read_text())

    monkeypatch.setattr(parts_module.os, "fsync", fsync)
    parts.being_read("k").write_text(row("one"))
    parts.keep("k", None)
    assert synced == [row("one") + '{"read": true}\n']


def test_parts_of_files_that_are_gone_are_removed(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts", LIMITS)
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
