"""A sheet on which people say which of two systems' answers is better, without knowing whose answer is whose.

Which side is whose is drawn for each row, and stands in a key beside the run: neither the sheet nor the order of its
rows tells.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from denizen.answering.systems import asked_text
from denizen.data.formats.grading_sheet import LEAVE_EMPTY, SheetKind, read_sheet, row_key, write_keyed
from denizen.data.task_rows import TaskRow
from denizen.engine.errors import InputError
from denizen.engine.files import read_json, write_json
from denizen.measuring.agreement import compare, rate

PREFERRING = SheetKind(
    {"row": 16, "asked": 60, "left": 60, "right": 60, "grade": 8},
    {
        1: "left: the left answer is clearly better",
        2: "rather left: the left answer is a little better",
        3: "rather right: the right answer is a little better",
        4: "right: the right answer is clearly better",
    },
    (
        "Read what was asked and both answers, and choose which answer you would rather be given.",
        "The better answer is right and does what was asked. How long it is and how well it is put comes after that.",
        LEAVE_EMPTY,
    ),
)
# from which grade on the right answer is the better one
_RIGHT = 3
_CLEARLY = (1, 4)


def write_blind_sheet(
    path: Path,
    key: Path,
    rows: Sequence[TaskRow],
    one: Mapping[str, str],
    other: Mapping[str, str],
    names: tuple[str, str],
    seed: int,
) -> dict[str, Any]:
    """Writes the sheet (.xlsx or .csv) and its key (.json); rows to which both say the same are left out.

    Args:
        path: The sheet.
        key: What says whose answer stands where; whoever fills in the sheet must not see it.
        rows: What was asked.
        one: Row id to the answer of a system.
        other: The same of another one.
        names: What the two are called.
        seed: Of the sides.

    Returns:
        How many rows are on the sheet, and how many were left out.

    Raises:
        InputError: When an answer is missing, both systems say the same to all, or a file cannot be written.
    """
    if missing := [row.row_id for row in rows if row.row_id not in one or row.row_id not in other]:
        raise InputError(f"{len(missing):,} rows have no answer of both systems, such as {missing[0]}; leave them out")
    apart = [row for row in rows if one[row.row_id].split() != other[row.row_id].split()]
    if not apart:
        raise InputError(
            f"{names[0]} and {names[1]} say the same to all {len(rows):,} rows; there is nothing to prefer"
        )
    first_is_left = np.random.default_rng(seed).integers(0, 2, len(apart)).astype(bool).tolist()
    keyed, sides = {}, {}
    for row, is_left in zip(apart, first_is_left, strict=True):
        answers = (one[row.row_id], other[row.row_id])
        left, right = answers if is_left else answers[::-1]
        # so that no key ever fits a sheet that was written with other sides or other answers
        name = row_key(row.row_id, "\0".join((*names, left, right)))
        keyed[name] = {"asked": asked_text(row), "left": left, "right": right}
        sides[name] = {"row_id": row.row_id, "left": names[0] if is_left else names[1]}
    write_keyed(path, keyed, PREFERRING)
    write_json(key, {"systems": list(names), "rows": sides})
    return {"rows": len(apart), "left_out": len(rows) - len(apart)}


def read_blind_sheets(sheets: Sequence[Path], key: Path) -> dict[str, Any]:
    """What people prefer, by a sheet each.

    Args:
        sheets: Sheets as people have filled them in, all of one key.
        key: What `write_blind_sheet` has written beside the sheet.

    Returns:
        `systems`; for each sheet how many rows it has filled in (`rows`), left empty (`empty`), and does not share with
        the key (`unknown`), how often each side was chosen (`left`), how often the first system was preferred
        (`preferred`) and was clearly so (`clearly`), each a share with its Wilson interval, and the rows that cannot be
        read (`problems`); for each two sheets the kappa of who was preferred (`agreement`).

    Raises:
        InputError: When a sheet or the key cannot be read, or a sheet has no row of the key filled in.
    """
    known = read_json(key)
    if not isinstance(known, dict) or "rows" not in known:
        raise InputError(f"{key} is no key of a blind sheet; give the file that was written beside the sheet")
    preferred = dict[str, dict[str, int]]()
    told = []
    for path in sheets:
        preferred[path.as_posix()], figures = _read(path, key, known)
        told.append(figures)
    agreement = []
    for one, other in itertools.combinations(preferred, 2):
        if both := [name for name in preferred[one] if name in preferred[other]]:
            said = [[preferred[of][name] for name in both] for of in (one, other)]
            agreement.append({"sheets": [Path(one).name, Path(other).name], **compare(*said)})
    return {"systems": known["systems"], "sheets": told, "agreement": agreement}


def _read(path: Path, key: Path, known: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, Any]]:
    """Row key to whether the first system was preferred, and the figures of a sheet."""
    sheet = read_sheet(path)
    grades = {name: grade for name, grade in sheet.grades.items() if name in known["rows"]}
    if not grades:
        raise InputError(f"{path} has no row of {key.name} filled in ({sheet.empty} rows are empty)")
    is_right = np.array([grade >= _RIGHT for grade in grades.values()])
    first_is_left = np.array([known["rows"][name]["left"] == known["systems"][0] for name in grades])
    first, clear = is_right != first_is_left, np.array([grade in _CLEARLY for grade in grades.values()])
    counts = {"rows": len(grades), "empty": sheet.empty, "unknown": len(sheet.grades) - len(grades)}
    shares = {"preferred": _share(first), "clearly": _share(first & clear), "left": _share(~is_right)}
    problems = [asdict(problem) for problem in sheet.problems]
    return dict(zip(grades, first.astype(int).tolist(), strict=True)), {
        "sheet": path.name,
        **counts,
        **shares,
        "problems": problems,
    }


def _share(of: np.ndarray[Any, Any]) -> dict[str, float] | None:
    found = rate(of)
    return asdict(found) if found else None
