"""What can be searched, whatever it is made of: the one interface through which it is measured, gated and saved.

A saved retriever is a folder: that of a sentence-transformers model as it is, or `retriever.json`, which says of which
kind it is, with one folder for each of its parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from denizen.engine.files import write_json

if TYPE_CHECKING:
    import pyarrow as pa

    from denizen.engine.progress import Progress

MANIFEST = "retriever.json"
# what a retriever made of a corpus; only it can read it
Index = Any


class Retriever(Protocol):
    """What finds passages for queries. It can be hashed, and equal ones find the same: frozen dataclasses do."""

    @property
    def kind(self) -> str:
        """What `retriever.json` calls it, as "hybrid"."""

    @property
    def parts(self) -> tuple[Retriever, ...]:
        """The retrievers that it is made of; none for most."""

    @property
    def digest(self) -> str:
        """What it is, as 64 hexadecimal digits: those of equal retrievers are equal wherever they lie."""

    def index(self, corpus: pa.Table, progress: Progress) -> Index:
        """Makes a `corpus` table, ascending by doc_id, ready to be searched."""

    def search(self, index: Index, queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """Finds passages.

        Args:
            index: What `index` made of the corpus.
            queries: Query id to text.
            depth: How many passages a query gets at most.
            progress: Is shown bars of "queries".

        Returns:
            A `run` table: the queries in the given order, the passages of each by (-score, doc_id).
        """

    def save(self, folder: Path) -> None:
        """Writes all that it takes to load it elsewhere into a folder."""


@runtime_checkable
class Bounded(Retriever, Protocol):
    """A retriever that may know of its scores how low they can be."""

    @property
    def lowest(self) -> float | None:
        """The least score that there can be; None where that is not known."""


@runtime_checkable
class Keeping(Retriever, Protocol):
    """A retriever whose index can be kept as files; that of others is made anew where it is loaded."""

    def save_index(self, index: Index, folder: Path) -> None:
        """Writes what `index` has made into a folder."""

    def load_index(self, folder: Path, corpus: pa.Table, progress: Progress) -> Index:
        """What `index` makes of the corpus, from what was kept of it; of what was not, anew.

        Raises:
            InputError: When what was kept cannot be read.
        """


@runtime_checkable
class Fusion(Retriever, Protocol):
    """A retriever whose run follows from those of its parts on the same queries."""

    def combine(self, runs: Sequence[pa.Table], queries: Mapping[str, str], depth: int) -> pa.Table:
        """The run, from one of the same depth for each of the parts."""


def every_part(retriever: Retriever) -> Iterator[Retriever]:
    """A retriever, and all that it is made of, the outer ones first."""
    yield retriever
    for part in retriever.parts:
        yield from every_part(part)


def kept_index(retriever: Retriever, folder: Path, corpus: pa.Table, progress: Progress) -> Index:
    """What a retriever makes of a corpus, from a folder where it can be."""
    if isinstance(retriever, Keeping) and folder.is_dir():
        return retriever.load_index(folder, corpus, progress)
    return retriever.index(corpus, progress)


def part_names(parts: Sequence[Retriever]) -> list[str]:
    """The folder of each part of a retriever: that of a bi-encoder is `model`, of others their kind."""
    names: list[str] = []
    for part in parts:
        name = "model" if part.kind == "bi-encoder" else part.kind
        # names are taken by the first of a kind: model, bm25, model-2
        taken = sum(other.partition("-")[0] == name for other in names)
        names.append(f"{name}-{taken + 1}" if taken else name)
    return names


def save_parts(parts: Sequence[Retriever], index: Sequence[Index], folder: Path) -> None:
    """Writes what each part keeps of its index into a folder of its own, by `part_names`."""
    for name, part, own in zip(part_names(parts), parts, index, strict=True):
        if isinstance(part, Keeping):
            part.save_index(own, folder / name)


def load_parts(
    parts: Sequence[Retriever], folder: Path, corpora: Iterable[pa.Table], progress: Progress
) -> list[Index]:
    """What each part makes of its own corpus, from what `save_parts` has written."""
    of = zip(part_names(parts), parts, corpora, strict=True)
    return [kept_index(part, folder / name, corpus, progress) for name, part, corpus in of]


def save_composite(
    folder: Path, retriever: Retriever, settings: Mapping[str, Any], parts: Sequence[Retriever] | None = None
) -> None:
    """Writes a retriever's parts into a folder each, by `part_names`, and then `retriever.json`.

    Args:
        folder: Where to.
        retriever: What to save.
        settings: What beside its parts it takes to make it again.
        parts: The parts that are saved so; None: all.
    """
    parts = retriever.parts if parts is None else parts
    names = part_names(parts)
    for part, name in zip(parts, names, strict=True):
        part.save(folder / name)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MANIFEST, {"kind": retriever.kind, **settings, "parts": names})
