"""The step that trains routers on labelled queries, calibrates them on dev, and chooses one there."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from denizen.data.artifacts import Model, Queries
from denizen.engine.artifact import Artifact
from denizen.engine.settings import Seeded, setting
from denizen.engine.step import Context, step
from denizen.llm.client import LLM
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.routing.decision import RoutingCosts, choose_thresholds
from denizen.retrievers.routing.fitting import Fitted, best_of, fit_embedding_routers, fit_llm_router
from denizen.retrievers.routing.labelled import LabelledQueries, unit
from denizen.retrievers.routing.router import Router
from denizen.retrievers.routing.saved import EMBEDDING_ROUTERS, load_router, save_router


@dataclass(frozen=True)
class Routing(RoutingCosts, Seeded):
    """Which routers are trained, and which is taken."""

    panel = "Routing"

    router: Literal["auto", "knn", "centroids", "logistic", "llm"] = setting(
        "auto", "What routes; auto: the one of knn, centroids and logistic with the lowest log loss on dev."
    )
    # 200 answers know a share of .9 to within .04, and cost a small LLM on two cores some ten minutes
    llm_queries: int = setting(200, "Dev queries that an LLM is asked, to know what its answers are worth.", least=20)
    encoding: Encoding = field(default_factory=Encoding)


class Routers(Artifact):
    """Trained routers, a folder each; `chosen` is the one to take."""


@step(version=1, makes=Routers, name="routers")
def train_routers(out: Path, params: Routing, ctx: Context, *, queries: Queries, base: Model) -> dict[str, Any]:
    """Trains routers on the queries of train; dev calibrates them and chooses.

    Args:
        out: Where to write: a folder for the best of each kind, and `chosen`.
        params: Which, what decisions cost, and the seed.
        ctx: Where embeddings are, and the LLM, if one is to be asked.
        queries: With their domains; "" says of no domain. Those of test are not looked at.
        base: The frozen model.

    Returns:
        domains, queries by domain and side ("" where of none), log loss on dev of each variant, the one that was
        chosen, and the thresholds of each kind.
    """
    encoder = ctx[Encoders].of(base.path, params.encoding, base.digest)

    def side(split: str) -> LabelledQueries:
        rows = queries.of(split)
        texts = {row["query_id"]: row["text"] for row in rows}
        with ctx.progress.bar(len(rows), "queries") as advance:
            found = np.asarray(encoder.encode(list(texts.values()), "query", advance))
        return LabelledQueries(texts, [row["domain"] for row in rows], unit(found))

    train, dev = side("train"), side("dev")
    tried = fit_embedding_routers(train, dev, base.digest, params.seed)
    if params.router == "llm":
        with ctx.progress.bar(min(params.llm_queries, len(dev.texts)), "queries") as advance:
            tried["llm"] = fit_llm_router(ctx[LLM], train, dev, params.llm_queries, params.seed, advance)
    chosen = best_of(tried, EMBEDDING_ROUTERS if params.router == "auto" else (params.router,))
    kinds = dict.fromkeys(of.router.name for of in tried.values())
    kept = {**{kind: tried[best_of(tried, (kind,))] for kind in kinds}, "chosen": tried[chosen]}
    thresholds = {name: _saved(out / name, of, params) for name, of in kept.items()}
    ctx.progress.note(f"{chosen} by log loss on dev")
    counts = {"train": Counter(train.domains), "dev": Counter(dev.domains)}
    domains = list(tried[chosen].router.domains)
    return {
        "domains": domains,
        "queries": {name: {part: of[name] for part, of in counts.items()} for name in (*domains, "")},
        "log_loss": {name: round(of.log_loss, 4) for name, of in tried.items()},
        "chosen": chosen,
        "thresholds": thresholds,
    }


def _saved(folder: Path, of: Fitted, costs: RoutingCosts) -> dict[str, float]:
    """Saves a router with the thresholds that cost least on dev, which are given back."""
    probabilities = of.router.probabilities(of.dev.texts, of.dev.embeddings)
    thresholds = choose_thresholds(probabilities, of.router.domains, of.dev.domains, costs)
    save_router(folder, of.router, thresholds)
    return asdict(thresholds)


def router_of(routers: Routers, llm: LLM | None = None, name: str = "chosen") -> Router:
    """A router of those that the step has trained."""
    return load_router(routers.path / name, llm)[0]
