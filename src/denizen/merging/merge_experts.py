"""The steps that make one model of experts: their uniform average, and the merge that is best on dev."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from denizen.data.artifacts import Evaluation, Model, Part
from denizen.engine.artifact import Artifact, Value
from denizen.engine.files import json_digest, read_json, write_json
from denizen.engine.settings import Params, Seeded, setting
from denizen.engine.step import Context, step
from denizen.measuring.slices import DECIDES, DevPart, mean_of, on_dev, told
from denizen.measuring.students import Choice, put_model
from denizen.merging.expert_search import Tried, methods_for, search
from denizen.merging.methods import METHODS, Merge, merge
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.index import Index

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class MergeSearch(Seeded):
    """How a merge of experts is searched."""

    panel = "Merging"

    # each embeds dev of every slice anew: with four slices a dozen take some five minutes on two cores (docs/speed.md)
    search: Literal["grid", "random", "cma"] = setting(
        "grid", "How weights are searched. cma: CMA-ES, a generation of which is 4 to 10 merges."
    )
    merge_evaluations: int = setting(12, "Merges of experts that are measured on dev.", least=1, most=1000)


class MergedExperts(Artifact):
    """The best merge, and the path of the search in points.json."""

    model = Part("model", Model)


def merged(base: Path, experts: Sequence[Path], recipe: Merge) -> SentenceTransformer:
    """Merges experts by a recipe that has a weight for each of them; slerp goes from the first of two to the second.

    Raises:
        InputError: When mergekit is missing, the recipe does not fit, or the experts are of different make.
    """
    if recipe.method == "slerp" and len(experts) == 2:
        return merge(experts[0], experts[1:], replace(recipe, weights=recipe.weights[1:]))
    # an expert without weight says nothing, and loading it costs memory
    kept = [(path, weight) for path, weight in zip(experts, recipe.weights, strict=True) if weight]
    paths, weights = zip(*kept, strict=True)
    return merge(base, list(paths), replace(recipe, weights=weights))


def called(recipe: Merge, names: Sequence[str]) -> str:
    """What people call a merge, as "ties of finance 0.5, legal 0.5, density 0.5"."""
    weights = ", ".join(f"{name} {weight:.2g}" for name, weight in zip(names, recipe.weights, strict=True))
    density = f", density {recipe.density:g}" if METHODS[recipe.method].sparse else ""
    return f"{recipe.method} of {weights}{density}"


@step(version=1, makes=Model, name="uniform")
def average_experts(
    out: Path, params: Params, ctx: Context, *, base: Model, experts: Mapping[str, Model], merging: Value
) -> None:
    """The mean of all experts' weights.

    Raises:
        InputError: When the library that merges (`merging`, its version) cannot merge them.
    """
    paths = [expert.path for expert in experts.values()]
    made = merged(base.path, paths, Merge("linear", tuple(1 / len(paths) for _ in paths)))
    made.save_pretrained(str(out), create_model_card=False)


def _planned(params: MergeSearch, *, parts: Mapping[str, DevPart], **inputs: Any) -> dict[str, Any]:
    passages = sum(part.facts.get("passages", 0) for part in parts.values())
    return {"merges": params.merge_evaluations, "encoded_texts": params.merge_evaluations * passages}


@step(version=1, makes=MergedExperts, name="merge", plan=_planned)
def search_merges(  # noqa: PLR0913
    out: Path,
    params: MergeSearch,
    ctx: Context,
    *,
    base: Model,
    experts: Mapping[str, Model],
    dev: Mapping[str, Evaluation],
    indexes: Mapping[str, Index],
    parts: Mapping[str, DevPart],
    merging: Value,
) -> dict[str, Any]:
    """Takes the merge of all experts that is best on the mean over slices of dev; test has no part in it.

    Each merge is made, measured and deleted; the best one is made once more at the end. What a stopped search has
    measured lies in the scratch folder and is not measured again.

    Args:
        out: Where the model goes, and the path of the search to points.json.
        params: How many merges are measured, and which.
        ctx: The encoders.
        base: What the experts were trained from.
        experts: By slice.
        dev: What each expert gets on dev.
        indexes: What has embedded each slice with the base.
        parts: What merges are measured on.
        merging: The version of the library that merges.

    Raises:
        InputError: When experts are of different make, or a library is missing.
    """
    names, paths = list(experts), [expert.path for expert in experts.values()]
    if "slerp" not in methods_for(len(names)):
        ctx.progress.note(f"slerp is left out: it merges two experts, and there are {len(names)}")

    def measure(recipe: Merge) -> Tried:
        kept = ctx.scratch / f"{json_digest(recipe.as_dict())[:16]}.json"
        found = read_json(kept)
        if found is None:
            found = _measured(merged(base.path, paths, recipe), indexes, parts, ctx)
            write_json(kept, found)
        ctx.progress.say(f"  {called(recipe, names)}: {DECIDES} {mean_of(found):.4f} ({told(found)})")
        advance(1)
        return Tried(recipe, found)

    means = [fmean(dev[name].facts["dev"].values()) for name in names]
    with ctx.progress.bar(params.merge_evaluations, "merges") as advance:
        points = search(measure, means, params.search, params.merge_evaluations, params.seed)
    best = max(points, key=lambda point: point.mean)
    merged(base.path, paths, best.recipe).save_pretrained(str(out / "model"), create_model_card=False)
    told_of = {"experts": names, "points": [point.as_dict() for point in points]}
    write_json(out / "points.json", told_of)
    return {**best.as_dict(), "experts": names, "called": called(best.recipe, names), "measured": len(points)}


def _measured(
    model: SentenceTransformer, indexes: Mapping[str, Index], parts: Mapping[str, DevPart], ctx: Context
) -> dict[str, float]:
    folder = ctx.scratch / "measured"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    found = on_dev(folder / "model", "", indexes, parts, Encoders(folder / "store", ctx[Encoders].memory_mb))
    shutil.rmtree(folder)
    return found


@step(version=1, makes=Choice, name="choice")
def choose_shipped(
    out: Path,
    params: Params,
    ctx: Context,
    *,
    models: Mapping[str, Model],
    dev: Mapping[str, Evaluation],
    merge: MergedExperts,
) -> dict[str, Any]:
    """Takes the merged model if it is better on dev than every other, else the best of those; of equals the first.

    Args:
        out: Where the model and choice.json go.
        params: None.
        ctx: The progress.
        models: All that might be shipped but the merged one, the plainest first.
        dev: What each of them gets.
        merge: The search's best.
    """
    means = {name: mean_of(dev[name].facts["dev"]) for name in models} | {"merged": float(merge.facts["mean"])}
    # max takes the first of equals, and merged is the last
    taken = max(means, key=means.__getitem__)
    facts = {"taken": taken, "means": means}
    put_model(merge.model if taken == "merged" else models[taken], out)
    write_json(out / "choice.json", facts)
    shown = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
    ctx.progress.say(f"dev {DECIDES}, mean over slices: {shown}; {taken} is taken")
    return facts
