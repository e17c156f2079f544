"""Pairs of answers of which neither side is the longer one: judges and DPO take length for quality.

An answer that is much longer than its better one is cut to its length; where rejected answers are too short on the
whole, which nothing can lengthen, the shortest are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from denizen.data.task_rows import Preference

# by how much the mean lengths of a way may differ
MOST_APART = 0.1
_SENTENCE_END = re.compile(r"[.!?。！？](?=\s|$)|\n")


@dataclass(frozen=True)
class Balanced:
    """What is left.

    Attributes:
        pairs: Pairs whose mean lengths are nearly the same, in characters.
        cut: How many rejected answers were cut.
        left_out: Those whose rejected answer is too short.
    """

    pairs: Sequence[Preference]
    cut: int
    left_out: Sequence[Preference]


def balanced(pairs: Sequence[Preference]) -> Balanced:
    """Makes the mean lengths of chosen and rejected answers differ by `MOST_APART` of the chosen at most.

    Args:
        pairs: Of one way and one side.
    """
    shorter = [replace(pair, rejected=_within(pair.rejected, len(pair.chosen))) for pair in pairs]
    cut = sum(one.rejected != other.rejected for one, other in zip(pairs, shorter, strict=True))
    lacking = {at: len(pair.chosen) - len(pair.rejected) for at, pair in enumerate(shorter)}
    left = set(lacking)
    chosen = sum(len(pair.chosen) for pair in shorter)
    lack = sum(lacking.values())
    for at in sorted(lacking, key=lambda at: -lacking[at] / len(shorter[at].chosen)):
        if lack <= MOST_APART * chosen:
            break
        left.discard(at)
        chosen -= len(shorter[at].chosen)
        lack -= lacking[at]
    kept = [pair for at, pair in enumerate(shorter) if at in left]
    return Balanced(kept, cut, [pair for at, pair in enumerate(shorter) if at not in left])


def _within(text: str, length: int) -> str:
    """A text, where it is too long only about so much of it: up to the end of a sentence, or else of a word."""
    most = int(length * (1 + MOST_APART))
    if len(text) <= most:
        return text
    ends = [end for found in _SENTENCE_END.finditer(text[: most + 1]) if (end := found.end()) <= most]
    least = int(length * (1 - MOST_APART))
    end = next((end for end in reversed(ends) if end >= least), text.rfind(" ", least, most))
    return text[: end if end > 0 else length].rstrip()
