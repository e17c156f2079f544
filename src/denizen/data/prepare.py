"""The first stage of a run: a source becomes passages, split queries and qrels, guarded against leaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data import passages as corpus_stage
from denizen.data import splitting
from denizen.data.formats import Source
from denizen.data.formats.source import SPLITS, source_files
from denizen.data.tables import relevant, rows_table, write_table
from denizen.engine.errors import InputError
from denizen.engine.stage import file_digest, write_json
from denizen.recipes.config import AdaptConfig

# the settings that decide what the stage writes
SETTINGS = (
    "source",
    "split",
    "dev_share",
    "test_share",
    "seed",
    "near_duplicate",
    "passage_chars",
    "skip_bad_rows",
    "drop_leaks",
    "allow_leak",
)


# whose side a document takes that queries of several splits belong to
_ORDER = ("test", "dev", "train")


@dataclass(frozen=True)
class Data:
    """The tables that a run works on, and their digests."""

    corpus: pa.Table
    queries: pa.Table
    qrels: pa.Table
    digests: dict[str, str]
    facts: dict[str, Any]

    def split(self, *names: str) -> tuple[list[str], list[str]]:
        """Ids and texts of the queries in the named splits."""
        rows = [row for row in self.queries.to_pylist() if row["split"] in names]
        return [row["query_id"] for row in rows], [row["text"] for row in rows]

    @property
    def doc_ids(self) -> list[str]:
        """The ids of the passages, ascending."""
        return list(self.corpus["doc_id"].to_pylist())


def write_data(folder: Path, source: Source, config: AdaptConfig) -> dict[str, Any]:
    """Cuts, clusters, splits and guards a source, and writes the tables of stage corpus.

    Raises:
        LeakError: When the splits leak and neither drop_leaks nor allow_leak is set.
        InputError: When a split is missing or empty.
    """
    if source.cut:
        corpus, qrels = corpus_stage.cut(source.documents, source.qrels, config.passage_chars)
    else:
        corpus, qrels = corpus_stage.keep_whole(source.documents), source.qrels
    corpus = corpus_stage.ordered(corpus_stage.with_clusters(corpus, config.near_duplicate))
    queries = corpus_stage.without_empty(source.queries, qrels)
    queries, how = _split(queries, qrels, corpus, source, config)
    before = len(queries)
    if config.drop_leaks:
        queries, leaks = splitting.without_leaks(queries, qrels, corpus, config.near_duplicate)
    else:
        leaks = splitting.find_leaks(queries, qrels, corpus, config.near_duplicate)
        if not config.allow_leak:
            splitting.check_leaks(leaks)
    dropped = before - len(queries)
    # equal questions of a BEIR folder stay apart where they are measured, as its published figures count them; in
    # training each would make the other's passage a negative
    queries, qrels = corpus_stage.merge_equal_queries(queries, qrels, SPLITS if source.cut else ("train",))
    counts = {split: queries["split"].to_pylist().count(split) for split in SPLITS}
    empty = [split for split, count in counts.items() if count == 0]
    if empty:
        raise InputError(f"no query is in {', '.join(empty)} (found: {counts}); use --split document to split anew")
    for name, rows in (("corpus", corpus), ("queries", queries), ("qrels", qrels)):
        write_table(folder / f"{name}.parquet", rows)
    failures = [{"stage": "corpus", "key": row.place, "error": row.problem, "raw": row.raw} for row in source.bad_rows]
    write_table(folder / "failures.parquet", rows_table("failures", failures))
    write_json(folder / "leaks.json", [asdict(leak) for leak in leaks])
    return {
        "documents": len(source.documents),
        "passages": len(corpus),
        "queries": counts,
        "split": how,
        "parts_left_out": list(source.parts_left_out),
        "skipped_rows": len(source.bad_rows),
        "queries_dropped_as_leaks": dropped,
        "leaks": 0 if config.drop_leaks else len(leaks),
    }


def write_unlabelled(folder: Path, source: Source, config: AdaptConfig) -> dict[str, Any]:
    """Cuts and clusters a source without training labels and puts each document on a side.

    A source with labelled test queries keeps them for the test; their documents, and what is nearly the same, stand on
    the test side, those of its dev queries on the dev side. Its training labels are not used.

    Raises:
        InputError: When a side would be empty.
    """
    if source.cut:
        corpus, qrels = corpus_stage.cut(source.documents, source.qrels, config.passage_chars)
    else:
        corpus, qrels = corpus_stage.keep_whole(source.documents), source.qrels
    corpus = corpus_stage.ordered(corpus_stage.with_clusters(corpus, config.near_duplicate))
    queries = corpus_stage.without_empty(source.queries, qrels)
    split_of = dict(zip(queries["query_id"].to_pylist(), queries["split"].to_pylist(), strict=True))
    labelled = "test" in split_of.values()
    known = _known_sides(corpus, qrels, split_of) if labelled else {}
    shares = (config.dev_share, config.test_share, config.seed)
    documents = splitting.split_documents(corpus, known, *shares)
    kept = queries.filter(pa.array([labelled and split == "test" for split in split_of.values()], type=pa.bool_()))
    inside = set(kept["query_id"].to_pylist())
    labels = qrels.filter(pa.array([name in inside for name in qrels["query_id"].to_pylist()], type=pa.bool_()))
    for name, rows in (("corpus", corpus), ("documents", documents), ("test_queries", kept), ("labels", labels)):
        write_table(folder / f"{name}.parquet", rows)
    failures = [{"stage": "corpus", "key": row.place, "error": row.problem, "raw": row.raw} for row in source.bad_rows]
    write_table(folder / "failures.parquet", rows_table("failures", failures))
    sides = documents["split"].to_pylist()
    return {
        "documents": len(documents),
        "passages": len(corpus),
        "sides": {split: sides.count(split) for split in SPLITS},
        "labelled_test_queries": len(kept),
        "split": "by document and near-duplicate cluster",
        "parts_left_out": list(source.parts_left_out),
        "skipped_rows": len(source.bad_rows),
        "queries_dropped_as_leaks": 0,
        "leaks": 0,
    }


def _known_sides(corpus: pa.Table, qrels: pa.Table, split_of: Mapping[str, str]) -> dict[str, str]:
    """The documents of labelled test and dev queries, and those with a near-duplicate of a labelled passage."""
    clusters = dict(zip(corpus["doc_id"].to_pylist(), corpus["cluster"].to_pylist(), strict=True))
    wanted: dict[int, str] = {}
    for query_id, passages in relevant(qrels).items():
        for doc_id in passages if split_of[query_id] in ("test", "dev") else ():
            number = clusters[doc_id]
            wanted[number] = min(split_of[query_id], wanted.get(number, "dev"), key=_ORDER.index)
    known: dict[str, str] = {}
    for parent, number in zip(corpus["parent_id"].to_pylist(), corpus["cluster"].to_pylist(), strict=True):
        if number in wanted:
            known[parent] = min(wanted[number], known.get(parent, "dev"), key=_ORDER.index)
    return known


def _split(
    queries: pa.Table, qrels: pa.Table, corpus: pa.Table, source: Source, config: AdaptConfig
) -> tuple[pa.Table, str]:
    if config.split == "random":
        return splitting.split_by_row(queries, config.dev_share, config.test_share, config.seed), "random, by row"
    own = source.splits if config.split == "auto" else set()
    if not own:
        groups = splitting.leak_groups(queries, qrels, corpus, config.near_duplicate)
        shares = (config.dev_share, config.test_share, config.seed)
        return splitting.split_by_group(queries, groups, *shares), "by document and near-duplicate cluster"
    inside = queries.filter(pa.array([split is not None for split in queries["split"].to_pylist()]))
    if own == {"train", "test"}:
        groups = splitting.leak_groups(inside, qrels, corpus, config.near_duplicate)
        return (
            splitting.dev_from_train(inside, groups, config.dev_share, config.seed),
            "the source's own, dev cut from train by document",
        )
    return inside, "the source's own"


def source_digest(source: str, out: Path | None = None) -> dict[str, str]:
    """Digests of the files of a source on disk, without hidden ones and those that the run itself writes."""
    path = Path(source)
    if path.is_file():
        return {path.name: file_digest(path)}
    return {found.relative_to(path).as_posix(): file_digest(found) for found in source_files(path, out)}


def content_digest(source: Source) -> dict[str, str]:
    """Digest of a source that is in memory already."""
    tables = {"documents": source.documents, "queries": source.queries, "qrels": source.qrels}
    return {name: hashlib.sha256(json.dumps(rows.to_pylist()).encode()).hexdigest() for name, rows in tables.items()}
