"""Who says what is relevant: labels, an LLM, a cross-encoder. One loop of rounds serves all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from denizen.data.artifacts import (
    Candidates,
    Corpus,
    Documents,
    Evaluation,
    Examples,
    Judgments,
    Model,
    Negatives,
    Qrels,
    Queries,
    Run,
)
from denizen.data.prepare import Given
from denizen.engine.artifact import Artifact, Input, Value
from denizen.engine.pipeline import Pipeline
from denizen.retrievers.index import Index


@dataclass(frozen=True)
class Texts:
    """What a run works on.

    Attributes:
        source: The step that made it; its facts count passages, queries and leaks.
        corpus: The passages.
        queries: The queries of train and dev, and of the test where that is not labelled by itself.
        pairs: What belongs to them before anybody has looked: labels, or the passages that they were written for.
        deciding: The queries of train and dev that may decide: not those that the model at the start has learnt from.
        documents: The side of each document; None: queries are split and not documents.
        test_queries: The queries of the test.
        labels: Their labels; None: the teacher says what is right.
        written: How queries were written; None where they were not.
        graded: Whether a teacher looks at what is found; False: the pairs are all that is known.
        answer_from: From which of its grades on a passage is an answer.
        written_for: Whether the pairs are what an LLM wrote queries for.
        negatives: Passages that were written to be trained with as negatives; None: there are none.
    """

    source: Artifact
    corpus: Corpus
    queries: Queries
    pairs: Qrels
    deciding: Queries
    documents: Documents | None = None
    test_queries: Queries | None = None
    labels: Qrels | None = None
    written: Artifact | None = None
    graded: bool = False
    answer_from: Value | None = None
    written_for: bool = False
    negatives: Negatives | None = None

    @property
    def dev_labels(self) -> Qrels | None:
        """Labels by which dev can be measured at once; None where a teacher has to look first."""
        return None if self.graded else self.pairs


@dataclass(frozen=True)
class Known:
    """What is known of the candidates so far.

    Attributes:
        qrels: What is an answer.
        judgments: What a teacher has said of all that was graded; None: relevance comes from labels.
    """

    qrels: Qrels
    judgments: Judgments | None = None


@dataclass(frozen=True)
class Round:
    """A student and what it has found.

    Attributes:
        number: 0 for the base.
        left: How many rounds come after it; at 0 nothing is trained any more, and only dev is looked at.
        model: The student.
        index: What has embedded the corpus with it.
        found: Its run.
    """

    number: int
    left: int
    model: Model
    index: Index
    found: Run


@dataclass(frozen=True)
class Seen(Round):
    """A round that somebody has looked at.

    Attributes:
        known: What is known after it.
        judged: What a teacher has said of what was found.
        examples: What the next student is trained on; None after the last training.
        mined: What the labels of the source make of what it has found; None where a teacher looks, or nothing is mined.
    """

    known: Known
    judged: Judgments | None = None
    examples: Examples | None = None
    mined: Candidates | None = None


class Supervision(Protocol):
    """Settings whose methods only call steps."""

    @classmethod
    def idle(cls, values: Mapping[str, Any]) -> set[str]:
        """Which of its settings do nothing beside these values."""

    def read(self, run: Pipeline, given: Given) -> Artifact:
        """Step corpus: what is known before anything is planned or paid."""

    def prepare(self, run: Pipeline, given: Given, base: Model) -> Texts:
        """What the run works on."""

    def test(self, run: Pipeline, texts: Texts, **systems: Input) -> Evaluation:
        """Step test, where the source has no labels for it."""

    def splits(self, last: bool) -> tuple[str, ...]:
        """Whose queries are searched for in a round."""

    def look(self, run: Pipeline, texts: Texts, now: Round, before: Sequence[Seen]) -> Seen:
        """Looks at what a student has found: candidates, what is known of them, and examples from that."""

    def check(self) -> None:
        """Makes sure that a run can begin, before anything is read or paid."""
