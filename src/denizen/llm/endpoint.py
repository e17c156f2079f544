"""One call of an OpenAI-compatible chat endpoint: what comes back, and what each error means."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from denizen.engine.errors import InputError
from denizen.llm.parameters import Parameters

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
# what an error says of a model of another name, and what may also be said of a parameter of this one
_NO_SUCH = "not (exist|found|loaded)|no such|no access"
_NOT_WITH_IT = "not (available|supported)|unknown|invalid"
# characters of a page that is no reply; of one that is, all are kept
_PAGE = 100_000
# where servers that take thinking apart put it: vLLM, SGLang, llama.cpp, DeepSeek; Ollama, OpenRouter, newer vLLM
_THINKING = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Completion:
    """A reply as it came.

    Args:
        text: What the LLM wrote; thinking that came in a field of its own stands before it, within <think>.
        finish_reason: Why it ended.
        refusal: Its refusal field.
        logprob: Mean log-probability of its tokens, or None.
        tokens: Tokens of the messages and of the reply, None where the endpoint does not say.
        cached: Tokens of the messages that came from a cache; most endpoints count them among `tokens`, some do not.
        rest: Without any text, what else the message holds, as JSON.
    """

    text: str
    finish_reason: str
    refusal: str
    logprob: float | None
    tokens: tuple[int, int] | None
    cached: int
    rest: str


@dataclass(frozen=True)
class Trouble:
    """Why there is no reply.

    Args:
        message: What happened.
        again: Asking again may help.
        paid: The call may have been paid for.
        delay: Seconds that the endpoint asks everyone to wait.
        dropped: A parameter was refused, and will not be sent again.
        trials: What to leave out, try by try, to see whether it is at fault.
        hopeless: No call can succeed, unless a trial does: the key, the model, the URL or the credit is wrong.
        status: The HTTP status, 0 without any.
        raw: What came, where it may have been paid for.
    """

    message: str
    again: bool = False
    paid: bool = False
    delay: float = 0.0
    dropped: bool = False
    trials: Sequence[frozenset[str]] = ()
    hopeless: bool = False
    status: int = 0
    raw: str = ""


class ChatEndpoint:
    """An endpoint.

    Args:
        model: The LLM as the endpoint calls it.
        url: Base URL; empty for OPENAI_BASE_URL of the environment, or else api.openai.com.
        key_variable: The environment variable with the key.
        timeout: Seconds after which a call is given up, even when bytes are still trickling in.

    Attributes:
        parameters: What of a request the endpoint takes, as far as calls have shown.
        most_at_once: The most calls that it works on at a time; None where nobody knows.

    Raises:
        InputError: When the URL is not of the right form.
    """

    most_at_once: int | None = None

    def __init__(self, model: str, url: str, key_variable: str, timeout: float) -> None:
        self.model = model
        self.url = _checked(url or os.environ.get("OPENAI_BASE_URL", "") or _HOSTED)
        self.parameters = Parameters()
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

    async def call(self, client: openai.AsyncOpenAI, sent: Mapping[str, Any]) -> Completion | Trouble:
        """Makes one call.

        Args:
            client: From `open`.
            sent: A request.

        Raises:
            InputError: When the endpoint asks to wait longer than ten minutes.
        """
        import openai

        create: Any = client.chat.completions.with_raw_response.create
        try:
            async with asyncio.timeout(self._timeout):
                reply = await create(**sent)
        except TimeoutError:
            return Trouble(f"no whole reply within {self._timeout:g} s", again=True, paid=True)
        except openai.APIStatusError as error:
            return self._status(
                error.status_code, error.body or error.response.reason_phrase, sent, error.response.headers
            )
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            kind = type(cause).__name__
            message = self.hidden(f"no connection to {self.url}, or it broke ({kind}: {cause})")
            return Trouble(message, again=True, paid=kind not in _NEVER_SENT)
        return self._completion(reply.content, sent)

    def hidden(self, text: str) -> str:
        """A text without the key, should a server repeat it, and without what UTF-8 cannot hold."""
        key = self._key()
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return clean.replace(key, "***") if len(key) >= _SECRET_LENGTH else clean

    def _key(self) -> str:
        # read where it is needed, so that no object carries it about
        return os.environ.get(self._key_variable, "").strip()

    async def remedy(self, client: openai.AsyncOpenAI, status: int) -> str:
        """What to do about an HTTP status without hope."""
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

    def _completion(self, content: bytes, sent: Mapping[str, Any]) -> Completion | Trouble:
        try:
            body = json.loads(content)
            # a router may have found out too late for a status of its own
            error = body.get("error") if "choices" not in body else None
            if error and isinstance(error.get("code"), int) and 400 <= error["code"] < 600:
                return replace(self._status(error["code"], error, sent, {}), paid=True, raw=self._page(content))
            choice = body["choices"][0]
            message = choice["message"]
            text, finish_reason, refusal = (
                self.hidden(part)
                for part in (_written(message), _text(choice.get("finish_reason")), _text(message.get("refusal")))
            )
            logprob, tokens = _mean_logprob(choice.get("logprobs")), _tokens(body.get("usage"))
            rest = "" if text.strip() else self.hidden(_rest(message))
            return Completion(text, finish_reason, refusal, logprob, tokens, _cached(body.get("usage")), rest)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raw = self._page(content)
            message = f"{self.url} answered with what is no chat completion: {raw[:200]!r}"
            return Trouble(message, again=True, paid=True, raw=raw)

    def _page(self, content: bytes) -> str:
        return self.hidden(content.decode("utf-8", "replace"))[:_PAGE]

    def _status(self, status: int, body: Any, sent: Mapping[str, Any], headers: Mapping[str, str]) -> Trouble:
        said, fields = self.hidden(_said(body)), body if isinstance(body, dict) else {}
        message, of_model = f"{self.url} answered {status}: {said}", self.model in said
        # a model may be called grammar-7b
        about = said.replace(self.model, "")
        if self.parameters.refuse(status, about, str(fields.get("param")), sent):
            return Trouble(message, dropped=True)
        certain = status in (401, 402) or fields.get("code") in ("insufficient_quota", "model_not_found")
        certain = certain or (of_model and status in (400, 404) and bool(re.search(_NO_SUCH, about, re.IGNORECASE)))
        if certain:
            return Trouble(message, hopeless=True, status=status)
        trials = self.parameters.trials(status, about, sent)
        doubtful = of_model and status == 400 and bool(re.search(_NOT_WITH_IT, about, re.IGNORECASE))
        if doubtful or status in (403, 404):
            return Trouble(message, hopeless=True, status=status, trials=trials)
        if status not in _AGAIN and status < 500:
            return Trouble(message, trials=trials)
        delay = retry_after(headers)
        if delay > _LONGEST_WAIT:
            raise InputError(
                f"{message}; it asks to wait {delay / 60:,.0f} minutes, and more than {_LONGEST_WAIT / 60:g} are not "
                "waited for. Nothing is lost: run the same command again later"
            )
        return Trouble(message, again=True, delay=delay, trials=trials)

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


def _said(body: Any) -> str:
    """The server's own words: OpenAI has a message, FastAPI a detail, and a proxy a page."""
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    return str(body)[:500]


