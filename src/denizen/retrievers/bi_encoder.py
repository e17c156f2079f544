"""A bi-encoder as a retriever, and where this machine keeps its weights and embeddings."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from denizen.data.tables import texts
from denizen.engine.errors import InputError, reason
from denizen.engine.files import read_json, write_json
from denizen.engine.progress import Progress
from denizen.engine.run_folder import probe
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.model_ref import NOT_THE_MODEL, model_digest
from denizen.retrievers.retriever import Retriever

if TYPE_CHECKING:
    from denizen.retrievers.cpu.exact_top_k import Rows
    from denizen.retrievers.encoder import Encoder
    from denizen.retrievers.store import Vectors


_VECTORS = "embeddings.npy"
# written at a time
_ROWS = 1 << 16


class Encoders:
    """What bi-encoders share on this machine, none of which decides a result.

    Args:
        store: The folder of the embedding store.
        memory_mb: Memory of one block of scores in exact search, in MiB.

    Attributes:
        backends: The digest of a model to the backend that embedded a corpus with it.
    """

    def __init__(self, store: Path, memory_mb: int = 512) -> None:
        self.store = store
        self.memory_mb = memory_mb
        self.backends: dict[str, str] = {}
        self._last: tuple[Encoder, Encoding] | None = None

    def of(self, folder: Path, encoding: Encoding, digest: str | None = None, corpus: Sequence[str] = ()) -> Encoder:
        """A model's encoder; the one before is let go, with its weights, unless it fits.

        Args:
            folder: The model.
            encoding: What computes; an encoder fits whose choice it is pinned to.
            digest: That of the model, where it is known.
            corpus: What is to be embedded first.
        """
        digest = digest or model_digest(folder)
        if self._last is not None:
            last, wanted = self._last
            if last.digest == digest and encoding in (wanted, wanted.pinned(str(last.backend))) and last.fits(corpus):
                return last
        # with the libraries of models, which who only holds settings does not need
        from denizen.retrievers.encoder import Encoder

        found = Encoder(folder, self.store, backend=encoding.backend, precision=encoding.precision, digest=digest)
        self._last = found, encoding
        return found

    def used_by(self, retriever: Retriever) -> str:
        """The backends that embedded corpora for a retriever and its parts, as "torch-bf16"; empty where none did."""
        found = [self.backends.get(retriever.digest, ""), *map(self.used_by, retriever.parts)]
        return ", ".join(dict.fromkeys(name for name in found if name))


@contextlib.contextmanager
def encoders_in(store: str) -> Iterator[Encoders]:
    """Encoders that keep embeddings in a folder; where it is "", only as long as this context.

    Raises:
        InputError: When nothing can be written there.
    """
    with contextlib.ExitStack() as stack:
        folder = store or stack.enter_context(tempfile.TemporaryDirectory())
        try:
            probe(Path(folder).expanduser())
        except OSError as error:
            raise InputError(f"--store {store} cannot be used: {reason(error)}; give another folder") from error
        yield Encoders(Path(folder).expanduser())


class _FirstDims:
    """The first dimensions of vectors, cut when a slice is read, and made unit vectors again where they were."""

    def __init__(self, vectors: Rows, dim: int, unit: bool) -> None:
        self._vectors, self._dim, self._unit = vectors, dim, unit

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and dimensions."""
        return self._vectors.shape[0], min(self._dim, self._vectors.shape[1])

    def __len__(self) -> int:
        return self._vectors.shape[0]

    def __getitem__(self, part: slice) -> Vectors:
        import numpy as np

        found = np.asarray(self._vectors[part])[:, : self._dim]
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12) if self._unit else found


@dataclass(frozen=True)
class _Embedded:
    """A corpus and what has embedded it, which embeds the queries, too."""

    encoder: Encoder
    doc_ids: list[str]
    vectors: Rows


