"""A folder held by one process, what a full disk says, and what cannot be written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from denizen.engine.errors import InputError
from denizen.engine.run_folder import held, probe, writing


def test_a_folder_is_held_by_one_at_a_time_and_free_again(tmp_path: Path) -> None:
    out = tmp_path / "a/run"
    code = f"from pathlib import Path\nfrom denizen.engine.run_folder import held\nwith held(Path({str(out)!r})): pass"
    with held(out):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"another process is working in {out}; wait for it, or use another --out" in done.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_denizen_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty and was not made by denizen"), held(tmp_path):
        pass
    with pytest.raises(InputError, match="is a file; give a folder"), held(tmp_path / "note.txt"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def stop(out: Path, made: str, begun: str) -> None:
    """Makes a file, then fails."""
    with held(out, begun=(begun,)):
        (out / made).touch()
        raise InputError("no such model")


@pytest.mark.parametrize("there", [True, False])
def test_what_stops_before_it_has_begun_leaves_nothing_behind(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "run"
    if there:
        out.mkdir()
    with pytest.raises(InputError, match="no such model"):
        stop(out, "config.json", begun="corpus")
    assert out.exists() == there
    assert not there or not any(out.iterdir())


def test_what_has_begun_stays(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match="no such model"):
        stop(out, "corpus", begun="corpus")
    assert (out / "corpus").is_file()
    # nor is a folder cleared that an earlier run began
    with pytest.raises(InputError, match="no such model"):
        stop(out, "config.json", begun="documents")
    assert (out / "corpus").is_file()


@pytest.mark.parametrize("free", [0, 1 << 30])
def test_a_failure_on_a_full_disk_says_so(free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 1 << 40, free))
    expected = pytest.raises(RuntimeError, match=r"^half a file$")
    if not free:
        expected = pytest.raises(InputError, match=r"no space is left where .* \(RuntimeError: half a file\)")
    with expected, writing(tmp_path):
        raise RuntimeError("half a file")


def test_a_probe_leaves_the_folder_alone(tmp_path: Path) -> None:
    probe(tmp_path / "a/b")
    assert not any((tmp_path / "a/b").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        probe(tmp_path / "file/below")
