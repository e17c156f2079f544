"""metrics.json: what a run has come to, for machines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denizen.engine.files import read_json
from denizen.measuring import forgetting
from denizen.measuring.provenance import SCHEMA
from denizen.measuring.retrieval_sets import EARLIER
from denizen.recipes.adapted import Adapted, Onward, SecondStage
from denizen.retrievers.reranked import RESCORED
from denizen.supervision.supervision import Texts

LEAK_NOTE = "The splits leak: {leaks} thing(s) stand on both sides. These figures are not evidence of generalisation."
# what metrics.json takes over from the test
_TAKEN_OVER = (
    "differences",
    "advantages",
    "queries",
    "grouped",
    "missing_queries",
    "versions",
    "backends",
    "analyser",
    "hybrid_analyser",
    "machine",
)
_WORDS = {"dev": "dev", "cross-fitting": "train and dev, each asked of students that had not seen it"}


def metrics_json(config: Mapping[str, Any], out: Path, found: Adapted, limit: float, arithmetic: str) -> dict[str, Any]:
    """The contents of metrics.json; docs/tables.md documents every key.

    Args:
        config: The settings of the run.
        out: The run's folder.
        found: What it has come to.
        limit: How far a mean may fall.
        arithmetic: That of the training.
    """
    data, test = _data(found.texts), found.test.facts
    return {
        "schema": SCHEMA,
        "shipped": _shipped(found),
        **test["means"],
        "difference": test["differences"]["adapted"],
        "difference_bm25": test["differences"]["bm25"],
        "reading": {**found.reading.facts, **_cut(found)},
        "best_round": found.choice.best,
        "soup": found.choice.facts.get("soup", 1),
        "dev": found.choice.facts["dev"],
        "decided": {"round": dict(found.choice.facts["decided"]), "fusion": dict(found.fused.facts)},
        "data": data,
        "warning": LEAK_NOTE.format(leaks=data["leaks"]) if data["leaks"] else None,
        "model": (out / "model").as_posix(),
        "base_model": config["model"],
        "config": dict(config),
        **{name: test[name] for name in _TAKEN_OVER},
        "arithmetic": arithmetic,
        "chosen": _chosen(found),
        "gate": _gate(found, limit),
        **({"reranker": _reranker(found, found.second, out)} if found.second else {}),
        **taken(found, limit),
    }


def metrics_of_seed(seed: int, found: Adapted, limit: float) -> dict[str, Any]:
    """What of a repetition goes into the report of the run."""
    gate, test = _gate(found, limit) or {"change": {}, "met": True}, found.test.facts
    means = {"adapted": test["means"]["adapted"], "difference": test["differences"]["adapted"]}
    given = _shipped(found)
    shipped = {name: given[name] for name in ("name", "means", "difference")}
    judged = {"change": gate["change"], "met": gate["met"]}
    return {"seed": seed, "chosen": _chosen(found), "shipped": shipped, **means, **judged}


def _cut(found: Adapted) -> dict[str, Any]:
    """Which share of the passages trained on was longer than what training saw of them, in the last round."""
    share = found.rounds[-1].model.facts.get("cut")
    return {} if share is None else {"trained_on_longer": share}


def _chosen(found: Adapted) -> str:
    usual = "base" if found.choice.best == 0 else f"round {found.choice.best}"
    chosen = str(found.final.facts.get("chosen", usual))
    return chosen if found.onward is None or chosen == "base" else f"{chosen} ({_branch(found.onward)})"


def _branch(onward: Onward) -> str:
    return str(onward.taken.facts["decided"]["called"][onward.taken.best])


def taken(found: Adapted, limit: float) -> dict[str, Any]:
    """Which model to take and why, where a run goes on from an earlier one; which it is that lies in its folder."""
    if found.onward is None:
        return {}
    gate, branch, decided = _gate(found, limit), _branch(found.onward), found.onward.taken.facts["decided"]
    shipped, *after = decided["MRR@5"]
    told = [
        f"trained {name}: {_of_branch(found.onward, name, mean, gain)}"
        for name, mean, gain in zip(found.onward.choices, after, decided["gains"], strict=True)
    ]
    why = (
        f"on {decided['queries']:,} queries that decided ({_WORDS[decided['by']]}) what is shipped has an MRR@5 of "
        f"{shipped:.3f}; {'; '.join(told)}"
    )
    met = gate is None or gate["met"]
    if gate and branch != "shipped":
        why += f"; on the earlier test it changes by {gate['change'][EARLIER]:+.3f}, and {gate['limit']:g} may be lost"
    return {"take": {"model": branch if met else "shipped", "branch": branch, "why": why}}


def _of_branch(onward: Onward, name: str, mean: float, gain: Mapping[str, float]) -> str:
    """What became of a branch: after its gate against what was held then, or else why nothing came out of it."""
    choice, aside = onward.choices[name], ""
    if not choice.best:
        # the student that came nearest
        means, gains = (choice.facts["decided"][key] for key in ("MRR@5", "gains"))
        at = max(range(len(gains)), key=lambda place: means[place + 1])
        mean, gain, aside = means[at + 1], gains[at], ", which proves nothing"
    elif not onward.finals[name].facts.get("met", True):
        return "it has forgotten more than the limit allows, and no merge kept it and gained"
    return f"{mean:.3f} ({gain['value']:+.3f}, 90 % interval {gain['low']:+.3f} to {gain['high']:+.3f}{aside})"


def _shipped(found: Adapted) -> dict[str, Any]:
    """What the user is given, why, and its own figures."""
    test, fused, decided = found.test.facts, found.fused.facts, found.choice.facts["decided"]
    model = "base" if _chosen(found) == "base" else "adapted"
    name = "hybrid" if found.fused.taken else model
    # the model alone is measured as "adapted", also where that is the base
    row = found.fused.system
    alone, gain = fused["MRR@5"]["alone"], fused["gain"]
    how = f"on {fused['queries']:,} queries that decided ({_WORDS[decided['by']]})"
    if name == "hybrid":
        why = (
            f"{how} BM25 adds {gain['value']:+.3f} to the MRR@5 of {alone:.3f} that the {model} model has alone "
            f"(90 % interval {gain['low']:+.3f} to {gain['high']:+.3f}, by ways chosen on other queries)"
        )
    elif name == "adapted":
        before = decided["MRR@5"][0]
        why = f"{how} it has an MRR@5 of {alone:.3f}, the base {before:.3f}; BM25 adds nothing to it there"
    elif found.choice.best:
        why = "the student forgot more than the limit allows, and no merge of it kept the limit and gained"
    else:
        why = f"{how} no student proved better than it"
    second = {}
    if found.second and found.second.decided.taken:
        second, row = {"first_stage": name}, "reranked"
        name = row
    return {
        "name": name,
        **second,
        "model": model,
        "why": why,
        "means": test["means"][row],
        "difference": test["differences"][row],
        "difference_bm25": test["over_bm25"][row],
        "difference_base_hybrid": test["over_base_hybrid"].get(row, {}),
        "reading": found.reading.reading.name,
    }


def _reranker(found: Adapted, second: SecondStage, out: Path) -> dict[str, Any]:
    """Whether the second stage is to be deployed, and what it gives and costs beside the first."""
    test, facts = found.test.facts, second.decided.facts
    measured = {}
    if "over_first_stage" in test:
        before = found.fused.system
        measured = {
            "means": {"alone": test["means"][before], "reranked": test["means"]["reranked"]},
            "difference": test["over_first_stage"],
        }
    timed = {name: second.latency.facts[name] for name in ("alone", "reranked", "queries")}
    return {
        "deploy": second.decided.taken,
        "decided": {**facts, "rescored": RESCORED},
        "milliseconds": timed,
        "model": (out / "reranker").as_posix(),
        **measured,
    }


def _data(texts: Texts) -> dict[str, Any]:
    """Counts of what a run worked on, and of how queries were written for it."""
    facts = dict(texts.source.facts)
    if texts.written is None:
        return facts
    written = dict(texts.written.facts)
    counts = written.pop("queries")
    counts["test"] += facts["labelled_test_queries"]
    negatives = {"negatives": dict(texts.negatives.facts)} if texts.negatives else {}
    return {**facts, "queries": counts, "synthesis": written, **negatives}


def _gate(found: Adapted, limit: float) -> dict[str, Any] | None:
    """What became of the sets; None without any."""
    if found.forgetting is None:
        return None
    sets = found.forgetting.facts["sets"]
    change = forgetting.reported(sets)
    return {
        "met": found.final.facts.get("met", True) and forgetting.met(change, limit),
        "limit": limit,
        "measure": ", ".join(dict.fromkeys(report["measure"] for report in sets.values())),
        "change": change,
        "sets": sets,
        "points": read_json(found.final.path / "points.json") or [],
        **({"dims": _gate_by_dim(cut, limit)} if (cut := found.forgetting.facts.get("dims")) else {}),
    }


def _gate_by_dim(changes: Mapping[str, Mapping[str, float]], limit: float) -> dict[str, Any]:
    """By number of dimensions what changes, and whether that is within the limit; it decides nothing."""
    return {dim: {"change": dict(of), "met": forgetting.met(of, limit)} for dim, of in changes.items()}
