"""An endpoint of our own: llama.cpp in a process beside this one, on a GGUF file, from the first call to our end."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from denizen.engine.errors import InputError
from denizen.llm.endpoint import ChatEndpoint, Completion, Trouble
from denizen.llm.gguf_file import GGUFFile, file_of

if TYPE_CHECKING:
    import openai

_PROGRAM = Path(__file__).with_name("llama_server.py")
# tokens that a call may have, thinking included; a prompt of ours has a thousand or two
_CONTEXT = 8192
# seconds that a call may take at least: the same machine would take as long the second time
_PATIENCE = 1800.0
_MOST_SLOTS = 4
# seconds for the server to end by itself
_PARTING = 5.0
# what llama.cpp puts before a line: time, level, and mostly where it stands
_LOG_PREFIX = re.compile(r"^[\d.]+ ([EWI]) (.*)$")


class LocalEndpoint(ChatEndpoint):
    """llama.cpp on a GGUF file; several of one file share one server.

    Args:
        file: The file.
        timeout: Seconds after which a call is given up; less than half an hour counts as that.

    Raises:
        InputError: When llama.cpp is not installed.
    """

    def __init__(self, file: GGUFFile, timeout: float) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise InputError(
                f"{file.path} is served by llama.cpp, which is not installed: pip install 'denizen[local-llm]', or "
                "give the endpoint of a server that runs"
            )
        super().__init__(file.name, "http://127.0.0.1/v1", "", max(timeout, _PATIENCE))
        self.most_at_once = slots()
        self._file = file
        self._server: _Server | None = None

    def open(self) -> openai.AsyncOpenAI:
        """A client for the running event loop; the server is started where none runs.

        Raises:
            InputError: When llama.cpp does not come up.
        """
        self._server = _serving(self._file)
        self.url = f"{self._server.address}/v1"
        return super().open()

    async def call(self, client: openai.AsyncOpenAI, sent: Mapping[str, Any]) -> Completion | Trouble:
        """Makes one call.

        Raises:
            InputError: When the server has ended.
        """
        outcome = await super().call(client, sent)
        if isinstance(outcome, Trouble) and self._server and self._server.process.poll() is not None:
            raise InputError(
                f"llama.cpp, which served {self._file.path}, has ended: {self._server.last_words()}. Nothing that came "
                "is lost: run the same command again, with a smaller model where memory did not suffice"
            )
        return outcome

    def _key(self) -> str:
        return self._server.key if self._server else ""


def endpoint_of(llm: str, url: str, key_variable: str, timeout: float) -> ChatEndpoint:
    """Where an LLM is asked: at a server of our own if it is a GGUF file, else at an endpoint.

    Args:
        llm: A GGUF file, or the LLM as the endpoint calls it.
        url: The endpoint's base URL, where there is one.
        key_variable: The environment variable with its key.
        timeout: Seconds after which a call is given up.

    Raises:
        InputError: As of both.
    """
    file = file_of(llm, url)
    return LocalEndpoint(file, timeout) if file else ChatEndpoint(llm, url, key_variable, timeout)


def threads() -> int:
    """How many threads llama.cpp works with: a core is left to all else.

    They wait for each other some hundred times a token, so that one that shares its core holds up all of them: on two
    busy cores two were many times as slow as one (bench/local_llm.py).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def slots() -> int:
    """How many calls a server works on at a time.

    Our calls are long prompts with short replies. A prompt keeps all threads busy; only while replies are written is
    there something to share. With one thread a second slot brought nothing, and each takes memory for its context; how
    many are best on many cores is not measured.
    """
    return min(_MOST_SLOTS, max(1, threads() // 2))


@dataclass(frozen=True)
class _Server:
    """A server that is ready.

    Attributes:
        process: It.
        address: Where it listens.
        key: What it wants to be shown.
        log: What it says.
    """

    process: subprocess.Popen[str]
    address: str
    key: str
    log: IO[bytes]

    def last_words(self) -> str:
        """How it ended."""
        return _last_words(self.process.wait(), self.log)

    def end(self) -> None:
        """Ends it, by force where it does not end by itself, and lets go of what was held of it."""
        assert self.process.stdin and self.process.stdout  # noqa: S101  (both are pipes)
        self.process.stdin.close()
        try:
            self.process.wait(_PARTING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


_servers: dict[str, _Server] = {}
_starting = threading.Lock()


def _serving(file: GGUFFile) -> _Server:
    """The server of a file, started unless it runs."""
    with _starting:
        found = _servers.get(file.name)
        if found is not None and found.process.poll() is not None:
            found.end()
            found = None
        if found is None:
            found = _servers[file.name] = _started(file)
        return found


def _started(file: GGUFFile) -> _Server:
    # as long as the server
    log = tempfile.TemporaryFile()  # noqa: SIM115
    key = secrets.token_hex(16)
    # by its path, and with nothing of the current folder; in a session of its own Ctrl-C is ours to pass on
    process = subprocess.Popen(
        [sys.executable, "-P", str(_PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    try:
        asked = {"path": str(file.path), "slots": slots(), "context": _CONTEXT, "threads": threads(), "key": key}
        address = _address(process, asked)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if not address:
        raise InputError(
            f"llama.cpp cannot serve {file.path}: {_last_words(process.wait(), log)}. Give a whole GGUF file of a chat "
            "model, and a smaller one where memory does not suffice"
        )
    return _Server(process, address, key, log)


def _address(process: subprocess.Popen[str], asked: Mapping[str, Any]) -> str:
    """Tells a server what to serve, and waits until it is ready: its address, nothing when it ends before."""
    assert process.stdin and process.stdout  # noqa: S101  (both are pipes)
    try:
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return ""
    return process.stdout.readline().strip()


def _last_words(code: int, log: IO[bytes]) -> str:
    """Why a server ended: the first error that llama.cpp names, of which later ones come, or its last line."""
    log.seek(0)
    lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    found = [_LOG_PREFIX.match(line) for line in lines]
    errors = [line[2] for line in found if line and line[1] == "E"]
    if errors or lines:
        return (errors or lines[-1:])[0].strip()
    return f"killed by signal {-code}, mostly for want of memory" if code < 0 else f"exit status {code}"


def end_all() -> None:
    """Ends all servers; they are started again when they are asked again."""
    for server in _servers.values():
        server.end()
    _servers.clear()


atexit.register(end_all)
