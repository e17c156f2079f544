"""Charts are well-formed, say what they show, stay inside their frame, and cannot be broken by what they are given."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.measuring.significance import Difference
from denizen.reports.charts import (
    WIDTH,
    Bar,
    Mark,
    bars,
    curves,
    dumbbells,
    flow,
    histogram,
    lines,
    matrix,
    path,
    scatter,
)

NASTY = "<script>\"&'"
_value = st.floats(-2, 2)


def _bar(name: str, value: float, low: float, high: float, note: str = "") -> Bar:
    return Bar(name, Difference(value, low, high, p=1.0), note=note)


def _parsed(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img" and root.get("aria-label")
    return root


def _numbers(root: ElementTree.Element, tag: str, name: str) -> list[float]:
    return [float(found.get(name) or 0) for found in root.iter(tag)]


def test_a_bar_is_as_long_as_its_share_of_the_longest() -> None:
    root = _parsed(bars([_bar("a", 0.5, 0.4, 1.0), _bar("b", 0.25, 0.2, 0.3)], "two bars"))
    assert _numbers(root, "rect", "width") == pytest.approx([(WIDTH - 4) / 2, (WIDTH - 4) / 4], abs=0.1)


def test_signed_bars_start_at_the_middle() -> None:
    root = _parsed(bars([_bar("a", 0.5, 0.4, 0.5), _bar("b", -0.5, -0.5, -0.4)], "gain and loss", signed=True))
    assert _numbers(root, "rect", "x") == pytest.approx([WIDTH / 2, 2.0], abs=0.1)
    assert _numbers(root, "rect", "width") == pytest.approx([(WIDTH - 4) / 2] * 2, abs=0.1)
    assert [found.get("class") for found in root.iter("g")] == ["good", "bad"]


@given(st.lists(st.tuples(_value, _value, _value), max_size=5), st.booleans())
def test_bars_stay_inside(rows: list[tuple[float, float, float]], signed: bool) -> None:
    root = _parsed(bars([_bar(NASTY, *row, note=NASTY) for row in rows], NASTY, signed=signed))
    for begin, wide in zip(_numbers(root, "rect", "x"), _numbers(root, "rect", "width"), strict=True):
        assert begin >= 0 and begin + wide <= WIDTH + 1


@given(st.lists(st.tuples(_value, _value), min_size=1, max_size=6), st.none() | _value)
def test_points_stay_inside(points: list[tuple[float, float]], limit: float | None) -> None:
    marks = [Mark(x, y, NASTY, "chosen" if at == 0 else "merge") for at, (x, y) in enumerate(points)]
    root = _parsed(scatter(marks, NASTY, NASTY, NASTY, limit))
    assert len(_numbers(root, "circle", "cx")) == len(points)
    assert all(0 <= x <= WIDTH for x in _numbers(root, "circle", "cx"))
    assert all(0 <= y <= 270 for y in _numbers(root, "circle", "cy"))


@given(st.lists(_value, min_size=1, max_size=5))
def test_curves_stay_inside_and_show_every_value(values: list[float]) -> None:
    root = _parsed(lines([(NASTY, "adapted", values), ("other", "other", values)], ["step"] * len(values), NASTY))
    assert len(_numbers(root, "circle", "cx")) == 2 * len(values)
    assert all(0 <= y <= 190 for y in _numbers(root, "circle", "cy"))


def test_a_histogram_counts_shares() -> None:
    root = _parsed(histogram([("right", "adapted", [0.0, 0.1, 1.0, 1.0])], "scores", bins=2))
    titles = [found.text for found in root.iter("title")]
    assert titles == ["right, 0.00 to 0.50: 50.0%", "right, 0.50 to 1.00: 50.0%"]


@given(st.lists(_value, max_size=5), st.lists(_value, max_size=5))
def test_histograms_take_anything(one: list[float], other: list[float]) -> None:
    _parsed(histogram([(NASTY, "base", one), (NASTY, "adapted", other)], NASTY))


@given(st.lists(_value, min_size=1, max_size=20), st.lists(_value, max_size=3))
def test_a_path_stays_inside_and_shows_every_point(values: list[float], levels: list[float]) -> None:
    root = _parsed(path([(NASTY, value) for value in values], [(NASTY, level) for level in levels], NASTY, NASTY))
    assert len(_numbers(root, "circle", "cx")) == len(values)
    assert all(0 <= x <= WIDTH for x in _numbers(root, "circle", "cx"))
    assert all(0 <= y <= 250 for y in _numbers(root, "circle", "cy"))
    # the first of the best stands out, and no other
    classes = [found.get("class") for found in root.iter("g") if found.find("circle") is not None]
    assert classes.count("chosen") == 1 and classes.index("chosen") == values.index(max(values))


def test_a_field_of_a_matrix_is_the_stronger_the_larger_the_change() -> None:
    """Of the largest change the colour has .08 + .62, of half of it .08 + .31; what may be chance is pale."""
    row = [Difference(0.2, 0.1, 0.3, 0.01), Difference(-0.1, -0.2, 0.1, 0.4)]
    root = _parsed(matrix(["expert law"], ["law", "health"], [row], "gains"))
    assert [found.get("fill-opacity") for found in root.iter("rect")] == ["0.70", "0.39"]
    fields = list(root.iter("g"))
    assert [found.get("class") for found in fields] == ["good", "bad"]
    assert [found.find("text").get("class") for found in fields] == [None, "faint"]  # type: ignore[union-attr]


@given(st.integers(1, 5), st.integers(1, 9), _value)
def test_a_matrix_stays_inside(rows: int, columns: int, value: float) -> None:
    found = [[Difference(value, value - 1, value + 1, 1.0)] * columns] * rows
    root = _parsed(matrix([NASTY] * rows, [NASTY] * columns, found, NASTY))
    assert len(_numbers(root, "rect", "x")) == rows * columns
    for begin, wide in zip(_numbers(root, "rect", "x"), _numbers(root, "rect", "width"), strict=True):
        assert begin >= 0 and begin + wide <= WIDTH


def test_curves_go_from_zero_to_one_on_both_axes() -> None:
    """(0, 1) is drawn at the upper left of the axes, (1, 0) at the lower right; names are escaped."""
    drawn = curves([("a < b", "base", [(0.0, 1.0), (1.0, 0.0)])], "threshold", "what it shows")
    _parsed(drawn)
    assert 'd="M46.0 40.0L328.0 196.0"' in drawn
    assert "a &lt; b" in drawn and 'aria-label="what it shows"' in drawn


def test_bands_are_as_thick_as_many_and_columns_as_tall_as_all() -> None:
    """Of 10 that are 190 pixels tall 6 stay first, 3 rise to it, and 1 falls: 171 pixels are first now, 19 are not."""
    moves = {("1", "1"): 6, ("2", "1"): 3, ("1", "2"): 1}
    root = _parsed(flow(moves, ["1", "2", "3"], ("before", "now"), "who moved"))
    assert _numbers(root, "rect", "height") == pytest.approx([7 * 19, 3 * 19, 9 * 19, 19], abs=0.1)
    kinds = [found.get("class") for found in root.iter("g") if list(found.iter())[2].get("class") == "band"]
    assert kinds == ["same", "bad", "good"]
    texts = ["".join(found.itertext()) for found in root.iter("text")]
    assert texts[:4] == ["1 70%", "2 30%", "1 90%", "2 10%"]


_places = st.sampled_from(["1", NASTY, "> 100"])


@given(st.dictionaries(st.tuples(_places, _places), st.integers(0, 9), max_size=9))
def test_a_flow_stays_inside_whatever_moves(moves: dict[tuple[str, ...], int]) -> None:
    root = _parsed(flow(moves, ["1", NASTY, "> 100"], (NASTY, NASTY), NASTY))
    height = float(str(root.get("viewBox")).split()[3])
    ends = zip(_numbers(root, "rect", "y"), _numbers(root, "rect", "height"), strict=True)
    assert all(y >= 0 and y + tall <= height for y, tall in ends)


def test_what_rises_goes_to_the_right() -> None:
    root = _parsed(dumbbells([("a", 0.5, 0.7), (NASTY, 0.6, 0.5)], NASTY))
    places = _numbers(root, "circle", "cx")
    assert places[0] < places[1] and places[2] > places[3] and all(0 <= x <= WIDTH for x in places)
    assert [found.get("class") for found in root.iter("g") if found.get("class") in ("good", "bad")] == ["good", "bad"]
