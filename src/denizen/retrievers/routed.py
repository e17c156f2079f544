"""Two-stage retrieval: a router says which domain a query belongs to, and that domain's retriever searches."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from denizen.data.tables import SCHEMAS
from denizen.data.union import of_domain
from denizen.engine.errors import InputError
from denizen.engine.files import file_digest, files_below, json_digest, tree_digest
from denizen.engine.progress import Progress
from denizen.retrievers.bi_encoder import BiEncoder
from denizen.retrievers.hybrid import FUSED_DEPTH
from denizen.retrievers.retriever import Retriever, load_parts, save_composite, save_parts
from denizen.retrievers.routing.decision import Route, Thresholds, decide
from denizen.retrievers.routing.router import Router
from denizen.retrievers.routing.saved import load_router
from denizen.retrievers.search import first, fuse, in_order

ROUTER = "router"


@dataclass(frozen=True)
class Routed:
    """A general bi-encoder, a retriever for each domain, and a router that reads the general one's embeddings.

    A query of which the router is not sure goes to the general one, which has all passages; what two domains find is
    fused by rank, for scores of two models cannot be compared.

    Attributes:
        parts: The general one, then one for each domain.
        domains: Their names.
        router: The folder of the router.
        everywhere: Whether each part indexes all passages; else those of its domain, and those of none.
        router_digest: That of the folder; computed where it is not given.
    """

    kind: ClassVar[str] = "routed"

    parts: tuple[Retriever, ...]
    domains: tuple[str, ...]
    router: Path = field(compare=False)
    everywhere: bool = False
    router_digest: str = ""

    def __post_init__(self) -> None:
        """Checks what may come from a file.

        Raises:
            InputError: When the general part is no bi-encoder, or parts and domains are not of one number.
        """
        if len(self.parts) != len(self.domains) + 1 or len(self.domains) < 2:
            raise InputError(
                f"a routed retriever of {len(self.parts)} parts and {len(self.domains)} domains cannot be; it needs a "
                "general part and one for each of 2 domains or more"
            )
        if not isinstance(self.parts[0], BiEncoder):
            raise InputError(
                f"the general part of a routed retriever is a {self.parts[0].kind}; it must be a bi-encoder"
            )
        if not self.router_digest:
            names = files_below(self.router)
            digest = tree_digest({name: file_digest(self.router / name) for name in names})
            object.__setattr__(self, "router_digest", digest)

    @property
    def digest(self) -> str:
        """What it is."""
        parts = [part.digest for part in self.parts]
        return json_digest([self.kind, list(self.domains), self.everywhere, self.router_digest, parts])

    @cached_property
    def _loaded(self) -> tuple[Router, Thresholds]:
        router, thresholds = load_router(self.router)
        if strange := sorted(set(router.domains) - set(self.domains)):
            raise InputError(
                f"the router in {self.router} sends queries to {', '.join(strange)}, and there is no such domain here "
                f"(there are {', '.join(self.domains)}); save the retriever anew"
            )
        return router, thresholds

    def _shown(self, corpus: pa.Table) -> list[pa.Table]:
        """What each part is shown."""
        own = [corpus if self.everywhere else of_domain(corpus, name) for name in self.domains]
        return [corpus, *own]

    def index(self, corpus: pa.Table, progress: Progress) -> list[Any]:
        """What each part makes of what it is shown."""
        return [part.index(shown, progress) for part, shown in zip(self.parts, self._shown(corpus), strict=True)]

    def save_index(self, index: list[Any], folder: Path) -> None:
        """What each part keeps, in a folder of its own."""
        save_parts(self.parts, index, folder)

    def load_index(self, folder: Path, corpus: pa.Table, progress: Progress) -> list[Any]:
        """What each part makes of what it has kept."""
        return load_parts(self.parts, folder, self._shown(corpus), progress)

    def routes(self, index: list[Any], queries: Mapping[str, str], progress: Progress) -> list[Route]:
        """Where each query goes."""
        general = self.parts[0]
        if not isinstance(general, BiEncoder):
            raise TypeError("the general part is a bi-encoder")
        embedded = np.asarray(general.embed(index[0], queries, progress))
        unit = embedded / np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-12)
        router, thresholds = self._loaded
        return decide(router.probabilities(queries, unit), router.domains, thresholds)

    def search(self, index: list[Any], queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """A `run`; the scores of a query are those of who has searched for it, or of the fusion."""
        place = {name: at for at, name in enumerate(self.domains, start=1)}
        groups: dict[tuple[str, ...], dict[str, str]] = {}
        for route, (query_id, text) in zip(self.routes(index, queries, progress), queries.items(), strict=True):
            groups.setdefault(route.domains, {})[query_id] = text
        found = [SCHEMAS["run"].empty_table()]
        for domains, asked in sorted(groups.items()):
            parts = [place[name] for name in domains] or [0]
            # a fusion must rank alike however deep it is searched
            deep = depth if len(parts) == 1 else max(depth, FUSED_DEPTH)
            runs = [self.parts[at].search(index[at], asked, deep, progress) for at in parts]
            found.append(runs[0] if len(runs) == 1 else fuse([first(run, FUSED_DEPTH) for run in runs], depth))
        return in_order(pa.concat_tables(found), queries)

    def save(self, folder: Path) -> None:
        """Writes each part into a folder of its own, and the router into `router` beside them."""
        shutil.copytree(self.router, folder / ROUTER, dirs_exist_ok=True)
        save_composite(folder, self, {"domains": list(self.domains), "everywhere": self.everywhere})
