"""The steps that measure models on several slices: on a part of dev while a merge is searched, and on test at the end.

What counts is the mean over slices: each slice weighs the same, however many queries it has.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.artifacts import Corpus, Evaluation, Model, Part, Qrels, Queries
from denizen.data.tables import only, read_table, relevant, write_table
from denizen.engine.artifact import Artifact
from denizen.engine.errors import InputError
from denizen.engine.files import read_json, write_json
from denizen.engine.progress import Silent
from denizen.engine.settings import Params, Seeded, setting
from denizen.engine.step import Context, step
from denizen.measuring import retrieval
from denizen.measuring.dependence import groups
from denizen.measuring.significance import mean_differences
from denizen.measuring.students import Searching
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.index import Index
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.searching import search_each

# by what the search for a merge, and the choice of what is shipped, go
DECIDES = "nDCG@10"
# of the test, what intervals are given for
COMPARED = (DECIDES, "MRR@5")
# queries of a slice's dev side that are asked while a merge is searched: the standard error of a mean nDCG@10 is then
# about two points, and that of a difference of two merges far less
_QUERIES = 300
_DEPTH = 10


@dataclass(frozen=True)
class DevSize(Seeded):
    """How much of dev is asked while a merge is searched."""

    panel = "Merging"

    # a merge is embedded anew for each point; 1,000 passages take MiniLM some six seconds on two cores (docs/speed.md)
    dev_passages: int = setting(
        1000, "Passages of a slice in which a merge is measured, what its dev queries need among them.", least=10
    )


class DevPart(Artifact):
    """A part of a slice's dev side: queries, what answers them, and other passages."""

    corpus = Part("corpus.parquet", Corpus)
    queries = Part("queries.parquet", Queries)
    qrels = Part("qrels.parquet", Qrels)


def _planned_part(params: DevSize, *, corpus: Corpus, **inputs: Any) -> dict[str, Any]:
    return {"passages": min(params.dev_passages, corpus.facts.get("passages", params.dev_passages))}


@step(version=1, makes=DevPart, name="dev-part", plan=_planned_part)
def part_of_dev(
    out: Path, params: DevSize, ctx: Context, *, corpus: Corpus, queries: Queries, qrels: Qrels
) -> dict[str, Any]:
    """Draws at most 300 dev queries with what is relevant to them, and fills up with other passages of the slice.

    The order is by hash, so it is the same whatever else there is. With few passages there are fewer queries: what is
    relevant to the first of them fills at most the number of passages.

    Raises:
        InputError: When no dev query has an answer.
    """

    def drawn(names: Any) -> list[str]:
        return sorted(names, key=lambda name: sha256(f"{params.seed}:{name}".encode()).digest())

    known, asked = relevant(qrels.table), list[str]()
    taken = dict[str, None]()
    for query_id in drawn(name for name in queries.texts("dev") if name in known)[:_QUERIES]:
        if asked and len(taken.keys() | known[query_id]) > params.dev_passages:
            break
        asked.append(query_id)
        taken.update(dict.fromkeys(known[query_id]))
    if not asked:
        raise InputError("no dev query has a relevant passage, so no merge can be measured; label some")
    others = (doc_id for doc_id in drawn(corpus.table["doc_id"].to_pylist()) if doc_id not in taken)
    for doc_id in others:
        if len(taken) >= params.dev_passages:
            break
        taken[doc_id] = None
    write_table(out / "corpus.parquet", only(corpus.table, "doc_id", taken))
    write_table(out / "queries.parquet", only(queries.table, "query_id", asked))
    write_table(out / "qrels.parquet", only(qrels.table, "query_id", asked))
    ctx.progress.note(f"{len(asked):,} dev queries in {len(taken):,} passages")
    return {"queries": len(asked), "passages": len(taken)}


def on_dev(
    folder: Path, digest: str, indexes: Mapping[str, Index], parts: Mapping[str, DevPart], encoders: Encoders
) -> dict[str, float]:
    """nDCG@10 of a model on each part of dev.

    Args:
        folder: The model.
        digest: What it is; empty: computed.
        indexes: Slice to what has embedded it with the base, which says in which arithmetic.
        parts: Slice to the part of dev.
        encoders: Where embeddings are kept.
    """
    found = {}
    for name, part in parts.items():
        model = BiEncoder(folder, indexes[name].encoding, encoders, digest)
        asked, corpus = part.queries.texts("dev"), part.corpus.table
        run = model.search(model.index(corpus, Silent()), asked, _DEPTH, Silent())
        found[name] = retrieval.means(retrieval.measure(run, part.qrels.table, list(asked)))[DECIDES]
    return found


