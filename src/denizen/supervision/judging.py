"""What a teacher says of candidates: an LLM's grades, a cross-encoder's scores, or the labels of a source.

Grades are those of arXiv 2512.08088: 1 unrelated, 2 weakly related, 3 a partial answer, 4 answers fully. A passage
with grade 4 is a positive, with 1 or 2 a negative; 3 is neither and is never trained on, unless the judge is read by it
(`with_sources`). What could not be judged is
missing, never a low grade: it is a row of failures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
from pydantic import BaseModel, Field, create_model

from denizen.data.relatedness import POSITIVE
from denizen.data.tables import rows_table
from denizen.llm.answer import Answer, Failure, Prompt
from denizen.llm.client import LLM
from denizen.llm.prompts import messages
from denizen.retrievers.cross_encoder import load_cross_encoder

# the teacher of a judgment that nobody made but the writer of the query
WRITER = "writer"
# {"grade": 4} and what a model puts around it
_GRADE_TOKENS = 32


@dataclass(frozen=True)
class Pair:
    """A query and a passage to be judged, by id and as text."""

    query_id: str
    doc_id: str
    query: str
    passage: str


@dataclass(frozen=True)
class Judgment:
    """What a teacher said of a pair: a grade from 1 to 4, or a score in [0, 1]."""

    grade: int | None
    score: float | None
    prompt_hash: str | None = None
    cost: float | None = None


class Teacher(Protocol):
    """Says what is relevant."""

    @property
    def name(self) -> str:
        """What to call it in tables."""

    def calls(self, pairs: Sequence[Pair]) -> int:
        """How much work some pairs are, in the unit of progress."""

    def judge(self, pairs: Sequence[Pair], progress: Callable[[int], None]) -> list[Judgment | Failure]:
        """One judgment, or the reason why there is none, for each pair in order."""


class Grade(BaseModel):
    """The reply to grade.txt."""

    grade: Literal[1, 2, 3, 4]


class Grades(BaseModel):
    """The reply to grade_several.txt; `grades_of` says how many there must be."""

    grades: list[Literal[1, 2, 3, 4]]


@cache
def grades_of(count: int) -> type[Grades]:
    """The reply for a number of passages: one with more or fewer grades is a failed call, which can be asked again."""
    exactly = Field(min_length=count, max_length=count)
    return create_model(f"Grades{count}", __base__=Grades, grades=(list[Literal[1, 2, 3, 4]], exactly))


@dataclass(frozen=True)
class LLMTeacher:
    """Grades by an LLM.

    Attributes:
        llm: The client.
        stage: The name under which its calls are kept and counted.
        together: How many passages of one query are graded in one call. More is cheaper, and grades then depend on
            what else is in the call; `denizen audit` measures how much.
        repeat: Another number asks the same again instead of taking the stored reply.
        backwards: Several passages of a call in reversed order, to see whether order matters.
        most: The most calls that this stage may pay for, the first ones; the rest counts as cut off by the budget.
        by_query: All calls of a query before those of the next one, so that a budget that ends leaves whole queries;
            else one call of every query first, so that it leaves none out.
    """

    llm: LLM
    stage: str
    together: int = 1
    repeat: int = 0
    backwards: bool = False
    most: int | None = None
    by_query: bool = False

    @property
    def name(self) -> str:
        """The LLM's name."""
        return self.llm.model

    def calls(self, pairs: Sequence[Pair]) -> int:
        """LLM calls, stored ones included."""
        return sum(1 for _ in self._calls(pairs))

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt]:
        """What some pairs are asked by, in the order of the calls."""
        return [self._prompt(pairs, rows) for rows in self._calls(pairs)]

    def judge(self, pairs: Sequence[Pair], progress: Callable[[int], None]) -> list[Judgment | Failure]:
        """One call for each pair, or for each `together` passages of a query."""
        calls = list(self._calls(pairs))
        found: list[Judgment | Failure | None] = [None] * len(pairs)
        replies = self.llm.ask(self.prompts(pairs), self.stage, progress, self.most)
        for rows, reply in zip(calls, replies, strict=True):
            for at, judgment in zip(rows, _judgments(reply, len(rows)), strict=True):
                found[at] = judgment
        return [judgment for judgment in found if judgment is not None]

    def _calls(self, pairs: Sequence[Pair]) -> Iterator[list[int]]:
        """The positions of each call's pairs."""
        of_query: dict[str, list[int]] = {}
        for at, pair in enumerate(pairs):
            of_query.setdefault(pair.query_id, []).append(at)
        parts = [
            (0 if self.by_query else begin, rows[begin : begin + self.together])
            for rows in of_query.values()
            for begin in range(0, len(rows), self.together)
        ]
        for _, part in sorted(parts, key=lambda found: found[0]):
            yield part[::-1] if self.backwards else part

    def _prompt(self, pairs: Sequence[Pair], rows: Sequence[int]) -> Prompt:
        query = pairs[rows[0]].query
        passages = [pairs[at].passage for at in rows]
        if self.together == 1:
            text = messages("grade", {"query": query, "passage": passages[0]})
            return Prompt(text, Grade, _GRADE_TOKENS, repeat=self.repeat)
        text = messages("grade_several", {"query": query, "passages": passages})
        return Prompt(text, grades_of(len(rows)), _GRADE_TOKENS + 4 * len(rows), repeat=self.repeat)


