"""A real server in a process of its own, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        url: Its address.
        process: It.
        log: What it says.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self, key: str = "") -> httpx.Client:
        """A client of it."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


@contextlib.contextmanager
def server(log: Path, *arguments: str, keys: str = "") -> Iterator[Server]:
    """`denizen serve` with some arguments, at a free port; it has ended when this does.

    Args:
        log: Where to write what it says.
        arguments: Models and options.
        keys: DENIZEN_API_KEYS.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "DENIZEN_API_KEYS": keys}
    command = [sys.executable, "-m", "denizen", "serve", *arguments, "--port", "0"]
    with log.open("wb") as written:
        process = subprocess.Popen(command, stdout=written, stderr=subprocess.STDOUT, env=environment)
    try:
        yield Server(_address(process, log), process, log)
    finally:
        process.terminate()
        process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    while process.poll() is None:
        if found := re.search(r"http://\S+", log.read_text()):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{found[0]}/ready", timeout=60).status_code == httpx.codes.OK:
                    return found[0]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    raise AssertionError(f"the server has ended with {process.returncode}: {log.read_text()}")
