"""What stands on both sides of a split, whoever made it: found, dropped or refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from denizen.data.near_duplicates import clusters, tied
from denizen.data.splitting import SIDES
from denizen.data.tables import each, folded, only, relevant
from denizen.engine.errors import LeakError

_SHOWN = 5
# exact things come first; what else ties the same queries together is not told again
_WHATS = ("query", "relevant passage", "near-duplicate query", "near-duplicate passage")


@dataclass(frozen=True)
class Leak:
    """One thing that stands on both sides of a split.

    Attributes:
        what: "query", "near-duplicate query", "relevant passage" or "near-duplicate passage".
        splits: The splits it stands in, sorted.
        query_ids: The queries concerned, sorted.
        text: The beginning of the first query.
    """

    what: str
    splits: tuple[str, ...]
    query_ids: tuple[str, ...]
    text: str

    @property
    def near(self) -> bool:
        """Whether nothing is the same, but only nearly."""
        return self.what.startswith("near-duplicate")


@dataclass(frozen=True)
class DocumentLeak:
    """Documents on several sides that are near-duplicates, or hold passages that are.

    Attributes:
        what: "near-duplicate document" or "near-duplicate passage".
        splits: The sides they stand on, sorted.
        parent_ids: The documents concerned, sorted.
        text: The beginning of the first passage.
    """

    what: str
    splits: tuple[str, ...]
    parent_ids: tuple[str, ...]
    text: str


def leak_groups(queries: pa.Table, qrels: pa.Table, corpus: pa.Table, near_duplicate: float) -> dict[str, int]:
    """Query id to a number, which is the same for all that must stay on one side.

    The corpus has clusters; `near_duplicate` is the similarity from which two query texts are near-duplicates.
    """
    keys = _keys(queries, qrels, corpus, near_duplicate)
    return dict(zip(keys, tied(keys.values()), strict=True))


def find_leaks(
    queries: pa.Table, qrels: pa.Table, corpus: pa.Table, near_duplicate: float, fixed: Collection[str] = ()
) -> list[Leak]:
    """All that stands in more than one split: query texts, relevant passages, near-duplicates of either.

    What only `fixed` queries share, those of an earlier run, is none.
    """
    split_of, text_of = (dict(each(queries, "query_id", name)) for name in ("split", "text"))
    members: defaultdict[tuple[str, Hashable], list[str]] = defaultdict(list)
    for query_id, shared in _keys(queries, qrels, corpus, near_duplicate).items():
        for key in shared:
            members[key].append(query_id)
    leaks: dict[tuple[str, ...], Leak] = {}
    for (what, _), query_ids in sorted(members.items(), key=lambda item: (_WHATS.index(item[0][0]), item[1])):
        told, splits = tuple(sorted(query_ids)), tuple(sorted({split_of[query_id] for query_id in query_ids}))
        if len(splits) > 1 and not set(told).issubset(fixed):
            leaks.setdefault(told, Leak(what, splits, told, text_of[query_ids[0]][:80]))
    return list(leaks.values())


def without_leaks(
    queries: pa.Table, qrels: pa.Table, corpus: pa.Table, near_duplicate: float, fixed: Collection[str] = ()
) -> tuple[pa.Table, list[Leak]]:
    """Drops what leaks from the side that learns: from train, and from dev where it meets test; never from test.

    Queries that are `fixed` stay, and all that leaks into their side goes, a test query, too: what an earlier run has
    learnt cannot be unlearnt.

    Returns:
        The queries that are left, and the leaks for which the others were dropped.
    """
    found: list[Leak] = []
    # fewer queries weigh the words differently, so that two can become near-duplicates that were none before
    while leaks := find_leaks(queries, qrels, corpus, near_duplicate, fixed):
        found += leaks
        split_of = dict(each(queries, "query_id", "split"))
        dropped = set[str]()
        for leak in leaks:
            sides = {split_of[name] for name in leak.query_ids if name in fixed} or {min(leak.splits, key=SIDES.index)}
            dropped |= {name for name in leak.query_ids if name not in fixed and {split_of[name]} != sides}
        queries = only(queries, "query_id", split_of.keys() - dropped)
    return queries, found


def find_document_leaks(corpus: pa.Table, side: Mapping[str, str]) -> list[DocumentLeak]:
    """The documents that have a near-duplicate, as a whole or of a passage, on another of the three sides."""
    members: defaultdict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    for parent, whole, cluster, text in each(corpus, "parent_id", "parent_cluster", "cluster", "text"):
        if side[parent] in SIDES:
            for key in (("near-duplicate document", whole), ("near-duplicate passage", cluster)):
                members[key].setdefault(parent, text)
    leaks: dict[tuple[str, ...], DocumentLeak] = {}
    for (what, _), texts in sorted(members.items(), key=lambda item: item[0]):
        told, splits = tuple(sorted(texts)), tuple(sorted({side[parent] for parent in texts}))
        if len(splits) > 1:
            leaks.setdefault(told, DocumentLeak(what, splits, told, texts[told[0]][:80]))
    return list(leaks.values())


def check_leaks(leaks: Sequence[Leak]) -> None:
    """The guard.

    Raises:
        LeakError: When there is any leak, naming the first rows and the remedies.
    """
    if not leaks:
        return
    shown = "\n".join(
        f"  {leak.what} in {' and '.join(leak.splits)}: {', '.join(leak.query_ids[:4])} ({leak.text!r})"
        for leak in leaks[:_SHOWN]
    )
    more = f"\n  and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
    raise LeakError(
        f"{len(leaks)} thing(s) stand on both sides of a split:\n{shown}{more}\n"
        "Split by document (--split document), drop them from the learning side (--drop-leaks), or run all the same "
        "with --allow-leak: every result will say so."
    )


def _keys(
    queries: pa.Table, qrels: pa.Table, corpus: pa.Table, near_duplicate: float
) -> dict[str, set[tuple[str, Hashable]]]:
    """For each query all that would tie it to another one: its text, its documents, and their clusters."""
    texts = queries["text"].to_pylist()
    alike = clusters(texts, near_duplicate)
    home = {doc_id: places for doc_id, *places in each(corpus, "doc_id", "parent_id", "cluster", "parent_cluster")}
    known = relevant(qrels)
    keys: dict[str, set[tuple[str, Hashable]]] = {}
    for query_id, text, cluster in zip(queries["query_id"].to_pylist(), texts, alike, strict=True):
        passages = [home[doc_id] for doc_id in known.get(query_id, {})]
        keys[query_id] = {
            ("query", folded(text)),
            ("near-duplicate query", cluster),
            *(("relevant passage", parent) for parent, _, _ in passages),
            *(("near-duplicate passage", ("passage", number)) for _, number, _ in passages),
            *(("near-duplicate passage", ("document", number)) for _, _, number in passages),
        }
    return keys
