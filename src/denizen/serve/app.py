"""The server as an ASGI app: its routes, who may ask, and what is loaded when it starts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Mapping

from fastapi import FastAPI
from starlette.types import ASGIApp

from denizen.engine.versions import installed
from denizen.serve import chatting, embedding, errors, grading, operating, page, reranking, searching
from denizen.serve.catalogue import Catalogue
from denizen.serve.gatekeeper import Gatekeeper
from denizen.serve.measures import Measures
from denizen.serve.service import Service
from denizen.serve.settings import Serving

_LOG = logging.getLogger("denizen.serve")


def create_app(catalogue: Catalogue, settings: Serving, keys: Mapping[str, str]) -> ASGIApp:
    """Makes the server.

    Args:
        catalogue: What it serves.
        settings: How.
        keys: Names of keys to keys; none: anybody may ask.
    """
    service = Service(catalogue, settings, Measures())

    @contextlib.asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        # a loop keeps no task alive by itself
        tasks = {loop.create_task(catalogue.load_first())}
        with contextlib.suppress(ValueError, RuntimeError):
            # in another thread than the main one there are no signals
            loop.add_signal_handler(signal.SIGHUP, lambda: tasks.add(loop.create_task(_reload(catalogue))))
        yield
        for task in tasks:
            task.cancel()
        catalogue.close()

    app = FastAPI(
        title="Denizen",
        version=installed("denizen"),
        lifespan=living,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.service = service
    for routes in (chatting, embedding, reranking, searching, grading, operating, page):
        app.include_router(routes.router)
    errors.install(app)
    return Gatekeeper(app, keys, settings, service.measures)


async def _reload(catalogue: Catalogue) -> None:
    try:
        exchanged = await catalogue.reload()
        _LOG.warning("exchanged: %s", ", ".join(exchanged) or "nothing has changed")
    except Exception:  # noqa: BLE001  (what serves goes on serving)
        _LOG.exception("nothing was exchanged")
