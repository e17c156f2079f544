"""The step that times an option as it is served: one query after the other, on this machine."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from denizen.data.artifacts import Model
from denizen.data.union import Union
from denizen.engine.artifact import Artifact, Value
from denizen.engine.errors import InputError
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.measuring.options import Calibrated, retriever_of, router_folder
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.index import Index
from denizen.retrievers.routing.train_routers import Routers
from denizen.retrievers.searchable import load_searchable, write_searchable

# queries that are timed one by one, after as many that are not as load what is loaded at the first
_TIMED, _WARM = 20, 5
_FOUND = 10


@step(version=2, makes=Artifact, local=True)
def latency(  # noqa: PLR0913
    out: Path,
    params: Params,
    ctx: Context,
    *,
    option: Value,
    models: Mapping[str, Model],
    union: Union,
    index: Index,
    experts: Mapping[str, Model] | None = None,
    calibrations: Mapping[str, Calibrated] | None = None,
    routers: Routers | None = None,
) -> dict[str, Any]:
    """How many milliseconds a query takes from its text to ten passages, by an option that was saved and loaded again.

    The queries are those of dev, the shortest wait of a person: nothing is asked twice, and nothing is batched.

    Raises:
        InputError: When there are no dev queries.
    """
    # a text that was asked before is not embedded again
    asked = list(dict.fromkeys(row["text"] for row in union.queries.of("dev")))
    if not asked:
        raise InputError("there are no dev queries to be timed with; give some")
    router = router_folder(routers)
    retriever = retriever_of(option.content, models, experts, index, ctx[Encoders], calibrations, router)
    with tempfile.TemporaryDirectory(dir=ctx.scratch) as folder:
        write_searchable(Path(folder), retriever, union.corpus.table, ctx.progress)
        searched = load_searchable(Path(folder))
        seconds = []
        for text in spread(asked, _TIMED + _WARM):
            began = time.perf_counter()
            searched.search(text, _FOUND)
            seconds.append(time.perf_counter() - began)
    # of few queries half warm up
    timed = seconds[min(_WARM, len(seconds) // 2) :]
    found = round(1000 * statistics.median(timed), 2)
    ctx.progress.note(f"{found:g} ms a query")
    return {"milliseconds": found, "queries": len(timed)}


def spread(asked: Sequence[str], most: int) -> list[str]:
    """So many of some queries at most, from first to last, for they stand domain by domain; none of them twice.

    They are shuffled, always alike: what warms up must not be one domain.
    """
    places = sorted({at * len(asked) // most for at in range(most)})
    return [asked[places[row]] for row in np.random.default_rng(0).permutation(len(places))]
