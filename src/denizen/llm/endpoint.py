"""One call of an OpenAI-compatible chat endpoint: what is sent, what comes back, and what each error means.

What is optional is sent until the endpoint refuses it, and then left out for the rest of the session: the JSON schema
of the reply, log-probabilities, the temperature; and max_tokens, which newer hosted models call max_completion_tokens.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from denizen.engine.errors import InputError

if TYPE_CHECKING:
    import openai
    import pydantic

_HOSTED = "https://api.openai.com/v1"
# a shorter key is a placeholder (EMPTY, lm-studio), and may be a word of some reply
_SECRET_LENGTH = 16
# seconds; whoever is told to wait longer has no use for a program that sleeps
_LONGEST_WAIT = 600.0
# the names of both httpx and its successor, whichever the SDK uses: nothing had been sent
_NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
_AGAIN = {408, 409, 429}
_UNSUPPORTED = r"(unsupported|not support|not permitted|not allowed|unrecogni[sz]ed|unknown|deprecated|extra_forbidden)"

# what an error says of a parameter that the endpoint will never take; "max_tokens is too large" is no such thing
_REFUSED = {
    "logprobs": "logprob",
    "max_tokens": rf"use .{{0,3}}max_completion_tokens|max_tokens.{{0,20}}{_UNSUPPORTED}"
    rf"|{_UNSUPPORTED}.{{0,40}}\bmax_tokens",
    "temperature": rf"temperature.{{0,80}}{_UNSUPPORTED}|{_UNSUPPORTED}.{{0,40}}\btemperature",
    "response_format": "response_format|json_schema|structured|guided|grammar",
}
_NO_SUCH = "not (exist|found|available|supported|loaded)|no such|unknown|invalid|no access"


@dataclass(frozen=True)
class Completion:
    """A reply as it came.

    Args:
        text: What the LLM wrote.
        finish_reason: Why it ended.
        refusal: Its refusal field.
        logprob: Mean log-probability of its tokens, or None.
        tokens: Tokens of the messages and of the reply, None where the endpoint does not say.
    """

    text: str
    finish_reason: str
    refusal: str
    logprob: float | None
    tokens: tuple[int, int] | None


@dataclass(frozen=True)
class Trouble:
    """Why there is no reply.

    Args:
        message: What happened.
        again: Asking again may help.
        paid: The call may have been paid for.
        delay: Seconds that the endpoint asks everyone to wait.
        dropped: A parameter was refused, and will not be sent again.
    """

    message: str
    again: bool = False
    paid: bool = False
    delay: float = 0.0
    dropped: bool = False


class ChatEndpoint:
    """An endpoint.

    Args:
        model: The LLM as the endpoint calls it.
        url: Base URL; empty for OPENAI_BASE_URL of the environment, or else api.openai.com.
        key_variable: The environment variable with the key.
        timeout: Seconds after which a call is given up, even when bytes are still trickling in.

    Raises:
        InputError: When the URL is not of the right form.
    """

    def __init__(self, model: str, url: str, key_variable: str, timeout: float) -> None:
        self.model = model
        self.url = _checked(url or os.environ.get("OPENAI_BASE_URL", "") or _HOSTED)
        self.refused: set[str] = set()
        self._key_variable = key_variable
        self._timeout = timeout

    def open(self) -> openai.AsyncOpenAI:
        """A client for the running event loop.

        Raises:
            InputError: When the endpoint needs a key and there is none, or it is malformed.
        """
        import openai

        key = self._key()
        host = urlsplit(self.url).hostname or ""
        if not key and host == urlsplit(_HOSTED).hostname:
            raise InputError(
                f"{self.url} needs a key and {self._key_variable} is not set; set it, or give the endpoint of another "
                "server"
            )
        if not key.isascii() or not key.isprintable() or " " in key:
            raise InputError(f"the key in {self._key_variable} has characters that no key has; set it anew")
        return openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=self.url,
            max_retries=0,
            # the deadline of the whole call is ours; this one tells a call that never got out from one that did
            timeout=openai.Timeout(None, connect=min(10.0, self._timeout / 2)),
            # no proxy can reach this machine's own loopback
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not re.match(r"(localhost|::1)$|127\.", host)),
        )

    def sent(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A request without what the endpoint refuses."""
        kept = {name: value for name, value in body.items() if name not in self.refused}
        if "max_tokens" in self.refused:
            kept["max_completion_tokens"] = body["max_tokens"]
        return kept

    async def call(self, client: openai.AsyncOpenAI, sent: Mapping[str, Any]) -> Completion | Trouble:
        """Makes one call.

        Args:
            client: From `open`.
            sent: A request, as from `sent`.

        Raises:
            InputError: When no call can succeed: the key, the model, the URL or the account's credit is wrong, or the
                endpoint asks to wait longer than ten minutes.
        """
        import openai

        create: Any = client.chat.completions.with_raw_response.create
        try:
            async with asyncio.timeout(self._timeout):
                reply = await create(**sent)
        except TimeoutError:
            return Trouble(f"no whole reply within {self._timeout:g} s", again=True, paid=True)
        except openai.APIStatusError as error:
            return await self._status(client, error, sent)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            kind = type(cause).__name__
            message = self.hidden(f"no connection to {self.url}, or it broke ({kind}: {cause})")
            return Trouble(message, again=True, paid=kind not in _NEVER_SENT)
        return self._completion(reply.content)

    def hidden(self, text: str) -> str:
        """A text without the key, should a server repeat it, and without what UTF-8 cannot hold."""
        key = self._key()
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return clean.replace(key, "***") if len(key) >= _SECRET_LENGTH else clean

    def _key(self) -> str:
        # read where it is needed, so that no object carries it about
        return os.environ.get(self._key_variable, "").strip()

    def _completion(self, content: bytes) -> Completion | Trouble:
        try:
            body = json.loads(content)
            choice = body["choices"][0]
            message = choice["message"]
            text, finish_reason, refusal = (
                self.hidden(_text(part))
                for part in (message.get("content"), choice.get("finish_reason"), message.get("refusal"))
            )
            logprob, tokens = _mean_logprob(choice.get("logprobs")), _tokens(body.get("usage"))
            return Completion(text, finish_reason, refusal, logprob, tokens)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            start = self.hidden(content[:200].decode("utf-8", "replace"))
            return Trouble(f"{self.url} answered with what is no chat completion: {start!r}", again=True, paid=True)

    async def _status(
        self, client: openai.AsyncOpenAI, error: openai.APIStatusError, sent: Mapping[str, Any]
    ) -> Trouble:
        status, said = error.status_code, self.hidden(_said(error))
        message = f"{self.url} answered {status}: {said}"
        if status in (400, 422):
            # calls under way were sent before another one's refusal was heard, so what counts is what this one sent
            for name, pattern in _REFUSED.items():
                if name in sent and (error.param == name or re.search(pattern, said, re.IGNORECASE)):
                    self.refused.add(name)
                    return Trouble(message, dropped=True)
        no_model = status == 400 and self.model in said and re.search(_NO_SUCH, said, re.IGNORECASE)
        if no_model or status in (401, 402, 403, 404) or error.code in ("insufficient_quota", "model_not_found"):
            raise InputError(f"{message}; {await self._remedy(client, status)}")
        if status not in _AGAIN and status < 500:
            return Trouble(message)
        delay = retry_after(error.response.headers)
        if delay > _LONGEST_WAIT:
            raise InputError(
                f"{message}; it asks to wait {delay / 60:,.0f} minutes, and more than {_LONGEST_WAIT / 60:g} are not "
                "waited for. Nothing is lost: run the same command again later"
            )
        return Trouble(message, again=True, delay=delay)

    async def _remedy(self, client: openai.AsyncOpenAI, status: int) -> str:
        if status in (402, 429):
            return "add credit to the account; nothing is lost: run the same command again then"
        if status in (401, 403):
            if not self._key():
                return f"it wants a key and {self._key_variable} is not set; set it"
            return f"see that the key in {self._key_variable} is valid and may use the model {self.model!r}"
        models = await self._models(client)
        if models:
            return f"the model is {self.model!r}, and there are {models}"
        return (
            f"see that there is a model {self.model!r}, and that the endpoint is a base URL, which mostly ends in /v1"
        )

    async def _models(self, client: openai.AsyncOpenAI) -> list[str]:
        import openai

        try:
            async with asyncio.timeout(min(10.0, self._timeout)):
                reply = await client.models.with_raw_response.list()
            names = [self.hidden(str(model["id"])) for model in json.loads(reply.content)["data"]]
        except (openai.OpenAIError, TimeoutError, ValueError, LookupError, TypeError):
            return []
        return names if len(names) <= 10 else [*names[:10], f"and {len(names) - 10} more"]


