"""The first step of a run: a source becomes passages, queries and qrels, split and guarded against leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from denizen.data import passages, splitting
from denizen.data.artifacts import Corpus, Documents, Part, Qrels, Queries
from denizen.data.formats.source import SPLITS, Source, source_files
from denizen.data.leaks import check_leaks, find_leaks, leak_groups, without_leaks
from denizen.data.splitting import SIDES
from denizen.data.tables import each, only, relevant, rows_table, write_table
from denizen.engine.artifact import Artifact
from denizen.engine.errors import InputError
from denizen.engine.files import file_digest, json_digest, write_json
from denizen.engine.progress import Progress
from denizen.engine.settings import Params, Seeded, setting
from denizen.engine.step import Context, step

_BY_GROUP = "by document and near-duplicate cluster"


@dataclass(frozen=True)
class Shares(Seeded):
    """How much is held out."""

    panel = "Model and data"

    # 70/10/20 as in the usual train/dev/test division
    dev_share: float = setting(0.1, "Share of the queries for dev.", least=0.01, most=0.4)
    test_share: float = setting(0.2, "Share of the queries for test.", least=0.01, most=0.5)

    def __post_init__(self) -> None:
        """Checks every value, and that something is left to train on."""
        super().__post_init__()
        if self.dev_share + self.test_share > 0.8:
            raise InputError(
                f"dev_share + test_share is {self.dev_share + self.test_share:g}; at most 0.8, so that something "
                "is left to train on"
            )


@dataclass(frozen=True)
class NearDuplicates(Params):
    """What counts as nearly the same."""

    panel = "Model and data"

    # .9 of the information content: calibrated on MedQuAD, where the template questions of two diseases
    # share 80 % of their words and are no duplicates
    near_duplicate: float = setting(
        0.9, "Similarity (idf-weighted Jaccard) from which two texts are near-duplicates.", least=0.8, most=1.0
    )


@dataclass(frozen=True)
class Dividing(Shares, NearDuplicates):
    """How a source is cut into passages and divided into sides."""

    # 500-1000 characters is what arXiv 2512.08088 (section III) uses for filings
    passage_chars: int = setting(1000, "Longest passage that an answer is cut into.", least=100, most=1_000_000)
    skip_bad_rows: bool = setting(False, "Skip and count unreadable rows instead of stopping.")


@dataclass(frozen=True)
class Splitting(Dividing):
    """How labelled queries are split besides, and what is done about leaks."""

    split: Literal["auto", "document", "random"] = setting(
        "auto",
        "auto: the source's own, else document. document: by document and near-duplicate cluster. random: by row.",
    )
    drop_leaks: bool = setting(False, "Drop the queries that leak from the learning side instead of stopping.")
    allow_leak: bool = setting(False, "Run although the splits leak; every result says so.")


@dataclass(frozen=True)
class Given:
    """What a run starts from.

    Attributes:
        load: Reads it.
        digests: Of all that it comes from, by name.
        read: What reading files gave: counts, dropped texts by reason, languages; empty where none were read.
    """

    load: Callable[[], Source]
    digests: Mapping[str, str]
    read: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> dict[str, Artifact]:
        """The input of a step that reads it."""
        return {name: Artifact(Path(name), digest) for name, digest in self.digests.items()}


class Labelled(Artifact):
    """A source with labels: passages, split queries, and what is relevant to them."""

    corpus = Part("corpus.parquet", Corpus)
    queries = Part("queries.parquet", Queries)
    qrels = Part("qrels.parquet", Qrels)


class Unlabelled(Artifact):
    """A source without labels to learn from: passages, the side of each document, its labelled test queries, if any."""

    corpus = Part("corpus.parquet", Corpus)
    documents = Part("documents.parquet", Documents)
    test_queries = Part("test_queries.parquet", Queries)
    labels = Part("labels.parquet", Qrels)

    @property
    def has_labels(self) -> bool:
        """Whether there are labelled test queries; in a plan: no, which costs more."""
        return bool(self.facts.get("labelled_test_queries"))


@step(version=4, makes=Labelled, name="corpus")
def prepare(out: Path, params: Splitting, ctx: Context, *, source: Mapping[str, Artifact]) -> dict[str, Any]:
    """Cuts, clusters, splits and guards a source.

    Raises:
        LeakError: When the splits leak and neither drop_leaks nor allow_leak is set.
        InputError: When a split is missing or empty, or no query has a relevant passage.
    """
    found = ctx[Given].load()
    corpus, answered, qrels = _passages(found, params)
    _check_answered(found, answered, params)
    asked, how = _split(answered, qrels, corpus, found, params)
    if params.drop_leaks:
        queries, leaks = without_leaks(asked, qrels, corpus, params.near_duplicate)
    else:
        queries, leaks = asked, find_leaks(asked, qrels, corpus, params.near_duplicate)
        if not params.allow_leak:
            check_leaks(leaks)
    dropped = len(asked) - len(queries)
    # equal questions of a BEIR folder stay apart where they are measured, as its published figures count them; in
    # training each would make the other's passage a negative
    queries, qrels = passages.merge_equal_queries(queries, qrels, SPLITS if found.cut else ("train",))
    counts = _counts(queries)
    empty = [split for split, count in counts.items() if count == 0]
    if empty:
        raise InputError(f"no query is in {', '.join(empty)} (found: {counts}); use --split document to split anew")
    _write(out, found, {"corpus": corpus, "queries": queries, "qrels": qrels})
    write_json(out / "leaks.json", [asdict(leak) for leak in leaks])
    left = {"queries_dropped_as_leaks": dropped, "leaks": 0 if params.drop_leaks else len(leaks)}
    facts = {"documents": len(found.documents), **_facts(found, corpus, how, answered), "queries": counts, **left}
    _note(facts, ctx.progress)
    return facts


@step(version=7, makes=Unlabelled, name="corpus")
def divide(out: Path, params: Dividing, ctx: Context, *, source: Mapping[str, Artifact]) -> dict[str, Any]:
    """Cuts and clusters a source without training labels and puts each document on a side.

    A source with labelled test queries keeps them for the test; their documents, and what is nearly the same, stand on
    the test side, those of its dev queries on the dev side. Its training labels are not used.

    Raises:
        InputError: When a side would be empty.
    """
    given = ctx[Given]
    found = given.load()
    corpus, queries, qrels = _passages(found, params)
    split_of = dict(each(queries, "query_id", "split"))
    known = _known_sides(corpus, qrels, split_of) if "test" in split_of.values() else {}
    documents = splitting.split_documents(corpus, known, params.dev_share, params.test_share, params.seed)
    kept = only(queries, "split", ("test",))
    labels = only(qrels, "query_id", kept["query_id"].to_pylist())
    _write(out, found, {"corpus": corpus, "documents": documents, "test_queries": kept, "labels": labels})
    ctx.progress.note(f"{len(corpus):,} passages of {len(documents):,} documents")
    counts = {"documents": len(documents), "sides": _counts(documents), "labelled_test_queries": len(kept)}
    none = {"queries_dropped_as_leaks": 0, "leaks": 0}
    facts = {**counts, **_facts(found, corpus, _BY_GROUP, queries), **none, "read": dict(given.read)}
    _note_left_out(facts, ctx.progress)
    return facts


def _passages(found: Source, params: Dividing) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The corpus, the queries that have an answer in it, and their qrels."""
    corpus, qrels = passages.keep_whole(found.documents), found.qrels
    if found.cut:
        corpus, qrels = passages.cut(found.documents, found.qrels, params.passage_chars)
    corpus = passages.ordered(passages.with_clusters(corpus, params.near_duplicate))
    return corpus, passages.without_empty(found.queries, qrels), qrels


