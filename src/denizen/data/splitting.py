"""Who is trained on, who selects, who is tested: splits that do not leak.

A split is by groups: queries that share a text, a relevant document, a near-duplicate of either, are one group
and go to one side together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from denizen.data.near_duplicates import tied
from denizen.data.tables import each, with_column
from denizen.engine.errors import InputError

# which side counts where something stands on several
SIDES = ("test", "dev", "train")
# a document that is larger than a side's whole share still makes a side, up to so many times the share
_STRETCH = 2.0


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
    queries: pa.Table, groups: Mapping[str, int], dev_share: float, test_share: float, seed: int | Sequence[int]
) -> pa.Table:
    """Splits all queries by document and near-duplicate cluster: no group, as from `leak_groups`, stands on two sides.

    Where there are too few groups, a split stays empty; `check_sides` says so.
    """
    numbers = [groups[query_id] for query_id in queries["query_id"].to_pylist()]
    chosen = _fill(numbers, {"test": test_share, "dev": dev_share}, seed)
    return with_column(queries, "split", [chosen.get(number, "train") for number in numbers])


def check_sides(splits: Iterable[str], told: str, remedy: str = "add documents") -> None:
    """Makes sure that each side has something.

    Raises:
        InputError: What is told of them, which sides have nothing, and the remedy.
    """
    if missing := set(SIDES) - set(splits):
        raise InputError(f"{told}; nothing is left for {', '.join(sorted(missing))}: {remedy}")


def split_documents(
    corpus: pa.Table, known: Mapping[str, str], shares: Mapping[str, float], seed: int | Sequence[int]
) -> dict[str, str]:
    """Puts whole documents on a side where there are no labelled queries to split by.

    Documents that are near-duplicates as a whole stand on one side. Near-duplicate passages (a footer, a clause that
    all contracts have) may stand on several; no query is written for those (`synthesis.tasks`). A document whose side
    is known (that of a labelled query) takes its whole group there; test comes before dev, dev before train.

    Args:
        corpus: A `corpus` table with clusters.
        known: Document to side.
        shares: Of the passages, for each side but train; what is known for a side is all that it gets.
        seed: Seed of the dealing out.

    Returns:
        Document to side; where there are too few, a side has none.
    """
    rows = list(each(corpus, "parent_id", "parent_cluster"))
    group = tied((parent, ("document", whole)) for parent, whole in rows)
    side: dict[int, str] = {}
    for number, (parent, _) in zip(group, rows, strict=True):
        if parent in known:
            side[number] = min(known[parent], side.get(number, "train"), key=SIDES.index)
    open_shares = {part: share for part, share in shares.items() if part not in side.values()}
    side |= _fill([number for number in group if number not in side], open_shares, seed, _STRETCH)
    return {parent: side.get(number, "train") for number, (parent, _) in zip(group, rows, strict=True)}


@dataclass(frozen=True)
class TimeSplit:
    """What was divided by time.

    Attributes:
        side: Name to side.
        dev: The first day of dev; before it is train.
        test: The first day of test.
    """

    side: Mapping[str, str]
    dev: date
    test: date


def split_by_time(
    days: Mapping[str, date], weights: Mapping[str, int], shares: Mapping[str, float], what: str
) -> TimeSplit:
    """The oldest are trained on, the newest are the test, and dev is between (arXiv 2512.08088); a day is not parted.

    Args:
        days: Name to day.
        weights: Name to what it counts.
        shares: Of the weights, for dev and test; the days are cut where these are met best.
        what: What the names are of, for the error.

    Raises:
        InputError: When there are fewer than three days.
    """
    weight_of: Counter[date] = Counter()
    for name, day in days.items():
        weight_of[day] += weights[name]
    order = sorted(weight_of)
    if len(order) < len(SIDES):
        raise InputError(
            f"the {len(days):,} {what} are of {len(order)} day(s); a split by time needs at least {len(SIDES)}: "
            "split by document (--split document)"
        )
    # what is as old as a day or newer
    since = np.cumsum([weight_of[day] for day in reversed(order)])[::-1].tolist()
    total = since[0]
    test = min(range(2, len(order)), key=lambda at: abs(since[at] - shares["test"] * total))
    dev = min(range(1, test), key=lambda at: abs(since[at] - since[test] - shares["dev"] * total))
    first, last = order[dev], order[test]
    side = {name: "train" if day < first else "dev" if day < last else "test" for name, day in days.items()}
    return TimeSplit(side, first, last)


def _fill(
    numbers: Iterable[int], shares: Mapping[str, float], seed: int | Sequence[int], stretch: float = 0.0
) -> dict[int, str]:
    """Deals whole groups out, in random order, to the parts that are not full yet; the rest stays unassigned.

    A part that no group fits takes the smallest that is left, if that is no more than `stretch` times its share.
    """
    sizes = Counter(numbers)
    room = {part: share * sizes.total() for part, share in shares.items()}
    chosen: dict[int, str] = {}
    order = np.random.default_rng(seed).permutation(sorted(sizes)).tolist()
    for number in order:
        # a group that does not fit anywhere is for training
        part = next((part for part, left in room.items() if sizes[number] <= left + 0.5), None)
        if part is not None:
            room[part] -= sizes[number]
            chosen[number] = part
    for part in shares:
        left = [number for number in order if number not in chosen]
        if part not in chosen.values() and left:
            smallest = min(left, key=lambda number: sizes[number])
            if sizes[smallest] <= stretch * shares[part] * sizes.total():
                chosen[smallest] = part
    return chosen


def _need_rows(count: int, dev: int, test: int) -> None:
    if count - dev - test < 1:
        raise InputError(f"{count} queries are too few for {test} in test, {dev} in dev and any to train on")
