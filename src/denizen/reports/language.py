"""What a run of `language` says at its end: metrics.json, rows for pandas, tables of cells, and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denizen.engine.versions import installed
from denizen.measuring.provenance import SCHEMA, machine, versions
from denizen.recipes.language import Language
from denizen.reports.differences import percent, points, signed
from denizen.reports.language_experts import experts_metrics
from denizen.reports.results import Table

LANGUAGE_RECIPE = "language"
# what the instruct model is called where it was given as rows
MADE_HERE = "an instruct model of rows"
# of the share of instructions that are followed: what the residual is to keep (arXiv 2410.10739 loses none)
KEPT_WITHIN = 0.02
# arXiv 2410.10739's authors call the residual unreliable below
_RELIABLE = 1.5e9
_SIGNIFICANT = 0.05
_MODELS = {
    "base": "base",
    "pretrained": "pretrained base",
    "instruct": "instruct",
    "pretrained-instruct": "pretrained instruct",
    "residual": "residual",
}
# ten short questions: two answers more that go on for ever are a fault and no chance
_FEWER_STOP = 0.2
# groups of documents below which a bootstrap over them says little
_FEW_GROUPS = 10


def language_metrics(config: Mapping[str, Any], out: Path, found: Language, weights: int) -> dict[str, Any]:
    """The contents of metrics.json; docs/language.md documents the keys.

    Args:
        config: The settings of the run.
        out: The run's folder.
        found: What it has come to.
        weights: How many the base has.
    """
    systems = {}
    for name in found.models:
        foreseen, followed = found.perplexity[name].facts, found.instructions[name].facts
        systems[name] = {key: foreseen[key] for key in ("perplexity", "bits_a_byte")}
        systems[name] |= {key: followed[key] for key in ("accuracy", "stops", "kinds")}
    held, asked, corpus = found.perplexity["base"].facts, found.instructions["base"].facts, found.corpus.facts
    trained = {name: dict(its.facts) for name, its in found.models.items() if "loss" in its.facts}
    if found.tuned:
        trained = {"instruct": dict(found.tuned.facts), **trained}
    report = {
        "schema": SCHEMA,
        "recipe": LANGUAGE_RECIPE,
        "systems": systems,
        "pairs": found.comparison.facts["pairs"],
        "training": trained,
        "residual": dict(found.models["residual"].facts),
        "scale_search": dict(found.scale.facts) if found.scale else None,
        "corpus": {key: corpus[key] for key in ("documents", "passages", "sides", "split", "skipped_rows")},
        "read": dict(corpus["read"]),
        "held_out": {key: held[key] for key in ("documents", "groups", "tokens", "bytes", "passages_left_out")},
        "prompts": asked["prompts"],
        "experts": experts_metrics(found.experts) if found.experts else None,
        "weights": weights,
        "model": found.models["residual"].path.as_posix(),
        "base_model": config["base"],
        "instruct_model": config["instruct"] or MADE_HERE,
        "config": dict(config),
        "versions": {**versions(), **{name: installed(name) for name in ("trl", "peft")}},
        "machine": machine(),
    }
    return {**report, "verdict": _verdict(report), "warnings": _warnings(report)}


def pair_of(report: Mapping[str, Any], model: str, against: str) -> dict[str, Any] | None:
    """The differences of two models, where both were measured."""
    return next((its for its in report["pairs"] if (its["model"], its["against"]) == (model, against)), None)


def _verdict(report: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the residual model follows instructions as the instruct model does, as far as that is shown."""
    apart = (pair_of(report, "residual", "instruct") or {})["accuracy"]
    # what is seen in none of n prompts may still befall 3/n of all (the rule of three), which a bootstrap does not see
    shown = apart["low"] > -KEPT_WITHIN and 3 / report["prompts"] <= KEPT_WITHIN
    lost = apart["high"] < -KEPT_WITHIN
    return {"within": KEPT_WITHIN, "kept": "shown" if shown else "lost" if lost else "not shown"}


def _warnings(report: Mapping[str, Any]) -> list[str]:
    found, systems, groups = [], report["systems"], report["held_out"]["groups"]
    if groups < _FEW_GROUPS:
        found.append(
            f"Only {groups} documents are held out, near-duplicates counted once: intervals of perplexity over so few "
            "are too narrow. Hold out more (--test-share), or add documents."
        )
    of_training = pair_of(report, "pretrained", "base") or {}
    if of_training["bits_a_byte"]["high"] >= 0:
        found.append(
            "Pretraining is not shown to help: the pretrained base does not foresee held-out documents better."
        )
    stops = {name: systems[name]["stops"] for name in ("instruct", "residual")}
    if stops["residual"] <= stops["instruct"] - _FEWER_STOP:
        found.append(
            f"The residual model ends {10 * stops['residual']:.0f} of 10 short answers by itself, the instruct model "
            f"{10 * stops['instruct']:.0f}: who uses it must set a limit on tokens."
        )
    of_tuning = pair_of(report, "instruct", "base") or {}
    if of_tuning["accuracy"]["low"] <= 0:
        found.append(
            "The instruct model is not shown to be better than its base at following instructions, so there is little "
            "that a residual could bring back."
        )
    if report["weights"] < _RELIABLE:
        found.append(
            f"The base has {report['weights'] / 1e6:,.0f} million weights; the residual's authors call it unreliable "
            "below 1.5 billion (arXiv 2410.10739)."
        )
    return found


