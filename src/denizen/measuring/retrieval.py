"""How good runs are: every measure for every query, means, and whether differences are more than chance."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pyarrow as pa
from ir_measures import RR, R, nDCG

from denizen.data.formats.trec import write_trec_qrels, write_trec_run
from denizen.data.tables import each, only, rankings, relevant, rows_table, write_table
from denizen.engine.errors import InputError
from denizen.engine.files import read_json
from denizen.engine.run_folder import probe
from denizen.measuring.dependence import groups
from denizen.measuring.significance import Difference, paired_differences

_Values = np.ndarray[Any, np.dtype[np.float64]]

# Names as people write them, and the measure of ir_measures behind each. DCG@5 is ours: ir_measures has none.
_IR_MEASURES = {"MRR@5": RR @ 5, "Recall@5": R @ 5, "nDCG@10": nDCG @ 10, "Recall@100": R @ 100}
MEASURES = ("MRR@5", "Recall@5", "DCG@5", "nDCG@10", "Recall@100")


def measure(run: pa.Table, qrels: pa.Table, query_ids: Sequence[str]) -> pa.Table:
    """Every measure for every query.

    The run's own order counts (ties are already broken by doc_id). A query that the run does not have counts as 0; each
    needs at least one relevant passage.

    Returns:
        A `metrics` table, by measure in the order of `MEASURES`, then in the order of `query_ids`.
    """
    ranked = {query_id: [doc_id for doc_id, _ in found] for query_id, found in rankings(run).items()}
    known = relevant(qrels)
    judged = {query_id: known[query_id] for query_id in query_ids}
    # trec_eval sorts by score and breaks ties its own way; falling whole numbers make it keep our order
    scored = {
        query_id: {doc_id: float(-rank) for rank, doc_id in enumerate(ranked[query_id])}
        for query_id in judged
        if query_id in ranked
    }
    values = {("DCG@5", query_id): dcg(ranked[query_id], judged[query_id], 5) for query_id in scored}
    names = {str(spec): name for name, spec in _IR_MEASURES.items()}
    if scored:
        for metric in ir_measures.iter_calc(list(_IR_MEASURES.values()), judged, scored):
            values[names[str(metric.measure)], metric.query_id] = metric.value
    keys = ((name, query_id) for name in MEASURES for query_id in query_ids)
    return rows_table("metrics", ((*key, values.get(key, 0.0)) for key in keys))


def of_graded(run: pa.Table, graded: Collection[tuple[str, str]] | None) -> pa.Table:
    """A run without what nobody has graded: to call it wrong would be to guess, so the next passage takes its rank.

    Every measure by a teacher's grades is taken of this, so that a budget that ended before the last student's finds
    does not decide against it.

    Args:
        run: A `run` table.
        graded: Query and passage of all that was graded; None: labels, by which what is not named is not relevant.
    """
    if graded is None:
        return run
    return run.filter(pa.array([pair in graded for pair in each(run, "query_id", "doc_id")], pa.bool_()))


def graded_by(judgments: pa.Table | None) -> frozenset[tuple[str, str]] | None:
    """Query and passage of all that a `judgments` table holds a judgment of; None without one."""
    return None if judgments is None else frozenset(each(judgments, "query_id", "doc_id"))


def firsts(runs: Iterable[pa.Table], qrels: pa.Table, query_ids: Collection[str], depth: int) -> set[str]:
    """What can change a rank near the top: what is relevant to some queries, and what runs rank first for them, `depth`
    passages each.

    The rest of a corpus need not be embedded with a model that only has to be compared.
    """
    known = relevant(qrels)
    found = {doc_id for query_id in query_ids for doc_id in known.get(query_id, ())}
    for run in runs:
        for ranking in rankings(only(run, "query_id", query_ids)).values():
            found.update(doc_id for doc_id, _ in ranking[:depth])
    return found


def dcg(ranked: Sequence[str], judged: Mapping[str, int], depth: int) -> float:
    """Discounted cumulative gain: the sum of relevance / log2(rank + 1) over the first `depth` ranks.

    Unnormalised, as arXiv 2512.08088 reports it, with the linear gains of trec_eval.
    """
    gains = (judged.get(doc_id, 0) / np.log2(rank + 1) for rank, doc_id in enumerate(ranked[:depth], start=1))
    return float(sum(gains))


def per_query(metrics: pa.Table) -> dict[str, _Values]:
    """Measure name to its values, one for each query in the table's order."""
    names = np.array(metrics["measure"].to_pylist())
    values = metrics["value"].to_numpy()
    return {name: values[names == name] for name in dict.fromkeys(names.tolist())}


