"""An encoder of a server: what it has embedded lately stays in memory, within a limit, and nothing goes to disk."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from denizen.engine.errors import InputError
from denizen.retrievers.backends import candidates
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.encoder import Encoder, encode
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.loading import Kind
from denizen.retrievers.model_folder import is_decoder
from denizen.retrievers.store import StoredVectors, Vectors, text_keys

# a backend's vectors are compared with those of fp32 on these before the first request, in lengths of real texts
_SAMPLES = tuple(
    " ".join(["what", "is", "said", "in", "paragraph", str(number), "of", "this", "text", "about", "rules"] * length)
    for number, length in enumerate((1, 1, 2, 2, 3, 4, 6, 8, 12, 16, 20, 24))
)


class VectorCache:
    """The vectors of texts that came last.

    Args:
        most_bytes: What all vectors together may take.
    """

    def __init__(self, most_bytes: int) -> None:
        self.hits = self.misses = 0
        self._most, self._bytes = most_bytes, 0
        # a model that is loaded embeds its corpus while another one serves
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, Vectors] = OrderedDict()

    def find(self, key: bytes) -> Vectors | None:
        """What is kept under a key, shape (dim,)."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._kept.move_to_end(key)
            return found

    def keep(self, key: bytes, vector: Vectors) -> None:
        """Keeps a vector; those that were not asked for longest make room."""
        with self._lock:
            if key not in self._kept:
                self._bytes += vector.nbytes
            # a row of a larger array would keep all of it
            self._kept[key] = vector.copy()
            while self._bytes > self._most:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= gone.nbytes


class LiveEncoder(Encoder):
    """A bi-encoder whose embeddings stay in memory alone.

    Args:
        folder: The model.
        scratch: A folder for what a backend is chosen by.
        cache: Where vectors are kept.
        backend: Exactly one, as torch-bf16.
    """

    def __init__(
        self, folder: Path, scratch: Path, cache: VectorCache, backend: str, digest: str | None = None
    ) -> None:
        super().__init__(folder, scratch, backend=backend, digest=digest)
        self.cache = cache

    def encode(
        self,
        texts: Sequence[str],
        kind: Kind,
        progress: Callable[[int], None] = lambda count: None,
        prompt: str | None = None,
    ) -> StoredVectors:
        """Embeds texts as the encoder of a run does."""
        model, backend = self.loaded(_SAMPLES)
        keys = [key.tobytes() for key in text_keys(f"{self.digest} {kind} {prompt}", texts)]
        found = {key: vector for key in keys if (vector := self.cache.find(key)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            vectors = encode(model, list(missing.values()), kind, backend, progress, prompt)
            for key, vector in zip(missing, vectors, strict=True):
                found[key] = vector
                # never kept: what is not finite is told to each who asks
                if np.isfinite(vector).all():
                    self.cache.keep(key, vector)
        shape = (len(texts), model.get_embedding_dimension() or 0)
        rows = np.stack([found[key] for key in keys]) if keys else np.zeros(shape, dtype=np.float32)
        return StoredVectors(rows, np.arange(len(keys)))


class LiveEncoders(Encoders):
    """What embeds for a server: one encoder a model, whoever asks.

    Args:
        scratch: A folder for what backends are chosen by.
        cache: Where vectors are kept.
    """

    def __init__(self, scratch: Path, cache: VectorCache) -> None:
        super().__init__(scratch)
        self._cache = cache
        self._all: dict[str, LiveEncoder] = {}

    def of(self, folder: Path, encoding: Encoding, digest: str | None = None, corpus: Sequence[str] = ()) -> Encoder:
        """A model's encoder, with the fastest backend of this machine whose vectors are those of fp32."""
        known = self._all.get(digest or "")
        if known is None:
            known = self._started(folder, encoding, digest)
            self._all[known.digest] = known
        return known

    def _started(self, folder: Path, encoding: Encoding, digest: str | None) -> LiveEncoder:
        backend = encoding.backend
        names = [backend] if "-" in backend else candidates(backend, encoding.precision)
        if backend == "auto" and is_decoder(folder):
            # exporting one takes a minute, and gives nothing that is faster than torch
            names = [name for name in names if not name.startswith("openvino")]
        reasons = []
        for name in dict.fromkeys([*names, "torch-fp32"]):
            encoder = LiveEncoder(folder, self.store, self._cache, name, digest)
            try:
                encoder.loaded(_SAMPLES)
            except InputError as error:
                reasons.append(f"{name}: {error}")
                continue
            return encoder
        raise InputError(f"{folder} cannot be served: {'; '.join(reasons)}")
