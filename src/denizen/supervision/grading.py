"""The steps in which a teacher looks: what it is shown, what it says, what that makes known, and examples from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from denizen.data.artifacts import Candidates, Corpus, Examples, Judgments, Model, Part, Qrels, Queries, Run
from denizen.data.tables import each, only, relevant, texts, texts_by_id, write_table
from denizen.engine.artifact import Artifact, Value
from denizen.engine.settings import Params, Seeded, setting
from denizen.engine.step import Context, Partial, step
from denizen.llm.client import LLM
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.index import Index
from denizen.supervision import examples, judging, sampling
from denizen.supervision.asking import Asking, calls_left, check_coverage, whole_or_partial
from denizen.supervision.judging import Pair, Teacher
from denizen.supervision.sampling import Sampling as Draw
from denizen.supervision.selecting import NEGATIVES, Selecting, ranks, write_examples
from denizen.supervision.write_queries import LLMChoice
from denizen.training.train import LossChoice

# what is measured on dev needs the best five of each student graded
DEV_TOP = 5
# so does the test, of base, BM25 and adapted, and of the hybrid where it is shipped: at most all different
TEST_TOP = 4 * DEV_TOP


@dataclass(frozen=True)
class Sampling(Seeded):
    """Which passages a teacher is shown."""

    panel = "Candidates for the teacher"

    mine_within: Literal["auto", "documents", "corpus"] = setting(
        "auto", "Candidates to grade: within each found document, or of the whole corpus; auto: by passages a document."
    )
    # 20 asks for four times as many grades and gives no more; see docs/LOG.md
    found_by: int = setting(5, "The best passages that name the documents to look into (K).", least=1, most=1000)
    # k = 5 and 2k below them (arXiv 2512.08088); the paper does not name the decay, and 0, .05 and .5 differ
    # by chance alone
    graded_top: int = setting(5, "Best passages that are graded (k); twice as many are drawn below.", least=1, most=500)
    decay: float = setting(0.05, "Decay of the drawing by rank (omega).", least=0, most=100)

    def within(self, corpus: pa.Table) -> str:
        """Where candidates are looked for, "documents" or "corpus": as set, else by how long the documents are."""
        if self.mine_within != "auto":
            return self.mine_within
        return "documents" if sampling.has_long_documents(corpus) else "corpus"


@dataclass(frozen=True)
class Grading(LLMChoice):
    """How an LLM grades."""

    panel = "Candidates for the teacher"

    grades_per_call: int = setting(1, "Passages that are graded in one call.", least=1, most=50)


@dataclass(frozen=True)
class SelectingGraded(Selecting):
    """Which graded passages become examples."""

    panel = "Candidates for the teacher"

    same_document: bool = setting(False, "Both passages of an example come from one document (arXiv 2512.08088).")
    depth: int = setting(100, "How many passages are retrieved for a query.", least=100, most=1000)


@dataclass(frozen=True)
class SelectingScored(LossChoice):
    """Which scored passages become examples."""

    panel = "Mining"

    negatives: int = setting(1, NEGATIVES, least=0, most=64)


class Answers(Artifact):
    """What a teacher has made known."""

    qrels = Part("qrels.parquet", Qrels)
    judgments = Part("judgments.parquet", Judgments)


@dataclass(frozen=True)
class Allotment:
    """What is still to come, for dealing out the budget.

    Attributes:
        rounds: Rounds after this one.
    """

    rounds: int


@step(version=4, makes=Candidates, name="candidates")
def sample(  # noqa: PLR0913
    out: Path,
    params: Sampling,
    ctx: Context,
    *,
    found: Run,
    model: Model,
    index: Index,
    corpus: Corpus,
    queries: Queries,
    pairs: Qrels,
    splits: Value,
    student: Value,
) -> dict[str, Any]:
    """What the teacher will be shown.

    Args:
        out: Where to write.
        params: How much, and from where.
        ctx: Where embeddings are.
        found: The student's run.
        model: The student.
        index: What has embedded the corpus with it.
        corpus: The passages.
        queries: The queries.
        pairs: What they were written for, which is always shown.
        splits: Whose queries.
        student: Its number.
    """
    name, within = f"student-{student.content}", params.within(corpus.table)
    train = Draw(params.graded_top, 2 * params.graded_top, params.decay, params.seed, params.found_by)
    wanted = {"train": train, "dev": Draw(DEV_TOP, 0, params.decay, params.seed, params.found_by)}
    own = written_for(pairs)
    parts = []
    for split in splits.content:
        rows = queries.texts(split)
        part = only(found.table, "query_id", rows)
        # the best of dev are taken from the whole corpus, as a search would show them
        if within == "documents" and split == "train":
            encoder = index.encoder(model, ctx[Encoders])
            vectors = encoder.encode(texts(corpus.table), "document")
            asked = dict(zip(rows, encoder.encode(list(rows.values()), "query")[:], strict=True))
            made = sampling.from_documents(part, corpus.table, vectors, asked, wanted[split], own, name)
        else:
            made = sampling.from_corpus(part, wanted[split], own, name)
        parts.append(made)
    candidates = pa.concat_tables(parts)
    write_table(out / "candidates.parquet", candidates)
    ctx.progress.note(f"{len(candidates):,} candidates, from each {'document' if within == 'documents' else 'query'}")
    return {"candidates": len(candidates), "within": within}


@step(version=3, makes=Judgments, name="judgments")
def judge(  # noqa: PLR0913
    out: Path,
    params: Params,
    ctx: Context,
    *,
    candidates: Candidates,
    earlier: Sequence[Judgments],
    corpus: Corpus,
    queries: Queries,
    pairs: Qrels,
    prompts: Value | None = None,
    cross_encoder: Model | None = None,
) -> dict[str, Any] | Partial:
    """Has the candidates judged that no earlier round has shown, those of dev first.

    Args:
        out: Where to write.
        params: `Grading` for an LLM.
        ctx: Its LLM, and what is still to come.
        candidates: What to judge.
        earlier: The judgments of the rounds before.
        corpus: The texts of passages.
        queries: The texts of queries.
        pairs: What they were written for, which is judged first.
        prompts: What an LLM is asked.
        cross_encoder: Who judges instead.
    """
    stage = ctx.place
    known = {pair for part in earlier for pair in each(part.table, "query_id", "doc_id")}
    of_split = {
        split: _pairs(candidates.table, queries.texts(split), corpus.table, pairs, known) for split in ("dev", "train")
    }
    unit = "pairs" if cross_encoder else "calls"
    shares = {"dev": None, "train": None} if cross_encoder else _shares(params, ctx, stage, queries, of_split["dev"])
    parts, lost = [], []
    for split, most in shares.items():
        of_this = of_split[split]
        teacher = teacher_of(params, ctx, stage, cross_encoder, most)
        with ctx.progress.bar(teacher.calls(of_this), f"{split} {unit}") as advance:
            judgments, failures = judging.judge(of_this, teacher, stage, advance)
        parts.append(judgments)
        lost.append(failures)
    judgments, failures = pa.concat_tables(parts), pa.concat_tables(lost)
    facts = check_coverage(stage, len(judgments) + len(failures), failures, ctx[Asking].min_coverage)
    write_table(out / "judgments.parquet", judgments)
    write_table(out / "failures.parquet", failures)
    grades = judgments["grade"].to_pylist()
    counts = {grade: grades.count(grade) for grade in (1, 2, 3, 4)}
    ctx.progress.note(f"coverage {facts['coverage']:.1%}; grades 1-4: {', '.join(map(str, counts.values()))}")
    if facts["cut_off_by_budget"]:
        ctx.progress.note(f"{facts['cut_off_by_budget']:,} cut off by the budget")
    return whole_or_partial({**facts, "grades": counts})


@step(version=2, makes=Answers, name="answers")
def answer(
    out: Path, params: Params, ctx: Context, *, judged: Sequence[Judgments], pairs: Qrels, answer_from: Value
) -> dict[str, Any]:
    """What is an answer by all judgments so far, from which grade on, and by what queries were written for."""
    together = pa.concat_tables([judging.no_judgments(), *(part.table for part in judged)])
    known = judging.with_sources(together, written_for(pairs), answer_from.content)
    qrels = judging.graded_qrels(known)
    write_table(out / "judgments.parquet", known)
    write_table(out / "qrels.parquet", qrels)
    return {"judged": len(known), "answers": sum(qrels["relevance"].to_pylist())}


@step(version=5, makes=Examples, name="examples")
def select_graded(  # noqa: PLR0913
    out: Path,
    params: SelectingGraded,
    ctx: Context,
    *,
    found: Run,
    judgments: Judgments,
    corpus: Corpus,
    queries: Queries,
    pairs: Qrels,
    student: Value,
    earlier: Examples | None = None,
) -> dict[str, Any]:
    """Examples from grades: this round's, together with those of all rounds before."""
    ids, own = list(queries.texts("train")), written_for(pairs)
    roles = examples.with_roles(judgments.table, found.table, ids, params.depth, own)
    windows = examples.judged_windows(ranks(params.hard_positive_ranks), params.depth)
    home = dict(each(corpus.table, "doc_id", "parent_id")) if params.same_document else None
    if params.triplets:
        made = examples.triplets(roles, windows, params.easy_per_hard, params.seed + student.content, home)
    elif params.lists:
        made = examples.graded_lists(judgments.table, found.table, ids, params.negatives, own, home)
    else:
        made = examples.contrastive_rows(roles, windows, params.negatives, params.positives, home)
    asked = len({row["query_id"] for row in roles.to_pylist() if row["role"] == "positive"})
    disputed = len(examples.disputed_queries(judgments.table, own) & set(ids))
    ctx.progress.note(f"{asked:,} of {len(ids):,} queries have an answer")
    if disputed:
        ctx.progress.note(f"{disputed:,} left out: their own passage is none by the teacher's grade")
    counts = {"answered_queries": asked, "disputed_queries": disputed}
    return {**write_examples(out, made, student.content, earlier, ctx.progress, bare=False), **counts}


