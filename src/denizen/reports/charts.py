"""Charts as SVG text, for a page that needs no script: sizes in pixels of a phone's width, colours by CSS class.

Every chart says in words what it shows (for screen readers), and every mark has a title with its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from denizen.measuring.significance import Difference

WIDTH = 340
_ROW = 38
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 34
# where a chart with a name above its axis begins
_NAME = 40
# a row of a matrix: its name and its fields
_FIELD = 48

# name, CSS class and values
Series = Sequence[tuple[str, str, Sequence[float]]]


@dataclass(frozen=True)
class Bar:
    """A value with its interval; the kind is its CSS class (empty: good or bad by sign), the note follows the name."""

    name: str
    of: Difference
    kind: str = ""
    note: str = ""


@dataclass(frozen=True)
class Mark:
    """A point with a name; hollow: one that was not to be had."""

    x: float
    y: float
    name: str
    kind: str = "other"
    hollow: bool = False


def bars(rows: Sequence[Bar], alt: str, *, signed: bool = False) -> str:
    """Horizontal bars with intervals, from 0 at the left or, if signed, from a zero line in the middle.

    The name stands above its bar, so that long names fit on a phone.
    """
    ends = [end for row in rows for end in (row.of.value, row.of.low, row.of.high)]
    most = max((abs(end) if signed else end for end in ends), default=0.0) or 1.0
    place = _scale(-most if signed else 0.0, most, 2, WIDTH - 2)
    zero, height, sign = place(0.0), len(rows) * _ROW, "+" if signed else ""
    parts = [f'<path class="axis" d="M{zero:.1f} 0V{height}"/>'] if signed else []
    for y, row in zip(range(0, height, _ROW), rows, strict=True):
        value, low, high = (f"{end:{sign}.3f}" for end in (row.of.value, row.of.low, row.of.high))
        name = row.name if len(row.name) <= 30 else f"{row.name[:29]}…"
        note = f'<tspan class="faint"> {escape(row.note)}</tspan>' if row.note else ""
        begin, end = sorted((zero, place(row.of.value)))
        kind = row.kind or ("good" if row.of.value >= 0 else "bad")
        parts.append(
            f'<g class="{kind}"><title>{escape(row.name)}: {value} [{low}, {high}]</title>'
            f'<text x="2" y="{y + 13}">{escape(name)}{note}</text>'
            f'<text x="{WIDTH - 2}" y="{y + 13}" class="end">{value}</text>'
            f'<rect x="{begin:.1f}" y="{y + 19}" width="{max(end - begin, 1):.1f}" height="9" rx="2"/>'
            f'<path class="whisker" d="M{place(row.of.low):.1f} {y + 23.5}H{place(row.of.high):.1f}"/></g>'
        )
    return _svg(height, alt, parts)


def lines(series: Series, names: Sequence[str], alt: str) -> str:
    """Curves over a few named steps, each with its last value."""
    height = 190
    axis, y_of = _y_axis([value for _, _, values in series for value in values], height, _TOP)
    x_of = _scale(0, max(1, len(names) - 1), _LEFT, WIDTH - 62)
    parts = [axis]
    for step, name in enumerate(names):
        anchor = "middle" if step else "start"
        parts.append(f'<text x="{x_of(step):.1f}" y="{height - 12}" text-anchor="{anchor}">{escape(name)}</text>')
    used: list[float] = []
    for name, kind, values in series:
        places = [(x_of(step), y_of(value)) for step, value in enumerate(values)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        told = (f"{name}, {step}: {value:.3f}" for step, value in zip(names, values, strict=True))
        dots = "".join(_dot(*place, 3.5, text) for place, text in zip(places, told, strict=True))
        x, y = places[-1]
        # names of curves that end close to one another step aside
        while any(abs(y - other) < 13 for other in used):
            y += 13 if y < height / 2 else -13
        used.append(y)
        label = f'<text x="{x + 8:.1f}" y="{y + 4:.1f}">{escape(name)}</text>'
        parts.append(f'<g class="{kind}"><path class="curve" d="M{path}"/>{dots}{label}</g>')
    return _svg(height, alt, parts)


def curves(series: Sequence[tuple[str, str, Sequence[tuple[float, float]]]], x_name: str, alt: str) -> str:
    """Shares over a number, as curves without marks: name, CSS class and points of each; both axes from 0 to 1."""
    height = 230
    x_of, y_of = _scale(0, 1, _LEFT, WIDTH - _RIGHT), _scale(0, 1, height - _BOTTOM, _NAME)
    parts = []
    for value in (0.0, 0.5, 1.0):
        parts.append(f'<path class="axis" d="M{_LEFT} {y_of(value):.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="faint end" x="{_LEFT - 6}" y="{y_of(value) + 4:.1f}">{value:.0%}</text>')
        anchor = "end" if value == 1 else "middle"
        x = x_of(value)
        parts.append(f'<text class="faint" x="{x:.1f}" y="{height - 18}" text-anchor="{anchor}">{value:.1f}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{height - 4}" class="end">{escape(x_name)}</text>')
    for at, (name, kind, points) in enumerate(series):
        path = "L".join(f"{x_of(x):.1f} {y_of(y):.1f}" for x, y in points)
        parts.append(
            f'<g class="{kind}"><title>{escape(name)}</title><path class="curve" d="M{path}"/>'
            f'<rect x="2" y="{at * 15}" width="9" height="9" rx="2"/>'
            f'<text x="15" y="{at * 15 + 9}">{escape(name)}</text></g>'
        )
    return _svg(height, alt, parts)


def scatter(marks: Sequence[Mark], x_name: str, y_name: str, alt: str, limit: float | None = None) -> str:
    """Points; those of kind "chosen" stand out, and the limit that x must not be below is a line."""
    height = 270
    low, high = _range([mark.x for mark in marks] + ([limit] if limit is not None else []))
    x_of = _scale(low, high, _LEFT, WIDTH - _RIGHT)
    axis, y_of = _y_axis([mark.y for mark in marks], height, _NAME)
    parts = [axis]
    for value, anchor in ((low, "middle"), ((low + high) / 2, "middle"), (high, "end")):
        at = f'x="{x_of(value):.1f}" y="{height - 20}"'
        parts.append(f'<text class="faint" {at} text-anchor="{anchor}">{value:+.3f}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{height - 5}" class="end">{escape(x_name)}</text>')
    parts.append(f'<text x="0" y="{_TOP}">{escape(y_name)}</text>')
    if limit is not None:
        parts.append(
            f'<path class="limit" d="M{x_of(limit):.1f} {_NAME - 8}V{height - _BOTTOM}"/>'
            f'<text class="faint" x="{x_of(limit):.1f}" y="{_NAME - 12}" text-anchor="middle">limit</text>'
        )
    taken = [(x_of(mark.x), y_of(mark.y)) for mark in marks]
    for mark in sorted(marks, key=lambda mark: mark.kind == "chosen"):
        x, y, label = x_of(mark.x), y_of(mark.y), ""
        if mark.kind != "merge":
            side, anchor = (-8, ' class="end"') if x > WIDTH / 2 else (8, "")
            row = _free_row(x + side, y, len(mark.name) * (1 if side > 0 else -1), taken, height)
            label = f'<text x="{x + side:.1f}" y="{row:.1f}"{anchor}>{escape(mark.name)}</text>'
        kind = f"{mark.kind} hollow" if mark.hollow else mark.kind
        dot = _dot(x, y, 6 if mark.kind == "chosen" else 4, f"{mark.name}: {mark.x:+.4f}, {mark.y:.3f}")
        parts.append(f'<g class="{kind}">{dot}{label}</g>')
    return _svg(height, alt, parts)


def _free_row(x: float, y: float, letters: int, taken: list[tuple[float, float]], height: int) -> float:
    """Where a label beside a point covers neither other points nor other labels; its own place is then taken, too.

    The number of its letters is negative where it stands to the left of x.
    """
    begin, end = sorted((x, x + letters * 6.2))
    rows = [y + step for step in (15, -9, 28, -22, 41, -35, 54, -48) if _NAME < y + step < height - _BOTTOM - 2]

    def covered(row: float) -> int:
        return sum(begin - 6 < at < end + 6 and row - 15 < level < row + 5 for at, level in taken)

    # of equally good ones the first
    found = min(rows, key=covered, default=y)
    taken += [(begin + part * (end - begin) / 4, found - 4) for part in range(5)]
    return found


def histogram(series: Series, alt: str, bins: int = 24, digits: int = 2) -> str:
    """Distributions over one range, drawn over one another; the range's ends have so many digits behind the point."""
    height = 150
    low, high = _range([value for _, _, values in series for value in values], room=0.0)
    edges = np.linspace(low, high, bins + 1)
    counts = [np.histogram(values, edges)[0] / max(1, len(values)) for _, _, values in series]
    most = max((float(shares.max()) for shares in counts), default=0.0) or 1.0
    wide = (WIDTH - 4) / bins
    parts = []
    for (name, kind, _), shares in zip(series, counts, strict=True):
        rects = "".join(
            f'<rect x="{2 + at * wide:.1f}" y="{height - 24 - tall:.1f}" width="{wide - 1:.1f}" height="{tall:.1f}">'
            f"<title>{escape(name)}, {edges[at]:.{digits}f} to {edges[at + 1]:.{digits}f}: {shares[at]:.1%}</title>"
            "</rect>"
            for at, tall in enumerate((height - 44) * shares / most)
        )
        parts.append(f'<g class="{kind} over">{rects}</g>')
    for at, (name, kind, _) in enumerate(series):
        parts.append(
            f'<g class="{kind}"><rect x="2" y="{at * 15}" width="9" height="9" rx="2"/>'
            f'<text x="15" y="{at * 15 + 9}">{escape(name)}</text></g>'
        )
    for value, anchor, x in ((low, "start", 2), (high, "end", WIDTH - 2)):
        parts.append(f'<text class="faint" x="{x}" y="{height - 8}" text-anchor="{anchor}">{value:,.{digits}f}</text>')
    return _svg(height, alt, parts)