def _written(message: Mapping[str, Any]) -> str:
    """What an LLM wrote: its thinking, as it stands where no server takes it apart, and its answer."""
    content = message.get("content")
    fields = [_text(message.get(name)) for name in _THINKING]
    fields += [_text(content, "thinking")] if isinstance(content, list) else []
    thinking = next((text.replace("</think>", "") for text in fields if text.strip()), "")
    answer = _text(content)
    # some give it in both places
    return f"<think>{thinking}</think>{answer}" if thinking and "</think>" not in answer else answer


def _text(content: Any, kind: str = "text") -> str:
    """A message's content: text, nothing, or parts, of which each has its own under the name of its kind."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == kind]
        return "".join(_text(part.get(kind)) for part in parts)
    return content if isinstance(content, str) else ""


def _rest(message: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in message.items() if value and name not in ("role", "content", "refusal")}
    return json.dumps(rest, ensure_ascii=False) if rest else ""


def _cached(usage: Any) -> int:
    """Tokens of a prompt that came from a cache, by all the names that this has."""
    told = usage if isinstance(usage, dict) else {}
    details = told.get("prompt_tokens_details")
    counts = [details.get("cached_tokens") if isinstance(details, dict) else None]
    counts += [told.get(name) for name in ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens")]
    return max((count for count in counts if isinstance(count, int)), default=0)


def _tokens(usage: Any) -> tuple[int, int] | None:
    counts = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    known = [count for count in counts if isinstance(count, int) and 0 <= count < 1 << 40]
    return (known[0], known[1]) if len(known) == 2 else None


def _mean_logprob(logprobs: Any) -> float | None:
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    listed = tokens if isinstance(tokens, list) else []
    found = [token.get("logprob") for token in listed if isinstance(token, dict)]
    values = [float(value) for value in found if isinstance(value, (int, float)) and math.isfinite(value)]
    return math.fsum(values) / len(values) if values else None
