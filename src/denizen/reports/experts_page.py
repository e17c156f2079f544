"""The pages of a run of `experts`: report.html for people, README.md for the model, both from metrics.json alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from denizen.engine.files import write_text
from denizen.measuring.significance import Difference
from denizen.measuring.slices import COMPARED, DECIDES, mean_of
from denizen.merging.merge_card import front_matter, name_on_card
from denizen.reports import charts
from denizen.reports.experts import (
    advantage_lines,
    called_system,
    experts_headline,
    experts_title,
    point_names,
    seed_table,
    system_lines,
    weight_lines,
)
from denizen.reports.picture import Picture, parts_picture
from denizen.reports.rendering import render

Blocks = list[tuple[str, Any]]
_PATHS = {"sources", "model"}
_KINDS = {"base": "base", "bm25": "bm25", "merged": "adapted"}
# of one slice, beyond which an interval of a test says something
_FEW = 50


def experts_page(report: Mapping[str, Any], out: Path) -> Path:
    """Writes the page of the contents of metrics.json, and says where it is."""
    sections = [
        ("gain", "Gain", "What was gained", _gain(report)),
        ("merge", "Merge", "How the experts were merged", _merge(report)),
        ("matrix", "Experts", "What each expert wins and loses", _matrix(report)),
        ("data", "Data", "Slices", _data(report)),
        ("settings", "Settings", "Settings and versions", _settings(report)),
    ]
    page = render(
        "report.html.jinja",
        title=experts_title(report, name_on_card(report["base_model"])),
        headline=experts_headline(report),
        picture=_picture(report),
        beside="",
        warnings=_warnings(report),
        sections=sections,
    )
    write_text(out, page)
    return out


def _picture(report: Mapping[str, Any]) -> Picture | None:
    shipped, base = report["shipped"], report["systems"]["base"]["means"][DECIDES]["value"]
    means, apart = (base, shipped["means"][DECIDES]["value"]), shipped["difference"].get(DECIDES, {})
    return parts_picture(report["slices"], shipped["name"], called_system(shipped["name"]), means, apart)


def experts_card(report: Mapping[str, Any], without_effect: Collection[str]) -> str:
    """The README.md of what is shipped: slices, weights, figures with intervals, settings."""
    left_out = {*_PATHS, *without_effect}
    settings = {name: value for name, value in report["config"].items() if name not in left_out}
    base = name_on_card(report["base_model"])
    front = front_matter(*(["merge"] if report["shipped"]["name"] == "merged" else []), base_model=_hub(base))
    return render(
        "experts_card.md.jinja",
        report=report,
        front_matter=front,
        title=experts_title(report, base),
        headline=experts_headline(report),
        merged=report["shipped"]["name"] == "merged",
        systems=system_lines(report),
        advantages=advantage_lines(report),
        weights=weight_lines(report),
        seeds=seed_table(report),
        slices=_slice_lines(report),
        settings={**settings, "training arithmetic": report["arithmetic"], **report["versions"]},
    )


def _hub(base: str) -> str | None:
    return base if "/" in base else None


def _warnings(report: Mapping[str, Any]) -> list[str]:
    found = [report["warning"]] if report["warning"] else []
    few = [f"{name} ({its['test_queries']})" for name, its in report["slices"].items() if its["test_queries"] < _FEW]
    if few:
        found.append(f"Few test questions, whose intervals are narrower than they should be: {', '.join(few)}.")
    points = report["merge"]["measured"]
    if report["shipped"]["name"] == "merged" and points > 1:
        found.append(
            f"On dev the merged model is the best of {points}, and what is compared with it is one of one: its figure "
            "there is somewhat too high. That of the test is not."
        )
    return found


def _gain(report: Mapping[str, Any]) -> Blocks:
    figures = []
    for measure in COMPARED:
        bars = [
            charts.Bar(called_system(name), Difference(**its["means"][measure]), _KINDS.get(name, "other"))
            for name, its in report["systems"].items()
        ]
        alt = f"{measure} of each system, the mean over slices with its 95 % interval"
        figures.append((f"{measure}, mean over slices", charts.bars(bars, alt)))
    blocks: Blocks = [
        ("table", system_lines(report)),
        (
            "faint",
            f"* the best expert by its mean on dev. On {report['queries']:,} test queries, read once, at the end.",
        ),
        ("charts", figures),
        ("h3", "What the merged model is worth"),
        ("table", advantage_lines(report)),
        (
            "faint",
            "Every slice weighs the same. Intervals: bootstrap within each slice, 95 %, questions about one document "
            "drawn together; p: paired randomisation test, within each slice.",
        ),
    ]
    seeds = seed_table(report)
    return [*blocks, *([("h3", "Again with other seeds"), ("table", seeds)] if seeds else [])]


def _merge(report: Mapping[str, Any]) -> Blocks:
    merge, dev, points = report["merge"], report["dev"], point_names(report)
    best = f"expert-{report['best_expert']}"
    levels = [
        (said, mean_of(dev[name])) for said, name in (("base", "base"), ("best expert", best), ("all data", "all"))
    ]
    alt = f"Mean {DECIDES} on dev of each merge in the order of the search, the base, the best expert and all data"
    rows = [[f"{DECIDES} on dev", "mean", *report["slices"]]]
    rows += [
        [called_system(name), f"{mean_of(of):.4f}", *(f"{v:.4f}" for v in of.values())] for name, of in dev.items()
    ]
    tried = [["#", "merge", "mean", *report["slices"]]]
    for at, ((name, mean), point) in enumerate(zip(points, merge["points"], strict=True), start=1):
        tried.append([str(at), name, f"{mean:.4f}", *(f"{value:.4f}" for value in point["dev"].values())])
    searched = f"{report['config']['search']}, {merge['measured']} merges measured on dev; test had no part in it."
    return [
        ("p", f"Taken: {merge['called']}. Searched by {searched}"),
        ("charts", [("The path of the search", charts.path(points, levels, f"mean {DECIDES} on dev", alt))]),
        ("table", weight_lines(report)),
        ("faint", "A weight is how far the merge goes from the base towards an expert; they need not add up to 1."),
        ("h3", "On dev"),
        ("table", rows),
        ("fold", ("Every merge that was measured", [("table", tried)], "")),
    ]


def _matrix(report: Mapping[str, Any]) -> Blocks:
    slices = report["slices"]
    names = [*(f"expert-{name}" for name in slices), "random", "all", "uniform", "merged"]
    values = [[Difference(**of["differences"][name][DECIDES]) for of in slices.values()] for name in names]
    alt = f"Gain and loss in {DECIDES} against the base, of each model on each slice"
    drawn = charts.matrix([called_system(name) for name in names], list(slices), values, alt)
    rows = [[f"{DECIDES} - base", *slices]]
    for name, of_row in zip(names, values, strict=True):
        rows.append([called_system(name), *(f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]" for one in of_row)])
    return [
        ("charts", [("Against the base, on test", drawn)]),
        ("faint", "Pale figures: the 95 % interval holds zero."),
        ("fold", ("With intervals", [("table", rows)], "")),
    ]


def _slice_lines(report: Mapping[str, Any]) -> list[list[str]]:
    rows = [["slice", "passages", "documents", "train", "dev", "test", "trained on"]]
    for name, its in report["slices"].items():
        counts = (f"{its['queries'][side]:,}" for side in ("train", "dev", "test"))
        rows.append([name, f"{its['passages']:,}", f"{its['documents']:,}", *counts, f"{its['examples']:,}"])
    return rows


def _data(report: Mapping[str, Any]) -> Blocks:
    splits = [(name, its["split"]) for name, its in report["slices"].items()]
    dropped = report["queries_dropped_between_slices"]
    said = f"{dropped:,} queries were dropped, since they stand in another slice, too." if dropped else ""
    return [("table", _slice_lines(report)), ("facts", splits), *([("p", said)] if said else [])]


def _settings(report: Mapping[str, Any]) -> Blocks:
    machine = report["machine"]
    rows = [["setting", "value"], *([name, str(value)] for name, value in report["config"].items())]
    code = f"""from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{report["model"]}")
scores = model.similarity(model.encode_query(["a question"]), model.encode_document(["a passage"]))"""
    return [
        ("facts", [("experts", ", ".join(report["experts"].values())), ("processor", machine["processor"])]),
        ("fold", ("Every setting", [("words", rows)], "")),
        ("facts", list(report["versions"].items())),
        ("h3", "Load it"),
        ("pre", code),
    ]
