"""`report`: a run as one page that people read, with no script and nothing loaded from outside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from denizen.data.tables import relevant
from denizen.engine.errors import InputError
from denizen.measuring import gains
from denizen.measuring.significance import paired_difference
from denizen.reports import charts, report_facts
from denizen.reports.card import sentence, title
from denizen.reports.explain import explain_lines, lineage_of
from denizen.reports.finished_run import FinishedRun
from denizen.reports.results import (
    BASE_STAYS,
    GATE_LEAVES_BASE,
    SYSTEMS,
    baseline_lines,
    gate_lines,
    gate_sentence,
    headline,
    result_lines,
    seed_lines,
)

_MOVED = 8
_TEXT_CHARS = 900
_SECTIONS = {
    "gain": "Gain",
    "rounds": "Rounds",
    "forgetting": "Forgetting",
    "where": "Where from",
    "scores": "Scores",
    "moved": "Queries",
    "data": "Data",
    "lineage": "Trained on",
    "teacher": "Teacher",
    "cost": "Time",
    "settings": "Settings",
}
# what somebody who does not code has to know
_TERMS = (
    (
        "MRR@5",
        "how high the first right passage stands among the first five: 1 at the top, .5 second, .2 fifth, else 0",
    ),
    ("Recall@k", "which share of the right passages stands among the first k"),
    ("nDCG@10", "how much of what is right stands how high among the first ten, 1 at best"),
    ("DCG@5", "the same over five, not divided by the best that could be"),
    ("interval", "where the true value lies in 95 of 100 such tests"),
    ("p", "how often chance alone would show a difference of this size; below .05 is called more than chance"),
    ("BM25", "plain keyword search, without any model"),
    ("RRF", "two rankings made one: a passage counts by its rank in each"),
)


def report(run: Path, out: Path | None = None) -> Path:
    """Writes the report of a finished run.

    Args:
        run: The run's folder.
        out: The page; None: report.html in the run's folder.

    Returns:
        Where the page is.

    Raises:
        InputError: When the folder holds no finished run, or the page is a folder.
    """
    found = FinishedRun(run)
    if out is not None and out.is_dir():
        raise InputError(f"--out {out} is a folder; give a file, such as {out / 'report.html'}")
    environment = Environment(
        loader=PackageLoader("denizen", "templates"),
        autoescape=select_autoescape(["jinja"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    teacher = report_facts.teacher(found)
    page = environment.get_template("report.html.jinja").render(
        title=title(found.metrics),
        headline=headline(found.metrics),
        terms=_TERMS,
        warnings=_warnings(found.metrics),
        sections=[(key, name) for key, name in _SECTIONS.items() if key != "teacher" or teacher],
        gain=_gain(found),
        rounds=_rounds(found),
        forgetting=_forgetting(found),
        where=_where(found),
        scores=_scores(found),
        moved=_moved(found),
        data=report_facts.data(found),
        lineage=report_facts.lineage(found),
        teacher=teacher,
        cost=report_facts.cost(found),
        settings=report_facts.settings(found),
    )
    path = out or run / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _warnings(metrics: dict[str, Any]) -> list[str]:
    found = [metrics["warning"]] if metrics["warning"] else []
    if metrics["queries"] < gains.LEAST:
        found.append(
            f"{metrics['queries']} test questions are few: the intervals are narrower than they should be below "
            f"{gains.LEAST}."
        )
    if metrics.get("judged_by", "labels") != "labels":
        found.append(
            f"The test was graded by {metrics['judged_by']}. A teacher is kind to its own student: "
            "denizen pool RUN --judge ANOTHER-LLM asks another one."
        )
    if metrics["chosen"] == "base":
        found.append(GATE_LEAVES_BASE if metrics["best_round"] else BASE_STAYS)
    elif metrics["gate"] and not metrics["gate"]["met"]:
        found.append("The gate is not met: the model has forgotten more than the limit allows.")
    broken = [str(of_seed["seed"]) for of_seed in metrics["seeds"][1:] if not of_seed["met"]]
    if broken:
        found.append(f"With another seed the gate is not met: {', '.join(broken)}.")
    return found


def _figure(name: str, svg: str) -> tuple[str, Markup]:
    # the charts escape what they are given
    return name, Markup(svg)


def _gain(run: FinishedRun) -> dict[str, Any]:
    metrics = run.metrics
    found = []
    values = {name: run.values(name) for name in SYSTEMS if name in metrics}
    for measure in metrics["difference"]:
        rows = []
        for name in values:
            ours = np.array(list(values[name][measure].values()))
            mean = paired_difference(ours, np.zeros(len(ours)))
            kind = name if name in ("base", "bm25", "adapted") else "other"
            rows.append(charts.Bar(SYSTEMS[name], mean.value, mean.low, mean.high, kind))
        found.append(_figure(measure, charts.bars(rows, f"{measure} of each system with its 95 % interval")))
    return {
        "table": result_lines(metrics),
        "queries": f"{metrics['queries']:,}",
        "charts": found,
        "baselines": baseline_lines(metrics),
        "seeds": seed_lines(metrics),
    }


def _rounds(run: FinishedRun) -> dict[str, Any]:
    dev = run.metrics["dev"]
    names = ["base", *(f"round {number}" for number in range(1, len(dev)))]
    measures = [name for name in ("MRR@5", "nDCG@10") if name in dev[0]]
    series = [(name, "adapted" if name == "MRR@5" else "other", [found[name] for found in dev]) for name in measures]
    svg = charts.lines(series, names, "Measures on dev after each round")
    best = run.metrics["best_round"]
    chosen = "the base stays" if best == 0 else f"round {best} is best"
    return {
        "charts": [_figure("Dev", svg)],
        "text": f"Dev decides on the round: {chosen}. Test queries had no part in it.",
    }


def _forgetting(run: FinishedRun) -> dict[str, Any]:
    gate = run.metrics["gate"]
    text = f"{sentence(gate_sentence(run.metrics))}."
    if gate is None:
        return {"text": text, "table": [], "charts": [], "points": []}
    rows = []
    for name, found in gate["sets"].items():
        of_set = found["differences"]["adapted"][gate["measure"]]
        kind = _kind(of_set["value"])
        rows.append(charts.Bar(name, of_set["value"], of_set["low"], of_set["high"], kind, found["role"]))
    change = charts.bars(rows, f"Change of {gate['measure']} on each set", signed=True)
    figures = [_figure(f"Change of {gate['measure']}", change)]
    points = gate["points"]
    if points:
        roles = [{name for name, found in gate["sets"].items() if found["role"] == role} for role in gate["change"]]
        marks = []
        for point in points:
            means = [sum(point["changes"][name] for name in names) / len(names) for names in roles]
            kind, hollow = _mark_kind(point), not point["inside"]
            marks.append(charts.Mark(min(means), point["domain"], point["name"], kind, hollow))
        alt = "Domain against forgetting for every model that was measured"
        svg = charts.scatter(marks, f"change of {gate['measure']} elsewhere", "MRR@5 on dev", alt, -gate["limit"])
        figures.append(_figure("Trade-off, on the queries that decide", svg))
        text += (
            " In the trade-off a filled point keeps the limit with one standard error to spare, or half of the limit "
            "where that is less, since it must hold on questions that did not decide, too; a hollow one does not. The "
            "largest MRR@5 among the filled is taken."
        )
    table = [["model", "dev MRR@5", *(points[0]["changes"] if points else []), "inside", "taken"]]
    for point in points:
        changes = [f"{change:+.4f}" for change in point["changes"].values()]
        verdicts = ["yes" if point[name] else "no" for name in ("inside", "chosen")]
        table.append([point["name"], f"{point['domain']:.3f}", *changes, *verdicts])
    return {"text": text, "table": gate_lines(gate), "charts": figures, "points": table if points else []}


def _where(run: FinishedRun) -> dict[str, Any]:
    measure = "MRR@5"
    base, adapted = (run.values(name)[measure] for name in ("base", "adapted"))
    queries = {query_id: run.queries[query_id]["text"] for query_id in base}
    known = relevant(run.test_qrels)
    ranks = gains.first_relevant(run.run("base"), run.test_qrels, list(base))
    corpus = run.corpus
    labels = {}
    for column in ("domain", "parent_id"):
        of = dict(zip(corpus["doc_id"].to_pylist(), corpus[column].to_pylist(), strict=True))
        labels = {query_id: str(of[min(known[query_id])]) for query_id in base if of[min(known[query_id])]}
        if len(set(labels.values())) > 1:
            break
    groups = {
        "By length of the query": gains.by_length(queries),
        "By rank of the answer before": gains.by_base_rank(ranks, run.depth),
        "By domain or document": labels,
    }
    figures = []
    for name, group in groups.items():
        rows = [
            charts.Bar(
                found.name,
                found.value,
                found.low,
                found.high,
                _kind(found.value),
                f"{found.queries:,}",
            )
            for found in gains.by_group(group, base, adapted)
        ]
        if rows:
            figures.append(_figure(name, charts.bars(rows, f"Gain in {measure}, {name.lower()}", signed=True)))
    text = f"Gain in {measure} with its 95 % interval, and how many queries. "
    text += f"Groups of fewer than {gains.LEAST} are left out: their intervals could not be trusted. "
    text += "Where the answer was first before it can only fall, and where it was far down it can only rise."
    return {"charts": figures, "text": text}


def _scores(run: FinishedRun) -> dict[str, Any]:
    ids = list(run.values("base")["MRR@5"])
    figures = []
    for name in ("base", "adapted"):
        right, wrong = gains.best_scores(run.run(name), run.test_qrels, ids)
        series = [("best passage that is not relevant", "base", wrong), ("best relevant passage", "adapted", right)]
        figures.append(_figure(SYSTEMS[name], charts.histogram(series, f"Scores of {name}")))
    text = (
        "For each test query the highest score of a relevant passage, and of another one: the less overlap, the better."
    )
    return {"charts": figures, "text": text}


def _moved(run: FinishedRun) -> dict[str, Any]:
    ids = list(run.values("base")["MRR@5"])
    depth = run.depth
    rows = gains.moved(run.run("base"), run.run("adapted"), run.test_qrels, ids)
    known = relevant(run.test_qrels)
    up, down = [row for row in rows if row.change > 0], [row for row in reversed(rows) if row.change < 0]

    def shown(row: gains.Moved, at: int) -> dict[str, Any]:
        return {
            "anchor": f"query-{at}-{'up' if row.change > 0 else 'down'}",
            "query": run.queries[row.query_id]["text"],
            "before": _rank(row.before, depth),
            "after": _rank(row.after, depth),
            "text_before": _cut(run.text_of.get(row.first_before, "nothing")),
            "text_after": _cut(run.text_of.get(row.first_after, "nothing")),
            "right_before": row.first_before in known[row.query_id],
            "right_after": row.first_after in known[row.query_id],
            "lineage": "\n".join(explain_lines(lineage_of(run, row.query_id))),
        }

    groups = [
        (name, kind, [shown(row, at) for at, row in enumerate(moved[:_MOVED])])
        for name, kind, moved in (("Up", "up", up), ("Down", "down", down))
    ]
    same = len(ids) - len(rows)
    text = f"{len(up):,} queries find their answer higher up than before, {len(down):,} lower down, {same:,} as before."
    return {"text": text, "groups": groups}


def _kind(change: float) -> str:
    return "good" if change >= 0 else "bad"


def _mark_kind(point: dict[str, Any]) -> str:
    if point["chosen"]:
        return "chosen"
    return "merge" if point["merge"] else "base" if point["name"] == "base" else "student"


def _rank(rank: int | None, depth: int) -> str:
    return f"rank {rank}" if rank else f"below {depth}"


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]}…"
