"""What a run of `experts` is going to do and how long that takes, read from the calls that it is going to make."""

from __future__ import annotations

from collections.abc import Mapping

from denizen.data.artifacts import Model
from denizen.data.guard import Guarded
from denizen.data.prepare import Labelled
from denizen.data.tables import texts
from denizen.engine.artifact import Artifact
from denizen.engine.step import Context
from denizen.recipes.experts_config import ExpertsConfig
from denizen.reports.plan import speed


def experts_plan_lines(
    config: ExpertsConfig,
    slices: Mapping[str, Labelled],
    guard: Guarded,
    base: Model,
    planned: Mapping[str, Artifact],
    ctx: Context,
) -> list[str]:
    """The plan as people read it: counts of each slice, steps of each training, and minutes.

    Encoding and training are timed on a sample of the first slice on this machine. Examples are counted at their upper
    limit, since how many there are is known only after mining.
    """
    pending = {place: its for place, its in planned.items() if its.pending}
    passages = texts(next(iter(slices.values())).corpus.table)
    seconds, training_seconds, backend = speed(config.encoding, config.training, passages, base, ctx)

    def minutes(name: str, each: float, *, merging: bool = False) -> float:
        found = (its.facts.get(name, 0) for place, its in pending.items() if ("merges" in its.facts) == merging)
        return float(sum(found)) * each / 60

    encoding = minutes("encoded_texts", seconds)
    training = minutes("trained_texts", training_seconds)
    merging = minutes("encoded_texts", seconds, merging=True)
    lines = [f"plan  {len(slices)} slices:"]
    for name, its in slices.items():
        counts = guard.facts["queries"][name]
        told = ", ".join(f"{count:,} {side}" for side, count in counts.items())
        lines.append(f"      {name}: {its.facts['passages']:,} passages, {told}")
    steps = {place: its.facts["steps"] for place, its in pending.items() if "steps" in its.facts}
    done = [place for place, its in planned.items() if place.startswith("experts/") and not its.pending]
    if done:
        lines.append(f"      there already: {', '.join(done)}")
    told = ", ".join(f"{place.rpartition('/')[2]} {count:,}" for place, count in steps.items() if "seed-" not in place)
    lines += [
        f"      at most so many steps of batch {config.batch_size}: {told or 'none'}",
        f"      at most {config.merge_evaluations} merges ({config.search}), measured on "
        f"{sum(min(config.dev_passages, its.facts['passages']) for its in slices.values()):,} passages each",
        f"      {config.seeds} seed(s); about {max(1, round(encoding + training + merging))} minutes: {encoding:.0f} "
        f"encoding by {backend} ({1 / seconds:.0f} passages/s), {training:.0f} training, {merging:.0f} merging",
    ]
    return lines
