"""The step that compares options on the test: means, differences, and what the router did and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.artifacts import Evaluation
from denizen.engine.files import read_json
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.measuring.options import (
    BASE,
    ORACLE,
    ORACLE_EVERYWHERE,
    ROUTED,
    ROUTED_EVERYWHERE,
    Measured,
)
from denizen.measuring.recommending import Recommendation
from denizen.measuring.significance import Values, mean_differences, paired_differences
from denizen.measuring.slices import COMPARED, DECIDES

_ORACLE_OF = {ROUTED: ORACLE, ROUTED_EVERYWHERE: ORACLE_EVERYWHERE}


@step(version=1, makes=Evaluation, name="comparison")
def compare_options(
    out: Path,
    params: Params,
    ctx: Context,
    *,
    tests: Mapping[str, Evaluation],
    recommendation: Recommendation,
) -> dict[str, Any]:
    """Means over domains of every option with intervals, and differences, by draws within each domain.

    Returns:
        `options`: of each by measure `means`, `differences` (to the base), `over_other` (to the best other option, by
        its mean on dev, named in `other`), `to_oracle` (to oracle routing with own indexes); `domains`: of each its
        queries, and of every option `means`, `differences` to the base and to the domain's `own` expert; `routing`: of
        what routes, what the router did.
    """
    found = {name: Measured.of(its) for name, its in tests.items()}
    dev = recommendation.facts["means"]
    names = list(found[BASE].values)
    options: dict[str, Any] = {}
    with ctx.progress.bar(len(found), "options") as advance:
        for name, its in found.items():
            others = {of: mean for of, mean in dev.items() if of != name}
            other = max(others, key=others.__getitem__)
            against = {"differences": BASE, "over_other": other, "to_oracle": ORACLE}
            options[name] = {"means": _over_domains(its, None), "other": other}
            options[name] |= {key: _over_domains(its, found[of]) for key, of in against.items() if of != name}
            advance(1)
    domains = {
        domain: {
            "queries": len(found[BASE].query_ids[domain]),
            "means": {
                name: {measure: float(its.values[domain][measure].mean()) for measure in COMPARED}
                for name, its in found.items()
            },
            "differences": _within(domain, found, BASE),
            "own": _within(domain, found, ORACLE_EVERYWHERE),
        }
        for domain in names
    }
    routing = {
        name: _routing(found[name], found[oracle], read_json(tests[name].path / "routes.json"))
        for name, oracle in _ORACLE_OF.items()
        if name in found
    }
    return {"options": options, "domains": domains, "routing": routing}


def _over_domains(ours: Measured, theirs: Measured | None) -> dict[str, Any]:
    """By measure the mean over domains, or its difference to that of another option."""
    parts, together = [], []
    for domain, values in ours.values.items():
        of = theirs.values[domain] if theirs else {measure: np.zeros_like(values[measure]) for measure in COMPARED}
        parts.append([(values[measure], of[measure]) for measure in COMPARED])
        together.append(ours.groups[domain])
    found = mean_differences(parts, together)
    return {measure: asdict(one) for measure, one in zip(COMPARED, found, strict=True)}


def _within(domain: str, found: Mapping[str, Measured], base: str) -> dict[str, Any]:
    """Of every other option the difference to one within a domain, by measure."""
    theirs = [found[base].values[domain][measure] for measure in COMPARED]
    groups = found[base].groups[domain]
    differences = {}
    for name, its in found.items():
        if name != base:
            of = paired_differences([its.values[domain][measure] for measure in COMPARED], theirs, groups=groups)
            differences[name] = {measure: asdict(one) for measure, one in zip(COMPARED, of, strict=True)}
    return differences


def _routing(routed: Measured, oracle: Measured, routes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the router did with the test queries, and what nDCG@10 was lost by it.

    `accuracy` is the share of queries whose first domain is theirs, the mean over domains as everywhere, with its
    interval; `kinds` counts right, two domains with the right one among them, abstained, and wrong, with the mean
    difference to oracle routing over the queries of each kind (`cost`), and its share of the whole loss (`lost`, which
    add up to the difference of the means over all queries).
    """
    right, together = [], []
    confusion: dict[str, dict[str, int]] = {}
    kinds: dict[str, list[float]] = {"right": [], "two": [], "abstained": [], "wrong": []}
    for domain, query_ids in routed.query_ids.items():
        went = [routes[query_id] for query_id in query_ids]
        first = [of[0] if of else "" for of in went]
        hit = np.asarray([float(name == domain) for name in first])
        right.append([(hit, np.zeros_like(hit))])
        together.append(routed.groups[domain])
        confusion[domain] = {name: first.count(name) for name in (*routed.query_ids, "")}
        apart: Values = routed.values[domain][DECIDES] - oracle.values[domain][DECIDES]
        for of, loss in zip(went, apart.tolist(), strict=True):
            kinds[_kind(of, domain)].append(loss)
    (accuracy,) = mean_differences(right, together)
    count = sum(map(len, kinds.values()))
    said = {
        kind: {
            "queries": len(losses),
            "cost": float(np.mean(losses)) if losses else None,
            "lost": float(np.sum(losses)) / count,
        }
        for kind, losses in kinds.items()
    }
    return {"accuracy": asdict(accuracy), "confusion": confusion, "kinds": said}


def _kind(went: Sequence[str], domain: str) -> str:
    if not went:
        return "abstained"
    if domain not in went:
        return "wrong"
    return "right" if len(went) == 1 else "two"
