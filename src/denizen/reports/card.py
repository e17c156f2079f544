"""The README.md of a model: what it is, its figures with their intervals, data, settings, and how to load it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from denizen.merging.merge_card import front_matter, name_on_card
from denizen.reports.rendering import render
from denizen.reports.results import (
    baseline_lines,
    dim_lines,
    gate_lines,
    gate_sentence,
    read_whole,
    records,
    reranker_sentence,
    result_lines,
    take_lines,
    take_sentence,
    unchanged,
)
from denizen.retrievers.matryoshka import loss_record

# paths of the user's machine
_PATHS = {
    "source",
    "model",
    "from_run",
    "grades",
    "guide",
    "cross_encoder",
    "reranker_model",
    "query_log",
    "general",
    "neighbour",
}


def title(report: dict[str, Any]) -> str:
    """What a run was, as a title."""
    base, source = name_on_card(report["base_model"]), Path(report["config"]["source"]).name
    if report["chosen"] == "base" and "take" in report:
        return f"{base}, as {Path(report['config']['from_run']).name} ships it"
    if report["chosen"] == "base":
        return f"{base}, unchanged after an attempt to adapt it to {source}"
    return f"{base}, adapted to {source}"


def model_card(report: dict[str, Any], without_effect: Collection[str]) -> str:
    """The README.md of the adapted model: data, settings, and the figures with their intervals.

    Args:
        report: The contents of metrics.json.
        without_effect: Settings that decided where and how it was worked on and nothing else; they are private.
    """
    config = report["config"]
    how, rounds = f"Denizen {report['versions']['denizen']}", f"{config['rounds']} rounds"
    adapted = f"adapted with {how} by iterative mining ({report['chosen']} was taken, of {rounds})."
    why, promise = unchanged(report), tuple(report.get("dims", {}).get("promised", ()))
    if not read_whole(report):
        read = report["shipped"]["reading"]
        adapted += f" Its figures are of a retriever that reads passages by {read}; by itself it reads whole texts."
    return render(
        "card.md.jinja",
        report=report,
        front_matter=_front_matter(report),
        title=title(report),
        how=f"{why} ({how}, {rounds})" if why else f"A sentence-transformers model {adapted}",
        take=take_sentence(report) if "take" in report else "",
        taken=take_lines(report),
        results=result_lines(report, alone=True),
        baselines=baseline_lines(report),
        dims=dim_lines(report),
        cut=promise,
        loss_record=loss_record(promise),
        sets=gate_lines(report["gate"]),
        reranker=sentence(second) if (second := reranker_sentence(report)) else "",
        verdict=sentence(gate_sentence(report)),
        teacher=taught_by(report),
        llm=llm_of(report),
        settings={
            **{name: value for name, value in config.items() if name not in {*_PATHS, *without_effect}},
            **({"llm": llm_of(report)} if "llm" in config else {}),
            "training arithmetic": report["arithmetic"],
            "encoding backend": report["backends"]["adapted"],
            **report["versions"],
        },
    )


def _front_matter(report: dict[str, Any]) -> str:
    """What hubs read of a model card, with the results as model-index."""
    from huggingface_hub import EvalResult

    source = Path(report["config"]["source"]).name
    results = [
        EvalResult(
            task_type="information-retrieval",
            task_name="Information Retrieval",
            # results are grouped by it
            dataset_type=source if row["set"] == "test" else row["set"],
            dataset_name=f"test of {source}" if row["set"] == "test" else row["set"],
            metric_type=row["measure"].lower(),
            metric_name=row["measure"],
            metric_value=round(row["value"], 4),
        )
        for row in records(report)
        if row["system"] == "adapted"
    ]
    base = name_on_card(report["base_model"])
    return front_matter(base_model=base if "/" in base else None, model_name=title(report), eval_results=results)


def taught_by(report: dict[str, Any]) -> str:
    """The LLM or the cross-encoder that graded passages; empty for a run with labels."""
    config = report["config"]
    if config["teacher"] == "gold":
        return ""
    return Path(config.get("cross_encoder", "")).name or llm_of(report) or str(config["teacher"])


def llm_of(report: dict[str, Any]) -> str:
    """The LLM of a run as replies name it, not by where a file of it lies; empty for a run without one."""
    return str(report.get("llm", {}).get("name") or report["config"].get("llm", ""))


def sentence(text: str) -> str:
    """The text with a capital at its beginning and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:]}."