def called_model(name: str) -> str:
    """What people call a model of the run."""
    return _MODELS[name]


def language_title(report: Mapping[str, Any]) -> str:
    """Of the page."""
    return f"{Path(report['base_model']).name} and {Path(report['instruct_model']).name}, native to the documents"


def language_headline(report: Mapping[str, Any]) -> str:
    """What came out, in two sentences."""
    apart = pair_of(report, "residual", "instruct") or {}
    accuracy = apart["accuracy"]
    if apart["perplexity"]:
        foreseen = f"perplexity on held-out documents {percent(apart['perplexity'])}"
    else:
        foreseen = f"bits a byte of held-out documents {signed(apart['bits_a_byte'])}"
    limit = f"{100 * KEPT_WITHIN:.0f} points"
    said = {
        "shown": f"it keeps within {limit}",
        "lost": f"it loses more than {limit}",
        "not shown": f"that it keeps within {limit} is not shown",
    }
    return (
        f"Against the instruct model the residual model has {foreseen}. Instructions followed: {points(accuracy)} "
        f"points; {said[report['verdict']['kept']]}."
    )


def model_lines(report: Mapping[str, Any]) -> Table:
    """Every model with what it was measured at."""
    rows = [["model", "perplexity", "bits a byte", "instructions followed", "answers that end"]]
    for name, its in report["systems"].items():
        perplexity, bits, accuracy = its["perplexity"], its["bits_a_byte"], its["accuracy"]
        rows.append(
            [
                called_model(name),
                f"{perplexity['value']:,.2f} [{perplexity['low']:,.2f}, {perplexity['high']:,.2f}]",
                f"{bits['value']:.3f} [{bits['low']:.3f}, {bits['high']:.3f}]",
                f"{100 * accuracy['value']:.1f} % [{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]",
                f"{10 * its['stops']:.0f} of 10",
            ]
        )
    return rows


def pair_lines(report: Mapping[str, Any]) -> Table:
    """Pairs of models with what is between them."""
    rows = [["difference", "perplexity", "bits a byte", "instructions followed, points"]]
    for its in report["pairs"]:
        name = f"{called_model(its['model'])} - {called_model(its['against'])}"
        change = its["perplexity"]
        accuracy = f"{points(its['accuracy'])} {_chance(its['accuracy'])}".strip()
        rows.append([name, percent(change) if change else "other tokens", signed(its["bits_a_byte"]), accuracy])
    return rows


def training_lines(report: Mapping[str, Any]) -> Table:
    """What was trained, on how much."""
    rows = [["trained", "tokens", "steps", "weights", "learning rate", "loss at first", "at last"]]
    for name, its in report["training"].items():
        loss = its["loss"]
        cells = (f"{its['tokens']:,}", f"{its['steps']:,}", f"{its['learnt']:,}", f"{its['learning_rate']:g}")
        rows.append([called_model(name), *cells, f"{loss[0][1]:.3f}", f"{loss[-1][1]:.3f}"])
    return rows


def scale_lines(report: Mapping[str, Any]) -> Table:
    """Every scale that was tried on dev, and the instruct model."""
    found = report["scale_search"]
    rows = [["on dev", "bits a byte", "instructions followed", ""]]
    for its in (found["instruct"], *found["tried"]):
        whole = its is found["instruct"]
        name = "instruct" if whole else f"scale {its['scale']:g}"
        taken = "taken" if its["scale"] == found["scale"] and not whole else ""
        rows.append([name, f"{its['bits_a_byte']:.3f}", f"{100 * its['accuracy']:.1f} %", taken])
    return rows


def measured_on(report: Mapping[str, Any]) -> str:
    """What the figures are over."""
    held = report["held_out"]
    left = held["passages_left_out"]
    but = f" ({left:,} passages left out that have a near-duplicate in training)" if left else ""
    return (
        f"{held['documents']:,} held-out documents, {held['tokens']:,} tokens{but}; {report['prompts']:,} prompts, "
        "whose greedy answers a program checks; intervals: bootstrap over documents and prompts, 95 %"
    )


def language_records(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All figures as rows: of a model, or of a model against another one."""
    rows = []
    for name, its in report["systems"].items():
        for measure in ("perplexity", "bits_a_byte", "accuracy"):
            rows.append({"model": name, "against": None, "measure": measure, **_interval(its[measure])})
        rows.append({"model": name, "against": None, "measure": "stops", "value": its["stops"]})
    for its in report["pairs"]:
        for measure in ("perplexity", "bits_a_byte", "accuracy"):
            if its[measure]:
                rows.append({"model": its["model"], "against": its["against"], "measure": measure, **its[measure]})
    return rows


def _chance(found: Mapping[str, float]) -> str:
    return "" if found["p"] < _SIGNIFICANT else "(may be chance)"


def _interval(found: Mapping[str, float]) -> dict[str, float]:
    return {name: found[name] for name in ("value", "low", "high")}
