"""What a run has compared, each ready to be searched: base, BM25, adapted, and both together; made when asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from denizen.data.tables import folded
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.pipeline import records
from denizen.engine.progress import Silent
from denizen.measuring.keywords import by_words_and_pairs
from denizen.recipes.run_folder import read_config, store_of
from denizen.reports.finished_run import FinishedRun
from denizen.reports.try_page import BASE, described, offered, systems_of
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.loading import locate
from denizen.retrievers.model_ref import model_digest
from denizen.retrievers.reranked import Reranked
from denizen.retrievers.retriever import Index, Retriever
from denizen.retrievers.searchable import SearchableCorpus
from denizen.retrievers.store import take_in
from denizen.serve.live_encoder import LiveEncoders


def systems_in(folder: Path, shipped: SearchableCorpus, encoders: LiveEncoders) -> Systems | None:
    """The systems of a run; None where a folder is no finished run of adapt, or one of an older version."""
    try:
        run = FinishedRun(folder)
    except InputError:
        return None
    return Systems(run, shipped, encoders)


class Systems:
    """The systems of a run.

    Args:
        run: It.
        shipped: What it ships, with its passages.
        encoders: What embeds for it.
    """

    def __init__(self, run: FinishedRun, shipped: SearchableCorpus, encoders: LiveEncoders) -> None:
        self._run, self._shipped, self._encoders = run, shipped, encoders
        self.shipped = str(self._run.metrics["shipped"]["name"])
        self.names = systems_of(self._run.metrics)
        self._made: dict[str, SearchableCorpus] = {self.shipped: shipped}
        self._making: dict[str, asyncio.Task[SearchableCorpus]] = {}

    def told(self) -> dict[str, Any]:
        """What a page shows of them before anything is asked."""
        return {**described(self._run), "questions": offered(self._run)}

    def query_id(self, query: str) -> str | None:
        """The id of a question that the run knows."""
        return self._ids.get(folded(query))

    def passage(self, doc_id: str) -> dict[str, Any] | None:
        """A passage by its id."""
        place = self._places.get(doc_id)
        return None if place is None else dict(self._shipped.corpus.slice(place, 1).to_pylist()[0])

    async def of(self, name: str) -> SearchableCorpus:
        """One of `names`, loaded in the background where it is asked for the first time.

        Raises:
            InputError: When the base is no longer there, or has changed.
        """
        if name in self._made:
            return self._made[name]
        if name not in self._making:
            self._making[name] = asyncio.create_task(self._coming(name))
        # who has no time to wait leaves it to who comes next
        return await asyncio.shield(self._making[name])

    async def _coming(self, name: str) -> SearchableCorpus:
        try:
            loop = asyncio.get_running_loop()
            retriever, index = await loop.run_in_executor(None, self._make, name)
            self._made[name] = SearchableCorpus(retriever, self._shipped.corpus, index)
            return self._made[name]
        finally:
            del self._making[name]

    def _make(self, name: str) -> tuple[Retriever, Index]:
        corpus = self._shipped.corpus
        if name == BASE:
            return self._base()
        if name == "bm25":
            bm25 = BM25.fitting(corpus)
            return bm25, bm25.index(corpus, Silent())
        stages = list(self._shipped.stages())
        if name == "hybrid":
            known = next((pair for pair in stages if isinstance(pair[0], Hybrid)), None)
            if known is None:
                keywords, (model, own) = by_words_and_pairs(corpus), self._model(stages)
                way = self._run.metrics["decided"]["fusion"]
                made = Hybrid((keywords, model), fusion=way["fusion"], weights=tuple(way["weights"]))
                return made, [keywords.index(corpus, Silent()), own]
            return known
        return self._model(stages)

    def _model(self, stages: list[tuple[Retriever, Index]]) -> tuple[Retriever, Index]:
        """The model as what is shipped reads with it."""
        return next(pair for pair in stages if not isinstance(pair[0], Hybrid | Reranked | BM25))

    def _base(self) -> tuple[Retriever, Index]:
        """The base, which reads passages whole; what the run has embedded with it is not embedded again."""
        folder, config = self._run.folder, read_config(self._run.folder)
        before = Path(config.from_run).expanduser() / "model" if config.from_run else None
        place = before or locate(config.model, config.backbone)
        digest = model_digest(place)
        made = records(folder).get("test", {}).get("inputs", {}).get("systems", {}).get(BASE, digest)
        if made != digest:
            raise InputError(f"{place} is not what {folder} was made from: its files have changed")
        scratch = self._encoders.store / "base"
        embedded = store_of(config, folder) / digest
        if embedded.is_dir() and not (scratch / digest).exists():
            scratch.mkdir(parents=True, exist_ok=True)
            take_in(scratch, embedded, json_digest(str(folder)))
        corpus = self._shipped.corpus
        index = BiEncoder(place, config.encoding, Encoders(scratch), digest).index(corpus, Silent())
        live = BiEncoder(place, Encoding(), self._encoders, digest)
        # queries stay in memory
        return live, replace(index, encoder=live.encoder)

    @cached_property
    def _ids(self) -> dict[str, str]:
        return {folded(row["text"]): query_id for query_id, row in reversed(self._run.queries.items())}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {doc_id: at for at, doc_id in enumerate(self._shipped.corpus["doc_id"].to_pylist())}
