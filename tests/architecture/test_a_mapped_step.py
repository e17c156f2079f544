"""A step over shards, on two processes, in any order, killed: the same bytes as one process that nobody kills."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from denizen.engine.artifact import Artifact, Value
from denizen.engine.pipeline import Pipeline, records
from denizen.engine.settings import Params
from denizen.engine.step import Context, step

SHARDS = {f"shard-{at}": {"rows": Value([f"{at} {row}" for row in range(50)])} for at in range(6)}


@step(version=1, makes=Artifact)
def upper(out: Path, params: Params, ctx: Context, *, rows: Value) -> dict[str, int]:
    """Says who works on it, and waits with the last shards as long as a file is there."""
    marks = Path(os.environ["MARKS"])
    with (marks / "begun").open("a") as file:
        file.write(f"{os.getpid()} {rows.content[0]}\n")
    while rows.content[0] >= "4" and (marks / "wait").exists():
        time.sleep(0.01)
    (out / "rows.txt").write_text("".join(f"{row.upper()}\n" for row in rows.content))
    return {"rows": len(rows.content)}


def drive(folder: str, workers: int, order: int) -> None:
    """A run, as its own program."""
    keys = random.Random(order).sample(list(SHARDS), len(SHARDS))
    Pipeline(Path(folder)).map(upper, Params(), {key: SHARDS[key] for key in keys}, workers=workers)


def started(folder: Path, workers: int, order: int) -> subprocess.Popen[bytes]:
    code = f"from {__name__} import drive; drive({str(folder)!r}, {workers}, {order})"
    environment = {**os.environ, "MARKS": str(folder.parent)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=Path(__file__).parents[2])


def begun(folder: Path) -> list[str]:
    return (folder / "begun").read_text().splitlines() if (folder / "begun").exists() else []


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_neither_a_killed_driver_nor_a_killed_worker_changes_a_byte(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole/run", tmp_path / "killed/run"
    for folder in (whole, killed):
        folder.parent.mkdir()
    assert started(whole, 1, 0).wait() == 0
    (killed.parent / "wait").touch()
    for victim in ("driver", "worker"):
        done = len(begun(killed.parent))
        driver = started(killed, 2, 1)
        # both workers have come to shards that wait
        wait_until(lambda done=done: {line.split()[1] for line in begun(killed.parent)[done:]} >= {"4", "5"})
        workers = {int(line.split()[0]) for line in begun(killed.parent)[done:]}
        os.kill(driver.pid if victim == "driver" else max(workers), signal.SIGKILL)
        assert driver.wait() == (-signal.SIGKILL if victim == "driver" else 1)
        wait_until(lambda workers=workers: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    (killed.parent / "wait").unlink()
    assert started(killed, 2, 2).wait() == 0
    found, expected = ({at: record["digest"] for at, record in records(of).items()} for of in (killed, whole))
    assert found == expected and len(found) == 6
    # what was finished before the kills was done once, and what was killed once more each time
    assert Counter(line.split()[1] for line in begun(killed.parent)) == {**dict.fromkeys("0123", 1), "4": 3, "5": 3}
    assert not list(killed.rglob(".*"))
