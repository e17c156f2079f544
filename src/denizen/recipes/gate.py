"""`gate`: has a model forgotten more than it may? Any model against its base, on general and neighbour sets."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denizen.engine.errors import InputError
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import probe
from denizen.engine.stage import write_json
from denizen.measuring import retrieval as evaluation
from denizen.measuring.retrieval_sets import read_parts
from denizen.recipes.forgetting import MEASURE
from denizen.recipes.proof import mean_changes
from denizen.recipes.run_folder import check_encoding
from denizen.reports.results import SCHEMA, versions
from denizen.retrievers.encoder import Encoder, locate
from denizen.retrievers.model_ref import model_digest
from denizen.retrievers.searching import search_with

_DEPTH = 100
# that of `adapt` where none is given; it draws the passages of a corpus that is searched in part
_SEED = 42


def gate(  # noqa: PLR0913
    model: str,
    base: str,
    *,
    general: Sequence[str] = (),
    neighbour: Sequence[str] = (),
    forgetting_limit: float = 0.005,
    out: Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    store: str = "",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures a model beside its base where it must not get worse, on the queries on which a run's gate is measured.

    Args:
        model: A folder or id.
        base: The model that it was adapted from.
        general: BEIR folders of general sets.
        neighbour: BEIR folders of the same field with other questions.
        forgetting_limit: How far the mean nDCG@10 of each role's sets may fall.
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
    if not general and not neighbour:
        raise InputError("no set to measure on; give --general or --neighbour, a BEIR folder each")
    if not 0 <= forgetting_limit <= 1:
        raise InputError(f"forgetting_limit is {forgetting_limit}; it must be between 0 and 1")
    check_encoding(backend, precision, store)
    folders = {"base": locate(base), "adapted": locate(model)}
    digests = {name: model_digest(folder) for name, folder in folders.items()}
    if out is not None:
        probe(out)
    progress = progress or Silent()
    sets = {}
    with tempfile.TemporaryDirectory() as kept:
        for part in read_parts(general, neighbour, _SEED):
            test, runs = part.test, {}
            for name, folder in folders.items():
                with progress.working(f"{part.name} by {name}"):
                    encoder = Encoder(folder, Path(store or kept).expanduser(), backend=backend, precision=precision)
                    runs[name] = search_with(encoder, test.queries, test.corpus, _DEPTH, progress)
            found = evaluation.write_evaluation(None, runs, test.qrels, list(test.queries))
            sets[part.name] = {"role": part.role, "passages": len(test.corpus), **found}
    changes = mean_changes(sets, "adapted")
    met = all(change >= -forgetting_limit for change in changes.values())
    report = {"schema": SCHEMA, "met": met, "limit": forgetting_limit, "measure": MEASURE, "change": changes}
    report |= {"sets": sets, "models": digests, "versions": versions()}
    if out is not None:
        write_json(out / "gate.json", report)
    return report
