"""Fitting routers of every kind on training queries, and comparing them by log loss on dev."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from denizen.engine.errors import InputError
from denizen.llm.client import LLM
from denizen.retrievers.routing.calibration import Calibration
from denizen.retrievers.routing.centroids import Centroids
from denizen.retrievers.routing.embedding_router import EmbeddingRouter
from denizen.retrievers.routing.head import Head, sorted_domains
from denizen.retrievers.routing.knn import Neighbours
from denizen.retrievers.routing.labelled import LabelledQueries, drawn
from denizen.retrievers.routing.logistic import Logistic
from denizen.retrievers.routing.router import Probabilities, Router

# what is tried of each kind, from the plainest on; docs/domains.md has what came of it
CENTROIDS, NEIGHBOURS, INVERSE_PENALTIES = (1, 4, 16), (1, 3, 10), (1.0, 10.0, 100.0)
# of one domain, that an LLM is shown
_SHOWN = 3
# of probabilities in the log loss: what was thought impossible and happened must not decide alone
_IMPOSSIBLE = 1e-6


@dataclass(frozen=True)
class Fitted:
    """A router that was tried.

    Attributes:
        router: It, calibrated.
        dev: The queries that it was calibrated on.
        log_loss: On these.
    """

    router: Router
    dev: LabelledQueries
    log_loss: float

    @classmethod
    def on(cls, router: Router, dev: LabelledQueries) -> Fitted:
        """Measures a router."""
        found = router.probabilities(dev.texts, dev.embeddings)
        return cls(router, dev, log_loss(found, dev.places(router.domains)))


def fit_embedding_routers(train: LabelledQueries, dev: LabelledQueries, base: str, seed: int) -> dict[str, Fitted]:
    """Every variant of knn, centroids and logistic by its name, such as "knn 3".

    Args:
        train: Training queries; those of no domain are not used.
        dev: Of every domain, and of none.
        base: Digest of the model that has embedded them.
        seed: Of what is drawn.

    Raises:
        InputError: When there are fewer than two domains, or one has no dev query, or dev has one that train has not.
    """
    known = train.inside
    domains = sorted_domains(known.domains)
    _check_dev(domains, dev)
    places, found = dev.places(domains), {}
    for name, fit in _variants(known, seed):
        head = fit()
        scores = head.scores(dev.embeddings)
        calibration = Calibration.fit(scores, head.closeness(dev.embeddings, scores), places)
        router = EmbeddingRouter(head, calibration, base)
        found[name] = Fitted.on(router, dev)
    return found


def fit_llm_router(
    llm: LLM,
    train: LabelledQueries,
    dev: LabelledQueries,
    most: int,
    seed: int,
    progress: Callable[[int], None] = lambda count: None,
) -> Fitted:
    """An LLM with examples of train, and what its answers are worth by so many queries of dev.

    Raises:
        InputError: As of `fit_embedding_routers`, and when too few were answered.
    """
    # pydantic and the client come with it
    from denizen.retrievers.routing.llm_router import LLMRouter

    known = train.inside
    _check_dev(sorted_domains(known.domains), dev)
    asked = dev.only(drawn(len(dev.texts), most, seed))
    router = LLMRouter.fit(llm, shown_examples(known, seed), asked.texts, asked.domains, progress)
    return Fitted.on(router, asked)


def best_of(tried: Mapping[str, Fitted], kinds: Sequence[str]) -> str:
    """The variant of some kinds with the lowest log loss on dev; of equal ones the first."""
    return min((name for name, of in tried.items() if of.router.name in kinds), key=lambda name: tried[name].log_loss)


def _variants(train: LabelledQueries, seed: int) -> Iterator[tuple[str, Callable[[], Head]]]:
    """What is tried of knn, centroids and logistic."""
    of = train.embeddings, train.domains
    for number in CENTROIDS:
        yield f"centroids {number}", partial(Centroids.fit, *of, number=number, seed=seed)
    for k in NEIGHBOURS:
        yield f"knn {k}", partial(Neighbours.fit, *of, k=k, seed=seed)
    for inverse in INVERSE_PENALTIES:
        yield f"logistic {inverse:g}", partial(Logistic.fit, *of, inverse_penalty=inverse, seed=seed)


def log_loss(probabilities: Probabilities, places: Sequence[int]) -> float:
    """The mean of -log of what was thought probable of what is true; of a query of no domain, what is missing to 1."""
    true, rows = np.asarray(places), np.arange(len(places))
    of = np.where(true < 0, 1 - probabilities.sum(axis=1), probabilities[rows, np.maximum(true, 0)])
    return float(-np.log(np.maximum(of, _IMPOSSIBLE)).mean())


def shown_examples(train: LabelledQueries, seed: int) -> list[tuple[str, str]]:
    """Some queries of each domain, in turn: (query, domain)."""
    texts, found = list(train.texts.values()), list[tuple[int, str, str]]()
    random = np.random.default_rng(seed)
    for name in sorted(set(train.domains)):
        rows = random.permutation(np.flatnonzero(np.asarray(train.domains) == name))[:_SHOWN]
        found += [(turn, name, texts[row]) for turn, row in enumerate(rows)]
    return [(text, name) for _, name, text in sorted(found)]


def _check_dev(domains: Sequence[str], dev: LabelledQueries) -> None:
    there = set(dev.domains) - {""}
    if missing := sorted(set(domains) - there):
        raise InputError(
            f"no dev query is of {', '.join(missing)}, so nobody can say how sure a router is of it; give dev "
            "queries of every domain"
        )
    if unknown := sorted(there - set(domains)):
        raise InputError(f"dev has queries of {', '.join(unknown)}, and train has none; give training queries of it")