@dataclass(frozen=True)
class CrossEncoderTeacher:
    """Scores by a cross-encoder; its one output through a sigmoid, so that margins fit those of cosines.

    Attributes:
        folder: A sentence-transformers cross-encoder.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def calls(self, pairs: Sequence[Pair]) -> int:
        """Pairs."""
        return len(pairs)

    def judge(self, pairs: Sequence[Pair], progress: Callable[[int], None]) -> list[Judgment | Failure]:
        """The score of each pair."""
        model = load_cross_encoder(self.folder)
        found: list[Judgment | Failure] = []
        for begin in range(0, len(pairs), 256):
            part = pairs[begin : begin + 256]
            scores = model.predict([(pair.query, pair.passage) for pair in part], show_progress_bar=False)
            found += [Judgment(None, float(score)) for score in scores]
            progress(len(part))
        return found


def judge(
    pairs: Sequence[Pair], teacher: Teacher, stage: str, progress: Callable[[int], None] = lambda count: None
) -> tuple[pa.Table, pa.Table]:
    """Judges pairs.

    Args:
        pairs: What to judge.
        teacher: Who judges.
        stage: The name to write into failures.
        progress: Called with the number of calls that have just ended.

    Returns:
        A `judgments` table, and a `failures` table with a row for each pair that has none.
    """
    rows: list[dict[str, Any]] = []
    failures = []
    for pair, found in zip(pairs, teacher.judge(pairs, progress), strict=True):
        if isinstance(found, Failure):
            failures.append(failed(stage, pair, found))
        else:
            told = {"grade": found.grade, "score": found.score, "prompt_hash": found.prompt_hash, "cost": found.cost}
            rows.append({"query_id": pair.query_id, "doc_id": pair.doc_id, "teacher": teacher.name, **told})
    return rows_table("judgments", rows), rows_table("failures", failures)


def failed(stage: str, pair: Pair, failure: Failure) -> dict[str, str]:
    """The row of `failures` for a call about a query and a passage."""
    raw = failure.raw or failure.message
    return {"stage": stage, "key": f"{pair.query_id} {pair.doc_id}", "error": failure.kind, "raw": raw}


def graded_qrels(judgments: pa.Table) -> pa.Table:
    """What a teacher holds for an answer, as `qrels` with relevance 1, and all else that was judged with 0.

    Of grades, 4 is an answer. Scores have no such line: there the best-scored passage of a query counts as its answer.
    """
    rows = judgments.to_pylist()
    best: dict[str, tuple[float, str]] = {}
    for row in rows:
        if row["score"] is not None:
            found = (-row["score"], row["doc_id"])
            best[row["query_id"]] = min(found, best.get(row["query_id"], found))
    answers = [
        row["grade"] >= POSITIVE if row["grade"] is not None else best[row["query_id"]][1] == row["doc_id"]
        for row in rows
    ]
    judged = zip(rows, answers, strict=True)
    return rows_table("qrels", ((row["query_id"], row["doc_id"], int(answer)) for row, answer in judged))


def with_sources(
    judgments: pa.Table, written_for: Mapping[str, Sequence[str]], answer_from: int = POSITIVE
) -> pa.Table:
    """Judgments completed by what is known of the passages that a query was written for.

    Grades from `answer_from` on are raised to that of an answer: a judge that seldom gives it is read by what it gives.

    Of several, each was chosen because it holds a part of the answer: a part (grade 3) counts as one. Where none of
    them was graded, because a budget ended or a call failed, they are answers by their writer's word, as in InPars
    (arXiv 2202.05144). Nothing is added to scores.
    """
    rows = judgments.to_pylist()
    judged = set()
    for row in rows:
        if row["grade"] is not None and row["grade"] >= answer_from:
            row["grade"] = POSITIVE
        own = written_for.get(row["query_id"], ())
        if row["doc_id"] in own:
            judged.add(row["query_id"])
            if row["grade"] == POSITIVE - 1 and len(own) > 1:
                row["grade"] = POSITIVE
    if not any(row["score"] is not None for row in rows):
        rows += [
            {"query_id": query_id, "doc_id": doc_id, "teacher": WRITER, "grade": POSITIVE}
            for query_id, own in written_for.items()
            if query_id not in judged
            for doc_id in own
        ]
    return rows_table("judgments", rows)


def no_judgments() -> pa.Table:
    """An empty `judgments` table."""
    return rows_table("judgments", [])


def _judgments(reply: Answer | Failure, count: int) -> list[Judgment | Failure]:
    if isinstance(reply, Failure):
        return [reply] * count
    if isinstance(reply.value, Grade):
        return [Judgment(reply.value.grade, None, reply.key, reply.cost)]
    if not isinstance(reply.value, Grades):
        raise TypeError(f"{type(reply.value).__name__} is no reply to a grading")
    grades = reply.value.grades
    share = None if reply.cost is None else reply.cost / count
    return [Judgment(grade, None, reply.key, share) for grade in grades]
