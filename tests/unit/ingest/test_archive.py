"""Archives as people make them, and as people make them to do harm."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.ingest import archive as archive_module
from denizen.ingest.archive import read_archive
from denizen.ingest.document import Failure, Limits, Member, UnreadableError

LIMITS = Limits()
FILES = {"a.txt": b"first", "folder/b.csv": b"x,y\n1,2\n", "empty.txt": b""}
NOISE = random.Random(1).randbytes(200_000)


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(scratch)


def _zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def _read(path: Path, limits: Limits = LIMITS) -> tuple[list[tuple[str, bytes]], list[Failure]]:
    members, failures = [], []
    for item in read_archive(path, limits):
        if isinstance(item, Member):
            assert item.path.resolve().parent == Path.cwd()
            members.append((item.name, item.path.read_bytes()))
        else:
            failures.append(item)
    assert list(Path.cwd().iterdir()) == []
    return members, failures


@pytest.mark.parametrize("mode", ["zip", "stored", "bzip2", "lzma", "w", "w:gz", "w:bz2", "w:xz"])
def test_every_member_comes_out_as_it_went_in(tmp_path: Path, mode: str) -> None:
    methods = {"zip": 8, "stored": 0, "bzip2": 12, "lzma": 14}
    path = tmp_path / "x"
    if mode in methods:
        _zip(path, FILES, methods[mode])
    else:
        _tar(path, FILES, mode)
    assert _read(path) == (list(FILES.items()), [])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_single_compressed_file(tmp_path: Path, pack: object) -> None:
    path = tmp_path / "rows.csv.z"
    path.write_bytes(pack(b"x,y\n"))  # type: ignore[operator]
    assert _read(path) == ([("rows.csv", b"x,y\n")], [])


def test_members_lie_unpacked_one_at_a_time_with_their_suffix(tmp_path: Path) -> None:
    seen = []
    for item in read_archive(_zip(tmp_path / "x", FILES), Limits()):
        assert isinstance(item, Member)
        assert [path.name for path in Path.cwd().iterdir()] == [item.path.name]
        seen.append(item.path.suffix)
    assert seen == [".txt", ".csv", ".txt"]


def test_a_generator_that_is_left_early_leaves_nothing(tmp_path: Path) -> None:
    found = read_archive(_zip(tmp_path / "x", FILES), Limits())
    next(found)
    assert len(list(Path.cwd().iterdir())) == 1
    found.close()  # type: ignore[attr-defined]
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("make", [_zip, _tar])
def test_names_stay_inside(tmp_path: Path, make: object) -> None:
    """Climbing is a failure; a root, a drive and the other slash only lose what makes them so."""
    names = ["../up.txt", "a/../../up.txt", "/etc/x.txt", "C:\\d\\y.txt", "./z.txt", "a//b.txt", "new\nline.txt"]
    members, failures = _read(make(tmp_path / "x", dict.fromkeys(names, b"x")))  # type: ignore[operator]
    assert [name for name, _ in members] == ["etc/x.txt", "d/y.txt", "z.txt", "a/b.txt", "new_line.txt"]
    climbs = "has a path that climbs out of the archive"
    assert failures == [Failure("up.txt", climbs), Failure("a/up.txt", climbs)]
    assert not (tmp_path / "up.txt").exists()


@settings(max_examples=150)
@given(st.text(st.characters(exclude_characters="\0"), max_size=40))
def test_no_name_leaves_the_archive(raw: str) -> None:
    from denizen.ingest.archive import _cleaned

    name, climbs = _cleaned(raw.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape"))
    parts = name.split("/")
    assert not {"", ".", ".."} & set(parts)
    assert "\\" not in name and not set(name) & set(map(chr, range(32)))
    assert climbs == (".." in raw.replace("\\", "/").replace(":", "/", raw[1:2] == ":").split("/"))


def test_hidden_files_and_what_systems_leave_are_passed_over(tmp_path: Path) -> None:
    names = [".DS_Store", "__MACOSX/._a.txt", "a/.git/config", "Thumbs.db", "a.txt"]
    assert _read(_zip(tmp_path / "x", dict.fromkeys(names, b"x"))) == ([("a.txt", b"x")], [])


def test_members_of_one_name_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with tarfile.open(path, "w") as archive:
        for content in (b"1", b"2", b"3"):
            entry = tarfile.TarInfo("a.txt")
            entry.size = 1
            archive.addfile(entry, io.BytesIO(content))
    assert _read(path) == ([("a.txt", b"1"), ("a (2).txt", b"2"), ("a (3).txt", b"3")], [])


def test_names_in_utf8_without_the_flag(tmp_path: Path) -> None:
    """zipfile writes the flag for names beyond ASCII; it is taken out of both headers."""
    path = _zip(tmp_path / "x", {"größe.txt": b"x"})
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at + 1] &= ~0x08
    path.write_bytes(data)
    assert _read(path)[0] == [("größe.txt", b"x")]


def test_links_and_devices_of_a_tar_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
        archive.addfile(tarfile.TarInfo("a.txt"))
    link, special = "is a link, not a file", "is a device or another special file"
    assert _read(path) == ([("a.txt", b"")], [Failure("soft", link), Failure("hard", link), Failure("pipe", special)])


def test_links_and_encrypted_members_of_a_zip_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("secret.txt", b"x")
        archive.writestr("a.txt", b"a")
    data = bytearray(path.read_bytes())
    local, listed = data.index(b"secret.txt") - 30, data.rindex(b"secret.txt") - 46
    data[local + 6] |= 1
    data[listed + 8] |= 1
    path.write_bytes(data)
    members, failures = _read(path)
    assert members == [("a.txt", b"a")]
    assert failures == [
        Failure("link", "is a link, not a file"),
        Failure("secret.txt", "is encrypted; save the archive without a password"),
    ]


def test_a_damaged_member_of_a_zip_costs_only_itself(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x", {"a.txt": b"aaaa", "b.txt": b"bbbb", "c.txt": b"cccc"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"bbbb", b"bbxb"))
    members, failures = _read(path)
    assert [name for name, _ in members] == ["a.txt", "c.txt"]
    assert [failure.name for failure in failures] == ["b.txt"] and "CRC" in failures[0].error


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_that_is_cut_off_gives_what_is_before(tmp_path: Path, mode: str) -> None:
    path = _tar(tmp_path / "x", {"a.txt": NOISE[:50_000], "b.txt": NOISE[50_000:]}, mode)
    # behind a whole first member in every packing, and within the second
    path.write_bytes(path.read_bytes()[:120_000])
    members, failures = _read(path)
    # a block of bzip2 is 900 kB, and half a block gives nothing
    assert members == ([("a.txt", NOISE[:50_000])] if mode != "w:bz2" else [])
    assert failures[-1].name == "" and failures[-1].error.startswith("is cut off or damaged")


def test_a_member_right_before_the_cut_is_whole(tmp_path: Path) -> None:
    """A tar is read 10,240 bytes at a time; both members and the cut are within the first of them."""
    path = _tar(tmp_path / "x", {"a.txt": NOISE[:3000], "b.txt": NOISE[3000:6000]}, "w:gz")
    path.write_bytes(path.read_bytes()[:4500])
    members, failures = _read(path)
    assert members == [("a.txt", NOISE[:3000])]
    assert [failure.name for failure in failures] == ["b.txt", ""]


def test_a_tar_that_is_cut_within_a_header(tmp_path: Path) -> None:
    path = _tar(tmp_path / "x", {"a.txt": b"a" * 512, "b.txt": b"b"})
    path.write_bytes(path.read_bytes()[: 1024 + 100])
    members, failures = _read(path)
    assert [name for name, _ in members] == ["a.txt"]
    assert failures == [Failure("", "is cut off or damaged (truncated header); what comes before was read")]


def test_a_compressed_file_that_is_cut_off_gives_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "x.txt.gz"
    path.write_bytes(gzip.compress(NOISE)[:100_000])
    members, failures = _read(path)
    assert len(members[0][1]) > 90_000 and NOISE.startswith(members[0][1])
    assert len(failures) == 1 and failures[0].error.startswith("is cut off or damaged (Compressed file ended")


@pytest.mark.parametrize("content", [b"PK\x03\x04 and no more", b"no archive", b""])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UnreadableError, match="is not a"):
        _read(tmp_path / "x")


@pytest.mark.parametrize("make", [_zip, _tar])
def test_an_archive_of_nothing_says_so(tmp_path: Path, make: object) -> None:
    path = make(tmp_path / "x", {".hidden": b""})  # type: ignore[operator]
    assert _read(path) == ([], [Failure("", "holds no files")])


@pytest.mark.parametrize("make", [_zip, _tar])
def test_the_limit_of_members(tmp_path: Path, make: object) -> None:
    files = {f"{number}.txt": b"x" for number in range(5)}
    path = make(tmp_path / "x", files)  # type: ignore[operator]
    members, failures = _read(path, Limits(members=5))
    assert (len(members), failures) == (5, [])
    members, failures = _read(path, Limits(members=3))
    assert [name for name, _ in members] == ["0.txt", "1.txt", "2.txt"]
    assert len(failures) == 1 and "more than the 3 files" in failures[0].error and failures[0].limit


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz"])
def test_the_limit_of_unpacked_bytes_holds_for_all_members(tmp_path: Path, mode: str) -> None:
    files = {f"{number}.bin": NOISE[:100_000] * 6 for number in range(4)}
    path = _zip(tmp_path / "x", files) if mode == "zip" else _tar(tmp_path / "x", files, mode)
    members, failures = _read(path, Limits(unpacked_mb=1))
    assert [name for name, _ in members] == ["0.bin"]
    assert len(failures) == 1 and "more than the 1 MB" in failures[0].error and failures[0].limit


@pytest.mark.parametrize("make", [_zip, _tar, lambda path, files: path.write_bytes(gzip.compress(b"x")) and path])
def test_a_full_disk_is_no_damage_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Path]
) -> None:
    def full(descriptor: int, mode: str) -> None:
        os.close(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    path = make(tmp_path / "x", {"a.txt": b"x"})
    monkeypatch.setattr(archive_module.os, "fdopen", full)
    with pytest.raises(OSError, match="No space left"):
        _read(path)


def test_a_failure_names_no_path_of_ours(tmp_path: Path) -> None:
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path))
    assert archive_module._reason(error) == "No such file or directory"


@pytest.mark.parametrize("mode", ["zip", "bzip2", "w:gz", "gz"])
def test_a_bomb_is_stopped_by_its_ratio(tmp_path: Path, mode: str) -> None:
    """Zeros shrink a thousandfold by deflate, and more by bzip2; the limit is 200, from 16 MB on."""
    path, zeros = tmp_path / "x.gz", bytes(17 << 20)
    if mode == "gz":
        path.write_bytes(gzip.compress(zeros, 1))
    elif mode == "w:gz":
        _tar(path, {"0": zeros}, mode)
    else:
        _zip(path, {"0": zeros}, {"zip": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2}[mode])
    members, failures = _read(path)
    assert members == []
    assert "decompression bomb" in failures[0].error and not failures[0].limit


def test_a_zip_whose_members_share_their_bytes_is_refused(tmp_path: Path) -> None:
    """The directory's second entry is made to point to the first one's data."""
    path = _zip(tmp_path / "x", {"a.txt": b"a" * 99, "b.txt": b"b" * 99}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.rindex(b"PK\x01\x02") + 42, 0)
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match="lie over one another"):
        _read(path)


def test_a_zip_that_understates_its_sizes(tmp_path: Path) -> None:
    """A megabyte that claims to be 10 bytes: zipfile gives no more than claimed, and the check sum tells."""
    path = _zip(tmp_path / "x", {"a.txt": bytes(1 << 20)})
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.rindex(b"PK\x01\x02") + 24, 10)
    path.write_bytes(data)
    members, failures = _read(path)
    assert members == [] and [failure.name for failure in failures] == ["a.txt"]


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=40), st.sampled_from(["zip", "w", "w:gz"]))
def test_damage_anywhere_raises_nothing_unexpected(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes, mode: str
) -> None:
    path = tmp_path_factory.mktemp("damage") / "x"
    if mode == "zip":
        _zip(path, FILES)
    else:
        _tar(path, FILES, mode)
    data = path.read_bytes()
    at %= len(data)
    path.write_bytes(data[:at] + junk + data[at + len(junk) :])
    with contextlib.suppress(UnreadableError):
        _read(path)
