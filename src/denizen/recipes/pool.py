"""`pool`: models compared without labels, as arXiv 2512.08088 does it (section on evaluation).

Fresh queries are written for held-out documents. What any of the models ranks among the best names the documents to
look into; in each (query, document) every model's best five passages are pooled and graded by a judge that is not the
teacher. Pairs are drawn until the standard error of every model's MRR@5 and DCG@5 is below 5 % of its mean.

Two drawings are reported side by side. Random pairs estimate the average. The paper's pairs, where the models disagree
and an answer is near, tell models apart with fewer grades, and overstate the gain that a user would see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.tables import read_table, table, texts, texts_by_id
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import held
from denizen.engine.stage import write_json
from denizen.llm.answer import Failure, cut_off
from denizen.llm.client import LLM
from denizen.measuring.pooling import Drawing, disagreement
from denizen.recipes.config import AdaptConfig
from denizen.recipes.run_folder import read_config, store_of
from denizen.retrievers.backends import Vectors
from denizen.retrievers.encoder import Encoder, locate
from denizen.supervision import query_filters, synthesis, teachers
from denizen.supervision import sampling as candidate_sampling
from denizen.supervision.judging import POSITIVE, LLMTeacher, Pair

STAGE = "pool"
_TOP = 5
# of the pairs by disagreement and nearness; the paper does not say which share it draws from
_DISAGREEING = 4


@dataclass(frozen=True)
class _View:
    """What one model sees of the held-out passages."""

    passages: Vectors
    queries: Vectors


@dataclass(frozen=True)
class _Unit:
    """A (query, document) pair: the positions of the document's passages, and each model's order of them."""

    query: int
    places: list[int]
    best: dict[str, list[int]]


def pool(  # noqa: PLR0913
    run: Path,
    models: Sequence[str],
    judge: str,
    *,
    judge_endpoint: str = "",
    judge_prices: str = "",
    queries: int = 200,
    same_judge: bool = False,
    progress: Progress | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """Compares models on the held-out documents of a run, graded by another LLM than its teacher.

    Args:
        run: The folder of a run with a teacher.
        models: Folders or ids; none: the run's base and its adapted model. The first is the one compared with.
        judge: The LLM that grades.
        judge_endpoint: Its endpoint, whose key is in JUDGE_API_KEY; empty: that of the run.
        judge_prices: Its prices; empty: as free as those of the run.
        queries: Fresh queries that are written, by the run's LLM.
        same_judge: Allow the teacher to grade its own student.
        progress: Receives what a person should see.
        changed: Settings of the run that do not decide results: endpoint, prices, budgets.

    Returns:
        For both drawings, each model's MRR@5 and DCG@5 with standard errors and the paired differences; the contents of
        pool.json.

    Raises:
        InputError: When the judge is the teacher and same_judge is not set, or the run has no held-out documents.
    """
    progress = progress or Silent()
    config = read_config(run, **changed)
    if judge == config.llm and not same_judge:
        raise InputError(
            f"judge is {judge!r}, the teacher itself, which would reward its own taste; name another LLM, or same_judge"
        )
    with held(run), progress.working(STAGE):
        writer = teachers.run_llm(config, run)
        grader = teachers.make_judge(config, run, judge, judge_endpoint, judge_prices)
        corpus = _held_out(run)
        asked = _fresh_queries(corpus, queries, writer, config, progress)
        folders = {name: locate(name) for name in models or (config.model, str(run / "model"))}
        views = {name: _view(folder, corpus, asked, config, run, progress) for name, folder in folders.items()}
        units = _units(views, corpus, config.found_by)
        names = list(views)
        passages = {(unit.query, at) for unit in units for best in unit.best.values() for at in best}
        progress.say(f"at most {len(passages):,} grades by {judge}, fewer if the figures are sure before")
        random = np.random.default_rng(config.seed)
        order = random.permutation(len(units)).tolist()
        result: dict[str, Any] = {"judge": judge, "teacher": config.llm, "models": names, "queries": len(asked)}
        result["random"] = _drawn([units[at] for at in order], names, corpus, asked, grader, progress)
        if len(names) > 1:
            apart = _by_disagreement(units, views, names)
            chosen = [units[at] for at in apart[: -(-len(apart) // _DISAGREEING)]]
            result["disagreeing"] = _drawn(chosen, names, corpus, asked, grader, progress)
            result["disagreeing"]["note"] = "drawn where the models disagree: optimistic as an estimate of the average"
        result["spending"] = teachers.spending(grader)["by_stage"].get(STAGE, {})
        write_json(run / "pool.json", result)
    return result


def pool_lines(found: dict[str, Any]) -> list[str]:
    """The result as people read it."""
    lines = [f"graded by {found['judge']}, {found['queries']} fresh queries on held-out documents"]
    for title in ("random", "disagreeing"):
        if title not in found:
            continue
        part = found[title]
        note = "; optimistic" if title == "disagreeing" else ""
        note += f"; {part['not_wholly_graded']} failed" if part["not_wholly_graded"] else ""
        lines.append(f"{title} (query, document) pairs: {part['pairs']} graded{note}; {part['ended']}")
        for measure, of_model in part["means"].items():
            for name, value in of_model.items():
                apart = part["differences"].get(measure, {}).get(name)
                shown = f"  {apart['value']:+.3f} [{apart['low']:+.3f}, {apart['high']:+.3f}]" if apart else ""
                lines.append(f"  {measure:<6} {value['mean']:.3f} +- {value['standard_error']:.3f}  {name}{shown}")
    return lines


def _held_out(run: Path) -> pa.Table:
    corpus = read_table(run / "corpus/corpus.parquet", "corpus")
    sides = read_table(run / "corpus/documents.parquet", "documents").to_pylist()
    inside = {row["parent_id"] for row in sides if row["split"] == "test"}
    found = corpus.filter(pa.array([parent in inside for parent in corpus["parent_id"].to_pylist()]))
    if not len(found):
        raise InputError(f"{run} has no held-out documents")
    return found


def _fresh_queries(corpus: pa.Table, count: int, llm: LLM, config: AdaptConfig, progress: Progress) -> list[str]:
    """Queries for held-out passages; the seed is another than that of the run, so the run's own do not come again."""
    names = corpus["parent_id"].unique().to_pylist()
    sides = table("documents", {"parent_id": names, "split": ["test"] * len(names)})
    styles = synthesis.read_styles(config.styles)
    wanted = synthesis.tasks(corpus, sides, {"test": count}, styles, config.seed + 1)[:count]
    passages = texts_by_id(corpus)
    with progress.bar(len(wanted), "calls") as advance:
        replies = llm.ask(synthesis.question_prompts(wanted, passages), STAGE, advance)
    failures = [reply for reply in replies if isinstance(reply, Failure)]
    teachers.check_coverage(STAGE, len(wanted), failures, config.min_coverage)
    kept, _ = query_filters.keep_usable(synthesis.written(wanted, replies), passages, config.near_duplicate)
    if not kept:
        raise InputError("no usable query was written for the held-out documents")
    return [query.text for query in kept]


