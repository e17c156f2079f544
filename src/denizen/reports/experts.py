"""What a run of `experts` says at its end: metrics.json, rows for pandas, tables of cells, and sentences."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from denizen.engine.files import read_json
from denizen.measuring.provenance import SCHEMA, machine, versions
from denizen.measuring.slices import COMPARED, DECIDES, mean_of
from denizen.merging.merge_experts import called
from denizen.merging.methods import Merge
from denizen.recipes.experts import Experts
from denizen.reports.metrics import LEAK_NOTE
from denizen.reports.results import Table, change

RECIPE = "experts"
_EXPERT = "expert-"
_SYSTEMS = {
    "base": "base",
    "bm25": "BM25",
    "random": "one model, random subset",
    "all": "one model, all data",
    "uniform": "uniform average",
    "merged": "merged",
}
_SHIPPED = {
    "base": "The base is shipped as it was",
    "random": "One model of a random subset is shipped",
    "all": "One model of all data is shipped",
    "uniform": "The uniform average of the experts is shipped",
    "merged": "The merged model is shipped",
}
_SIGNIFICANT = 0.05


def experts_metrics(config: Mapping[str, Any], out: Path, found: Sequence[Experts], arithmetic: str) -> dict[str, Any]:
    """The contents of metrics.json; docs/experts.md documents the keys.

    Args:
        config: The settings of the run.
        out: The run's folder.
        found: What it has come to, for each seed.
        arithmetic: That of the training.
    """
    first, names = found[0], list(found[0].trained)
    compared, guard = first.comparison.facts, first.guard.facts
    leaks = guard["leaks"]
    slices = {}
    for name in names:
        facts = first.data[name].facts
        kept = ("passages", "documents", "split", "skipped_rows", "queries_dropped_as_leaks")
        of_test = compared["slices"][name]
        own = {"queries": guard["queries"][name], "examples": first.trained[name].facts["rows"]}
        slices[name] = {**{key: facts[key] for key in kept}, **own, "test_queries": of_test["queries"]}
        slices[name] |= {"means": of_test["means"], "differences": of_test["differences"]}
    dev = {name: dict(its.facts["dev"]) for name, its in first.dev.items()} | {"merged": first.merge.facts["dev"]}
    return {
        "schema": SCHEMA,
        "recipe": RECIPE,
        "shipped": _shipped(first),
        "best_expert": _best_expert(first),
        "systems": {
            name: {key: compared[key][name] for key in ("means", "differences", "advantages") if name in compared[key]}
            for name in compared["means"]
        },
        "slices": slices,
        "dev": dev,
        "merge": _merge(first),
        "seeds": [_of_seed(int(config["seed"]) + at, each) for at, each in enumerate(found)],
        "queries": sum(its["test_queries"] for its in slices.values()),
        "leaks": leaks,
        "queries_dropped_between_slices": guard["queries_dropped_as_leaks"],
        "warning": LEAK_NOTE.format(leaks=leaks) if leaks else None,
        "model": (out / "model").as_posix(),
        "experts": {name: f"experts/{name}" for name in names},
        "base_model": config["model"],
        "config": dict(config),
        "arithmetic": arithmetic,
        "versions": versions(),
        "machine": machine(),
    }


def _best_expert(found: Experts) -> str:
    """That of the best mean on dev."""
    means = {name: mean_of(found.dev[f"{_EXPERT}{name}"].facts["dev"]) for name in found.trained}
    return max(means, key=means.__getitem__)


def _shipped(found: Experts) -> dict[str, Any]:
    choice, compared = found.choice.facts, found.comparison.facts
    taken, means = choice["taken"], choice["means"]
    others = {name: value for name, value in means.items() if name != taken}
    second = max(others, key=others.__getitem__)
    why = (
        f"on dev its mean {DECIDES} over {len(found.trained)} slices is {means[taken]:.4f}, that of the next best, "
        f"{called_system(second)}, {means[second]:.4f}"
    )
    difference = compared["differences"].get(taken, {})
    return {"name": taken, "why": why, "means": compared["means"][taken], "difference": difference}


def _merge(found: Experts) -> dict[str, Any]:
    facts = dict(found.merge.facts)
    names = facts.pop("experts")
    weights = dict(zip(names, facts.pop("weights"), strict=True))
    points = (read_json(found.merge.path / "points.json") or {"points": []})["points"]
    return {**facts, "weights": weights, "points": points}


def _of_seed(seed: int, found: Experts) -> dict[str, Any]:
    """What of a repetition goes into the report."""
    compared, best = found.comparison.facts, f"{_EXPERT}{_best_expert(found)}"
    rows = {"base": "base", "best expert": best, **{name: name for name in ("random", "all", "uniform", "merged")}}
    means = {name: compared["means"][row][DECIDES]["value"] for name, row in rows.items()}
    return {"seed": seed, "taken": found.choice.facts["taken"], "merge": found.merge.facts["called"], DECIDES: means}


def called_system(name: str) -> str:
    """What people call a system of the test."""
    return _SYSTEMS.get(name) or f"expert {name.removeprefix(_EXPERT)}"


def experts_records(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All figures of the test as rows: a system's measure on a slice, or the mean over slices, against the base."""
    rows = []
    for system, its in report["systems"].items():
        for measure, mean in its["means"].items():
            apart = its.get("differences", {}).get(measure, {})
            found = {"set": "mean over slices", "queries": report["queries"], "value": mean["value"], "apart": apart}
            rows.append({"system": system, "measure": measure, **found})
    for name, its in report["slices"].items():
        for system, means in its["means"].items():
            for measure, value in means.items():
                apart = its["differences"].get(system, {}).get(measure, {})
                found = {"set": name, "queries": its["test_queries"], "value": value, "apart": apart}
                rows.append({"system": system, "measure": measure, **found})
    return [_flat(row) for row in rows]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    apart = row.pop("apart")
    return {**row, "difference": apart.get("value"), **{key: apart.get(key) for key in ("low", "high", "p")}}


