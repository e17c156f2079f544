"""`report`: a run as one page that people read, with no script and nothing loaded from outside."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from denizen.core.paired import paired_difference
from denizen.core.tables import read_table, relevant
from denizen.recipes.audit import audit_lines
from denizen.recipes.explain import explain_lines, lineage_of
from denizen.recipes.finished_run import FinishedRun
from denizen.recipes.model_card import title
from denizen.recipes.results import (
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
from denizen.stages import charts, gains

_MOVED = 8
_TRAINED = 6
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


def report(run: Path, out: Path | None = None) -> Path:
    """Writes the report of a finished run.

    Args:
        run: The run's folder.
        out: The page; None: report.html in the run's folder.

    Returns:
        Where the page is.

    Raises:
        InputError: When the folder holds no finished run.
    """
    found = FinishedRun(run)
    environment = Environment(
        loader=PackageLoader("denizen", "templates"),
        autoescape=select_autoescape(["jinja"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    teacher = _teacher(found)
    page = environment.get_template("report.html.jinja").render(
        title=title(found.metrics),
        headline=headline(found.metrics),
        warnings=_warnings(found.metrics),
        sections=[(key, name) for key, name in _SECTIONS.items() if key != "teacher" or teacher],
        gain=_gain(found),
        rounds=_rounds(found),
        forgetting=_forgetting(found),
        where=_where(found),
        scores=_scores(found),
        moved=_moved(found),
        data=_data(found),
        lineage=_lineage(found),
        teacher=teacher,
        cost=_cost(found),
        settings=_settings(found),
    )
    path = out or run / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)
    return path


def _warnings(metrics: dict[str, Any]) -> list[str]:
    found = [metrics["warning"]] if metrics["warning"] else []
    if metrics["chosen"] == "base":
        found.append(GATE_LEAVES_BASE if metrics["best_round"] else BASE_STAYS)
    elif metrics["gate"] and not metrics["gate"]["met"]:
        found.append("The gate is not met: the model has forgotten more than the limit allows.")
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
    text = f"{gate_sentence(run.metrics).capitalize()}."
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
        marks = [
            charts.Mark(min(point["changes"].values()), point["domain"], point["name"], _mark_kind(point))
            for point in points
        ]
        alt = "Domain against forgetting for every model that was measured"
        svg = charts.scatter(marks, f"worst change of {gate['measure']} elsewhere", "MRR@5 on dev", alt, -gate["limit"])
        figures.append(_figure("Trade-off, on the queries that may decide", svg))
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
        "By rank of the answer before": gains.by_base_rank(ranks),
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
    text = f"Gain in {measure} with its 95 % interval, and how many queries. Groups of fewer than 5 are left out."
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
    depth = run.metrics["config"]["depth"]
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
            "explain": f"denizen explain {run.folder} {row.query_id}",
        }

    groups = [
        (name, kind, [shown(row, at) for at, row in enumerate(moved[:_MOVED])])
        for name, kind, moved in (("Up", "up", up), ("Down", "down", down))
    ]
    same = len(ids) - len(rows)
    text = f"{len(up):,} queries find their answer higher up than before, {len(down):,} lower down, {same:,} as before."
    return {"text": text, "groups": groups}


def _data(run: FinishedRun) -> dict[str, Any]:
    data = run.metrics["data"]
    names = (
        "passages",
        "documents",
        "split",
        "skipped_rows",
        "queries_dropped_as_leaks",
        "leaks",
        "labelled_test_queries",
    )
    facts = [(name.replace("_", " "), data[name]) for name in names if name in data]
    facts[2:2] = [(f"{split} queries", f"{count:,}") for split, count in data["queries"].items()]
    if data.get("parts_left_out"):
        facts.append(("parts left out", ", ".join(data["parts_left_out"])))
    reasons: Counter[tuple[str, str]] = Counter()
    for path in sorted(run.folder.glob("*/failures.parquet")):
        for row in read_table(path, "failures").to_pylist():
            reasons[row["stage"], row["error"]] += 1
    dropped = run.folder / "synthesis/dropped_queries.parquet"
    if dropped.is_file():
        for row in read_table(dropped, "dropped_queries").to_pylist():
            reasons["synthesis", row["reason"]] += 1
    listed = [["stage", "reason", "rows"], *([*names, f"{count:,}"] for names, count in reasons.most_common(20))]
    leaks = run.json("corpus/leaks.json") or []
    columns = list(leaks[0]) if leaks else []
    table = [columns, *([str(leak[name]) for name in columns] for leak in leaks[:50])]
    return {"facts": facts, "dropped": listed if reasons else [], "leaks": table if leaks else []}


def _teacher(run: FinishedRun) -> dict[str, Any] | None:
    metrics = run.metrics
    if metrics["config"]["teacher"] == "gold":
        return None
    config = metrics["config"]
    teacher = config["llm"] if config["teacher"] == "llm" else Path(config["cross_encoder"]).name
    facts = [("teacher", teacher), ("test graded by", metrics["judged_by"])]
    coverage = [["stage", "asked for", "coverage", "failures", "cut off by the budget"]]
    for stage, found in metrics["coverage"].items():
        failures = ", ".join(f"{count} {kind}" for kind, count in found["failures"].items()) or "none"
        coverage.append(
            [stage, f"{found['asked']:,}", f"{found['coverage']:.1%}", failures, str(found["cut_off_by_budget"])]
        )
    tables = [coverage] if len(coverage) > 1 else []
    spending = metrics["spending"]
    if spending:
        rows = {**spending["by_stage"], "in all": spending["total"]}
        lines = [[stage, f"{of['calls']:,}", f"{of['tokens']:,}", f"{of['money']:.4f}"] for stage, of in rows.items()]
        tables.append([["spent by stage", "calls", "tokens", f"money at {config['prices'] or 'no price'}"], *lines])
    audit = run.json("audit.json")
    return {
        "facts": facts,
        "tables": tables,
        "audit": "\n".join(audit_lines(audit)) if audit else "not measured: denizen audit RUN",
    }


def _lineage(run: FinishedRun) -> dict[str, Any]:
    ids = list(dict.fromkeys(example["query_id"] for example in run.examples))
    drawn = ids[:: max(1, len(ids) // _TRAINED)][:_TRAINED]
    rows = [
        {"query": run.queries[query_id]["text"], "text": "\n".join(explain_lines(lineage_of(run, query_id)))}
        for query_id in drawn
    ]
    text = f"{len(run.examples):,} examples of {len(ids):,} queries; {len(rows)} of them with all that they come from. "
    return {"rows": rows, "text": f"{text}For any other: denizen explain {run.folder} QUERY_ID"}


def _cost(run: FinishedRun) -> dict[str, Any]:
    seconds = {name: record["seconds"] for name, record in run.stages.items()}
    resumed = [name for name, record in run.stages.items() if record["resumed"]]
    machine = run.metrics["machine"]
    facts = [
        ("time in all", f"{sum(seconds.values()) / 60:.1f} minutes"),
        ("processor", f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads"),
        ("accelerator", machine["cuda"] or "none"),
        ("instructions", ", ".join(machine["flags"])),
        ("arithmetic of training", run.metrics["arithmetic"]),
        ("encoding", ", ".join(f"{name} by {backend}" for name, backend in run.metrics["backends"].items())),
    ]
    if resumed:
        facts.append(("interrupted", f"{', '.join(resumed)}: the time is of the last session alone"))
    stages = [["stage", "seconds"], *([name, f"{value:,.1f}"] for name, value in seconds.items())]
    return {"facts": facts, "stages": stages}


def _settings(run: FinishedRun) -> dict[str, Any]:
    table = [["setting", "value"], *([name, str(value)] for name, value in run.metrics["config"].items())]
    return {"table": table, "versions": list(run.metrics["versions"].items()), "model": run.metrics["model"]}


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