def _check_answered(found: Source, answered: pa.Table, params: Splitting) -> None:
    own = found.splits if params.split == "auto" else set()
    empty = sorted(own - set(answered["split"].to_pylist()))
    if len(answered) and not empty:
        return
    where, remedy = "", "adapt to the documents alone with a --teacher"
    if len(answered):
        where, remedy = f" of {' and '.join(empty)}", "use --split document to split anew"
    name = found.documents["source"][0].as_py() if len(found.documents) else None
    without = _listed(_unanswered(found.queries, answered))
    raise InputError(
        f"{name or 'the source'}: no query{where} has a relevant passage (without one: {without}): no label there is "
        f"above 0 and names a document with text. Label what answers a query with 1 or more, or {remedy}"
    )


def _facts(found: Source, corpus: pa.Table, how: str, answered: pa.Table) -> dict[str, Any]:
    left = {
        "parts_left_out": list(found.parts_left_out),
        "columns_left_out": list(found.columns_left_out),
        "skipped_rows": len(found.bad_rows),
        "queries_without_relevant": _unanswered(found.queries, answered),
    }
    return {"passages": len(corpus), "split": how, **left}


def _unanswered(queries: pa.Table, answered: pa.Table) -> dict[str, int]:
    """How many queries of each split that the source brings are left out, since nothing is relevant to them."""
    before, after = (Counter(name or "unsplit" for name in rows["split"].to_pylist()) for rows in (queries, answered))
    return dict(sorted((before - after).items()))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def _counts(rows: pa.Table) -> dict[str, int]:
    splits = rows["split"].to_pylist()
    return {split: splits.count(split) for split in SPLITS}


