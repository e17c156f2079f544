"""Reading files in other processes, so that a file can hang, crash or take all memory and cost only itself."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import re
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from denizen.engine.errors import DenizenError
from denizen.ingest.document import Limits
from denizen.ingest.parts import row_lines

# -P: nothing that was unpacked into its folder is imported as a module
_COMMAND = (sys.executable, "-P", "-m", "denizen.ingest.worker")
# importing docling takes half a minute on a slow disk
_START_SECONDS = 120.0
# how long after its own alarm a process may take to tell the end
_GRACE_SECONDS = 3.0
_TOLD = 2000
# an answer has some hundred bytes
_LONGEST_ANSWER = 1 << 20
_ANSWER = {
    "done": bool,
    "kind": str,
    "documents": int,
    "failures": int,
    "characters": int,
    "limited": bool,
    "last": bool,
}
_OUT_OF_MEMORY = re.compile(rb"MemoryError|bad_alloc|out of memory|cannot allocate memory", re.IGNORECASE)
# paths alone: keys and tokens stay with the parent
_PASSED_ON = ("PATH", "HOME", "LD_LIBRARY_PATH", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "DOCLING_ARTIFACTS_PATH")
_SET = {
    "LANG": "C.UTF-8",
    "PYTHONUTF8": "1",
    "HF_HUB_OFFLINE": "1",
    # several files are read at once; threads and memory pools beside that only take address space, which is limited
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


@dataclass(frozen=True)
class Request:
    """A file to read.

    Attributes:
        path: Where it lies.
        name: The name that its owner knows it under.
        key: For the caller's own use.
        out: Where its rows go, as JSON lines; what is there is replaced.
    """

    path: Path
    name: str
    key: str
    out: Path


@dataclass(frozen=True)
class Result:
    """What came of a request. The rows in `request.out` are whole lines, also where reading was stopped.

    Attributes:
        request: The request.
        failure: Why reading was stopped before its end, such as "took longer than 60 s (--timeout)"; None where it
            was not.
        kind: The file's kind; "" where it has none that can be read, or where the process died.
        documents: Rows of documents.
        failures: Rows of failures.
        characters: Of the documents' texts.
        limited: Whether reading came to its end, but a limit has cut something off.
    """

    request: Request
    failure: str | None = None
    kind: str = ""
    documents: int = 0
    failures: int = 0
    characters: int = 0
    limited: bool = False


class Sandbox:
    """Processes that read files, each with a folder of its own; a context manager that leaves none behind."""

    def __init__(
        self,
        workers: int,
        limits: Limits,
        settings: Mapping[str, Any],
        scratch: Path,
        _command: Sequence[str] = _COMMAND,
    ) -> None:
        """Starts nothing yet.

        Args:
            workers: How many files are read at once.
            limits: For each file; `seconds` and `memory_mb` are enforced from outside.
            settings: What `worker.Work` takes beside the limits, as JSON takes it.
            scratch: A folder for temporary files; it is made where it is missing.
        """
        self._workers = max(1, workers)
        self._limits = limits
        self._settings = {**settings, "limits": dataclasses.asdict(limits)}
        self._scratch = scratch.resolve()
        self._command = _command
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="reading")
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._children: set[_Child] = set()
        self._started = 0
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Sandbox:
        """Makes the folder for temporary files."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends all processes."""
        self.close()

    def read_all(self, requests: Iterable[Request]) -> Iterator[Result]:
        """Yields one result for each request, in the order in which they are done.

        A process that runs out of time or dies is replaced; nothing is read twice. When the generator is closed or
        the caller is interrupted, all processes end.

        Args:
            requests: Taken one by one, not more than twice as many as there are processes ahead of the results.

        Raises:
            DenizenError: When a process does not start.
        """
        waiting = iter(requests)
        pending: set[Future[Result]] = set()
        finished = False
        try:
            while True:
                while len(pending) < 2 * self._workers and (request := next(waiting, None)) is not None:
                    pending.add(self._pool.submit(self._read, request))
                if not pending:
                    break
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
            finished = True
        finally:
            if not finished:
                self.close()

    def close(self) -> None:
        """Ends all processes, whatever they do, and removes their folders; nothing can be read afterwards."""
        with self._lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            child.kill()
        # a killed process ends its thread's waiting; only then can its pipes be closed
        self._pool.shutdown(wait=True, cancel_futures=True)
        for child in children:
            child.end()

    def _read(self, request: Request) -> Result:
        child = self._ready_child()
        request.out.unlink(missing_ok=True)
        answer = child.read(request, self._limits.total_seconds + _GRACE_SECONDS)
        if answer is None:
            error = child.cause_of_end(self._limits)
            self._discard(child)
            return _partial(request, error)
        if answer["last"]:
            self._discard(child)
        else:
            self._idle.put(child)
        if answer["error"]:
            return _partial(request, answer["error"], answer["kind"])
        counts = {name: answer[name] for name in ("kind", "documents", "failures", "characters", "limited")}
        return Result(request, **counts)

    def _ready_child(self) -> _Child:
        while True:
            try:
                child = self._idle.get_nowait()
            except queue.Empty:
                break
            if child.is_alive():
                return child
            self._discard(child)
        with self._lock:
            if self._closed:
                raise DenizenError("reading was stopped")
            self._started += 1
            child = _Child(self._command, self._scratch / f"reader-{os.getpid()}-{self._started}")
            self._children.add(child)
        try:
            child.start(self._settings)
        except DenizenError:
            self._discard(child)
            raise
        return child

    def _discard(self, child: _Child) -> None:
        child.end()
        with self._lock:
            self._children.discard(child)


