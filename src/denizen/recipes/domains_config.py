"""The settings of `domains`: those of `experts`, and those of what is compared besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from denizen.data.sampled import DomainSampling
from denizen.engine.errors import InputError
from denizen.engine.settings import Params, Setting, settings_of
from denizen.measuring.recommending import Recommending
from denizen.recipes.experts_config import IDLE, PARTS, ExpertsConfig
from denizen.retrievers.routing.train_routers import Routing

_PARTS = (*PARTS, DomainSampling, Routing, Recommending)
# no LLM is asked here
_IDLE = (*IDLE, "llm_queries")
DOMAINS_SETTINGS: dict[str, Setting] = {name: each for name, each in settings_of(*_PARTS).items() if name not in _IDLE}
DOMAINS_WITHOUT_EFFECT = tuple(name for name, each in DOMAINS_SETTINGS.items() if not each.owner.effect)


class DomainsConfig(ExpertsConfig):
    """Settings of one comparison of what can be done with several domains; those of `ExpertsConfig`, and more.

    Args:
        sources: The domains, or one source with a column that names them.
        given: Settings by their flat names.

    Attributes:
        sampling: Of how often each domain is drawn in joint training.
        routing: Of the routers.
        recommending: Of the rule by which an option is recommended.

    Raises:
        InputError: As `ExpertsConfig`, and when batches are those of one domain, which are compared anyway.
    """

    parts: ClassVar[tuple[type[Params], ...]] = _PARTS
    settings: ClassVar[Mapping[str, Setting]] = DOMAINS_SETTINGS

    def __init__(self, sources: str | Sequence[str], **given: Any) -> None:
        super().__init__(sources, **given)
        self.sampling = DomainSampling.of(self._values)
        self.routing = Routing.of(self._values)
        self.recommending = Recommending.of(self._values)
        if self.router == "llm":
            raise InputError("router is 'llm', and this command asks no LLM; take auto, knn, centroids or logistic")
        if self.batches == "domain":
            raise InputError("batches is 'domain', and joint training is compared with and without that; leave it out")
