"""The parts of a run of `language` that are used: a model of random weights, two experts over it, and a router."""

from __future__ import annotations

import shutil
from pathlib import Path

from denizen.answering.router import AlwaysOne, Router
from denizen.data.task_rows import EXPERTS
from tests.tiny_adapters import tiny_adapters
from tests.tiny_pair import tiny_pair


def language_run(folder: Path, *, tokens: int = 1024) -> Path:
    """A folder as `denizen language` leaves it, whose router sends all to the answering expert.

    Args:
        folder: Where to.
        tokens: How many the model reads and writes.
    """
    _, instruct = tiny_pair(folder.parent / f"{folder.name}-pair", tokens=tokens)
    shutil.copytree(instruct, folder / "residual")
    for seed, name in enumerate(EXPERTS):
        tiny_adapters(folder / "experts" / name, instruct, seed)
    Router(AlwaysOne((0.75, 0.25))).save(folder / "router")
    return folder
