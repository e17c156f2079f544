"""The picture at the top of a report: before and after, in one look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from denizen.data.formats.trec import read_trec_run
from denizen.data.tables import rankings
from denizen.measuring.gains import first_relevant
from denizen.measuring.significance import Difference
from denizen.measuring.slices import DECIDES
from denizen.reports import charts
from denizen.reports.finished_run import FinishedRun
from denizen.reports.results import SYSTEMS

# the last rank of each band of the answer's ranks: what is read at a glance, with a second look, on a page
_BANDS = (1, 3, 5, 10)


@dataclass(frozen=True)
class Picture:
    """What stands at the top.

    Attributes:
        what: What the two figures are.
        before: The first of them.
        after: The second.
        means: What they are of, with the interval.
        svg: The chart beside them.
        told: What the chart shows.
        footnote: How the figures are to be read.
    """

    what: str
    before: str
    after: str
    means: str
    svg: str
    told: str
    footnote: str


def run_picture(run: FinishedRun) -> Picture | None:
    """Where the answers of the test's questions stood by the base, and where they stand; None where nothing changed."""
    metrics = run.metrics
    name = metrics["shipped"]["name"]
    before, after = (metrics["base"]["MRR@5"], metrics["shipped"]["means"]["MRR@5"])
    if name == "base" or not before or not after:
        return None
    now = rankings(read_trec_run(run.folder / f"test/{name}.trec", own=True))
    ranks = [first_relevant(ranked, run.known) for ranked in (run.ranked["base"], now)]
    bands = [f"{low}" if low == high else f"{low}–{high}" for low, high in _ranges(run.depth)]
    bands.append(f"> {run.depth}")
    moves = Counter(tuple(bands[_band(of[query_id], run.depth)] for of in ranks) for query_id in run.known)
    called = SYSTEMS[name]
    up, down = (
        sum(count for (one, other), count in moves.items() if (bands.index(other) - bands.index(one)) * sign > 0)
        for sign in (-1, 1)
    )
    alt = f"Of {len(run.known)} questions the answer of {up} stands in a higher band than before, of {down} in a lower"
    return Picture(
        "The answer moved from rank",
        f"{1 / before:.1f}",
        f"{1 / after:.1f}",
        f"MRR@5 {before:.3f} → {after:.3f} ({_interval(metrics['shipped']['difference']['MRR@5'])}), {called} against "
        f"the base on {metrics['queries']:,} held-out questions.",
        charts.flow(moves, bands, ("before: base", f"now: {called}"), alt),
        f"Rank of the first right passage. A band is as thick as questions are many: {up:,} went up, {down:,} down.",
        "Rank: 1 / MRR@5, the harmonic mean of the answer's ranks, for which an answer below the fifth place counts as "
        "one infinitely far down. The plain mean would hang on the few that stand deepest.",
    )


def parts_picture(
    parts: Mapping[str, Any], system: str, called: str, means: tuple[float, float], difference: Mapping[str, float]
) -> Picture | None:
    """Each slice or domain by the base and by what is taken; None where that is the base.

    Args:
        parts: Name to `means` of each system, as metrics.json has them.
        system: What is taken.
        called: What people call it.
        means: The means over all of them, of the base and of that.
        difference: Of these.
    """
    if system == "base" or not all(means):
        return None
    rows = [(name, of["means"]["base"][DECIDES], of["means"][system][DECIDES]) for name, of in parts.items()]
    return Picture(
        f"{DECIDES}, mean of {len(rows)}",
        f"{means[0]:.3f}",
        f"{means[1]:.3f}",
        f"{called} against the base: {_interval(difference)}.",
        charts.dumbbells(rows, f"{DECIDES} of each by the base and by {called}"),
        f"{DECIDES} of each: the base, and what is taken.",
        "Each weighs the same.",
    )


def _interval(found: Mapping[str, Any]) -> str:
    of = Difference(**found)
    return f"{of.value:+.3f}, 95 % interval {of.low:+.3f} to {of.high:+.3f}"


def _ranges(depth: int) -> list[tuple[int, int]]:
    """First and last rank of each band, as far as systems were asked."""
    ends = [end for end in _BANDS if end < depth] + [depth]
    return list(zip([1, *(end + 1 for end in ends[:-1])], ends, strict=True))


def _band(rank: int | None, depth: int) -> int:
    ranges = _ranges(depth)
    return next((at for at, (_, last) in enumerate(ranges) if rank and rank <= last), len(ranges))
