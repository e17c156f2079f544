"""`gate`: has a retriever forgotten more than it may? Any one against its base, on general and neighbour sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import probe as check_writable
from denizen.engine.settings import Seeded
from denizen.measuring import forgetting
from denizen.measuring.probes import MEASURE, RetrievalProbe
from denizen.measuring.provenance import SCHEMA, versions
from denizen.measuring.retrieval_sets import read_parts
from denizen.recipes.run_folder import seed_of
from denizen.retrievers.bi_encoder import encoders_in
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.saved import find_each, load


def gate(  # noqa: PLR0913
    model: str,
    base: str,
    *,
    general: Sequence[str] = (),
    neighbour: Sequence[str] = (),
    forgetting_limit: float = 0.005,
    seed: int | None = None,
    out: Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    store: str = "",
    progress: Progress | None = None,
    **reading: Any,
) -> dict[str, Any]:
    """Measures a retriever beside its base where it must not get worse, on the queries of a run's gate.

    Args:
        model: A folder (of a model, or of a saved retriever of any kind) or id.
        base: What it was adapted from, the same.
        general: BEIR folders of general sets.
        neighbour: BEIR folders of the same field with other questions.
        forgetting_limit: How far the mean nDCG@10 of each role's sets may fall.
        seed: Draws the passages of a corpus that is searched in part; None: that of the run which the model comes from,
            whose own figures come again then, or the default of `adapt` where no run is known.
        out: Where to write gate.json; None: nowhere.
        backend: As the setting of `adapt`.
        precision: As the setting of `adapt`.
        store: Folder of embeddings to share; empty: none are kept.
        progress: Receives what a person should see.
        reading: How models that are decoder-only LLMs are read: `pooling`, `attention` and `instruction` of `adapt`.

    Returns:
        Whether the gate is met, the mean change of each role, means and differences of each set, and the seed.

    Raises:
        InputError: When no set is given, a setting is out of bounds, or a set or a model cannot be used.
    """
    if not general and not neighbour:
        raise InputError("no set to measure on; give --general or --neighbour, a BEIR folder each")
    if not 0 <= forgetting_limit <= 1:
        raise InputError(f"forgetting_limit is {forgetting_limit}; it must be between 0 and 1")
    encoding = Encoding.of({"backend": backend, "precision": precision})
    encoding.check()
    folders = dict(zip(("base", "adapted"), find_each([base, model], reading), strict=True))
    known = {"given": seed, "run": seed_of(folders["adapted"]), "default": Seeded().seed}
    told, drawn = next((told, Seeded(found).seed) for told, found in known.items() if found is not None)
    progress, sets = progress or Silent(), {}
    with encoders_in(store) as encoders:
        if out:
            check_writable(out)
        models = {name: load(folder, encoding, encoders) for name, folder in folders.items()}
        for part in read_parts(general, neighbour, drawn):
            with progress.working(part.name):
                sets[part.name] = RetrievalProbe(part.test, progress=progress).report(models)
    changes = forgetting.reported(sets)
    digests = {name: retriever.digest for name, retriever in models.items()}
    report: dict[str, Any] = {"schema": SCHEMA, "met": forgetting.met(changes, forgetting_limit)}
    report |= {"limit": forgetting_limit, "measure": MEASURE, "change": changes, "seed": drawn, "seed_from": told}
    report |= {"sets": sets, "models": digests, "versions": versions()}
    if out:
        write_json(out / "gate.json", report)
    return report
