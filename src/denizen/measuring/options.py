"""What can be done with several domains, as retrievers, and the steps that measure them on one corpus of all domains.

Whatever it is made of, an option is asked every query of every domain, and searches all passages of all domains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.artifacts import Corpus, Evaluation, Model, Qrels, Queries
from denizen.data.tables import each, read_table, relevant, write_table
from denizen.data.union import Union
from denizen.engine.artifact import Artifact, Value
from denizen.engine.files import read_json, write_json
from denizen.engine.step import Context, step
from denizen.measuring import retrieval
from denizen.measuring.dependence import groups
from denizen.measuring.slices import DECIDES
from denizen.measuring.students import Searching
from denizen.retrievers.adapted import ADAPTER, Adapted, RoutedAdapters, routed_adapters
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.ensemble import Concatenated, Ensemble
from denizen.retrievers.federated import Federated
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.index import Index
from denizen.retrievers.retriever import Retriever, every_part
from denizen.retrievers.routed import Routed
from denizen.retrievers.routing.decision import Thresholds
from denizen.retrievers.routing.label_router import LabelRouter
from denizen.retrievers.routing.saved import save_router
from denizen.retrievers.routing.train_routers import Routers
from denizen.retrievers.score_calibration import Isotonic, ScoreCalibration, ZScore, calibration_of

BASE = "base"
# all experts, as one name of what an option needs
EXPERTS = "experts"
# a router that is right, which nobody has: the most that routing could give
ORACLE, ORACLE_EVERYWHERE = "oracle", "oracle-everywhere"
ROUTED, ROUTED_EVERYWHERE, ROUTED_ADAPTERS = "routed", "routed-everywhere", "routed-adapters"
_CHOSEN = "chosen"


class Calibrated(Artifact):
    """What makes the scores of one domain's expert comparable with those of others."""

    def of(self, kind: str) -> ScoreCalibration:
        """By z-scores ("z") or by the probability of being relevant ("isotonic")."""
        saved = read_json(self.path / "calibration.json")
        return calibration_of(saved[kind])


@dataclass(frozen=True)
class Ingredients:
    """What an option can be made of.

    Attributes:
        single: Name to a model that has all passages: the base, joint ones, the merged one.
        experts: Domain to its expert, by name.
        calibrations: Domain to that of its expert; None where none is needed.
        router: The folder of a router; None where none is needed.
    """

    single: Mapping[str, BiEncoder]
    experts: Mapping[str, BiEncoder]
    calibrations: Mapping[str, Calibrated] | None
    router: Path | None

    def calibrated(self, kind: str) -> tuple[ScoreCalibration, ...]:
        """The calibrations of all experts."""
        found = self.calibrations or {}
        return tuple(found[name].of(kind) for name in self.experts)

    def routed_adapters(self) -> RoutedAdapters:
        """The base, the experts' adapters and the router; each adapter with the passages of its domain."""
        if self.router is None:
            raise TypeError("what routes needs a router")
        folders = [expert.folder / ADAPTER for expert in self.experts.values()]
        return routed_adapters(self.single[BASE], folders, tuple(self.experts), self.router, everywhere=False)

    def routed(self, *, everywhere: bool) -> Routed:
        """The base, the experts and the router."""
        parts = (self.single[BASE], *self.experts.values())
        if self.router is None:
            raise TypeError("what routes needs a router")
        return Routed(parts, tuple(self.experts), self.router, everywhere)


@dataclass(frozen=True)
class Option:
    """One thing that can be done with several domains.

    Attributes:
        called: What people call it.
        models: What it is made of: names of single models, and `EXPERTS`.
        make: Makes it.
        calibrated: Whether it needs calibrations of scores.
        routed: Whether it needs a router.
        deployable: Whether it can be had; else it says what could at most be had.
        renewed: Whether one domain more means training anew on all domains.
    """

    called: str
    models: tuple[str, ...]
    make: Callable[[Ingredients], Retriever]
    calibrated: bool = False
    routed: bool = False
    deployable: bool = True
    renewed: bool = False


def _single(name: str) -> Callable[[Ingredients], Retriever]:
    return lambda given: given.single[name]


