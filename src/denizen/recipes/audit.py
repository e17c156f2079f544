"""`audit`: can the judge of a run be trusted?

Kappa is the headline and never raw agreement: a judge that calls nearly everything irrelevant agrees with anybody by
chance. What is measured: the judge against itself (asked again), against itself with several passages in one call and
in reversed order, on pairs whose grade is known, against a second judge, and against people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.formats.grading_sheet import SheetRow, read_sheet, row_key, write_sheet
from denizen.data.tables import read_table, relevant, texts_by_id
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import held
from denizen.engine.stage import write_json
from denizen.llm.answer import Failure, cut_off
from denizen.llm.client import LLM
from denizen.measuring import agreement
from denizen.recipes.config import AdaptConfig
from denizen.recipes.run_folder import read_config
from denizen.supervision import teachers
from denizen.supervision.judging import LLMTeacher, Pair

STAGE = "audit"
# fewer passages in one call say little about what being together does
_TOGETHER = 5


@dataclass(frozen=True)
class _Judged:
    """A pair and the grade that the run has for it."""

    pair: Pair
    grade: int


def audit(  # noqa: PLR0913
    run: Path,
    *,
    sample: int = 200,
    second_llm: str = "",
    second_endpoint: str = "",
    second_prices: str = "",
    export: Path | None = None,
    people: Path | None = None,
    seed: int = 42,
    progress: Progress | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """Measures the agreement of a run's LLM judge, and writes RUN/audit.json.

    Args:
        run: The folder of a run with teacher llm.
        sample: How many judged pairs are looked at, drawn at random; as many planted ones come on top.
        second_llm: Another LLM that grades the same pairs.
        second_endpoint: Its endpoint, whose key is in JUDGE_API_KEY; empty: that of the run.
        second_prices: Its prices; empty: as free as those of the run.
        export: Write the sample as a sheet for people to grade (.csv or .xlsx) and stop there.
        people: A sheet that people have graded.
        seed: Seed of the drawing. Another one draws other pairs, and a sheet fits only its own.
        progress: Receives what a person should see.
        changed: Settings of the run that do not decide results: endpoint, prices, budgets.

    Returns:
        Kappas with intervals, raw agreement, sensitivity and specificity; the contents of audit.json.

    Raises:
        InputError: When the run has no judgments of an LLM, a sheet does not fit it, or the budget ends.
    """
    progress = progress or Silent()
    config = read_config(run, **changed)
    with held(run):
        pairs = _judged_pairs(run)
        if config.teacher != "llm" or not pairs:
            raise InputError(f"{run} has no judgments by an LLM; audit needs a run with --teacher llm")
        chosen = _draw(pairs, sample, seed)
        if export is not None:
            write_sheet(export, [SheetRow(*asdict(row.pair).values()) for row in chosen])
            progress.say(
                f"{len(chosen)} pairs for people to grade: {export}; then denizen audit {run} --people {export}"
            )
            return {"exported": len(chosen)}
        # what is wrong with them is said before anything is paid
        by_people = _with_people(pairs, people) if people is not None else None
        llm = teachers.run_llm(config, run)
        other = _second(config, run, second_llm, second_endpoint, second_prices)
        found: dict[str, Any] = {"llm": config.llm, "pairs": len(chosen), "seed": seed}
        progress.say(_plan(chosen, sample, other is not None))
        with progress.working(STAGE):
            found["again"] = _against(chosen, LLMTeacher(llm, STAGE, config.grades_per_call, repeat=1), progress)
            found |= _order(pairs, sample, llm, config, seed, progress)
            found["planted"] = _planted(run, chosen, llm, seed, progress)
            if other is not None:
                found["second_llm"] = {"llm": second_llm, **_against(chosen, LLMTeacher(other, STAGE), progress)}
            if by_people is not None:
                found["people"] = by_people
        found |= _headline(found)
        found["spending"] = teachers.spending(llm)["by_stage"].get(STAGE, {})
        write_json(run / "audit.json", found)
    return found


def audit_lines(found: dict[str, Any]) -> list[str]:
    """The result as people read it."""
    if "exported" in found:
        return []
    lines = [f"judge {found['llm']}, {found['pairs']} pairs of the run"]
    names = {
        "again": "asked again",
        "together": "several in one call, against one each",
        "reversed": "several in one call, in reversed order",
        "second_llm": "against a second judge",
        "people": "against people",
    }
    for key, name in names.items():
        if key in found:
            lines.append(f"  {name:<40} {_shown(found[key]['kappa'])}")
    for kind, rate in found["planted"].items():
        if rate:
            interval = f"[{rate['low']:.1%}, {rate['high']:.1%}]"
            lines.append(f"  planted {kind:<32} {rate['value']:.1%} right {interval} of {rate['count']}")
    if "people" in found:
        for kind in ("sensitivity", "specificity"):
            rate = found["people"][kind]
            if rate:
                lines.append(f"  {kind} against people {rate['value']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]")
    lines.append(found["headline"])
    return lines


def _judged_pairs(run: Path) -> list[_Judged]:
    paths = sorted(run.glob("round-*/judgments/judgments.parquet"))
    rows = [row for path in paths for row in read_table(path, "judgments").to_pylist() if row["grade"] is not None]
    if not rows:
        return []
    corpus = read_table(run / "corpus/corpus.parquet", "corpus")
    queries = read_table(run / "synthesis/queries.parquet", "queries")
    text_of = texts_by_id(corpus)
    question = dict(zip(queries["query_id"].to_pylist(), queries["text"].to_pylist(), strict=True))
    return [
        _Judged(Pair(row["query_id"], row["doc_id"], question[row["query_id"]], text_of[row["doc_id"]]), row["grade"])
        for row in rows
    ]


def _draw(pairs: Sequence[_Judged], count: int, seed: int) -> list[_Judged]:
    order = np.random.default_rng(seed).permutation(len(pairs))[:count]
    return [pairs[at] for at in sorted(order.tolist())]


def _against(chosen: Sequence[_Judged], teacher: LLMTeacher, progress: Progress) -> dict[str, Any]:
    """The run's grades against another judging of the same pairs."""
    grades = _grades([row.pair for row in chosen], teacher, progress)
    both = [(row.grade, grade) for row, grade in zip(chosen, grades, strict=True) if grade is not None]
    return _agreement([one for one, _ in both], [other for _, other in both], len(chosen) - len(both))