@step(version=5, makes=Examples, name="examples")
def select_scored(  # noqa: PLR0913
    out: Path,
    params: SelectingScored,
    ctx: Context,
    *,
    found: Run,
    judgments: Judgments,
    queries: Queries,
    student: Value,
    earlier: Examples | None = None,
) -> dict[str, Any]:
    """Examples from scores: this round's, together with those of all rounds before."""
    # of a list that is shorter the rest is masked; MarginMSE asks for whole rows
    least = 1 if params.lists else None
    made = examples.scored_rows(judgments.table, found.table, list(queries.texts("train")), params.negatives, least)
    return write_examples(out, made, student.content, earlier, ctx.progress, bare=False)


def written_for(pairs: Qrels) -> dict[str, list[str]]:
    """Query id to the passages that it was written for."""
    return {query_id: list(passages) for query_id, passages in relevant(pairs.table).items()}


def teacher_of(
    params: Params,
    ctx: Context,
    stage: str,
    cross_encoder: Model | None,
    most: int | None = None,
    *,
    by_query: bool = False,
) -> Teacher:
    """Who judges.

    Args:
        params: `Grading` for an LLM.
        ctx: Its LLM.
        stage: The step that asks.
        cross_encoder: Who judges instead of an LLM.
        most: The most calls that this step may pay for.
        by_query: Where a budget ends, leave whole queries.
    """
    if cross_encoder is not None:
        return judging.CrossEncoderTeacher(cross_encoder.path)
    return judging.LLMTeacher(ctx[LLM], stage, _together(params), most=most, by_query=by_query)


