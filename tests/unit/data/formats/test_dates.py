"""Which day a row says it is of."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.formats.dates import date_in, day_of


@pytest.mark.parametrize(
    ("text", "day"),
    {
        "2024-05-01": date(2024, 5, 1),
        "20240501": date(2024, 5, 1),
        "2024-05": date(2024, 5, 1),
        "2024": date(2024, 1, 1),
        "2024-05-01 10:00:00": date(2024, 5, 1),
        # half past one in Tokyo is still the day before in UTC
        "2024-05-01T01:30:00+09:00": date(2024, 4, 30),
        "Tue, 05 Mar 2024 23:30:00 -0500": date(2024, 3, 6),
        # 19,844 days after 1970-01-01 is 2024-05-01
        "1714521600": date(2024, 5, 1),
        "1714521600000": date(2024, 5, 1),
    }.items(),
)
def test_dates_that_say_one_day_are_read(text: str, day: date) -> None:
    assert day_of(text) == day


@pytest.mark.parametrize("text", ["", "soon", "01/02/2024", "1/2/2024 10:00", "2024-02-31", "7", "9" * 16])
def test_dates_that_say_none_or_several_are_not_guessed(text: str) -> None:
    assert day_of(text) is None


@given(st.text())
def test_no_text_breaks_the_reading(text: str) -> None:
    found = day_of(text)
    assert found is None or isinstance(found, date)


@given(st.dates(min_value=date(1, 1, 1)))
def test_every_day_is_read_as_it_is_written(day: date) -> None:
    assert day_of(day.isoformat()) == day_of(f"{day:%Y-%m-%d}".zfill(10)) == day


def test_a_date_stands_in_a_column_or_in_the_metadata_whatever_its_spelling() -> None:
    assert date_in({"text": "x", "Filing Date": "2024-01-01"}) == "2024-01-01"
    assert date_in({"metadata": {"period": "2023-12-31", "filed": "2024-02-01", "date": "2020"}}) == "2024-02-01"
    assert date_in({"metadata": '{"date": 20240301}'}) == "20240301"
    # an empty one is passed over, and what is no date's name says nothing
    assert date_in({"filed": " ", "date": "2024-04-01", "update": "x"}) == "2024-04-01"
    for row in ({}, {"metadata": "no JSON"}, {"metadata": "[1]"}, {"metadata": None, "date": None}, {"date": ["2024"]}):
        assert date_in(row) == ""


def test_a_missing_date_is_none_and_a_year_that_a_data_frame_made_a_fraction_is_one() -> None:
    for missing in (None, float("nan"), "", [], True):
        assert date_in({"published": missing, "year": 2024.0}) == "2024"
        assert date_in({"date": missing}) == ""
