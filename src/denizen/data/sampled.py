"""The step that draws from the examples of several domains, so that a small one is not drowned by a large one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from denizen.data.artifacts import Examples, Part, Queries
from denizen.data.tables import with_column, write_table
from denizen.engine.artifact import Artifact
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, step


@dataclass(frozen=True)
class DomainSampling(Seeded):
    """How often each domain is drawn in joint training."""

    panel = "Domains"

    # between proportional (1) and equal shares: multilingual BERT takes the exponent .7, a temperature of 1.4, XLM-R
    # .3, one of 3.3 (arXiv 1911.02116, section 3.1)
    sampling_temperature: float = setting(
        2.0,
        "Joint training draws a domain with n examples in proportion to n^(1/T): 1: as many as there are; the larger, "
        "the more alike.",
        least=1.0,
        most=100.0,
    )


class Sampled(Artifact):
    """Examples that were drawn, and the queries that they name, with the domain of each."""

    examples = Part("examples.parquet", Examples)
    queries = Part("queries.parquet", Queries)


def shares(counts: Mapping[str, int], temperature: float) -> dict[str, int]:
    """How many examples are drawn of each domain, as many in all as there are.

    Args:
        counts: Domain to how many it has.
        temperature: T of p ~ n^(1/T).

    Returns:
        Whole numbers of the same sum, by largest remainder, of equal remainders the first by name. None falls below
        one, for the fewest are drawn at least as often as there are.
    """
    total = sum(counts.values())
    weights = {name: count ** (1 / temperature) for name, count in counts.items()}
    wanted = {name: total * weight / sum(weights.values()) for name, weight in weights.items()}
    found = {name: int(value) for name, value in wanted.items()}
    by_remainder = sorted(wanted, key=lambda name: (found[name] - wanted[name], name))
    for name in by_remainder[: total - sum(found.values())]:
        found[name] += 1
    return found


def _planned(params: DomainSampling, *, examples: Examples, **inputs: Any) -> dict[str, Any]:
    return dict(examples.facts)


@step(version=1, makes=Sampled, name="sampled", plan=_planned)
def sample_domains(
    out: Path, params: DomainSampling, ctx: Context, *, examples: Examples, queries: Queries
) -> dict[str, Any]:
    """Draws as many examples as there are, of each domain by temperature-scaled sampling.

    A domain that is drawn more often than it has examples gives each of them as often as the others, or once more.

    Args:
        out: Where examples and queries go; the latter with their domain.
        params: The temperature.
        ctx: The progress.
        examples: Of all domains, under names that say of which they are.
        queries: The same.
    """
    home = [query_id.partition("/")[0] for query_id in examples.table["query_id"].to_pylist()]
    random, taken = np.random.default_rng(params.seed), list[int]()
    drawn = shares(Counter(home), params.sampling_temperature)
    for name, count in drawn.items():
        rows = np.flatnonzero(np.asarray(home) == name)
        whole, rest = divmod(count, len(rows))
        taken += [*(rows.tolist() * whole), *random.permutation(rows)[:rest].tolist()]
    write_table(out / "examples.parquet", examples.table.take(pa.array(sorted(taken))))
    asked = [query_id.partition("/")[0] for query_id in queries.table["query_id"].to_pylist()]
    write_table(out / "queries.parquet", with_column(queries.table, "domain", asked))
    ctx.progress.note(", ".join(f"{name} {count:,} of {home.count(name):,}" for name, count in drawn.items()))
    return {**examples.facts, "examples": len(taken), "drawn": drawn, "had": dict(Counter(home))}
