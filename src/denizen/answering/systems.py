"""The systems that are compared: models that have answered, and two experts put together row by row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from denizen.answering.answers import TaskAnswer, answers_of
from denizen.data.artifacts import Evaluation
from denizen.data.task_rows import EXPERTS, TaskRow
from denizen.engine.errors import InputError
from denizen.engine.files import read_json_lines

ORACLE, ROUTED = "experts-oracle", "experts-routed"
# a system and what it is held against, as far as both have answered
PAIRS = (
    ("pretrained", "instruct"),
    ("pretrained-instruct", "instruct"),
    ("residual", "instruct"),
    ("multi-task", "instruct"),
    (ORACLE, "instruct"),
    (ROUTED, "instruct"),
    ("residual", "pretrained-instruct"),
    ("multi-task", "residual"),
    (ORACLE, "residual"),
    (ORACLE, "multi-task"),
    (ROUTED, "multi-task"),
    (ROUTED, ORACLE),
)
_ROUTES = "routes.jsonl"


def systems_of(
    rows: Sequence[TaskRow], answers: Mapping[str, Evaluation], routes: Evaluation | None = None
) -> dict[str, list[TaskAnswer]]:
    """System to its answers, in the order of the rows.

    Of two experts each row is answered by the one that it belongs to, or by the one that a router names; both have
    answered all rows, so that nothing is asked anew.

    Args:
        rows: Which rows.
        answers: System to its step `answers`.
        routes: The step `router`.

    Raises:
        InputError: When a system has not answered a row, or the router has not seen one.
    """
    found = {name: answers_of(its) for name, its in answers.items()}
    for name, its in found.items():
        _check_rows(rows, its, f"{name} has no answer to", "let it answer the same rows as the others")
    if all(name in found for name in EXPERTS):
        experts = {name: found.pop(name) for name in EXPERTS}
        found[ORACLE] = {row.row_id: experts[row.expert][row.row_id] for row in rows}
        if routes is not None:
            named = routed(routes)
            _check_rows(rows, named, "the router has not seen", "route the same rows as are answered")
            found[ROUTED] = {row.row_id: experts[named[row.row_id]][row.row_id] for row in rows}
    return {name: [its[row.row_id] for row in rows] for name, its in found.items()}


def _check_rows(rows: Sequence[TaskRow], known: Collection[str], what: str, remedy: str) -> None:
    if missing := [row.row_id for row in rows if row.row_id not in known]:
        raise InputError(f"{what} {len(missing):,} of {len(rows):,} rows, such as {missing[0]}; {remedy}")


def pairs_of(systems: Mapping[str, object]) -> list[tuple[str, str]]:
    """The pairs that are compared, of which both are there."""
    return [(name, other) for name, other in PAIRS if name in systems and other in systems]


def routed(routes: Evaluation) -> dict[str, str]:
    """Row id to the expert that the chosen router names."""
    return {row["row_id"]: row["chosen"] for row in read_json_lines(routes.path / _ROUTES)}


def document_groups(rows: Sequence[TaskRow]) -> list[int]:
    """A number for each row, the same for those of one document; a row of none stands alone."""
    number = dict[tuple[str, str], int]()
    keys = (("document", row.document) if row.document is not None else ("row", row.row_id) for row in rows)
    return [number.setdefault(key, len(number)) for key in keys]


def asked_text(row: TaskRow) -> str:
    """What a row asks as one text, for people and judges: a single turn as it is, several with who speaks."""
    if len(row.messages) == 1:
        return row.messages[0].content
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in row.messages)