def _federated(kind: str) -> Callable[[Ingredients], Retriever]:
    return lambda given: Federated(tuple(given.experts.values()), tuple(given.experts), given.calibrated(kind))


def _routed(*, everywhere: bool) -> Callable[[Ingredients], Retriever]:
    return lambda given: given.routed(everywhere=everywhere)


_WITH_BASE = (BASE, EXPERTS)
# name to option, from the plainest on
OPTIONS: dict[str, Option] = {
    BASE: Option("general base", (BASE,), _single(BASE)),
    "joint": Option("joint training (mixed batches)", ("joint",), _single("joint"), renewed=True),
    "joint-apart": Option(
        "joint training (one domain a batch)", ("joint-apart",), _single("joint-apart"), renewed=True
    ),
    "merged": Option("merged weights", ("merged",), _single("merged")),
    ROUTED: Option("routing (own indexes)", _WITH_BASE, _routed(everywhere=False), routed=True),
    ROUTED_EVERYWHERE: Option("routing (all passages by each)", _WITH_BASE, _routed(everywhere=True), routed=True),
    ROUTED_ADAPTERS: Option(
        "routing (adapters over one base)", _WITH_BASE, lambda given: given.routed_adapters(), routed=True
    ),
    "federated-z": Option("all own indexes (z-scores)", (EXPERTS,), _federated("z"), calibrated=True),
    "federated-isotonic": Option("all own indexes (isotonic)", (EXPERTS,), _federated("isotonic"), calibrated=True),
    "ensemble-z": Option(
        "ensemble (z-scores)",
        (EXPERTS,),
        lambda given: Ensemble(tuple(given.experts.values()), given.calibrated("z")),
        calibrated=True,
    ),
    "ensemble-rrf": Option("ensemble (RRF)", (EXPERTS,), lambda given: Hybrid(tuple(given.experts.values()))),
    "ensemble-vectors": Option(
        "ensemble (joined vectors)", (EXPERTS,), lambda given: Concatenated(tuple(given.experts.values()))
    ),
    ORACLE: Option(
        "oracle routing (own indexes)", _WITH_BASE, _routed(everywhere=False), routed=True, deployable=False
    ),
    ORACLE_EVERYWHERE: Option(
        "oracle routing (all passages by each)", _WITH_BASE, _routed(everywhere=True), routed=True, deployable=False
    ),
}
_ORACLES = (ORACLE, ORACLE_EVERYWHERE)


@step(version=1, makes=Calibrated, name="calibration")
def calibrate(  # noqa: PLR0913
    out: Path,
    params: Searching,
    ctx: Context,
    *,
    model: Model,
    index: Index,
    corpus: Corpus,
    queries: Queries,
    qrels: Qrels,
) -> dict[str, Any]:
    """Learns what an expert's scores mean, from what it finds for the dev queries of its own domain among its passages.

    No other domain has a part in it, so that one more leaves it as it is.

    Args:
        out: Where calibration.json goes.
        params: How deep is searched: all that is found counts.
        ctx: The encoders.
        model: The expert.
        index: What has embedded its passages, which says in which arithmetic.
        corpus: The passages of its domain.
        queries: Its queries, of which those of dev count.
        qrels: What answers them.
    """
    expert, known = index.model(model, ctx[Encoders]), relevant(qrels.table)
    asked = {name: text for name, text in queries.texts("dev").items() if name in known}
    run = expert.search(expert.index(corpus.table, ctx.progress), asked, params.depth, ctx.progress)
    scores = run["score"].to_numpy().astype(np.float64)
    right = np.asarray([float(doc_id in known[query_id]) for query_id, doc_id in each(run, "query_id", "doc_id")])
    z, isotonic = ZScore.fit(scores), Isotonic.fit(scores, right)
    write_json(out / "calibration.json", {"z": z.as_dict(), "isotonic": isotonic.as_dict()})
    return {"queries": len(asked), "scores": len(scores), "relevant": int(right.sum()), "z": z.as_dict()}


def options_of(*, adapters: bool) -> list[str]:
    """The names of the options of a run, from the plainest on.

    Args:
        adapters: Whether experts are adapters of the base.
    """
    return [name for name in OPTIONS if adapters or name != ROUTED_ADAPTERS]


