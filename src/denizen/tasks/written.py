"""Rows that an LLM writes of a corpus: questions with answers and evidence, summaries, labels of passages.

The sides are those of documents: what trains is written of training documents, and what measures of others. What is
written is checked by rule before anybody learns it: evidence stands in its passage word for word, a question makes
sense to somebody who has not seen the passage, a summary is shorter than its text, a label is one of the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, create_model

from denizen.data.prepare import NearDuplicates, Shares
from denizen.data.splitting import SIDES
from denizen.data.tables import each, texts_by_id
from denizen.data.task_rows import Message, Task, TaskRow
from denizen.data.whole_documents import whole_documents
from denizen.engine.progress import Progress
from denizen.engine.settings import setting
from denizen.llm.answer import Answer, Failure, Prompt
from denizen.llm.client import LLM
from denizen.llm.prompts import messages
from denizen.supervision import query_filters, synthesis
from denizen.supervision.asking import calls_left
from denizen.supervision.query_rules import PassageWords
from denizen.supervision.write_queries import LLMChoice
from denizen.supervision.written import Written
from denizen.tasks.dropped import Dropped
from denizen.tasks.grounding import cited, grounded_prompt
from denizen.tasks.label_set import Label, ProposedLabels, labels_prompt, listed, proposed
from denizen.tasks.wording import label_prompt, summary_prompt

STAGE = "tasks"
# every prompt that is sent here, for the fingerprint of the step
PROMPTS = ("task_question", "task_summary", "task_labels", "task_label", "grounded", "summarize", "classify")
# writing may take at most the budget divided by this: who judges answers is paid by the same one
_PART = 2
_QUESTION_TOKENS, _SUMMARY_TOKENS, _LABEL_TOKENS = 500, 300, 60
# dev and test are to say something, however small they are
_LEAST = 2
# shown to whoever proposes labels: the begins of passages, which a small window holds, too
_SAMPLE, _SAMPLE_CHARS = 12, 500
# about 60 tokens of a summary and 500 of its text: a training row of 512 to 1,024 tokens holds both
_TEXT_CHARS, _SUMMARY_WORDS = 2_000, 60
# of a shorter text there is nothing to leave out
_LEAST_CHARS = 400
# a few words more than were asked for are no fault
_STRETCH = 1.25
# passages that say how rare words are
_PASSAGES = 5_000


@dataclass(frozen=True)
class TaskWriting(LLMChoice, Shares, NearDuplicates):
    """Which rows of tasks there are."""

    panel = "Tasks"

    # the paper has no sizes (arXiv 2511.21101); 300 rows train an adapter in minutes on two cores
    written_questions: int = setting(
        300, "Training passages of each domain of which the LLM writes a question with its answer.", least=0, most=10**7
    )
    written_summaries: int = setting(100, "Training documents that the LLM summarizes.", least=0, most=10**7)
    written_labels: int = setting(
        300, "Training passages of each domain that the LLM sorts by the labels.", least=0, most=10**7
    )
    skip_bad_rows: bool = setting(False, "Skip and count unreadable rows instead of stopping.")

    def counts(self, train: int) -> dict[str, int]:
        """How many of a task are written, by side: dev and test in proportion to train."""
        if not train:
            return {}
        learnt = 1 - self.dev_share - self.test_share
        return {"train": train, **{side: max(_LEAST, round(train * of / learnt)) for side, of in self.shares.items()}}


class WrittenQuestion(BaseModel):
    """The reply to task_question.txt."""

    question: str
    answer: str
    evidence: str


class WrittenSummary(BaseModel):
    """The reply to task_summary.txt."""

    summary: str


@dataclass(frozen=True)
class Wanted:
    """A row that is to be written.

    Attributes:
        task: Which of the tasks.
        name: The passage or document, which names the row.
        document: The document, or section of one.
        split: Its side.
        text: What is shown.
        prompt: The call.
    """

    task: Task
    name: str
    document: str
    split: str
    text: str
    prompt: Prompt


@dataclass(frozen=True)
class Wrote:
    """What came of it.

    Attributes:
        rows: The rows.
        dropped: What was written and broke a rule.
        replies: What every call came to.
        labels: The labels that passages were sorted by.
    """

    rows: Sequence[TaskRow]
    dropped: Sequence[Dropped]
    replies: Sequence[Answer | Failure]
    labels: Sequence[Label]


def write_rows(
    corpus: pa.Table,
    documents: pa.Table,
    labels: Sequence[Label] | None,
    params: TaskWriting,
    llm: LLM,
    progress: Progress,
) -> Wrote:
    """Has an LLM write rows.

    Args:
        corpus: A `corpus` table with clusters.
        documents: A `documents` table.
        labels: What passages are sorted by; empty: the LLM proposes it; None: no passage is sorted.
        params: How many.
        llm: Who writes; what its budget leaves is shared with those who judge.
        progress: Receives what a person should see.
    """
    replies: list[Answer | Failure] = []
    known = list(labels or ())
    if labels is not None and not known and params.written_labels:
        known, replies = _proposed(corpus, documents, params, llm)
        if not known:
            progress.note("no labels were proposed, so no passage is sorted: give them with --labels")
    wanted = _wanted(corpus, documents, known if labels is not None else [], params)
    prompts = [one.prompt for one in wanted]
    left = calls_left(llm, STAGE, prompts)
    with progress.bar(len(wanted), "calls that write") as advance:
        answers = llm.ask(prompts, STAGE, advance, None if left is None else left // _PART)
    texts = texts_by_id(corpus)
    listed_texts = list(texts.values())
    words = PassageWords.of(listed_texts[:: len(listed_texts) // _PASSAGES + 1])
    made = [(one, reply.value) for one, reply in zip(wanted, answers, strict=True) if isinstance(reply, Answer)]
    problem_of = _question_problems(made, params.near_duplicate, words)
    rows, dropped = [], []
    for one, value in made:
        reason = problem_of.get(one.name, "") if one.task == "answer" else ""
        reason = reason or _problem(one, value)
        if reason:
            dropped.append(Dropped(_said(value), one.split, one.document, "written", reason))
        else:
            rows.append(_row(one, value, known))
    return Wrote(rows, dropped, [*replies, *answers], known)


def written_prompt(task: Task, text: str, labels: Sequence[Label] = ()) -> Prompt:
    """The call that has a row of a task written of a text.

    Args:
        task: Which of the tasks.
        text: A passage, or the begin of a document.
        labels: For `classify`, those to choose from.
    """
    if task == "answer":
        return Prompt(messages("task_question", {"passage": text}), WrittenQuestion, _QUESTION_TOKENS)
    if task == "summarize":
        asked = messages("task_summary", {"passage": text}, words=_SUMMARY_WORDS)
        return Prompt(asked, WrittenSummary, _SUMMARY_TOKENS)
    return Prompt(messages("task_label", {"passage": text, "labels": listed(labels)}), _one_of(labels), _LABEL_TOKENS)


def _proposed(
    corpus: pa.Table, documents: pa.Table, params: TaskWriting, llm: LLM
) -> tuple[list[Label], list[Answer | Failure]]:
    """Labels for training passages from all over the corpus; none where no use can be made of the reply."""
    passages = texts_by_id(corpus)
    shown = synthesis.tasks(corpus, documents, {"train": _SAMPLE}, ["question"], params.seed)[:_SAMPLE]
    if not shown:
        return [], []
    begins = [_begin(passages[task.sources[0]], _SAMPLE_CHARS) for task in shown]
    replies = llm.ask([labels_prompt(begins)], STAGE)
    values = [reply.value for reply in replies if isinstance(reply, Answer)]
    return [label for value in values if isinstance(value, ProposedLabels) for label in proposed(value)], replies


def _wanted(corpus: pa.Table, documents: pa.Table, labels: Sequence[Label], params: TaskWriting) -> list[Wanted]:
    """All rows; the first n of them have their part of every task and side, whatever n is."""
    passages = texts_by_id(corpus)
    home = dict(each(corpus, "doc_id", "parent_id"))

    def of_passages(task: Task, train: int, draw: int) -> list[Wanted]:
        chosen = synthesis.tasks(corpus, documents, params.counts(train), ["question"], params.seed + draw)
        return [_of_passage(task, one, passages[one.sources[0]], home, labels) for one in chosen]

    parts = [
        of_passages("answer", params.written_questions, 0),
        _of_documents(corpus, documents, params),
        # other passages than those of questions, as far as there are more
        of_passages("classify", params.written_labels if labels else 0, 1),
    ]
    placed = [((at + 0.5) / len(part), number, one) for number, part in enumerate(parts) for at, one in enumerate(part)]
    return [one for *_, one in sorted(placed, key=lambda place: place[:2])]


def _of_passage(
    task: Task, chosen: synthesis.Task, text: str, home: Mapping[str, str], labels: Sequence[Label]
) -> Wanted:
    (name,) = chosen.sources
    return Wanted(task, name, home[name], chosen.split, text, written_prompt(task, text, labels))


def _of_documents(corpus: pa.Table, documents: pa.Table, params: TaskWriting) -> list[Wanted]:
    """Documents of every side, one of those that are nearly the same, in random order with the sides in turn."""
    placed: list[tuple[float, Wanted]] = []
    for number, (side, count) in enumerate(params.counts(params.written_summaries).items()):
        # what the test has, too, is no training text
        whole = whole_documents(corpus, documents, side, "test" if side != "test" else "")
        first: dict[int, str] = {}
        for group, name in zip(whole.groups, whole.texts, strict=True):
            if len(whole.texts[name]) >= _LEAST_CHARS:
                first.setdefault(group, name)
        names = sorted(first.values())
        order = np.random.default_rng([params.seed, number]).permutation(len(names))[:count].tolist()
        for at, name in enumerate(names[place] for place in order):
            placed.append(((at + 0.5) / len(order), _of_document(name, side, _begin(whole.texts[name], _TEXT_CHARS))))
    return [one for _, one in sorted(placed, key=lambda place: place[0])]


def _of_document(name: str, side: str, text: str) -> Wanted:
    return Wanted("summarize", name, name, side, text, written_prompt("summarize", text))


def _begin(text: str, most: int) -> str:
    """As much of a text as is shown, in characters, up to the end of a paragraph or sentence, or else of a word."""
    if len(text) <= most:
        return text
    begin = text[:most]
    end = max(begin.rfind("\n\n"), begin.rfind(". ") + 1)
    end = end if end >= most // 2 else begin.rfind(" ")
    return begin[: end if end > 0 else most].rstrip()


def _one_of(labels: Sequence[Label]) -> type[BaseModel]:
    names: Any = Literal[tuple(label.name for label in labels)]
    return create_model("ChosenLabel", label=(names, ...))


def _question_problems(
    made: Sequence[tuple[Wanted, BaseModel]], near_duplicate: float, words: PassageWords
) -> dict[str, str]:
    """Passage to the rule that the question which was written for it breaks, of those that break one."""
    passages = {one.name: one.text for one, value in made if isinstance(value, WrittenQuestion)}
    queries = [
        Written(value.question, "", one.split, "question", (one.name,))
        for one, value in made
        if isinstance(value, WrittenQuestion)
    ]
    # of two that say the same, the one that is measured with stays
    queries.sort(key=lambda query: SIDES.index(query.split))
    _, lost = query_filters.keep_usable(queries, passages, near_duplicate, words=words)
    return {row.query.sources[0]: f"question: {row.reason}" for row in lost}


def _problem(one: Wanted, value: BaseModel) -> str:
    """Which rule a reply breaks by itself; empty where it keeps all."""
    if isinstance(value, WrittenQuestion):
        if not value.answer.strip():
            return "no answer"
        evidence = " ".join(value.evidence.split())
        return "" if evidence and evidence in " ".join(one.text.split()) else "evidence is not in the passage"
    if isinstance(value, WrittenSummary):
        summary = value.summary.strip()
        if not summary:
            return "no summary"
        too_long = len(summary.split()) > _STRETCH * _SUMMARY_WORDS or len(summary) > len(one.text) / 2
        return "summary too long" if too_long else ""
    return ""


def _said(value: BaseModel) -> str:
    """A reply as a list of what was dropped shows it."""
    return " | ".join(map(str, value.model_dump().values()))


def _row(one: Wanted, value: BaseModel, labels: Sequence[Label]) -> TaskRow:
    name = f"{one.task}-{one.name}"
    if isinstance(value, WrittenQuestion):
        asked, answer = grounded_prompt(value.question, [one.text]), cited(value.answer.strip())
    elif isinstance(value, WrittenSummary):
        asked, answer = summary_prompt(one.text), value.summary.strip()
    else:
        asked, answer = label_prompt(one.text, labels), str(value.model_dump()["label"])
    said = (Message("user", asked),)
    return TaskRow(name, one.task, one.split, one.document, "written", said, answer, one.text)
