"""The models of a server by their names: loaded when first asked for, let go for room, exchanged while they serve."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import tempfile
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from denizen.data.formats.beir import is_beir_folder, read_beir_corpus
from denizen.data.formats.metadata import Metadata, read_metadata
from denizen.data.formats.rows import BadRows
from denizen.data.passages import keep_whole, ordered
from denizen.data.tables import read_table
from denizen.engine.errors import DenizenError, InputError
from denizen.retrievers.model_ref import model_digest
from denizen.serve.errors import ApiError
from denizen.serve.live_encoder import LiveEncoders, VectorCache
from denizen.serve.pieces import Pieces
from denizen.serve.served import Served, place_of, weights_in
from denizen.serve.settings import Serving
from denizen.serve.speaking import Speaking, answering_in, digest_of

_LOG = logging.getLogger("denizen.serve")
_MIB = 1 << 20
# seconds after which what is being loaded may be asked for again
_AGAIN = 5


class Catalogue:
    """All that a server serves.

    Args:
        given: What clients call each, to a run, a saved retriever, a model, or a language model.
        settings: Of the server.
        corpus: A BEIR corpus that all are to search; None: the passages that were saved with each.

    Raises:
        InputError: When that is none.
    """

    def __init__(self, given: Mapping[str, str], settings: Serving, corpus: Path | None = None) -> None:
        self.cache = VectorCache(settings.cache_mb * _MIB)
        self._given, self._settings = dict(given), settings
        self._corpus: pa.Table | None = None
        self._metadata: Metadata | None = None
        if corpus is not None:
            self._corpus, self._metadata = _read(corpus)
        self._loaded: dict[str, Served | Speaking] = {}
        self._in_use: dict[Served | Speaking, int] = {}
        self._loading = {name: asyncio.Lock() for name in given}
        self._scratch = tempfile.TemporaryDirectory(prefix="denizen-")
        # one: what computes uses all cores
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self.pieces = Pieces(self.thread, settings.queue_tokens)
        # one at a time: what two need together is known to neither
        self._room = asyncio.Lock()
        self._background: set[asyncio.Task[Served | Speaking]] = set()

    @property
    def names(self) -> list[str]:
        """What may be asked for."""
        return list(self._given)

    @property
    def loaded(self) -> dict[str, Served | Speaking]:
        """What is in memory, that which was not asked for longest first."""
        return dict(self._loaded)

    @contextlib.asynccontextmanager
    async def using(self, name: str | None) -> AsyncIterator[Served]:
        """A model that embeds or searches, for the time of a request; it is not let go before.

        Args:
            name: Which; None: the only one.

        Raises:
            ApiError: When there is none of that name, none can be loaded, or it is a language model.
        """
        async with self._held(name) as served:
            if isinstance(served, Speaking):
                raise ApiError(400, f"{served.name} answers, and embeds nothing; use /v1/chat/completions", "model")
            yield served

    @contextlib.asynccontextmanager
    async def speaking(self, name: str | None) -> AsyncIterator[Speaking]:
        """A language model, as `using`."""
        async with self._held(name) as served:
            if not isinstance(served, Speaking):
                raise ApiError(
                    400, f"{served.name} is no language model; use /v1/embeddings, /v1/search or /v1/rerank", "model"
                )
            yield served

    @contextlib.asynccontextmanager
    async def _held(self, name: str | None) -> AsyncIterator[Served | Speaking]:
        name = self._named(name)
        served = self._loaded.get(name) or await self._coming(name)
        # the one asked for last stands last
        if self._loaded.get(name) is served:
            self._loaded[name] = self._loaded.pop(name)
        self._in_use[served] = self._in_use.get(served, 0) + 1
        try:
            yield served
        finally:
            self._in_use[served] -= 1
            if not self._in_use[served]:
                del self._in_use[served]

    async def load_first(self) -> None:
        """Loads models in their order, as far as there is room, so that nobody waits for that."""
        for name in self.names:
            try:
                async with self._loading[name]:
                    if name not in self._loaded and await self._fits(name):
                        self._loaded[name] = await self._load(name)
            except ApiError:
                # the log says why; whoever asks for it is told
                continue

    async def reload(self) -> list[str]:
        """Loads what has changed where it lies; requests that have begun end with what they began with.

        Returns:
            The names of what was exchanged.
        """
        exchanged = []
        for name in list(self._loaded):
            async with self._loading[name]:
                try:
                    digest = await self._digest(name)
                    old = self._loaded.get(name)
                    if old is None or digest == old.digest:
                        continue
                    new = await self._load(name)
                except (ApiError, DenizenError, OSError) as error:
                    # what serves goes on serving, and the others are exchanged
                    _LOG.error("%s was not exchanged: %s", name, error)
                    continue
                self._loaded[name] = new
            exchanged.append(name)
        # what held the weights of the old one in a circle
        await asyncio.get_running_loop().run_in_executor(None, gc.collect)
        return exchanged

    def close(self) -> None:
        """Ends the thread that computes, and removes what was kept on disk."""
        self.thread.shutdown(cancel_futures=True)
        self._scratch.cleanup()

    def _named(self, name: str | None) -> str:
        if name is None and len(self._given) == 1:
            return next(iter(self._given))
        if name is None:
            raise ApiError(400, f"model is missing; there are {', '.join(self._given)}", "model")
        if name not in self._given:
            raise ApiError(404, f"there is no model {name[:200]!r}; there are {', '.join(self._given)}", "model")
        return name

    async def _digest(self, name: str) -> str:
        def found() -> str:
            folders = answering_in(self._given[name])
            return digest_of(folders) if folders else model_digest(place_of(self._given[name]))

        return await asyncio.get_running_loop().run_in_executor(None, found)

    async def _coming(self, name: str) -> Served | Speaking:
        """A model that is loaded in the background: who has no time for that leaves it to who comes next."""

        async def loaded() -> Served | Speaking:
            async with self._loading[name]:
                if name not in self._loaded:
                    self._loaded[name] = await self._load(name)
                return self._loaded[name]

        task = asyncio.create_task(loaded())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        await asyncio.wait({task}, timeout=self._settings.deadline)
        if not task.done():
            # its failure is in the log, and nobody hears of it here
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise ApiError(503, f"{name} is still being loaded; ask again", "model", retry_after=_AGAIN)
        return task.result()

    async def _load(self, name: str) -> Served | Speaking:
        def made() -> Served | Speaking:
            if folders := answering_in(self._given[name]):
                return Speaking(name, folders, self.thread, self._settings.queue_answers)
            # of its own: a version that is exchanged takes its weights with it
            encoders = LiveEncoders(Path(self._scratch.name), self.cache)
            place = place_of(self._given[name])
            return Served(name, place, encoders, self.thread, self._settings.queue_tokens, self._corpus, self._metadata)

        loop = asyncio.get_running_loop()
        async with self._room:
            try:
                await self._make_room(name)
                return await loop.run_in_executor(None, made)
            except Exception as error:  # noqa: BLE001  (each library has its own errors for a damaged file)
                # its words name a place on this machine
                _LOG.error("%s cannot be loaded: %s: %s", name, type(error).__name__, error)
                raise ApiError(503, f"{name} cannot be loaded; the server's log says why", "model") from None

    async def _fits(self, name: str) -> bool:
        """Whether nothing has to be let go for a model."""
        return not self._settings.memory_mb or await self._over(name) <= 0

    async def _over(self, name: str) -> int:
        """How many bytes there would be too many beside a model."""

        def size() -> int:
            try:
                folders = answering_in(self._given[name])
                return sum(map(weights_in, folders.parts if folders else [place_of(self._given[name])]))
            except (DenizenError, OSError):
                # what is wrong with it is said where it is loaded
                return 0

        wanted = await asyncio.get_running_loop().run_in_executor(None, size)
        return wanted + sum(served.bytes for served in self._loaded.values()) - self._settings.memory_mb * _MIB

    async def _make_room(self, wanted: str) -> None:
        """Lets models go before another is loaded; what is in use stays."""
        if not self._settings.memory_mb:
            return
        over, gone = await self._over(wanted), False
        for name, served in self.loaded.items():
            if over > 0 and name != wanted and served not in self._in_use:
                del self._loaded[name]
                over, gone = over - served.bytes, True
        if gone:
            # its weights are held in a circle
            await asyncio.get_running_loop().run_in_executor(None, gc.collect)


def _read(corpus: Path) -> tuple[pa.Table, Metadata]:
    """The passages of a corpus, and what it says of them.

    Raises:
        InputError: When it is none that can be read.
    """
    if (corpus / "ingest.json").is_file():
        return ordered(read_table(corpus / "corpus.parquet", "corpus")), read_metadata(corpus)
    if not is_beir_folder(corpus):
        raise InputError(f"{corpus} is no BEIR folder (it has no corpus.jsonl or corpus.jsonl.gz)")
    bad = BadRows(skip=False)
    documents = read_beir_corpus(corpus, bad)
    bad.check()
    return ordered(keep_whole(documents)), read_metadata(corpus)
