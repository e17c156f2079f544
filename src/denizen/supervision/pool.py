"""What a comparison without labels asks of LLMs: queries that no round has seen, and whether passages answer them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from denizen.data.relatedness import POSITIVE
from denizen.data.tables import only, read_table, texts_by_id
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress
from denizen.llm.answer import Failure
from denizen.llm.client import LLM
from denizen.supervision.asking import check_coverage
from denizen.supervision.judging import LLMTeacher, Pair
from denizen.supervision.query_filters import keep_usable
from denizen.supervision.sampling import has_long_documents
from denizen.supervision.synthesis import Task, question_prompts, written
from denizen.supervision.written import Written

STAGE = "pool"


def held_out(run: Path) -> tuple[pa.Table, pa.Table]:
    """The passages of a run's test documents, and those documents.

    Raises:
        InputError: When there are none.
    """
    documents = only(read_table(run / "corpus/documents.parquet", "documents"), "split", ("test",))
    corpus = read_table(run / "corpus/corpus.parquet", "corpus")
    corpus = only(corpus, "parent_id", documents["parent_id"].to_pylist())
    if not len(corpus):
        raise InputError(f"{run} has no held-out documents")
    return corpus, documents


def write_queries(
    wanted: Sequence[Task], corpus: pa.Table, near_duplicate: float, min_coverage: float, llm: LLM, progress: Progress
) -> list[Written]:
    """Has queries written.

    Args:
        wanted: For which passages.
        corpus: A `corpus` table with them.
        near_duplicate: Similarity from which two queries say the same.
        min_coverage: The least share of calls that must be answered.
        llm: Who writes.
        progress: Receives what a person should see.

    Returns:
        Those that are usable.

    Raises:
        InputError: When too few calls were answered, or no query is usable.
    """
    passages = texts_by_id(corpus)
    with progress.bar(len(wanted), "calls") as advance:
        replies = llm.ask(question_prompts(wanted, passages), STAGE, advance)
    check_coverage(STAGE, len(wanted), [reply for reply in replies if isinstance(reply, Failure)], min_coverage)
    kept, _ = keep_usable(written(wanted, replies), passages, near_duplicate)
    if not kept:
        raise InputError("no usable query was written for the held-out documents")
    return kept


def documents_of(corpus: pa.Table) -> list[str]:
    """The document within which each passage is ranked: all in one where they are short, and hold nothing to rank."""
    parents: list[str] = corpus["parent_id"].to_pylist()
    return parents if has_long_documents(corpus) else ["corpus"] * len(parents)


def answers(
    llm: LLM, queries: Sequence[str], passages: Sequence[str], progress: Progress, places: Sequence[tuple[int, int]]
) -> list[bool | Failure]:
    """Whether passages answer queries, by an LLM's grade; both are named by their numbers."""
    teacher = LLMTeacher(llm, STAGE, by_query=True)
    pairs = [Pair(str(query), str(at), queries[query], passages[at]) for query, at in places]
    with progress.bar(teacher.calls(pairs), "calls") as advance:
        found = teacher.judge(pairs, advance)
    return [said if isinstance(said, Failure) else (said.grade or 0) >= POSITIVE for said in found]
