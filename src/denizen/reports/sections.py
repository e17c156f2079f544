"""What stands in each section of a report: blocks of text, tables, facts and charts.

A block is a kind and its content: "table" and "words" (rows of cells, numbers or text), "facts" (names with values),
"charts" (names with SVG), "fold" (a summary, the blocks behind it, an id), "faint" (text), or a tag with its text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from markupsafe import Markup

from denizen.data.tables import read_table
from denizen.engine.files import read_json
from denizen.measuring import gains
from denizen.measuring.significance import Difference, paired_difference
from denizen.reports import charts
from denizen.reports.audit import audit_lines
from denizen.reports.card import sentence, taught_by
from denizen.reports.explain import explain, explain_lines
from denizen.reports.finished_run import FinishedRun
from denizen.reports.lineage import made_from
from denizen.reports.results import (
    SYSTEMS,
    analyser_lines,
    baseline_lines,
    change,
    coverage_lines,
    decided_by,
    dim_lines,
    drawn_by,
    gate_lines,
    gate_sentence,
    length_sentence,
    reading_lines,
    reading_sentence,
    reranker_sentence,
    result_lines,
    seed_lines,
    spending_lines,
    take_lines,
)
from denizen.supervision.negatives import counted

Blocks = list[tuple[str, Any]]

_WHO_READS = (
    "The folder retriever/ reads so; the folder model/ alone is a model, and whoever loads it reads whole texts."
)
_MOVED = 8
_TRAINED = 6
# queries that were written, of those used and of each reason against one
_WRITTEN = 10
_MOST_ROWS = 50
# of a domain (arXiv 2512.08088, by filing type)
_OF_DOMAIN = ("MRR@5", "DCG@5")
_MOST_REASONS = 20
_TEXT_CHARS = 900


def sections(run: FinishedRun) -> list[tuple[str, str, str, Blocks]]:
    """The sections in their order: id, name, heading, and the blocks; those that have nothing are left out."""
    return [(name, short, heading, blocks) for name, short, heading, of in _SECTIONS if (blocks := of(run))]


def _take(run: FinishedRun) -> Blocks:
    if not (rows := take_lines(run.metrics)):
        return []
    text = (
        "Shipped is the model of the earlier run, which all else on this page calls the base. Trained further is that "
        "model with more rounds, trained anew the base of the earlier run; each after the choice among its rounds and "
        "the gate. Neither test had a part in the choice."
    )
    return [("table", rows), ("faint", text)]


def _gain(run: FinishedRun) -> Blocks:
    metrics = run.metrics
    values = {name: run.values(name) for name in SYSTEMS if name in metrics}
    figures = []
    for measure in metrics["difference"]:
        bars = []
        for name, of_system in values.items():
            of_query = of_system[measure]
            together = [run.together[query_id] for query_id in of_query]
            mean = paired_difference(np.array([*of_query.values()]), np.zeros(len(together)), groups=together)
            bars.append(charts.Bar(SYSTEMS[name], mean, name if name in ("base", "bm25", "adapted") else "other"))
        figures.append((measure, charts.bars(bars, f"{measure} of each system with its 95 % interval")))
    asked = f"On {metrics['queries']:,} test queries, read once, at the end."
    return [
        ("table", result_lines(metrics)),
        ("faint", f"{asked} Intervals: bootstrap over {drawn_by(metrics)}, 95 %. p: paired randomisation test."),
        *(("faint", line) for line in analyser_lines(metrics)),
        ("charts", figures),
        *_titled("Beside it, on the same queries", baseline_lines(metrics)),
        *_titled("Again with other seeds", seed_lines(metrics)),
        *_titled("With embeddings cut to their first dimensions", dim_lines(metrics)),
    ]


def _rounds(run: FinishedRun) -> Blocks:
    dev, best = run.metrics["dev"], run.metrics["best_round"]
    decided = run.metrics["decided"]
    usual = ["base", *(f"round {number}" for number in range(1, len(decided["round"]["MRR@5"])))]
    names = decided["round"].get("called", usual)
    kinds = {"MRR@5": "adapted", "nDCG@10": "other"}
    series = [(name, kind, [found[name] for found in dev]) for name, kind in kinds.items() if dev and name in dev[0]]
    chosen = "the base stays" if best == 0 else f"{names[best]} is taken"
    if (students := run.metrics.get("soup", 0)) > 1:
        chosen += f", and what goes on is the mean of the weights of {students} students: it and those of its folds"
    table = [["decided", "queries", "before", "after", "gain", "90 % interval"]]
    for number, gain in enumerate(decided["round"]["gains"], start=1):
        means = decided["round"]["MRR@5"]
        table.append([names[number], *_decision(decided["round"], means[number] - gain["value"], means[number], gain)])
    fused = decided["fusion"]
    table.append(["with BM25", *_decision(fused, fused["MRR@5"]["alone"], fused["MRR@5"]["fused"], fused["gain"])])
    curve = [("charts", [("Dev", charts.lines(series, names, "Measures on dev after each round"))])] if dev else []
    return [
        *curve,
        ("p", f"{sentence(decided_by(run.metrics))} {sentence(chosen)} Test queries had no part in it."),
        ("table", table),
        ("faint", f"MRR@5. With BM25: {_way(fused)}; its gain is that of ways chosen on other queries."),
        *([("p", f"{sentence(read)} {_WHO_READS}")] if (read := reading_sentence(run.metrics)) else []),
        *([("table", rows)] if (rows := reading_lines(run.metrics)) else []),
        *([("p", sentence(long))] if (long := length_sentence(run.metrics)) else []),
        *([("p", sentence(second))] if (second := reranker_sentence(run.metrics)) else []),
    ]


def _decision(decided: Mapping[str, Any], before: float, after: float, gain: Mapping[str, float]) -> list[str]:
    interval = f"{gain['low']:+.3f} to {gain['high']:+.3f}"
    return [f"{decided['queries']:,}", f"{before:.3f}", f"{after:.3f}", f"{gain['value']:+.3f}", interval]


def _way(fused: Mapping[str, Any]) -> str:
    if fused["fusion"] == "rrf":
        return "reciprocal rank fusion"
    return f"scores combined, {fused['weights'][1]:.0%} the model's"


def _forgetting(run: FinishedRun) -> Blocks:
    gate, text = run.metrics["gate"], sentence(gate_sentence(run.metrics))
    if gate is None:
        return [("p", text)]
    change = f"Change of {gate['measure']}"
    bars = [
        charts.Bar(
            name,
            Difference(**found["differences"]["adapted"][found.get("measure", gate["measure"])]),
            note=found["role"],
        )
        for name, found in gate["sets"].items()
    ]
    figures = [(change, charts.bars(bars, f"{change} on each set", signed=True))]
    points = gate["points"]
    if points:
        figures.append(("Trade-off, on the queries that decide", _trade_off(gate)))
        text += (
            " In the trade-off a filled point keeps the limit with one standard error to spare, or half of the limit "
            "where that is less, since it must hold on questions that did not decide, too; a hollow one does not. What "
            "forgets too much is not asked in its domain, and what falls clearly on the first questions not on the "
            "others. The search ends where the student itself is no better than a merge inside by more than chance."
        )
    blocks: Blocks = [("p", text), ("table", gate_lines(gate)), ("charts", figures)]
    if points:
        table = [["model", "MRR@5", *points[0]["changes"], "items", "inside", "taken"]]
        for point in points:
            changes = [f"{value:+.4f}" for value in point["changes"].values()]
            verdicts = ["yes" if point[name] else "no" for name in ("inside", "chosen")]
            domain = "" if point["domain"] is None else f"{point['domain']:.3f}"
            table.append([point["name"], domain, *changes, f"{point['items']:,}", *verdicts])
        blocks.append(("fold", ("All models that were measured", [("table", table)], "")))
    return blocks


def _trade_off(gate: Mapping[str, Any]) -> str:
    roles = [[name for name, found in gate["sets"].items() if found["role"] == role] for role in gate["change"]]
    marks = []
    for point in gate["points"]:
        if point["domain"] is None:
            continue
        worst = min(sum(point["changes"][name] for name in names) / len(names) for names in roles)
        kind = "merge" if point["merge"] else "base" if point["name"] == "base" else "student"
        kind = "chosen" if point["chosen"] else kind
        marks.append(charts.Mark(worst, point["domain"], point["name"], kind, not point["inside"]))
    alt = "Domain against forgetting for every model that was measured"
    return charts.scatter(marks, f"change of {gate['measure']} elsewhere", "MRR@5 in the domain", alt, -gate["limit"])


def _where(run: FinishedRun) -> Blocks:
    measure = "MRR@5"
    base, adapted = (run.values(name)[measure] for name in ("base", "adapted"))
    domains, documents = (
        {name: str(of) for name in base if (of := run.passages[min(run.known[name])][column])}
        for column in ("domain", "parent_id")
    )
    groups = {
        "By length of the query": gains.by_length({name: run.queries[name]["text"] for name in base}),
        "By rank of the answer before": gains.by_base_rank(
            gains.first_relevant(run.ranked["base"], run.known), run.depth
        ),
        "By domain or document": domains if len(set(domains.values())) > 1 else documents,
    }
    figures = []
    for name, names in groups.items():
        found = gains.by_group(names, base, adapted, run.together).items()
        if bars := [charts.Bar(group, change, note=f"{count:,}") for group, (change, count) in found]:
            figures.append((name, charts.bars(bars, f"Gain in {measure}, {name.lower()}", signed=True)))
    text = f"Gain in {measure} with its 95 % interval, and how many queries. "
    by = run.metrics["grouped"]["by"]
    few = "" if by == "query" else f", or about fewer than {gains.LEAST_TOGETHER} {by}s,"
    text += f"Groups of fewer than {gains.LEAST} queries{few} are left out: their intervals could not be trusted. "
    text += "Where the answer was first before it can only fall, and where it was far down it can only rise."
    rows = domain_rows(run)
    noted = [("faint", "Where there are too few queries for an interval, there is none.")] if rows else []
    return [("charts", figures), ("faint", text), *_titled("Every domain", rows), *noted]


def domain_rows(run: FinishedRun) -> list[list[str]]:
    """How many queries each domain has, and its figures before and after; nothing where there is but one."""
    base, adapted = run.values("base"), run.values("adapted")
    inside: dict[str, list[str]] = {}
    for query_id in base["MRR@5"]:
        if name := run.passages[min(run.known[query_id])]["domain"]:
            inside.setdefault(str(name), []).append(query_id)
    if len(inside) < 2:
        return []
    measures = [name for name in _OF_DOMAIN if name in base]
    rows = [["domain", "queries", *(head for name in measures for head in (f"{name} base", "adapted", "change"))]]
    for domain, ids in sorted(inside.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:_MOST_ROWS]:
        row, groups = [domain, f"{len(ids):,}"], [run.together[query_id] for query_id in ids]
        for name in measures:
            before, after = (np.array([values[name][query_id] for query_id in ids]) for values in (base, adapted))
            found = asdict(paired_difference(after, before, groups=groups))
            row += [f"{before.mean():.3f}", f"{after.mean():.3f}", change(found, enough=gains.enough(groups))]
        rows.append(row)
    return rows


def _scores(run: FinishedRun) -> Blocks:
    figures = []
    for name, ranked in run.ranked.items():
        right, wrong = gains.best_scores(ranked, run.known)
        series = [("best passage that is not relevant", "base", wrong), ("best relevant passage", "adapted", right)]
        figures.append((SYSTEMS[name], charts.histogram(series, f"Scores of {name}")))
    text = "For each test query the highest score of a relevant passage, and of another one"
    return [("charts", figures), ("faint", f"{text}: the less overlap, the better.")]


def _moved(run: FinishedRun) -> Blocks:
    rows = gains.moved(run.ranked["base"], run.ranked["adapted"], run.known)
    up, down = [row for row in rows if row.change > 0], [row for row in reversed(rows) if row.change < 0]
    same = len(run.known) - len(rows)
    text = f"{len(up):,} queries find their answer higher up than before, {len(down):,} lower down, {same:,} as before."

    def rank(at: int | None) -> str:
        return f"rank {at}" if at else f"below {run.depth}"

    def first(when: str, query_id: str, doc_id: str) -> Blocks:
        right = " (relevant)" if doc_id in run.known[query_id] else ""
        shown = run.text_of.get(doc_id, "nothing")
        cut = shown if len(shown) <= _TEXT_CHARS else f"{shown[:_TEXT_CHARS]}…"
        return [("small", f"ranked first {when}{right}"), ("blockquote", cut)]

    blocks: Blocks = [("p", text)]
    for kind, moved in (("up", up), ("down", down)):
        blocks.append(("h3", kind.capitalize()))
        for at, row in enumerate(moved[:_MOVED]):
            summary = Markup('<span class="{}">{} → {}</span> {}').format(
                kind, rank(row.before), rank(row.after), run.queries[row.query_id]["text"]
            )
            inside = first("before", row.query_id, row.first_before) + first("now", row.query_id, row.first_after)
            inside.append(("fold", ("Where this comes from", _explained(run, row.query_id), "")))
            blocks.append(("fold", (summary, inside, f"query-{at}-{kind}")))
    return blocks


def _data(run: FinishedRun) -> Blocks:
    data, metrics = run.metrics["data"], run.metrics
    names = ("split", "skipped_rows", "queries_dropped_as_leaks", "leaks", "labelled_test_queries")
    facts = [(name, data[name]) for name in ("passages", "documents") if name in data]
    facts += [(f"{split} queries", f"{count:,}") for split, count in data["queries"].items()]
    facts += [(name.replace("_", " "), data[name]) for name in names if name in data]
    for what in ("parts left out", "columns left out"):
        if named := data.get(what.replace(" ", "_")):
            facts.append((what, ", ".join(named)))
    facts += _counted(data)
    left_out = metrics.get("test_queries_left_out", {})
    if any(left_out.values()):
        shown = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in left_out.items())
        facts.append(("test queries left out", shown))
    read = data.get("read") or {}
    for what, key in (("languages", "languages"), ("personal data replaced", "personal_data")):
        if read.get(key):
            facts.append((what, ", ".join(f"{name} {count:,}" for name, count in read[key].items())))
    blocks: Blocks = [("facts", facts)]
    if reasons := _reasons(run, read):
        rows = [[*names, f"{count:,}"] for names, count in reasons.most_common(_MOST_REASONS)]
        blocks += _titled("What was left out", [["stage", "reason", "rows"], *rows])
    if unread := run.rows("corpus/failures.parquet", "failures") if read else []:
        files = [["file", "why"], *([row["key"], row["error"]] for row in unread[:_MOST_ROWS])]
        summary = f"{len(unread)} files, or parts of files"
        blocks += [("h3", "What was not read"), ("fold", (summary, [("words", files)], ""))]
    if leaks := (read_json(run.folder / "corpus/leaks.json") or [])[:_MOST_ROWS]:
        table = [list(leaks[0]), *([str(leak[name]) for name in leaks[0]] for leak in leaks)]
        blocks += [("h3", "Leaks"), ("fold", (f"{len(leaks)} shown", [("words", table)], ""))]
    return blocks


def _counted(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Counts by split."""
    what = {
        "as_in_the_earlier_run": "as in the earlier run",
        "queries_without_relevant": "queries left out, without a relevant passage",
    }
    return [
        (told, ", ".join(f"{count:,} {split}" for split, count in data[key].items()))
        for key, told in what.items()
        if data.get(key)
    ]