def means(metrics: pa.Table) -> dict[str, float]:
    """Measure name to its mean over queries."""
    return {name: float(values.mean()) for name, values in per_query(metrics).items()}


def compare(system: pa.Table, base: pa.Table, together: Sequence[int] | None = None) -> dict[str, Difference]:
    """The difference system - base for each measure, on the same queries in the same order.

    Args:
        system: A `metrics` table.
        base: Another one.
        together: The group of each query; None: all are independent.
    """
    ours, theirs = per_query(system), per_query(base)
    found = paired_differences([*ours.values()], [theirs[name] for name in ours], groups=together)
    return dict(zip(ours, found, strict=True))


def write_evaluation(
    folder: Path | None,
    runs: dict[str, pa.Table],
    qrels: pa.Table,
    query_ids: list[str],
    corpus: pa.Table,
    measures: Sequence[str] = MEASURES,
    first_stage: str = "",
) -> dict[str, Any]:
    """Measures runs on the same queries and writes per-query metrics and TREC files: a run a system, and qrels.

    Queries whose answers are of one document are taken together where chance is asked for.

    Args:
        folder: Where to write; None: nowhere.
        runs: System name to `run`; the first is the one that the others are compared with.
        qrels: A `qrels` table.
        query_ids: The queries to measure.
        corpus: The passages, which say what depends on each other.
        measures: Those that the labels allow: what was judged to depth 5 says nothing about Recall@100.
        first_stage: The system whose finds `reranked` has put in order, if there is one.

    Returns:
        Means, differences of each system to the first, advantages of `adapted` (if there is one) over each and of each
        over BM25 and over `base-hybrid`, of `reranked` over its first stage, how many queries each run does not have,
        and how they were grouped.
    """
    metrics = {}
    for name, run in runs.items():
        metrics[name] = only(measure(run, qrels, query_ids), "measure", measures)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_table(folder / f"{name}.metrics.parquet", metrics[name])
            write_trec_run(folder / f"{name}.trec", run, name)
    if folder is not None:
        write_trec_qrels(folder / "qrels.trec", only(qrels, "query_id", query_ids))
    first = next(iter(runs))
    grouped = groups(query_ids, qrels, corpus)
    together = grouped.numbers(query_ids)

    def differences(system: str, base: str) -> dict[str, Any]:
        return {spec: asdict(found) for spec, found in compare(metrics[system], metrics[base], together).items()}

    others = [name for name in runs if name != first]
    beaten = [name for name in others if name != "adapted"] if "adapted" in runs else []
    return {
        "means": {name: means(values) for name, values in metrics.items()},
        "differences": {name: differences(name, first) for name in others},
        "advantages": {name: differences("adapted", name) for name in beaten},
        **{
            key: {name: differences(name, other) for name in runs if name != other} if other in runs else {}
            for key, other in (("over_bm25", "bm25"), ("over_base_hybrid", "base-hybrid"))
        },
        **({"over_first_stage": differences("reranked", first_stage)} if "reranked" in runs else {}),
        "missing_queries": {name: len(missing_queries(run, query_ids)) for name, run in runs.items()},
        "queries": len(query_ids),
        "grouped": {"by": grouped.by, "groups": grouped.count},
    }


def check_out(folder: Path) -> None:
    """Makes sure that an evaluation can be written there, before hours of work and not after them.

    Raises:
        InputError: When the folder holds something else.
        OSError: When it cannot be made or written.
    """
    if folder.is_dir() and any(folder.iterdir()) and "means" not in (read_json(folder / "metrics.json") or {}):
        raise InputError(f"--out {folder} is not empty and holds no evaluation of denizen; give a new folder")
    probe(folder)


def missing_queries(run: pa.Table, query_ids: Sequence[str]) -> list[str]:
    """The queries for which the run has nothing."""
    present = set(run["query_id"].unique().to_pylist())
    return [query_id for query_id in query_ids if query_id not in present]
