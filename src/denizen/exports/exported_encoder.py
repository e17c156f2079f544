"""An exported model in the place of the one that it was made from: what it embeds is measured by the same code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from denizen.retrievers.backends import Backend
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoder import Encoder, encode
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.loading import Kind
from denizen.retrievers.store import StoredVectors, Vectors
from denizen.retrievers.windows import Windowed, reader

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from denizen.exports.subject import Subject

# texts, their kind and the prompt that stands before them, to vectors as they are compared
Embeds = Callable[[Sequence[str], Kind, str | None], Vectors]


class ExportedEncoder(Encoder):
    """What embeds by an export; nothing is kept.

    Args:
        folder: The export.
        digest: That of the model that it was made from, in whose place it stands.
        model: That model, whose tokenizer cuts passages into windows.
        embeds: What computes.
    """

    def __init__(self, folder: Path, digest: str, model: SentenceTransformer, embeds: Embeds) -> None:
        super().__init__(folder, folder, digest=digest)
        self._model, self._embeds = model, embeds
        # what a note of progress calls it
        self._chosen = {"backend": "the export", "tried": {}}

    def encode(
        self,
        texts: Sequence[str],
        kind: Kind,
        progress: Callable[[int], None] = lambda count: None,
        prompt: str | None = None,
    ) -> StoredVectors:
        """Embeds texts, as the function `encode`."""
        vectors = np.asarray(self._embeds(texts, kind, prompt), dtype=np.float32)
        progress(len(texts))
        return StoredVectors(vectors, np.arange(len(vectors)))


class _Always(Encoders):
    """Encoders of which there is one."""

    def __init__(self, only: Encoder) -> None:
        super().__init__(only.folder)
        self._only = only

    def of(self, folder: Path, encoding: Encoding, digest: str | None = None, corpus: Sequence[str] = ()) -> Encoder:
        """That one."""
        return self._only


def by_backend(model: SentenceTransformer, backend: Backend) -> Embeds:
    """Embeds by a model's tokenizer and prompts, with a backend that computes."""

    def embeds(texts: Sequence[str], kind: Kind, prompt: str | None) -> Vectors:
        return encode(model, texts, kind, backend, prompt=prompt)

    return embeds


def in_place_of(subject: Subject, encoder: Encoder) -> BiEncoder | Windowed:
    """What is exported, embedding by an export."""
    own = subject.model
    model = BiEncoder(own.folder, Encoding(), _Always(encoder), own.digest, own.dim, own.query_prompt)
    return reader(model, subject.retriever.reading) if isinstance(subject.retriever, Windowed) else model