@dataclass(frozen=True)
class BiEncoder:
    """A sentence-transformers model that is searched by the inner product of its embeddings, exactly.

    Attributes:
        folder: The model.
        encoding: What computes.
        encoders: This machine's.
        digest: That of the model (`model_digest`); computed where it is not given.
        dim: To how many first dimensions embeddings are cut; 0: as the model gives them.
        query_prompt: What stands before queries; None: the model's own prompt. An index is the same with any.
    """

    kind: ClassVar[str] = "bi-encoder"
    parts: ClassVar[tuple[Retriever, ...]] = ()

    folder: Path = field(compare=False)
    encoding: Encoding
    encoders: Encoders = field(compare=False)
    digest: str = ""
    dim: int = 0
    query_prompt: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", self.digest or model_digest(self.folder))

    @property
    def lowest(self) -> float | None:
        """-1 where the model compares by cosine; products have no limit."""
        saved = read_json(self.folder / "config_sentence_transformers.json")
        # where a model does not say, sentence-transformers takes the cosine
        name = saved.get("similarity_fn_name") if isinstance(saved, dict) else None
        return -1.0 if name in (None, "cosine") else None

    @property
    def encoder(self) -> Encoder:
        """What turns texts into its embeddings."""
        return self.encoder_for()

    def encoder_for(self, corpus: Sequence[str] = ()) -> Encoder:
        """The same, where this is to be embedded first."""
        return self.encoders.of(self.folder, self.encoding, self.digest, corpus)

    def cut(self, vectors: Rows) -> Rows:
        """Its embeddings to `dim` dimensions, of unit length again where it compares by cosine."""
        return _FirstDims(vectors, self.dim, self.lowest is not None) if self.dim else vectors

    def index(self, corpus: pa.Table, progress: Progress) -> _Embedded:
        """Embeds the corpus, on which the backend is chosen, or finds its embeddings in the store."""
        passages = texts(corpus)
        encoder = self.encoder_for(passages)
        with progress.bar(len(corpus), "texts") as advance:
            vectors = encoder.encode(passages, "document", advance)
        self.encoders.backends[self.digest] = str(encoder.backend)
        for note in (f"by {encoder.backend}", *encoder.notes):
            progress.note(note)
        return _Embedded(encoder, corpus["doc_id"].to_pylist(), self.cut(vectors))

    def search(self, index: _Embedded, queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """A `run`."""
        from denizen.retrievers.search import search

        vectors = self.embed(index, queries, progress)
        memory, ids = self.encoders.memory_mb, list(queries)
        with progress.bar(len(queries), "queries") as advance:
            return search(ids, vectors, index.doc_ids, index.vectors, depth, memory_mb=memory, progress=advance)

    def embed(self, index: _Embedded, queries: Mapping[str, str], progress: Progress) -> Vectors:
        """Queries as they are compared with an index, shape (queries, dim)."""
        with progress.bar(len(queries), "texts") as advance:
            return self.embed_queries(list(queries.values()), index.encoder, advance)

    def embed_queries(
        self,
        queries: Sequence[str],
        encoder: Encoder | None = None,
        advance: Callable[[int], None] = lambda count: None,
    ) -> Vectors:
        """Queries as they are compared, shape (queries, dim).

        Args:
            queries: Their texts.
            encoder: What embeds them; None: its own.
            advance: Called with the number of texts that have just been embedded.
        """
        asked = (encoder or self.encoder).encode(queries, "query", advance, self.query_prompt)
        found: Vectors = self.cut(asked)[:]
        return found

    @property
    def dimensions(self) -> int:
        """Numbers of a vector; the model is loaded where it does not say so itself."""
        return self.dim or self.encoder.model.get_embedding_dimension() or 0

    def save_index(self, index: _Embedded, folder: Path) -> None:
        """Writes the embeddings as one array of 32-bit floats."""
        save_vectors(folder, index.vectors)

    def load_index(self, folder: Path, corpus: pa.Table, progress: Progress) -> _Embedded:
        """What was kept, read where it is needed; queries are embedded in this machine's own arithmetic.

        Raises:
            InputError: When the file is damaged.
        """
        doc_ids = corpus["doc_id"].to_pylist()
        if not (folder / _VECTORS).exists():
            return self.index(corpus, progress)
        return _Embedded(self.encoder, doc_ids, load_vectors(folder, len(doc_ids)))

    def save(self, folder: Path) -> None:
        """Copies the model; whoever loads it gets as many dimensions as here, and the same prompt."""
        ours = shutil.ignore_patterns(*NOT_THE_MODEL - {"README.md"})
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, ignore=ours)
        own = read_json(folder / "config_sentence_transformers.json") or {}
        changed: dict[str, object] = {"truncate_dim": self.dim} if self.dim else {}
        if self.query_prompt is not None:
            changed["prompts"] = {**(own.get("prompts") or {}), "query": self.query_prompt}
        if changed:
            write_json(folder / "config_sentence_transformers.json", {**own, **changed})


def save_vectors(folder: Path, vectors: Rows) -> None:
    """Writes vectors as one array of 32-bit floats, `embeddings.npy` in a folder."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    kept = np.lib.format.open_memmap(folder / _VECTORS, "w+", np.dtype(np.float32), vectors.shape)
    for begin in range(0, vectors.shape[0], _ROWS):
        kept[begin : begin + _ROWS] = vectors[begin : begin + _ROWS]
    kept.flush()


def load_vectors(folder: Path, rows: int) -> Rows:
    """The vectors that `save_vectors` has written, read where they are needed.

    Raises:
        InputError: When the file is missing or damaged, or holds another number of them.
    """
    import numpy as np

    path = folder / _VECTORS
    try:
        # an array of no rows cannot be mapped
        vectors = np.load(path, mmap_mode="r" if rows else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged ({reason(error)}); delete it, and it is made anew") from error
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != rows:
        raise InputError(
            f"{path} holds {vectors.dtype} of the shape {vectors.shape}, and there are {rows} passages; "
            "delete it, and it is made anew"
        )
    found: Rows = vectors
    return found