def router_folder(routers: Routers | None) -> Path | None:
    """Where the router lies that dev has chosen; None without routers."""
    return None if routers is None else routers.path / _CHOSEN


def retriever_of(
    name: str,
    models: Mapping[str, Model],
    experts: Mapping[str, Model] | None,
    index: Index,
    encoders: Encoders,
    calibrations: Mapping[str, Calibrated] | None,
    router: Path | None,
) -> Retriever:
    """An option as a retriever.

    Args:
        name: A key of `OPTIONS`.
        models: Single models that it is made of, by name.
        experts: Domain to its expert, where it is made of them.
        index: What says in which arithmetic all of them embed.
        encoders: This machine's.
        calibrations: Of the experts.
        router: A router's folder.
    """
    single, of_domains = (
        {of: index.model(model, encoders) for of, model in given.items()} for given in (models, experts or {})
    )
    return OPTIONS[name].make(Ingredients(single, of_domains, calibrations, router))


def _planned(
    params: Searching, *, models: Mapping[str, Model], option: Value, split: Value, union: Union, **inputs: Any
) -> dict[str, Any]:
    # the base has embedded all passages, dev is measured before test, and what one option has embedded others find
    passages, experts = union.facts.get("passages", 0), inputs.get("experts") or {}
    new = len(models.keys() - {BASE}) if split.content == "dev" else 0
    everywhere = split.content == "dev" and option.content == ROUTED_EVERYWHERE
    return {"encoded_texts": passages * (new + (len(experts) if everywhere else 0))}


@step(version=2, makes=Evaluation, name="option", plan=_planned)
def measure_option(  # noqa: PLR0913
    out: Path,
    params: Searching,
    ctx: Context,
    *,
    option: Value,
    split: Value,
    models: Mapping[str, Model],
    union: Union,
    index: Index,
    experts: Mapping[str, Model] | None = None,
    calibrations: Mapping[str, Calibrated] | None = None,
    routers: Routers | None = None,
) -> dict[str, Any]:
    """What an option finds for the queries of one side, all domains in one corpus.

    Args:
        out: metrics.parquet; queries.json with the domain and the group of each; footprint.json; and of what routes
            routes.json: query to the domains that it goes to.
        params: How deep is searched.
        ctx: The encoders.
        option: A key of `OPTIONS`.
        split: Whose queries are asked: dev or test.
        models: Single models that it is made of.
        union: Passages, queries and labels.
        index: What says in which arithmetic models embed.
        experts: By domain, where the option needs them.
        calibrations: The same.
        routers: Where it needs one that is not always right.

    Returns:
        `domains`: of each its `queries` and `means`; bytes of `weights` and of the `index`.
    """
    rows, known = union.queries.of(split.content), relevant(union.qrels.table)
    asked = {row["query_id"]: row["text"] for row in rows if row["query_id"] in known}
    home = {row["query_id"]: row["domain"] for row in rows}
    router = router_folder(routers)
    if option.content in _ORACLES:
        router = ctx.scratch / "labels"
        save_router(
            router, LabelRouter(tuple(experts or {}), {name: home[name] for name in asked}), Thresholds(0.0, 1.0)
        )
    corpus = union.corpus.table
    retriever = retriever_of(option.content, models, experts, index, ctx[Encoders], calibrations, router)
    made = retriever.index(corpus, ctx.progress)
    if isinstance(retriever, Routed):
        routes = zip(asked, retriever.routes(made, asked, ctx.progress), strict=True)
        write_json(out / "routes.json", {name: list(route.domains) for name, route in routes})
    run = retriever.search(made, asked, params.depth, ctx.progress)
    metrics = retrieval.measure(run, union.qrels.table, list(asked))
    write_table(out / "metrics.parquet", metrics)
    together = _groups(union, {name: home[name] for name in asked})
    write_json(out / "queries.json", {name: {"domain": home[name], "group": together[name]} for name in asked})
    found = by_domain(retrieval.per_query(metrics), [home[name] for name in asked])
    means = {name: {measure: float(of.mean()) for measure, of in its.items()} for name, its in found.items()}
    mean = float(np.mean([its[DECIDES] for its in means.values()]))
    ctx.progress.note(f"{split.content} {DECIDES} {mean:.3f}, the mean of {len(means)} domains")
    counts = {name: len(next(iter(its.values()))) for name, its in found.items()}
    domains = {name: {"queries": counts[name], "means": means[name]} for name in means}
    footprint = {"weights": _weights(retriever), "index": _vectors(made)}
    write_json(out / "footprint.json", footprint)
    return {"domains": domains, "mean": mean, **footprint}


