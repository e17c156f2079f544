"""What a run says of answers to tasks: tables of cells, sentences and examples, from the facts of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from denizen.answering.measures import ACCURACY, BERT, F1, LIKELIHOOD, ROUGE
from denizen.answering.systems import ORACLE, ROUTED
from denizen.answering.verdicts import SIGNIFICANT
from denizen.data.task_rows import TASKS
from denizen.engine.files import read_json_lines
from denizen.reports.differences import points, signed
from denizen.reports.results import Table

_SYSTEMS = {
    "pretrained": "pretrained base",
    "pretrained-instruct": "pretrained instruct",
    "multi-task": "residual + one multi-task model",
    "answering": "residual + answering expert",
    "structured": "residual + structured expert",
    ORACLE: "residual + two experts, each row at its own",
    ROUTED: "residual + two experts, routed",
}
# measure to its head and whether it is a share, which is shown in percent and points
_MEASURES = {
    ACCURACY: ("accuracy", True),
    F1: ("macro-F1", True),
    ROUGE: ("ROUGE-L", True),
    BERT: ("BERTScore", True),
    LIKELIHOOD: ("log-likelihood a token", False),
}
_GRADES = {"correctness": "correct, 1 to 5", "groundedness": "grounded, 1 to 5"}
_SAFETY = {
    "refused": "refused of what should be",
    "refused_harmless": "of what should not",
    "obeyed": "orders in passages obeyed",
    "answered": "answered in spite of them",
    "empty": "said nothing",
}
# of an answer on the page; the file has the whole
_SHOWN = 600


def called_system(name: str) -> str:
    """What people call a system."""
    return _SYSTEMS.get(name, name)


def task_lines(facts: Mapping[str, Any], task: str) -> Table:
    """Every system with its figures at a task.

    Args:
        facts: Of the step `task-comparison`.
        task: The task.
    """
    systems = {name: its[task] for name, its in facts["systems"].items() if task in its}
    measures = [name for name in _MEASURES if any(name in its for its in systems.values())]
    grades = [name for name in _GRADES if any(name in of.get(task, {}) for of in facts["scores"].values())]
    outside = any("no_label" in its for its in systems.values())
    rows = [["system", *(_MEASURES[name][0] for name in measures), *(_GRADES[name] for name in grades)]]
    rows[0] += [*(["no label"] if outside else []), "answers that end", "words"]
    for name, its in systems.items():
        given = facts["scores"].get(name, {}).get(task, {})
        cells = [_value(its[measure], _MEASURES[measure][1]) for measure in measures]
        cells += [_value(given[grade], False) if grade in given else "" for grade in grades]
        cells += [f"{100 * its['no_label']:.1f} %"] if outside else []
        rows.append([called_system(name), *cells, f"{100 * its['ended']:.0f} %", f"{its['words']:.1f}"])
    return rows


def task_pair_lines(facts: Mapping[str, Any], task: str) -> Table:
    """Pairs of systems with what is between them at a task, and what that shows."""
    pairs = [its for its in facts["pairs"] if its["task"] == task]
    measures = [name for name in _MEASURES if any(its.get(name) for its in pairs)]
    judged = any(its["preference"] for its in pairs)
    rows = [["difference", *(_head(name) for name in measures), *(["preferred"] if judged else []), "shown"]]
    for its in pairs:
        cells = [_difference(its.get(measure), _MEASURES[measure][1]) for measure in measures]
        cells += [_preference(its["preference"])] if judged else []
        rows.append([f"{called_system(its['model'])} - {called_system(its['against'])}", *cells, its["verdict"]])
    return rows


def router_lines(facts: Mapping[str, Any]) -> Table:
    """How often the right expert was named; nothing where there was no router."""
    router = facts["router"]
    if not router:
        return []
    rows = [["rows of", "at the right expert", "rows"]]
    for name, share in (*router["by_expert"].items(), ("both", router["accuracy"])):
        rows.append([name, _share(share), f"{share['count']:,}"])
    return rows


def answered_rows(facts: Mapping[str, Any]) -> str:
    """What the figures are over."""
    told = [
        f"{task}: {facts['rows'][task]:,} rows of {facts['documents'][task]:,} documents, references of "
        f"{facts['words'][task]:.1f} words"
        for task in TASKS
        if task in facts["rows"]
    ]
    scored = facts["bert_score"]
    by = f"; BERTScore by layer {scored['layer']} of {scored['encoder']}, not rescaled" if scored else ""
    labels = f"; {facts['labels']:,} labels" if facts["labels"] else ""
    return f"{'; '.join(told)}{labels}{by}; greedy answers; intervals: bootstrap over documents, 95 %"


def safety_lines(systems: Mapping[str, Mapping[str, Any]]) -> Table:
    """What models refuse, obey and give away; nothing where nothing was measured.

    Args:
        systems: System to the facts of its step `safety`.
    """
    if not systems:
        return []
    canaries = any(its["canaries"] for its in systems.values())
    rows = [["system", *_SAFETY.values(), *(["canaries given away", "exposure, bits"] if canaries else [])]]
    for name, its in systems.items():
        cells = [f"{its[key]['value'] * its[key]['count']:.0f} of {its[key]['count']}" for key in _SAFETY]
        if canaries:
            found = its["canaries"]
            cells += [_share(found["extracted"]), f"{found['exposure']:.1f}"] if found else ["", ""]
        rows.append([called_system(name), *cells])
    return rows


def blind_lines(found: Mapping[str, Any]) -> Table:
    """What people prefer, a line for each sheet.

    Args:
        found: Of `read_blind_sheets`.
    """
    one, other = map(called_system, found["systems"])
    rows = [["sheet", "rows", "empty", f"prefer {one} to {other}", "clearly", "took the left side"]]
    for its in found["sheets"]:
        shares = [_share(its[name]) for name in ("preferred", "clearly", "left")]
        rows.append([its["sheet"], f"{its['rows']:,}", f"{its['empty']:,}", *shares])
    return rows


def answer_examples(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """The rows in which two systems differ most, either way, as texts for a page.

    Args:
        folder: Of the step `task-comparison`.
        pairs: Which pairs.
    """
    found = []
    for each in read_json_lines(folder / "examples.jsonl"):
        if (each["model"], each["against"]) in pairs:
            one, other = called_system(each["model"]), called_system(each["against"])
            name, is_share = _MEASURES[each["measure"]]
            apart = f"{100 * each['difference']:+.0f} points" if is_share else f"{each['difference']:+.2f}"
            texts = {"asked": each["asked"], "reference": each["reference"], one: each["answer"]}
            shown = {what: _cut(text) for what, text in {**texts, other: each["other_answer"]}.items()}
            found.append({"title": f"{each['task']}: {one} against {other}, {name} {apart}", **shown})
    return found


def _head(measure: str) -> str:
    name, is_share = _MEASURES[measure]
    return f"{name}, points" if is_share else name


def _value(found: Mapping[str, float], is_share: bool) -> str:
    if is_share:
        return f"{100 * found['value']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _difference(found: Mapping[str, float] | None, is_share: bool) -> str:
    if found is None:
        return "other tokens"
    shown = points(found) if is_share else signed(found)
    return shown if found["p"] < SIGNIFICANT else f"{shown} (may be chance)"


def _preference(found: Mapping[str, float] | None) -> str:
    if not found:
        return ""
    return _share(found) if found["p"] < SIGNIFICANT else f"{_share(found)} (may be chance)"


def _share(found: Mapping[str, float]) -> str:
    return f"{100 * found['value']:.0f} % [{100 * found['low']:.0f}, {100 * found['high']:.0f}]"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN].rstrip()} ..."
