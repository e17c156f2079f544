"""Whether a judge of answers counts: does it prefer a reference to a wrong answer, whichever of the two stands first?

A judge that follows the order, the length or its own taste says something of any two answers, and it is worth nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from denizen.data.tables import folded
from denizen.data.task_rows import TaskRow
from denizen.measuring.agreement import rate

# with 40 pairs a judge that is right in 80 % has an interval of 65 to 90 %
PAIRS = 40
# fewer say nothing
LEAST = 10
# of the pairs in which the reference has to be preferred in both orders
SHARE = 0.8
_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Planted:
    """A row with an answer that is known to be wrong.

    Attributes:
        row: The row.
        wrong: The answer.
        way: How it was made.
    """

    row: TaskRow
    wrong: str
    way: str


def planted(rows: Sequence[TaskRow], seed: int) -> list[Planted]:
    """Rows drawn at random, each with a wrong answer.

    In turns that is the reference of another row of the same task that is about another document, and the own reference
    with its words shuffled.

    Args:
        rows: Of tasks that are answered with text.
        seed: Of the drawing.
    """
    random = np.random.default_rng(seed)
    found = list[Planted]()
    for at in random.permutation(len(rows)).tolist():
        if len(found) == PAIRS:
            break
        ways = {
            "another row's reference": _of_another(rows[at], rows, random),
            "shuffled words": _shuffled(rows[at], random),
        }
        # what says the same is not wrong: then the other way, if that does not
        wrong = [
            Planted(rows[at], text, way)
            for way, text in ways.items()
            if text is not None and folded(text) != folded(rows[at].answer)
        ]
        if wrong:
            found.append(wrong[len(found) % len(wrong)])
    return found


def trial_verdict(found: Sequence[tuple[Planted, float | None]]) -> dict[str, Any]:
    """Whether a judge has passed, with its figures and a sentence.

    Args:
        found: Of each planted answer whether the reference was preferred in both orders (1), in none (0), or in one of
            them (a half); None where there was no reply.
    """
    told = [(each.way, value) for each, value in found if value is not None]
    right = np.array([value == 1 for _, value in told])
    ways = {
        way: asdict(share)
        for way in sorted({way for way, _ in told})
        if (share := rate(np.array([value == 1 for of, value in told if of == way])))
    }
    share = rate(right)
    if share is None or share.count < LEAST:
        why = f"the judge could not be tried: {len(told)} planted answers were judged, {LEAST} are needed"
        return {"passed": False, "share": share and asdict(share), "ways": ways, "why": why}
    passed = share.value >= SHARE
    why = (
        f"in both orders the judge prefers the reference to a planted wrong answer in {share.value:.0%} "
        f"[{share.low:.0%}, {share.high:.0%}] of {share.count} pairs; {SHARE:.0%} is the least"
    )
    return {"passed": passed, "share": asdict(share), "ways": ways, "why": why}


def _of_another(row: TaskRow, rows: Sequence[TaskRow], random: np.random.Generator) -> str | None:
    others = [
        each.answer
        for each in rows
        if each.task == row.task
        and each.row_id != row.row_id
        and (row.document is None or each.document != row.document)
    ]
    return others[random.integers(len(others))] if others else None


def _shuffled(row: TaskRow, random: np.random.Generator) -> str:
    words = _WORD.findall(row.answer)
    return " ".join(words[at] for at in random.permutation(len(words)))
