"""A scripted server that speaks the chat-completions protocol on 127.0.0.1, for tests; not a test itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """A reply that is not just a text: seconds to think, a refusal field, a finish reason, its own usage."""

    text: str | None = None
    finish_reason: str = "stop"
    refusal: str | None = None
    usage: tuple[int, int] | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Status:
    """An error: its code, message, headers, and other fields of the error object (param, code)."""

    code: int
    message: str = "no"
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """No answer until the server is closed."""


@dataclass(frozen=True)
class Cut:
    """Half of a whole answer under its full Content-Length, then the connection is closed."""


@dataclass(frozen=True)
class Trickle:
    """A byte every few hundredths of a second, far longer than any test waits."""


@dataclass(frozen=True)
class Page:
    """Status 200 with a body of any kind."""

    body: str
    content_type: str = "text/html"


Fault = Reply | Status | Hang | Cut | Trickle | Page


class ScriptedServer:
    """A server in a thread, as a context manager.

        with ScriptedServer(lambda body: '{"grade": 3}', faults={1: Status(500)}) as server:
            LLM("tiny", replies, budget, endpoint=server.url)

    Args:
        answer: From the request's body to what is answered: the text of a reply, a `Fault`, or a dict that is sent as
            the whole body.
        faults: What is answered instead, by the number of the request, from 1.
        usage: Prompt tokens and completion tokens of every reply; None for replies without usage.
        models: What /v1/models lists; None for 404.
        logprobs: Log-probabilities of a reply's tokens, sent when they are asked for.

    Attributes:
        requests: The bodies of the chat requests, in the order in which they came.
        headers: Their headers, by names in lower case.
        times: When they came (time.monotonic).
        most_at_once: How many were being answered at a time.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], str | Fault | dict[str, Any]],
        faults: Mapping[int, Fault] | None = None,
        usage: tuple[int, int] | None = (10, 5),
        models: tuple[str, ...] | None = ("tiny",),
        logprobs: tuple[float, ...] = (-0.1, -0.3),
    ) -> None:
        self.answer = answer
        self.faults = dict(faults or {})
        self.usage = usage
        self.models = models
        self.logprobs = logprobs
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.most_at_once = 0
        self.closed = threading.Event()
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.script = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def calls(self) -> int:
        return len(self.requests)

    def asked(self) -> list[str]:
        """The content of each request's last message, in the order in which they came."""
        return [body["messages"][-1]["content"] for body in self.requests]

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: dict[str, Any], headers: dict[str, str]) -> str | Fault | dict[str, Any]:
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            number = len(self.requests)
        return self.faults[number] if number in self.faults else self.answer(body)

    def done(self) -> None:
        with self._lock:
            self._at_once -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    script: ScriptedServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    # headers and body are two packets; without this the second one waits for the first one's receipt
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        models = self.server.script.models
        if self.path != "/v1/models" or models is None:
            self._send(404, {"error": {"message": "no such page"}})
        else:
            self._send(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in models]})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/chat/completions":
            self._send(404, {"detail": "Not Found"})
            return
        script = self.server.script
        body = json.loads(raw)
        try:
            self._answer(script.take(body, {name.lower(): value for name, value in self.headers.items()}), body)
        finally:
            script.done()

    def _answer(self, answer: str | Fault | dict[str, Any], body: dict[str, Any]) -> None:
        match answer:
            case Hang():
                self.server.script.closed.wait()
                self.close_connection = True
            case Status(code, message, headers, fields):
                self._send(code, {"error": {"message": message, **fields}}, headers)
            case Page(page, content_type):
                self._send(200, page, {"Content-Type": content_type})
            case Cut() | Trickle():
                self._broken(answer, body)
            case dict():
                self._send(200, answer)
            case Reply():
                self.server.script.closed.wait(answer.seconds)
                self._send(200, self._completion(answer, body))
            case _:
                self._send(200, self._completion(Reply(answer), body))

    def _broken(self, answer: Cut | Trickle, body: dict[str, Any]) -> None:
        whole = json.dumps(self._completion(Reply('{"grade": 1}'), body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(whole) if isinstance(answer, Cut) else 100_000))
        self.end_headers()
        self.close_connection = True
        if isinstance(answer, Cut):
            self.wfile.write(whole[: len(whole) // 2])
            return
        while not self.server.script.closed.wait(0.03):
            self.wfile.write(b" ")
            self.wfile.flush()

    def _completion(self, reply: Reply, body: dict[str, Any]) -> dict[str, Any]:
        script = self.server.script
        usage = reply.usage or script.usage
        tokens = [{"token": "x", "logprob": value, "top_logprobs": []} for value in script.logprobs]
        choice = {
            "index": 0,
            "finish_reason": reply.finish_reason,
            "message": {"role": "assistant", "content": reply.text, "refusal": reply.refusal},
            "logprobs": {"content": tokens} if body.get("logprobs") else None,
        }
        completion = {"id": "1", "object": "chat.completion", "created": 1, "model": "tiny", "choices": [choice]}
        if usage:
            completion["usage"] = {
                "prompt_tokens": usage[0],
                "completion_tokens": usage[1],
                "total_tokens": sum(usage),
            }
        return completion

    def _send(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        told = {"Content-Type": "application/json", **(headers or {})}
        self.send_response(status)
        for name, value in told.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
