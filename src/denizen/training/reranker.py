"""The step that trains a reranker: a cross-encoder on the judged pool of the bi-encoder whose finds it rescores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.artifacts import Candidates, Corpus, Examples, Judgments, Model, Qrels, Queries
from denizen.data.relatedness import NEGATIVE, not_negatives
from denizen.data.tables import each, irrelevant, rows_table, texts_by_id
from denizen.engine.step import Context, step
from denizen.retrievers.index import Index
from denizen.training.train import Pass, best_windows, seen_at_once

# beside each answer; each costs as much time as the answer itself, and sentence-transformers' own ranking loss for
# cross-encoders takes as many
NEGATIVES = 4


def _planned(params: Pass, *, examples: Examples, **inputs: Any) -> dict[str, Any]:
    from denizen.training import cross_encoder

    lists = examples.facts.get("examples", 0)
    return {
        "steps": cross_encoder.steps(lists),
        "trained_texts": lists * (1 + NEGATIVES) * cross_encoder.EPOCHS,
    }


@step(version=2, makes=Model, name="reranker", plan=_planned, local=True)
def train_reranker(  # noqa: PLR0913
    out: Path,
    params: Pass,
    ctx: Context,
    *,
    start: Model,
    examples: Examples,
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
    student: Model,
    index: Index,
    judgments: Judgments | None = None,
    candidates: Candidates | None = None,
) -> dict[str, Any]:
    """Trains a cross-encoder, for this run alone: people change what they are given.

    Args:
        out: Where the model goes.
        params: How.
        ctx: Its scratch folder holds checkpoints.
        start: A cross-encoder or a bi-encoder to start from.
        examples: Those of the last round.
        corpus: The texts of passages.
        queries: The texts of queries.
        qrels: What is relevant, and what is labelled irrelevant.
        student: The bi-encoder whose finds the examples come from; it says which window of a longer passage is read.
        index: What that has embedded the corpus with.
        judgments: What a teacher has said of others.
        candidates: What else was mined in the last round.
    """
    from denizen.retrievers.bi_encoder import Encoders
    from denizen.retrievers.cross_encoder import passage_room, start_cross_encoder
    from denizen.training import cross_encoder

    known = None if judgments is None else judgments.table
    more = None if candidates is None else candidates.table
    asked = examples.table["query_id"].unique().to_pylist()
    related = not_negatives(qrels.table, known, corpus.table, asked)
    rows = lists(examples.table, judged_or_mined(qrels.table, known, more), related, params.seed)
    model = index.model(student, ctx[Encoders])
    rooms = (seen_at_once(model, params.max_tokens), passage_room(start_cross_encoder(start.path, params.seed)))
    room = min(room for room in rooms if room)
    said = best_windows(model, room, rows, corpus.table, queries.table, ctx.progress)
    text_of, question = texts_by_id(corpus.table), dict(each(queries.table, "query_id", "text"))
    made = [
        cross_encoder.AnswerList(
            question[query_id],
            [text_of[doc_id] if said is None else said[query_id, doc_id] for doc_id in (positive, *negatives)],
        )
        for query_id, positive, negatives in each(rows, "query_id", "positive_id", "negative_ids")
    ]
    with ctx.progress.bar(cross_encoder.steps(len(made)), "steps") as advance:
        return cross_encoder.train(out, start.path, made, params, ctx.scratch, advance)


def lists(
    examples: pa.Table,
    beside: Mapping[str, Sequence[str]],
    related: Mapping[str, frozenset[str]],
    seed: int,
) -> pa.Table:
    """Each answer of a query with four passages that are none, as `examples`; where there is none, there is no list.

    First come the negatives that the student was trained with, those of the last round before; then a draw of what was
    judged irrelevant or mined beside; then, as in a batch of the student, what answers other queries.

    Args:
        examples: Those of the student.
        beside: By query what was judged irrelevant or mined (`judged_or_mined`).
        related: By query what must not be one of its negatives (`not_negatives`).
        seed: Of the draws.
    """
    answers: dict[str, dict[str, None]] = {}
    trained: dict[str, dict[str, None]] = {}
    # of a stable order: the last round first
    for row in sorted(examples.to_pylist(), key=lambda row: -row["round"]):
        answers.setdefault(row["query_id"], {})[row["positive_id"]] = None
        trained.setdefault(row["query_id"], {}).update(dict.fromkeys(row["negative_ids"]))
    elsewhere = sorted({doc_id for of_query in answers.values() for doc_id in of_query})
    random, rows = np.random.default_rng(seed), []
    for query_id in dict.fromkeys(examples["query_id"].to_pylist()):
        right = answers[query_id]
        near = sorted({*beside.get(query_id, ())})
        near = [near[at] for at in random.permutation(len(near))]
        # few of these are related
        count = min(len(elsewhere), 4 * NEGATIVES)
        far = [elsewhere[at] for at in random.choice(len(elsewhere), count, replace=False)]
        far = [doc_id for doc_id in far if doc_id not in related.get(query_id, ())]
        # a list of what a teacher values has parts of answers, and other answers
        taught = [doc_id for doc_id in trained[query_id] if doc_id not in related.get(query_id, ())]
        drawn = dict.fromkeys([*taught, *near, *far])
        if negatives := [doc_id for doc_id in drawn if doc_id not in right][:NEGATIVES]:
            rows += [{"query_id": query_id, "positive_id": doc_id, "negative_ids": negatives} for doc_id in right]
    return rows_table("examples", rows)


def judged_or_mined(
    qrels: pa.Table, judgments: pa.Table | None, candidates: pa.Table | None
) -> Mapping[str, Sequence[str]]:
    """By query what was judged irrelevant, or mined as a negative.

    Args:
        qrels: What labels call irrelevant; they count where no teacher has graded.
        judgments: What a teacher has graded; what is below a part of an answer is irrelevant.
        candidates: What was mined, with roles.
    """
    found: dict[str, list[str]] = {}
    if judgments is None:
        found = {query_id: list(doc_ids) for query_id, doc_ids in irrelevant(qrels).items()}
    else:
        for query_id, doc_id, grade in each(judgments, "query_id", "doc_id", "grade"):
            if grade is not None and grade <= NEGATIVE:
                found.setdefault(query_id, []).append(doc_id)
    if candidates is not None:
        for query_id, doc_id, role in each(candidates, "query_id", "doc_id", "role"):
            if role in ("irrelevant", "negative"):
                found.setdefault(query_id, []).append(doc_id)
    return found
