"""`experts`: labelled slices and a base in; an expert for each slice, one merged model, and the proof of its worth out.

slice -> what the base finds -> examples with mined hard negatives -> expert; all experts -> merges, measured on dev
beside them: one model on all examples, one on as many as the smallest slice has, the mean of all experts
dev chooses what is shipped; test is read once: base, BM25, experts, baselines, merged (arXiv 2602.04731)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from denizen.data.artifacts import Evaluation, Examples, Model, Table
from denizen.data.guard import Guarded
from denizen.data.pooled import pool, subset
from denizen.data.prepare import Given, Labelled, NearDuplicates
from denizen.engine.artifact import Artifact, Value
from denizen.engine.pipeline import Pipeline
from denizen.engine.settings import Seeded
from denizen.engine.versions import installed
from denizen.measuring.slices import compare, measure_dev, test_slice
from denizen.measuring.students import Choice
from denizen.merging.merge_experts import MergedExperts, average_experts, choose_shipped, search_merges
from denizen.recipes.experts_config import ExpertsConfig
from denizen.recipes.slices import Slice, examples_of, guarded, searched
from denizen.training.generic_prompts import drawn_from
from denizen.training.train import Training, train


@dataclass(frozen=True)
class BroughtSlices:
    """What a run is given besides its settings: the base, how each slice is read, how far embeddings may be cut."""

    base: Model
    slices: Mapping[str, Given]
    dims: tuple[int, ...] = ()


@dataclass(frozen=True)
class Experts:
    """What a run has come to for one seed."""

    data: Mapping[str, Labelled]
    guard: Guarded
    trained: Mapping[str, Model]
    dev: Mapping[str, Evaluation]
    merge: MergedExperts
    choice: Choice
    tests: Mapping[str, Evaluation]
    comparison: Evaluation


def experts(run: Pipeline, config: ExpertsConfig, brought: BroughtSlices) -> list[Experts]:
    """All steps, for each seed; the slices, and what the base finds in them, are theirs together."""
    made, kept = guarded(run, config, brought.slices)
    slices = searched(run, config, brought.base, made, kept)

    def whole(config: ExpertsConfig) -> Experts:
        trained = trained_on(run, config, brought, slices)
        every = {name: its for name, its in trained.items() if name != "base"}
        of_slice = {name: trained[f"expert-{name}"] for name in slices}
        about = {
            "indexes": {name: its.index for name, its in slices.items()},
            "parts": {name: its.dev for name, its in slices.items()},
        }
        with run.scope("dev"):
            dev = {name: run(measure_dev.named(name), model=model, **about) for name, model in trained.items()}
        own = {name: dev[f"expert-{name}"] for name in slices}
        merge = merged_of(run, config, brought, slices, of_slice, own)
        choice = run(choose_shipped, models=trained, dev=dev, merge=merge)
        systems = {"base": brought.base, **every, "merged": merge.model}
        tests = {}
        for name, its in slices.items():
            with run.scope("test"):
                asked = {"systems": systems, "index": its.index, **its.tables}
                tests[name] = run(test_slice.named(name), config.searching, **asked)
        return Experts(made, kept, of_slice, dev, merge, choice, tests, run(compare, tests=tests))

    found = [whole(config)]
    for seed in range(config.seed + 1, config.seed + config.seeds):
        with run.scope("seed", seed):
            found.append(whole(config.changed(seed=seed)))
    return found


def trained_on(
    run: Pipeline, config: ExpertsConfig, brought: BroughtSlices, slices: Mapping[str, Slice]
) -> dict[str, Model]:
    """The base, an expert for each slice, and the baselines: on a subset, on all by as many steps, and the mean."""
    examples, of_slice = experts_of(run, config, brought, slices)
    found = {"base": brought.base, **{f"expert-{name}": model for name, model in of_slice.items()}}
    with run.scope("baselines"):
        pooled = run(pool, NearDuplicates(config.near_duplicate), examples=examples, **tables_of(slices))
        fewest = run(subset, Seeded(config.seed), examples=pooled.examples, slices=[*examples.values()])
        # which index says in which arithmetic the base embeds, no more
        about = {"index": next(iter(slices.values())).index, "corpus": pooled.corpus, "queries": pooled.queries}
        about["qrels"] = pooled.qrels
        found["random"] = learnt(run, config, brought, "random", {**about, "examples": fewest})
        found["all"] = learnt(run, config, brought, "all", {**about, "examples": pooled.examples})
        merging = Value(installed("mergekit"))
        found["uniform"] = run(average_experts, base=brought.base, experts=of_slice, merging=merging)
    return found


def experts_of(
    run: Pipeline, config: ExpertsConfig, brought: BroughtSlices, slices: Mapping[str, Slice]
) -> tuple[dict[str, Examples], dict[str, Model]]:
    """What is learnt from each slice, and the expert that has learnt it."""
    examples, found = dict[str, Examples](), dict[str, Model]()
    for name, its in slices.items():
        with run.scope("slices"), run.scope(name):
            examples[name] = examples_of(run, config, brought.base, its)
    with run.scope("experts"):
        for name, its in slices.items():
            about = {"examples": examples[name], "index": its.index, **its.tables}
            found[name] = learnt(run, config, brought, name, about)
    return examples, found


def tables_of(slices: Mapping[str, Slice]) -> dict[str, dict[str, Table]]:
    """Kind of table to slice to that table."""
    kinds = ("corpus", "queries", "qrels")
    return {kind: {name: its.tables[kind] for name, its in slices.items()} for kind in kinds}


def merged_of(
    run: Pipeline,
    config: ExpertsConfig,
    brought: BroughtSlices,
    slices: Mapping[str, Slice],
    experts: Mapping[str, Model],
    dev: Mapping[str, Evaluation],
) -> MergedExperts:
    """Step merge, by what each expert gets on dev."""
    indexes, parts = {name: its.index for name, its in slices.items()}, {name: its.dev for name, its in slices.items()}
    merging = Value(installed("mergekit"))
    about = {"base": brought.base, "experts": experts, "merging": merging, "indexes": indexes, "parts": parts}
    return run(search_merges, config.merging, dev=dev, **about)


def learnt(
    run: Pipeline,
    config: ExpertsConfig,
    brought: BroughtSlices,
    name: str,
    inputs: Mapping[str, Artifact],
    training: Training | None = None,
) -> Model:
    """A model trained from the base, one round; as the run says where nothing else is given."""
    training = training or config.training
    dims = ",".join(map(str, training.cut_dims or brought.dims))
    # there are no texts of other fields to stay near to
    training = replace(training.on_this_machine(), dims=dims, near_base=0.0)
    return run(train.named(name), training, start=brought.base, generic=drawn_from(training), **inputs)