def _write(out: Path, found: Source, tables: Mapping[str, pa.Table]) -> None:
    for name, rows in tables.items():
        write_table(out / f"{name}.parquet", rows)
    failures = rows_table("failures", (("corpus", row.place, row.problem, row.raw) for row in found.bad_rows))
    write_table(out / "failures.parquet", failures)


def _note(facts: Mapping[str, Any], progress: Progress) -> None:
    progress.note(f"{facts['passages']:,} passages of {facts['documents']:,} documents")
    progress.note(f"queries: {_listed(facts['queries'])}; split: {facts['split']}")
    _note_left_out(facts, progress)
    for name in ("skipped_rows", "queries_dropped_as_leaks", "leaks"):
        if facts[name]:
            progress.note(f"{name.replace('_', ' ')}: {facts[name]:,}")


def _note_left_out(facts: Mapping[str, Any], progress: Progress) -> None:
    for what in ("parts", "columns"):
        if named := facts[f"{what}_left_out"]:
            progress.note(f"{what} left out: {', '.join(named)}")
    if counts := facts["queries_without_relevant"]:
        progress.note(f"queries left out, since no passage is relevant to them: {_listed(counts)}")


def _known_sides(corpus: pa.Table, qrels: pa.Table, split_of: Mapping[str, str]) -> dict[str, str]:
    """The documents of labelled test and dev queries, and those with a near-duplicate of a labelled passage."""
    clusters = dict(each(corpus, "doc_id", "cluster"))
    wanted: dict[int, str] = {}
    for query_id, known_ids in relevant(qrels).items():
        for doc_id in known_ids if split_of[query_id] in ("test", "dev") else ():
            number = clusters[doc_id]
            wanted[number] = min(split_of[query_id], wanted.get(number, "dev"), key=SIDES.index)
    known: dict[str, str] = {}
    for parent, number in each(corpus, "parent_id", "cluster"):
        if number in wanted:
            known[parent] = min(wanted[number], known.get(parent, "dev"), key=SIDES.index)
    return known


def _split(
    queries: pa.Table, qrels: pa.Table, corpus: pa.Table, source: Source, params: Splitting
) -> tuple[pa.Table, str]:
    if params.split == "random":
        return splitting.split_by_row(queries, params.dev_share, params.test_share, params.seed), "random, by row"
    own = source.splits if params.split == "auto" else set()
    if not own:
        groups = leak_groups(queries, qrels, corpus, params.near_duplicate)
        return splitting.split_by_group(queries, groups, params.dev_share, params.test_share, params.seed), _BY_GROUP
    inside = queries.filter(pc.field("split").is_valid())
    if own == {"train", "test"}:
        groups = leak_groups(inside, qrels, corpus, params.near_duplicate)
        inside = splitting.dev_from_train(inside, groups, params.dev_share, params.seed)
        return inside, "the source's own, dev cut from train by document"
    return inside, "the source's own"


def given_by(load: Callable[[], Source], source: Source | str, out: Path | None = None) -> Given:
    """A source that is read already, or a path or id that `load` reads.

    Files are known by their digests. What is no path is the id of a data set, which can change under its name: it is
    read now, once, and known by what was in it.
    """
    if isinstance(source, Source):
        return Given(load, content_digest(source))
    if Path(source).exists():
        return Given(load, source_digest(source, out))
    read = load()
    return Given(lambda: read, {f"{source} {name}": digest for name, digest in content_digest(read).items()})


def source_digest(source: str, out: Path | None = None) -> dict[str, str]:
    """Digests of the files of a source on disk, without hidden ones and those that the run itself writes."""
    path = Path(source)
    if path.is_file():
        return {path.name: file_digest(path)}
    return {found.relative_to(path).as_posix(): file_digest(found) for found in source_files(path, out)}


def content_digest(source: Source) -> dict[str, str]:
    """Digest of a source that is in memory already."""
    tables = {"documents": source.documents, "queries": source.queries, "qrels": source.qrels}
    return {name: json_digest(rows.to_pylist()) for name, rows in tables.items()}
