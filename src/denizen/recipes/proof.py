"""The end of a run: the gate, the baselines, and what all of them get on queries that decided nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.tables import read_table
from denizen.measuring.retrieval_sets import ROLES, Parts, RetrievalSet
from denizen.recipes import baselines
from denizen.recipes.forgetting import MEASURE, Choice, Dev, Gate
from denizen.recipes.rounds import Rounds

Related = Callable[[list[str]], dict[str, frozenset[str]]]


@dataclass(frozen=True)
class Learned:
    """What the rounds have left behind.

    Attributes:
        students: Base and all students.
        best: The round that dev has chosen.
        corpus: A `corpus` table.
        queries: A `queries` table.
        pairs: Qrels of what was trained on.
        dev: Qrels of the dev queries.
        digests: Of all tables.
        related: For query ids, the passages that must not be their negatives.
        judged: Query and passage of all that a teacher has graded; None: relevance comes from labels.
    """

    students: Sequence[Path]
    best: int
    corpus: pa.Table
    queries: pa.Table
    pairs: pa.Table
    dev: pa.Table
    digests: Mapping[str, str]
    related: Related
    judged: frozenset[tuple[str, str]] | None = None


def choose(rounds: Rounds, learned: Learned, sets: Sequence[Parts]) -> Choice:
    """The model that the run ends with: the best student, a merge of it with the base, or the base.

    Args:
        rounds: The run.
        learned: What the rounds have left behind.
        sets: Where it must not get worse.
    """
    known = set(learned.dev["query_id"].to_pylist())
    rows = [row for row in learned.queries.to_pylist() if row["split"] == "dev" and row["query_id"] in known]
    queries = {row["query_id"]: row["text"] for row in rows}
    runs = []
    for number in range(len(learned.students)):
        run = read_table(rounds.out / f"round-{number}/run/run.parquet", "run")
        runs.append(run.filter(pa.array([name in queries for name in run["query_id"].to_pylist()])))
    dev = RetrievalSet("dev", "domain", learned.corpus, queries, learned.dev).narrowed(runs)
    return Gate(rounds, sets).choose(learned.best, learned.students, Dev(dev, learned.judged), learned.digests)


def systems(rounds: Rounds, learned: Learned, choice: Choice, *, with_baselines: bool = True) -> dict[str, Path]:
    """The models to measure: base, baselines where wanted, the best student where it was not taken, adapted."""
    base, student = learned.students[0], learned.students[learned.best]
    found = {"base": base}
    if rounds.config.baselines and with_baselines:
        tables = {"corpus": learned.corpus, "queries": learned.queries, "qrels": learned.pairs}
        found["plain"] = baselines.plain(rounds, base, tables, learned.digests, learned.related)
        halfway = baselines.average(rounds, base, student) if learned.best else None
        if halfway is not None:
            found["average"] = halfway
    if choice.folder != student:
        found["ungated"] = student
    return {**found, "adapted": choice.folder}


def forgetting(
    rounds: Rounds, learned: Learned, choice: Choice, sets: Sequence[Parts], measured: Mapping[str, Path]
) -> dict[str, Any]:
    """What became of the sets.

    Args:
        rounds: The run.
        learned: What the rounds have left behind.
        choice: The model that the run ends with.
        sets: Where it must not get worse.
        measured: The systems of the test.

    Returns:
        The parts "chosen" and "gate" of metrics.json; the gate is None without sets.
    """
    if not sets:
        return {"chosen": choice.name, "gate": None}
    compared = {name: measured[name] for name in ("base", "ungated", "adapted") if name in measured}
    found = Gate(rounds, sets).test(learned.best, compared)
    limit = rounds.config.forgetting_limit
    changes = mean_changes(found, "adapted")
    kept = all(change >= -limit for change in changes.values())
    gate = {
        "met": choice.met and kept,
        "limit": limit,
        "measure": MEASURE,
        "change": changes,
        "sets": found,
        "points": choice.points,
    }
    return {"chosen": choice.name, "gate": gate}


def mean_changes(sets: Mapping[str, Any], system: str) -> dict[str, float]:
    """Role to the mean change of a system over its sets."""
    changes = {}
    for role in ROLES:
        of_role = [found["differences"][system][MEASURE]["value"] for found in sets.values() if found["role"] == role]
        if of_role:
            changes[role] = sum(of_role) / len(of_role)
    return changes
