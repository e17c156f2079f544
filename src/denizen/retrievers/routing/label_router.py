"""Routing by labels that the user gives: of queries whose domain is known, and the upper bound of all other routers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from denizen.engine.files import write_json
from denizen.retrievers.routing.router import MANIFEST, Probabilities
from denizen.retrievers.store import Vectors


@dataclass(frozen=True)
class LabelRouter:
    """Certain of a query whose label is known, and silent about any other one.

    Attributes:
        domains: The domains, sorted by name.
        labels: Query id to domain; a name that is no domain says that the query is of none.
    """

    name: ClassVar[str] = "labels"

    domains: tuple[str, ...]
    labels: Mapping[str, str]

    def probabilities(self, queries: Mapping[str, str], embeddings: Vectors) -> Probabilities:
        """As `Router.probabilities`, of ones and zeros; only the ids are looked at."""
        return np.asarray(
            [[float(self.labels.get(query_id) == name) for name in self.domains] for query_id in queries]
        ).reshape(len(queries), len(self.domains))

    def save(self, folder: Path) -> None:
        """Writes router.json."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MANIFEST, {"kind": self.name, "domains": list(self.domains), "labels": dict(self.labels)})