def _together(params: Params) -> int:
    return params.grades_per_call if isinstance(params, Grading) else 1


def _pairs(
    candidates: pa.Table, question: Mapping[str, str], corpus: pa.Table, pairs: Qrels, known: set[tuple[str, str]]
) -> list[Pair]:
    """What is to be judged: first what queries were written for, then by rank, so that a budget that ends leaves
    each query with its most telling passages.
    """
    text_of = texts_by_id(corpus)
    sources = set(each(pairs.table, "query_id", "doc_id"))
    rows = [
        ((query_id, doc_id) not in sources, rank is None, rank or 0, query_id, doc_id)
        for query_id, doc_id, rank in each(candidates, "query_id", "doc_id", "rank")
        if query_id in question and (query_id, doc_id) not in known
    ]
    return [Pair(query, passage, question[query], text_of[passage]) for *_, query, passage in sorted(rows)]


def _shares(
    params: Params, ctx: Context, stage: str, queries: Queries, of_dev: Sequence[Pair]
) -> dict[str, int | None]:
    """How many calls of a round dev and train may pay for.

    What dev, its later rounds and the test need is set aside first, at most half of what the budget has left; the
    rest is dealt out over the rounds to come.
    """
    left = calls_left(ctx[LLM], stage)
    if left is None:
        return {"dev": None, "train": None}
    rounds, together = ctx[Allotment].rounds, _together(params)
    now = teacher_of(params, ctx, stage, None).calls(of_dev)
    later = rounds * -(-DEV_TOP // together) * len(queries.texts("dev"))
    # a labelled test has no written queries
    wanted = now + later + -(-TEST_TOP // together) * len(queries.texts("test"))
    set_aside = min(wanted, left // 2 if rounds else left)
    train = (left - set_aside) // max(1, rounds)
    dev = now if set_aside == wanted else now * set_aside // wanted
    if dev < now:
        ctx.progress.note(f"the budget pays for {dev:,} of {now:,} dev calls and {train:,} train calls")
    return {"dev": dev, "train": train}
