"""A file with all that is inside it: names, what is handed down, limits over the whole tree, errors as failures."""

from __future__ import annotations

import gzip
import io
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from denizen.documents import kinds
from denizen.documents.document import Block, Document, Failure, Limits, Member, UnreadableError
from denizen.documents.reading import read_file


def read_plain(path: Path, limits: Limits) -> Iterator[Document]:
    text = path.read_text(encoding="utf-8")
    yield Document([Block("text", text)] if text else [])


def read_lines(path: Path, limits: Limits) -> Iterator[Document | Failure]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line == "bad":
            yield Failure(f"line {number}", "is\nbad", "b" * 2000)
        else:
            yield Document([Block("text", line)], name=str(number), metadata={"author": "", "row": line}, domain="row")


def read_outer(path: Path, limits: Limits) -> Iterator[Document | Member]:
    yield Document([Block("text", "own")], metadata={"author": "outer"})
    for line in path.read_text(encoding="utf-8").splitlines():
        inside = Path("inside.tmp")
        inside.write_bytes(_zip({"deep.plain": b"deep"}) if line.endswith(".zip") else line.encode())
        yield Member(line, inside, {"author": "member", "date": "2024"}, "form")
        inside.unlink()


def read_broken(path: Path, limits: Limits) -> Iterator[Document]:
    yield Document([Block("text", "before")])
    error = path.read_text(encoding="utf-8").strip()
    if error == "memory":
        raise MemoryError
    if error == "recursion":
        raise RecursionError("maximum recursion depth exceeded")
    if error == "owner":
        raise UnreadableError("is encrypted;\nsave it without a password")
    raise KeyError("word\n" + "x" * 500)


def read_limits(path: Path, limits: Limits) -> Iterator[Document]:
    yield Document([Block("text", f"{limits.members} {limits.unpacked_mb}")])


@pytest.fixture(autouse=True)
def _readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(scratch)
    module = types.ModuleType("made_up_readers")
    for name, function in list(globals().items()):
        if name.startswith("read_") and name != "read_file":
            setattr(module, name, function)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for kind in ("plain", "lines", "outer", "broken", "limits"):
        monkeypatch.setitem(kinds.READERS, kind, f"made_up_readers:read_{kind}")
        monkeypatch.setitem(kinds.SUFFIXES, f".{kind}", kind)
    monkeypatch.setitem(kinds.READERS, "text", "made_up_readers:read_plain")


