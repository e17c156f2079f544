"""The step that guards slices against one another, and the names of what is in them where they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data import passages
from denizen.data.artifacts import Queries
from denizen.data.leaks import check_leaks, find_leaks, without_leaks
from denizen.data.prepare import Labelled, Splitting
from denizen.data.tables import each, only, relevant, with_column, write_table
from denizen.engine.artifact import Artifact
from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.step import Context, step


class Guarded(Artifact):
    """The queries of each slice that may be worked with."""

    def queries(self, name: str) -> Queries:
        """Those of a slice: the same bytes as before wherever nothing had to be dropped."""
        # whoever counts queries counts those of the slice
        facts = {"queries": self.facts.get("queries", {}).get(name, {})}
        return replace(self.part(f"{name}.parquet", Queries), facts=facts)


@step(version=1, makes=Guarded, name="guard")
def guard(out: Path, params: Splitting, ctx: Context, *, slices: Mapping[str, Labelled]) -> dict[str, Any]:
    """Looks for what stands on both sides of a split across slices, as `prepare` does within each of them.

    A test query or test passage of one slice, or a near-duplicate of either, must not be trained on in another, nor
    decide there; with `drop_leaks` the learning side loses it. Near-duplicates across the cuts of a split by time are
    counted and stop nothing, as within a slice.

    Args:
        out: Where the queries of each slice go.
        params: What is a near-duplicate, and what is done about leaks.
        ctx: The progress.
        slices: Name to the prepared slice.

    Raises:
        LeakError: When something leaks and neither drop_leaks nor allow_leak is set.
        InputError: When nothing is left of a side of a slice.
    """
    queries, qrels, corpus = _together(slices, params.near_duplicate)
    kept, near = queries, 0
    if params.drop_leaks:
        kept, leaks = without_leaks(queries, qrels, corpus, params.near_duplicate)
    else:
        leaks = find_leaks(queries, qrels, corpus, params.near_duplicate)
        if params.split == "time":
            near, leaks = sum(leak.near for leak in leaks), [leak for leak in leaks if not leak.near]
        if not params.allow_leak:
            check_leaks(leaks)
    left = set(kept["query_id"].to_pylist())
    counts = {}
    for name, its in slices.items():
        own = its.queries.table
        own = own.filter(pa.array([f"{name}/{query_id}" in left for query_id in own["query_id"].to_pylist()]))
        splits = own["split"].to_pylist()
        counts[name] = {split: splits.count(split) for split in ("train", "dev", "test")}
        if empty := [split for split, count in counts[name].items() if not count]:
            raise InputError(
                f"slice {name!r} has no query left in {', '.join(empty)} once what leaks between slices is dropped; "
                "leave out the slice that repeats it, or add questions"
            )
        write_table(out / f"{name}.parquet", own)
    write_json(out / "leaks.json", [asdict(leak) for leak in leaks])
    dropped = len(queries) - len(kept)
    if dropped:
        ctx.progress.note(f"queries dropped as leaks between slices: {dropped:,}")
    return {
        "queries": counts,
        "queries_dropped_as_leaks": dropped,
        "leaks": 0 if params.drop_leaks else len(leaks),
        "near_duplicates_across_time": near,
    }


def _together(slices: Mapping[str, Labelled], near_duplicate: float) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Queries, qrels and passages of all slices under names of their own; passages are those of relevant documents."""
    asked, links, shown = [], [], []
    for name, its in slices.items():
        corpus, qrels = its.corpus.table, its.qrels.table
        right = {doc_id for known in relevant(qrels).values() for doc_id in known}
        parents = {parent for doc_id, parent in each(corpus, "doc_id", "parent_id") if doc_id in right}
        asked.append(named(its.queries.table, name, "query_id"))
        links.append(named(qrels, name, "query_id", "doc_id"))
        shown.append(named(only(corpus, "parent_id", parents), name, "doc_id", "parent_id"))
    corpus = passages.with_clusters(pa.concat_tables(shown), near_duplicate)
    return pa.concat_tables(asked), pa.concat_tables(links), corpus


def named(rows: pa.Table, name: str, *columns: str) -> pa.Table:
    """The rows with ids that say of which slice they are, as medical/q1."""
    for column in columns:
        rows = with_column(rows, column, [f"{name}/{value}" for value in rows[column].to_pylist()])
    return rows