class _Child:
    """One process, its pipes and its folder."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._folder = folder
        self._printed = folder.with_suffix(".printed")
        self._received = b""
        self._told_before = 0
        self._timed_out = False
        self._flooded = False
        folder.mkdir(parents=True)
        with self._printed.open("ab") as printed:
            # a session of its own: Ctrl-C reaches the parent alone, and whatever the process starts ends with it
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
            )
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)

    def start(self, settings: Mapping[str, Any]) -> None:
        answer = self._asked(settings, _START_SECONDS)
        if answer is None or not answer.get("ready"):
            # what it said before it was asked counts, too
            self._told_before = 0
            told = self._told().decode("utf-8", "replace").strip() or "it said nothing"
            raise DenizenError(f"the process that reads files does not start: {told}")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def read(self, request: Request, seconds: float) -> dict[str, Any] | None:
        """The answer to a request; None when none came in time, or the process died."""
        paths = {"path": str(request.path.absolute()), "out": str(request.out.absolute())}
        answer = self._asked({**paths, "name": request.name}, seconds)
        if answer is None:
            return None
        # a reader that a document has taken over may answer anything
        types = {name: type(value) for name, value in answer.items()}
        return answer if types.pop("error", None) in (str, type(None)) and types == _ANSWER else None

    def cause_of_end(self, limits: Limits) -> str:
        """Why no answer came, in words for the file's owner."""
        code = self._code()
        if self._flooded:
            return "its reader crashed"
        if self._timed_out:
            return limits.out_of_total_time
        if code == -signal.SIGXCPU:
            return limits.out_of_time
        if _OUT_OF_MEMORY.search(self._told()):
            return limits.out_of_memory
        if code == -signal.SIGKILL:
            return "its reader was killed by the system, mostly because memory was short (signal 9)"
        if code is None or code >= 0:
            return f"its reader ended without an answer (exit status {code})"
        return f"its reader crashed (signal {-code})"

    def kill(self) -> None:
        """Kills the process with all that it has started."""
        # a number that was waited for may be another's by now
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kills the process, waits for it and removes its folder."""
        self.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            # closing tries again to write what a dead process did not take
            with suppress(OSError):
                pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._printed.unlink(missing_ok=True)

    def _code(self) -> int | None:
        if self._timed_out:
            return None
        try:
            # the pipe closes a moment before the process has ended
            return self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def _asked(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any] | None:
        self._told_before = self._printed.stat().st_size
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
            line = self._line(time.monotonic() + seconds)
            answer = json.loads(line) if line else None
        # ValueError, RecursionError: an answer that is no JSON, or nested
        except (OSError, ValueError, RecursionError):
            return None
        return answer if isinstance(answer, dict) else None

    def _line(self, deadline: float) -> bytes:
        """The next line that the process writes; nothing when it ends or the time is over."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._timed_out = True
                    return b""
                piece = os.read(self._answers.fileno(), 1 << 16)
                if not piece:
                    return b""
                self._received += piece
                if len(self._received) > _LONGEST_ANSWER:
                    self._flooded = True
                    self.kill()
                    return b""
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _told(self) -> bytes:
        """The end of what the process has printed since it was last asked."""
        with self._printed.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # the process empties the file when it has grown too large
            file.seek(max(0, size - _TOLD, self._told_before if self._told_before <= size else 0))
            return file.read()


def _environment(folder: Path) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    found = os.pathsep.join(str(Path(place).resolve()) for place in sys.path if place)
    return {**passed, **_SET, "PYTHONPATH": found, "TMPDIR": str(folder)}


def _partial(request: Request, error: str, kind: str = "") -> Result:
    """The result of a request that was stopped: its rows are cut after the last whole one, and counted."""
    request.out.touch()
    documents = failures = characters = size = 0
    with request.out.open("r+b") as file:
        for line in row_lines(file):
            try:
                row = json.loads(line)
                texts = [block[1] for block in row["document"]["blocks"]] if "document" in row else []
            except (ValueError, TypeError, LookupError, RecursionError):
                break
            size += len(line)
            documents += "document" in row
            failures += "failure" in row
            characters += sum(map(len, texts))
        file.truncate(size)
    return Result(request, error, kind, documents, failures, characters)
