"""Who is trained on, who selects, who is tested: splits that do not leak, and the guard that checks it.

A split is by groups: queries that share a text, a relevant document, a near-duplicate of either, are one group
and go to one side together. The guard looks at the finished splits, whoever made them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from denizen.data.near_duplicates import clusters
from denizen.data.tables import folded, relevant, table
from denizen.engine.errors import InputError, LeakError

_SHOWN = 5
# below this a split by row leaves nothing to measure with either
_ENOUGH = 20


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


def split_by_row(queries: pa.Table, dev_share: float, test_share: float, seed: int) -> pa.Table:
    """The plain row split of published protocols: leaks wherever rows share a question, an answer or a document.

    The test part is that of scikit-learn's `train_test_split(test_size=test_share, random_state=seed)`; dev is cut
    from the training part.
    """
    count = len(queries)
    order = np.random.RandomState(seed).permutation(count)
    test, dev = math.ceil(test_share * count), math.ceil(dev_share * count)
    _need_rows(count, dev, test)
    split = np.full(count, "train", dtype=object)
    split[order[:test]] = "test"
    split[order[test : test + dev]] = "dev"
    return _with_splits(queries, split.tolist())


def dev_from_train(queries: pa.Table, groups: Mapping[str, int], dev_share: float, seed: int) -> pa.Table:
    """Cuts a dev part from the training part of a source that brings none, by groups.

    Args:
        queries: A `queries` table with splits.
        groups: Query id to group number, as from `leak_groups`.
        dev_share: Share of the training queries.
        seed: Seed of the order of groups.
    """
    splits = dict(zip(queries["query_id"].to_pylist(), queries["split"].to_pylist(), strict=True))
    inside = [query_id for query_id, split in splits.items() if split == "train"]
    _need_rows(len(inside), 1, 0)
    chosen = _fill([groups[query_id] for query_id in inside], {"dev": dev_share}, seed)
    splits.update({query_id: chosen.get(groups[query_id], "train") for query_id in inside})
    return _with_splits(queries, list(splits.values()))


def split_by_group(
    queries: pa.Table, groups: Mapping[str, int], dev_share: float, test_share: float, seed: int
) -> pa.Table:
    """Splits by document and near-duplicate cluster: no group stands on two sides.

    Args:
        queries: A `queries` table; its splits are replaced.
        groups: Query id to group number, as from `leak_groups`.
        dev_share: Share of the queries for dev.
        test_share: Share of the queries for test.
        seed: Seed of the order in which groups are dealt out.

    Raises:
        InputError: When there are too few groups to have all three parts.
    """
    numbers = [groups[query_id] for query_id in queries["query_id"].to_pylist()]
    chosen = _fill(numbers, {"test": test_share, "dev": dev_share}, seed)
    splits = [chosen.get(number, "train") for number in numbers]
    missing = {"train", "dev", "test"} - set(splits)
    if missing:
        remedy = "add documents"
        if len(set(numbers)) < len(queries) >= _ENOUGH:
            remedy += ", or split by row all the same: --split random --allow-leak"
        raise InputError(
            f"the {len(queries)} queries form {len(set(numbers))} group(s) that share documents or near-duplicates; "
            f"nothing is left for {', '.join(sorted(missing))}: {remedy}"
        )
    return _with_splits(queries, splits)


def split_documents(
    corpus: pa.Table, known: Mapping[str, str], dev_share: float, test_share: float, seed: int
) -> pa.Table:
    """Puts whole documents on a side where there are no labelled queries to split by.

    Documents that are near-duplicates as a whole stand on one side. Near-duplicate passages (a footer, a clause that
    all contracts have) may stand on several; no query is written for those (`synthesis.tasks`). A document whose side
    is known (that of a labelled query) takes its whole group there; test comes before dev, dev before train.

    Args:
        corpus: A `corpus` table with clusters.
        known: Document (parent_id) to the split it belongs to already; others are dealt out.
        dev_share: Share of the passages for dev, where none is known.
        test_share: Share of the passages for test, where none is known.
        seed: Seed of the order in which groups are dealt out.

    Returns:
        A `documents` table, by parent_id.

    Raises:
        InputError: When a side would stay empty.
    """
    columns = (corpus[name].to_pylist() for name in ("parent_id", "domain", "parent_cluster"))
    rows = list(zip(*columns, strict=True))
    group = _tied([{parent, ("document", whole)} for parent, _, whole in rows])
    side: dict[int, str] = {}
    for number, (parent, *_) in zip(group, rows, strict=True):
        if parent in known:
            side[number] = min(known[parent], side.get(number, "train"), key=_SIDES.index)
    free = [number for number in group if number not in side]
    taken = set(side.values())
    shares = {part: share for part, share in (("test", test_share), ("dev", dev_share)) if part not in taken}
    side |= _fill(free, shares, seed)
    domain = {parent: name for parent, name, *_ in rows}
    placed = {parent: side.get(number, "train") for number, (parent, *_) in zip(group, rows, strict=True)}
    missing = [part for part in _SIDES if part not in placed.values()]
    if missing:
        raise InputError(
            f"{len(placed)} document(s) form {len(set(group))} group(s) of near-duplicates; nothing is left for "
            f"{', '.join(missing)}: add documents"
        )
    parents = sorted(placed)
    listed = {"parent_id": parents, "domain": [domain[name] for name in parents]}
    return table("documents", {**listed, "split": [placed[name] for name in parents]})


def leak_groups(queries: pa.Table, qrels: pa.Table, corpus: pa.Table, near_duplicate: float) -> dict[str, int]:
    """Numbers the queries so that all that must stay on one side carries one number.

    Args:
        queries: A `queries` table.
        qrels: A `qrels` table.
        corpus: A `corpus` table with clusters.
        near_duplicate: Similarity from which two query texts are near-duplicates.

    Returns:
        Query id to group number.
    """
    keys = _keys(queries, qrels, corpus, near_duplicate)
    return dict(zip(keys, _tied(list(keys.values())), strict=True))


def find_leaks(queries: pa.Table, qrels: pa.Table, corpus: pa.Table, near_duplicate: float) -> list[Leak]:
    """All that stands in more than one split: query texts, relevant passages, near-duplicates of either.

    Args: As `leak_groups`; the queries have splits.
    """
    split_of = dict(zip(queries["query_id"].to_pylist(), queries["split"].to_pylist(), strict=True))
    text_of = dict(zip(queries["query_id"].to_pylist(), queries["text"].to_pylist(), strict=True))
    members: dict[tuple[str, Hashable], list[str]] = {}
    for query_id, shared in _keys(queries, qrels, corpus, near_duplicate).items():
        for key in shared:
            members.setdefault(key, []).append(query_id)
    leaks = []
    covered: set[tuple[str, ...]] = set()
    # exact things come first; what else ties the same queries together is not told again
    for (what, _), query_ids in sorted(members.items(), key=lambda item: (_WHATS.index(item[0][0]), item[1])):
        splits = tuple(sorted({split_of[query_id] for query_id in query_ids}))
        told = tuple(sorted(query_ids))
        if len(splits) > 1 and told not in covered:
            covered.add(told)
            leaks.append(Leak(what, splits, told, text_of[query_ids[0]][:80]))
    return leaks


def without_leaks(
    queries: pa.Table, qrels: pa.Table, corpus: pa.Table, near_duplicate: float
) -> tuple[pa.Table, list[Leak]]:
    """Drops what leaks from the side that learns: from train, and from dev where it meets test; never from test.

    Args: As `find_leaks`.

    Returns:
        The queries that are left, and the leaks for which the others were dropped.
    """
    order = ("test", "dev", "train")
    found: list[Leak] = []
    # fewer queries weigh the words differently, so that two can become near-duplicates that were none before
    while leaks := find_leaks(queries, qrels, corpus, near_duplicate):
        found += leaks
        split_of = dict(zip(queries["query_id"].to_pylist(), queries["split"].to_pylist(), strict=True))
        dropped = set()
        for leak in leaks:
            kept = next(split for split in order if split in leak.splits)
            dropped |= {query_id for query_id in leak.query_ids if split_of[query_id] != kept}
        queries = queries.filter(pa.array([query_id not in dropped for query_id in split_of], type=pa.bool_()))
    return queries, found


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


def _tied(keys: Sequence[Iterable[Hashable]]) -> list[int]:
    """Numbers items so that those which share a key, directly or through others, carry one number."""
    owner: dict[Hashable, int] = {}
    parent = list(range(len(keys)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for number, shared in enumerate(keys):
        for key in shared:
            one, other = sorted((root(owner.setdefault(key, number)), root(number)))
            parent[other] = one
    return [root(number) for number in range(len(keys))]


_SIDES = ("test", "dev", "train")
_WHATS = ("query", "relevant passage", "near-duplicate query", "near-duplicate passage")


def _keys(
    queries: pa.Table, qrels: pa.Table, corpus: pa.Table, near_duplicate: float
) -> dict[str, set[tuple[str, Hashable]]]:
    """For each query all that would tie it to another one: its text, its documents, and their clusters."""
    texts = queries["text"].to_pylist()
    alike = clusters(texts, near_duplicate)
    columns = (corpus[name].to_pylist() for name in ("doc_id", "parent_id", "cluster", "parent_cluster"))
    home = {doc_id: tuple(places) for doc_id, *places in zip(*columns, strict=True)}
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


def _fill(numbers: Iterable[int], shares: Mapping[str, float], seed: int) -> dict[int, str]:
    """Deals whole groups out, in random order, to the parts that are not full yet; the rest stays unassigned."""
    sizes: dict[int, int] = {}
    for number in numbers:
        sizes[number] = sizes.get(number, 0) + 1
    total = sum(sizes.values())
    room = {part: share * total for part, share in shares.items()}
    chosen: dict[int, str] = {}
    for number in np.random.default_rng(seed).permutation(sorted(sizes)).tolist():
        # a group that does not fit anywhere is for training
        part = next((part for part, left in room.items() if sizes[number] <= left + 0.5), None)
        if part is not None:
            room[part] -= sizes[number]
            chosen[number] = part
    return chosen


def _need_rows(count: int, dev: int, test: int) -> None:
    if count - dev - test < 1:
        raise InputError(f"{count} queries are too few for {test} in test, {dev} in dev and any to train on")


def _with_splits(queries: pa.Table, splits: Sequence[str]) -> pa.Table:
    columns = {name: queries[name].to_pylist() for name in queries.schema.names}
    return table("queries", {**columns, "split": list(splits)})
