"""What an audit asks the judge of a run, and how far its answers agree: with each other, and with what is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.formats.grading_sheet import SheetRow, read_sheet, row_key, write_sheet
from denizen.data.relatedness import POSITIVE
from denizen.data.tables import each, only, read_table, relevant, texts_by_id
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress
from denizen.llm.answer import Failure, cut_off
from denizen.llm.client import LLM
from denizen.measuring.agreement import compare, corrected_prevalence, positive_rates, words
from denizen.supervision.judging import LLMTeacher, Pair

STAGE = "audit"
# fewer passages in one call say little about what being together does
_TOGETHER = 5
# people say most, a second judge less; who agrees with himself only does not guess
_HEADLINES = {"people": "with people", "second_llm": "with a second judge", "again": "with itself"}

# `grades` of one judge
Ask = Callable[..., list[int | None]]


def graded_pairs(run: Path) -> dict[Pair, int]:
    """The pairs that the teacher of a run has graded, with their grades."""
    paths = sorted(run.glob("round-*/judgments/judgments.parquet"))
    rows = [row for path in paths for row in read_table(path, "judgments").to_pylist() if row["grade"] is not None]
    if not rows:
        return {}
    text_of = texts_by_id(read_table(run / "corpus/corpus.parquet", "corpus"))
    queries = read_table(run / "synthesis/queries.parquet", "queries")
    asked = dict(each(queries, "query_id", "text"))
    return {
        Pair(row["query_id"], row["doc_id"], asked[row["query_id"]], text_of[row["doc_id"]]): row["grade"]
        for row in rows
    }


def draw(pairs: Mapping[Pair, int], count: int, seed: int) -> dict[Pair, int]:
    """Some of the pairs at random, in their order."""
    listed, order = list(pairs.items()), np.random.default_rng(seed).permutation(len(pairs))
    return dict(listed[at] for at in sorted(order[:count].tolist()))


def export(path: Path, pairs: Iterable[Pair]) -> dict[str, Any]:
    """Writes pairs as a sheet for people to grade, and says how many they are."""
    rows = [SheetRow(*astuple(pair)) for pair in pairs]
    write_sheet(path, rows)
    return {"exported": len(rows)}


def grades(llm: LLM, progress: Progress, pairs: Sequence[Pair], **how: Any) -> list[int | None]:
    """An LLM's grades, None where a call failed; `how` are settings of `LLMTeacher`.

    Raises:
        InputError: When the budget ends.
    """
    teacher = LLMTeacher(llm, STAGE, **how)
    with progress.bar(teacher.calls(pairs), "calls") as advance:
        found = teacher.judge(pairs, advance)
    if lost := cut_off(found):
        raise InputError(
            f"the budget of the run ended before {lost:,} of {len(found):,} grades; raise it with --budget-calls, "
            "--budget-tokens or --budget-money (what was graded is kept)"
        )
    return [None if isinstance(judgment, Failure) else judgment.grade for judgment in found]


def together(pairs: Iterable[Pair], count: int, per_call: int, seed: int, ask: Ask) -> dict[str, Any]:
    """What being graded together does, and the order: about `count` pairs of whole queries, as a call is for one."""
    company = max(_TOGETHER, per_call)
    of_query: dict[str, list[Pair]] = {}
    for pair in pairs:
        of_query.setdefault(pair.query_id, []).append(pair)
    calls = [found[:company] for found in of_query.values() if len(found) > 1]
    order = np.random.default_rng(seed).permutation(len(calls))[: max(1, count // company)]
    chosen = [pair for at in order for pair in calls[at]]
    single, forth = ask(chosen), ask(chosen, together=company)
    back = ask(chosen, together=company, backwards=True)
    return {"together": compare(single, forth), "reversed": compare(forth, back)}


def planted(run: Path, pairs: Iterable[Pair], seed: int, ask: Ask) -> dict[str, Any]:
    """How often pairs of known grade are graded right.

    They are queries with their own passage (4), and with one of a document that is no near-duplicate of its (1 or 2);
    test documents are not shown. Of several passages that a query was written for each holds a part of the answer, and
    no single one is known to be a 4: such a query is left out.
    """
    corpus = read_table(run / "corpus/corpus.parquet", "corpus")
    documents = read_table(run / "corpus/documents.parquet", "documents")
    sources = relevant(read_table(run / "synthesis/sources.parquet", "qrels"))
    shown = only(corpus, "parent_id", only(documents, "split", ("train", "dev"))["parent_id"].to_pylist())
    home, text_of = dict(each(shown, "doc_id", "parent_cluster")), texts_by_id(shown)
    doc_ids = list(home)
    random = np.random.default_rng(seed)
    own, strange = [], []
    for query_id, query in {pair.query_id: pair.query for pair in pairs}.items():
        if len(sources.get(query_id, ())) == 1:
            (source,) = sources[query_id]
            own.append(Pair(query_id, source, query, text_of[source]))
            drawn = (doc_ids[at] for at in random.permutation(len(doc_ids)))
            other = next((doc_id for doc_id in drawn if home[doc_id] != home[source]), None)
            strange += [Pair(query_id, other, query, text_of[other])] if other else []
    known, wrong = ([grade for grade in ask(found) if grade is not None] for found in (own, strange))
    rates = positive_rates([*known, *wrong], [4] * len(known) + [1] * len(wrong))
    return dict(zip(("own passage", "random passage"), asdict(rates).values(), strict=True))


def people_agreement(pairs: Mapping[Pair, int], path: Path) -> dict[str, Any]:
    """The run's grades against those of a sheet, and what that says of the share of answers in the run.

    Raises:
        InputError: When the sheet cannot be read, or has no grade for a pair of the run.
    """
    sheet = read_sheet(path)
    grade_of = {row_key(pair.query_id, pair.doc_id): grade for pair, grade in pairs.items()}
    truth = {key: grade for key, grade in sheet.grades.items() if key in grade_of}
    if not truth:
        raise InputError(f"{path} has no grade for a pair of this run ({sheet.empty} rows are empty)")
    judge, people = [grade_of[key] for key in truth], list(truth.values())
    rates = positive_rates(judge, people)
    share = sum(grade >= POSITIVE for grade in pairs.values()) / len(pairs)
    corrected = None
    if rates.sensitivity and rates.specificity:
        corrected = corrected_prevalence(share, rates.sensitivity.value, rates.specificity.value)
    return {
        **compare(judge, people),
        **asdict(rates),
        "share_of_answers": share,
        "corrected_share_of_answers": corrected,
        "empty_rows": sheet.empty,
        "unknown_rows": len(sheet.grades) - len(truth),
        "problems": [asdict(problem) for problem in sheet.problems],
    }


def headline(found: Mapping[str, Any]) -> str:
    """The kappa that says most, of those that were measured."""
    for key, whom in _HEADLINES.items():
        kappa = found[key]["kappa"] if key in found else {"value": None}
        if kappa["value"] is not None:
            shown = f"{kappa['value']:.2f} [{kappa['low']:.2f}, {kappa['high']:.2f}]"
            return f"kappa {whom}: {shown} ({words(kappa['value'])})"
    return "no kappa: the grades do not differ, or too few pairs were graded twice"
