"""Which steps made what: found by matching the digests that a step has read with those that others have written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from os.path import commonpath
from pathlib import PurePosixPath
from typing import Any

from denizen.engine.files import tree_digest

Steps = Mapping[str, Mapping[str, Any]]


def made_from(steps: Steps, place: str) -> list[str]:
    """The places of all steps that a step goes back to, each after those that it has read; the last is the step itself.

    Args:
        steps: Place to the contents of its step.json.
        place: Where the step is; nothing is found where there is none.
    """
    makers: dict[str, set[str]] = defaultdict(set)
    for other, record in steps.items():
        for digest in _written(record):
            makers[digest].add(other)
    found: dict[str, None] = {}

    def follow(at: str, after: frozenset[str]) -> None:
        for digest in _leaves(steps[at]["inputs"]):
            # of several that wrote the same bytes the one that is nearest by name
            others = sorted(makers[digest] - after, key=lambda other: (-len(commonpath([other, at])), other))
            for other in others[:1]:
                if other not in found:
                    follow(other, after | {other})
        found[at] = None

    if place in steps:
        follow(place, frozenset({place}))
    return list(found)


def _written(record: Mapping[str, Any]) -> Iterator[str]:
    """The digests of a step's folder, of its files and of each folder within."""
    files: Mapping[str, str] = record["files"]
    yield from (record["digest"], *files.values())
    for folder in {f"{parent}/" for name in files for parent in PurePosixPath(name).parents[:-1]}:
        yield tree_digest({name.removeprefix(folder): sha for name, sha in files.items() if name.startswith(folder)})


def _leaves(inputs: Any) -> Iterator[str]:
    if isinstance(inputs, str):
        yield inputs
    elif inputs is not None:
        for inner in inputs.values() if isinstance(inputs, Mapping) else inputs:
            yield from _leaves(inner)
