"""`mteb`: a bi-encoder on retrieval tasks of mteb, and on BEIR folders as such, with what could not be run and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import held
from denizen.measuring.mteb_model import MtebModel
from denizen.measuring.mteb_results import METRICS, Measuring
from denizen.measuring.mteb_tasks import PAPER_TASKS, DataCache, check_installed, find_tasks
from denizen.retrievers.bi_encoder import BiEncoder, encoders_in
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.loading import locate
from denizen.retrievers.saved import find_all


def mteb(  # noqa: PLR0913
    model: str,
    tasks: Sequence[str] = (),
    *,
    cache: str = "",
    split: str = "test",
    out: Path | None = None,
    backend: str = "auto",
    precision: str = "auto",
    store: str = "",
    progress: Progress | None = None,
    **reading: Any,
) -> dict[str, Any]:
    """Measures a bi-encoder on retrieval tasks of mteb.

    Args:
        model: The folder of a bi-encoder, or its id.
        tasks: Names of tasks, or BEIR folders; none: the twelve of arXiv 2602.04731.
        cache: A folder of data sets, as HF_HOME is one; empty: where the libraries look.
        split: Which qrels of a BEIR folder.
        out: Where to write metrics.json, and results as mteb keeps them. What is there already, of the same model,
            versions and settings, is not run again. None: nowhere.
        backend: As the setting of `adapt`.
        precision: As the setting of `adapt`.
        store: Folder of embeddings to share; empty: none are kept.
        progress: Receives what a person should see.
        reading: How models that are decoder-only LLMs are read: `pooling`, `attention` and `instruction` of `adapt`.

    Returns:
        The contents of metrics.json: by task nDCG@10, or why it is missing or has failed; the paper's averages.

    Raises:
        InputError: When a task is unknown, the model is no bi-encoder, `out` holds results of another one, or no task
            could be run.
    """
    check_installed()
    asked = find_tasks(tasks or [name for names in PAPER_TASKS.values() for name in names], split)
    data, encoding = DataCache.of(cache), Encoding.of({"backend": backend, "precision": precision})
    encoding.check()
    ((short, found),) = find_all([model], reading).items()
    # of a saved retriever of several parts it says which one to give
    folder = locate(str(found))
    # a model of the hub is known by its id
    name = model if "/" in model and not Path(model).expanduser().exists() else f"denizen/{short}"
    progress = progress or Silent()
    with encoders_in(store) as encoders:
        wrapped = MtebModel(BiEncoder(folder, encoding, encoders), name, progress)
        measuring = Measuring(wrapped, data, split, {"encoding": encoding.as_dict()}, out, progress)
        if out is None:
            return measuring.all(asked)
        with held(out, begun=(METRICS,)):
            return measuring.all(asked)
