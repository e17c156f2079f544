"""One model in service: its bi-encoder, its corpus where it has one, and its reranker where it ships one."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from denizen.data.tables import rows_table
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.retrievers.bi_encoder import BiEncoder
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.loading import Kind, prompts_of
from denizen.retrievers.matryoshka import promised
from denizen.retrievers.model_ref import model_digest
from denizen.retrievers.reranked import Reranked
from denizen.retrievers.retriever import MANIFEST, Retriever
from denizen.retrievers.saved import find, load
from denizen.retrievers.searchable import RETRIEVER, SearchableCorpus, is_searchable, load_searchable
from denizen.retrievers.store import Vectors
from denizen.serve.batcher import Asked, Batcher
from denizen.serve.live_encoder import LiveEncoders

if TYPE_CHECKING:
    from denizen.retrievers.cross_encoder import Reranker
    from denizen.retrievers.encoder import Encoder

_WEIGHTS = ("*.safetensors", "*.bin")


@dataclass(frozen=True)
class Read:
    """What a model reads of some texts.

    Attributes:
        tokens: How many tokens of each, special ones included.
        cut: The places of those whose end is not read.
    """

    tokens: list[int]
    cut: list[int]


class Served:
    """A retriever in service.

    Args:
        name: What clients call it.
        folder: A saved retriever or a model (`place_of`).
        encoders: What embeds.
        thread: Where all that computes is done: the cores are not shared by two.
        queue_tokens: How many tokens may wait.
        corpus: Passages to be searched instead of those that were saved with it; None: those.

    Raises:
        InputError: When the folder holds no retriever.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        encoders: LiveEncoders,
        thread: ThreadPoolExecutor,
        queue_tokens: int,
        corpus: pa.Table | None = None,
    ) -> None:
        self.name, self.thread, self.digest = name, thread, model_digest(folder)
        self.searchable: SearchableCorpus | None = None
        if corpus is not None or is_searchable(folder):
            self.searchable = load_searchable(folder, None, corpus, encoders)
        self.retriever: Retriever = self.searchable.retriever if self.searchable else load(folder, Encoding(), encoders)
        parts = list(_all_parts(self.retriever))
        self.model = next((part for part in parts if isinstance(part, BiEncoder)), None)
        self.reranker: Reranker | None = next((part.reranker for part in parts if isinstance(part, Reranked)), None)
        self.batcher = Batcher(self._embed, thread, queue_tokens)
        self.bytes = sum(file.stat().st_size for pattern in _WEIGHTS for file in folder.rglob(pattern))
        if self.model is not None:
            encoder = self.encoder
            sentences = encoder.model
            # one tokenizer may not be used by two threads at once
            self._tokenizer, self._lock = copy.deepcopy(sentences.tokenizer), threading.Lock()
            self.prompts = dict(sentences.prompts)
            self.by_kind = prompts_of(sentences)
            self.limit = int(sentences.max_seq_length or 0)
            whole = sentences.get_embedding_dimension() or 0
            self.dim = self.model.dim or whole
            self.dims = tuple(dim for dim in promised(self.model.folder).dims if dim < self.dim)

    @property
    def encoder(self) -> Encoder:
        """What embeds for it.

        Raises:
            InputError: When it has no bi-encoder.
        """
        if self.model is None:
            raise InputError(f"{self.name} finds by words and has no embeddings")
        return self.model.encoder

    def read(self, texts: Sequence[str], asked: Asked) -> Read:
        """How many tokens the model reads of each text with its prompt, and which it does not read to the end."""
        before = self._prompt(asked)
        with self._lock:
            found = self._tokenizer([f"{before}{text}" for text in texts], truncation=False, verbose=False)
        counts = [len(ids) for ids in found["input_ids"]]
        limit = self.limit or max(counts, default=0)
        cut = [at for at, count in enumerate(counts) if count > limit]
        return Read([min(count, limit) for count in counts], cut)

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of some of the model's own token ids.

        Raises:
            InputError: When there is no such id.
        """
        size = len(self._tokenizer)
        if wrong := next((found for found in ids if not 0 <= found < size), None):
            raise InputError(f"token id {wrong} is none of the {size:,} of {self.name}")
        with self._lock:
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def treats_alike(self) -> bool:
        """Whether queries and documents are read in the same way."""
        return self.by_kind["query"] == self.by_kind["document"]

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        """How well each document answers: by the reranker, between 0 and 1; without one the cosine of embeddings."""
        if self.reranker is None:
            encoder = self.encoder
            (asked,), told = encoder.encode([query], "query")[:], encoder.encode(documents, "document")[:]
            lengths = np.linalg.norm(told, axis=1) * np.linalg.norm(asked)
            return [float(score) for score in told @ asked / np.maximum(lengths, 1e-12)]
        rows = [(str(at), "", text, "", "", str(at)) for at, text in enumerate(documents)]
        pairs = [(query, name) for name, *_ in rows]
        found = np.array(self.reranker.scores(pairs, rows_table("corpus", rows), Silent()))
        return [float(score) for score in 1 / (1 + np.exp(-found))]

    def _prompt(self, asked: Asked) -> str:
        return self.by_kind[_kind(asked)] if asked.prompt is None else asked.prompt

    def _embed(self, texts: Sequence[str], asked: Asked) -> Vectors:
        vectors = self.encoder.encode(texts, _kind(asked), prompt=asked.prompt)
        return self.model.cut(vectors)[:] if self.model else vectors[:]


def place_of(name: str) -> Path:
    """Where what a name says lies: the retriever of a run, a saved retriever, or a model as of `locate`.

    Raises:
        InputError: When there is none.
    """
    kept = Path(name).expanduser() / RETRIEVER
    return kept if (kept / MANIFEST).is_file() else find(name)


def names_of(given: Sequence[str]) -> Mapping[str, str]:
    """What clients call each, to what was given: NAME=WHERE, or the last part of where it lies.

    Raises:
        InputError: When two have the same name.
    """
    found: dict[str, str] = {}
    for each in given:
        name, is_named, where = each.partition("=")
        where = where if is_named else each
        name = name if is_named else Path(where).expanduser().resolve().name if Path(where).exists() else where
        if name in found:
            raise InputError(f"{found[name]} and {where} would both be called {name!r}; give one as NAME={where}")
        found[name] = where
    return found


def _kind(asked: Asked) -> Kind:
    return "query" if asked.kind == "query" else "document"


def _all_parts(retriever: Retriever) -> Iterator[Retriever]:
    yield retriever
    for part in retriever.parts:
        yield from _all_parts(part)