def mean_of(by_slice: Mapping[str, float]) -> float:
    """The mean over slices."""
    return statistics.fmean(by_slice.values())


def told(by_slice: Mapping[str, float]) -> str:
    """Values of slices for people."""
    return ", ".join(f"{name} {value:.3f}" for name, value in by_slice.items())


def _planned_dev(params: Params, *, parts: Mapping[str, DevPart], **inputs: Any) -> dict[str, Any]:
    return {"encoded_texts": sum(part.facts.get("passages", 0) for part in parts.values())}


@step(version=1, makes=Evaluation, name="dev", plan=_planned_dev)
def measure_dev(
    out: Path,
    params: Params,
    ctx: Context,
    *,
    model: Model,
    indexes: Mapping[str, Index],
    parts: Mapping[str, DevPart],
) -> dict[str, Any]:
    """What a model gets on dev of every slice."""
    found = on_dev(model.path, model.digest, indexes, parts, ctx[Encoders])
    ctx.progress.note(f"dev {DECIDES} {mean_of(found):.3f}: {told(found)}")
    return {"dev": found}


def _planned_test(params: Searching, *, systems: Mapping[str, Model], corpus: Corpus, **inputs: Any) -> Any:
    # the base has embedded the corpus before
    return {"encoded_texts": (len(systems) - 1) * corpus.facts.get("passages", 0)}


@step(version=1, makes=Evaluation, name="test", plan=_planned_test)
def test_slice(  # noqa: PLR0913
    out: Path,
    params: Searching,
    ctx: Context,
    *,
    systems: Mapping[str, Model],
    index: Index,
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
) -> dict[str, Any]:
    """The only place where the test queries of a slice are read: models, "base" among them, and BM25.

    All passages are read whole. Which queries depend on each other goes to groups.json.
    """
    models: dict[str, Retriever] = {name: index.model(model, ctx[Encoders]) for name, model in systems.items()}
    measured = {"base": models.pop("base"), "bm25": BM25.fitting(corpus.table), **models}
    answers = relevant(qrels.table)
    asked = {query_id: text for query_id, text in queries.texts("test").items() if query_id in answers}
    runs = search_each(measured, asked, corpus.table, params.depth, ctx.progress)
    found = retrieval.write_evaluation(out, runs, qrels.table, list(asked), corpus.table)
    write_json(out / "groups.json", dict(groups(list(asked), qrels.table, corpus.table).of))
    kept = ("means", "differences", "queries", "grouped", "missing_queries")
    return {name: found[name] for name in kept}


@step(version=1, makes=Evaluation, name="comparison")
def compare(out: Path, params: Params, ctx: Context, *, tests: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Means over slices of every system, and differences between them, by draws within each slice.

    Returns:
        By measure: `means` of each system with the interval of its own, `differences` of each to the base, `advantages`
        of the merged model over each, and `slices`: of each system by slice the difference to the base.
    """
    values = {name: _values(test) for name, test in tests.items()}
    together = {name: [*read_json(test.path / "groups.json").values()] for name, test in tests.items()}
    systems = list(next(iter(values.values())))
    found: dict[str, Any] = {"means": {}, "differences": {}, "advantages": {}}
    with ctx.progress.bar(3 * len(COMPARED), "comparisons") as advance:
        for measure in COMPARED:
            for key, other in (("means", ""), ("differences", "base"), ("advantages", "merged")):
                named = [name for name in systems if name != other]
                pairs = [
                    [
                        (of[name][measure], of[other][measure] if other else np.zeros_like(of[name][measure]))
                        for name in named
                    ]
                    for of in values.values()
                ]
                if other == "merged":
                    pairs = [[(ours, theirs) for theirs, ours in of_slice] for of_slice in pairs]
                compared = mean_differences(pairs, [*together.values()])
                for name, one in zip(named, compared, strict=True):
                    found[key].setdefault(name, {})[measure] = asdict(one)
                advance(1)
    found["slices"] = {name: {"queries": test.facts["queries"], **_by_slice(test)} for name, test in tests.items()}
    return found


def _values(test: Evaluation) -> dict[str, dict[str, Any]]:
    """System to measure to its values by query, from the files of a test."""
    names = test.facts["means"]
    return {name: retrieval.per_query(read_table(test.path / f"{name}.metrics.parquet", "metrics")) for name in names}


def _by_slice(test: Evaluation) -> dict[str, Any]:
    kept = ("means", "differences")
    return {key: {name: {m: of[m] for m in COMPARED} for name, of in test.facts[key].items()} for key in kept}