def path(points: Sequence[tuple[str, float]], levels: Sequence[tuple[str, float]], y_name: str, alt: str) -> str:
    """What a search has measured, in its order, the best so far as a line; levels are what it is held against."""
    height = 250
    values = [value for _, value in points]
    axis, y_of = _y_axis([*values, *(value for _, value in levels)], height, _NAME)
    x_of = _scale(1, max(2, len(points)), _LEFT + 6, WIDTH - 90)
    parts = [axis, f'<text x="0" y="{_TOP}">{escape(y_name)}</text>']
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{height - 5}" class="end">merges, in the order of the search</text>')
    used: list[float] = []
    for name, value in levels:
        y = row = y_of(value)
        while any(abs(row - other) < 13 for other in used):
            row += 13 if y < height / 2 else -13
        used.append(row)
        parts.append(
            f'<g><title>{escape(name)}: {value:.4f}</title><path class="limit" d="M{_LEFT} {y:.1f}H{WIDTH - 84}"/>'
            f'<text class="faint" x="{WIDTH - 80}" y="{row + 4:.1f}">{escape(_short(name, 13))}</text></g>'
        )
    best = list(np.maximum.accumulate(values)) if values else []
    steps = [f"{x_of(at):.1f} {y_of(value):.1f}" for at, value in enumerate(best, start=1)]
    if len(steps) > 1:
        parts.append(f'<g class="adapted"><path class="curve" d="M{"L".join(steps)}"/></g>')
    for at, (name, value) in enumerate(points, start=1):
        top = value == max(values) and value not in values[: at - 1]
        dot = _dot(x_of(at), y_of(value), 6 if top else 4, f"{at}. {name}: {value:.4f}")
        parts.append(f'<g class="{"chosen" if top else "other"}">{dot}</g>')
    return _svg(height, alt, parts)