def system_lines(report: Mapping[str, Any], measure: str = DECIDES) -> Table:
    """A row a system: its mean over slices with interval, the difference to the base, and each slice."""
    rows = [[measure, "mean of slices", "95 % interval", "- base", *report["slices"]]]
    for name, its in report["systems"].items():
        mean, apart = its["means"][measure], its.get("differences", {}).get(measure)
        star = " *" if name == f"{_EXPERT}{report['best_expert']}" else ""
        rows.append(
            [
                f"{called_system(name)}{star}",
                f"{mean['value']:.3f}",
                f"{mean['low']:.3f} to {mean['high']:.3f}",
                change(apart) if apart else "",
                *(f"{of_slice['means'][name][measure]:.3f}" for of_slice in report["slices"].values()),
            ]
        )
    return rows


def advantage_lines(report: Mapping[str, Any]) -> Table:
    """By how much the merged model is better than what it has to beat."""
    rows = [["merged is better by", *(text for name in COMPARED for text in (name, "p"))]]
    beaten = ["all", f"{_EXPERT}{report['best_expert']}", "uniform", "random", "base", "bm25"]
    for name in beaten:
        found = report["systems"][name]["advantages"]
        cells = [cell for measure in COMPARED for cell in (change(found[measure]), f"{found[measure]['p']:.4f}")]
        what = f"best {called_system(name)}" if name.startswith(_EXPERT) else called_system(name)
        rows.append([f"than {what}", *cells])
    return rows


def weight_lines(report: Mapping[str, Any]) -> Table:
    """How far the merge goes towards each expert."""
    merge = report["merge"]
    rows = [[f"by {merge['method']}", "weight"], *([name, f"{of:.3f}"] for name, of in merge["weights"].items())]
    return [*rows, *([["density", f"{merge['density']:g}"]] if "density" in merge else [])]


