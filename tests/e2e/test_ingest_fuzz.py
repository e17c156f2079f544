"""Files of every kind, broken in every way: none may crash or hang the ingestion, and each is accounted for."""

from __future__ import annotations

import io
import random
import time
import zipfile
from pathlib import Path

import pytest

from denizen.data.tables import read_table
from denizen.ingest.ingest import ingest
from denizen.ingest.settings import IngestConfig
from tests.document_files import WRITERS

from .test_ingest import content

_SECONDS = 10.0


def broken(data: bytes, draw: random.Random) -> bytes:
    """Bytes with one to four faults: flipped, cut off, repeated, zeroed, moved or strange bytes."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        if not changed:
            break
        at, length = draw.randrange(len(changed)), draw.randint(1, max(1, min(4000, len(changed) // 2)))
        piece = changed[at : at + length]
        how = draw.randrange(7)
        if how == 0:
            for place in draw.choices(range(len(changed)), k=draw.randint(1, 30)):
                changed[place] = draw.randrange(256)
        elif how == 1:
            del changed[at:]
        elif how == 2:
            changed[at:at] = piece * draw.randint(1, 50)
        elif how == 3:
            changed[at : at + length] = bytes(len(piece))
        elif how == 4:
            del changed[at : at + length]
            changed[draw.randrange(len(changed) + 1) : 0] = piece
        elif how == 5:
            changed[at:at] = draw.choice(
                [b"\xff\xfe", b"\x00", b"<!DOCTYPE a [", b"<" * 500, b"]]>", b"&#0;", b"\xed\xa0\x80"]
            )
        else:
            # numbers that a reader believes: lengths, counts, offsets
            changed[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"9999"])
    return bytes(changed)


def broken_inside(data: bytes, draw: random.Random) -> bytes:
    """A zip file whose container is sound and one of whose members is broken."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as file, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        names = [name for name in file.namelist() if file.read(name)]
        chosen = draw.choice(names)
        for name in file.namelist():
            target.writestr(name, broken(file.read(name), draw) if name == chosen else file.read(name))
    return made.getvalue()


def fuzzed(folder: Path, count: int, seed: int) -> None:
    """Files of all kinds in turn, each with its own faults; every second office file is broken inside its zip."""
    draw = random.Random(seed)
    whole: dict[str, bytes] = {}
    for suffix, write in WRITERS.items():
        path = folder.parent / f"whole.{suffix}"
        write(content(5, sections=4), path)
        whole[suffix] = path.read_bytes()
    folder.mkdir()
    for at in range(count):
        suffix = list(WRITERS)[at % len(WRITERS)]
        data = whole[suffix]
        inside = zipfile.is_zipfile(io.BytesIO(data)) and draw.random() < 0.5
        (folder / f"{at:04}.{suffix}").write_bytes((broken_inside if inside else broken)(data, draw))


def check(tmp_path: Path, count: int, seed: int) -> None:
    fuzzed(tmp_path / "docs", count, seed)
    began = time.monotonic()
    report = ingest(IngestConfig([str(tmp_path / "docs")], timeout=_SECONDS), tmp_path / "corpus")
    rows = read_table(tmp_path / "corpus/files.parquet", "files").to_pylist()
    assert report["files"] == len(rows) == count
    assert [row["name"] for row in rows if row["documents"] + row["failures"] == 0] == []
    # far from each file's limit, so that none of them hung
    assert time.monotonic() - began < 60 + count * _SECONDS / 20
    assert not list(tmp_path.rglob("*.partial"))
    crashed = [
        row
        for row in read_table(tmp_path / "corpus/failures.parquet", "failures").to_pylist()
        if "crashed" in row["error"] or "longer than" in row["error"]
    ]
    # a crash costs its own row; more than a few would be a reader that cannot stand on its feet
    assert len(crashed) <= count // 50, crashed


def test_broken_files_cost_their_own_rows(tmp_path: Path) -> None:
    check(tmp_path, 5 * len(WRITERS), seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_thousand_broken_files_cost_their_own_rows(tmp_path: Path) -> None:
    check(tmp_path, 2000, seed=2)
