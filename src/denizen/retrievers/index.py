"""The step that embeds a corpus with a model, and what goes on from there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.data.artifacts import Corpus, Model, Queries
from denizen.data.tables import texts
from denizen.engine.artifact import Artifact
from denizen.engine.files import read_json, write_json
from denizen.engine.step import Context, step
from denizen.retrievers.encoding import Encoding

if TYPE_CHECKING:
    from denizen.retrievers.bi_encoder import BiEncoder, Encoders
    from denizen.retrievers.encoder import Encoder

_RECORD = "encoder.json"


@dataclass(frozen=True)
class Index(Artifact):
    """What embedded a corpus; the vectors themselves lie in the store of embeddings, found by text and model."""

    @cached_property
    def encoding(self) -> Encoding:
        """What goes on with the backend that was chosen."""
        found = read_json(self.path / _RECORD if self.path.is_dir() else self.path)
        return Encoding(precision=found["precision"]).pinned(found["backend"])

    def retriever(self, model: Model, encoders: Encoders) -> BiEncoder:
        """A model that goes on with it."""
        from denizen.retrievers.bi_encoder import BiEncoder

        return BiEncoder(model.path, self.encoding, encoders, model.digest)

    def encoder(self, model: Model, encoders: Encoders) -> Encoder:
        """What embeds texts with it."""
        return self.retriever(model, encoders).encoder


def _planned_index(params: Encoding, *, corpus: Corpus, **inputs: Any) -> dict[str, Any]:
    return {"encoded_texts": corpus.facts.get("passages", 0)}


@step(version=3, makes=Index, name="embeddings", plan=_planned_index, local=True)
def embed(
    out: Path, params: Encoding, ctx: Context, *, model: Model, corpus: Corpus, queries: Queries
) -> dict[str, Any]:
    """Embeds a corpus and its train and dev queries into the store, by the best backend that passes the parity gate."""
    from denizen.retrievers.bi_encoder import Encoders

    passages, asked = texts(corpus.table), list(queries.texts("train", "dev").values())
    encoder = ctx[Encoders].of(model.path, params, model.digest, passages)
    with ctx.progress.bar(len(passages) + len(asked), "texts") as advance:
        # the corpus first: the backend is chosen on the first texts
        encoder.encode(passages, "document", advance)
        encoder.encode(asked, "query", advance)
    for note in (*encoder.notes, f"by {encoder.backend}"):
        ctx.progress.note(note)
    write_json(out / _RECORD, {"model": encoder.digest, "backend": encoder.backend, "precision": params.precision})
    return {"gate": encoder.gate, "backend": encoder.backend}
