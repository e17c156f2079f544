"""What a run says at its end: metrics.json, the model card, and the table that people read."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from denizen import __version__
from denizen.core.config import WITHOUT_EFFECT, AdaptConfig

# raised when a key changes its meaning; new keys do not raise it
SCHEMA = 1
_PACKAGES = ("torch", "sentence-transformers", "transformers", "bm25s", "ir-measures")
BASE_STAYS = "No round beat the base on dev: this is the unchanged base model."
LEAK_NOTE = "The splits leak: {leaks} thing(s) stand on both sides. These figures are not evidence of generalisation."


def metrics_json(
    config: AdaptConfig,
    out: Path,
    data: dict[str, Any],
    dev: list[dict[str, float]],
    best: int,
    test: dict[str, Any],
) -> dict[str, Any]:
    """The contents of metrics.json; docs/tables.md documents every key.

    Args:
        config: The settings of the run.
        out: The run's folder.
        data: Facts of stage corpus.
        dev: Means on dev for the base and each round's student.
        best: Which of them was taken.
        test: Facts of stage test.
    """
    return {
        "schema": SCHEMA,
        **test["means"],
        "difference": test["differences"]["adapted"],
        "difference_bm25": test["differences"]["bm25"],
        "queries": test["queries"],
        "missing_queries": test["missing_queries"],
        "best_round": best,
        "dev": dev,
        "data": data,
        "warning": LEAK_NOTE.format(leaks=data["leaks"]) if data["leaks"] else None,
        "model": (out / "model").as_posix(),
        "base_model": config.model,
        "config": config.as_dict(),
        "versions": test["versions"],
        "backends": test["backends"],
        "arithmetic": test["arithmetic"],
    }


def versions() -> dict[str, str]:
    """The versions of what decides the result."""
    installed = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "denizen": __version__, **installed}


def result_lines(report: dict[str, Any]) -> list[list[str]]:
    """The before/after table: a header, then a row a measure."""
    rows = [["measure", "base", "BM25", "adapted", "adapted - base", "95 % interval", "p"]]
    for name, found in report["difference"].items():
        values = [f"{report[system][name]:.3f}" for system in ("base", "bm25", "adapted")]
        p = f"{found['p']:.4f}" if found["p"] >= 0.0001 else "< 0.0001"
        rows.append([name, *values, f"{found['value']:+.3f}", f"{found['low']:+.3f} to {found['high']:+.3f}", p])
    return rows


def comparison_lines(report: dict[str, Any]) -> list[list[str]]:
    """The table of `evaluate`: a row a system with its means, and the difference to the first where there is one."""
    names = list(next(iter(report["means"].values())))
    rows = [["model", *names]]
    for system, values in report["means"].items():
        rows.append([system, *(f"{values[name]:.3f}" for name in names)])
    first = next(iter(report["means"]))
    for system, found in report["differences"].items():
        cells = [
            f"{found[name]['value']:+.3f} [{found[name]['low']:+.3f}, {found[name]['high']:+.3f}]" for name in names
        ]
        rows.append([f"{system} - {first}", *cells])
        rows.append(["  p", *(f"{found[name]['p']:.4f}" for name in names)])
    return rows


def teacher_lines(report: dict[str, Any]) -> list[str]:
    """Who graded, and what that cost by stage; nothing for a run with labels."""
    spending = report.get("spending")
    if not spending:
        return []
    priced = bool(report["config"]["prices"])
    stages = {**spending["by_stage"], "in all": spending["total"]}
    lines = [f"test graded by {report['judged_by']}", "calls, tokens" + (", money" if priced else "") + " by stage:"]
    for stage, spent in stages.items():
        money = f"  {spent['money']:>10.4f}" if priced else ""
        lines.append(f"  {stage:<20}  {spent['calls']:>9,}  {spent['tokens']:>12,}{money}")
    for stage, found in report["coverage"].items():
        lost = [f"{count:,} {kind}" for kind, count in found["failures"].items()]
        lost += [f"{found['cut_off_by_budget']:,} cut off by the budget"] if found["cut_off_by_budget"] else []
        if lost:
            lines.append(f"  {stage}: of {found['asked']:,} asked for, {', '.join(lost)}")
    for reason, count in report["test_queries_left_out"].items():
        if count:
            lines.append(f"  {count:,} test queries {reason.replace('_', ' ')} are left out")
    if report["judged_by"] != "labels":
        lines.append("a teacher is kind to its own student: denizen pool RUN --judge ANOTHER-LLM asks another one")
    return lines


# paths of the user's machine, and what does not change the model
_NOT_ON_THE_CARD = ("source", "model", "guide", "cross_encoder", "query_log", *WITHOUT_EFFECT)


def model_card(report: dict[str, Any]) -> str:
    """The README.md of the adapted model: data, settings, and the figures with their intervals."""
    header, *rows = result_lines(report)
    table = [f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows]]
    config, data = report["config"], report["data"]
    source = Path(config["source"]).name
    base, on_hub = _base_name(report["base_model"])
    adapted = report["best_round"] > 0
    title = f"{base}, adapted to {source}" if adapted else f"{base}, unchanged after an attempt to adapt it to {source}"
    how = (
        f"A sentence-transformers model adapted with Denizen {report['versions']['denizen']} by iterative mining "
        f"(round {report['best_round']} of {config['rounds']} was best on dev)."
        if adapted
        else f"{BASE_STAYS} (Denizen {report['versions']['denizen']}, {config['rounds']} rounds)"
    )
    return "\n".join(
        [
            "---",
            *([f"base_model: {base}"] if on_hub else []),
            "library_name: sentence-transformers",
            "pipeline_tag: sentence-similarity",
            "tags:\n- sentence-transformers\n- sentence-similarity\n- feature-extraction\n- denizen",
            "---",
            "",
            f"# {title}",
            "",
            how,
            "",
            *([f"**{report['warning']}**", ""] if report["warning"] else []),
            f"On {report['queries']} held-out test queries, read once:",
            "",
            *table,
            "",
            "Intervals: bootstrap over queries; p: paired randomisation test.",
            "",
            "## Data",
            "",
            f"{data['passages']} passages of {data['documents']} documents; queries: {data['queries']['train']} train, "
            f"{data['queries']['dev']} dev, {data['queries']['test']} test; split: {data['split']}; "
            f"rows skipped: {data['skipped_rows']}; queries dropped as leaks: {data['queries_dropped_as_leaks']}.",
            "",
            *([*_taught_by(report), ""] if config["teacher"] != "gold" else []),
            "## Settings",
            "",
            "```yaml",
            *(f"{name}: {value}" for name, value in config.items() if name not in _NOT_ON_THE_CARD),
            f"training arithmetic: {report['arithmetic']}",
            f"encoding backend: {report['backends']['adapted']}",
            *(f"{name}: {version}" for name, version in report["versions"].items()),
            "```",
            "",
            "## Use",
            "",
            "```python",
            "from sentence_transformers import SentenceTransformer",
            "",
            'model = SentenceTransformer("path/to/this/folder")',
            'queries = model.encode_query(["a question"])',
            'documents = model.encode_document(["a passage"])',
            "scores = model.similarity(queries, documents)",
            "```",
            "",
        ]
    )


def _taught_by(report: dict[str, Any]) -> list[str]:
    """What a model card says of the teacher."""
    config = report["config"]
    teacher = config["llm"] if config["teacher"] == "llm" else Path(config["cross_encoder"]).name
    writer = f"queries written by {config['llm']}, " if config["llm"] else ""
    return ["## Teacher", "", f"No labels: {writer}passages graded by {teacher}; test graded by {report['judged_by']}."]


def _base_name(model: str) -> tuple[str, bool]:
    """What to call the base model, and whether that is its name on the hub."""
    if Path(model).expanduser().exists():
        return Path(model).expanduser().resolve().name, False
    return (model if "/" in model else f"sentence-transformers/{model}"), True
