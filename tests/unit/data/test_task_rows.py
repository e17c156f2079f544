"""Rows of tasks and pairs of answers, through their tables and back."""

from __future__ import annotations

from denizen.data.tables import SCHEMAS
from denizen.data.task_rows import (
    EXPERT_OF,
    EXPERTS,
    TASKS,
    Message,
    Preference,
    TaskRow,
    preference_table,
    preferences,
    task_rows,
    task_table,
)

ASKED = (Message("system", "Be brief."), Message("user", "Who may exit?"))
ROW = TaskRow("r1", "answer", "train", "d1", "written", ASKED, "Tenants.", "Tenants may exit.")
LABEL = TaskRow("r2", "classify", "test", None, "given", ASKED[1:], "tenancy")


def test_rows_come_back_as_they_were() -> None:
    table = task_table([ROW, LABEL])
    assert table.schema == SCHEMAS["task_rows"]
    assert task_rows(table) == [ROW, LABEL] and task_rows(table, "test", "dev") == [LABEL]


def test_pairs_come_back_as_they_were() -> None:
    pair = Preference("p1", "answer", "dev", "d1", "written", ASKED, "Tenants.", "Owners.", "wrong passage")
    assert preferences(preference_table([pair])) == [pair] and preferences(preference_table([pair]), "train") == []


def test_every_task_has_its_expert() -> None:
    assert tuple(EXPERT_OF) == TASKS and set(EXPERT_OF.values()) == set(EXPERTS)
    assert (ROW.expert, LABEL.expert) == ("answering", "structured")
