"""The page of a run of `language`: report.html, from metrics.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denizen.engine.files import write_text
from denizen.measuring.significance import Difference
from denizen.reports import charts
from denizen.reports.language import (
    called_model,
    language_headline,
    language_title,
    measured_on,
    model_lines,
    pair_lines,
    scale_lines,
    training_lines,
)
from denizen.reports.language_experts import experts_sections
from denizen.reports.rendering import render

Blocks = list[tuple[str, Any]]
_TERMS = (
    ("perplexity", "among how many tokens, all alike, a model as good as guesses the next one; lower is better"),
    ("bits a byte", "how badly it foresees a text, whatever a tokenizer makes of the text; lower is better"),
    ("instructions followed", "the share of prompts of whose answer a program finds every demand fulfilled"),
    ("answers that end", "how many of ten short questions a model stops answering by itself"),
    ("residual", "what instruction tuning has made of the base, added to the base after pretraining"),
    ("expert", "low-rank adapters over the residual model, for one kind of task"),
    ("ROUGE-L", "how much of the reference's words stand in the answer in the same order, and the other way round"),
    ("BERTScore", "the same by likeness of words in an encoder, so that other words of one meaning count"),
    ("interval", "where the true value lies in 95 of 100 such tests"),
)
_COLOURS = {"base": "base", "residual": "adapted"}


def language_page(report: Mapping[str, Any], out: Path) -> Path:
    """Writes the page of the contents of metrics.json, and says where it is."""
    sections = [
        ("models", "Models", "What each model can do", _models(report)),
        ("differences", "Differences", "What lies between them", _differences(report)),
        ("instructions", "Instructions", "Which instructions are followed", _kinds(report)),
        ("training", "Training", "What was trained, on what", _training(report)),
        *(experts_sections(report["experts"]) if report["experts"] else ()),
        ("settings", "Settings", "Settings and versions", _settings(report)),
    ]
    page = render(
        "report.html.jinja",
        title=language_title(report),
        headline=language_headline(report),
        warnings=report["warnings"],
        terms=_TERMS,
        sections=sections,
    )
    write_text(out, page)
    return out


def _models(report: Mapping[str, Any]) -> Blocks:
    def drawn(measure: str, alt: str) -> str:
        bars = [
            charts.Bar(called_model(name), _difference(its[measure]), _COLOURS.get(name, "other"))
            for name, its in report["systems"].items()
        ]
        return charts.bars(bars, alt)

    figures = [
        ("Bits a byte (lower is better)", drawn("bits_a_byte", "Bits a byte of held-out documents of each model")),
        ("Share of instructions followed", drawn("accuracy", "Share of instructions that each model follows")),
    ]
    return [
        ("table", model_lines(report)),
        ("faint", measured_on(report)),
        ("charts", figures),
        (
            "faint",
            "A model without a chat template, as a base is, reads an instruction as a text that goes on.",
        ),
    ]


def _differences(report: Mapping[str, Any]) -> Blocks:
    bars = [
        charts.Bar(f"{called_model(its['model'])} - {called_model(its['against'])}", _difference(its["accuracy"]))
        for its in report["pairs"]
    ]
    alt = "Difference in the share of instructions followed, of each pair of models, with its 95 % interval"
    return [
        ("table", pair_lines(report)),
        ("charts", [("Instructions followed", charts.bars(bars, alt, signed=True))]),
        (
            "faint",
            "The first minus the second; of perplexity, in percent of the second's. May be chance: p of a paired "
            "randomisation test is .05 or more.",
        ),
    ]


def _kinds(report: Mapping[str, Any]) -> Blocks:
    systems = report["systems"]
    rows = [["what is asked for", *(called_model(name) for name in systems)]]
    for kind in sorted(next(iter(systems.values()))["kinds"]):
        rows.append([kind, *(f"{100 * its['kinds'][kind]:.0f} %" for its in systems.values())])
    return [
        ("table", rows),
        ("faint", "A few prompts a kind; every answer is in instructions/MODEL/answers.jsonl in the run's folder."),
    ]


def _training(report: Mapping[str, Any]) -> Blocks:
    corpus, sides = report["corpus"], report["corpus"]["sides"]
    told = ", ".join(f"{count:,} {side}" for side, count in sides.items())
    curves = [
        (called_model(name), _COLOURS.get(name, "other"), [(float(step), float(loss)) for step, loss in its["loss"]])
        for name, its in report["training"].items()
    ]
    blocks: Blocks = [
        ("table", training_lines(report)),
        ("charts", [("Loss", charts.curves(curves, "step", "Training loss by step"))]),
        (
            "facts",
            [
                ("documents", f"{corpus['documents']:,} ({told}), {corpus['passages']:,} passages"),
                ("split", corpus["split"]),
                ("residual", f"pretrained + {report['residual']['scale']:g} x (instruct - base)"),
            ],
        ),
    ]
    if report["scale_search"]:
        rule = (
            "Taken: the scale that foresees documents of dev best among those that follow instructions within two "
            "points of the instruct model. These instructions are none of the test's."
        )
        blocks += [("h3", "How much of the residual"), ("table", scale_lines(report)), ("faint", rule)]
    return blocks


def _settings(report: Mapping[str, Any]) -> Blocks:
    rows = [["setting", "value"], *([name, str(value)] for name, value in report["config"].items())]
    code = f"""from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{report["model"]}")
tokenizer = AutoTokenizer.from_pretrained("{report["model"]}")"""
    return [
        ("facts", [("processor", report["machine"]["processor"]), *report["versions"].items()]),
        ("fold", ("Every setting", [("words", rows)], "")),
        ("h3", "Load it"),
        ("pre", code),
    ]


def _difference(found: Mapping[str, float]) -> Difference:
    return Difference(found["value"], found["low"], found["high"], found["p"])
