"""`domains`: several labelled domains and a base in; what can be done with them, compared on one corpus of all, out.

domain -> what the base finds -> examples -> expert, as in `experts`; all examples -> joint models; experts -> merge
training queries -> routers; dev calibrates scores, chooses the router and recommends an option; test is read once
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from denizen.data.artifacts import Evaluation, Model
from denizen.data.guard import Guarded
from denizen.data.pooled import pool
from denizen.data.prepare import Labelled, NearDuplicates
from denizen.data.sampled import Sampled, sample_domains
from denizen.data.union import Union, unite
from denizen.engine.artifact import Artifact, Value
from denizen.engine.pipeline import Pipeline
from denizen.measuring.compare_options import compare_options
from denizen.measuring.latency import latency
from denizen.measuring.options import BASE, EXPERTS, OPTIONS, Calibrated, calibrate, measure_option, options_of
from denizen.measuring.recommending import Recommendation, recommend_option
from denizen.measuring.slices import measure_dev, test_slice
from denizen.merging.merge_experts import MergedExperts
from denizen.recipes.domains_config import DomainsConfig
from denizen.recipes.experts import BroughtSlices, experts_of, learnt, merged_of, tables_of
from denizen.recipes.slices import Slice, guarded, searched
from denizen.retrievers.index import Index
from denizen.retrievers.routing.train_routers import Routers, train_routers


@dataclass(frozen=True)
class Made:
    """All that options are made of.

    Attributes:
        union: Passages, queries and labels of all domains.
        index: What says in which arithmetic all models embed.
        models: Single models by name: the base, joint ones, the merged one.
        experts: Domain to its expert.
        calibrations: Domain to that of its expert's scores.
        routers: Trained routers.
        sampled: What joint models were trained on.
        merge: The merge that was taken.
    """

    union: Union
    index: Index
    models: Mapping[str, Model]
    experts: Mapping[str, Model]
    calibrations: Mapping[str, Calibrated]
    routers: Routers
    sampled: Sampled
    merge: MergedExperts

    def inputs(self, option: str) -> dict[str, Artifact | Mapping[str, Artifact]]:
        """What of it an option needs."""
        of = OPTIONS[option]
        given: dict[str, Artifact | Mapping[str, Artifact]] = {"union": self.union, "index": self.index}
        given["models"] = {name: self.models[name] for name in of.models if name != EXPERTS}
        given |= {"experts": self.experts} if EXPERTS in of.models else {}
        given |= {"calibrations": self.calibrations} if of.calibrated else {}
        return given | ({"routers": self.routers} if of.routed and of.deployable else {})


@dataclass(frozen=True)
class Domains:
    """What a run has come to for one seed.

    Attributes:
        data: The domains.
        guard: What leaked among them.
        made: All that options are made of.
        dev: What each option gets on dev.
        recommendation: What the rule makes of that.
        tests: What each option gets on test.
        alone: What base, BM25 and a domain's expert get on its test among its own passages, whatever else there is.
        comparison: Of the options on test.
        latencies: How long an option takes, of the first seed alone.
    """

    data: Mapping[str, Labelled]
    guard: Guarded
    made: Made
    dev: Mapping[str, Evaluation]
    recommendation: Recommendation
    tests: Mapping[str, Evaluation]
    alone: Mapping[str, Evaluation]
    comparison: Evaluation
    latencies: Mapping[str, Artifact]


def domains(run: Pipeline, config: DomainsConfig, brought: BroughtSlices) -> list[Domains]:
    """All steps, for each seed; the domains, what the base finds in them, and their union are theirs together."""
    data, kept = guarded(run, config, brought.slices)
    slices = searched(run, config, brought.base, data, kept)
    union = run(unite, NearDuplicates(config.near_duplicate), **tables_of(slices))

    def whole(config: DomainsConfig, *, timed: bool) -> Domains:
        made = made_of(run, config, brought, slices, union)
        dev = measured(run, config, made, "dev")
        recommendation = run(recommend_option, config.recommending, dev=dev)
        tests = measured(run, config, made, "test")
        alone = {}
        with run.scope("alone"):
            for name, its in slices.items():
                systems = {BASE: brought.base, "expert": made.experts[name]}
                asked = {"systems": systems, "index": its.index, **its.tables}
                alone[name] = run(test_slice.named(name), config.searching, **asked)
        compared = run(compare_options, tests=tests, recommendation=recommendation)
        latencies = {}
        if timed:
            with run.scope("latency"):
                for name in (name for name in dev if OPTIONS[name].deployable):
                    latencies[name] = run(latency.named(name), option=Value(name), **made.inputs(name))
        return Domains(data, kept, made, dev, recommendation, tests, alone, compared, latencies)

    found = [whole(config, timed=True)]
    for seed in range(config.seed + 1, config.seed + config.seeds):
        with run.scope("seed", seed):
            found.append(whole(config.changed(seed=seed), timed=False))
    return found


def made_of(
    run: Pipeline, config: DomainsConfig, brought: BroughtSlices, slices: Mapping[str, Slice], union: Union
) -> Made:
    """Experts, joint models, the merge, routers, and what makes scores comparable."""
    examples, experts = experts_of(run, config, brought, slices)
    index = next(iter(slices.values())).index
    with run.scope("joint"):
        pooled = run(pool, NearDuplicates(config.near_duplicate), examples=examples, **tables_of(slices))
        sampled = run(sample_domains, config.sampling, examples=pooled.examples, queries=pooled.queries)
        about = {"index": index, "corpus": pooled.corpus, "queries": sampled.queries, "qrels": pooled.qrels}
        about["examples"] = sampled.examples
        models = {BASE: brought.base, "joint": learnt(run, config, brought, "joint", about)}
        apart = replace(config.training, batches="domain")
        models["joint-apart"] = learnt(run, config, brought, "joint-apart", about, apart)
    of_slices = {"indexes": {name: its.index for name, its in slices.items()}}
    parts = {name: its.dev for name, its in slices.items()}
    with run.scope("experts-dev"):
        # called as in experts, whose search for a merge is then the same
        dev = {
            name: run(measure_dev.named(f"expert-{name}"), model=model, parts=parts, **of_slices)
            for name, model in experts.items()
        }
    merge = merged_of(run, config, brought, slices, experts, dev)
    models["merged"] = merge.model
    with run.scope("calibrations"):
        calibrations = {
            name: run(calibrate.named(name), config.searching, model=experts[name], index=its.index, **its.tables)
            for name, its in slices.items()
        }
    routers = run(train_routers, config.routing, queries=union.queries, base=brought.base)
    return Made(union, index, models, experts, calibrations, routers, sampled, merge)


def measured(run: Pipeline, config: DomainsConfig, made: Made, split: str) -> dict[str, Evaluation]:
    """What every option gets on one side."""
    with run.scope(split):
        return {
            name: run(
                measure_option.named(name),
                config.searching,
                option=Value(name),
                split=Value(split),
                **made.inputs(name),
            )
            for name in options_of(adapters=config.lora_rank > 0)
        }
