"""What may be said of a difference between two systems, by rule and not by how it looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from denizen.answering.measures import ACCURACY, BERT, DECIDING, LIKELIHOOD, ROUGE
from denizen.answering.systems import ORACLE, ROUTED

Verdict = Literal["better", "worse", "mixed", "not shown"]

SIGNIFICANT = 0.05
# of the share of right labels: what a router may cost against one that is always right
ROUTED_WITHIN = 0.02
CALLED = {LIKELIHOOD: "likelihood", ROUGE: "ROUGE-L", BERT: "BERTScore", ACCURACY: "accuracy"}
# with the verb that follows
_SYSTEMS = {
    "multi-task": ("one multi-task model", "is"),
    ORACLE: ("two experts, each row at its own,", "are"),
    ROUTED: ("two experts behind the router", "are"),
}
_OTHERS = {"multi-task": "one multi-task model", "instruct": "the instruct model"}
_DOING = {"answer": "answering", "summarize": "summarizing", "classify": "classifying"}


def verdict(pair: Mapping[str, Any]) -> tuple[Verdict, list[str]]:
    """Whether the first system of a pair is better at a task, and by what.

    Where a judge counts and has compared the two, its preference decides. Else accuracy decides on labels, and on texts
    likelihood, ROUGE-L and BERTScore as far as they are there: one that differs counts with p < .05 divided by how many
    they are (Bonferroni), and where one speaks for the system and one against it, nothing is shown but that.

    Args:
        pair: A pair of the step `task-comparison`.
    """
    if pair.get("preference"):
        found = pair["preference"]
        sign = (found["value"] > 0.5) - (found["value"] < 0.5) if found["p"] < SIGNIFICANT else 0
        return _said({sign}), ["the judge"]
    measures = [name for name in DECIDING[pair["task"]] if pair.get(name)]
    counts = {
        name: (pair[name]["value"] > 0) - (pair[name]["value"] < 0)
        for name in measures
        if pair[name]["p"] * len(measures) < SIGNIFICANT
    }
    return _said(set(counts.values())), [CALLED[name] for name in counts or measures]


def kept_within(difference: Mapping[str, float], rows: int, limit: float = ROUTED_WITHIN) -> str:
    """Whether less than a limit is lost: shown, lost or not shown.

    What is seen in none of n rows may still befall 3/n of all (the rule of three), which a bootstrap does not see.

    Args:
        difference: With its interval.
        rows: How many it was measured on.
        limit: What may be lost.
    """
    if difference["low"] > -limit and 3 / rows <= limit:
        return "shown"
    return "lost" if difference["high"] < -limit else "not shown"


def sentences(facts: Mapping[str, Any]) -> list[str]:
    """What a comparison has shown and what not, most telling first.

    Args:
        facts: Of the step `task-comparison`, without its sentences.
    """
    pairs = {(its["model"], its["against"], its["task"]): its for its in facts["pairs"]}
    found = []
    experts = ROUTED if any(name == ROUTED for name, _, _ in pairs) else ORACLE
    for name, other in ((experts, "multi-task"), (experts, "instruct"), ("multi-task", "instruct")):
        found += [_sentence(its) for (one, two, _), its in pairs.items() if (one, two) == (name, other)]
    if facts["router"]:
        found += _of_router(facts["router"], pairs)
    return [*found, _of_judge(facts["judge"])]


def _sentence(pair: Mapping[str, Any]) -> str:
    said, by = verdict(pair)
    (one, verb), other = _SYSTEMS[pair["model"]], _OTHERS[pair["against"]]
    how = {
        "better": f"better than {other}",
        "worse": f"worse than {other}",
        "mixed": f"better than {other} by one measure and worse by another",
        "not shown": f"not shown to be better than {other}",
    }[said]
    return f"At {_DOING[pair['task']]}, {one} {verb} {how} (by {', '.join(by)}; {pair['rows']:,} rows)."


def _of_router(router: Mapping[str, Any], pairs: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> list[str]:
    right = router["accuracy"]
    found = [
        f"The router names the expert that a row belongs to in {right['value']:.1%} "
        f"[{right['low']:.1%}, {right['high']:.1%}] of {right['count']:,} rows."
    ]
    if of_labels := pairs.get((ROUTED, ORACLE, "classify")):
        cost, limit = of_labels[ACCURACY], f"{100 * ROUTED_WITHIN:.0f} points"
        said = {
            "shown": f"it keeps within {limit}",
            "lost": f"it loses more than {limit}",
            "not shown": f"that it keeps within {limit} is not shown",
        }[kept_within(cost, of_labels["rows"])]
        found.append(
            f"Against a router that is always right it has {100 * cost['value']:+.1f} points of accuracy at "
            f"classifying; {said}."
        )
    return found


def _of_judge(judge: Mapping[str, Any] | None) -> str:
    by = "likelihood, ROUGE-L and, where an encoder was given, BERTScore decide on texts"
    if judge is None:
        return f"No judge was asked: {by}."
    if not judge["passed"]:
        return f"The judge does not count ({judge['why']}): {by}."
    return f"The judge counts: {judge['why']}."


def _said(signs: set[int]) -> Verdict:
    signs = signs - {0}
    if len(signs) > 1:
        return "mixed"
    return "better" if signs == {1} else "worse" if signs == {-1} else "not shown"