def _reasons(run: FinishedRun, read: Mapping[str, Any]) -> Counter[tuple[str, str]]:
    """How many rows each stage left out, and why."""
    reasons = Counter({("ingest", reason): count for reason, count in read.get("dropped", {}).items()})
    paths = [*run.folder.glob("*/failures.parquet"), *run.folder.glob("round-*/*/failures.parquet")]
    for path in sorted(paths):
        # what could not be read of the documents is a part of corpus/failures
        if not path.parent.name.startswith(".") and path.parent.name != "documents":
            reasons.update((row["stage"], row["error"]) for row in read_table(path, "failures").to_pylist())
    reasons.update(("synthesis", row["reason"]) for row in _dropped_queries(run))
    return reasons


def _dropped_queries(run: FinishedRun) -> list[dict[str, Any]]:
    """What was written and is not used; nothing where nothing is written."""
    name = "synthesis/dropped_queries.parquet"
    return run.rows(name, "dropped_queries") if (run.folder / name).is_file() else []


def _trained_on(run: FinishedRun) -> Blocks:
    ids = list(dict.fromkeys(example["query_id"] for example in run.examples))
    if not ids:
        return [("p", "On nothing: this is the unchanged base model.")]
    drawn = ids[:: max(1, len(ids) // _TRAINED)][:_TRAINED]
    text = f"{len(run.examples):,} examples of {len(ids):,} queries; {len(drawn)} of them with all that they come from."
    folds = [("fold", (run.queries[name]["text"], _explained(run, name), "")) for name in drawn]
    steps = [[place, f"{run.steps[place]['seconds']:,.1f}"] for place in made_from(run.steps, run.examples_at or "")]
    made = [("fold", ("The steps that made them", [("table", [["step", "seconds"], *steps])], ""))] if steps else []
    return [("p", f"{text} For any other: denizen explain {run.folder} QUERY_ID"), *folds, *made]


def _teacher(run: FinishedRun) -> Blocks:
    metrics = run.metrics
    if not (teacher := taught_by(metrics)):
        return []
    facts = [("teacher", teacher), ("test measured by", metrics["judged_by"])]
    if trial := metrics.get("trial"):
        facts.append(("the judge on trial", trial["why"]))
    if negatives := metrics["data"].get("negatives"):
        facts.append(("written for training", counted(negatives)))
    blocks: Blocks = [("facts", facts)]
    blocks += [("table", rows) for rows in (coverage_lines(metrics), spending_lines(metrics)) if rows]
    blocks += _written(run)
    audit = read_json(run.folder / "audit.json")
    said = "\n".join(audit_lines(audit)) if audit else "not measured: denizen audit RUN"
    return [*blocks, ("h3", "Can it be trusted?"), ("pre", said)]


def _written(run: FinishedRun) -> Blocks:
    """Some of the queries that were written and are used, and of those that are not, by reason."""
    kept = [row["text"] for row in run.queries.values() if row["origin"] not in ("log", "source")]
    if not kept:
        return []
    rows = [["query", ""], *([text, "used"] for text in _some(kept))]
    dropped: dict[str, list[str]] = {}
    for row in _dropped_queries(run):
        dropped.setdefault(row["reason"], []).append(row["text"])
    for reason, texts in sorted(dropped.items()):
        rows += [[text, reason] for text in _some(texts)]
    return [("h3", "What was written"), ("table", rows)]


def _some(texts: Sequence[str]) -> Sequence[str]:
    return texts[:: max(1, len(texts) // _WRITTEN)][:_WRITTEN]


def _cost(run: FinishedRun) -> Blocks:
    machine = run.metrics["machine"]
    # what was done once may stand at several places
    seconds = {record["fingerprint"]: record["seconds"] for record in run.steps.values()}
    facts = [
        ("time in all", f"{sum(seconds.values()) / 60:.1f} minutes"),
        ("processor", f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads"),
        ("accelerator", machine["cuda"] or "none"),
        ("instructions", ", ".join(machine["flags"])),
        ("arithmetic of training", run.metrics["arithmetic"]),
        ("encoding", ", ".join(f"{name} by {backend}" for name, backend in run.metrics["backends"].items())),
    ]
    if resumed := [name for name, record in run.steps.items() if record["resumed"]]:
        facts.append(("interrupted", f"{', '.join(resumed)}: the time is of the last session alone"))
    rows = [["step", "seconds"], *([name, f"{record['seconds']:,.1f}"] for name, record in run.steps.items())]
    return [("facts", facts), ("fold", ("Seconds by step", [("table", rows)], ""))]


def _settings(run: FinishedRun) -> Blocks:
    rows = [["setting", "value"], *([name, str(value)] for name, value in run.metrics["config"].items())]
    code = f"""from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{(run.folder / "model").as_posix()}")
scores = model.similarity(model.encode_query(["a question"]), model.encode_document(["a passage"]))"""
    return [
        ("fold", ("Every setting", [("words", rows)], "")),
        ("facts", list(run.metrics["versions"].items())),
        ("h3", "Load it"),
        ("pre", code),
    ]


def _titled(name: str, rows: list[list[str]]) -> Blocks:
    return [("h3", name), ("table", rows)] if rows else []


def _explained(run: FinishedRun, query_id: str) -> Blocks:
    return [("pre", "\n".join(explain_lines(explain(run, query_id))))]


_SECTIONS: tuple[tuple[str, str, str, Callable[[FinishedRun], Blocks]], ...] = (
    ("take", "Which to take", "Which model to take", _take),
    ("gain", "Gain", "What was gained", _gain),
    ("rounds", "Rounds", "Round by round", _rounds),
    ("forgetting", "Forgetting", "What was forgotten", _forgetting),
    ("where", "Where from", "Where the gain comes from", _where),
    ("scores", "Scores", "How well scores tell right from wrong", _scores),
    ("moved", "Queries", "Queries that moved most", _moved),
    ("data", "Data", "Data", _data),
    ("lineage", "Trained on", "What it was trained on", _trained_on),
    ("teacher", "Teacher", "Teacher", _teacher),
    ("cost", "Time", "Time and machine", _cost),
    ("settings", "Settings", "Settings and versions", _settings),
)
