"""The step that tries a judge before it is asked and paid for a whole run: does it tell answers from what is near them?

A query that was written for one passage is answered there, and hardly in a passage of another document that BM25 ranks
about fifteenth. A judge that cannot tell the two apart makes training worse than no grades do: it leaves out the
queries whose own passage it does not call an answer, and calls passages answers that are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.artifacts import Corpus, Documents, Qrels, Queries
from denizen.data.relatedness import POSITIVE, related_passages
from denizen.data.tables import each, only, rankings, relevant, texts_by_id, write_table
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, Partial, step
from denizen.llm.client import LLM
from denizen.measuring.agreement import cohen_kappa, positive_rates, words
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.searching import search_each
from denizen.supervision import judging
from denizen.supervision.asking import calls_left, check_coverage, whole_or_partial
from denizen.supervision.judging import Pair
from denizen.supervision.write_queries import LLMChoice

STAGE = "trial"
# that are tried, two passages each; the standard error of kappa then is about .1
QUERIES = 30
# fewer say nothing
_LEAST = 10
# a trial may take at most the budget divided by this
_TRIAL_PART = 10
# BM25's rank that the near passage stands nearest to: on the topic, and seldom another answer
_NEAR = 15


@dataclass(frozen=True)
class TrialChoice(LLMChoice, Seeded):
    """Whether the judge is tried, and what it has to reach."""

    panel = "Candidates for the teacher"

    # Below "moderate" (Landis and Koch 1977) training without any grade is the safer way: it keeps 73 to 95 % of the
    # gain (bench/distill.py), and a judge of kappa .2 drops most queries
    least_kappa: float = setting(
        0.4,
        "Train without grades when the LLM's kappa on a trial (passages that queries were written for, and near ones) "
        "is lower; 0: no trial.",
        least=0,
        most=1,
    )


class Trial(Artifact):
    """What came of it."""

    @property
    def passed(self) -> bool:
        """Whether the judge is asked; in a plan: yes, which costs more."""
        return bool(self.facts.get("passed", True))

    @property
    def answer_from(self) -> int:
        """From which grade on a passage is an answer."""
        return int(self.facts.get("answer_from", POSITIVE))


@step(version=1, makes=Trial, name=STAGE)
def try_judge(  # noqa: PLR0913
    out: Path,
    params: TrialChoice,
    ctx: Context,
    *,
    corpus: Corpus,
    documents: Documents,
    queries: Queries,
    pairs: Qrels,
    prompts: Value,
) -> dict[str, Any] | Partial:
    """Has some queries of train and dev graded with their own passage and with a near one of another document.

    The judge fails when its kappa is below the limit, of answers against what is known: by grade 4 and, where that does
    not suffice, by grades 3 and 4. Passages are graded one a call, since of two that stand together one would always be
    the answer. Where fewer than ten can be tried, or a tenth of the budget pays for fewer, it is asked as it is.

    Args:
        out: Where to write judgments.parquet and failures.parquet.
        params: The limit, and the seed of the drawing.
        ctx: The LLM.
        corpus: The passages.
        documents: Their sides; those of the test are not shown.
        queries: The queries.
        pairs: What they were written for.
        prompts: What is asked.

    Raises:
        InputError: When the judge fails and too few queries have a passage that they were written for.
    """
    known = planted(corpus.table, documents.table, queries, pairs.table, params.seed, ctx.progress)
    teacher = judging.LLMTeacher(ctx[LLM], STAGE, by_query=True)
    left = calls_left(ctx[LLM], STAGE, teacher.prompts(known[0]) if known else ())
    paid = known if left is None else known[: left // _TRIAL_PART // 2]
    if len(paid) < _LEAST:
        paid = []
    listed = [pair for both in paid for pair in both]
    with ctx.progress.bar(teacher.calls(listed), "calls to try the judge") as advance:
        judgments, failures = judging.judge(listed, teacher, STAGE, advance)
    facts = check_coverage(STAGE, len(listed), failures, 0.0)
    facts["cut_off_by_budget"] += 2 * (len(known) - len(paid))
    write_table(out / "judgments.parquet", judgments)
    write_table(out / "failures.parquet", failures)
    grade_of = {(query_id, doc_id): grade for query_id, doc_id, grade in each(judgments, "query_id", "doc_id", "grade")}
    graded = [tuple(grade_of.get((pair.query_id, pair.doc_id)) for pair in both) for both in paid]
    told = verdict([(own, near) for own, near in graded if own and near], params.least_kappa)
    if not told["passed"]:
        told["why"] += _unused(queries, pairs.table)
    ctx.progress.say(told["why"])
    return whole_or_partial({**facts, **told})


def _unused(queries: Queries, pairs: pa.Table) -> str:
    """How many queries cannot be used without grades, as the end of a sentence.

    Raises:
        InputError: When too few are left on a side.
    """
    own, sides = relevant(pairs), {side: queries.texts(side) for side in ("train", "dev", "test")}
    for side, asked in sides.items():
        # a source with labels has its own test
        if asked and sum(name in own for name in asked) < 2:
            raise InputError(
                f"the judge failed its trial, and without its grades fewer than 2 {side} queries have a passage that "
                "they were written for: raise --passages, take a better LLM, or --least-kappa 0, which uses its grades"
            )
    lost = sum(name not in own for asked in sides.values() for name in asked)
    return f". {lost:,} queries that were written for no passage are not used" if lost else ""


def planted(
    corpus: pa.Table, documents: pa.Table, queries: Queries, pairs: pa.Table, seed: int, progress: Progress
) -> list[tuple[Pair, Pair]]:
    """Queries of train and dev that were written for one passage, with that, and with a near one that is no answer.

    Of several passages that a query was written for none need be a whole answer; such a query is not among them.
    """
    sources, asked = relevant(pairs), queries.texts("train", "dev")
    single = [name for name in asked if len(sources.get(name, ())) == 1]
    drawn = [single[at] for at in np.random.default_rng(seed).permutation(len(single))[:QUERIES].tolist()]
    if not drawn:
        return []
    shown = only(corpus, "parent_id", only(documents, "split", ("train", "dev"))["parent_id"].to_pylist())
    wanted = {name: asked[name] for name in drawn}
    run = search_each({"bm25": BM25.fitting(shown)}, wanted, shown, 2 * _NEAR, progress)["bm25"]
    related, text_of, found = related_passages(pairs, shown, drawn), texts_by_id(shown), rankings(run)
    made: list[tuple[Pair, Pair]] = []
    for name in drawn:
        (source,) = sources[name]
        ranked = enumerate((doc_id for doc_id, _ in found.get(name, ())), start=1)
        near = sorted((abs(rank - _NEAR), doc_id) for rank, doc_id in ranked if doc_id not in related[name])
        # where no other passage has a word of the query, any will do
        others = [doc_id for _, doc_id in near] or [doc_id for doc_id in text_of if doc_id not in related[name]]
        if others:
            own, other = (Pair(name, doc_id, asked[name], text_of[doc_id]) for doc_id in (source, others[0]))
            made.append((own, other))
    return made


def verdict(graded: Sequence[tuple[int, int]], least_kappa: float) -> dict[str, Any]:
    """Whether a judge has passed, with the figures and a sentence.

    What fails because it seldom gives grade 4 is looked at once more with grade 3 as an answer, too.

    Args:
        graded: Of each query the grades of its own passage and of a near one.
        least_kappa: What is asked of it.
    """
    strict, lenient = (_agreement(graded, line) for line in (POSITIVE, POSITIVE - 1))
    if len(graded) < _LEAST:
        why = f"the judge could not be tried: {len(graded)} queries were graded, {_LEAST} are needed"
        return {**strict, "least_kappa": least_kappa, "passed": True, "why": why}
    milder = strict["kappa"]["value"] < least_kappa <= lenient["kappa"]["value"]
    kappa = (found := lenient if milder else strict)["kappa"]
    passed = kappa["value"] >= least_kappa
    why = (
        f"the judge's kappa is {kappa['value']:.2f} [{kappa['low']:.2f}, {kappa['high']:.2f}] "
        f"({words(kappa['value'])}) on {2 * len(graded)} passages of which half are known to answer; {least_kappa:g} "
        "is the least"
    )
    if milder:
        why += f". It seldom gives grade 4 (kappa {strict['kappa']['value']:.2f}), so that grade 3 is an answer, too"
    if not passed:
        why += (
            ": the run goes on without grades, by the passages that queries were written for. A better LLM may grade "
            "(denizen audit says how well one does); --least-kappa 0 --redo round-0/candidates uses the grades of this "
            "one all the same"
        )
    return {**found, "least_kappa": least_kappa, "passed": passed, "why": why}


def _agreement(graded: Sequence[tuple[int, int]], line: int) -> dict[str, Any]:
    """Kappa and rates, a grade from the line on being an answer."""
    called = [POSITIVE if grade >= line else 1 for both in graded for grade in both]
    truth = [POSITIVE, 1] * len(graded)
    return {
        "answer_from": line,
        "kappa": asdict(cohen_kappa(called, truth)),
        **asdict(positive_rates(called, truth)),
    }
