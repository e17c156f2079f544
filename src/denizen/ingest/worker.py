"""The process that reads files: limited in time and memory, without a network, one file after another.

The parent (`sandbox.py`) writes one JSON line a request to its standard input and reads one JSON line an answer from
its standard output; documents and failures go to the request's own file as they are found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from denizen.ingest import kinds
from denizen.ingest.document import Block, Document, Failure, Limits
from denizen.ingest.reading import described, read_file

_MB = 1 << 20
# a reader has its file, a few of its parts and what its libraries load; a bomb of open files ends here
_OPEN_FILES = 256
# how much of what libraries print is kept
_PRINTED = _MB
# all that the cleaner loads when it is first needed: for an address, a number, a wrong encoding, and a language
_SAMPLE = (
    "The harbour office answers letters to someone@example.org and calls to +1 212 555 0100 on all days of the week, "
    "and the cafÃ© beside it is open as long as the ferries go."
)
# a timer of no time is none
_SHORTEST = 0.001
# the processor's clock ends what neither the alarm nor the parent has ended, in seconds after the limit
_CPU_GRACE = 10
_FORBIDDEN = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pty.spawn",
    "sqlite3.connect",
    "subprocess.Popen",
    "urllib.Request",
}
# events whose arguments name what is changed, and how many of them do
_CHANGES = {
    "os.chmod": 1,
    "os.chown": 1,
    "os.link": 2,
    "os.mkdir": 1,
    "os.remove": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.utime": 1,
    "shutil.rmtree": 1,
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class OutOfTimeError(BaseException):
    """The time for a file is over; no `Exception`, so that a library's handler does not swallow it."""


class Fence:
    """Refuses the network, other programs, and writing anywhere but below one folder.

    It hooks Python's audit events, so it holds back what readers and their libraries do by mistake or by a document's
    request. Against machine code that a document has smuggled into a library it does nothing.

    Attributes:
        out: The one file outside the folder that may be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self.out = ""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Is called by Python for each audit event.

        Raises:
            PermissionError: For what is refused.
        """
        if event == "open":
            path, _, flags = arguments
            if flags & _WRITING:
                self._check(event, path)
        elif event in _CHANGES:
            for path in arguments[: _CHANGES[event]]:
                self._check(event, path)
        elif event in _FORBIDDEN or event.startswith("socket."):
            raise PermissionError(f"{event} is refused to readers of documents")

    def _check(self, event: str, path: Any) -> None:
        # a number is a file that was opened before
        if isinstance(path, int):
            return
        place = os.path.realpath(os.fsdecode(path))
        if place not in (self.out, os.devnull) and not f"{place}/".startswith(f"{self._folder}/"):
            raise PermissionError(f"{event} outside its own folder is refused to readers of documents")


@dataclass
class Tally:
    """What was written of one file."""

    kind: str = ""
    documents: int = 0
    failures: int = 0
    characters: int = 0
    limited: bool = False


