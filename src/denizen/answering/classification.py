"""Answers that should be a label: which label an answer is, accuracy, and F1 as a mean over labels."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from denizen.data.tables import folded
from denizen.measuring.significance import Difference

_Values = np.ndarray[Any, np.dtype[np.float64]]

_DRAWS = 10_000
# draws at a time: bounds the memory at any number of labels
_CHUNK = 250


@dataclass(frozen=True)
class Labels:
    """A set of labels.

    Attributes:
        names: The labels.
    """

    names: tuple[str, ...]

    def of(self, answer: str) -> str | None:
        """The label that an answer is; None where it is none of them.

        Case and white space do not count; nor do punctuation, hyphens and underscores where labels differ without them.
        An answer that says more than a label is none.
        """
        # rows that were given may have labels that differ in case alone
        if (said := answer.strip()) in self.names:
            return said
        return self._exact.get(folded(answer)) or self._loose.get(_loosened(answer))

    @cached_property
    def _exact(self) -> dict[str, str]:
        return {folded(name): name for name in self.names}

    @cached_property
    def _loose(self) -> dict[str, str]:
        # "A" and "A+" are not to be taken for one another
        times = Counter(_loosened(name) for name in self._exact)
        return {key: name for name in self.names if (key := _loosened(name)) and times[key] == 1}


def label_f1(said: Sequence[str | None], wanted: Sequence[str]) -> float:
    """The mean of F1 over the labels that are wanted of some row; an answer that is no label is wrong."""
    labels = _numbered(wanted)
    counts = _counts(said, wanted, labels).sum(axis=0)
    return float(_means(counts[None])[0])


def label_f1_difference(
    said: Sequence[str | None],
    other: Sequence[str | None] | None,
    wanted: Sequence[str],
    groups: Sequence[int],
    seed: int = 0,
) -> Difference:
    """By how much a system's `label_f1` is above another one's on the same rows, or above 0.

    The interval is the percentile bootstrap over groups, p that of swapping the two systems within groups at random,
    10,000 draws each, as for means (`paired_difference`).

    Args:
        said: The system's label of each row.
        other: The other one's; None: it has 0, and p says nothing.
        wanted: The reference's.
        groups: Shape (rows,): rows with one number are swapped and drawn together.
        seed: Seed of all draws.
    """
    labels, random = _numbered(wanted), np.random.default_rng(seed)
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    own = _grouped(_counts(said, wanted, labels), inverse)
    against = np.zeros_like(own) if other is None else _grouped(_counts(other, wanted, labels), inverse)

    def apart(times: _Values, swapped: _Values) -> _Values:
        # of each draw how often a group is in it, and of these how often with the systems swapped
        kept = times - swapped
        first, second = (
            np.tensordot(kept, one, 1) + np.tensordot(swapped, two, 1) for one, two in ((own, against), (against, own))
        )
        return _means(first) - (0.0 if other is None else _means(second))

    size = len(own)
    value = float(apart(np.ones((1, size)), np.zeros((1, size)))[0])
    resampled, as_large = [], 0
    for begin in range(0, _DRAWS, _CHUNK):
        rows = min(_CHUNK, _DRAWS - begin)
        times = random.multinomial(size, np.full(size, 1 / size), rows).astype(np.float64)
        resampled.append(apart(times, np.zeros_like(times)))
        swapped = apart(np.ones((rows, size)), random.integers(0, 2, (rows, size)).astype(np.float64))
        as_large += int((np.abs(swapped) >= abs(value) - 1e-12).sum())
    low, high = np.percentile(np.concatenate(resampled), [2.5, 97.5])
    return Difference(value, float(low), float(high), (1 + as_large) / (1 + _DRAWS))


def _loosened(text: str) -> str:
    kept = ""
    for each in text.casefold():
        # vowels of Indic scripts and accents written apart are no letters, and yet tell words apart
        joined = unicodedata.category(each).startswith("M") and kept[-1:].strip()
        kept += each if each.isalnum() or joined else " "
    return " ".join(kept.split())


def _numbered(wanted: Sequence[str]) -> dict[str, int]:
    return {label: at for at, label in enumerate(sorted(set(wanted)))}


def _counts(said: Sequence[str | None], wanted: Sequence[str], labels: dict[str, int]) -> _Values:
    """Of each row what it adds to (right, said, wanted) of each label, shape (rows, 3, labels)."""
    found = np.zeros((len(wanted), 3, len(labels)))
    for at, (one, other) in enumerate(zip(said, wanted, strict=True)):
        found[at, 0, labels[other]] = one == other
        found[at, 2, labels[other]] = 1
        if one in labels:
            found[at, 1, labels[one]] = 1
    return found


def _grouped(counts: _Values, inverse: np.ndarray[Any, Any]) -> _Values:
    found = np.zeros((int(inverse.max()) + 1, *counts.shape[1:]))
    np.add.at(found, inverse, counts)
    return found


def _means(counts: _Values) -> _Values:
    """The mean F1 over the labels that are wanted in a draw, shape (draws,), of counts (draws, 3, labels)."""
    right, said, wanted = counts[:, 0], counts[:, 1], counts[:, 2]
    scores = 2 * right / np.maximum(said + wanted, 1)
    there = wanted > 0
    means: _Values = (scores * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return means
