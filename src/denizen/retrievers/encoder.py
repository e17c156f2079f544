"""Turning texts into embeddings, the same way in mining, evaluation, training and merging."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denizen.engine.errors import InputError, reason
from denizen.engine.files import locked, read_json, write_json
from denizen.retrievers import backends, parity
from denizen.retrievers.backends import Backend, candidates, environment, make
from denizen.retrievers.cpu.token_batches import WINDOW, token_batches
from denizen.retrievers.loading import Kind, load_encoder, prompts_of
from denizen.retrievers.model_folder import is_decoder_kind
from denizen.retrievers.model_ref import model_digest
from denizen.retrievers.store import StoredVectors, StorePart, Vectors, text_keys

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


# below this the parity gate would take longer than it saves
_FEW_TEXTS = 1000


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    kind: Kind,
    backend: Backend,
    progress: Callable[[int], None] = lambda count: None,
    prompt: str | None = None,
) -> Vectors:
    """Embeds texts with the model's prompt for their kind.

    Texts are tokenised ahead of the model, and batched by length and number of tokens.

    Args:
        model: A bi-encoder.
        texts: The texts.
        kind: "query" or "document"; decides the prompt.
        backend: What computes, made for this model.
        progress: Called with the number of texts that have just been finished.
        prompt: Another prompt than the one for their kind.

    Returns:
        Shape (len(texts), dim); unit length if the model's similarity is cosine, so that search by inner product ranks
        as the model's own `similarity` does.
    """
    result = np.zeros((len(texts), model.get_embedding_dimension() or 0), dtype=np.float32)
    before = prompts_of(model)[kind] if prompt is None else prompt
    batches, places = itertools.tee(token_batches(model, texts, before, kind))
    for (rows, _), computed in zip(places, backend.run(features for _, features in batches), strict=True):
        vectors = computed[:, : model.truncate_dim]
        if model.similarity_fn_name == "cosine":
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        result[rows] = vectors
        progress(len(rows))
    return result


class Encoder:
    """A bi-encoder that looks up what it has embedded before and computes the rest with the machine's best backend.

    Args:
        folder: The model.
        store: The folder of the embedding store.
        backend: auto, torch, openvino or onnx; or exactly one, as torch-bf16, without falling back on another.
        precision: auto, fp32, bf16 or int8.
        digest: That of the model, where it is known.
    """

    def __init__(
        self, folder: Path, store: Path, *, backend: str = "auto", precision: str = "auto", digest: str | None = None
    ) -> None:
        self.folder = folder
        self.digest = digest or model_digest(folder)
        self.notes: list[str] = []
        self._chosen: dict[str, Any] | None = None
        # what a few texts decided must not bind many
        self._binding = True
        self._wanted = (backend, precision)
        self._store = store / self.digest
        self._model: SentenceTransformer | None = None
        self._backend: Backend | None = None

    def encode(
        self,
        texts: Sequence[str],
        kind: Kind,
        progress: Callable[[int], None] = lambda count: None,
        prompt: str | None = None,
    ) -> StoredVectors:
        """Embeds texts; what the store holds already is not computed again.

        Args: As the function `encode`. The first texts of a model decide on its backend in this store.

        Returns:
            Shape (len(texts), dim), read from disk where it is sliced.
        """
        choice = self._chosen = self._choice(texts)
        part = StorePart(self._store / choice["part"], choice["dim"])
        keys = text_keys(choice["prompts"][kind] if prompt is None else _named(kind, prompt), texts)
        rows = part.find(keys)
        missing: dict[bytes, int] = {}
        for at in np.flatnonzero(rows < 0).tolist():
            missing.setdefault(keys[at].tobytes(), at)
        wanted = list(missing.values())
        progress(len(texts) - len(wanted))
        for begin in range(0, len(wanted), WINDOW):
            window = wanted[begin : begin + WINDOW]
            model, computing = self.loaded(texts)
            # a killed run cuts the rest into the same windows, and so computes the same vectors
            vectors = encode(model, [texts[at] for at in window], kind, computing, progress, prompt)
            _check_finite(vectors, [texts[at] for at in window], self.folder)
            part.add(keys[window], vectors)
        return part.vectors(part.find(keys) if wanted else rows)

    def lacking(self, texts: Sequence[str], kind: Kind) -> int:
        """How many different texts the store has nothing of; the arguments are those of `encode`."""
        choice = self._chosen = self._choice(texts)
        keys = text_keys(choice["prompts"][kind], texts)
        rows = StorePart(self._store / choice["part"], choice["dim"]).find(keys)
        return len({keys[at].tobytes() for at in np.flatnonzero(rows < 0).tolist()})

    def _choice(self, texts: Sequence[str]) -> dict[str, Any]:
        """Which backend computes here, what the gate measured, and what a look-up needs to know of the model."""
        if self._chosen is not None:
            return self._chosen
        # another machine, another version or one more library: the gate is passed anew
        path = self._store / f"{'-'.join(self._wanted)}-{environment()}.json"
        with locked(self._store):
            if known := read_json(path):
                return dict(known)
            model = self._loaded_model()
            backend, tried = choose(model, texts, *self._wanted)
            self._backend = backend
            self.notes = [f"{name} not used: {why}" for name, why in tried.items() if isinstance(why, str)]
            choice = {
                "backend": backend.name,
                "part": f"{backend.name}-{environment([backend.name.partition('-')[0], 'torch'])}",
                "dim": model.get_embedding_dimension() or 0,
                "prompts": {kind: _named(kind, prompt) for kind, prompt in prompts_of(model).items()},
                "tried": {name: found if isinstance(found, str) else asdict(found) for name, found in tried.items()},
            }
            self._binding = not _are_few(texts, *self._wanted)
            if self._binding:
                write_json(path, choice)
        return choice

    def loaded(self, texts: Sequence[str]) -> tuple[SentenceTransformer, Backend]:
        """The model and its backend; where none is chosen yet, these texts decide."""
        self._chosen = self._choice(texts)
        model = self._loaded_model()
        if self._backend is None:
            self._backend = make(self._chosen["backend"], model)
        return model, self._backend

    def fits(self, texts: Sequence[str]) -> bool:
        """Whether so many texts may be embedded by what is chosen, or will be."""
        return self._binding or _are_few(texts, *self._wanted)

    @property
    def model(self) -> SentenceTransformer:
        """The model, loaded; no backend is chosen for it."""
        return self._loaded_model()

    @property
    def backend(self) -> str | None:
        """The name of the chosen backend, as torch-bf16; None before the first texts."""
        return str(self._chosen["backend"]) if self._chosen else None

    @property
    def gate(self) -> dict[str, Any]:
        """What the parity gate measured of each backend that was tried."""
        return dict((self._chosen or {})["tried"])

    def _loaded_model(self) -> SentenceTransformer:
        if self._model is None:
            self._model = load_encoder(self.folder)
            if model_digest(self.folder) != self.digest:
                raise InputError(f"{self.folder} has changed while it was in use; run the same command again")
        return self._model


def choose(
    model: SentenceTransformer, texts: Sequence[str], backend: str = "auto", precision: str = "auto"
) -> tuple[Backend, dict[str, parity.Parity | str]]:
    """The first backend that passes the parity gate on these texts.

    Args:
        model: A bi-encoder.
        texts: What is to be embedded; the gate compares a part of it.
        backend: As in `candidates`; or exactly one, which was chosen for a model of this make before, and of which
            the vectors alone are compared.
        precision: As in `candidates`.

    Returns:
        The backend, and what was measured for each that was tried, or why it could not be built or used.
    """
    exact = make("torch-fp32", model)
    tried: dict[str, parity.Parity | str] = {}
    if _are_few(texts, backend, precision):
        return exact, tried
    # exactly one backend is what passed for the model that this one was trained from or to: a wrong mask or a lost
    # prompt shows in the vectors, and the task, two thousand texts in fp32, has nothing to choose
    parts = parity.sample(texts, task="-" not in backend)
    kinds: tuple[Kind, ...] = ("document", "query", "document")

    def embedded(by: Backend) -> list[Vectors]:
        return [encode(model, part, kind, by) for part, kind in zip(parts, kinds, strict=True)]

    reference: list[Vectors] | None = None
    names = [backend] if "-" in backend else candidates(backend, precision)
    if backend == "auto" and _is_decoder(model):
        # exporting a decoder of 135 million weights takes 48 s, and what comes out is no faster than torch
        names = [name for name in names if not name.startswith("openvino")]
    for name in names:
        if name == exact.name:
            return exact, tried
        reference = reference or embedded(exact)
        try:
            made = backends.make(name, model)
            found = parity.compare(embedded(made), reference)
        except Exception as error:  # noqa: BLE001  (a backend that fails is not used, whatever its failure)
            tried[name] = f"{type(error).__name__}: {reason(error)}"
            continue
        if found.passed:
            return made, {**tried, name: found}
        tried[name] = (
            f"the parity gate: smallest cosine {found.cosine:.4f}, lengths {found.length:.2%} apart, "
            f"nDCG@10 {found.ndcg:+.4f}"
        )
    raise InputError(f"{backend} was used before and cannot be used here ({tried[backend]}); --redo round-0/embeddings")


def _is_decoder(model: SentenceTransformer) -> bool:
    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    return is_decoder_kind(str(getattr(config, "model_type", "")))


def _named(kind: Kind, prompt: str) -> str:
    """What a text is kept by beside itself: a model may treat queries and documents of one prompt differently."""
    return f"{kind}:{prompt}"


def _are_few(texts: Sequence[str], backend: str, precision: str) -> bool:
    return len(texts) < _FEW_TEXTS and (backend, precision) == ("auto", "auto")


def _check_finite(vectors: Vectors, texts: Sequence[str], folder: Path) -> None:
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        raise InputError(
            f"{folder} has no finite embedding for {len(wrong)} text(s), the first of them {texts[wrong[0]][:80]!r}; "
            "remove them, or use another model"
        )
