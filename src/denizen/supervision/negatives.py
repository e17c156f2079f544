"""The step in which an LLM writes hard negatives: passages in the manner of a query's own, which do not answer it.

After arXiv 2602.04731, which trusts what was written. Here the judge grades it first: what holds an answer, or a part
of one, is no negative. What is written is never searched: it stands in a table of its own, for training alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from denizen.data.artifacts import Corpus, Negatives, Qrels, Queries
from denizen.data.relatedness import NEGATIVE, POSITIVE
from denizen.data.tables import each, folded, relevant, rows_table, texts_by_id, write_table
from denizen.engine.artifact import Value
from denizen.engine.progress import Progress
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, Partial, step
from denizen.llm.answer import Answer, Failure, Prompt
from denizen.llm.client import LLM
from denizen.llm.prompts import messages
from denizen.supervision import judging
from denizen.supervision.asking import Asking, calls_left, check_coverage, whole_or_partial
from denizen.supervision.judging import Pair
from denizen.supervision.write_queries import LLMChoice

STAGE = "negatives"
# calls for each: one writes, one grades
CALLS = 2
# writing and grading them may take at most the budget divided by this: grades of what is found teach more
_PART = 5
# a passage of 1,000 characters, and room for one that grows
_PASSAGE_TOKENS = 600


@dataclass(frozen=True)
class NegativeWriting(LLMChoice, Seeded):
    """How many hard negatives are written."""

    panel = "Candidates for the teacher"

    # arXiv 2602.04731: 2 to 4 % for a general expert, a loss for some of the medical ones. Each costs two calls
    synthetic_negatives: int = setting(
        0,
        "Training queries for which the LLM writes a hard negative, too: like their passage, and no answer; 0: none.",
        least=0,
        most=10_000_000,
    )


class WrittenPassage(BaseModel):
    """The reply to negative.txt."""

    passage: str


@step(version=1, makes=Negatives, name=STAGE)
def write_negatives(
    out: Path,
    params: NegativeWriting,
    ctx: Context,
    *,
    corpus: Corpus,
    queries: Queries,
    pairs: Qrels,
    prompts: Value,
) -> dict[str, Any] | Partial:
    """Writes corpus.parquet (all that was to be graded), examples.parquet (what is used), judgments and failures.

    What was written is of no use where it is empty or the passage itself, is dropped where the judge finds an answer or
    a part of one in it (grade 3 or 4), and is not used where it could not be graded.

    Args:
        out: Where to write.
        params: How many, and the seed that draws the queries.
        ctx: Its LLM writes and grades.
        corpus: The passages.
        queries: The queries, of which those of train count.
        pairs: What they were written for. Of several passages none need be a whole answer: such a query has none here.
        prompts: What is asked.

    Raises:
        InputError: When too few calls were answered.
    """
    wanted = drawn(corpus.table, queries, pairs.table, params)
    left = calls_left(ctx[LLM], STAGE, [prompt_of(pair) for pair in wanted])
    paid = wanted if left is None else wanted[: left // _PART // CALLS]
    with ctx.progress.bar(len(paid), "calls that write") as advance:
        replies = ctx[LLM].ask([prompt_of(pair) for pair in paid], STAGE, advance)
    made = _written(paid, replies, set(corpus.table["doc_id"].to_pylist()))
    usable = [(own, other) for own, other in made if _is_other(other.passage, own.passage)]
    judgments, ungraded = _graded([other for _, other in usable], ctx[LLM], ctx.progress)
    failures = pa.concat_tables([_unwritten(paid, replies), ungraded])
    facts = check_coverage(STAGE, len(paid) + len(usable), failures, ctx[Asking].min_coverage)
    facts["cut_off_by_budget"] += CALLS * (len(wanted) - len(paid))
    grade_of = dict(each(judgments, "doc_id", "grade"))
    used = [(own, other) for own, other in usable if grade_of.get(other.doc_id, POSITIVE) <= NEGATIVE]
    write_table(out / "corpus.parquet", _corpus(other for _, other in usable))
    write_table(out / "examples.parquet", rows_table("examples", (_example(*both, grade_of) for both in used)))
    write_table(out / "judgments.parquet", judgments)
    write_table(out / "failures.parquet", failures)
    answers = sum(grade > NEGATIVE for grade in grade_of.values())
    told = {"written": len(made), "unusable": len(made) - len(usable), "answers": answers, "used": len(used)}
    ctx.progress.note(counted(told))
    return whole_or_partial({**facts, **told})


def counted(facts: Mapping[str, int]) -> str:
    """What became of the passages, in words."""
    return (
        f"{facts['written']:,} hard negatives written, {facts['unusable']:,} of no use, "
        f"{facts['answers']:,} dropped as answers, {facts['used']:,} used"
    )


def drawn(corpus: pa.Table, queries: Queries, pairs: pa.Table, params: NegativeWriting) -> list[Pair]:
    """Training queries that were written for one passage, with that, in random order."""
    sources, asked, text_of = relevant(pairs), queries.texts("train"), texts_by_id(corpus)
    single = [name for name in asked if len(sources.get(name, ())) == 1]
    order = np.random.default_rng(params.seed).permutation(len(single))[: params.synthetic_negatives].tolist()
    found = []
    for name in (single[at] for at in order):
        (source,) = sources[name]
        found.append(Pair(name, source, asked[name], text_of[source]))
    return found


def prompt_of(pair: Pair) -> Prompt:
    """The call for a query with its passage."""
    text = messages("negative", {"passage": pair.passage, "query": pair.query})
    return Prompt(text, WrittenPassage, _PASSAGE_TOKENS)


def _written(
    pairs: Sequence[Pair], replies: Sequence[Answer | Failure], known: Collection[str]
) -> list[tuple[Pair, Pair]]:
    """Each query with its passage, and with the one that was written; calls that failed are left out."""
    found = []
    for pair, reply in zip(pairs, replies, strict=True):
        if isinstance(reply, Answer) and isinstance(reply.value, WrittenPassage):
            doc_id = f"negative-{pair.query_id}"
            while doc_id in known:
                doc_id += "@"
            found.append((pair, replace(pair, doc_id=doc_id, passage=reply.value.passage.strip())))
    return found


def _is_other(passage: str, own: str) -> bool:
    """Whether it is a text, and not its model with something around it."""
    return bool(passage) and folded(own) not in folded(passage)


def _graded(pairs: Sequence[Pair], llm: LLM, progress: Progress) -> tuple[pa.Table, pa.Table]:
    """Judgments and failures."""
    teacher = judging.LLMTeacher(llm, STAGE)
    with progress.bar(teacher.calls(pairs), "calls that grade") as advance:
        return judging.judge(pairs, teacher, STAGE, advance)


def _unwritten(pairs: Sequence[Pair], replies: Sequence[Answer | Failure]) -> pa.Table:
    """A row for each passage that was not written."""
    rows = [
        judging.failed(STAGE, pair, reply)
        for pair, reply in zip(pairs, replies, strict=True)
        if isinstance(reply, Failure)
    ]
    return rows_table("failures", rows)


def _corpus(written: Iterable[Pair]) -> pa.Table:
    rows = [
        {
            "doc_id": pair.doc_id,
            "text": pair.passage,
            "source": STAGE,
            "parent_id": pair.doc_id,
            "start": 0,
            "end": len(pair.passage),
        }
        for pair in sorted(written, key=lambda pair: pair.doc_id)
    ]
    return rows_table("corpus", rows)


def _example(own: Pair, other: Pair, grade_of: Mapping[str, int]) -> dict[str, Any]:
    return {
        "query_id": own.query_id,
        "positive_id": own.doc_id,
        "negative_ids": [other.doc_id],
        "kind": "hard",
        "reason": f"written as a negative, grade {grade_of[other.doc_id]}",
        "round": 0,
    }
