"""ROUGE-L: how much of a text stands in another one in the same order, whatever stands between.

The package rouge-score has had no release since 2022, and drops every letter that is not one of a to z: an answer in
Greek scores 0 against itself. On English text both give the same (tests/parity).
"""

from __future__ import annotations

import re
from collections import defaultdict

# of scripts without spaces between words each letter is one
_ALONE = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")


def rouge_l(answer: str, reference: str) -> float:
    """The F-measure of their longest common subsequence of words (Lin 2004, section 3, beta = 1).

    Words are runs of letters and digits without regard to case; none is stemmed. Without a common word it is 0.
    """
    said, wanted = words(answer), words(reference)
    common = _common(said, wanted)
    return 2 * common / (len(said) + len(wanted)) if common else 0.0


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return _WORD.findall(text.lower())


def _common(one: list[str], other: list[str]) -> int:
    """How long the longest common subsequence is: a bit of an integer for each word (Hyyrö 2004)."""
    places = defaultdict[str, int](int)
    for at, word in enumerate(other):
        places[word] |= 1 << at
    whole = (1 << len(other)) - 1
    row = whole
    for word in one:
        matched = row & places[word]
        row = ((row + matched) | (row - matched)) & whole
    return len(other) - row.bit_count()
