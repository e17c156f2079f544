"""Supervision by a teacher (arXiv 2512.08088): an LLM writes queries, an LLM or a cross-encoder judges what is found.

    source -> corpus, documents (their sides) -synthesis-> queries, sources -trial-> whether the LLM grades
    queries, sources -negatives-> passages that are trained with as hard negatives, where that is asked for
    a round: run -> candidates -> judgments -> answers -> examples

Documents of the test side are never shown before the test; where the source has no labels, queries are written for
them, and what the systems find is judged there. An LLM that grades too poorly is not asked: then the passages that
queries were written for are all that is known, in training and in the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from denizen.data.artifacts import Evaluation, Examples, Model, Negatives
from denizen.data.prepare import Dividing, Given, Unlabelled, divide
from denizen.data.relatedness import POSITIVE
from denizen.engine.artifact import Artifact, Input, Value
from denizen.engine.errors import InputError
from denizen.engine.pipeline import Pipeline
from denizen.engine.settings import Params, setting, settings_of
from denizen.llm.prompts import prompts_digest
from denizen.retrievers.cross_encoder import locate_cross_encoder
from denizen.retrievers.model_ref import outside_model
from denizen.supervision.asking import Asking
from denizen.supervision.gold import Mining, SelectingLabelled, look_by_pairs
from denizen.supervision.graded_test import graded_test
from denizen.supervision.grading import (
    Allotment,
    Grading,
    Sampling,
    SelectingGraded,
    SelectingScored,
    answer,
    judge,
    sample,
    select_graded,
    select_scored,
)
from denizen.supervision.negatives import NegativeWriting, write_negatives
from denizen.supervision.supervision import Known, Round, Seen, Texts
from denizen.supervision.synthesis import RULES, STYLES, read_styles
from denizen.supervision.trial import STAGE, Trial, TrialChoice, try_judge
from denizen.supervision.write_queries import Synthesis, WrittenQueries, synthesize


@dataclass(frozen=True)
class QueryLog(Params):
    """Real queries."""

    panel = "Queries for documents without labels"

    query_log: str = setting("", "File of real queries, one a line: used as they are and as the persona's examples.")


@dataclass(frozen=True)
class Taught(Params):
    """The settings of a run with a teacher, whoever that is."""

    data: Dividing = field(default_factory=Dividing)
    asking: Asking = field(default_factory=Asking)
    synthesis: Synthesis = field(default_factory=Synthesis)
    log: QueryLog = field(default_factory=QueryLog)
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def llm(self) -> str:
        """The LLM that writes."""
        return self.synthesis.llm

    @property
    def llm_called(self) -> str:
        """What it is called in results, and by which steps know it: of a file its content decides, not its place."""
        return self.asking.called(self.llm)

    def check(self) -> None:
        """Makes sure that a run can begin, before anything is read or paid.

        Raises:
            InputError: On an unknown style, a missing price, a file or model that is not there.
        """
        read_styles(self.synthesis.styles)
        log = self.log.query_log
        if self.llm:
            self.asking.check(self.llm)
        elif not log:
            raise InputError("without labels, queries must come from somewhere: give llm, or query_log")
        if log and not Path(log).expanduser().is_file():
            raise InputError(f"query_log {log!r} does not exist; give a text file with one query a line")

    def read(self, run: Pipeline, given: Given) -> Unlabelled:
        """Step corpus."""
        with run.using(given):
            return run(divide, self.data, source=given.source)

    def prepare(self, run: Pipeline, given: Given, base: Model) -> Texts:
        """Steps corpus and synthesis, trial where an LLM grades, and negatives where it is to write some."""
        made = self.read(run, given)
        log = self.log.query_log
        written = run(
            synthesize,
            replace(self.synthesis, llm=self.llm_called),
            corpus=made.corpus,
            documents=made.documents,
            test_queries=made.test_queries,
            labels=made.labels,
            base=base,
            prompts=Value([prompts_digest("question", "question_again", "multi_hop", "persona"), STYLES, RULES]),
            query_log=Artifact.outside(Path(log).expanduser()) if log else None,
        )
        trial = self.tried(run, made, written)
        graded = trial is None or trial.passed
        labels = made.labels if made.has_labels else None if graded else written.sources
        return Texts(
            made,
            made.corpus,
            written.queries,
            written.sources,
            written.queries,
            made.documents,
            made.test_queries if made.has_labels else written.queries,
            labels,
            written,
            graded,
            Value(trial.answer_from, place=STAGE) if trial else Value(POSITIVE),
            bool(self.llm),
            self.negatives(run, made, written, graded=graded),
        )

    def tried(self, run: Pipeline, made: Unlabelled, written: WrittenQueries) -> Trial | None:
        """What came of the judge's trial; a cross-encoder has none."""
        return None

    def negatives(self, run: Pipeline, made: Unlabelled, written: WrittenQueries, *, graded: bool) -> Negatives | None:
        """Passages that were written as hard negatives; a cross-encoder has none."""
        return None

    def splits(self, last: bool) -> tuple[str, ...]:
        """After the last training only dev is looked at."""
        return ("dev",) if last else ("train", "dev")

    def look(self, run: Pipeline, texts: Texts, now: Round, before: Sequence[Seen]) -> Seen:
        """Steps candidates, judgments, answers and examples; without grades candidates and examples, as with labels."""
        if not texts.graded:
            selecting = SelectingLabelled.of(self.as_dict())
            return look_by_pairs(run, Mining(), selecting, texts, now, before)
        student, pairs = Value(now.number), texts.pairs
        about = {"corpus": texts.corpus, "queries": texts.queries, "pairs": pairs}
        seen = {"found": now.found, "model": now.model, "index": now.index}
        splits = Value(list(self.splits(not now.left)))
        candidates = run(sample, self.sampling, **seen, **about, splits=splits, student=student)
        earlier = [each.judged for each in before if each.judged is not None]
        params, who = self.judges()
        with run.using(Allotment(now.left)):
            judged = run(judge, params, candidates=candidates, earlier=earlier, **about, **who)
        found = run(answer, judged=[*earlier, judged], pairs=pairs, answer_from=texts.answer_from)
        known = Known(found.qrels, found.judgments)
        made = None
        if now.left:
            made = self.select(run, texts, now, known, before[-1].examples if before else None)
        return Seen(**vars(now), known=known, judged=judged, examples=made)

    def test(self, run: Pipeline, texts: Texts, **systems: Input) -> Evaluation:
        """Step test, where the source has no labels for it."""
        params, who = self.judges()
        asked = {"corpus": texts.corpus, "queries": texts.test_queries, "pairs": texts.pairs}
        return run(graded_test, params, answer_from=texts.answer_from, **systems, **asked, **who)

    @classmethod
    def idle(cls, values: Mapping[str, Any]) -> set[str]:
        """Which of its settings do nothing beside these values."""
        return set()

    def judges(self) -> tuple[Params, dict[str, Input]]:
        """Who judges: settings and inputs of the step."""
        raise NotImplementedError

    def select(self, run: Pipeline, texts: Texts, now: Round, known: Known, earlier: Examples | None) -> Examples:
        """Step examples."""
        raise NotImplementedError


