"""Slices of made-up questions, each pair with words of its own, for tests of experts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SYLLABLES = [first + vowel + last for first in "bdfgklmnprst" for vowel in "aeiou" for last in "nrslt"]


def rows(seed: int, count: int = 60) -> list[dict[str, Any]]:
    """Questions with answers; no two seeds share one."""
    draw, found = random.Random(seed), []
    for _ in range(count):
        topic = ["".join(draw.sample(_SYLLABLES, 2)) for _ in range(3)]
        answer = " ".join(draw.sample([*topic, *draw.sample(_SYLLABLES, 12)], 15)).capitalize() + "."
        found.append({"question": f"What is {' '.join(topic)}?", "answer": answer})
    return found


def write(path: Path, listed: Sequence[dict[str, Any]]) -> Path:
    """A file of pairs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in listed), encoding="utf-8")
    return path
