"""The models of a server by their names: loaded when first asked for, let go for room, exchanged while they serve."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from denizen.engine.errors import DenizenError
from denizen.retrievers.model_ref import model_digest
from denizen.serve.errors import ApiError
from denizen.serve.live_encoder import LiveEncoders, VectorCache
from denizen.serve.served import Served, place_of
from denizen.serve.settings import Serving

_LOG = logging.getLogger("denizen.serve")
_MIB = 1 << 20


class Catalogue:
    """All that a server serves.

    Args:
        given: What clients call each, to a run, a saved retriever or a model.
        settings: Of the server.
        corpus: Passages that all are to search; None: those that were saved with each.
    """

    def __init__(self, given: Mapping[str, str], settings: Serving, corpus: pa.Table | None = None) -> None:
        self.cache = VectorCache(settings.cache_mb * _MIB)
        self._given, self._settings, self._corpus = dict(given), settings, corpus
        self._loaded: dict[str, Served] = {}
        self._in_use: dict[Served, int] = {}
        self._loading = {name: asyncio.Lock() for name in given}
        self._scratch = tempfile.TemporaryDirectory(prefix="denizen-")
        # one: what computes uses all cores
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="compute")

    @property
    def names(self) -> list[str]:
        """What may be asked for."""
        return list(self._given)

    @property
    def loaded(self) -> dict[str, Served]:
        """What is in memory, that which was not asked for longest first."""
        return dict(self._loaded)

    @contextlib.asynccontextmanager
    async def using(self, name: str | None) -> AsyncIterator[Served]:
        """A model for the time of a request; it is not let go before.

        Args:
            name: Which; None: the only one.

        Raises:
            ApiError: When there is none of that name, or none can be loaded.
        """
        name = self._named(name)
        async with self._loading[name]:
            served = self._loaded.get(name) or await self._load(name)
            # the one asked for last stands last
            self._loaded.pop(name, None)
            self._loaded[name] = served
            self._in_use[served] = self._in_use.get(served, 0) + 1
        self._make_room(name)
        try:
            yield served
        finally:
            self._in_use[served] -= 1
            if not self._in_use[served]:
                del self._in_use[served]

    async def reload(self) -> list[str]:
        """Loads what has changed where it lies; requests that have begun end with what they began with.

        Returns:
            The names of what was exchanged.
        """
        exchanged = []
        for name in list(self._loaded):
            async with self._loading[name]:
                if name not in self._loaded or await self._digest(name) == self._loaded[name].digest:
                    continue
                self._loaded[name] = await self._load(name)
            exchanged.append(name)
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
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: model_digest(place_of(self._given[name])))

    async def _load(self, name: str) -> Served:
        def made() -> Served:
            # of its own: a version that is exchanged takes its weights with it
            encoders = LiveEncoders(Path(self._scratch.name), self.cache)
            place = place_of(self._given[name])
            return Served(name, place, encoders, self.thread, self._settings.queue_tokens, self._corpus)

        try:
            return await asyncio.get_running_loop().run_in_executor(None, made)
        except DenizenError as error:
            # its words name a place on this machine
            _LOG.error("%s cannot be loaded: %s", name, error)
            raise ApiError(503, f"{name} cannot be loaded; the server's log says why", "model") from None

    def _make_room(self, wanted: str) -> None:
        most = self._settings.memory_mb * _MIB
        if not most:
            return
        for name in list(self._loaded):
            if sum(served.bytes for served in self._loaded.values()) <= most:
                return
            if name != wanted and self._loaded[name] not in self._in_use:
                del self._loaded[name]
