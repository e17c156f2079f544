"""What a run says at its end: metrics.json, the model card, and the table that people read."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from pathlib import Path
from typing import Any

from denizen import __version__
from denizen.recipes.config import AdaptConfig

# raised when a key changes its meaning; new keys do not raise it
SCHEMA = 1
_PACKAGES = ("torch", "sentence-transformers", "transformers", "bm25s", "ir-measures", "mergekit")
_SIGNIFICANT = 0.05
BASE_STAYS = "No round beat the base on dev: this is the unchanged base model."
GATE_LEAVES_BASE = (
    "The student broke the limit on forgetting, and no merge that was tried kept it and gained: this is the base."
)
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
        "differences": test["differences"],
        "advantages": test["advantages"],
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
        "machine": test["machine"],
        "chosen": test["chosen"],
        "gate": test["gate"],
    }


def versions() -> dict[str, str]:
    """The versions of what decides the result."""
    found = {name: installed(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "denizen": __version__, **found}


def installed(package: str) -> str:
    """The version of a package; "none" where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def machine() -> dict[str, Any]:
    """The machine that the figures are from."""
    import torch

    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    of = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    values = {name.strip(): value.strip() for name, value in of.items()}
    flags = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"} & set(values.get("flags", "").split())
    return {
        "processor": values.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "flags": sorted(flags),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
    }


def result_lines(report: dict[str, Any]) -> list[list[str]]:
    """The before/after table: a header, then a row a measure."""
    rows = [["measure", "base", "BM25", "adapted", "adapted - base", "95 % interval", "p"]]
    for name, found in report["difference"].items():
        values = [f"{report[system][name]:.3f}" for system in ("base", "bm25", "adapted")]
        p = f"{found['p']:.4f}" if found["p"] >= 0.0001 else "< 0.0001"
        rows.append([name, *values, f"{found['value']:+.3f}", f"{found['low']:+.3f} to {found['high']:+.3f}", p])
    return rows


# what people call the systems of a test
SYSTEMS = {
    "base": "base",
    "bm25": "BM25",
    "plain": "plain fine-tuning",
    "average": "average with the base",
    "ungated": "before the gate",
    "adapted": "adapted",
    "hybrid": "adapted + BM25 (RRF)",
}
_BASELINES = ("bm25", "plain", "average", "ungated", "hybrid")
_BASELINE_MEASURES = ("MRR@5", "nDCG@10")


def baseline_lines(report: dict[str, Any]) -> list[list[str]]:
    """What else was measured on the same queries, and by how much adapted is better."""
    measures = [name for name in _BASELINE_MEASURES if name in report["difference"]]
    rows = [["beside it", *(text for name in measures for text in (name, "adapted is better by"))]]
    for system in _BASELINES:
        if system not in report:
            continue
        cells = []
        for name in measures:
            cells += [f"{report[system][name]:.3f}", _change(report["advantages"][system][name])]
        rows.append([SYSTEMS[system], *cells])
    return rows if len(rows) > 1 else []


def seed_lines(report: dict[str, Any]) -> list[list[str]]:
    """What every seed gives, and mean and standard deviation over them; nothing for one seed."""
    seeds = report["seeds"]
    if len(seeds) < 2:
        return []
    roles = list(seeds[0]["change"])
    columns = {
        f"gain in {name}": [found["difference"][name]["value"] for found in seeds] for name in report["difference"]
    }
    columns |= {f"change of {role}": [found["change"][role] for found in seeds] for role in roles}
    rows = [["seed", *columns, "taken", *(["gate"] if roles else [])]]
    for at, found in enumerate(seeds):
        verdict = ["met" if found["met"] else "NOT MET"] if roles else []
        values = [f"{column[at]:+.3f}" for column in columns.values()]
        rows.append([str(found["seed"]), *values, found["chosen"], *verdict])
    spread = [f"{statistics.mean(values):+.3f} ± {statistics.stdev(values):.3f}" for values in columns.values()]
    return [*rows, ["mean ± sd", *spread, "", *([""] if roles else [])]]


