"""The step that decides whether a model is shipped alone or fused with BM25, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.artifacts import Corpus, Folds, Judgments, Qrels, Queries, Run
from denizen.engine.artifact import Artifact
from denizen.engine.files import read_json, write_json
from denizen.engine.settings import Seeded
from denizen.engine.step import Context, step
from denizen.measuring.crossfit import FOLDS
from denizen.measuring.significance import Values, paired_difference
from denizen.measuring.students import LEVEL, Choice, Deciding
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.hybrid import FUSED_DEPTH, Hybrid
from denizen.retrievers.retriever import Retriever

# tenths: between two of them the measure differs by less than its noise (Bruch et al., arXiv 2210.11934, fig. 3)
WEIGHTS = tuple(step / 10 for step in range(1, 10))
# the convex combination at each of them, by weights of BM25 and the model
CONVEX: tuple[dict[str, Any], ...] = tuple({"fusion": "convex", "weights": [round(1 - of, 1), of]} for of in WEIGHTS)


class Fused(Artifact):
    """How a model and BM25 are best fused, and whether that is better than the model alone."""

    @property
    def taken(self) -> bool:
        """Whether the hybrid is shipped; in a plan: yes, which costs more."""
        return bool(self.facts.get("taken", True))

    @property
    def system(self) -> str:
        """Which of the systems of a test is shipped by it."""
        return "hybrid" if self.taken else "adapted"

    def hybrid(self, bm25: Retriever, model: Retriever) -> Hybrid:
        """Both, fused that way."""
        found = read_json(self.path / "fusion.json") or {}
        return Hybrid((bm25, model), fusion=found["fusion"], weights=tuple(found["weights"]))


@step(version=3, makes=Fused, name="fusion")
def fuse(  # noqa: PLR0913
    out: Path,
    params: Seeded,
    ctx: Context,
    *,
    model: Choice,
    keywords: Run,
    queries: Queries,
    qrels: Qrels,
    corpus: Corpus,
    judgments: Judgments | None = None,
    folds: Folds | None = None,
) -> dict[str, Any]:
    """Chooses between the model alone and its fusion with BM25.

    The convex combination of scores at nine weights and reciprocal rank fusion are measured by MRR@5 on the queries
    that decide. The best is named; whether it is shipped is decided without having seen what it is measured on: for
    each of five parts of the queries the way is chosen on the other four, and the mean gain over the model alone must
    be above zero. It need not be proven: a hybrid is mostly the better one before anything is measured (Bruch et al.,
    tables 2 and 3), a way that is chosen on few queries shows less than it gains, and what it risks is little, since
    its weight may lie at the model. Where a teacher grades, nobody has graded for BM25: a query counts as no gain
    unless the first five of the hybrid are all graded.

    Args:
        out: Where the choice goes.
        params: The seed of the parts.
        ctx: The progress.
        model: What is shipped otherwise, and what it has found for the queries that decide.
        keywords: What BM25 has found for them.
        queries: Those of dev count; with folds those of train, too.
        qrels: What is an answer.
        corpus: The passages.
        judgments: What a teacher has graded; None: labels.
        folds: Which queries were held out together; None: dev decides.
    """
    deciding = Deciding.of(queries, qrels, corpus, judgments, crossfit=folds is not None)
    ids = deciding.query_ids
    groups = deciding.groups
    ways = [*CONVEX, {"fusion": "rrf", "weights": [1.0, 1.0]}]
    retriever = model.index.retriever(model.model, ctx[Encoders])
    alone, values = deciding.values(model.found.table), []
    with ctx.progress.bar(len(ways), "ways of fusing") as advance:
        for run in fused_runs(ways, retriever, keywords.table, model.found.table):
            values.append(deciding.sure(run, alone))
            advance(1)
    gain = paired_difference(
        unseen(values, alone, fifths(ids, groups, folds, params.seed)), alone, groups=groups, level=LEVEL
    )
    taken = gain.value > 0
    best = max(range(len(ways)), key=lambda at: float(values[at].mean()))
    means = {"alone": float(alone.mean()), "fused": float(values[best].mean())}
    tried = [{**way, "MRR@5": float(found.mean())} for way, found in zip(ways, values, strict=True)]
    facts = {**ways[best], "taken": taken, "gain": asdict(gain), "MRR@5": means, "queries": len(ids)}
    of, verdict = "model" if model.best else "base", "taken" if taken else "no better"
    ctx.progress.say(
        f"MRR@5 of the {of} fused with BM25 {means['fused']:.3f}, alone {means['alone']:.3f} (gain {gain.value:+.3f}, "
        f"90 % interval {gain.low:+.3f} to {gain.high:+.3f}): {verdict}"
    )
    write_json(out / "fusion.json", {**facts, "tried": tried})
    return facts


def fused_runs(
    ways: Sequence[dict[str, Any]], retriever: Retriever, keywords: pa.Table, run: pa.Table
) -> Iterator[pa.Table]:
    """What BM25 and a retriever have found for the same queries, fused in each way: its fusion, and weights of both."""
    # what they score by; what they have found is there
    parts = (BM25(), retriever)
    asked = dict.fromkeys((*keywords["query_id"].to_pylist(), *run["query_id"].to_pylist()), "")
    for way in ways:
        hybrid = Hybrid(parts, fusion=way["fusion"], weights=tuple(way["weights"]))
        yield hybrid.combine((keywords, run), asked, FUSED_DEPTH)


def unseen(values: Sequence[Values], alone: Values, parts: Sequence[int]) -> Values:
    """For each query the value of the way that is the best on all parts but its own.

    Args:
        values: Of each way, by query.
        alone: Those of no way at all, which count where there is but one part.
        parts: The part of each query.
    """
    table, numbers = np.array(values), np.array(parts)
    found = np.zeros(table.shape[1])
    for number in np.unique(numbers):
        inside = numbers == number
        best = table[int(table[:, ~inside].mean(axis=1).argmax())] if (~inside).any() else alone
        found[inside] = best[inside]
    return found


def fifths(query_ids: Sequence[str], groups: Sequence[int], folds: Folds | None, seed: int) -> list[int]:
    """The part of each query, of five: the folds, where there are any, else those of one group in one."""
    if folds is not None:
        return [folds.number_of[query_id] for query_id in query_ids]
    return drawn_fifths(groups, seed)


def drawn_fifths(groups: Sequence[int], seed: int) -> list[int]:
    """The part of each query, of five; those of one group are in one."""
    drawn = np.random.default_rng(seed).permutation(max(groups) + 1) % FOLDS
    return [int(drawn[number]) for number in groups]
