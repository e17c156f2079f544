"""Charts as SVG text, for a page that needs no script: sizes in pixels of a phone's width, colours by CSS class.

Every chart says in words what it shows (for screen readers), and every mark has a title with its figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 340
_ROW = 38
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 34
# where a chart with a name above its axis begins
_NAME = 40


@dataclass(frozen=True)
class Bar:
    """A value with its interval.

    Attributes:
        name: What it belongs to.
        value: The value.
        low: Lower end of its interval.
        high: Upper end.
        kind: CSS class.
        note: What stands behind the name, as the number of queries.
    """

    name: str
    value: float
    low: float
    high: float
    kind: str = "other"
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
    """Horizontal bars with intervals; the name stands above its bar, so that long names fit on a phone.

    Args:
        rows: From top to bottom.
        alt: What the chart shows.
        signed: Draw from a zero line in the middle; else from 0 at the left.
    """
    ends = [end for row in rows for end in (row.value, row.low, row.high)]
    most = max([abs(end) for end in ends] if signed else ends, default=0.0) or 1.0
    left = -most if signed else 0.0

    def place(value: float) -> float:
        return 2 + (WIDTH - 4) * (min(max(value, left), most) - left) / (most - left)

    parts = []
    zero = place(0.0)
    for at, row in enumerate(rows):
        y = at * _ROW
        shown = f"{row.value:+.3f}" if signed else f"{row.value:.3f}"
        interval = f"[{row.low:+.3f}, {row.high:+.3f}]" if signed else f"[{row.low:.3f}, {row.high:.3f}]"
        note = f'<tspan class="faint"> {escape(row.note)}</tspan>' if row.note else ""
        begin, end = sorted((zero, place(row.value)))
        parts.append(
            f'<g class="{row.kind}"><title>{escape(row.name)}: {shown} {interval}</title>'
            f'<text x="2" y="{y + 13}">{escape(_short(row.name, 30))}{note}</text>'
            f'<text x="{WIDTH - 2}" y="{y + 13}" class="end">{shown}</text>'
            f'<rect x="{begin:.1f}" y="{y + 19}" width="{max(end - begin, 1):.1f}" height="9" rx="2"/>'
            f'<path class="whisker" d="M{place(row.low):.1f} {y + 23.5}H{place(row.high):.1f}"/></g>'
        )
    height = len(rows) * _ROW
    line = f'<path class="axis" d="M{zero:.1f} 0V{height}"/>' if signed else ""
    return _svg(height, alt, line + "".join(parts))


def lines(series: Sequence[tuple[str, str, Sequence[float]]], names: Sequence[str], alt: str) -> str:
    """Curves over a few steps, each with its last value.

    Args:
        series: Name, CSS class and values of each curve.
        names: Of the steps.
        alt: What the chart shows.
    """
    height = 190
    low, high = _range([value for _, _, values in series for value in values])
    steps = max(1, len(names) - 1)

    def place(step: int, value: float) -> tuple[float, float]:
        x = _LEFT + (WIDTH - _LEFT - 62) * step / steps
        return x, _TOP + (height - _TOP - _BOTTOM) * (high - value) / (high - low)

    parts = [_y_axis(low, high, height)]
    for step, name in enumerate(names):
        anchor = "middle" if step else "start"
        parts.append(
            f'<text x="{place(step, low)[0]:.1f}" y="{height - 12}" text-anchor="{anchor}">{escape(name)}</text>'
        )
    used: list[float] = []
    for name, kind, values in series:
        places = [place(step, value) for step, value in enumerate(values)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
            f"<title>{escape(name)}, {escape(step)}: {value:.3f}</title></circle>"
            for (x, y), value, step in zip(places, values, names, strict=True)
        )
        # names of curves that end close to one another step aside
        y = places[-1][1]
        while any(abs(y - other) < 13 for other in used):
            y += 13 if y < height / 2 else -13
        used.append(y)
        label = f'<text x="{places[-1][0] + 8:.1f}" y="{y + 4:.1f}">{escape(name)}</text>'
        parts.append(f'<g class="{kind}"><path class="curve" d="M{path}"/>{dots}{label}</g>')
    return _svg(height, alt, "".join(parts))


def scatter(marks: Sequence[Mark], x_name: str, y_name: str, alt: str, limit: float | None = None) -> str:
    """Points; those of kind "chosen" stand out, and a limit on x is a line.

    Args:
        marks: The points.
        x_name: What x is.
        y_name: What y is.
        alt: What the chart shows.
        limit: Where x must not be below.
    """
    height = 270
    low_x, high_x = _range([mark.x for mark in marks] + ([limit] if limit is not None else []))
    low_y, high_y = _range([mark.y for mark in marks])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (WIDTH - _LEFT - _RIGHT) * (x - low_x) / (high_x - low_x),
            _NAME + (height - _NAME - _BOTTOM) * (high_y - y) / (high_y - low_y),
        )

    parts = [_y_axis(low_y, high_y, height, _NAME)]
    for value in (low_x, (low_x + high_x) / 2, high_x):
        x = place(value, low_y)[0]
        anchor = "end" if value == high_x else "middle"
        parts.append(f'<text class="faint" x="{x:.1f}" y="{height - 20}" text-anchor="{anchor}">{value:+.3f}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{height - 5}" class="end">{escape(x_name)}</text>')
    parts.append(f'<text x="0" y="{_TOP}">{escape(y_name)}</text>')
    if limit is not None:
        x = place(limit, low_y)[0]
        parts.append(
            f'<path class="limit" d="M{x:.1f} {_NAME - 8}V{height - _BOTTOM}"/>'
            f'<text class="faint" x="{x:.1f}" y="{_NAME - 12}" text-anchor="middle">limit</text>'
        )
    taken: list[tuple[float, float]] = [place(mark.x, mark.y) for mark in marks]
    for mark in sorted(marks, key=lambda mark: mark.kind == "chosen"):
        x, y = place(mark.x, mark.y)
        label = ""
        if mark.kind != "merge":
            anchor = ' class="end"' if x > WIDTH / 2 else ""
            side = -8 if anchor else 8
            row = _free_row(x + side, -1 if anchor else 1, y, len(mark.name), taken, height)
            label = f'<text x="{x + side:.1f}" y="{row:.1f}"{anchor}>{escape(mark.name)}</text>'
        kind = f"{mark.kind} hollow" if mark.hollow else mark.kind
        parts.append(
            f'<g class="{kind}"><circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if mark.kind == "chosen" else 4}">'
            f"<title>{escape(mark.name)}: {mark.x:+.4f}, {mark.y:.3f}</title></circle>{label}</g>"
        )
    return _svg(height, alt, "".join(parts))


def _free_row(x: float, direction: int, y: float, letters: int, taken: list[tuple[float, float]], height: int) -> float:
    """Where a label beside a point covers neither other points nor other labels; its own place is then taken, too."""
    width = letters * 6.2
    begin, end = sorted((x, x + direction * width))
    rows = [y + step for step in (15, -9, 28, -22, 41, -35, 54, -48) if _NAME < y + step < height - _BOTTOM - 2]

    def covered(row: float) -> int:
        return sum(begin - 6 < at < end + 6 and row - 15 < level < row + 5 for at, level in taken)

    found = min(rows, key=lambda row: (covered(row), rows.index(row)), default=y)
    taken += [(begin + part * width / 4, found - 4) for part in range(5)]
    return found


def histogram(series: Sequence[tuple[str, str, Sequence[float]]], alt: str, bins: int = 24) -> str:
    """Distributions over one range, drawn over one another.

    Args:
        series: Name, CSS class and values of each.
        alt: What the chart shows.
        bins: How many bars.
    """
    height = 150
    low, high = _range([value for _, _, values in series for value in values], room=0.0)
    counts = []
    for _, _, values in series:
        of_series = [0] * bins
        for value in values:
            of_series[min(bins - 1, int((value - low) / (high - low) * bins))] += 1
        counts.append([count / max(1, len(values)) for count in of_series])
    most = max((share for shares in counts for share in shares), default=0.0) or 1.0
    wide = (WIDTH - 4) / bins
    parts = []
    for (name, kind, _), shares in zip(series, counts, strict=True):
        rects = []
        for at, share in enumerate(shares):
            tall = (height - 44) * share / most
            begin, end = low + (high - low) * at / bins, low + (high - low) * (at + 1) / bins
            rects.append(
                f'<rect x="{2 + at * wide:.1f}" y="{height - 24 - tall:.1f}" width="{wide - 1:.1f}" '
                f'height="{tall:.1f}">'
                f"<title>{escape(name)}, {begin:.2f} to {end:.2f}: {share:.1%}</title></rect>"
            )
        parts.append(f'<g class="{kind} over">{"".join(rects)}</g>')
    for at, (name, kind, _) in enumerate(series):
        parts.append(
            f'<g class="{kind}"><rect x="2" y="{at * 15}" width="9" height="9" rx="2"/>'
            f'<text x="15" y="{at * 15 + 9}">{escape(name)}</text></g>'
        )
    for value, anchor, x in ((low, "start", 2), (high, "end", WIDTH - 2)):
        parts.append(f'<text class="faint" x="{x}" y="{height - 8}" text-anchor="{anchor}">{value:.2f}</text>')
    return _svg(height, alt, "".join(parts))


def _y_axis(low: float, high: float, height: int, top: int = _TOP) -> str:
    parts = []
    for value in (low, (low + high) / 2, high):
        y = top + (height - top - _BOTTOM) * (high - value) / (high - low)
        parts.append(
            f'<path class="axis" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>'
            f'<text class="faint end" x="{_LEFT - 6}" y="{y + 4:.1f}">{value:.3f}</text>'
        )
    return "".join(parts)


def _range(values: Sequence[float], room: float = 0.08) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    wide = (high - low) or max(abs(high), 0.1) * 0.1
    return low - wide * room, high + wide * room if high > low else low + wide


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _svg(height: int, alt: str, inside: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(alt)}">{inside}</svg>'
