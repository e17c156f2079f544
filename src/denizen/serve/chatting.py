"""`/v1/chat/completions`: as OpenAI's API, whole or as server-sent events, by a language model and its experts."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from starlette.types import Receive, Scope, Send

from denizen.answering.speaker import RESIDUAL
from denizen.data.task_rows import Message
from denizen.engine.errors import InputError
from denizen.language_models.streaming import Decoding, Finish, Piece
from denizen.serve.errors import ApiError
from denizen.serve.errors import body as error_body
from denizen.serve.fields import Many, as_text
from denizen.serve.service import Service, service_of
from denizen.serve.speaking import Speaking, Turn

# what newer clients of OpenAI call a system's turn
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# texts that may end an answer, as OpenAI has it
_MOST_STOPS = 4
_EVENTS = "text/event-stream"
# tokens of an answer where neither the client nor the model sets an end
_UNBOUNDED = 4096
router = APIRouter()


class Part(BaseModel):
    """A part of a turn."""

    model_config = ConfigDict(extra="ignore")

    type: StrictStr
    text: StrictStr | None = None


class ChatMessage(BaseModel):
    """A turn."""

    model_config = ConfigDict(extra="ignore")

    role: StrictStr
    content: StrictStr | Many[Part] | None = None
    tool_calls: Any = None


class StreamOptions(BaseModel):
    """What is told besides, in a stream."""

    model_config = ConfigDict(extra="ignore")

    include_usage: StrictBool = False


class ChatRequest(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="ignore")

    messages: Annotated[Many[ChatMessage], Field(description="The conversation, a turn of its user last.")]
    model: StrictStr | None = Field(None, description="A model, or one of its experts, as mine:answering.")
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: StrictInt | None = Field(None, ge=1)
    max_completion_tokens: StrictInt | None = Field(None, ge=1)
    temperature: StrictFloat | StrictInt | None = Field(None, ge=0, le=2)
    top_p: StrictFloat | StrictInt | None = Field(None, gt=0, le=1)
    seed: StrictInt | None = None
    stop: StrictStr | Many[StrictStr] | None = None
    # what would change an answer, and is not done here
    n: StrictInt | None = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    logit_bias: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    response_format: Any = None
    modalities: Any = None
    audio: Any = None


@router.post("/v1/chat/completions")
async def chat(body: ChatRequest, request: Request) -> Response:
    """An answer to a conversation, by the expert that the model's router names, or the one that is asked for."""
    service = service_of(request)
    _check_done(body)
    turns = _turns(body.messages, service)
    name, expert = _expert(body.model, service.catalogue.names)
    async with contextlib.AsyncExitStack() as held:
        speaking = await held.enter_async_context(service.catalogue.speaking(name))
        _check_expert(expert, speaking)
        # before its tokens are counted, which takes longer than to refuse it
        speaking.check()
        try:
            asked = await speaking.tokens(turns)
        except InputError as error:
            raise ApiError(400, str(error), "messages") from None
        decoding = _decoding(body, len(asked), speaking)
        answer = held.enter_async_context(speaking.answering(turns, asked, expert, decoding))
        turn = await service.within(request, answer)
        told = _Told(speaking, turn.expert, len(asked))
        if not body.stream:
            return JSONResponse(await service.within(request, _whole(turn, told, service)), headers=told.headers)
        usage = bool(body.stream_options and body.stream_options.include_usage)
        # the answer lasts longer than this function
        return _Events(_events(turn, told, service, usage), held.pop_all(), told.headers)


