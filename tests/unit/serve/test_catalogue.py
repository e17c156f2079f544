"""Models by their names: which are in memory, what makes room for which, and what a failure leaves to others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from denizen.serve import catalogue
from denizen.serve.catalogue import Catalogue
from denizen.serve.errors import ApiError
from denizen.serve.settings import Serving

pytestmark = pytest.mark.anyio
MIB = 1 << 20
NAMES = {"a": "a", "b": "b", "c": "c"}


class Model:
    """Stands for one in service: of 1 MiB, of the version that lies there."""

    version = "1"
    broken = ""
    most = now = 0

    def __init__(self, name: str, *_: Any) -> None:
        # what is loaded at once needs room at once
        Model.now += 1
        Model.most = max(Model.most, Model.now)
        time.sleep(0.05)
        Model.now -= 1
        if name in Model.broken:
            raise RuntimeError("damaged")
        self.name, self.bytes, self.digest = name, MIB, Model.version


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalogue, "Served", Model)
    monkeypatch.setattr(catalogue, "weights_in", lambda place: MIB)
    monkeypatch.setattr(catalogue, "place_of", Path)
    monkeypatch.setattr(catalogue, "model_digest", lambda place: Model.version)
    Model.version, Model.broken, Model.most = "1", "", 0
    yield
    assert Model.now == 0


async def test_the_first_stay_where_there_is_no_room_for_all() -> None:
    found = Catalogue(NAMES, Serving(memory_mb=2))
    await found.load_first()
    assert list(found.loaded) == ["a", "b"]
    async with found.using("a"), found.using("c"):
        assert list(found.loaded) == ["a", "c"]
    found.close()


async def test_models_are_loaded_one_after_another_and_one_that_is_asked_for_by_many_once() -> None:
    found = Catalogue(NAMES, Serving())

    async def asked(name: str) -> Any:
        async with found.using(name) as served:
            return served

    served = await asyncio.gather(*(asked(name) for name in "abcabc"))
    assert served[:3] == served[3:] and Model.most == 1
    found.close()


async def test_a_damaged_model_hides_no_other() -> None:
    Model.broken = "a"
    found = Catalogue(NAMES, Serving())
    await found.load_first()
    assert list(found.loaded) == ["b", "c"]
    with pytest.raises(ApiError, match="a cannot be loaded") as told:
        async with found.using("a"):
            pass
    assert told.value.status == 503
    Model.version, Model.broken = "2", "b"
    assert await found.reload() == ["c"]
    assert {name: served.digest for name, served in found.loaded.items()} == {"b": "1", "c": "2"}
    found.close()


async def test_what_takes_longer_than_a_request_may_is_there_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = threading.Event()
    monkeypatch.setattr(catalogue, "Served", lambda *given: ready.wait(10) and Model(*given))
    found = Catalogue(NAMES, Serving(deadline=0.1))
    with pytest.raises(ApiError, match="still being loaded") as told:
        async with found.using("a"):
            pass
    assert told.value.status == 503 and told.value.retry_after
    ready.set()
    while "a" not in found.loaded:
        await asyncio.sleep(0.01)
    found.close()
