"""Numbers as Excel shows them; expected texts are what its own help page on number formats says."""

from __future__ import annotations

import datetime

import pytest

from denizen.ingest.shown_numbers import shown_text, shown_value


@pytest.mark.parametrize(
    ("value", "number_format", "expected"),
    [
        (0.1 + 0.2, "General", "0.3"),
        (1234.0, "", "1234"),
        (2**60, "0.00", str(2**60)),
        (0.25, "0%", "25%"),
        (0.00285, "0.00%", "0.29%"),
        (1234.5, "#,##0.00", "1,234.50"),
        (-1234.5, '"$"#,##0', "-$1,235"),
        (-0.001, "0.0", "0.0"),
        (42, "00000", "00042"),
        (5, "[$€-407]0.00", "€5.00"),
        (5.5, '0.0" kg"', "5.5 kg"),
        (5, "0.00_);(0.00)", "5.00"),
        (1.5, "# ?/?", "1.5"),
        (150000, "0.0E+00", "150000"),
        (150000, "#,##0,", "150000"),
        (True, "0", "TRUE"),
        ("a\n b", "0", "a b"),
        (None, "0", ""),
        (datetime.datetime(2025, 3, 1), "dd.mm.yy", "2025-03-01"),
        (datetime.datetime(2025, 3, 1, 13, 5), "", "2025-03-01 13:05:00"),
        (datetime.time(13, 5), "", "13:05:00"),
        (float("inf"), "0", "inf"),
    ],
)
def test_values(value, number_format, expected):
    assert shown_value(value, number_format) == expected


@pytest.mark.parametrize(
    ("text", "number_format", "expected"),
    [
        ("45717", "dd.mm.yyyy", "2025-03-01"),
        ("0.5", "0%", "50%"),
        ("a  b", "0%", "a b"),
        ("1e400", "0", "inf"),
        ("", "", ""),
    ],
)
def test_numbers_that_are_kept_as_text(text, number_format, expected):
    assert shown_text(text, number_format) == expected
