"""Which of several options to take, by a rule: the cheapest that is nearly the best on dev, and takes from no domain.

The same rule is asked again on samples of the dev queries: where it then says something else too often, it cannot tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.artifacts import Evaluation
from denizen.engine.artifact import Artifact
from denizen.engine.files import write_json
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, step
from denizen.measuring.options import BASE, OPTIONS, ORACLE_EVERYWHERE, Measured
from denizen.measuring.significance import Values, paired_difference
from denizen.measuring.slices import DECIDES

# bootstrap samples of the dev queries, and how many of them must say the same
SAMPLES, AGREEING = 5, 4
_SIGNIFICANT = 0.05
# what is larger by less costs the same: files of one architecture differ by a head that nobody uses
_SAME_BYTES = 1.01


@dataclass(frozen=True)
class Recommending(Seeded):
    """When a cheaper option is taken."""

    panel = "Domains"

    # with three domains of 100 to 300 dev queries the standard error of a paired difference of two options is .004 to
    # .008: what is less than that apart dev cannot tell from chance (docs/domains.md)
    tolerance: float = setting(
        0.01, "The cheapest option is taken whose mean nDCG@10 on dev is within this of the best.", least=0, most=1
    )
    # a hundredth more than the tolerance of the mean: one domain has fewer queries than all
    fall_limit: float = setting(
        0.02, "No domain may fall significantly below its own expert, or the base, by more than this.", least=0, most=1
    )


@dataclass(frozen=True)
class Costs:
    """What an option costs to be had: what is compared first comes first.

    Attributes:
        bytes: Of weights and index in memory; a hundredth more is not more.
        trained: Whether anything was trained for it.
        renewed: Whether one domain more means training anew on all domains.
    """

    bytes: int
    trained: bool
    renewed: bool = False


@dataclass(frozen=True)
class OnDev:
    """What options get on some dev queries, nDCG@10.

    Attributes:
        values: Option to domain to values, shape (queries,).
        own: Domain to what its own expert gets there, shape (queries,).
        groups: Domain to the group of each query.
    """

    values: Mapping[str, Mapping[str, Values]]
    own: Mapping[str, Values]
    groups: Mapping[str, Sequence[int]]

    def means(self) -> dict[str, float]:
        """Option to its mean over domains, each of which weighs the same."""
        return {name: float(np.mean([of.mean() for of in its.values()])) for name, its in self.values.items()}

    def fallen(self, option: str, limit: float) -> list[str]:
        """Domains in which an option is significantly below their own expert, or the base, by more than a limit."""
        base = self.values.get(BASE, self.own)
        return [
            name
            for name, of in self.values[option].items()
            if any(self._is_below(of, least, name, limit) for least in (self.own[name], base[name]))
        ]

    def _is_below(self, of: Values, other: Values, name: str, limit: float) -> bool:
        if float((of - other).mean()) >= -limit:
            return False
        apart = paired_difference(of, other, groups=self.groups[name])
        return apart.high < 0 and apart.p < _SIGNIFICANT

    def sampled(self, random: np.random.Generator) -> OnDev:
        """As many groups of each domain, drawn with replacement."""
        rows, together = {}, {}
        for name, groups in self.groups.items():
            numbers, of = np.unique(np.asarray(groups), return_inverse=True)
            drawn = random.integers(0, len(numbers), len(numbers))
            parts = [np.flatnonzero(of == number) for number in drawn]
            rows[name] = np.concatenate(parts)
            # what is drawn twice stands for two
            together[name] = np.repeat(np.arange(len(parts)), [len(part) for part in parts]).tolist()
        values = {name: {of: its[rows[of]] for of, its in by.items()} for name, by in self.values.items()}
        return OnDev(values, {name: its[rows[name]] for name, its in self.own.items()}, together)


@dataclass(frozen=True)
class Verdict:
    """What the rule says.

    Attributes:
        taken: The option.
        best: That with the best mean.
        near: Those within the tolerance, the cheapest first.
        fallen: Of each that was passed over: the domains that lose by it.
    """

    taken: str
    best: str
    near: Sequence[str]
    fallen: Mapping[str, Sequence[str]]


def recommend(dev: OnDev, costs: Mapping[str, Costs], tolerance: float, fall_limit: float) -> Verdict:
    """The cheapest option within a tolerance of the best by which no domain falls; where all make one fall, the best.

    Of options whose bytes are within a hundredth what needs no training is taken, then what need not be trained anew
    for one domain more, then the first: the mean on dev, which cannot tell them apart, decides no further.

    Args:
        dev: What all options get.
        costs: Of each.
        tolerance: How much less than the best is as good.
        fall_limit: By how much a domain may be below its own expert, or the base.
    """
    means = dev.means()
    best = max(means, key=means.__getitem__)
    near = [name for name in means if means[name] >= means[best] - tolerance]
    sizes = _sizes([costs[name].bytes for name in near])
    near.sort(key=lambda name: (sizes[costs[name].bytes], costs[name].trained, costs[name].renewed))
    fallen: dict[str, list[str]] = {}
    for name in near:
        lost = dev.fallen(name, fall_limit)
        if not lost:
            return Verdict(name, best, near, fallen)
        fallen[name] = lost
    return Verdict(best, best, near, fallen)


def _sizes(of: Sequence[int]) -> dict[int, int]:
    """Bytes to the least number of bytes that they count as."""
    found: dict[int, int] = {}
    least = 0
    for size in sorted(of):
        least = size if not found or size > _SAME_BYTES * least else least
        found[size] = least
    return found


class Recommendation(Artifact):
    """The option that is recommended, in facts."""

    @property
    def taken(self) -> str:
        """Its name; in a plan: one that needs all that there is."""
        return str(self.facts.get("taken", "routed"))


@step(version=3, makes=Recommendation, name="recommendation")
def recommend_option(out: Path, params: Recommending, ctx: Context, *, dev: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Asks the rule on dev, and on five samples of its queries; test has no part in it.

    Args:
        out: recommendation.json: all that is returned.
        params: The tolerance, the limit of a fall, and the seed of the samples.
        ctx: The progress.
        dev: What each option gets on dev, oracle routing with all passages among them: there each domain is asked of
            its own expert.

    Returns:
        `taken`, `best`, `near` (within the tolerance, the cheapest first), `fallen`, `means`, `bytes`, `samples` (what
        each sample says), `told`: whether four of five say the same as all.
    """
    found = {name: Measured.of(its) for name, its in dev.items()}
    own = {name: its[DECIDES] for name, its in found[ORACLE_EVERYWHERE].values.items()}
    deployable = [name for name in dev if OPTIONS[name].deployable]
    values = {name: {of: its[DECIDES] for of, its in found[name].values.items()} for name in deployable}
    on_dev = OnDev(values, own, found[BASE].groups)
    costs = {name: Costs(found[name].bytes, name != BASE, OPTIONS[name].renewed) for name in deployable}
    whole = recommend(on_dev, costs, params.tolerance, params.fall_limit)
    random, samples = np.random.default_rng(params.seed), list[str]()
    with ctx.progress.bar(SAMPLES, "samples") as advance:
        for _ in range(SAMPLES):
            samples.append(recommend(on_dev.sampled(random), costs, params.tolerance, params.fall_limit).taken)
            advance(1)
    told = Counter(samples)[whole.taken] >= AGREEING
    means = on_dev.means()
    ctx.progress.say(
        f"dev {DECIDES}: {whole.best} is best with {means[whole.best]:.3f}; {whole.taken} is taken with "
        f"{means[whole.taken]:.3f}, and {Counter(samples)[whole.taken]} of {SAMPLES} samples say the same"
    )
    facts = {
        "taken": whole.taken,
        "best": whole.best,
        "near": list(whole.near),
        "fallen": {name: list(its) for name, its in whole.fallen.items()},
        "means": means,
        "bytes": {name: its.bytes for name, its in costs.items()},
        "samples": samples,
        "told": told,
    }
    write_json(out / "recommendation.json", facts)
    return facts
