"""The parts of a report that are facts and no charts: data, teacher, lineage, time, settings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from denizen.data.tables import read_table
from denizen.recipes.audit import audit_lines
from denizen.reports.explain import explain_lines, lineage_of
from denizen.reports.finished_run import FinishedRun

_TRAINED = 6


def data(run: FinishedRun) -> dict[str, Any]:
    """Counts, splits, what was left out and why, and leaks."""
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
    if any(run.metrics.get("test_queries_left_out", {}).values()):
        left_out = run.metrics["test_queries_left_out"].items()
        shown = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in left_out)
        facts.append(("test queries left out", shown))
    read = data.get("read") or {}
    for what, key in (("languages", "languages"), ("personal data replaced", "personal_data")):
        if read.get(key):
            facts.append((what, ", ".join(f"{name} {count:,}" for name, count in read[key].items())))
    reasons = _reasons(run, read)
    listed = [["stage", "reason", "rows"], *([*names, f"{count:,}"] for names, count in reasons.most_common(20))]
    leaks = run.json("corpus/leaks.json") or []
    columns = list(leaks[0]) if leaks else []
    table = [columns, *([str(leak[name]) for name in columns] for leak in leaks[:50])]
    unread = read_table(run.folder / "corpus/failures.parquet", "failures").to_pylist() if read else []
    files = [["file", "why"], *([row["key"], row["error"]] for row in unread[:50])]
    return {
        "facts": facts,
        "dropped": listed if reasons else [],
        "unread": files if unread else [],
        "unread_count": len(unread),
        "leaks": table if leaks else [],
    }


def _reasons(run: FinishedRun, read: dict[str, Any]) -> Counter[tuple[str, str]]:
    """How many rows each stage left out, and why."""
    reasons: Counter[tuple[str, str]] = Counter()
    for reason, count in read.get("dropped", {}).items():
        reasons["ingest", reason] += count
    paths = [*run.folder.glob("*/failures.parquet"), *run.folder.glob("round-*/*/failures.parquet")]
    # what could not be read of the documents is a part of corpus/failures
    paths = [path for path in paths if not path.parent.name.startswith(".") and path.parent.name != "documents"]
    for path in sorted(paths):
        for row in read_table(path, "failures").to_pylist():
            reasons[row["stage"], row["error"]] += 1
    dropped = run.folder / "synthesis/dropped_queries.parquet"
    if dropped.is_file():
        for row in read_table(dropped, "dropped_queries").to_pylist():
            reasons["synthesis", row["reason"]] += 1
    return reasons


def teacher(run: FinishedRun) -> dict[str, Any] | None:
    """Who graded, what became of the calls and what they cost; None for a run with labels."""
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


def lineage(run: FinishedRun) -> dict[str, Any]:
    """Some training queries with all that they come from."""
    ids = list(dict.fromkeys(example["query_id"] for example in run.examples))
    if not ids:
        return {"rows": [], "text": "On nothing: this is the unchanged base model."}
    drawn = ids[:: max(1, len(ids) // _TRAINED)][:_TRAINED]
    rows = [
        {"query": run.queries[query_id]["text"], "text": "\n".join(explain_lines(lineage_of(run, query_id)))}
        for query_id in drawn
    ]
    text = f"{len(run.examples):,} examples of {len(ids):,} queries; {len(rows)} of them with all that they come from. "
    return {"rows": rows, "text": f"{text}For any other: denizen explain {run.folder} QUERY_ID"}


def cost(run: FinishedRun) -> dict[str, Any]:
    """Time by stage, and the machine."""
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


def settings(run: FinishedRun) -> dict[str, Any]:
    """Every setting, the versions, and where the model is."""
    table = [["setting", "value"], *([name, str(value)] for name, value in run.metrics["config"].items())]
    model = (run.folder / "model").as_posix()
    return {"table": table, "versions": list(run.metrics["versions"].items()), "model": model}
