"""Documents put together again from their passages, for what reads whole texts; and what of a side no other has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from denizen.data.tables import each


@dataclass(frozen=True)
class WholeDocuments:
    """The documents of a side.

    Attributes:
        texts: Document, or section of one, to its text, in the order of ids.
        groups: Of each: those that are near-duplicates as a whole have one number.
        left_out: How many passages were left out, since a near-duplicate of them stands on a side to keep apart from.
    """

    texts: dict[str, str]
    groups: list[int]
    left_out: int = 0


def whole_documents(corpus: pa.Table, documents: pa.Table, side: str, apart_from: str = "") -> WholeDocuments:
    """The documents of a side, each as one text.

    Args:
        corpus: A `corpus` table with clusters.
        documents: A `documents` table.
        side: Whose documents.
        apart_from: Another side; passages with a near-duplicate there (a footer, a clause that all contracts have) are
            left out, and so are documents of which nothing else is left.
    """
    side_of = dict(each(documents, "parent_id", "split"))
    rows = list(each(corpus, "parent_id", "start", "end", "title", "text", "cluster", "parent_cluster"))
    known = {cluster for parent, *_, cluster, _ in rows if apart_from and side_of[parent] == apart_from}
    passages: dict[str, list[_Passage]] = {}
    group_of, left_out = dict[str, int](), 0
    for parent, start, end, title, text, cluster, group in sorted(rows, key=lambda row: (row[0], row[1])):
        if side_of[parent] != side:
            continue
        if cluster in known:
            left_out += 1
            continue
        passages.setdefault(parent, []).append(_Passage(start, end, title or "", text))
        group_of[parent] = group
    texts = {parent: "".join(_pieces(parts)) for parent, parts in passages.items()}
    return WholeDocuments(texts, [group_of[parent] for parent in texts], left_out)


@dataclass(frozen=True)
class _Passage:
    start: int
    end: int
    title: str
    text: str


def _pieces(parts: list[_Passage]) -> Iterator[str]:
    """The text of passages in their order, with what stood between them as far as its length tells."""
    before = None
    for part in parts:
        if before is not None:
            gap = part.start - before.end
            # where a passage ends at a sentence one space was cut away, and where it ends at a paragraph more
            yield "\n\n" if gap > 1 or part.title != before.title else " " * gap
        if part.title and (before is None or part.title != before.title):
            yield f"{part.title}\n"
        yield part.text
        before = part
