"""What a run of `domains` says at its end: metrics.json, rows for pandas, tables of cells, and sentences."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from denizen.measuring.options import BASE, OPTIONS, ORACLE
from denizen.measuring.provenance import SCHEMA, machine, versions
from denizen.measuring.recommending import AGREEING, SAMPLES
from denizen.measuring.slices import DECIDES
from denizen.recipes.domains import Domains
from denizen.reports.adding_a_domain import seconds_to_add
from denizen.reports.metrics import LEAK_NOTE
from denizen.reports.results import Table, change

DOMAINS_RECIPE = "domains"
_SIGNIFICANT = 0.05
# of one domain, below which its interval says little: the standard error of a mean nDCG@10 is then above four points
_FEW = 50
_MEBIBYTE = 1 << 20


def domains_metrics(
    config: Mapping[str, Any],
    out: Path,
    found: Sequence[Domains],
    arithmetic: str,
    steps: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The contents of metrics.json; docs/domains.md documents the keys.

    Args:
        config: The settings of the run.
        out: The run's folder.
        found: What it has come to, for each seed.
        arithmetic: That of the training.
        steps: Place of each finished step to its record.
    """
    first = found[0]
    guard, union, leaks = first.guard.facts, first.made.union.facts, first.guard.facts["leaks"]
    domains = _domains(first)
    return {
        "schema": SCHEMA,
        "recipe": DOMAINS_RECIPE,
        "recommended": {
            **first.recommendation.facts,
            "tolerance": config["tolerance"],
            "fall_limit": config["fall_limit"],
        },
        "options": _options(first, seconds_to_add(steps, {name: its["passages"] for name, its in domains.items()})),
        "domains": domains,
        "union": dict(union),
        "routers": dict(first.made.routers.facts),
        "routing": first.comparison.facts["routing"],
        "merge": {name: first.made.merge.facts[name] for name in ("called", "method", "measured", "mean")},
        "sampled": {name: first.made.sampled.facts[name] for name in ("drawn", "had")},
        "seeds": [_of_seed(int(config["seed"]) + at, its) for at, its in enumerate(found)],
        "queries": sum(its["test_queries"] for its in domains.values()),
        "leaks": leaks,
        "queries_dropped_between_slices": guard["queries_dropped_as_leaks"],
        "warning": LEAK_NOTE.format(leaks=leaks) if leaks else None,
        "retriever": (out / "retriever").as_posix(),
        "experts": {name: f"experts/{name}" for name in domains},
        "base_model": config["model"],
        "config": dict(config),
        "arithmetic": arithmetic,
        "versions": versions(),
        "machine": machine(),
    }


def _domains(found: Domains) -> dict[str, Any]:
    domains = {}
    for name, its in found.comparison.facts["domains"].items():
        facts = found.data[name].facts
        kept = ("passages", "documents", "split", "skipped_rows", "queries_dropped_as_leaks")
        own = {"queries": found.guard.facts["queries"][name], "examples": found.made.experts[name].facts["rows"]}
        domains[name] = {**{key: facts[key] for key in kept}, **own, "test_queries": its["queries"]}
        domains[name] |= {key: its[key] for key in ("means", "differences", "own")}
        domains[name]["alone"] = {system: of[DECIDES] for system, of in found.alone[name].facts["means"].items()}
    return domains


def _options(found: Domains, seconds: Mapping[str, float]) -> dict[str, Any]:
    options = {}
    for name, its in found.comparison.facts["options"].items():
        facts, timed = found.tests[name].facts, found.latencies.get(name)
        options[name] = {
            "called": OPTIONS[name].called,
            "deployable": OPTIONS[name].deployable,
            **its,
            "dev": found.dev[name].facts["mean"],
            "weights_bytes": facts["weights"],
            "index_bytes": facts["index"],
            "milliseconds": timed.facts["milliseconds"] if timed else None,
            "seconds_to_add": seconds.get(name),
        }
    return options


def _of_seed(seed: int, found: Domains) -> dict[str, Any]:
    """What of a repetition goes into the report."""
    means = {name: its["means"][DECIDES]["value"] for name, its in found.comparison.facts["options"].items()}
    said = found.recommendation.facts
    return {"seed": seed, "taken": said["taken"], "told": said["told"], "samples": said["samples"], DECIDES: means}


