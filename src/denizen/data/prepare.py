"""The first step of a run: a source becomes passages, queries and qrels, split and guarded against leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from denizen.data import passages, splitting
from denizen.data.artifacts import Corpus, Documents, Part, Qrels, Queries
from denizen.data.dating import days_of_documents, days_of_queries
from denizen.data.earlier import Earlier
from denizen.data.formats.rows import BadRow
from denizen.data.formats.source import SPLITS, Source, source_files
from denizen.data.leaks import (
    DocumentLeak,
    Leak,
    check_leaks,
    find_document_leaks,
    find_leaks,
    leak_groups,
    without_leaks,
)
from denizen.data.sections import GUARD, Sectioned
from denizen.data.sides import documents_with_sides, queries_with_sides
from denizen.data.splitting import SIDES
from denizen.data.tables import each, only, relevant, rows_table, with_column, write_table
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

    @property
    def shares(self) -> dict[str, float]:
        """What is held out, by side."""
        return {"test": self.test_share, "dev": self.dev_share}


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
    split: Literal["auto", "document", "random", "time"] = setting(
        "auto",
        "auto: the source's own, else document. document: by document and near-duplicate cluster. time: train is the "
        "oldest, test the newest, by a column of dates. random: by row (labels only).",
    )


@dataclass(frozen=True)
class Splitting(Dividing):
    """What is done about leaks of labelled queries besides."""

    drop_leaks: bool = setting(False, "Drop the queries that leak from the learning side instead of stopping.")
    allow_leak: bool = setting(False, "Run although the splits leak; every result says so.")


@dataclass(frozen=True)
class Given:
    """What a run starts from.

    Attributes:
        load: Reads it.
        digests: Of all that it comes from, by name.
        read: What reading files gave: counts, dropped texts by reason, languages; empty where none were read.
        earlier: Corpus, queries and qrels of the run that this one goes on from; None: it goes on from none.
    """

    load: Callable[[], Source]
    digests: Mapping[str, str]
    read: Mapping[str, Any] = field(default_factory=dict)
    earlier: Mapping[str, Artifact] | None = None

    @property
    def source(self) -> dict[str, Artifact]:
        """The input of a step that reads it."""
        return {name: Artifact(Path(name), digest) for name, digest in self.digests.items()}


class Labelled(Artifact):
    """A source with labels: passages, split queries, and what is relevant to them.

    Beside an earlier run also the queries that its model has not learnt from.
    """

    corpus = Part("corpus.parquet", Corpus)
    queries = Part("queries.parquet", Queries)
    qrels = Part("qrels.parquet", Qrels)
    unlearnt = Part("unlearnt.parquet", Queries)


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


@dataclass(frozen=True)
class _Divided:
    """How a source was divided.

    Attributes:
        rows: Queries or documents with their sides.
        corpus: The passages; where documents were divided inside, by section.
        how: For people.
        facts: What is to be counted of it.
        undated: Rows that a split by time had to leave out.
    """

    rows: pa.Table
    corpus: pa.Table
    how: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    undated: Sequence[BadRow] = ()


@step(version=6, makes=Labelled, name="corpus")
def prepare(
    out: Path,
    params: Splitting,
    ctx: Context,
    *,
    source: Mapping[str, Artifact],
    earlier: Mapping[str, Artifact] | None = None,
) -> dict[str, Any]:
    """Cuts, clusters, splits and guards a source.

    Near-duplicates across the cuts of a split by time are named and stop nothing: what comes back is what time does.
    The queries of an earlier run stand on their sides, in the guard, too, whether the source has them or not.

    Raises:
        LeakError: When the splits leak and neither drop_leaks nor allow_leak is set.
        InputError: When a split is missing or empty, or no query has a relevant passage.
    """
    found = ctx[Given].load()
    cut, qrels = _cut(found, params)
    before = Earlier.of(earlier, cut, found.queries) if earlier else Earlier.none()
    corpus, before = before.clustered(cut, params.near_duplicate)
    corpus, answered = passages.ordered(corpus), passages.without_empty(found.queries, qrels)
    _check_answered(found, answered, params)
    count = len(corpus["parent_id"].unique())
    divided = _split(answered, qrels, corpus, found, params, before)
    asked, corpus = divided.rows, divided.corpus
    near: list[Leak] = []
    guarded = before.beside(asked, qrels, corpus)
    if params.drop_leaks:
        kept, leaks = without_leaks(*guarded, params.near_duplicate, before.ids)
        queries = only(asked, "query_id", kept["query_id"].to_pylist())
    else:
        queries, leaks = asked, find_leaks(*guarded, params.near_duplicate, before.ids)
        if params.split == "time":
            near, leaks = [leak for leak in leaks if leak.near], [leak for leak in leaks if not leak.near]
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
    bad = [*found.bad_rows, *divided.undated]
    tables = {"corpus": corpus, "queries": queries, "qrels": qrels}
    if earlier:
        tables["unlearnt"] = before.unlearnt(queries, params.near_duplicate)
    _write(out, bad, tables)
    write_json(out / "leaks.json", [asdict(leak) for leak in (*leaks, *near)])
    left = {"queries_dropped_as_leaks": dropped, "leaks": 0 if params.drop_leaks else len(leaks)}
    told = _facts(found, divided, answered, bad, len(near))
    facts = {"documents": count, **told, "queries": counts, **left}
    if earlier:
        facts |= {"as_in_the_earlier_run": before.kept(queries), "unlearnt": _counts(tables["unlearnt"])}
    _note(facts, ctx.progress)
    return facts


@step(version=9, makes=Unlabelled, name="corpus")
def divide(out: Path, params: Dividing, ctx: Context, *, source: Mapping[str, Artifact]) -> dict[str, Any]:
    """Cuts and clusters a source without training labels and puts each document, or section, on a side.

    A source with labelled test queries keeps them for the test; their documents, and what is nearly the same, stand on
    the test side, those of its dev queries on the dev side. Its training labels are not used. In a split by time the
    time alone says where a document stands, and test queries about older documents are left out.

    Raises:
        InputError: When a side would be empty.
    """
    given = ctx[Given]
    found = given.load()
    corpus, queries, qrels = _passages(found, params)
    count = len(corpus["parent_id"].unique())
    kept, leaks = only(queries, "split", ("test",)), list[DocumentLeak]()
    if params.split == "time":
        divided = _documents_by_time(corpus, found, params)
        side = dict(each(divided.rows, "parent_id", "split"))
        leaks = find_document_leaks(corpus, side)
        kept = _about_test(kept, qrels, corpus, side)
    else:
        divided = _documents_by_group(corpus, queries, qrels, params)
    labels = only(qrels, "query_id", kept["query_id"].to_pylist())
    bad = [*found.bad_rows, *divided.undated]
    tables = {"corpus": divided.corpus, "documents": divided.rows, "test_queries": kept, "labels": labels}
    _write(out, bad, tables)
    write_json(out / "leaks.json", [asdict(leak) for leak in leaks])
    facts = _facts(found, divided, queries, bad, len(leaks))
    ctx.progress.note(f"{len(corpus):,} passages of {count:,} documents; split: {facts['split']}")
    _note_left_out(facts, ctx.progress)
    counts = {"documents": count, "sides": _counts(divided.rows), "labelled_test_queries": len(kept)}
    none = {"queries_dropped_as_leaks": 0, "leaks": 0}
    return {**counts, **facts, **none, "read": dict(given.read)}


def _passages(found: Source, params: Dividing) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The corpus, the queries that have an answer in it, and their qrels."""
    corpus, qrels = _cut(found, params)
    corpus = passages.ordered(passages.with_clusters(corpus, params.near_duplicate))
    return corpus, passages.without_empty(found.queries, qrels), qrels


