"""What steps take and make: things on disk that are known by the digest of their content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from denizen.engine.errors import InputError
from denizen.engine.files import file_digest, files_below, json_digest, tree_digest

A = TypeVar("A", bound="Artifact")


@dataclass(frozen=True)
class Artifact:
    """A folder or file with its digest; subclasses say what it holds and read it.

    Attributes:
        path: Where it lies.
        digest: What it is.
        facts: What the step that made it has to say; in a plan, what can be said before.
        files: Name to digest of the files below the path; empty for a single file and for a plan.
        place: The step that made it; empty where it came from outside.
        pending: It is planned and does not exist yet.
    """

    path: Path
    digest: str
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)
    files: Mapping[str, str] = field(default_factory=dict, compare=False)
    place: str = field(default="", compare=False)
    pending: bool = field(default=False, compare=False)

    @classmethod
    def outside(cls: type[A], path: Path, *, without: frozenset[str] = frozenset()) -> A:
        """What the user brings; its digest is computed here and nowhere else.

        Args:
            path: A file, or a folder.
            without: Names of files that are no part of it.

        Raises:
            InputError: When there is nothing, which would otherwise have the digest of an empty folder.
        """
        if path.is_file():
            return cls(path, file_digest(path))
        if not path.is_dir():
            raise InputError(f"{path} does not exist; give a file or a folder")
        names = [name for name in files_below(path) if Path(name).name not in without]
        files = {name: file_digest(path / name) for name in names}
        return cls(path, tree_digest(files), files=files)

    def part(self, name: str, kind: type[A]) -> A:
        """A file of it, or a folder of several, as an artifact of its own."""
        inside = {at.removeprefix(f"{name}/"): digest for at, digest in self.files.items() if at.startswith(f"{name}/")}
        if self.pending:
            digest = json_digest([self.digest, name])
        else:
            digest = tree_digest(inside) if inside else self.files[name]
        return kind(self.path / name, digest, self.facts, inside, self.place, self.pending)

    def __getstate__(self) -> dict[str, Any]:
        # what was read of it is read again where it is sent to
        return {spec.name: getattr(self, spec.name) for spec in fields(self)}


@dataclass(frozen=True)
class Value:
    """A small value that a recipe hands to a step, known by its content.

    Attributes:
        content: What JSON can keep.
        place: The step whose results it follows from; empty: somebody has decided on it.
    """

    content: Any
    place: str = field(default="", compare=False)

    @property
    def digest(self) -> str:
        """What it is."""
        return json_digest(self.content)


# what a step may be called with: artifacts, or lists and mappings of them
Input = Artifact | Value | Sequence["Input"] | Mapping[str, "Input"] | None


def digests(value: Input) -> Any:
    """The digests of an input, in its shape."""
    if isinstance(value, Artifact | Value):
        return value.digest
    if isinstance(value, Mapping):
        return {name: digests(inner) for name, inner in value.items()}
    if isinstance(value, str):
        raise TypeError(f"{value!r} is no input of a step; settings go into its params, small values into Value")
    return None if value is None else [digests(inner) for inner in value]


def leaves(value: Input, name: str) -> dict[str, Artifact | Value]:
    """All artifacts of an input, by dotted names."""
    if isinstance(value, Artifact | Value):
        return {name: value}
    inner = value.items() if isinstance(value, Mapping) else enumerate(value or ())
    return {path: found for key, part in inner for path, found in leaves(part, f"{name}.{key}").items()}