def domains_records(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All figures of the test as rows: an option's measure on a domain, or the mean over domains, against the base."""
    rows = []
    for option, its in report["options"].items():
        for measure, mean in its["means"].items():
            apart = its.get("differences", {}).get(measure, {})
            row = {"option": option, "measure": measure, "set": "mean over domains", "queries": report["queries"]}
            rows.append({**row, "value": mean["value"], **_flat(apart)})
    for name, its in report["domains"].items():
        for option, means in its["means"].items():
            for measure, value in means.items():
                apart = its["differences"].get(option, {}).get(measure, {})
                row = {"option": option, "measure": measure, "set": name, "queries": its["test_queries"]}
                rows.append({**row, "value": value, **_flat(apart)})
    return rows


def _flat(apart: Mapping[str, Any]) -> dict[str, Any]:
    return {"difference": apart.get("value"), **{key: apart.get(key) for key in ("low", "high", "p")}}


def option_lines(report: Mapping[str, Any], measure: str = DECIDES) -> Table:
    """A row an option: its mean over domains with interval, the differences, and each domain."""
    rows = [[measure, "mean of domains", "95 % interval", "- base", "p", "- best other", "p", *report["domains"]]]
    for name, its in report["options"].items():
        mean, apart, other = its["means"][measure], its.get("differences", {}).get(measure), its.get("over_other")
        star = " *" if name == report["recommended"]["taken"] else ""
        rows.append(
            [
                f"{its['called']}{star}",
                f"{mean['value']:.3f}",
                f"{mean['low']:.3f} to {mean['high']:.3f}",
                *([f"{apart['value']:+.3f}", f"{apart['p']:.4f}"] if apart else ["", ""]),
                *([f"{other[measure]['value']:+.3f}", f"{other[measure]['p']:.4f}"] if other else ["", ""]),
                *(f"{of_domain['means'][name][measure]:.3f}" for of_domain in report["domains"].values()),
            ]
        )
    return rows


def cost_lines(report: Mapping[str, Any]) -> Table:
    """What each option that can be had costs."""
    rows = [["cost", "ms a query", "weights MiB", "index MiB", "seconds to add a domain"]]
    for its in report["options"].values():
        if its["deployable"]:
            sizes = [f"{its[key] / _MEBIBYTE:.1f}" for key in ("weights_bytes", "index_bytes")]
            added = "" if its["seconds_to_add"] is None else f"{its['seconds_to_add']:.0f}"
            rows.append([its["called"], f"{its['milliseconds']:.1f}", *sizes, added])
    return rows


_KINDS = {
    "right": "right domain alone",
    "two": "two domains, one right",
    "abstained": "abstained: general base",
    "wrong": "wrong domain",
}


def routing_lines(report: Mapping[str, Any]) -> Table:
    """What the router did with the test queries, and what that cost against oracle routing."""
    names = list(report["routing"])
    rows = [["router", "queries", *(f"{text} {of}" for of in names for text in ("cost a query,", "over all,"))]]
    for kind, said in _KINDS.items():
        cells = [report["routing"][of]["kinds"][kind] for of in names]
        figures = [
            text
            for its in cells
            for text in ("" if its["cost"] is None else f"{its['cost']:+.3f}", f"{its['lost']:+.4f}")
        ]
        rows.append([said, f"{cells[0]['queries']:,}", *figures])
    return rows


def confusion_lines(report: Mapping[str, Any]) -> Table:
    """Where the queries of each domain went first."""
    names = list(report["domains"])
    rows = [["queries of, sent to", *names, "general base"]]
    for name, counts in next(iter(report["routing"].values()))["confusion"].items():
        rows.append([name, *(f"{counts[of]:,}" for of in names), f"{counts['']:,}"])
    return rows


def own_lines(report: Mapping[str, Any]) -> Table:
    """What each domain gets by an option against its own expert, which searches all passages, too."""
    names = [name for name, its in report["options"].items() if its["deployable"]]
    rows = [[f"{DECIDES} - own expert", *report["domains"]]]
    for name in names:
        found = [its["own"][name][DECIDES] for its in report["domains"].values()]
        rows.append([report["options"][name]["called"], *(change(one) for one in found)])
    return rows


def alone_lines(report: Mapping[str, Any]) -> Table:
    """What each domain gets among its own passages alone, which no other domain changes."""
    rows = [[f"{DECIDES} among its own passages", "base", "BM25", "own expert"]]
    for name, its in report["domains"].items():
        rows.append([name, *(f"{its['alone'][system]:.3f}" for system in ("base", "bm25", "expert"))])
    return rows


def seed_lines(report: Mapping[str, Any]) -> Table:
    """What every seed gives, and mean and standard deviation over them; nothing for one seed."""
    seeds = report["seeds"]
    if len(seeds) < 2:
        return []
    names = list(report["options"])
    rows = [["", *(f"seed {its['seed']}" for its in seeds), "mean ± sd"]]
    for name in names:
        values = [its[DECIDES][name] for its in seeds]
        spread = f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
        rows.append([report["options"][name]["called"], *(f"{value:.3f}" for value in values), spread])
    return [*rows, ["recommended", *(report["options"][its["taken"]]["called"] for its in seeds), ""]]


def domains_title(report: Mapping[str, Any], base: str) -> str:
    """What a run was, as a title."""
    return f"{base} for {', '.join(report['domains'])}: what to do with several domains"


def domains_headline(report: Mapping[str, Any]) -> str:
    """What to take, what it gains, and why, in words that somebody who does not code can repeat."""
    said, options = report["recommended"], report["options"]
    taken = options[said["taken"]]
    asked = f"on {report['queries']:,} held-out questions of {len(report['domains'])} domains"
    mean = taken["means"][DECIDES]["value"]
    base = options["base"]["means"][DECIDES]["value"]
    gained = f"{asked} its mean {DECIDES} is {mean:.3f}"
    if said["taken"] != "base":
        apart = taken["differences"][DECIDES]
        sure = "more than chance" if apart["p"] < _SIGNIFICANT else "which may be chance"
        gained = f"{asked} the mean {DECIDES} goes from {base:.3f} to {mean:.3f}, {change(apart)}, {sure}"
    gap = taken["to_oracle"][DECIDES]
    take = "Take" if said["told"] else "The rule takes"
    return (
        f"{take} {taken['called']}: {gained}. Why: {_why(report)}. {_stability(report)} Routing that is always "
        f"right would give {options[ORACLE]['means'][DECIDES]['value']:.3f} ({change(gap)} from there)."
    )


def _why(report: Mapping[str, Any]) -> str:
    said, options = report["recommended"], report["options"]
    means, taken, best = said["means"], said["taken"], said["best"]
    mebibytes = said["bytes"][taken] / _MEBIBYTE
    of = f"with {means[taken]:.4f} on dev"
    if taken in said["fallen"]:
        lost = ", ".join(said["fallen"][taken])
        others = ", as does one by all that are near it" if len(said["near"]) > 1 else ", and no other is near it"
        why = f"it is the best {of}, though by it {lost} falls below its own expert or the base{others}"
    elif len(said["near"]) == 1:
        why = f"it is the best {of}, and no other is within {said['tolerance']:g}"
    else:
        first = "it is the best" if taken == best else "it is not the best"
        than = "" if taken == best else f" (that is {options[best]['called']} with {means[best]:.4f})"
        why = f"{first} {of}{than}, and of what is within {said['tolerance']:g} of the best it needs the least memory"
        why += f" ({mebibytes:.0f} MiB)"
        if any(OPTIONS[name].renewed for name in said["near"]) and not OPTIONS[taken].renewed and taken != BASE:
            why += ", and is not trained anew when a domain is added"
    passed = [
        f"{options[name]['called']} ({', '.join(lost)})" for name, lost in said["fallen"].items() if name != taken
    ]
    fell = (
        f"; passed over, since a domain falls below its own expert or the base: {', '.join(passed)}" if passed else ""
    )
    return why + fell


def _stability(report: Mapping[str, Any]) -> str:
    said, options, seeds = report["recommended"], report["options"], report["seeds"]
    same = sum(its["taken"] == said["taken"] for its in seeds)
    again = f" Of {len(seeds)} seeds {same} recommend it." if len(seeds) > 1 else ""
    counts = Counter(said["samples"])
    if said["told"]:
        return f"{counts[said['taken']]} of {SAMPLES} samples of the dev questions say the same.{again}"
    others = ", ".join(f"{options[name]['called']} {count}" for name, count in counts.most_common())
    return (
        f"It cannot be told by so few dev questions which option is to be taken: of {SAMPLES} samples of them fewer "
        f"than {AGREEING} say the same ({others}).{again}"
    )


def domains_warnings(report: Mapping[str, Any]) -> list[str]:
    """What a reader must know before trusting a figure."""
    found = [report["warning"]] if report["warning"] else []
    for name, its in report["domains"].items():
        if its["test_queries"] < _FEW:
            apart = (
                its["differences"][report["recommended"]["taken"]] if report["recommended"]["taken"] != "base" else {}
            )
            wide = apart.get(DECIDES)
            said = f" (the interval of its gain is {wide['high'] - wide['low']:.3f} wide)" if wide else ""
            found.append(
                f"{name} has {its['test_queries']} test questions{said}: whether an option helps or harms it cannot be "
                "known from so few; label more."
            )
    union = report["union"]
    if union["shared"] or union["near_duplicates"]:
        found.append(
            f"{union['shared']:,} passages belong to several domains and stand in the corpus once, and "
            f"{union['near_duplicates']:,} are nearly the same as one of another domain, which counts as wrong."
        )
    return found


def domains_lines(report: Mapping[str, Any]) -> list[tuple[Table, str]]:
    """The tables of the terminal, each with what is said below it, which may be nothing."""
    routing = next(iter(report["routing"].values()))["accuracy"]
    accuracy = f"{report['routers']['chosen']} sends {routing['value']:.1%} of the queries to their own domain first"
    interval = f"{accuracy} (95 % interval {routing['low']:.1%} to {routing['high']:.1%}, the mean of domains)"
    return [
        (option_lines(report), "* recommended; every domain weighs the same, all search one corpus of all domains"),
        (cost_lines(report), ""),
        (routing_lines(report), interval),
        (seed_lines(report), ""),
    ]
