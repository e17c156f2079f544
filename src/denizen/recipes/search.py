"""`search`: what the retriever that a run has made finds for a question, in the corpus of the run."""

from __future__ import annotations

from pathlib import Path

from denizen.engine.errors import InputError
from denizen.engine.progress import Progress
from denizen.retrievers.searchable import SearchableCorpus, is_searchable, load_searchable

RETRIEVER = "retriever"


def load_retriever(folder: str | Path, progress: Progress | None = None) -> SearchableCorpus:
    """The retriever of a run with its corpus: `load_retriever("runs/mine").search("how is gout treated")`.

    Args:
        folder: A run's folder, or one that `write_searchable` has written.
        progress: Receives what a person should see, should passages have to be indexed anew.

    Raises:
        InputError: When there is none, or it is damaged.
    """
    path = Path(folder).expanduser()
    for place in (path / RETRIEVER, path):
        if is_searchable(place):
            return load_searchable(place, progress)
    if not path.exists():
        raise InputError(f"{folder} does not exist; give the folder of a run, or one with a retriever and its corpus")
    raise InputError(
        f"{folder} holds no retriever with its corpus (retriever.json and corpus/corpus.parquet, there or in "
        f"{folder}/{RETRIEVER}); give the folder of a finished run"
    )
