"""A file with all that is inside it: names, what is handed down, limits over the whole tree, errors as failures."""

from __future__ import annotations

import errno
import gzip
import io
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from denizen.ingest import kinds
from denizen.ingest.document import Block, Document, Failure, Limits, Member, UnreadableError
from denizen.ingest.reading import read_file


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


def read_around(path: Path, limits: Limits) -> Iterator[Document | Member]:
    yield Document([Block("text", "abc")])
    inside = Path("inside.tmp")
    inside.write_bytes(b"12345")
    yield Member("in.plain", inside)
    inside.unlink()
    yield Document([Block("text", "def")])


def read_broken(path: Path, limits: Limits) -> Iterator[Document]:
    yield Document([Block("text", "before")])
    error = path.read_text(encoding="utf-8").strip()
    if error == "memory":
        raise MemoryError
    if error.isdigit():
        raise OSError(int(error), "Something of the system", str(path))
    if error == "recursion":
        raise RecursionError("maximum recursion depth exceeded")
    if error == "owner":
        raise UnreadableError("is encrypted;\nsave it without a password")
    if error == "limit":
        raise UnreadableError("is too large", limit=True)
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
    for kind in ("plain", "lines", "outer", "around", "broken", "limits"):
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


def test_each_file_inside_has_its_own_characters_within_the_total(tmp_path: Path) -> None:
    """Files of 6 characters, of which 5 may be read of each, and 100 (20 times 5) of all."""
    path = _file(tmp_path, "a.zip", _zip({f"{at:02}.lines": b"fo\nfour\nnever" for at in range(25)}))
    found = _texts(path, Limits(characters=5))
    problem = "!holds more than 5 characters, the limit; the rest is not read"
    assert found[:6] == [
        ("00.lines/1", "fo"),
        ("00.lines/2", "fou"),
        ("00.lines/2", problem),
        ("01.lines/1", "fo"),
        ("01.lines/2", "fou"),
        ("01.lines/2", problem),
    ]
    # what is not read of a file counts, too: 16 files of 6 and 4 characters of another
    total = "!holds more than 100 characters with all files inside, the limit; the rest is not read"
    assert found[-3:] == [("16.lines/1", "fo"), ("16.lines/2", "fo"), ("", total)]
    limits = [item.limit for _, item in read_file(path, "a.zip", Limits(characters=5)) if isinstance(item, Failure)]
    assert len(limits) == 17 and all(limits)


def test_an_outer_file_goes_on_with_its_own_characters(tmp_path: Path) -> None:
    """Its own text has 3 before its member and 3 behind it, and the member's 5 do not count among them."""
    path = _file(tmp_path, "a.around", "x")
    assert [text for _, text in _texts(path, Limits(characters=6))] == ["abc", "12345", "def"]
    problem = "!holds more than 5 characters, the limit; the rest is not read"
    assert [text for _, text in _texts(path, Limits(characters=5))] == ["abc", "12345", "de", problem]


@pytest.mark.parametrize(("kind", "begun"), [("lines", 0), ("submission", 3)])
def test_a_mail_or_filing_of_many_is_a_file_for_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, begun: int
) -> None:
    monkeypatch.setitem(kinds.READERS, "submission", "made_up_readers:read_lines")
    monkeypatch.setitem(kinds.SUFFIXES, ".submission", "submission")
    path = _file(tmp_path, f"a.{kind}", "three\nthree\nthree")
    calls: list[int] = []
    found = list(read_file(path, path.name, Limits(characters=10), on_member=lambda: calls.append(1)))
    assert len(calls) == begun
    assert any(isinstance(item, Failure) for _, item in found) is (kind == "lines")


def test_it_is_told_when_a_file_inside_begins_and_ends(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.zip", _zip({"a.txt": b"A", "b.zip": _zip({"c.txt": b"C"})}))
    told: list[str] = []
    for inner, _ in read_file(path, path.name, Limits(), on_member=lambda: told.append("|")):
        told.append(inner)
    assert told == ["|", "a.txt", "|", "|", "|", "b.zip/c.txt", "|", "|"]


def test_failures_do_not_go_on_for_ever(tmp_path: Path) -> None:
    """Each takes 500 characters of its text, 6 of its name and 6 of its error."""
    path = _file(tmp_path, "a.lines", "bad\n" * 9)
    found = list(read_file(path, path.name, Limits(characters=2000)))
    assert [inner for inner, _ in found] == ["line 1", "line 2", "line 3", "line 4", ""]
    assert isinstance(found[0][1], Failure) and found[0][1].raw == "b" * 500


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        ("memory", "needed more than 99 MB (--memory-mb)"),
        (str(errno.ENOMEM), "needed more than 99 MB (--memory-mb)"),
        (str(errno.EFBIG), "OSError: Something of the system"),
        ("limit", "is too large"),
        (str(errno.EACCES), "PermissionError: Something of the system"),
        ("recursion", "is nested too deeply"),
        ("owner", "is encrypted; save it without a password"),
        ("other", ("KeyError: 'word\\n" + "x" * 500)[:300]),
    ],
)
def test_whatever_a_reader_raises_costs_only_its_file(tmp_path: Path, error: str, problem: str) -> None:
    path = _file(tmp_path, "a.zip", _zip({"a.broken": error.encode(), "b.txt": b"after"}))
    found = _texts(path, Limits(memory_mb=99))
    assert found == [("a.broken", "before"), ("a.broken", f"!{problem}"), ("b.txt", "after")]
    limited = [item.limit for _, item in read_file(path, path.name, Limits()) if isinstance(item, Failure)]
    assert limited == [error in ("memory", "limit", str(errno.ENOMEM), str(errno.EFBIG))]


def test_a_full_disk_is_no_fault_of_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.zip", _zip({"a.broken": str(errno.ENOSPC).encode(), "b.txt": b"after"}))
    with pytest.raises(OSError, match="Something of the system"):
        list(read_file(path, path.name, Limits()))


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


def test_characters_that_cannot_be_decoded_are_counted_in_a_row(tmp_path):
    path = tmp_path / "a.md"
    # 0x81 is no character of Windows-1252
    path.write_bytes(b"One lone \x81 byte among caf\xe9s, and \x81 another.")
    found = list(read_file(path, "a.md", Limits()))
    assert [(inner, each.error) for inner, each in found if isinstance(each, Failure)] == [
        ("", "holds 2 characters that cannot be decoded; they are kept as \ufffd")
    ]
    assert [each.blocks[0].text for _, each in found if isinstance(each, Document)] == [
        "One lone \ufffd byte among cafés, and \ufffd another."
    ]