def _view(
    folder: Path, corpus: pa.Table, asked: Sequence[str], config: AdaptConfig, run: Path, progress: Progress
) -> _View:
    encoder = Encoder(folder, store_of(config, run), backend=config.backend, precision=config.precision)
    with progress.bar(len(corpus) + len(asked), "texts") as advance:
        passages = encoder.encode(texts(corpus), "document", advance)[:]
        return _View(passages, encoder.encode(asked, "query", advance)[:])


def _units(views: Mapping[str, _View], corpus: pa.Table, found_by: int) -> list[_Unit]:
    """For each query the documents that own one of any model's best passages; short documents count as one."""
    parents = corpus["parent_id"].to_pylist()
    if not candidate_sampling.has_long_documents(corpus):
        # of one passage there is nothing to rank
        parents = ["corpus"] * len(parents)
    members: dict[str, list[int]] = {}
    for at, parent in enumerate(parents):
        members.setdefault(parent, []).append(at)
    units = []
    scores = {name: view.queries @ view.passages.T for name, view in views.items()}
    for query in range(len(next(iter(scores.values())))):
        found: dict[str, None] = {}
        for of_model in scores.values():
            for at in np.argsort(-of_model[query], kind="stable")[:found_by].tolist():
                found.setdefault(parents[at])
        for parent in found:
            places = members[parent]
            best = {
                name: [places[at] for at in np.argsort(-of_model[query, places], kind="stable")[:_TOP].tolist()]
                for name, of_model in scores.items()
            }
            units.append(_Unit(query, places, best))
    return units


def _by_disagreement(units: Sequence[_Unit], views: Mapping[str, _View], names: Sequence[str]) -> list[int]:
    """Units by how far the first and the last model's best passages are apart, and how near the best one is."""
    base, other = names[0], names[-1]
    passages = views[base].passages
    far, near = [], []
    for unit in units:
        far.append(disagreement(passages[unit.best[base]], passages[unit.best[other]]))
        near.append(float((passages[unit.best[base][:1]] @ views[base].queries[unit.query]).max()))
    ranks = np.argsort(np.argsort(-np.array(far))) + np.argsort(np.argsort(-np.array(near)))
    found: list[int] = np.argsort(ranks, kind="stable").tolist()
    return found


def _drawn(
    units: Sequence[_Unit],
    names: Sequence[str],
    corpus: pa.Table,
    asked: Sequence[str],
    grader: LLM,
    progress: Progress,
) -> dict[str, Any]:
    """Grades units in their order until the figures are sure enough, or units or budget end."""
    doc_ids, bodies = corpus["doc_id"].to_pylist(), texts(corpus)
    drawing = Drawing(names)
    teacher = LLMTeacher(grader, STAGE, by_query=True)
    ended = "all pairs were graded"
    failed = 0
    for begin in range(0, len(units), drawing.batch):
        batch = units[begin : begin + drawing.batch]
        pairs = [
            Pair(f"{number} {unit.query}", doc_ids[at], asked[unit.query], bodies[at])
            for number, unit in enumerate(batch)
            for at in dict.fromkeys(at for best in unit.best.values() for at in best)
        ]
        with progress.bar(teacher.calls(pairs), "calls") as advance:
            found = teacher.judge(pairs, advance)
        grade_of = {
            (pair.query_id, pair.doc_id): grade.grade or 0
            for pair, grade in zip(pairs, found, strict=True)
            if not isinstance(grade, Failure)
        }
        budget_ended = bool(cut_off(found))
        for number, unit in enumerate(batch):
            key = f"{number} {unit.query}"
            ranked = {name: [grade_of.get((key, doc_ids[at])) for at in best] for name, best in unit.best.items()}
            # what was not graded is unknown, and no wrong answer
            if any(grade is None for grades in ranked.values() for grade in grades):
                failed += not budget_ended
                continue
            relevant = {name: [(grade or 0) >= POSITIVE for grade in grades] for name, grades in ranked.items()}
            drawing.add(unit.query, relevant)
        if budget_ended:
            ended = "the budget ended"
            break
        if drawing.sure:
            ended = "every standard error is below 5 % of its mean"
            break
    if not drawing.count:
        raise InputError(
            f"no (query, document) pair was graded as a whole by {grader.model} ({failed:,} failed): {ended}; raise "
            "the budget, or take another judge"
        )
    return {"ended": ended, "not_wholly_graded": failed, **drawing.summary()}
