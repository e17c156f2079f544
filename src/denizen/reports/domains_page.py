"""The page of a run of `domains`: report.html, from metrics.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denizen.engine.files import write_text
from denizen.measuring.significance import Difference
from denizen.measuring.slices import COMPARED, DECIDES
from denizen.merging.merge_card import name_on_card
from denizen.reports import charts
from denizen.reports.domains import (
    alone_lines,
    confusion_lines,
    cost_lines,
    domains_headline,
    domains_title,
    domains_warnings,
    option_lines,
    own_lines,
    routing_lines,
    seed_lines,
)
from denizen.reports.picture import Picture, parts_picture
from denizen.reports.rendering import render

Blocks = list[tuple[str, Any]]


def domains_page(report: Mapping[str, Any], out: Path) -> Path:
    """Writes the page of the contents of metrics.json, and says where it is."""
    sections = [
        ("options", "Options", "What can be done, and what it gives", _options(report)),
        ("costs", "Costs", "What each option costs", _costs(report)),
        ("domains", "Domains", "What each domain gains and loses", _matrix(report)),
        ("routing", "Routing", "What the router does", _routing(report)),
        ("data", "Data", "Domains", _data(report)),
        ("settings", "Settings", "Settings and versions", _settings(report)),
    ]
    page = render(
        "report.html.jinja",
        title=domains_title(report, name_on_card(report["base_model"])),
        headline=domains_headline(report),
        picture=_picture(report),
        beside="",
        warnings=domains_warnings(report),
        sections=sections,
    )
    write_text(out, page)
    return out


def _picture(report: Mapping[str, Any]) -> Picture | None:
    taken, options = report["recommended"]["taken"], report["options"]
    before, after = (options[name]["means"][DECIDES]["value"] for name in ("base", taken))
    apart = options[taken].get("differences", {}).get(DECIDES, {})
    return parts_picture(report["domains"], taken, options[taken]["called"], (before, after), apart)


def _kind(report: Mapping[str, Any], name: str) -> str:
    if name == "base":
        return "base"
    return "adapted" if name == report["recommended"]["taken"] else "other"


def _options(report: Mapping[str, Any]) -> Blocks:
    figures = []
    for measure in COMPARED:
        bars = [
            charts.Bar(its["called"], Difference(**its["means"][measure]), _kind(report, name))
            for name, its in report["options"].items()
        ]
        alt = f"{measure} of each option, the mean over domains with its 95 % interval"
        figures.append((f"{measure}, mean over domains", charts.bars(bars, alt)))
    said, options = report["recommended"], report["options"]
    rows = [["by the rule", f"{DECIDES} on dev", "MiB", "within the tolerance", "domains that fall"]]
    for name, mean in said["means"].items():
        lost = ", ".join(said["fallen"].get(name, []))
        near = "yes" if name in said["near"] else ""
        rows.append([options[name]["called"], f"{mean:.4f}", f"{said['bytes'][name] / (1 << 20):.0f}", near, lost])
    samples = ", ".join(options[name]["called"] for name in said["samples"])
    blocks: Blocks = [
        ("table", option_lines(report)),
        (
            "faint",
            "* recommended. Best other: the best of the others by dev. All options search one corpus of all domains; "
            "oracle routing knows the domain of each query, and cannot be had.",
        ),
        ("charts", figures),
        ("fold", ("The same by MRR@5", [("table", option_lines(report, "MRR@5"))], "")),
        ("h3", "Why this one"),
        (
            "p",
            "The rule: the cheapest option (memory; within a hundredth what needs no training, then what a new domain "
            "does not train anew, then the plainer) "
            f"within {said['tolerance']:g} of the best mean {DECIDES} on dev, unless a domain is significantly below "
            f"its own expert, or the base, by more than {said['fall_limit']:g}. On five samples of the dev questions "
            f"it says: {samples}.",
        ),
        ("table", rows),
        (
            "faint",
            "Every domain weighs the same. Intervals: bootstrap within each domain, 95 %, questions about one document "
            "drawn together; p: paired randomisation test, within each domain.",
        ),
    ]
    seeds = seed_lines(report)
    return [*blocks, *([("h3", "Again with other seeds"), ("table", seeds)] if seeds else [])]


def _costs(report: Mapping[str, Any]) -> Blocks:
    return [
        ("table", cost_lines(report)),
        (
            "faint",
            "Milliseconds: the median of 20 single queries on this machine, from text to ten passages. Weights and "
            "index: as they stand in memory, 32-bit floats. To add a domain: what of this run would be done anew.",
        ),
    ]


def _matrix(report: Mapping[str, Any]) -> Blocks:
    domains = report["domains"]
    names = [name for name in report["options"] if name != "base"]
    values = [[Difference(**of["differences"][name][DECIDES]) for of in domains.values()] for name in names]
    alt = f"Gain and loss in {DECIDES} against the base, of each option in each domain"
    called = [report["options"][name]["called"] for name in names]
    return [
        ("charts", [("Against the base, on test", charts.matrix(called, list(domains), values, alt))]),
        ("faint", "Pale figures: the 95 % interval holds zero."),
        ("h3", "Against the domain's own expert"),
        ("table", own_lines(report)),
        ("faint", "The expert searches all passages of all domains here, as the option does."),
        ("h3", "Each domain alone"),
        ("table", alone_lines(report)),
        ("faint", "What stands here stays as it is when another domain is added, replaced or taken out."),
    ]


def _routing(report: Mapping[str, Any]) -> Blocks:
    routers = report["routers"]
    tried = [["router", "log loss on dev"], *([name, f"{loss:.4f}"] for name, loss in routers["log_loss"].items())]
    accuracy = next(iter(report["routing"].values()))["accuracy"]
    said = f"{accuracy['value']:.1%} of the test queries go to their own domain first, the mean of domains"
    return [
        ("p", f"Taken: {routers['chosen']}. {said} (95 % interval {accuracy['low']:.1%} to {accuracy['high']:.1%})."),
        ("table", routing_lines(report)),
        ("faint", f"Cost: {DECIDES} below oracle routing; over all: its share of what is lost over all queries."),
        ("h3", "What it confuses"),
        ("table", confusion_lines(report)),
        ("fold", ("Every router that was tried", [("table", tried)], "")),
    ]


def _data(report: Mapping[str, Any]) -> Blocks:
    rows = [["domain", "passages", "documents", "train", "dev", "test", "trained on", "drawn for joint training"]]
    for name, its in report["domains"].items():
        counts = (f"{its['queries'][side]:,}" for side in ("train", "dev", "test"))
        drawn = f"{report['sampled']['drawn'][name]:,} of {report['sampled']['had'][name]:,}"
        rows.append([name, f"{its['passages']:,}", f"{its['documents']:,}", *counts, f"{its['examples']:,}", drawn])
    union, dropped = report["union"], report["queries_dropped_between_slices"]
    told = f"{union['passages']:,} passages in one corpus, {union['shared']:,} of them of several domains."
    told += f" {dropped:,} queries were dropped, since they stand in another domain, too." if dropped else ""
    return [("table", rows), ("p", told), ("facts", [(name, its["split"]) for name, its in report["domains"].items()])]


def _settings(report: Mapping[str, Any]) -> Blocks:
    rows = [["setting", "value"], *([name, str(value)] for name, value in report["config"].items())]
    code = f"""from denizen import Retriever

found = Retriever.load("{report["retriever"]}").search("a question")"""
    facts = [("experts", ", ".join(report["experts"].values())), ("processor", report["machine"]["processor"])]
    return [
        ("facts", [*facts, ("merge", report["merge"]["called"])]),
        ("fold", ("Every setting", [("words", rows)], "")),
        ("facts", list(report["versions"].items())),
        ("h3", "Load it"),
        ("pre", code),
    ]
