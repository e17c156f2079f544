"""kill -9 in every stage, then the same command again: the result is that of an uninterrupted run, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .conftest import SETTINGS

STAGES = ["corpus"]
for _number in range(2):
    STAGES += [f"round-{_number}/{name}" for name in ("embeddings", "run", "candidates", "examples")]
    # training is killed more often: before, between and inside checkpoints
    STAGES += [f"round-{_number}/student"] * 4
STAGES += ["round-2/embeddings", "round-2/run", "test", "model"]


def test_a_run_killed_in_every_stage_ends_as_if_it_had_not_been(
    finished: tuple[Path, dict[str, Any]], pairs: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    whole, _ = finished
    killed = tmp_path / "killed"
    command = [sys.executable, str(Path(__file__).with_name("killer.py")), str(pairs), str(tiny_encoder), str(killed)]
    done = subprocess.run(
        [*command, json.dumps(SETTINGS), *STAGES], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    compared = 0
    for path in sorted(whole.rglob("*")):
        if path.is_dir() or path.name in ("stage.json", "metrics.json", ".lock", "README.md"):
            continue
        assert (killed / path.relative_to(whole)).read_bytes() == path.read_bytes(), path.relative_to(whole)
        compared += 1
    assert compared > 40
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (whole, killed)]
    for report in metrics:
        del report["model"]
    assert metrics[0] == metrics[1]
    assert not list(killed.rglob("*.partial"))