def _groups(union: Union, home: Mapping[str, str]) -> dict[str, int]:
    """The group of each query, by query id to domain; the numbers of a domain are its own.

    A domain is grouped by itself: whether its documents are enough to be drawn is not for other domains to say.
    """
    found: dict[str, int] = {}
    for name in sorted(set(home.values())):
        own = [query_id for query_id, domain in home.items() if domain == name]
        found |= groups(own, union.qrels.table, union.corpus.table).of
    return found


def by_domain(values: Mapping[str, np.ndarray[Any, Any]], domains: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Values of queries, by measure, put apart by the domain of each query; the domains by name."""
    of = np.asarray(domains)
    return {name: {measure: its[of == name] for measure, its in values.items()} for name in sorted(set(domains))}


@dataclass(frozen=True)
class Measured:
    """What an option has got, by domain.

    Attributes:
        values: Domain to measure to values, shape (queries,).
        bytes: Of weights and index in memory.
        groups: Domain to the group of each query.
        query_ids: Domain to its queries, in the order of values.
    """

    values: Mapping[str, Mapping[str, np.ndarray[Any, Any]]]
    bytes: int
    groups: Mapping[str, Sequence[int]]
    query_ids: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, evaluation: Evaluation) -> Measured:
        """From the files of step `option`."""
        said = read_json(evaluation.path / "queries.json")
        domains = [its["domain"] for its in said.values()]
        values = retrieval.per_query(read_table(evaluation.path / "metrics.parquet", "metrics"))
        beside = {"group": np.asarray([its["group"] for its in said.values()]), "id": np.asarray(list(said))}
        apart = by_domain(beside, domains)
        return cls(
            by_domain(values, domains),
            sum(read_json(evaluation.path / "footprint.json").values()),
            {name: its["group"].tolist() for name, its in apart.items()},
            {name: its["id"].tolist() for name, its in apart.items()},
        )


def _weights(retriever: Retriever) -> int:
    """Bytes of the weights of all models that it needs in memory, each once, as 32-bit floats.

    Not those of files: what is trained from a base is saved in another precision, and without buffers that base has.
    """
    files = {path for part in every_part(retriever) if isinstance(part, BiEncoder) for path in _weight_files(part)}
    return 4 * sum(map(_numbers, files))


def _weight_files(model: BiEncoder) -> list[Path]:
    """The files that its weights are loaded from; an adapter beside those of an expert is folded into them."""
    whole = [path for path in model.folder.rglob("*.safetensors") if path.parent.name != ADAPTER]
    beside = {path.parent for path in whole}
    whole += [path for path in model.folder.rglob("pytorch_model*.bin") if path.parent not in beside]
    adapter = model.adapter if isinstance(model, Adapted) else None
    return [*whole, *(adapter.glob("*.safetensors") if adapter else [])]


def _numbers(weights: Path) -> int:
    """How many floats a file of weights holds; what else there is are positions and masks."""
    if weights.suffix == ".bin":
        import torch

        found = torch.load(weights, map_location="meta", weights_only=True)
        return sum(of.numel() for of in found.values() if of.is_floating_point())
    from safetensors import safe_open

    with safe_open(weights, "np") as opened:
        slices = [opened.get_slice(name) for name in opened.keys()]  # noqa: SIM118  (it is no mapping)
        return sum(math.prod(of.get_shape()) for of in slices if of.get_dtype().startswith(("F", "BF")))


def _vectors(index: Any) -> int:
    """Bytes of the vectors of an index, as 32-bit floats."""
    if isinstance(index, list):
        return sum(map(_vectors, index))
    rows, dim = index.vectors.shape
    return 4 * int(rows) * int(dim)