def _file(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _zip(files: Mapping[str, bytes]) -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return found.getvalue()


def _nested(depth: int) -> bytes:
    """A text within so many zips, each of which also holds a text of its own."""
    content = _zip({"text1.txt": b"level 1"})
    for level in range(2, depth + 1):
        content = _zip({f"text{level}.txt": b"level %d" % level, "in.zip": content})
    return content


def _texts(path: Path, limits: Limits = Limits(), name: str = "") -> list[tuple[str, str]]:  # noqa: B008
    """Each item's inner name with its text, or with "!" and its error."""
    found = []
    for inner, item in read_file(path, name or path.name, limits):
        if isinstance(item, Failure):
            found.append((inner, f"!{item.error}"))
        else:
            found.append((inner, "".join(block.text for block in item.blocks)))
    assert list(Path.cwd().iterdir()) == []
    return found


def test_a_file_of_one_document_has_no_inner_name(tmp_path: Path) -> None:
    assert _texts(_file(tmp_path, "a.txt", "words")) == [("", "words")]


def test_an_empty_file_is_a_document_without_blocks(tmp_path: Path) -> None:
    [(inner, item)] = read_file(_file(tmp_path, "a.txt", ""), "a.txt", Limits())
    assert inner == "" and isinstance(item, Document) and item.blocks == []


def test_inner_names_are_paths(tmp_path: Path) -> None:
    inside = _zip({"rows.lines": b"one\nbad"})
    path = _file(tmp_path, "a.zip", _zip({"d/a.txt": b"A", "b.zip": inside, "pic.png": b"\x89PNG\r\n\x1a\n"}))
    assert _texts(path) == [
        ("d/a.txt", "A"),
        ("b.zip/rows.lines/1", "one"),
        ("b.zip/rows.lines/line 2", "!is bad"),
        ("pic.png", "!is an image, and images are not read"),
    ]


def test_the_name_decides_and_not_the_path(tmp_path: Path) -> None:
    path = _file(tmp_path, "0f3a", "one\ntwo")
    assert _texts(path, name="rows.lines") == [("1", "one"), ("2", "two")]


def test_a_compressed_file_is_one_file(tmp_path: Path) -> None:
    """The inner name does not repeat it, but it counts as a file inside a file."""
    path = _file(tmp_path, "rows.lines.gz", gzip.compress(b"one\ntwo"))
    assert _texts(path) == [("1", "one"), ("2", "two")]
    path = _file(tmp_path, "a.zip", _zip({"rows.lines.gz": gzip.compress(b"one")}))
    assert _texts(path) == [("rows.lines.gz/1", "one")]
    assert _texts(path, Limits(depth=1)) == [("rows.lines.gz", "!lies more than 1 files deep, the limit")]


def test_documents_take_what_they_lack_from_the_files_around_them(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.outer", "x.lines\ny.plain\nz.zip")
    found = {inner: (item.metadata, item.domain) for inner, item in read_file(path, path.name, Limits())}  # type: ignore[union-attr]
    member = {"author": "member", "date": "2024"}
    assert found == {
        "": ({"author": "outer"}, ""),
        "x.lines/1": ({**member, "row": "x.lines"}, "row"),
        "y.plain": (member, "form"),
        "z.zip/deep.plain": (member, "form"),
    }


def test_zips_in_zips_end_at_the_depth(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.zip", _nested(10))
    found = _texts(path)
    within = ["/".join(["in.zip"] * level) for level in range(10)]
    assert found == [
        *((f"{within[at]}/text{10 - at}.txt".lstrip("/"), f"level {10 - at}") for at in range(4)),
        (f"{within[4]}/text6.txt", "!lies more than 4 files deep, the limit"),
        (f"{within[5]}", "!lies more than 4 files deep, the limit"),
    ]
    assert len(_texts(path, Limits(depth=10))) == 10


def test_members_count_over_the_whole_tree(tmp_path: Path) -> None:
    inside = _zip({"1.txt": b"1", "2.txt": b"2"})
    path = _file(tmp_path, "a.zip", _zip({"a.zip": inside, "b.zip": inside, "c.zip": inside}))
    assert _texts(path, Limits(members=9))[-1] == ("c.zip/2.txt", "2")
    found = _texts(path, Limits(members=5))
    assert [inner for inner, _ in found] == ["a.zip/1.txt", "a.zip/2.txt", "b.zip/1.txt", "b.zip", ""]
    assert found[-1][1] == "!holds more than 5 files, the limit; the rest is not read"


def test_unpacked_bytes_count_over_the_whole_tree(tmp_path: Path) -> None:
    inside = _zip({"1.txt": b"x" * 700_000})
    path = _file(tmp_path, "a.zip", _zip({"a.zip": inside, "b.zip": inside, "c.txt": b"c"}))
    found = _texts(path, Limits(unpacked_mb=1))
    assert [(inner, text[:5]) for inner, text in found] == [("a.zip/1.txt", "xxxxx"), ("", "!unpa")]
    assert len(_texts(path, Limits(unpacked_mb=2))) == 3


def test_readers_are_told_what_is_left(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.zip", _zip({"a.txt": b"x" * 1_500_000, "b.limits": b"x", "c.limits": b"x"}))
    assert _texts(path, Limits(members=9, unpacked_mb=7))[1:] == [("b.limits", "7 6"), ("c.limits", "6 6")]


def test_text_is_cut_off_at_the_limit(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.lines", "four\nfive5\nnever")
    assert _texts(path, Limits(characters=14)) == [("1", "four"), ("2", "five5"), ("3", "never")]
    problem = "!holds more than 7 characters, the limit; the rest is not read"
    assert _texts(path, Limits(characters=7)) == [("1", "four"), ("2", "fiv"), ("2", problem)]
    problem = "!holds more than 4 characters, the limit; the rest is not read"
    assert _texts(path, Limits(characters=4)) == [("1", "four"), ("2", problem)]


def test_failures_do_not_go_on_for_ever(tmp_path: Path) -> None:
    """Each takes 500 characters of its text, 6 of its name and 6 of its error."""
    path = _file(tmp_path, "a.lines", "bad\n" * 9)
    found = list(read_file(path, path.name, Limits(characters=2000)))
    assert [inner for inner, _ in found] == ["line 1", "line 2", "line 3", "line 4", ""]
    assert isinstance(found[0][1], Failure) and found[0][1].raw == "b" * 500


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        ("memory", "needs more than 99 MB of memory"),
        ("recursion", "is nested too deeply"),
        ("owner", "is encrypted; save it without a password"),
        ("other", ("KeyError: 'word\\n" + "x" * 500)[:300]),
    ],
)
def test_whatever_a_reader_raises_costs_only_its_file(tmp_path: Path, error: str, problem: str) -> None:
    path = _file(tmp_path, "a.zip", _zip({"a.broken": error.encode(), "b.txt": b"after"}))
    found = _texts(path, Limits(memory_mb=99))
    assert found == [("a.broken", "before"), ("a.broken", f"!{problem}"), ("b.txt", "after")]


def test_a_file_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    [(inner, error)] = _texts(tmp_path / "no.txt")
    assert inner == "" and error.startswith("!FileNotFoundError: ")


def test_pages_go_to_docling_where_that_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.READERS, "layout", "made_up_readers:read_plain")
    monkeypatch.setitem(kinds.READERS, "html", "made_up_readers:read_limits")
    path = _file(tmp_path, "a.html", "<html>")
    for docling, text in ((True, "<html>"), (False, "10000 1024")):
        [(_, item)] = read_file(path, "a.html", Limits(), docling)
        assert isinstance(item, Document) and item.blocks[0].text == text
