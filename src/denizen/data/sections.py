"""Long documents in sections: sides within one document, with passages between them that stand on none.

A manual or a statute is one document, and a side needs others. Its sections stand in the place of documents then: a
passage's `parent_id` is its section, and all that keeps documents apart keeps sections apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from denizen.data.passages import with_parent_clusters
from denizen.data.splitting import SIDES
from denizen.data.tables import each, with_column

# the side of what stands on none
GUARD = "guard"
# several sections of a side come from several places of a document
_PER_SIDE = 3
# a band takes a passage at either end of a section; of a shorter section little would be left
_LEAST = 4


@dataclass(frozen=True)
class Sectioned:
    """Passages whose long documents were cut into sections.

    Attributes:
        corpus: A `corpus` table; `parent_id` is the section where there is one.
        home: Section to the document that it is of; documents that stay whole are not among them.
        copies: Near-duplicates of documents that were cut; their sections could not be told to be alike.
    """

    corpus: pa.Table
    home: Mapping[str, str]
    copies: frozenset[str] = frozenset()

    @property
    def inside(self) -> list[str]:
        """The documents that were cut."""
        return sorted(set(self.home.values()))


def cut_long(corpus: pa.Table, weights: Mapping[str, float], share: float, near_duplicate: float) -> Sectioned:
    """Cuts the documents that hold more than a share of all into sections of neighbouring passages.

    Args:
        corpus: A `corpus` table with clusters.
        weights: Passage to what it counts, such as its queries; those that are left out count nothing.
        share: The smallest share that a side is to have.
        near_duplicate: Similarity from which two texts are near-duplicates.

    Returns:
        The passages; sections carry the number of those that are near-duplicates of them as `parent_cluster`.
    """
    whole_of = dict(each(corpus, "parent_id", "parent_cluster"))
    counts: defaultdict[str, float] = defaultdict(float)
    for doc_id, parent in each(corpus, "doc_id", "parent_id"):
        counts[parent] += weights.get(doc_id, 0)
    most = max(1.0, share * sum(counts.values()))
    length = min(most, max(_LEAST, most / _PER_SIDE))
    first: dict[int, str] = {}
    for parent in sorted(name for name, count in counts.items() if count > most):
        first.setdefault(whole_of[parent], parent)
    long = {parent: max(2, round(counts[parent] / length)) for parent in first.values()}
    copies = frozenset(name for name, whole in whole_of.items() if whole in first and name not in long)
    section_of: dict[str, str] = {}
    home: dict[str, str] = {}
    before: defaultdict[str, float] = defaultdict(float)
    for parent, _, _, doc_id in _in_order(corpus):
        if parent in long:
            # by where a passage's middle is, so that sections weigh about the same
            middle = (before[parent] + weights.get(doc_id, 0) / 2) / counts[parent]
            number = 1 + min(int(middle * long[parent]), long[parent] - 1)
            section_of[doc_id] = _named(parent, str(number), whole_of)
            home[section_of[doc_id]] = parent
            before[parent] += weights.get(doc_id, 0)
    if not section_of:
        return Sectioned(corpus, {})
    made = with_column(
        corpus, "parent_id", [section_of.get(name, parent) for name, parent in each(corpus, "doc_id", "parent_id")]
    )
    return Sectioned(with_parent_clusters(made, near_duplicate), home, copies)


def guarded(sectioned: Sectioned, side: Mapping[str, str]) -> tuple[Sectioned, set[str]]:
    """Takes from the sections what would stand on one side while its like stands on another.

    That are, of two neighbouring or overlapping passages on two sides, the one of the side that learns (train before
    dev, dev before test), and passages with a near-duplicate on a side that measures more. Those of a document become
    a section of their own.

    Args:
        sectioned: As from `cut_long`.
        side: Section or document to its side; those of which nothing is asked may be left out.

    Returns:
        The passages, and the doc_ids of those that were taken.
    """
    corpus, home = sectioned.corpus, sectioned.home
    taken = _at_borders(sectioned, side)
    foremost: dict[int, int] = {}
    places = list(each(corpus, "doc_id", "parent_id", "cluster"))
    for _, parent, cluster in places:
        if side.get(parent) in SIDES:
            rank = SIDES.index(side[parent])
            foremost[cluster] = min(rank, foremost.get(cluster, rank))
    for doc_id, parent, cluster in places:
        if parent in home and parent in side and SIDES.index(side[parent]) > foremost[cluster]:
            taken.add(doc_id)
    known = dict.fromkeys(corpus["parent_id"].to_pylist())
    band_of = {document: _named(document, GUARD, known) for document in sectioned.inside}
    parents, wholes = corpus["parent_id"].to_pylist(), corpus["parent_cluster"].to_pylist()
    number = {band: at for at, band in enumerate(band_of.values(), start=max(wholes, default=0) + 1)}
    bands = dict[str, str]()
    for at, (doc_id, parent, _) in enumerate(places):
        if doc_id in taken:
            parents[at] = band_of[home[parent]]
            wholes[at] = number[parents[at]]
            bands[parents[at]] = home[parent]
    corpus = with_column(with_column(corpus, "parent_id", parents), "parent_cluster", wholes)
    left = set(parents)
    return replace(
        sectioned, corpus=corpus, home={name: of for name, of in {**home, **bands}.items() if name in left}
    ), taken


def _at_borders(sectioned: Sectioned, side: Mapping[str, str]) -> set[str]:
    home, taken = sectioned.home, set[str]()
    places = [place for place in _in_order(sectioned.corpus) if place[0] in home]
    rows = sorted((home[parent], start, end, doc_id, parent) for parent, start, end, doc_id in places)
    for at, (document, _, end, doc_id, parent) in enumerate(rows):
        for after in range(at + 1, len(rows)):
            other_document, start, _, other_id, other = rows[after]
            if other_document != document or (after > at + 1 and start >= end):
                break
            ranks = [SIDES.index(side[name]) for name in (parent, other) if name in side]
            if len(set(ranks)) == 2:
                taken.add(doc_id if ranks[0] > ranks[1] else other_id)
    return taken


def _in_order(corpus: pa.Table) -> list[tuple[str, int, int, str]]:
    """parent_id, start, end and doc_id of each passage, as they stand in their documents."""
    return sorted(each(corpus, "parent_id", "start", "end", "doc_id"))


def _named(document: str, name: str, taken: Mapping[str, object]) -> str:
    """A section's id, which no document has."""
    made = f"{document}#{name}"
    while made in taken:
        made = made.replace("#", "##", 1)
    return made