def matrix(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[Difference]], alt: str) -> str:
    """A table of gains and losses as coloured fields: the stronger the colour, the larger; pale letters: maybe chance.

    Args:
        rows: Their names, each above its fields.
        columns: Their names.
        values: Of each row, the difference in each column.
        alt: What it shows.
    """
    wide = WIDTH / max(1, len(columns))
    most = max((abs(found.value) for row in values for found in row), default=0.0) or 1.0
    letters = max(2, int(wide / 7))
    parts = [
        f'<text class="faint" x="{(at + 0.5) * wide:.1f}" y="11" text-anchor="middle">{escape(_short(name, letters))}'
        f"<title>{escape(name)}</title></text>"
        for at, name in enumerate(columns)
    ]
    for number, (row, found_of_row) in enumerate(zip(rows, values, strict=True)):
        y = 18 + number * _FIELD
        parts.append(f'<text x="2" y="{y + 13}">{escape(_short(row, 46))}</text>')
        for at, (column, found) in enumerate(zip(columns, found_of_row, strict=True)):
            kind = "good" if found.value >= 0 else "bad"
            sure = "" if found.low > 0 or found.high < 0 else ' class="faint"'
            parts.append(
                f'<g class="{kind}"><title>{escape(row)} on {escape(column)}: {found.value:+.3f} [{found.low:+.3f}, '
                f'{found.high:+.3f}]</title><rect x="{at * wide + 1:.1f}" y="{y + 18}" width="{wide - 2:.1f}" '
                f'height="24" rx="2" fill-opacity="{0.08 + 0.62 * abs(found.value) / most:.2f}"/>'
                f'<text x="{(at + 0.5) * wide:.1f}" y="{y + 34}" text-anchor="middle"{sure}>{found.value:+.3f}</text>'
                "</g>"
            )
    return _svg(22 + len(rows) * _FIELD, alt, parts)


