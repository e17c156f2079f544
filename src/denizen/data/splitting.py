"""Who is trained on, who selects, who is tested: splits that do not leak.

A split is by groups: queries that share a text, a relevant document, a near-duplicate of either, are one group
and go to one side together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from denizen.data.near_duplicates import tied
from denizen.data.tables import each, rows_table, with_column
from denizen.engine.errors import InputError

# below this a split by row leaves nothing to measure with either
_ENOUGH = 20
# which side counts where something stands on several
SIDES = ("test", "dev", "train")


def split_by_row(queries: pa.Table, dev_share: float, test_share: float, seed: int) -> pa.Table:
    """The plain row split of published protocols: leaks wherever rows share a question, an answer or a document.

    The test part is that of scikit-learn's `train_test_split(test_size=test_share, random_state=seed)`; dev is cut
    from the training part.
    """
    count = len(queries)
    order = np.random.RandomState(seed).permutation(count)
    test, dev = math.ceil(test_share * count), math.ceil(dev_share * count)
    _need_rows(count, dev, test)
    splits = np.full(count, "train", dtype=object)
    splits[order[:test]] = "test"
    splits[order[test : test + dev]] = "dev"
    return with_column(queries, "split", splits.tolist())


def dev_from_train(queries: pa.Table, groups: Mapping[str, int], dev_share: float, seed: int) -> pa.Table:
    """Cuts a dev part, a share of the training queries, from those of a source that brings none.

    Groups, as from `leak_groups`, stay together.
    """
    splits = dict(each(queries, "query_id", "split"))
    inside = [query_id for query_id, split in splits.items() if split == "train"]
    _need_rows(len(inside), 1, 0)
    chosen = _fill([groups[query_id] for query_id in inside], {"dev": dev_share}, seed)
    splits.update({query_id: chosen.get(groups[query_id], "train") for query_id in inside})
    return with_column(queries, "split", list(splits.values()))


def split_by_group(
    queries: pa.Table, groups: Mapping[str, int], dev_share: float, test_share: float, seed: int
) -> pa.Table:
    """Splits all queries by document and near-duplicate cluster: no group, as from `leak_groups`, stands on two sides.

    Raises:
        InputError: When there are too few groups to have all three parts.
    """
    numbers = [groups[query_id] for query_id in queries["query_id"].to_pylist()]
    chosen = _fill(numbers, {"test": test_share, "dev": dev_share}, seed)
    splits = [chosen.get(number, "train") for number in numbers]
    missing = set(SIDES) - set(splits)
    if missing:
        shared = len(set(numbers)) < len(queries) >= _ENOUGH
        raise InputError(
            f"the {len(queries)} queries form {len(set(numbers))} group(s) that share documents or near-duplicates; "
            f"nothing is left for {', '.join(sorted(missing))}: add documents"
            + (", or split by row all the same: --split random --allow-leak" if shared else "")
        )
    return with_column(queries, "split", splits)


def split_documents(
    corpus: pa.Table, known: Mapping[str, str], dev_share: float, test_share: float, seed: int
) -> pa.Table:
    """Puts whole documents on a side where there are no labelled queries to split by.

    Documents that are near-duplicates as a whole stand on one side. Near-duplicate passages (a footer, a clause that
    all contracts have) may stand on several; no query is written for those (`synthesis.tasks`). A document whose side
    is known (that of a labelled query) takes its whole group there; test comes before dev, dev before train. Where
    none is known for dev or test, so large a share of the passages is dealt out to it.

    Returns:
        A `documents` table, by parent_id.

    Raises:
        InputError: When a side would stay empty.
    """
    rows = list(each(corpus, "parent_id", "domain", "parent_cluster"))
    group = tied((parent, ("document", whole)) for parent, _, whole in rows)
    side: dict[int, str] = {}
    for number, (parent, *_) in zip(group, rows, strict=True):
        if parent in known:
            side[number] = min(known[parent], side.get(number, "train"), key=SIDES.index)
    shares = {"test": test_share, "dev": dev_share}
    open_shares = {part: share for part, share in shares.items() if part not in side.values()}
    side |= _fill([number for number in group if number not in side], open_shares, seed)
    domain = {parent: name for parent, name, *_ in rows}
    placed = {parent: side.get(number, "train") for number, (parent, *_) in zip(group, rows, strict=True)}
    missing = [part for part in SIDES if part not in placed.values()]
    if missing:
        raise InputError(
            f"{len(placed)} document(s) form {len(set(group))} group(s) of near-duplicates; nothing is left for "
            f"{', '.join(missing)}: add documents"
        )
    return rows_table("documents", ((name, domain[name], part) for name, part in sorted(placed.items())))


def _fill(numbers: Iterable[int], shares: Mapping[str, float], seed: int) -> dict[int, str]:
    """Deals whole groups out, in random order, to the parts that are not full yet; the rest stays unassigned."""
    sizes = Counter(numbers)
    room = {part: share * sizes.total() for part, share in shares.items()}
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
