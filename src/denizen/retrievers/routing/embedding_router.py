"""A router over embeddings: a head's scores, calibrated; in a folder one file of arrays and one of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denizen.engine.errors import InputError, reason
from denizen.engine.files import file_digest, write_json
from denizen.retrievers.routing.calibration import Calibration, Scope
from denizen.retrievers.routing.centroids import Centroids
from denizen.retrievers.routing.head import Head
from denizen.retrievers.routing.knn import Neighbours
from denizen.retrievers.routing.logistic import Logistic
from denizen.retrievers.routing.router import MANIFEST, Probabilities
from denizen.retrievers.store import Vectors

_ARRAYS = "router.safetensors"


@dataclass(frozen=True, eq=False)
class EmbeddingRouter:
    """A head and its calibration.

    Attributes:
        head: What gives scores.
        calibration: What makes probabilities of them.
        base: Digest of the model whose embeddings it reads: those of another one mean nothing to it.
    """

    head: Head
    calibration: Calibration
    base: str

    @property
    def name(self) -> str:
        """Its kind: that of the head."""
        return self.head.name

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains, sorted by name."""
        return self.head.domains

    def probabilities(self, queries: Mapping[str, str], embeddings: Vectors) -> Probabilities:
        """As `Router.probabilities`; the texts are not looked at.

        Raises:
            InputError: When embeddings have another number of dimensions than those that it was trained on.
        """
        if not len(embeddings):
            return np.zeros((0, len(self.domains)))
        try:
            scores = self.head.scores(embeddings)
            closeness = self.head.closeness(embeddings, scores)
        except ValueError as error:
            raise InputError(
                f"embeddings of {embeddings.shape[1]} dimensions are not those of the model that this router was "
                f"trained on (digest {self.base[:12]}); give that model"
            ) from error
        return self.calibration.probabilities(scores, closeness)

    def save(self, folder: Path) -> None:
        """Writes router.safetensors, then router.json, which holds the digest of the former."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{_ARRAYS}.partial"
        save_file({name: np.ascontiguousarray(array) for name, array in self.head.arrays.items()}, partial)
        digest = file_digest(partial)
        partial.replace(folder / _ARRAYS)
        saved = {"kind": self.name, "domains": list(self.domains), "base": self.base}
        write_json(folder / MANIFEST, {**saved, "calibration": asdict(self.calibration), "arrays": digest})


def load_embedding_router(folder: Path, saved: Mapping[str, Any]) -> EmbeddingRouter:
    """The router of a folder.

    Args:
        folder: Where it lies.
        saved: Its router.json.

    Raises:
        InputError: When its files do not belong together.
    """
    from safetensors.numpy import load_file

    path = folder / _ARRAYS
    try:
        if file_digest(path) != saved["arrays"]:
            raise ValueError("it is not the file that router.json was written with")
        arrays, domains = load_file(path), tuple(map(str, saved["domains"]))
        head = _head(str(saved["kind"]), domains, arrays)
        of = saved["calibration"]
        scope = Scope(**{name: tuple(map(float, values)) for name, values in of["scope"].items()})
        return EmbeddingRouter(head, Calibration(float(of["temperature"]), scope), str(saved["base"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder} holds no whole router ({reason(error)}); train it again") from error


def _head(kind: str, domains: tuple[str, ...], arrays: Mapping[str, np.ndarray[Any, Any]]) -> Head:
    if kind == Centroids.name:
        return Centroids(domains, arrays["centroids"], arrays["counts"])
    if kind == Neighbours.name:
        return Neighbours(domains, arrays["neighbours"], arrays["counts"], int(arrays["k"].item()))
    return Logistic(domains, arrays["weights"], arrays["bias"], arrays["centroids"])