def flow(moves: Mapping[tuple[str, ...], int], names: Sequence[str], sides: tuple[str, str], alt: str) -> str:
    """How many go from which to which of some ordered places, as bands between two columns.

    Args:
        moves: Place before and place after to how many.
        names: The places, best first; one where nobody is takes no room.
        sides: What the columns are called.
        alt: What it shows.
    """
    total, room, gap, top, thick = max(1, sum(moves.values())), 190, 7, 22, 10
    left, right = 78, WIDTH - 78

    def columns(side: int) -> dict[str, tuple[float, float, int]]:
        counts = {name: sum(n for move, n in moves.items() if move[side] == name) for name in names}
        places, y = {}, float(top)
        for name, count in counts.items():
            if count:
                places[name] = (y, count * room / total, count)
                y += count * room / total + gap
        return places

    before, after = columns(0), columns(1)
    used = {(side, name): y for side, of in enumerate((before, after)) for name, (y, _, _) in of.items()}
    bands = []
    for one in names:
        for other in names:
            if not (count := moves.get((one, other), 0)):
                continue
            tall, y, end = count * room / total, used[0, one], used[1, other]
            used[0, one], used[1, other] = y + tall, end + tall
            better = names.index(one) - names.index(other)
            kind = "good" if better > 0 else "bad" if better < 0 else "same"
            x, to, half = left + thick, right - thick, WIDTH / 2
            bands.append(
                f'<g class="{kind}"><title>{escape(one)} → {escape(other)}: {count:,}</title><path class="band" '
                f'd="M{x} {y:.1f}C{half} {y:.1f} {half} {end:.1f} {to} {end:.1f}v{tall:.1f}'
                f'C{half} {end + tall:.1f} {half} {y + tall:.1f} {x} {y + tall:.1f}z"/></g>'
            )
    parts = [*bands]
    for kind, x, label, anchor, places in (
        ("base", left, left - 6, "end", before),
        ("adapted", right - thick, right + 6, "start", after),
    ):
        for name, (y, tall, count) in places.items():
            middle = y + tall / 2
            parts.append(
                f'<g class="{kind}"><title>{escape(name)}: {count:,}</title>'
                f'<rect x="{x}" y="{y:.1f}" width="{thick}" height="{max(tall, 1):.1f}" rx="2"/>'
                f'<text x="{label}" y="{middle + 4:.1f}" text-anchor="{anchor}">{escape(name)}'
                f'<tspan class="faint"> {count / total:.0%}</tspan></text></g>'
            )
    parts.append(f'<text class="faint" x="0" y="11">{escape(sides[0])}</text>')
    parts.append(f'<text class="faint end" x="{WIDTH}" y="11">{escape(_short(sides[1], 30))}</text>')
    return _svg(top + room + gap * len(names), alt, parts)


def dumbbells(rows: Sequence[tuple[str, float, float]], alt: str) -> str:
    """Two values of each of some names as two points on a line, the second filled; name, first and second value."""
    low, high = _range([value for _, *values in rows for value in values])
    place, height = _scale(low, high, 8, WIDTH - 8), len(rows) * _ROW
    parts = []
    for y, (name, before, after) in zip(range(0, height, _ROW), rows, strict=True):
        kind, x, to = "good" if after >= before else "bad", place(before), place(after)
        parts.append(
            f'<g><text x="2" y="{y + 13}">{escape(_short(name, 30))}</text>'
            f'<text class="end" x="{WIDTH - 2}" y="{y + 13}">{before:.3f} → {after:.3f}</text>'
            f'<path class="axis" d="M2 {y + 25}H{WIDTH - 2}"/></g>'
            f'<g class="{kind}"><path class="move" d="M{x:.1f} {y + 25}H{to:.1f}"/></g>'
            f'<g class="base">{_dot(x, y + 25, 5, f"{name} before: {before:.3f}")}</g>'
            f'<g class="adapted">{_dot(to, y + 25, 6, f"{name} now: {after:.3f}")}</g>'
        )
    return _svg(height, alt, parts)


def _short(name: str, letters: int) -> str:
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def _scale(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    """From values to pixels; what lies outside is drawn at the edge."""
    return lambda value: begin + (end - begin) * (min(max(value, low), high) - low) / (high - low)


def _y_axis(values: Sequence[float], height: int, top: int) -> tuple[str, Callable[[float], float]]:
    """Lines with their values, and where a value is drawn."""
    low, high = _range(values)
    place = _scale(low, high, height - _BOTTOM, top)
    drawn = "".join(
        f'<path class="axis" d="M{_LEFT} {place(value):.1f}H{WIDTH - _RIGHT}"/>'
        f'<text class="faint end" x="{_LEFT - 6}" y="{place(value) + 4:.1f}">{value:.3f}</text>'
        for value in (low, (low + high) / 2, high)
    )
    return drawn, place


def _range(values: Sequence[float], room: float = 0.08) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    wide = (high - low) or max(abs(high), 0.1) * 0.1
    return low - wide * room, high + wide * room if high > low else low + wide


def _dot(x: float, y: float, radius: float, text: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(text)}</title></circle>'


def _svg(height: int, alt: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(alt)}">{"".join(parts)}</svg>'
