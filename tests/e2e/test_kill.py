"""kill -9 in every stage, then the same command again: the result is that of an uninterrupted run, byte for byte."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import SETTINGS


def _points() -> list[str]:
    """Points in the order of the run; where in a stage is drawn with a fixed seed."""
    draw = random.Random(20)
    points = ["corpus@write:1", f"corpus@write:{draw.randint(2, 4)}", "corpus@rename:1"]
    for number in range(2):
        # before the first vectors, between vectors and keys, with half of the texts stored
        points += [f"round-{number}/embeddings@store:{at}" for at in (1, 2, draw.randint(1, 2))]
        points += [f"round-{number}/embeddings@rename:1"]
        points += [f"round-{number}/run@write:{draw.randint(1, 2)}", f"round-{number}/run@rename:1"]
        points += [f"round-{number}/candidates@write:1", f"round-{number}/examples@rename:1"]
        student = f"round-{number}/student"
        # before the first checkpoint, inside one, after two or three, and once more after it went on from there
        points += [f"{student}@step:2", f"{student}@open:{draw.randint(3, 7)}"]
        points += [
            f"{student}@step:{draw.randint(8, 10)}",
            f"{student}@step:{draw.randint(4, 5)}",
            f"{student}@rename:1",
        ]
    return [*points, "round-2/run@write:2", "test@write:3", "test@rename:1", "model@open:1", "model@rename:1"]


@pytest.mark.slow
def test_a_training_that_stays_near_its_base_goes_on_where_it_was_killed(
    pairs: Path, tiny_encoder: Path, forgettable: Path, tmp_path: Path
) -> None:
    """Each step draws the texts that it keeps: a resumed training must draw those of the uninterrupted one."""
    settings = {**SETTINGS, "rounds": 1, "general": [str(forgettable)], "merge_evaluations": 0}
    trained = []
    for name, points in (("whole", []), ("killed", ["round-0/student@step:7", "round-0/student@step:4"])):
        command = [sys.executable, str(Path(__file__).with_name("killer.py")), str(pairs), str(tiny_encoder)]
        subprocess.run([*command, str(tmp_path / name), json.dumps(settings), *points], check=True)
        trained.append((tmp_path / name / "round-0/student/model.safetensors").read_bytes())
    assert trained[0] == trained[1]
    assert "checkpoint-" in (tmp_path / "killed.resumed").read_text()


def test_a_run_killed_in_every_stage_ends_as_if_it_had_not_been(
    finished: tuple[Path, dict[str, Any]], pairs: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    whole, _ = finished
    killed = tmp_path / "killed"
    command = [sys.executable, str(Path(__file__).with_name("killer.py")), str(pairs), str(tiny_encoder), str(killed)]
    done = subprocess.run(
        [*command, json.dumps(SETTINGS), *_points()], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    compared = 0
    for path in sorted(whole.rglob("*")):
        if path.is_dir() or path.name in ("stage.json", "metrics.json", "report.html", ".lock"):
            continue
        assert (killed / path.relative_to(whole)).read_bytes() == path.read_bytes(), path.relative_to(whole)
        compared += 1
    assert compared > 40
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (whole, killed)]
    for report in metrics:
        del report["model"]
    assert metrics[0] == metrics[1]
    assert not list(killed.rglob("*.partial"))
    # training really went on from checkpoints, in both rounds
    resumed = Path(f"{killed}.resumed").read_text().splitlines()
    for number in range(2):
        assert sum(line.startswith(f"round-{number} checkpoint-") for line in resumed) >= 2, resumed
