"""What students find on the way, and which of them is the best on dev."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.artifacts import Corpus, Documents, Model, Part, Qrels, Queries, Run
from denizen.data.tables import each, relevant, texts, write_table
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.files import link_tree, write_json
from denizen.engine.settings import Params, setting
from denizen.engine.step import Context, step
from denizen.measuring import retrieval
from denizen.retrievers.index import Index
from denizen.retrievers.model_ref import NOT_THE_MODEL


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
    from denizen.retrievers.search import search as exact_search

    encoders = ctx[Encoders]
    encoder = index.encoder(model, encoders)
    rows, doc_ids = queries.of(*splits.content), corpus.table["doc_id"].to_pylist()
    with ctx.progress.bar(len(corpus.table) + len(rows), "texts") as advance:
        vectors = encoder.encode(texts(corpus.table), "document", advance)
        asked = encoder.encode([row["text"] for row in rows], "query", advance)
    places = {row["query_id"]: at for at, row in enumerate(rows)}
    parts, memory = [], encoders.memory_mb
    with ctx.progress.bar(len(rows), "queries") as advance:
        for seen, group in visible(corpus.table, rows, documents.table if documents else None):
            ids = [row["query_id"] for row in group]
            own = asked.take([places[query_id] for query_id in ids])[:]
            names, shown = (doc_ids, vectors) if seen is None else ([doc_ids[at] for at in seen], vectors.take(seen))
            parts.append(exact_search(ids, own, names, shown, params.depth, memory_mb=memory, progress=advance))
    run = pa.concat_tables(parts)
    write_table(out / "run.parquet", run)
    if qrels is None:
        return {"queries": len(rows)}
    metrics = retrieval.measure(run, qrels.table, list(queries.texts("dev")))
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


class Choice(Artifact):
    """A model that was chosen, with what has embedded the corpus with it."""

    model = Part("model", Model)
    index = Part("encoder.json", Index)

    @property
    def best(self) -> int:
        """The number of the round; in a plan: one that is not the base."""
        return int(self.facts.get("best", 1))


@step(version=1, makes=Choice, name="choice")
def choose(  # noqa: PLR0913
    out: Path,
    params: Params,
    ctx: Context,
    *,
    students: Sequence[Model],
    indexes: Sequence[Index],
    runs: Sequence[Run],
    qrels: Qrels,
    queries: Queries,
) -> dict[str, Any]:
    """Takes the student with the highest dev MRR@5; the base itself is one of them.

    Raises:
        InputError: When no dev query has an answer.
    """
    ids = answered(queries, qrels)
    dev = [retrieval.means(retrieval.measure(run.table, qrels.table, ids)) for run in runs]
    best = max(range(len(dev)), key=lambda number: dev[number]["MRR@5"])
    names = ["base", *(f"round {number}" for number in range(1, len(dev)))]
    shown = ", ".join(f"{name} {values['MRR@5']:.3f}" for name, values in zip(names, dev, strict=True))
    ctx.progress.say(f"MRR@5 on dev: {shown}; {'the base stays' if best == 0 else f'round {best} is taken'}")
    put_model(students[best], out)
    shutil.copyfile(indexes[best].path / "encoder.json", out / "encoder.json")
    write_json(out / "choice.json", {"best": best, "dev": dev})
    return {"best": best, "dev": dev}


def answered(queries: Queries, qrels: Qrels) -> list[str]:
    """The dev queries that have an answer.

    Raises:
        InputError: When there are none.
    """
    known, asked = relevant(qrels.table), list(queries.texts("dev"))
    ids = [query_id for query_id in asked if query_id in known]
    if not ids:
        raise InputError(
            f"none of {len(asked)} dev queries has an answer among what was graded, so no student can be "
            "chosen: raise --passages or the budget, or look at the judge with denizen audit"
        )
    return ids


def put_model(model: Model, out: Path) -> None:
    """Puts a model's files into `out/model`; what is not ours is copied, so that nobody changes it under our hands."""
    leave = shutil.ignore_patterns(*NOT_THE_MODEL)
    if model.place:
        link_tree(model.path, out / "model", leave)
    else:
        shutil.copytree(model.path, out / "model", ignore=leave)
