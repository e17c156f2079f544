"""A GGUF file as an LLM: which one it is, by its name and content and not by where it lies."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from denizen.engine.errors import InputError, reason

_SUFFIX = ".gguf"
_MAGIC = b"GGUF"
# how large files are split: model-00001-of-00003.gguf
_SPLIT = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE)
_DIGITS = 12
_CHUNK = 1 << 22


@dataclass(frozen=True)
class GGUFFile:
    """A GGUF file, whole or split.

    Args:
        path: The file, or the first of its parts.
        parts: All that it consists of, in order.
    """

    path: Path
    parts: tuple[Path, ...]

    @property
    def digest(self) -> str:
        """The SHA-256 of the bytes of all parts, in hexadecimal; read once a process, unless they change."""
        states = ((part, part.stat()) for part in self.parts)
        return _digest(tuple((part, state.st_size, state.st_mtime_ns) for part, state in states))

    @property
    def name(self) -> str:
        """The LLM's name, file name and digest: another file of this name is another LLM, and a moved one is not."""
        return f"{self.path.name}@{self.digest[:_DIGITS]}"


def file_of(llm: str, endpoint: str) -> GGUFFile | None:
    """The file that an LLM is; None where it is one of an endpoint.

    Args:
        llm: A path that ends in .gguf, or any other name.
        endpoint: Where there is one, the LLM is what is called so there, whatever its name ends in.

    Raises:
        InputError: When the file or a part of it is missing, or it is no GGUF.
    """
    if endpoint or not llm.lower().endswith(_SUFFIX):
        return None
    path = Path(llm).expanduser()
    if not path.is_file():
        raise InputError(
            f"llm {llm!r} ends in {_SUFFIX} and is no file; give the path of a GGUF file, or the endpoint of the "
            "server that calls its model so"
        )
    parts = _parts(path)
    for part in parts:
        _check(part)
    return GGUFFile(path, parts)


def _parts(path: Path) -> tuple[Path, ...]:
    found = _SPLIT.fullmatch(path.name)
    if not found:
        return (path,)
    first, count = int(found["number"]), int(found["count"])
    names = [f"{found['stem']}-{at:05}-of-{found['count']}{found['suffix']}" for at in range(1, count + 1)]
    if first != 1:
        raise InputError(f"{path} is part {first} of {count}; give the first one, {names[0]}")
    parts = tuple(path.with_name(name) for name in names)
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise InputError(
            f"{path} is the first of {count} parts, and beside it there is no {', '.join(missing)}; add it"
        )
    return parts


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            begin = file.read(len(_MAGIC))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from None
    if begin != _MAGIC:
        raise InputError(f"{path} is no GGUF file (it begins with {begin!r}, not with {_MAGIC!r}); give one that is")


@cache
def _digest(parts: tuple[tuple[Path, int, int], ...]) -> str:
    found = hashlib.sha256()
    for path, _, _ in parts:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
    return found.hexdigest()
