"""What the second half of `language` says: its part of metrics.json, sentences, and sections of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from denizen.answering.systems import ORACLE, ROUTED, pairs_of
from denizen.data.task_rows import TASKS
from denizen.recipes.language_experts import Experts
from denizen.reports.answers import (
    answer_examples,
    answered_rows,
    called_system,
    router_lines,
    safety_lines,
    task_lines,
    task_pair_lines,
)
from denizen.reports.results import Table

Blocks = list[tuple[str, Any]]
# whose answers are shown beside one another
_SHOWN = ((ROUTED, "instruct"), (ROUTED, "multi-task"), (ORACLE, "instruct"), ("multi-task", "instruct"))
_CALLED = {"answer": "Answers to questions", "summarize": "Summaries", "classify": "Labels"}


def experts_metrics(found: Experts) -> dict[str, Any]:
    """What metrics.json has of the experts."""
    comparison = dict(found.comparison.facts)
    pairs = pairs_of(comparison["systems"])
    shown = next(([pair] for pair in _SHOWN if pair in pairs), pairs[-1:])
    return {
        "rows": dict(found.rows.facts),
        "preferences": dict(found.preferences.facts) if found.preferences else None,
        "training": {name: dict(adapter.facts) for name, adapter in found.adapters.items()},
        "router": dict(found.router.facts) if found.router else None,
        "comparison": comparison,
        "safety": {name: dict(its.facts) for name, its in found.safety.items()},
        "examples": answer_examples(found.comparison.path, shown),
    }


def experts_lines(report: Mapping[str, Any]) -> list[Table | str]:
    """Tables and sentences for the end of a run."""
    comparison = report["comparison"]
    found: list[Table | str] = [answered_rows(comparison)]
    found += [task_lines(comparison, task) for task in TASKS if task in comparison["rows"]]
    return [*found, *comparison["sentences"]]


def experts_sections(report: Mapping[str, Any]) -> list[tuple[str, str, str, Blocks]]:
    """The sections of the page that are about experts."""
    sections = [
        ("tasks", "Tasks", "What the experts learn from", _learnt(report)),
        ("answers", "Answers", "What their answers are worth", _answers(report["comparison"])),
    ]
    if report["router"]:
        sections.append(("router", "Router", "Which expert is asked", _router(report)))
    if report["safety"]:
        sections.append(("safety", "Safety", "What a model should not do", _safety(report["safety"])))
    if report["examples"]:
        sections.append(("examples", "Examples", "Where two systems differ most, either way", _examples(report)))
    return sections


def _learnt(report: Mapping[str, Any]) -> Blocks:
    rows = [["task", "side", "from", "rows", "characters asked", "of an answer"]]
    for its in report["rows"]["rows"]:
        counts = (its["rows"], its["prompt_chars"], its["answer_chars"])
        rows.append([its["task"], its["split"], its["origin"], *(f"{count:,}" for count in counts)])
    blocks: Blocks = [("table", rows), *_dropped(report["rows"], "Rows that are not used")]
    if report["preferences"]:
        ways = report["preferences"]["ways"]
        head = ["rejected answer", "side", "pairs", "cut", "characters, chosen", "rejected"]
        told = [[its["way"], its["split"], f"{its['pairs']:,}", f"{its['cut']:,}", *_characters(its)] for its in ways]
        blocks += [("h3", "Pairs of answers"), ("table", [head, *told])]
        blocks += _dropped(report["preferences"], "Pairs that are not used")
    trained = [["trained", "rows or pairs", "steps", "learning rate", "loss at first", "at last", "answers that end"]]
    for name, its in report["training"].items():
        counts = (f"{its.get('rows', its.get('pairs')):,}", f"{its['steps']:,}", f"{its['learning_rate']:g}")
        ends = f"{its['stops']['before']} → {its['stops']['after']} of {its['stops']['prompts']}"
        trained.append([called_system(name), *counts, f"{its['loss'][0][1]:.3f}", f"{its['loss'][-1][1]:.3f}", ends])
    return [*blocks, ("h3", "Trainings"), ("table", trained)]


def _characters(way: Mapping[str, Any]) -> list[str]:
    return [f"{way[name]:,.0f}" for name in ("chosen_chars", "rejected_chars")]


def _dropped(facts: Mapping[str, Any], name: str) -> Blocks:
    if not facts["dropped"]:
        return []
    rows = [["reason", "rows", "such as"]]
    for reason, count in facts["dropped"].items():
        rows.append([reason, f"{count:,}", " | ".join(facts["samples"][reason])])
    return [("fold", (f"{name} ({sum(facts['dropped'].values()):,})", [("words", rows)], ""))]


def _answers(comparison: Mapping[str, Any]) -> Blocks:
    blocks: Blocks = [("p", sentence) for sentence in comparison["sentences"]]
    for task in TASKS:
        if task in comparison["rows"]:
            blocks += [("h3", _CALLED[task]), ("table", task_lines(comparison, task))]
            blocks.append(("fold", ("Differences of pairs", [("table", task_pair_lines(comparison, task))], "")))
    return [*blocks, ("faint", answered_rows(comparison))]


def _router(report: Mapping[str, Any]) -> Blocks:
    router = report["router"]
    rows = [["way", "right on dev", "right on test", "ms a request"]]
    for name in router["milliseconds"]:
        shares = [_share(router["accuracy"][split][name]) for split in ("dev", "test")]
        taken = " (taken)" if name == router["chosen"] else ""
        rows.append([f"{name}{taken}", *shares, f"{router['milliseconds'][name]:.1f}"])
    blocks: Blocks = [("table", rows)]
    if lines := router_lines(report["comparison"]):
        blocks += [("h3", "By expert"), ("table", lines)]
    return blocks


def _share(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "not tried"
    return f"{100 * found['value']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def _safety(systems: Mapping[str, Mapping[str, Any]]) -> Blocks:
    told = (
        "Small sets that find a model which has lost its manners; they are no proof that one is safe. A refusal is "
        "known by its words, in English."
    )
    return [("table", safety_lines(systems)), ("faint", told)]


def _examples(report: Mapping[str, Any]) -> Blocks:
    blocks: Blocks = []
    for example in report["examples"]:
        texts = [["", "text"], *([name, text] for name, text in example.items() if name != "title")]
        blocks.append(("fold", (example["title"], [("words", texts)], "")))
    return blocks
