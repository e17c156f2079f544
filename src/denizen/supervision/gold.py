"""Supervision by labels: what the source names is relevant; what it calls irrelevant, or the student ranks high beside
what is relevant, is a negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denizen.data.artifacts import Candidates, Corpus, Evaluation, Examples, Model, Qrels, Queries, Run
from denizen.data.prepare import Given, Labelled, Splitting, prepare
from denizen.data.tables import write_table
from denizen.engine.artifact import Input, Value
from denizen.engine.pipeline import Pipeline
from denizen.engine.settings import Params, setting
from denizen.engine.step import Context, step
from denizen.supervision import examples, mining
from denizen.supervision.examples import Windows
from denizen.supervision.selecting import Selecting, ranks, write_examples
from denizen.supervision.supervision import Known, Round, Seen, Texts


@dataclass(frozen=True)
class NegativeRanks(Params):
    """Where negatives come from."""

    panel = "Mining"

    hard_negative_ranks: str = setting("1-15", "Ranks from which hard negatives come.")
    easy_negative_ranks: str = setting("16-100", "Ranks from which the negatives of easy triplets come.")


@dataclass(frozen=True)
class Mining(NegativeRanks):
    """Which passages are candidates for negatives."""

    # NV-Retriever's TopK-PercPos (arXiv 2407.15831); what it gives and costs here is in docs/LOG.md
    positive_ceiling: float = setting(
        0.95, "Drop negatives scoring above this share of the positive's score; 0: off.", least=0, most=1
    )


@dataclass(frozen=True)
class SelectingLabelled(Selecting, NegativeRanks):
    """Which candidates become examples."""

    @property
    def windows(self) -> Windows:
        """The rank windows."""
        return Windows(
            ranks(self.hard_positive_ranks), ranks(self.hard_negative_ranks), ranks(self.easy_negative_ranks)
        )


@step(version=3, makes=Candidates, name="candidates")
def mine(  # noqa: PLR0913
    out: Path,
    params: Mining,
    ctx: Context,
    *,
    found: Run,
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
    student: Value,
) -> dict[str, Any]:
    """Where the student ranks what is relevant, and what it confuses with that."""
    made, excluded = mining.mine(
        found.table,
        qrels.table,
        corpus.table,
        list(queries.texts("train")),
        [ranks(params.hard_negative_ranks), ranks(params.easy_negative_ranks)],
        retriever=f"student-{student.content}",
        positive_ceiling=params.positive_ceiling,
    )
    write_table(out / "candidates.parquet", made)
    told = ", ".join(f"{count:,} {reason}" for reason, count in excluded.items() if count)
    labelled = made["role"].to_pylist().count("irrelevant")
    ctx.progress.note(f"{len(made):,} candidates, {labelled:,} labelled irrelevant; excluded: {told or 'none'}")
    return {"candidates": len(made), "irrelevant": labelled, "excluded": excluded}


def _planned(params: SelectingLabelled, *, queries: Queries, student: Value, **inputs: Any) -> Mapping[str, Any]:
    return params.planned(queries.facts.get("queries", {}).get("train", 0), student.content + 1)


@step(version=3, makes=Examples, name="examples", plan=_planned)
def select(
    out: Path,
    params: SelectingLabelled,
    ctx: Context,
    *,
    candidates: Candidates,
    queries: Queries,
    student: Value,
    earlier: Examples | None = None,
) -> dict[str, Any]:
    """This round's examples, together with those of all rounds before."""
    if params.triplets:
        made = examples.triplets(candidates.table, params.windows, params.easy_per_hard, params.seed + student.content)
    else:
        made = examples.contrastive_rows(candidates.table, params.windows, params.negatives, params.positives)
    return write_examples(out, made, student.content, earlier, ctx.progress, bare=bool(params.negatives))


@dataclass(frozen=True)
class Labels(Params):
    """The settings of a run with labels."""

    data: Splitting = field(default_factory=Splitting)
    mining: Mining = field(default_factory=Mining)
    selecting: SelectingLabelled = field(default_factory=SelectingLabelled)

    @classmethod
    def idle(cls, values: Mapping[str, Any]) -> set[str]:
        """All of its settings do something."""
        return set()

    def check(self) -> None:
        """Labels need nothing."""

    def read(self, run: Pipeline, given: Given) -> Labelled:
        """Step corpus."""
        with run.using(given):
            return run(prepare, self.data, source=given.source, earlier=given.earlier)

    def prepare(self, run: Pipeline, given: Given, base: Model) -> Texts:
        """What a source with labels has is all there is."""
        made = self.read(run, given)
        asked = made.unlearnt if given.earlier else made.queries
        return Texts(made, made.corpus, made.queries, made.qrels, asked, test_queries=made.queries, labels=made.qrels)

    def test(self, run: Pipeline, texts: Texts, **systems: Input) -> Evaluation:
        """Never called: a source with labels has them for the test, too."""
        raise TypeError("labels judge nothing; the source has labels for its test")

    def splits(self, last: bool) -> tuple[str, ...]:
        """Train and dev."""
        return ("train", "dev")

    def look(self, run: Pipeline, texts: Texts, now: Round, before: Sequence[Seen]) -> Seen:
        """Steps candidates and examples."""
        return look_by_pairs(run, self.mining, self.selecting, texts, now, before)


def look_by_pairs(
    run: Pipeline,
    mining: Mining,
    selecting: SelectingLabelled,
    texts: Texts,
    now: Round,
    before: Sequence[Seen],
) -> Seen:
    """Steps candidates and examples, by nothing but the pairs of a run."""
    known = Known(texts.pairs)
    if not now.left:
        return Seen(**vars(now), known=known)
    shared = {"queries": texts.queries, "student": Value(now.number)}
    candidates = run(mine, mining, found=now.found, corpus=texts.corpus, qrels=texts.pairs, **shared)
    earlier = before[-1].examples if before else None
    made = run(select, selecting, candidates=candidates, earlier=earlier, **shared)
    return Seen(**vars(now), known=known, examples=made, mined=candidates)
