"""What students find on the way, and which of them is the best on dev."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.artifacts import Corpus, Documents, Judgments, Model, Part, Qrels, Queries, Run
from denizen.data.tables import SCHEMAS, each, only, rankings, relevant, write_table
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.files import link_tree, write_json
from denizen.engine.progress import Progress
from denizen.engine.settings import Params, setting
from denizen.engine.step import Context, step
from denizen.measuring import retrieval
from denizen.measuring.dependence import Groups, groups
from denizen.measuring.retrieval import firsts
from denizen.measuring.significance import Difference, Values, paired_difference
from denizen.retrievers.index import Index
from denizen.retrievers.model_ref import NOT_THE_MODEL
from denizen.retrievers.retriever import Retriever

# from so many dev queries on dev decides by itself: the standard error of a difference is then about a point
ENOUGH = 500
# MRR@5 sees five ranks; what is compared may bring up what stands a little below
POOLED = 10
# of the interval that must lie above zero before a choice leaves its default
LEVEL = 0.9


@dataclass(frozen=True)
class CrossFitting(Params):
    """Whether training queries decide, too."""

    panel = "Proof"

    # thirty dev queries chose a student that was worse than its base (docs/LOG.md); a few hundred do not
    cross_fitting: bool = setting(
        True,
        "With fewer than 500 dev queries: decide by five-fold cross-fitting over train and dev together; with queries "
        "that a teacher wrote a student must prove itself there. Off: the best on dev is taken, however few decide.",
    )


@dataclass(frozen=True)
class Searching(Params):
    """How deep is searched."""

    panel = "Mining"

    # at least 100, so that Recall@100 is what its name says
    depth: int = setting(100, "How many passages are retrieved for a query.", least=100, most=1000)


@step(version=4, makes=Run, name="run")
def look(  # noqa: PLR0913
    out: Path,
    params: Searching,
    ctx: Context,
    *,
    model: Model,
    index: Index,
    corpus: Corpus,
    queries: Queries,
    splits: Value,
    documents: Documents | None = None,
    qrels: Qrels | None = None,
) -> dict[str, Any]:
    """What a model finds for the queries of some splits; with labels, dev is measured at once.

    Where documents have sides, a query of training is shown those of training, one of dev those of dev, too, and both
    only those of their domain; else every query is shown everything.
    """
    from denizen.retrievers.bi_encoder import Encoders

    retriever: Retriever = index.retriever(model, ctx[Encoders])
    rows = queries.of(*splits.content)
    parts = [SCHEMAS["run"].empty_table()]
    for shown, asked in shown_to(corpus.table, rows, documents.table if documents else None):
        parts.append(retriever.search(retriever.index(shown, ctx.progress), asked, params.depth, ctx.progress))
    run = pa.concat_tables(parts)
    write_table(out / "run.parquet", run)
    if qrels is None:
        return {"queries": len(rows)}
    metrics = retrieval.measure(run, qrels.table, answered(queries, qrels))
    write_table(out / "dev_metrics.parquet", metrics)
    means = retrieval.means(metrics)
    ctx.progress.note(f"dev MRR@5 {means['MRR@5']:.3f}, Recall@100 {means['Recall@100']:.3f}")
    return {"queries": len(rows), "dev": means}


def visible(
    corpus: pa.Table, queries: Sequence[dict[str, Any]], documents: pa.Table | None
) -> list[tuple[list[int] | None, list[dict[str, Any]]]]:
    """The positions of the passages that queries may be shown (None: all), and the queries, by split and domain."""
    if documents is None:
        return [(None, list(queries))]
    sides, places = dict(each(documents, "parent_id", "split")), list(each(corpus, "parent_id", "domain"))
    shown = {"train": {"train"}, "dev": {"train", "dev"}}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in queries:
        groups.setdefault((row["split"], row["domain"] or ""), []).append(row)

    def seen(split: str, wanted: str) -> list[int]:
        of_side = [(at, domain) for at, (parent, domain) in enumerate(places) if sides[parent] in shown[split]]
        return [at for at, domain in of_side if wanted in ("", domain)]

    return [(seen(*key), group) for key, group in sorted(groups.items())]


def shown_to(
    corpus: pa.Table, queries: Sequence[dict[str, Any]], documents: pa.Table | None
) -> Iterator[tuple[pa.Table, dict[str, str]]]:
    """The passages that queries may be shown, and those queries by id, as of `visible`."""
    for seen, group in visible(corpus, queries, documents):
        shown = corpus if seen is None else corpus.take(pa.array(seen))
        yield shown, {row["query_id"]: row["text"] for row in group}


class Choice(Artifact):
    """A model that was chosen, with what has embedded the corpus with it, and what decides found by its like."""

    model = Part("model", Model)
    index = Part("encoder.json", Index)
    found = Part("run.parquet", Run)

    @property
    def best(self) -> int:
        """The number of the round; in a plan: one that is not the base."""
        return int(self.facts.get("best", 1))


@step(version=3, makes=Choice, name="choice")
def choose(  # noqa: PLR0913
    out: Path,
    params: CrossFitting,
    ctx: Context,
    *,
    students: Sequence[Model],
    indexes: Sequence[Index],
    runs: Sequence[Run],
    qrels: Qrels,
    queries: Queries,
    corpus: Corpus,
    judgments: Judgments | None = None,
    held_out: Sequence[Run] | None = None,
    called: Value | None = None,
    asked_by_people: Value | None = None,
) -> dict[str, Any]:
    """Takes the base or one of its students, by MRR@5; what a teacher has not graded counts for none of them.

    With 500 dev queries or more the best is taken, and where people's queries decide by cross-fitting: that estimates
    a gain without bias, and asking for proof of it keeps most students that gain from who has few labels
    (docs/LOG.md). Otherwise it is the best of those that have proven themselves against the base (`proven`). Where a
    teacher grades, nobody has graded for students of folds: what such a student finds for a query counts as no gain
    unless its first five are all graded.

    Args:
        out: Where model, run and reasons go.
        params: Whether anything has to be proven.
        ctx: The progress.
        students: The base and the student of each round.
        indexes: What has embedded the corpus with each.
        runs: What each has found.
        qrels: What is an answer.
        queries: Those of dev count; with `held_out` those of train, too.
        corpus: The passages, which say which queries depend on each other.
        judgments: What a teacher has graded; None: labels.
        held_out: What the base and students of each round find for queries that these have not seen (cross-fitting).
        called: What people call each of them; None: the base and rounds.
        asked_by_people: That the queries are, and no shipped model is to be replaced; None: neither is known.

    Raises:
        InputError: When no query that decides has an answer.
    """
    deciding = Deciding.of(queries, qrels, corpus, judgments, crossfit=held_out is not None)
    on_dev = with_answer(queries.texts("dev"), qrels)
    dev = [retrieval.means(deciding.measured(run.table, on_dev)) for run in runs] if on_dev else []
    if held_out is None:
        values = [deciding.values(run.table) for run in runs]
    else:
        base = deciding.values(held_out[0].table)
        values = [base, *(deciding.sure(run.table, base) for run in held_out[1:])]
    few = held_out is not None or len(deciding.query_ids) < ENOUGH
    must_prove = params.cross_fitting and few and not (asked_by_people and held_out is not None)
    best, gains = (proven if must_prove else _highest)(values, deciding.groups)
    means = [float(found.mean()) for found in values]
    how = "cross-fitting" if held_out is not None else "dev"
    names = called.content if called else ["base", *(f"round {number}" for number in range(1, len(means)))]
    shown = ", ".join(f"{name} {value:.3f}" for name, value in zip(names, means, strict=True))
    taken = f"{'' if called else 'the '}{names[0]} stays" if best == 0 else f"{names[best]} is taken"
    if len(students) > 1:
        ctx.progress.say(f"MRR@5 of {len(deciding.query_ids):,} queries ({how}): {shown}; {taken}")
    put_model(students[best], out)
    shutil.copyfile(indexes[best].path / "encoder.json", out / "encoder.json")
    write_table(out / "run.parquet", (held_out or runs)[best].table)
    decided = {"queries": len(deciding.query_ids), "groups": deciding.count, "by": how, "MRR@5": means}
    decided |= {"called": names} if called else {}
    facts = {"best": best, "dev": dev, "decided": {**decided, "must_prove": must_prove, "gains": [*map(asdict, gains)]}}
    write_json(out / "choice.json", facts)
    return facts


@dataclass(frozen=True)
class Deciding:
    """The queries that decide, and how they are measured.

    Attributes:
        qrels: What is an answer.
        corpus: The passages.
        graded: Query and passage of all that was graded; None: labels.
        query_ids: The queries.
    """

    qrels: pa.Table
    corpus: pa.Table
    graded: frozenset[tuple[str, str]] | None
    query_ids: list[str]

    @classmethod
    def of(
        cls, queries: Queries, qrels: Qrels, corpus: Corpus, judgments: Judgments | None, *, crossfit: bool
    ) -> Deciding:
        """Those that have an answer among the artifacts of a run: of dev, with cross-fitting of train, too.

        Raises:
            InputError: When there are none.
        """
        graded = retrieval.graded_by(judgments.table if judgments else None)
        return cls(qrels.table, corpus.table, graded, answered(queries, qrels, crossfit=crossfit))

    @cached_property
    def _grouped(self) -> Groups:
        return groups(self.query_ids, self.qrels, self.corpus)

    @property
    def groups(self) -> list[int]:
        """The group of each query."""
        return self._grouped.numbers(self.query_ids)

    @property
    def count(self) -> int:
        """How many groups there are."""
        return self._grouped.count

    def measured(self, run: pa.Table, query_ids: Sequence[str]) -> pa.Table:
        """The `metrics` of a run."""
        return retrieval.measure(retrieval.of_graded(run, self.graded), self.qrels, query_ids)

    def values(self, run: pa.Table) -> Values:
        """MRR@5 of each query, in their order."""
        return retrieval.per_query(self.measured(run, self.query_ids))["MRR@5"]

    def sure(self, run: pa.Table, otherwise: Values) -> Values:
        """`values`, and another value where one of the first five was not graded: what is not known is no gain."""
        found = self.values(run)
        if self.graded is None:
            return found
        ranked = rankings(run)
        known = [all((name, doc) in self.graded for doc, _ in ranked.get(name, [])[:5]) for name in self.query_ids]
        return np.where(known, found, otherwise)


def proven(values: Sequence[Values], groups: Sequence[int], level: float = LEVEL) -> tuple[int, list[Difference]]:
    """The best of those that have proven themselves against the first, which stays where none has.

    Args:
        values: Of each candidate, by query; the first is the default.
        groups: The group of each query.
        level: Of the interval that must lie above zero.

    Returns:
        Its place, the earlier one of equals, and the gain of each after the first over that, with that interval. p must
        lie below what the level leaves, too: where three queries of hundreds differ, no resample is without a gain, and
        yet chance gives all three to one side once in four times.
    """
    gains = [paired_difference(found, values[0], groups=groups, level=level) for found in values[1:]]
    able = [at for at, gain in enumerate(gains, start=1) if gain.low > 0 and gain.p < 1 - level]
    return max(able, key=lambda at: gains[at - 1].value, default=0), gains


def _highest(values: Sequence[Values], groups: Sequence[int]) -> tuple[int, list[Difference]]:
    gains = [paired_difference(found, values[0], groups=groups, level=LEVEL) for found in values[1:]]
    return max(range(len(values)), key=lambda place: float(values[place].mean())), gains


def answered(queries: Queries, qrels: Qrels, *, crossfit: bool = False) -> list[str]:
    """The queries that decide and have an answer: those of dev, with cross-fitting those of train, too.

    Raises:
        InputError: When there are none.
    """
    splits = ("train", "dev") if crossfit else ("dev",)
    asked = list(queries.texts(*splits))
    ids = with_answer(asked, qrels)
    if not ids:
        raise InputError(
            f"none of {len(asked)} {' and '.join(splits)} queries has an answer among what was graded, so no "
            "student can be chosen: raise --passages or the budget, or look at the judge with denizen audit"
        )
    return ids


def with_answer(query_ids: Iterable[str], qrels: Qrels) -> list[str]:
    """The queries that have an answer."""
    known = relevant(qrels.table)
    return [query_id for query_id in query_ids if query_id in known]


@dataclass(frozen=True)
class Pool:
    """What models are compared on that need not embed the whole corpus: the `firsts` of some runs.

    Attributes:
        corpus: The passages.
        documents: Their sides, where they have any.
        qrels: What is relevant.
        runs: What others have found.
        depth: How many passages a query gets at most.
    """

    corpus: pa.Table
    documents: pa.Table | None
    qrels: pa.Table
    runs: Sequence[pa.Table]
    depth: int

    def search(self, retriever: Retriever, rows: Sequence[dict[str, Any]], progress: Progress) -> pa.Table:
        """What a retriever finds for some queries, each in what it may be shown of their pool."""
        found = [SCHEMAS["run"].empty_table()]
        for shown, asked in shown_to(self.corpus, rows, self.documents):
            inside = only(shown, "doc_id", firsts(self.runs, self.qrels, asked, POOLED))
            found.append(retriever.search(retriever.index(inside, progress), asked, self.depth, progress))
        return pa.concat_tables(found)


def put_model(model: Model, out: Path) -> None:
    """Puts a model's files into `out/model`; what is not ours is copied, so that nobody changes it under our hands."""
    leave = shutil.ignore_patterns(*NOT_THE_MODEL)
    if model.place:
        link_tree(model.path, out / "model", leave)
    else:
        shutil.copytree(model.path, out / "model", ignore=leave)
