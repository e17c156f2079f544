"""Ten thousand requests that nobody should send: no fault of the server, no growing memory, a good one is answered."""

from __future__ import annotations

import json
import random
import re
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.e2e.serving import Server, server

_PATHS = (
    "/v1/embeddings",
    "/v1/rerank",
    "/rerank",
    "/v1/search",
    "/v1/models/x",
    "/metrics",
    "/",
    "//",
    "/%00",
    "/..%2f..",
)
_ODD = (
    None, True, -1, 10**30, 1e308, "", " ", "\u0000", "\ud800", "😀" * 50, "‮" * 9, [], [[]], [[[]]], {}, {"text": 1},
    ["a", 1], ["a", None], "a" * 100_000, ["x"] * 3000, {"a": {"b": {"c": []}}}, "../../etc/passwd", "{{7*7}}",
    "\r\nX: y",
)  # fmt: skip
_FIELDS = (
    "input",
    "model",
    "query",
    "documents",
    "texts",
    "dimensions",
    "encoding_format",
    "input_type",
    "top_k",
    "top_n",
)
_LEAST = b'{"input": "x"}'


def _body(random: random.Random) -> bytes:
    made: dict[str, Any] = {field: random.choice(_ODD) for field in random.sample(_FIELDS, random.randint(0, 6))}
    text = json.dumps(made).encode()
    return random.choice(
        (
            text,
            text[: random.randint(0, len(text))],
            bytes(random.randrange(256) for _ in range(random.randint(0, 200))),
            b"[" * random.randint(1, 20_000),
            b'{"input":' * random.randint(1, 5000),
            text + text,
            b"\xef\xbb\xbf" + text,
        )
    )


def _raw(random: random.Random) -> bytes:
    """What is no HTTP, or nearly."""
    start = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return random.choice(
        (
            b"\x16\x03\x01\x02\x00",
            start + b"Content-Length: 99999999999\r\n\r\n",
            start + b"Content-Length: -1\r\n\r\n",
            start + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            start + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
            start + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            start + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
            start + b"Content-Length: 100\r\n\r\n" + _LEAST,
            b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
        )
    )


def _send(found: Server, seed: int) -> Counter[int]:
    """A hundred of them."""
    own, seen = random.Random(seed), Counter[int]()
    host, port = found.url.removeprefix("http://").split(":")
    with found.client() as client:
        for _ in range(80):
            method = own.choice(("POST", "POST", "POST", "GET", "PUT", "DELETE", "OPTIONS"))
            kind = own.choice(
                ("application/json", "text/plain", "application/json; charset=utf-7", "multipart/form-data")
            )
            answer = client.request(method, own.choice(_PATHS), content=_body(own), headers={"Content-Type": kind})
            seen[answer.status_code] += 1
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=30) as raw:
            raw.sendall(_raw(own))
            if own.random() < 0.5:
                raw.shutdown(socket.SHUT_WR)
                status = re.match(rb"HTTP/1.1 (\d+)", raw.recv(1000))
                seen[int(status[1]) if status else 0] += 1
    return seen


def _resident(found: Server) -> int:
    """KiB of memory."""
    status = Path(f"/proc/{found.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_that_is_sent_is_a_fault_of_the_server(tiny_encoder: Path, tmp_path: Path) -> None:
    with server(tmp_path / "log", f"it={tiny_encoder}", "--body-mb", "1", "--deadline", "10") as found:
        with ThreadPoolExecutor(8) as threads:
            warm = list(threads.map(lambda seed: _send(found, seed), range(20)))
            before = _resident(found)
            seen = sum((*warm, *threads.map(lambda seed: _send(found, seed), range(20, 100))), Counter[int]())
        after = _resident(found)
        answer = httpx.post(f"{found.url}/v1/embeddings", json={"input": "x"}, timeout=60)
        log = found.log.read_text()
    print(dict(seen), f"{before:,} -> {after:,} KiB")
    assert answer.status_code == httpx.codes.OK and sum(seen.values()) > 8000
    assert not [status for status in seen if status >= httpx.codes.INTERNAL_SERVER_ERROR], seen
    assert after - before < 40_000 and "Traceback" not in log
