"""`gate`: has a model forgotten more than it may? Any model against its base, on general and neighbour sets."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denizen.core.errors import InputError
from denizen.core.progress import Progress, Silent
from denizen.core.stage import write_json
from denizen.models.encoder import locate
from denizen.models.weights import model_digest
from denizen.recipes.evaluate import evaluate
from denizen.recipes.forgetting import MEASURE
from denizen.recipes.proof import mean_changes
from denizen.recipes.results import SCHEMA, versions
from denizen.recipes.retrieval_sets import ROLES, unique_names
from denizen.recipes.run_folder import probe


def gate(  # noqa: PLR0913
    model: str,
    base: str,
    *,
    general: Sequence[str] = (),
    neighbour: Sequence[str] = (),
    forgetting_limit: float = 0.005,
    split: str = "test",
    out: Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    store: str = "",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures a model beside its base where it must not get worse.

    Args:
        model: A folder or id.
        base: The model that it was adapted from.
        general: BEIR folders of general sets.
        neighbour: BEIR folders of the same field with other questions.
        forgetting_limit: How far the mean nDCG@10 of each role's sets may fall.
        split: Which qrels to measure on.
        out: Where to write gate.json; None: nowhere.
        backend: As the setting of `adapt`.
        precision: As the setting of `adapt`.
        store: Folder of embeddings to share; empty: none are kept.
        progress: Receives what a person should see.

    Returns:
        Whether the gate is met, the mean change of each role, and means and differences of each set.

    Raises:
        InputError: When no set is given, or one or a model cannot be used.
    """
    given = {**dict.fromkeys(general, ROLES[0]), **dict.fromkeys(neighbour, ROLES[1])}
    if not given:
        raise InputError("no set to measure on; give --general or --neighbour, a BEIR folder each")
    if not 0 <= forgetting_limit <= 1:
        raise InputError(f"forgetting_limit is {forgetting_limit}; it must be between 0 and 1")
    folders = [Path(path).expanduser() for path in given]
    names = unique_names(folders)
    digests = {"base": model_digest(locate(base)), "model": model_digest(locate(model))}
    if out is not None:
        probe(out)
    sets = {}
    with tempfile.TemporaryDirectory() as kept:
        how: dict[str, Any] = {"split": split, "backend": backend, "precision": precision, "store": store or kept}
        for name, folder, role in zip(names, folders, given.values(), strict=True):
            (progress or Silent()).say(name)
            found = evaluate([base, model], folder, bm25=False, progress=progress, **how)
            sets[name] = {"role": role, "queries": found["queries"], **_renamed(found)}
    changes = mean_changes(sets, "adapted")
    met = all(change >= -forgetting_limit for change in changes.values())
    report = {"schema": SCHEMA, "met": met, "limit": forgetting_limit, "measure": MEASURE, "change": changes}
    report |= {"sets": sets, "models": digests, "versions": versions()}
    if out is not None:
        write_json(out / "gate.json", report)
    return report


def _renamed(found: dict[str, Any]) -> dict[str, Any]:
    """Means and differences of an evaluation of two models, under the names that a run has for them."""
    first, second = found["means"]
    means = {"base": found["means"][first], "adapted": found["means"][second]}
    return {"means": means, "differences": {"adapted": found["differences"][second]}}