@cache
def response_format(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """The part of a request that holds an endpoint to a reply's JSON schema."""
    schema = {"name": model.__name__, "strict": True, "schema": _strict(model.model_json_schema())}
    return {"type": "json_schema", "json_schema": schema}


def _strict(schema: Any) -> Any:
    """A JSON schema as strict endpoints take it: every property required, none added, no defaults."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {
        # below these two stand names, not words of the schema
        word: {name: _strict(part) for name, part in value.items()}
        if word in ("properties", "$defs")
        else _strict(value)
        for word, value in schema.items()
        if word != "default"
    }
    if "properties" in strict:
        strict |= {"required": list(strict["properties"]), "additionalProperties": False}
    return strict


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait by the headers Retry-After (seconds, or an HTTP date) and retry-after-ms; 0 without any."""
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / divisor
        except ValueError:
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else 0.0
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _checked(url: str) -> str:
    """A base URL, once its form is known to be right; a message never shows what may be a password."""
    wanted = "give a base URL such as http://localhost:8000/v1"
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InputError(f"the endpoint is no URL; {wanted}") from None
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"the endpoint at {host} has a user or password in its URL; give a key by environment variable"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"the endpoint {url!r} is no http or https address; {wanted}")
    if parts.query or parts.fragment:
        raise InputError(f"the endpoint at {host} has a ? or # in its URL; {wanted}")
    return url.strip().rstrip("/")


def _said(error: openai.APIStatusError) -> str:
    """The server's own words: OpenAI has a message, FastAPI a detail, and a proxy a page."""
    body: Any = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    return str(body or error.response.reason_phrase)[:500]


def _text(content: Any) -> str:
    """A message's content: text, nothing, or parts with a text each."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    return content if isinstance(content, str) else ""


def _tokens(usage: Any) -> tuple[int, int] | None:
    counts = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    known = [count for count in counts if isinstance(count, int) and 0 <= count < 1 << 40]
    return (known[0], known[1]) if len(known) == 2 else None


def _mean_logprob(logprobs: Any) -> float | None:
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    found = [token.get("logprob") for token in tokens or [] if isinstance(token, dict)]
    values = [float(value) for value in found if isinstance(value, (int, float)) and math.isfinite(value)]
    return math.fsum(values) / len(values) if values else None