@dataclass(frozen=True)
class TaughtByLLM(Taught):
    """The settings of a run whose teacher is an LLM."""

    trial: TrialChoice = field(default_factory=TrialChoice)
    grading: Grading = field(default_factory=Grading)
    selecting: SelectingGraded = field(default_factory=SelectingGraded)
    writing: NegativeWriting = field(default_factory=NegativeWriting)

    def check(self) -> None:
        """As of any teacher, and that the LLM has a name."""
        if not self.llm:
            raise InputError("teacher llm needs llm: a GGUF file, or the name of the model at the endpoint")
        super().check()

    def tried(self, run: Pipeline, made: Unlabelled, written: WrittenQueries) -> Trial | None:
        """Step trial."""
        if not self.trial.least_kappa:
            return None
        about = {"corpus": made.corpus, "documents": made.documents}
        (_, who), choice = self.judges(), replace(self.trial, llm=self.llm_called)
        return run(try_judge, choice, **about, queries=written.queries, pairs=written.sources, **who)

    def negatives(self, run: Pipeline, made: Unlabelled, written: WrittenQueries, *, graded: bool) -> Negatives | None:
        """Step negatives, where some are wanted and the judge that would look at them is asked."""
        if not self.writing.synthetic_negatives:
            return None
        if not graded:
            run.context.progress.say("no negatives are written: nobody could say whether they answer")
            return None
        return run(
            write_negatives,
            replace(self.writing, llm=self.llm_called),
            corpus=made.corpus,
            queries=written.queries,
            pairs=written.sources,
            prompts=Value(prompts_digest("negative", "grade")),
        )

    def judges(self) -> tuple[Params, dict[str, Input]]:
        """The LLM, by its prompts."""
        return replace(self.grading, llm=self.llm_called), {"prompts": Value(prompts_digest("grade", "grade_several"))}

    def select(self, run: Pipeline, texts: Texts, now: Round, known: Known, earlier: Examples | None) -> Examples:
        """From grades."""
        return run(
            select_graded,
            self.selecting,
            found=now.found,
            judgments=known.judgments,
            corpus=texts.corpus,
            queries=texts.queries,
            pairs=texts.pairs,
            student=Value(now.number),
            earlier=earlier,
        )


@dataclass(frozen=True)
class CrossEncoderChoice(Params):
    """The cross-encoder of a run."""

    panel = "Teacher"

    cross_encoder: str = setting("", "The cross-encoder teacher: a sentence-transformers folder.")


@dataclass(frozen=True)
class TaughtByCrossEncoder(Taught):
    """The settings of a run whose teacher is a cross-encoder."""

    choice: CrossEncoderChoice = field(default_factory=CrossEncoderChoice)
    selecting: SelectingScored = field(default_factory=SelectingScored)

    def check(self) -> None:
        """As of any teacher, and that the model is there."""
        if not self.choice.cross_encoder:
            raise InputError("teacher cross-encoder needs cross_encoder: the folder of a sentence-transformers model")
        locate_cross_encoder(self.choice.cross_encoder)
        super().check()

    @cached_property
    def model(self) -> Model:
        """The cross-encoder."""
        return outside_model(locate_cross_encoder(self.choice.cross_encoder))

    @classmethod
    def idle(cls, values: Mapping[str, Any]) -> set[str]:
        """Without an LLM, what has to do with one does nothing."""
        of_llm = {name for name, each in settings_of(cls).items() if each.owner in (Asking, Synthesis)}
        return set() if values.get("llm") else of_llm

    def judges(self) -> tuple[Params, dict[str, Input]]:
        """The model."""
        return Params(), {"cross_encoder": self.model}

    def select(self, run: Pipeline, texts: Texts, now: Round, known: Known, earlier: Examples | None) -> Examples:
        """From scores."""
        return run(
            select_scored,
            self.selecting,
            found=now.found,
            judgments=known.judgments,
            queries=texts.queries,
            student=Value(now.number),
            earlier=earlier,
        )
