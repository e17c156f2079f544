"""Starting a server, and what it needs before that."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from denizen.engine.errors import InputError, reason
from denizen.serve.settings import Serving

if TYPE_CHECKING:
    import uvicorn


def serve(
    models: Sequence[str],
    settings: Serving,
    corpus: Path | None = None,
    started: Callable[[str, Sequence[str], bool], None] = lambda address, names, keys: None,
) -> None:
    """Serves until it is told to stop (SIGTERM, SIGINT), and then answers what it has begun. SIGHUP: what has changed
    where it lies is loaded and takes the place of what was there.

    Args:
        models: Runs, saved retrievers, models or language models; NAME=WHERE: by another name.
        settings: How.
        corpus: A BEIR corpus, or what `ingest` made, whose passages all are to search; None: those of each run.
        started: Is told the address, what models are called, and whether keys are needed.

    Raises:
        InputError: When a library is missing, a model is not there, keys are missing, or the port is taken.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise InputError(f"serving needs {error.name}; pip install 'denizen[serve]'") from error
    from denizen.serve.app import create_app
    from denizen.serve.catalogue import Catalogue
    from denizen.serve.gatekeeper import KEYS, is_own, read_keys
    from denizen.serve.served import names_of, place_of
    from denizen.serve.speaking import answering_in

    keys = read_keys(os.environ.get(KEYS, ""))
    if not keys and not is_own(settings.host):
        raise InputError(
            f"host {settings.host} lets others in, and there is no key; set {KEYS}=name:key, or leave --host out"
        )
    given = names_of(models)
    for where in given.values():
        if answering_in(where) is None:
            place_of(where)
    catalogue = Catalogue(given, settings, corpus)
    with _listening(settings) as listening:
        host, port = listening.getsockname()[:2]
        app = create_app(catalogue, settings, keys)
        # no request in the log: its path may hold what somebody typed
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            # longer than clients keep a connection that rests (httpx 5 s), or one is closed while it is asked again
            timeout_keep_alive=75,
            timeout_graceful_shutdown=math.ceil(settings.deadline),
        )
        started(f"http://{f'[{host}]' if ':' in host else host}:{port}", list(given), bool(keys))
        _stoppable(uvicorn.Server(config)).run([listening])


def _stoppable(server: uvicorn.Server) -> uvicorn.Server:
    """A server for which being told to stop is how it ends well: the signal is not raised again behind it."""

    @contextlib.contextmanager
    def signals() -> Iterator[None]:
        before = {each: signal.signal(each, server.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    server.capture_signals = signals  # type: ignore[method-assign]
    return server


def _listening(settings: Serving) -> socket.socket:
    """A socket at the address.

    Raises:
        InputError: When it cannot be had.
    """
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise InputError(
            f"cannot listen at {settings.host}:{settings.port} ({reason(error)}); give another --host or --port"
        ) from error
    # connections take it over: an answer in two parts would wait 40 ms for the client's word on the first one, and
    # asyncio says so itself only of sockets that were made with their protocol's number
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