def _cut(found: Source, params: Dividing) -> tuple[pa.Table, pa.Table]:
    if found.cut:
        return passages.cut(found.documents, found.qrels, params.passage_chars)
    return passages.keep_whole(found.documents), found.qrels


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


def _facts(found: Source, divided: _Divided, answered: pa.Table, bad: Sequence[BadRow], near: int) -> dict[str, Any]:
    left = {
        "parts_left_out": list(found.parts_left_out),
        "columns_left_out": list(found.columns_left_out),
        "skipped_rows": len(bad),
        "queries_without_relevant": _unanswered(found.queries, answered),
    }
    how, more = divided.how, dict(divided.facts)
    if near:
        more["near_duplicates_across_time"] = near
        how += f"; {near:,} near-duplicate(s) stand on both sides of a cut, named in leaks.json"
    return {"passages": len(divided.corpus), "split": how, **more, **left}


def _unanswered(queries: pa.Table, answered: pa.Table) -> dict[str, int]:
    """How many queries of each split that the source brings are left out, since nothing is relevant to them."""
    before, after = (Counter(name or "unsplit" for name in rows["split"].to_pylist()) for rows in (queries, answered))
    return dict(sorted((before - after).items()))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def _counts(rows: pa.Table) -> dict[str, int]:
    splits = rows["split"].to_pylist()
    return {split: splits.count(split) for split in SPLITS}