@dataclass
class _Told:
    """What all parts of an answer say of it.

    Attributes:
        speaking: Who answers.
        expert: With which expert.
        asked: Tokens that were read.
        said: Tokens that have come.
        begun: When the server began with it, by the clock that deadlines go by.
    """

    speaking: Speaking
    expert: str | None
    asked: int
    said: int = 0
    begun: float = field(default_factory=time.monotonic)
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def headers(self) -> dict[str, str]:
        """For who looks at headers."""
        return {"X-Denizen-Expert": self.expert or RESIDUAL}

    def heard(self, piece: Piece, service: Service) -> None:
        """Counts a token."""
        self.said = piece.tokens
        service.measures.said.labels(self.speaking.name, self.expert or RESIDUAL).inc()

    def object(self, kind: str, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A part of the answer, or all of it."""
        name = f"{self.speaking.name}:{self.expert}" if self.expert else self.speaking.name
        found = {"id": self.id, "object": kind, "created": self.created, "model": name, "choices": list(choices)}
        return found | {"system_fingerprint": f"fp_{self.speaking.digest[:12]}"}

    @property
    def usage(self) -> dict[str, int]:
        """Tokens."""
        return {"prompt_tokens": self.asked, "completion_tokens": self.said, "total_tokens": self.asked + self.said}


async def _whole(turn: Turn, told: _Told, service: Service) -> dict[str, Any]:
    text, finish = list[str](), None
    async for piece in turn.pieces:
        told.heard(piece, service)
        text.append(piece.text)
        finish = piece.finish
    message = {"role": "assistant", "content": "".join(text), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return told.object("chat.completion", [choice]) | {"usage": told.usage}


async def _events(turn: Turn, told: _Told, service: Service, usage: bool) -> AsyncIterator[bytes]:
    """Server-sent events: who speaks, what is said, why it ended, tokens where they are wanted, and the end."""

    def chunk(delta: Mapping[str, Any], finish: Finish | None = None) -> bytes:
        choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish}
        return _event(told.object("chat.completion.chunk", [choice]) | ({"usage": None} if usage else {}))

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    async for piece in turn.pieces:
        told.heard(piece, service)
        if piece.text:
            yield chunk({"content": piece.text})
        if piece.finish:
            yield chunk({}, piece.finish)
        elif time.monotonic() - told.begun > service.settings.deadline:
            # the status is sent; OpenAI's clients raise what comes as an error here
            message = f"this took longer than {service.settings.deadline:g} seconds; ask for fewer tokens"
            yield _event(error_body(504, message))
            return
    if usage:
        yield _event(told.object("chat.completion.chunk", []) | {"usage": told.usage})
    yield b"data: [DONE]\n\n"


def _event(found: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(found, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


class _Events(StreamingResponse):
    """A stream that lets go of what it holds however it ends, also where nobody has begun to listen."""

    def __init__(
        self, events: AsyncIterator[bytes], held: contextlib.AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        # what stands between the client and this server must not gather it
        own = {**headers, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type=_EVENTS, headers=own)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._held.aclose()


def _check_done(body: ChatRequest) -> None:
    """Whether nothing is wanted that is not done here.

    Raises:
        ApiError: When something is.
    """
    plain = {"type": "text"}
    wanted = {
        "tools": body.tools or body.functions,
        "tool_choice": any(choice not in (None, "none", "auto") for choice in (body.tool_choice, body.function_call)),
        "n": body.n not in (None, 1),
        "logprobs": body.logprobs or body.top_logprobs,
        "logit_bias": body.logit_bias,
        "frequency_penalty": body.frequency_penalty,
        "presence_penalty": body.presence_penalty,
        "response_format": body.response_format not in (None, plain),
        "modalities": body.modalities not in (None, ["text"]) or body.audio,
    }
    why = {"tools": "no function is called here", "n": "one answer is given to a request", "modalities": "text alone"}
    for name, given in wanted.items():
        if given:
            said = why.get(name, "an answer is drawn by temperature, top_p and seed alone")
            raise ApiError(400, f"{name} is not supported: {said}; leave it out", name, code="unsupported_parameter")
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise ApiError(400, "max_tokens and max_completion_tokens say the same thing; give one of them", "max_tokens")


def _turns(messages: Sequence[ChatMessage], service: Service) -> list[Message]:
    found = list[Message]()
    for at, message in enumerate(messages):
        where = f"messages.{at}"
        if message.tool_calls or message.role in ("tool", "function"):
            raise ApiError(400, f"{where}: no function is called here; leave turns of tools out", "messages")
        if message.role not in _ROLES:
            raise ApiError(400, f"{where}.role is {message.role[:50]!r}; give {', '.join(_ROLES)}", "messages")
        found.append(Message(_ROLES[message.role], _content(message, where)))
    if not found or found[-1].role != "user" or not found[-1].content.strip():
        raise ApiError(400, "messages do not end with something that a user says; add it", "messages")
    service.check([turn.content for turn in found], "messages")
    return found


def _content(message: ChatMessage, where: str) -> str:
    if message.content is None:
        raise ApiError(400, f"{where}.content is missing; give a text", "messages")
    if isinstance(message.content, str):
        return as_text(message.content)
    if other := next((part.type for part in message.content if part.type != "text" or part.text is None), None):
        raise ApiError(400, f"{where} has a part of the type {other[:50]!r}; texts alone are read here", "messages")
    return as_text("".join(part.text or "" for part in message.content))


def _expert(model: str | None, names: Sequence[str]) -> tuple[str | None, str | None]:
    """A model's name, and the expert that stands behind it (mine:answering)."""
    if model is None or model in names:
        return model, None
    name, _, expert = model.rpartition(":")
    return (name, expert) if name in names else (model, None)


def _check_expert(expert: str | None, speaking: Speaking) -> None:
    there = (RESIDUAL, *speaking.speaker.experts)
    if expert is not None and expert not in there:
        names = ", ".join(f"{speaking.name}:{each}" for each in there)
        raise ApiError(
            404, f"{speaking.name} has no expert {expert[:200]!r}; there are {names}", "model", code="model_not_found"
        )


def _decoding(body: ChatRequest, asked: int, speaking: Speaking) -> Decoding:
    """How the answer is drawn: greedily where nothing is said, and as long as there is room.

    Raises:
        ApiError: When there is no room for it.
    """
    field = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    wanted, context = getattr(body, field), speaking.speaker.context
    if context is not None and asked + (wanted or 1) > context:
        raise ApiError(
            400,
            f"this model's maximum context length is {context:,} tokens, and {asked + (wanted or 1):,} were asked for "
            f"({asked:,} in the messages, {wanted or 1:,} in the completion); shorten the messages or lower {field}",
            "messages",
            code="context_length_exceeded",
        )
    stop = [body.stop] if isinstance(body.stop, str) else list(body.stop or ())
    if len(stop) > _MOST_STOPS or not all(stop):
        raise ApiError(400, f"stop has {len(stop)} texts; give {_MOST_STOPS} at most, none empty", "stop")
    temperature = 0.0 if body.temperature is None else float(body.temperature)
    # who wants draws and names no seed wants another one each time
    seed = secrets.randbits(32) if body.seed is None else body.seed % (1 << 63)
    most = wanted or (_UNBOUNDED if context is None else context - asked)
    return Decoding(most, temperature, 1.0 if body.top_p is None else float(body.top_p), seed, tuple(stop))