def records(report: dict[str, Any]) -> list[dict[str, Any]]:
    """All figures of a run as rows: `pandas.read_json("RUN/results.json")` is a table of them.

    A row is a system's mean of a measure on a set, with its difference to the base, interval and p value.
    """
    tested = {name: report[name] for name in SYSTEMS if name in report}
    sets = {"test": {"role": "domain", "queries": report["queries"], "means": tested}}
    sets["test"]["differences"] = report["differences"]
    if report["gate"]:
        sets |= report["gate"]["sets"]
    rows = []
    for name, found in sets.items():
        for system, means in found["means"].items():
            for measure, value in means.items():
                row = {"set": name, "role": found["role"], "queries": found["queries"], "system": system}
                change = found["differences"].get(system, {}).get(measure, {})
                numbers = {key: change.get(key) for key in ("low", "high", "p")}
                rows.append({**row, "measure": measure, "value": value, "difference": change.get("value"), **numbers})
    return rows


def gate_lines(gate: dict[str, Any]) -> list[list[str]]:
    """The table of the forgetting gate: a row a set."""
    measure = gate["measure"]
    rows = [["forgetting", "role", "queries", f"base {measure}", "adapted", "change"]]
    for name, found in gate["sets"].items():
        values = [f"{found['means'][system][measure]:.3f}" for system in ("base", "adapted")]
        change = _change(found["differences"]["adapted"][measure])
        rows.append([name, found["role"], f"{found['queries']:,}", *values, change])
    return rows


def gate_sentence(report: dict[str, Any]) -> str:
    """What the gate says, in one sentence."""
    gate = report["gate"]
    if gate is None:
        return "forgetting was not measured: give --general FOLDER and --neighbour FOLDER"
    verdict = "met" if gate["met"] else "NOT MET"
    merges = sum(point["merge"] is not None for point in gate["points"])
    searched = f" ({merges} merge{'s' if merges > 1 else ''} measured)" if merges else ""
    sentence = f"gate {verdict}: {report['chosen']} is taken{searched}; a mean may fall by {gate['limit']:g} at most"
    changes = {name: found["differences"]["adapted"][gate["measure"]] for name, found in gate["sets"].items()}
    unsure = [name for name, found in changes.items() if found["low"] < -gate["limit"] <= found["high"]]
    if unsure and report["chosen"] != "base":
        sentence += (
            f". Too few questions to be sure of it: the interval of {', '.join(unsure)} reaches beyond the limit"
        )
    return sentence


def _change(found: dict[str, float]) -> str:
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def comparison_lines(report: dict[str, Any]) -> list[list[str]]:
    """The table of `evaluate`: a row a system with its means, and the difference to the first where there is one."""
    names = list(next(iter(report["means"].values())))
    rows = [["model", *names]]
    for system, values in report["means"].items():
        rows.append([system, *(f"{values[name]:.3f}" for name in names)])
    first = next(iter(report["means"]))
    for system, found in report["differences"].items():
        rows.append([f"{system} - {first}", *(_change(found[name]) for name in names)])
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


def headline(report: dict[str, Any]) -> str:
    """The result in a sentence that somebody who does not code can repeat."""
    found, queries = report["difference"]["MRR@5"], f"{report['queries']:,}"
    if report["chosen"] == "base":
        return f"On {queries} held-out questions there is no gain: this is the base, with an MRR@5 of {_mean(report)}."
    sure = "that is more than chance" if found["p"] < _SIGNIFICANT else "that may be chance"
    p = f"p {found['p']:.4f}" if found["p"] >= 0.0001 else "p < 0.0001"
    verb = "rises" if found["value"] >= 0 else "falls"
    return (
        f"On {queries} held-out questions MRR@5 {verb} from {report['base']['MRR@5']:.3f} to {_mean(report)}: "
        f"{found['value']:+.3f}, 95 % interval {found['low']:+.3f} to {found['high']:+.3f}; {sure} ({p}). "
        f"{_beside_bm25(report)}"
    )


def _beside_bm25(report: dict[str, Any]) -> str:
    """How adapted stands beside plain keyword search."""
    value, found = report["bm25"]["MRR@5"], report["advantages"]["bm25"]["MRR@5"]
    if found["p"] >= _SIGNIFICANT:
        return f"Plain keyword search (BM25) is as good, as far as these questions can tell: {value:.3f}."
    if found["value"] < 0:
        return f"Plain keyword search (BM25) is better: {value:.3f}."
    return f"Plain keyword search (BM25) has {value:.3f}."


def _mean(report: dict[str, Any]) -> str:
    return f"{report['adapted']['MRR@5']:.3f}"