def _write(out: Path, bad: Sequence[BadRow], tables: Mapping[str, pa.Table]) -> None:
    for name, rows in tables.items():
        write_table(out / f"{name}.parquet", rows)
    failures = rows_table("failures", (("corpus", row.place, row.problem, row.raw) for row in bad))
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
    queries: pa.Table, qrels: pa.Table, corpus: pa.Table, source: Source, params: Splitting, before: Earlier
) -> _Divided:
    if params.split == "random":
        divided = splitting.split_by_row(queries, params.dev_share, params.test_share, params.seed)
        return _Divided(divided, corpus, "random, by row")
    if params.split == "time":
        days, undated = days_of_queries(queries, qrels, corpus, source, params.skip_bad_rows)
        cut = splitting.split_by_time(days, dict.fromkeys(days, 1), params.shares, "queries")
        dated = only(queries, "query_id", days)
        sides = [cut.side[name] for name in dated["query_id"].to_pylist()]
        return _Divided(with_column(dated, "split", sides), corpus, _told(cut), undated=undated)
    own = source.splits if params.split == "auto" else set()
    if not own and before.ids:
        divided = before.split(queries, qrels, corpus, params.shares, params.seed, params.near_duplicate)
        return _Divided(divided, corpus, f"as in the earlier run; what is new {_BY_GROUP}")
    if not own:
        sectioned, divided = queries_with_sides(
            queries, qrels, corpus, params.shares, params.seed, params.near_duplicate
        )
        between = {"queries_between_sides": len(queries) - len(divided)}
        return _Divided(divided, sectioned.corpus, *_inside(sectioned, between))
    inside = queries.filter(pc.field("split").is_valid())
    if own == {"train", "test"}:
        groups = leak_groups(*before.beside(inside, qrels, corpus), params.near_duplicate)
        stands = before.stands(inside, groups)
        new = only(inside, "query_id", [name for name, side in stands.items() if side is None])
        dealt = dict(each(splitting.dev_from_train(new, groups, params.dev_share, params.seed), "query_id", "split"))
        dealt |= {name: "dev" for name, side in stands.items() if side == "dev"}
        splits = [side if side == "test" else dealt.get(name, side) for name, side in each(inside, "query_id", "split")]
        inside = with_column(inside, "split", splits)
        return _Divided(inside, corpus, "the source's own, dev cut from train by document")
    return _Divided(inside, corpus, "the source's own")


def _documents_by_group(corpus: pa.Table, queries: pa.Table, qrels: pa.Table, params: Dividing) -> _Divided:
    split_of = dict(each(queries, "query_id", "split"))

    def known(passages: pa.Table) -> dict[str, str]:
        return _known_sides(passages, qrels, split_of) if "test" in split_of.values() else {}

    sectioned, documents = documents_with_sides(corpus, known, params.shares, params.seed, params.near_duplicate)
    side = dict(each(documents, "parent_id", "split"))
    between = sum(side[parent] == GUARD for parent in sectioned.corpus["parent_id"].to_pylist())
    return _Divided(documents, sectioned.corpus, *_inside(sectioned, {"passages_between_sides": between}))


def _documents_by_time(corpus: pa.Table, source: Source, params: Dividing) -> _Divided:
    days, undated = days_of_documents(corpus, source, params.skip_bad_rows)
    passages_of = Counter(corpus["parent_id"].to_pylist())
    cut = splitting.split_by_time(days, passages_of, params.shares, "documents")
    domain = dict(each(corpus, "parent_id", "domain"))
    rows = ((name, domain[name], cut.side.get(name, GUARD)) for name in sorted(domain))
    return _Divided(rows_table("documents", rows), corpus, _told(cut), undated=undated)


def _about_test(queries: pa.Table, qrels: pa.Table, corpus: pa.Table, side: Mapping[str, str]) -> pa.Table:
    """The test queries of a source whose relevant documents are all on the test side."""
    home, known = dict(each(corpus, "doc_id", "parent_id")), relevant(qrels)
    ids = queries["query_id"].to_pylist()
    kept = [name for name in ids if all(side[home[doc_id]] == "test" for doc_id in known[name])]
    if ids and not kept:
        raise InputError(
            f"none of the {len(ids):,} labelled test queries is about the newest documents alone; raise --test-share, "
            "or split by document (--split document)"
        )
    return only(queries, "query_id", kept)


def _inside(sectioned: Sectioned, between: Mapping[str, int]) -> tuple[str, dict[str, Any]]:
    """How a source was divided by documents or their sections, and the counts of that."""
    if not sectioned.inside:
        return _BY_GROUP, {}
    names = sectioned.inside
    where, whence = repr(names[0]), "one document"
    if len(names) > 1:
        where, whence = f"each of {len(names):,} documents", "the same documents"
    how = f"by section inside {where}: training, dev and test come from {whence}, with passages between on no side"
    return how, {"divided_inside": names, **between}


def _told(cut: splitting.TimeSplit) -> str:
    return f"by time: train before {cut.dev}, dev from then, test from {cut.test}"


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
    dates = {"documents": source.document_dates, "queries": source.query_dates}
    return {
        **{name: json_digest(rows.to_pylist()) for name, rows in tables.items()},
        **{f"dates of {name}": json_digest(dict(said)) for name, said in dates.items() if said},
    }
