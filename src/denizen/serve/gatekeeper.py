"""Who may ask, how often, and how large a request may be: decided before anything of it is read as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import math
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from denizen.engine.errors import InputError
from denizen.serve.errors import CLIENT_LEFT, ApiError, answer
from denizen.serve.measures import Measures
from denizen.serve.settings import Serving

KEYS = "DENIZEN_API_KEYS"
# what tells nothing that is worth a key
_OPEN = frozenset({"/health", "/ready"})
# the page itself, which asks for a key before it asks for anything else
_PAGE = frozenset({"/", "/page/denizen.css", "/page/try.css", "/page/try.js"})
_MINUTE = 60.0
# addresses that are counted at a time
_MOST_COUNTED = 10_000
_MIB = 1 << 20
_SHORTEST_KEY = 16
# bodies of the largest size that are in memory at a time
_BODIES = 16
# seconds after which there may be room for another one
_AGAIN = 1


def read_keys(given: str) -> dict[str, str]:
    """Names of keys to keys, from "name:key,other:key"; a key without a name is called by its number.

    Raises:
        InputError: When a key is too short to be one, or a name comes twice. No key is named.
    """
    found: dict[str, str] = {}
    for number, each in enumerate(filter(None, (part.strip() for part in given.split(","))), start=1):
        name, is_named, key = each.rpartition(":")
        name = name if is_named else f"key-{number}"
        if len(key) < _SHORTEST_KEY:
            raise InputError(f"key {number} of {KEYS} has {len(key)} characters; give {_SHORTEST_KEY} or more")
        if name in found:
            raise InputError(f"{KEYS} has two keys that are called {name!r}; give each its own name")
        found[name] = key
    return found


class Gatekeeper:
    """Middleware around an app.

    Args:
        app: What is asked.
        keys: Names of keys to keys; none: anybody may ask.
        settings: Of the server.
        measures: What counts requests.
    """

    def __init__(self, app: ASGIApp, keys: Mapping[str, str], settings: Serving, measures: Measures) -> None:
        self._app, self._settings, self._measures = app, settings, measures
        self._keys = {name: key.encode() for name, key in keys.items()}
        self._most_held = _BODIES * settings.body_mb * _MIB
        # bytes of the bodies of all requests that have not been answered
        self._held = 0
        self._rates: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers what may not come in, and hands on the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["denizen.id"] = uuid.uuid4().hex
        begun, told = time.perf_counter(), {"status": 500}
        parts: list[bytes] = []

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                safe = [(b"x-request-id", scope["denizen.id"].encode()), (b"x-content-type-options", b"nosniff")]
                message["headers"] = [*message["headers"], *safe]
            await send(message)

        try:
            self._check(scope)
            await self._receive(parts, scope, receive)
        except ApiError as error:
            await answer(error)(scope, receive, sending)
        else:
            # whatever goes wrong in there has been answered and logged without its words, which may be a client's
            with contextlib.suppress(Exception):
                await self._app(scope, _again(b"".join(parts), receive), sending)
        finally:
            self._held -= sum(map(len, parts))
            # an address that nobody has thought of is not a name of its own in the measures
            route = getattr(scope.get("route"), "path", "none")
            self._measures.requests.labels(route, str(told["status"])).inc()
            self._measures.seconds.labels(route).observe(time.perf_counter() - begun)

    def _check(self, scope: Scope) -> None:
        if scope["path"] in _OPEN:
            return
        page = scope["path"] in _PAGE
        who = scope["client"][0] if scope.get("client") else "nobody"
        if not self._keys and (host := Headers(scope=scope).get("host", "")) and not is_own(_without_port(host)):
            # a page whose name has been made to point here (DNS rebinding) asks as if it came from here
            raise ApiError(403, "this server has no keys and answers at localhost and 127.0.0.1 alone")
        if self._keys and not page:
            scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            key = given.strip().encode() if scheme.lower() == "bearer" else b""
            # all are compared: how long it takes says nothing of which is near
            names = [name for name, known in self._keys.items() if hmac.compare_digest(key, known)]
            if not names:
                raise ApiError(401, "no valid key; send one as Authorization: Bearer KEY")
            who = scope["denizen.who"] = names[0]
        self._count(who)

    def _count(self, who: str) -> None:
        """One request of somebody who may ask so often a minute, and as much at once."""
        most = self._settings.requests_a_minute
        if not most:
            return
        now = time.monotonic()
        left, since = self._rates.pop(who, (float(most), now))
        left = min(float(most), left + (now - since) * most / _MINUTE)
        allowed = left >= 1
        self._rates[who] = (left - 1 if allowed else left, now)
        if len(self._rates) > _MOST_COUNTED:
            self._rates.popitem(last=False)
        if not allowed:
            wait = math.ceil((1 - left) * _MINUTE / most)
            raise ApiError(429, f"more than {most} requests a minute; ask again in {wait} s", retry_after=wait)

    async def _receive(self, parts: list[bytes], scope: Scope, receive: Receive) -> None:
        """Puts all parts of a request's body, which must be small enough and arrive in time, into a list."""
        most = self._settings.body_mb * _MIB
        told = Headers(scope=scope).get("content-length", "")
        if told.isdigit() and int(told) > most:
            raise _too_large(most)
        size = 0
        try:
            async with asyncio.timeout(self._settings.deadline):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ApiError(CLIENT_LEFT, "the client has left")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    self._held += len(parts[-1])
                    if self._held > self._most_held:
                        raise ApiError(429, "too much is being sent at once; ask again", retry_after=_AGAIN)
                    if size > most:
                        raise _too_large(most)
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            raise ApiError(408, f"the body did not arrive in {self._settings.deadline:g} seconds") from None


def is_own(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).strip("[]")


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read, once, and then what comes after it."""
    given = False

    async def read() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the body is larger than {most // _MIB} MiB; send less at a time, or raise --body-mb")
