"""A sheet as people get it and give it back: no side tells whose answer it is, and the key makes sense of it."""

from __future__ import annotations

import json
from pathlib import Path

import openpyxl
import pytest

from denizen.answering.blind_sheet import PREFERRING, read_blind_sheets, write_blind_sheet
from denizen.engine.errors import InputError

from .rows import row

ROWS = [row(f"r{at}", asked=f"Question {at}?") for at in range(20)]
ONE = {each.row_id: f"good {each.row_id}" for each in ROWS}
OTHER = {each.row_id: f"bad {each.row_id}" for each in ROWS} | {"r19": "good  r19"}
NAMES = ("experts", "instruct")


def written(folder: Path, seed: int = 1, suffix: str = "xlsx") -> tuple[Path, Path]:
    sheet, key = folder / f"sheet.{suffix}", folder / "key.json"
    assert write_blind_sheet(sheet, key, ROWS, ONE, OTHER, NAMES, seed) == {"rows": 19, "left_out": 1}
    return sheet, key


def filled(sheet: Path, name: str, choose: dict[str, int], best: str = "good") -> Path:
    """The sheet with a grade by row: 1 or 4 for the answer that begins with a word, unless something else is said."""
    book = openpyxl.load_workbook(sheet)
    columns = list(PREFERRING.widths)
    for cells in book["grades"].iter_rows(min_row=2):
        key, left = cells[0].value, cells[columns.index("left")].value
        asked = cells[columns.index("asked")].value
        grade = choose.get(asked.split()[1].rstrip("?"), 1 if left.startswith(best) else 4)
        cells[columns.index("grade")].value = grade or None
        assert key
    book.save(sheet.with_name(name))
    return sheet.with_name(name)


def test_neither_the_sheet_nor_its_order_tells_whose_answer_it_is(tmp_path: Path) -> None:
    sheet, key = written(tmp_path)
    rows = list(openpyxl.load_workbook(sheet)["grades"].values)
    assert list(rows[0]) == list(PREFERRING.widths)
    text = "".join(map(str, (cell for line in rows for cell in line)))
    assert not any(name in text for name in NAMES) and len(rows) == 20
    left = [line[2].startswith("good") for line in rows[1:]]
    assert 4 <= sum(left) <= 15
    known = json.loads(key.read_text())
    assert known["systems"] == list(NAMES) and set(known["rows"]) == {line[0] for line in rows[1:]}
    for line in rows[1:]:
        assert (known["rows"][line[0]]["left"] == "experts") == line[2].startswith("good")


def test_preferences_and_agreement_by_hand(tmp_path: Path) -> None:
    """The first sheet has 17 rows for the first system, one against and one empty; the second one more against."""
    sheet, key = written(tmp_path)
    known = json.loads(key.read_text())["rows"]
    sides = {its["row_id"][1:]: its["left"] == "experts" for its in known.values()}
    against = {at: 3 if sides[at] else 2 for at in ("0", "1")}
    one = filled(sheet, "one.xlsx", {"0": against["0"], "2": 0})
    other = filled(sheet, "other.xlsx", against)
    found = read_blind_sheets([one, other], key)
    first, second = found["sheets"]
    assert (first["rows"], first["empty"], first["unknown"], first["problems"]) == (18, 1, 0, [])
    assert first["preferred"]["value"] == pytest.approx(17 / 18) and first["preferred"]["count"] == 18
    assert first["clearly"]["value"] == pytest.approx(17 / 18) and second["preferred"]["value"] == pytest.approx(
        17 / 19
    )
    (agreement,) = found["agreement"]
    # 18 rows in both: 16 yes and yes, 1 no and no, 1 yes and no; by chance (17 * 16 + 1 * 2) / 18^2
    chance = (17 * 16 + 1 * 2) / 18**2
    assert agreement["kappa"]["value"] == pytest.approx((17 / 18 - chance) / (1 - chance))
    assert agreement["sheets"] == ["one.xlsx", "other.xlsx"]


def test_who_always_takes_the_left_side_is_seen(tmp_path: Path) -> None:
    sheet, key = written(tmp_path)
    always = filled(sheet, "left.xlsx", {str(at): 1 for at in range(19)})
    (found,) = read_blind_sheets([always], key)["sheets"]
    assert found["left"]["value"] == 1 and 0.1 < found["preferred"]["value"] < 0.9


def test_a_key_of_other_sides_fits_no_sheet(tmp_path: Path) -> None:
    sheet, _ = written(tmp_path)
    done = filled(sheet, "done.xlsx", {})
    (tmp_path / "other").mkdir()
    _, key = written(tmp_path / "other", seed=2)
    found = read_blind_sheets([done], key)["sheets"][0]
    # a row whose sides are the same by chance is read, and rightly so
    assert found["unknown"] > 0 and found["preferred"]["value"] == 1


def test_what_cannot_be_written_or_read_is_said(tmp_path: Path) -> None:
    sheet, key = written(tmp_path)
    for call, why in (
        (lambda: write_blind_sheet(sheet, key, ROWS, ONE, {}, NAMES, 1), "20 rows have no answer of both systems"),
        (lambda: write_blind_sheet(sheet, key, ROWS, ONE, ONE, NAMES, 1), "say the same to all 20 rows"),
        (lambda: read_blind_sheets([sheet], key), r"has no row of key.json filled in \(19 rows are empty\)"),
        (lambda: read_blind_sheets([sheet], sheet), "is no key of a blind sheet"),
    ):
        with pytest.raises(InputError, match=why):
            call()
    done = filled(sheet, "done.xlsx", {})
    with pytest.raises(InputError, match=r"holds 19 grade\(s\), which would be lost"):
        write_blind_sheet(done, key, ROWS, ONE, OTHER, NAMES, 1)
    csv, _ = written(tmp_path, suffix="csv")
    assert csv.read_text(encoding="utf-8-sig").startswith("row,asked,left,right,grade\n")