def _order(
    pairs: Sequence[_Judged], sample: int, llm: LLM, config: AdaptConfig, seed: int, progress: Progress
) -> dict[str, Any]:
    """What being graded together does, and the order: whole queries, since a call is for one query."""
    together = max(_TOGETHER, config.grades_per_call)
    of_query: dict[str, list[Pair]] = {}
    for row in pairs:
        of_query.setdefault(row.pair.query_id, []).append(row.pair)
    several = [found[:together] for found in of_query.values() if len(found) > 1]
    order = np.random.default_rng(seed).permutation(len(several)).tolist()
    chosen = [pair for at in order[: max(1, sample // together)] for pair in several[at]]
    single = _grades(chosen, LLMTeacher(llm, STAGE), progress)
    forth = _grades(chosen, LLMTeacher(llm, STAGE, together), progress)
    back = _grades(chosen, LLMTeacher(llm, STAGE, together, backwards=True), progress)
    result = {}
    for name, one, other in (("together", single, forth), ("reversed", forth, back)):
        both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
        result[name] = _agreement([a for a, _ in both], [b for _, b in both], len(chosen) - len(both))
    return result


def _planted(run: Path, chosen: Sequence[_Judged], llm: LLM, seed: int, progress: Progress) -> dict[str, Any]:
    """Pairs whose grade is known: a query with its own passage (4), and with one of another document (1 or 2)."""
    corpus = read_table(run / "corpus/corpus.parquet", "corpus")
    sides = read_table(run / "corpus/documents.parquet", "documents").to_pylist()
    hidden = {row["parent_id"] for row in sides if row["split"] == "test"}
    rows = [row for row in corpus.to_pylist() if row["parent_id"] not in hidden]
    text_of = texts_by_id(corpus)
    home = {row["doc_id"]: (row["parent_cluster"], row["domain"]) for row in rows}
    sources = relevant(read_table(run / "synthesis/sources.parquet", "qrels"))
    random = np.random.default_rng(seed)
    own, other = [], []
    for pair in {row.pair.query_id: row.pair for row in chosen}.values():
        # of several passages each holds a part of the answer, and no single one is known to be a 4
        if len(sources.get(pair.query_id, [])) != 1:
            continue
        (source,) = sources[pair.query_id]
        own.append(Pair(pair.query_id, source, pair.query, text_of[source]))
        for at in random.permutation(len(rows)).tolist():
            if home[rows[at]["doc_id"]][0] != home[source][0]:
                doc_id = rows[at]["doc_id"]
                other.append(Pair(pair.query_id, doc_id, pair.query, text_of[doc_id]))
                break
    teacher = LLMTeacher(llm, STAGE, 1)
    known = [grade for grade in _grades(own, teacher, progress) if grade is not None]
    wrong = [grade for grade in _grades(other, teacher, progress) if grade is not None]
    rates = agreement.positive_rates([*known, *wrong], [4] * len(known) + [1] * len(wrong))
    return {
        "own passage": asdict(rates.sensitivity) if rates.sensitivity else None,
        "random passage": asdict(rates.specificity) if rates.specificity else None,
    }


def _with_people(pairs: Sequence[_Judged], path: Path) -> dict[str, Any]:
    sheet = read_sheet(path)
    grade_of = {row_key(row.pair.query_id, row.pair.doc_id): row.grade for row in pairs}
    both = [(grade_of[key], grade) for key, grade in sheet.grades.items() if key in grade_of]
    if not both:
        raise InputError(f"{path} has no grade for a pair of this run ({sheet.empty} rows are empty)")
    judge, truth = [one for one, _ in both], [other for _, other in both]
    rates = agreement.positive_rates(judge, truth)
    share = sum(row.grade >= agreement.RELEVANT for row in pairs) / len(pairs)
    corrected = None
    if rates.sensitivity and rates.specificity:
        corrected = agreement.corrected_prevalence(share, rates.sensitivity.value, rates.specificity.value)
    return {
        **_agreement(judge, truth, 0),
        **{name: found and asdict(found) for name, found in vars(rates).items()},
        "share_of_answers": share,
        "corrected_share_of_answers": corrected,
        "empty_rows": sheet.empty,
        "unknown_rows": len(sheet.grades) - len(both),
        "problems": [asdict(problem) for problem in sheet.problems],
    }


def _grades(pairs: Sequence[Pair], teacher: LLMTeacher, progress: Progress) -> list[int | None]:
    if not pairs:
        return []
    with progress.bar(teacher.calls(pairs), "calls") as advance:
        found = teacher.judge(pairs, advance)
    if lost := cut_off(found):
        raise InputError(
            f"the budget of the run ended before {lost:,} of {len(found):,} grades; raise it with --budget-calls, "
            "--budget-tokens or --budget-money (what was graded is kept)"
        )
    return [None if isinstance(judgment, Failure) else judgment.grade for judgment in found]


def _agreement(one: Sequence[int], other: Sequence[int], failed: int) -> dict[str, Any]:
    return {
        "kappa": asdict(agreement.cohen_kappa(one, other)),
        "weighted_kappa": asdict(agreement.cohen_kappa(one, other, "quadratic")),
        "failed": failed,
    }


def _plan(chosen: Sequence[_Judged], sample: int, second: bool) -> str:
    again = len(chosen) * (2 if second else 1)
    calls = again + 3 * sample + 2 * len({row.pair.query_id for row in chosen})
    return f"at most {calls:,} calls; those that were made before cost nothing"


def _second(config: AdaptConfig, run: Path, llm: str, endpoint: str, prices: str) -> LLM | None:
    if llm == config.llm:
        raise InputError(f"second_llm is {llm!r}, the run's own judge; name another one")
    return teachers.make_judge(config, run, llm, endpoint, prices) if llm else None


def _headline(found: dict[str, Any]) -> dict[str, Any]:
    """People say most, a second judge less; agreement with oneself only says that one is not guessing."""
    order = (("people", "with people"), ("second_llm", "with a second judge"), ("again", "with itself"))
    for key, whom in order:
        kappa = found.get(key, {}).get("kappa", {})
        if kappa.get("value") is not None:
            shown = f"{kappa['value']:.2f} [{kappa['low']:.2f}, {kappa['high']:.2f}]"
            return {"headline": f"kappa {whom}: {shown} ({agreement.words(kappa['value'])})"}
    return {"headline": "no kappa: the grades do not differ, or too few pairs were graded twice"}


def _shown(kappa: dict[str, Any]) -> str:
    if kappa["value"] is None:
        return f"kappa undefined ({kappa['reason']})"
    return (
        f"kappa {kappa['value']:.2f} [{kappa['low']:.2f}, {kappa['high']:.2f}], "
        f"agreement {kappa['agreement']:.0%} of {kappa['pairs']}"
    )
