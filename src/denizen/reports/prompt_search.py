"""What `denizen prompt-search` found, as people read it."""

from __future__ import annotations

from typing import Any

from denizen.prompting.scoring import MEASURE
from denizen.reports.results import Table, change

_SHOWN = 10


def tried_lines(found: dict[str, Any]) -> Table:
    """The best of the instructions that were scored on all queries that decide, the model's own among them."""
    search = found["search"]
    whole = sorted((each for each in search["tried"] if each["scored_whole"]), key=lambda each: -each["score"])
    rows = [[f"{each['score']:.3f}", each["sentence"]] for each in whole[:_SHOWN]]
    own = [[f"{each['score']:.3f}", each["sentence"]] for each in whole if each["sentence"] == search["own"]]
    return [[MEASURE, "instruction, on the queries of the search"], *rows, *(row for row in own if row not in rows)]


def prompt_search_lines(found: dict[str, Any]) -> list[str]:
    """What was taken and why, what the search cost, and the test."""
    search, test = found["search"], found["test"]
    taken = f"taken: {search['taken']!r}" if search["taken"] else f"the model keeps its own: {search['own']!r}"
    useless = sum(count for kind, count in search["failures"].items() if kind != "budget")
    failed = f", {useless:,} of no use" if useless else ""
    lines = [
        f"{taken} ({search['why']})",
        f"{search['sentences']} instructions, {search['evaluations']:,} evaluations and {search['calls']:,} LLM calls"
        f"{failed}; ended by {search['ended']}",
    ]
    before = test["means"]["before"][MEASURE]
    if not search["taken"]:
        return [*lines, f"test: {before:.3f} {MEASURE} on {test['queries']:,} queries"]
    told = change(test["differences"]["after"][MEASURE])
    return [*lines, f"test: {before:.3f} -> {test['means']['after'][MEASURE]:.3f} {MEASURE}, {told}"]
