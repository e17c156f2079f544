"""Documents and queries on sides: whole documents where there are enough of them, else sections within."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from denizen.data.leaks import leak_groups
from denizen.data.sections import GUARD, Sectioned, cut_long, guarded
from denizen.data.splitting import SIDES, check_sides, split_by_group, split_documents
from denizen.data.tables import each, only, relevant, rows_table

# documents are cut where a side would have less than this part of its share
_TOO_LITTLE = 0.5
# ways to deal sections out, of which the best is taken: borders cost some sides more than others
_DRAWS = 8
# below this a split by row leaves nothing to measure with either
_ENOUGH = 20


def documents_with_sides(
    corpus: pa.Table,
    known: Callable[[pa.Table], Mapping[str, str]],
    shares: Mapping[str, float],
    seed: int,
    near_duplicate: float,
) -> tuple[Sectioned, pa.Table]:
    """Puts documents on sides, whole where there are enough of them, else by sections.

    Args:
        corpus: A `corpus` table with clusters.
        known: Of such a table, the sides of documents (or sections) that are known.
        shares: Of the passages, for test and dev.
        seed: Seed of the dealing out.
        near_duplicate: Similarity from which two texts are near-duplicates.

    Returns:
        The passages, and a `documents` table.

    Raises:
        InputError: When a side stays empty.
    """
    sided = known(corpus)
    wanted = {part: share * len(corpus) for part, share in shares.items() if part not in sided.values()}
    side = split_documents(corpus, sided, shares, seed)
    best = _full(_counts(corpus, side), wanted), Sectioned(corpus, {}), side
    if best[0] < _TOO_LITTLE:
        weights = dict.fromkeys(corpus["doc_id"].to_pylist(), 1.0)
        cut = cut_long(corpus, weights, min(shares.values()), near_duplicate)
        whole = cut.corpus.filter(pc.invert(pc.is_in(cut.corpus["parent_id"], pa.array(cut.copies, pa.string()))))
        sided = known(whole)
        for draw in range(_DRAWS if cut.home else 0):
            side = split_documents(whole, sided, shares, [seed, draw])
            made, _ = guarded(cut, side)
            # what is a section of its own, or a copy of what was cut, stands on no side
            side = {name: side.get(name, GUARD) for name in made.corpus["parent_id"].unique().to_pylist()}
            best = max(best, (_full(_counts(made.corpus, side), wanted), made, side), key=lambda one: one[0])
    _, sectioned, side = best
    groups = len(set(corpus["parent_cluster"].to_pylist()))
    told = f"{len(corpus):,} passages of {len(corpus['parent_id'].unique())} document(s) form {groups} group(s)"
    check_sides(side.values(), f"{told} of near-duplicates, too few to be parted inside")
    domain = dict(each(sectioned.corpus, "parent_id", "domain"))
    return sectioned, rows_table("documents", ((name, domain[name], part) for name, part in sorted(side.items())))


def queries_with_sides(
    queries: pa.Table, qrels: pa.Table, corpus: pa.Table, shares: Mapping[str, float], seed: int, near_duplicate: float
) -> tuple[Sectioned, pa.Table]:
    """Splits queries by documents and near-duplicates, or by sections where that leaves a side without its share.

    Queries about passages between the sides of a document are left out.

    Args:
        queries: All of them.
        qrels: What is relevant to them.
        corpus: A `corpus` table with clusters.
        shares: Of the queries, for test and dev.
        seed: Seed of the dealing out.
        near_duplicate: Similarity from which two texts are near-duplicates.

    Returns:
        The passages, and the queries with their splits.

    Raises:
        InputError: When a split stays empty.
    """
    wanted = {part: share * len(queries) for part, share in shares.items()}
    groups = leak_groups(queries, qrels, corpus, near_duplicate)
    divided = split_by_group(queries, groups, shares["dev"], shares["test"], seed)
    best = _full(Counter(divided["split"].to_pylist()), wanted), Sectioned(corpus, {}), divided
    if best[0] < _TOO_LITTLE:
        known = {name: links for name, links in relevant(qrels).items() if name in groups}
        asked = Counter(doc_id for links in known.values() for doc_id in links)
        cut = cut_long(corpus, asked, min(shares.values()), near_duplicate)
        parted = leak_groups(queries, qrels, cut.corpus, near_duplicate) if cut.home else groups
        home = dict(each(cut.corpus, "doc_id", "parent_id"))
        for draw in range(_DRAWS if cut.home else 0):
            divided = split_by_group(queries, parted, shares["dev"], shares["test"], [seed, draw])
            part = dict(each(divided, "query_id", "split"))
            side = {home[doc_id]: part[name] for name, links in known.items() for doc_id in links}
            made, taken = guarded(cut, side)
            left = [name for name in part if taken.isdisjoint(known.get(name, ()))]
            divided = only(divided, "query_id", left)
            full = _full(Counter(divided["split"].to_pylist()), wanted)
            best = max(best, (full, made, divided), key=lambda one: one[0])
    _, sectioned, divided = best
    count, splits = len(set(groups.values())), divided["split"].to_pylist()
    by_row = ", or split by row all the same: --split random --allow-leak" if count < len(queries) >= _ENOUGH else ""
    told = f"the {len(queries)} queries form {count} group(s) that share documents or near-duplicates"
    check_sides(splits, told, f"add documents{by_row}")
    return sectioned, divided


def _counts(corpus: pa.Table, side: Mapping[str, str]) -> Counter[str]:
    return Counter(side[parent] for parent in corpus["parent_id"].to_pylist())


def _full(counts: Mapping[str, int], wanted: Mapping[str, float]) -> float:
    """The part of what it should have that the side has which lacks most; of train, whether it has anything."""
    return min(counts[part] / max(1.0, wanted.get(part, 0.0)) for part in SIDES)