class Work:
    """Reads files as the settings say, one at a time."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Prepares the process.

        Args:
            settings: `limits` (the fields of `Limits`); `docling`; `cleaning` (the fields of `CleaningSettings`) and
                `secret` (hexadecimal), or neither.
        """
        self._limits = Limits(**settings["limits"])
        self._docling = bool(settings.get("docling"))
        self._cleaner = _cleaner(settings)
        if self._docling:
            # what its libraries map on loading is not billed to the first file
            importlib.import_module("docling.document_converter")
        self._folder = Path.cwd()
        self._fence = Fence(self._folder)
        self._end = 0.0
        # what goes to a file at most: its rows (a character takes 6 bytes in JSON at most), or all that is unpacked
        largest = max(self._limits.unpacked_mb * _MB, 6 * self._limits.total_characters) + 64 * _MB
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
        self._mapped = _mapped()
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGALRM, _out_of_time)
        sys.addaudithook(self._fence)

    def read(self, request: Mapping[str, str]) -> dict[str, Any]:
        """Reads one file and writes its rows.

        Args:
            request: `path`, `name` and `out`.

        Returns:
            The answer: `documents`, `failures` and `characters` written, the `kind`, `limited` (whether a limit has
            cut something off), `error` (why reading was stopped, or None) and `last` (whether this process should
            not be used again).
        """
        tally = Tally()
        error, spent = None, False
        self._fence.out = os.path.realpath(request["out"])
        self._limit_memory()
        self._end = time.monotonic() + self._limits.total_seconds
        try:
            try:
                self._begin()
                self._read(request, tally)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except OutOfTimeError:
            whole = time.monotonic() >= self._end
            error, spent = self._limits.out_of_total_time if whole else self._limits.out_of_time, True
        except MemoryError:
            error, spent = self._limits.out_of_memory, True
        # sys.exit and the panics of Rust libraries are no Exception
        except BaseException as problem:  # noqa: BLE001
            error, spent = self._line(described(problem)), True
        _clear(self._folder)
        last = spent or _mapped() - self._mapped > self._limits.memory_mb * _MB
        return {"done": True, **vars(tally), "error": error, "last": last}

    def _read(self, request: Mapping[str, str], tally: Tally) -> None:
        path, name = Path(request["path"]), request["name"]
        # reading says why a file cannot be opened
        with contextlib.suppress(OSError):
            tally.kind = kinds.kind_of(path, name)
        items = closing(read_file(path, name, self._limits, self._docling, self._begin))
        # unbuffered: the alarm cannot come between the halves of a row
        with Path(request["out"]).open("wb", buffering=0) as out, items as found:
            for inner, item in found:
                self._write(out, inner, self._cleaned(item), tally)

    def _cleaned(self, item: Document | Failure) -> Document | Failure:
        if self._cleaner is None:
            return item
        try:
            if isinstance(item, Document):
                cleaned: Document = self._cleaner.clean(item)
                return cleaned
            blocks = self._cleaner.clean(Document([Block("text", item.raw)])).blocks if item.raw else []
            return dataclasses.replace(item, raw="\n".join(block.text for block in blocks))
        except MemoryError:
            raise
        # what could not be cleaned must not come through as it is
        except Exception as error:  # noqa: BLE001
            return Failure(item.name, f"could not be cleaned: {described(error)}")

    def _line(self, text: str) -> str:
        """A name or an error, cleaned."""
        if self._cleaner is None or not text:
            return text
        try:
            return str(self._cleaner.clean(Document([], name=text)).name)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001
            return "could not be cleaned"

    def _write(self, out: IO[bytes], inner: str, item: Document | Failure, tally: Tally) -> None:
        row: dict[str, Any] = {"inner": self._line(inner)}
        if isinstance(item, Document):
            row["document"] = item.as_dict()
            tally.documents += 1
            tally.characters += sum(len(block.text) for block in item.blocks)
        else:
            lines = {"name": self._line(item.name), "error": self._line(item.error)}
            row["failure"] = {**lines, "raw": item.raw, "limit": item.limit}
            tally.failures += 1
            tally.limited = tally.limited or item.limit
        # half a surrogate pair has no UTF-8
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        if out.write(line) != len(line):
            raise OSError("the disk is full")

    def _begin(self) -> None:
        """Gives a file, or one inside it, its own time, as far as there is any for the whole."""
        left = max(_SHORTEST, min(self._limits.seconds, self._end - time.monotonic()))
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime + left) + _CPU_GRACE
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_REAL, left)

    def _limit_memory(self) -> None:
        """What the process has by now is not billed to the next file."""
        mapped = _mapped()
        if mapped:
            resource.setrlimit(resource.RLIMIT_AS, (mapped + self._limits.memory_mb * _MB, resource.RLIM_INFINITY))


def main() -> None:
    """Serves requests until the parent closes the pipe or goes away."""
    requests, answers = _pipes()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    work = Work(json.loads(requests.readline()))
    _answer(answers, {"ready": True})
    for line in requests:
        answer = work.read(json.loads(line))
        _answer(answers, answer)
        if answer["last"]:
            break
    # what libraries have registered for the end of the process, or left in threads, is not waited for
    os._exit(0)


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The pipes from and to the parent, for this module alone: libraries read nothing, and print to standard error."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _answer(pipe: IO[bytes], answer: Mapping[str, Any]) -> None:
    pipe.write(json.dumps(answer).encode() + b"\n")


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        with contextlib.suppress(OSError):
            if os.fstat(2).st_size > _PRINTED:
                os.ftruncate(2, 0)
        time.sleep(1)
    os._exit(1)


def _out_of_time(number: int, frame: object) -> None:
    raise OutOfTimeError


def _cleaner(settings: Mapping[str, Any]) -> Any:
    if not settings.get("cleaning"):
        return None
    cleaning = importlib.import_module("denizen.ingest.document_cleaning")
    found = cleaning.CleaningSettings.from_dict(settings["cleaning"])
    cleaner = cleaning.DocumentCleaner(found, bytes.fromhex(settings.get("secret", "")))
    # what it loads is not billed to the first file
    cleaner.clean(Document([Block("text", _SAMPLE)]))
    return cleaner


def _mapped() -> int:
    """Bytes of address space in use; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