def seed_table(report: Mapping[str, Any]) -> Table:
    """What every seed gives, and mean and standard deviation over them; nothing for one seed."""
    seeds = report["seeds"]
    if len(seeds) < 2:
        return []
    columns = list(seeds[0][DECIDES])
    rows = [["seed", *columns, "merged - all", "merged - best expert", "shipped"]]
    table = []
    for found in seeds:
        of = found[DECIDES]
        values = [*of.values(), of["merged"] - of["all"], of["merged"] - of["best expert"]]
        table.append(values)
        rows.append([str(found["seed"]), *_signed(values, len(columns)), called_system(found["taken"])])
    means, spread = ([of(column) for column in zip(*table, strict=True)] for of in (statistics.mean, statistics.stdev))
    cells = [f"{mean} ± {sd:.3f}" for mean, sd in zip(_signed(means, len(columns)), spread, strict=True)]
    return [*rows, ["mean ± sd", *cells, ""]]


def _signed(values: Sequence[float], plain: int) -> list[str]:
    return [f"{value:.3f}" if at < plain else f"{value:+.3f}" for at, value in enumerate(values)]


def point_names(report: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The path of the search: what each merge is called, and its mean on dev."""
    names = list(report["merge"]["weights"])
    found = []
    for point in report["merge"]["points"]:
        more = {"density": point["density"]} if "density" in point else {}
        found.append((called(Merge(point["method"], tuple(point["weights"]), **more), names), point["mean"]))
    return found


def experts_title(report: Mapping[str, Any], base: str) -> str:
    """What a run was, as a title."""
    what, slices = report["shipped"]["name"], ", ".join(report["slices"])
    if what == "merged":
        return f"{base}, merged from experts of {slices}"
    return f"{base}, {'unchanged' if what == 'base' else called_system(what)}, compared with experts of {slices}"


def experts_headline(report: Mapping[str, Any]) -> str:
    """What is shipped, what it gains, and why, in words that somebody who does not code can repeat."""
    shipped, base = report["shipped"], report["systems"]["base"]["means"][DECIDES]["value"]
    name = shipped["name"]
    what = _SHIPPED.get(name, f"The {called_system(name)} is shipped")
    asked = f"on {report['queries']:,} held-out questions of {len(report['slices'])} slices"
    if name == "base":
        return f"{what}: {asked} its mean {DECIDES} is {base:.3f}. Why: {shipped['why']}."
    found = shipped["difference"][DECIDES]
    sure = "that is more than chance" if found["p"] < _SIGNIFICANT else "that may be chance"
    return (
        f"{what}: {asked} the mean {DECIDES} goes from {base:.3f} to {shipped['means'][DECIDES]['value']:.3f}, "
        f"{change(found)}; {sure} (p {found['p']:.4f}). {_merging_sentence(report)} Why: {shipped['why']}."
    )


def _merging_sentence(report: Mapping[str, Any]) -> str:
    """Whether merging was worth it, whichever way that falls."""
    found = report["systems"]["all"]["advantages"][DECIDES]
    if found["p"] >= _SIGNIFICANT:
        verdict = "merging cannot be told from training one model on all data by these questions"
    elif found["value"] > 0:
        verdict = "merging is better than training one model on all data"
    else:
        verdict = "merging is worse than training one model on all data"
    return f"{verdict[0].upper()}{verdict[1:]}: {change(found)}."


def experts_lines(report: Mapping[str, Any]) -> list[tuple[Table, str]]:
    """The tables of the terminal, each with what is said below it, which may be nothing."""
    merge = report["merge"]
    of_merge = f"merged: {merge['called']}, the best of {merge['measured']} measured on dev ({merge['mean']:.4f})"
    return [
        (system_lines(report), "* the best expert by its mean on dev; every slice weighs the same"),
        (advantage_lines(report), of_merge),
        (seed_table(report), ""),
    ]
