"""One model in service: its bi-encoder, its corpus where it has one, and its reranker where it ships one."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from denizen.data.formats.metadata import Metadata, read_metadata
from denizen.data.tables import rows_table
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.retrievers.bi_encoder import BiEncoder
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.loading import Kind, prompts_of
from denizen.retrievers.matryoshka import promised
from denizen.retrievers.model_ref import model_digest
from denizen.retrievers.reranked import Reranked
from denizen.retrievers.retriever import MANIFEST, Retriever, every_part
from denizen.retrievers.saved import find, load
from denizen.retrievers.searchable import RETRIEVER, SearchableCorpus, is_searchable, load_searchable
from denizen.retrievers.store import Vectors
from denizen.serve.batcher import Asked, Batcher
from denizen.serve.grade_file import GRADES, Grades
from denizen.serve.live_encoder import LiveEncoders
from denizen.serve.systems import Systems, systems_in

if TYPE_CHECKING:
    from denizen.retrievers.cross_encoder import Reranker
    from denizen.retrievers.encoder import Encoder
    from denizen.retrievers.searchable import FoundPassage

# of a run, what it has read
_DOCUMENTS = "documents"
_WEIGHTS = ("*.safetensors", "*.bin")
# texts whose tokens are in memory at a time: those of a token are 300 bytes
_READ_AT_A_TIME = 64


@dataclass(frozen=True)
class Read:
    """What a model reads of some texts.

    Attributes:
        texts: The texts; of one that is far longer than what is read, as much as decides that.
        tokens: How many tokens of each, special ones included.
        cut: The places of those whose end is not read.
    """

    texts: list[str]
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
        metadata: What is known of these passages and their documents.

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
        metadata: Metadata | None = None,
    ) -> None:
        self.name, self.thread, self.digest = name, thread, model_digest(folder)
        self.searchable: SearchableCorpus | None = None
        # by doc_id
        self.domains: dict[str, str | None] = {}
        if corpus is not None or is_searchable(folder):
            self.searchable = load_searchable(folder, None, corpus, encoders)
            columns = (self.searchable.corpus[name].to_pylist() for name in ("doc_id", "domain"))
            self.domains = dict(zip(*columns, strict=True))
        # of a run with documents, where it has read them
        self._metadata = read_metadata(folder.parent / _DOCUMENTS) if metadata is None else metadata
        self.retriever: Retriever = self.searchable.retriever if self.searchable else load(folder, Encoding(), encoders)
        parts = list(every_part(self.retriever))
        self.model = next((part for part in parts if isinstance(part, BiEncoder)), None)
        self.reranker: Reranker | None = next((part.reranker for part in parts if isinstance(part, Reranked)), None)
        self.batcher = Batcher(self._embed, thread, queue_tokens)
        self.bytes = weights_in(folder)
        self.systems: Systems | None = None
        # with other passages than its own it is no longer what the run has compared
        if self.searchable and corpus is None and folder.name == RETRIEVER:
            self.systems = systems_in(folder.parent, self.searchable, encoders)
        self.grades = Grades(folder.parent / GRADES) if self.systems else None
        if self.model is not None:
            encoder = self.encoder
            sentences = encoder.model
            # one tokenizer may not be used by two threads at once
            self._tokenizer, self._lock = copy.deepcopy(sentences.tokenizer), threading.Lock()
            self.prompts = dict(sentences.prompts)
            self.by_kind = prompts_of(sentences)
            most = sentences.max_seq_length or 0
            # static embeddings read texts of any length
            self.limit = int(most) if math.isfinite(most) else 0
            whole = sentences.get_embedding_dimension() or 0
            self.dim = self.model.dim or whole
            self.dims = tuple(dim for dim in promised(self.model.folder).dims if dim < self.dim)

    def metadata_of(self, passage: FoundPassage) -> dict[str, Any]:
        """What is known of a passage and of its document."""
        return {**self._metadata.get(passage.parent_id or "", {}), **self._metadata.get(passage.doc_id, {})}

    @property
    def metadata_names(self) -> list[str]:
        """What is known of any passage, by name."""
        return sorted({name for known in self._metadata.values() for name in known})

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
        before, found = self._prompt(asked), Read([], [], [])
        for begin in range(0, len(texts), _READ_AT_A_TIME):
            part = list(texts[begin : begin + _READ_AT_A_TIME])
            for text, (count, enough) in zip(part, self._counted([before + text for text in part]), strict=True):
                if self.limit and count > self.limit:
                    found.cut.append(len(found.texts))
                found.texts.append(text[: max(1, enough - len(before))])
                found.tokens.append(min(count, self.limit) if self.limit else count)
        return found

    def _counted(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """Of each text how many tokens it has, and how many of its characters decide all that are read."""
        with self._lock:
            if not callable(self._tokenizer):
                # static embeddings have the tokenizer of the library tokenizers, and read no special tokens
                encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
            else:
                found = self._tokenizer(texts, truncation=False, verbose=False)
                if not found.encodings:
                    return [(len(ids), len(text)) for ids, text in zip(found["input_ids"], texts, strict=True)]
                encodings = found.encodings
        # twice as many as are read: where the last of them ends, nothing behind it changes the first half
        enough = 2 * self.limit or math.inf
        return [
            (len(each), each.offsets[int(enough)][1] if len(each) > enough + 1 else len(text))
            for each, text in zip(encodings, texts, strict=True)
        ]

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of some of the model's own token ids.

        Raises:
            InputError: When there is no such id.
        """
        size = len(self._tokenizer) if callable(self._tokenizer) else self._tokenizer.get_vocab_size()
        if wrong := next((found for found in ids if not 0 <= found < size), None):
            raise InputError(f"token id {wrong} is none of the {size:,} of {self.name}")
        with self._lock:
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def judged(self, query: str, documents: Sequence[str]) -> list[float]:
        """How well each document answers, as the reranker gives it.

        Raises:
            InputError: When there is none.
        """
        if self.reranker is None:
            raise InputError(f"{self.name} has no reranker")
        rows = [(str(at), "", text, "", "", str(at)) for at, text in enumerate(documents)]
        pairs = [(query, name) for name, *_ in rows]
        return self.reranker.scores(pairs, rows_table("corpus", rows), Silent())

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


def weights_in(folder: Path) -> int:
    """Bytes of weights in a folder."""
    return sum(file.stat().st_size for pattern in _WEIGHTS for file in folder.rglob(pattern))


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
