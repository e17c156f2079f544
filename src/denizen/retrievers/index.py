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
    from denizen.retrievers.windows import Reading, Windowed

_RECORD = "encoder.json"


class Read(Artifact):
    """How passages are to be read."""

    @property
    def reading(self) -> Reading:
        """That; in a plan: whole."""
        from denizen.retrievers.windows import Reading

        return Reading(**self.facts.get("reading", {}))


@dataclass(frozen=True)
class Index(Artifact):
    """What embedded a corpus; the vectors themselves lie in the store of embeddings, found by text and model."""

    @cached_property
    def encoding(self) -> Encoding:
        """What goes on with the backend that was chosen."""
        return Encoding(precision=self._record["precision"]).pinned(self._record["backend"])

    @cached_property
    def reading(self) -> Reading:
        """How it reads passages."""
        from denizen.retrievers.windows import Reading

        return Reading(**self._record.get("reading", {}))

    @cached_property
    def _record(self) -> dict[str, Any]:
        return dict(read_json(self.path / _RECORD if self.path.is_dir() else self.path))

    def retriever(self, model: Model, encoders: Encoders) -> BiEncoder | Windowed:
        """A model that goes on with it."""
        from denizen.retrievers.windows import reader

        return reader(self.model(model, encoders), self.reading)

    def model(self, model: Model, encoders: Encoders) -> BiEncoder:
        """The same, reading passages whole."""
        from denizen.retrievers.bi_encoder import BiEncoder

        return BiEncoder(model.path, self.encoding, encoders, model.digest)

    def encoder(self, model: Model, encoders: Encoders) -> Encoder:
        """What embeds texts with it."""
        return self.model(model, encoders).encoder


def _planned_index(params: Encoding, *, corpus: Corpus, reading: Read | None = None, **inputs: Any) -> dict[str, Any]:
    # windows that overlap by half are twice the tokens, and whole passages are embedded, too
    return {"encoded_texts": corpus.facts.get("passages", 0) * (1 if reading is None or reading.reading.whole else 3)}


@step(version=4, makes=Index, name="embeddings", plan=_planned_index, local=True)
def embed(
    out: Path,
    params: Encoding,
    ctx: Context,
    *,
    model: Model,
    corpus: Corpus,
    queries: Queries,
    reading: Read | None = None,
) -> dict[str, Any]:
    """Embeds a corpus and its train and dev queries into the store, by the best backend that passes the parity gate.

    Args:
        out: Where is recorded what embedded them.
        params: What may.
        ctx: The encoders.
        model: A bi-encoder.
        corpus: The passages.
        queries: The queries.
        reading: How passages are read; None: whole.
    """
    from denizen.retrievers.bi_encoder import BiEncoder, Encoders
    from denizen.retrievers.windows import WHOLE, reader

    how = reading.reading if reading else WHOLE
    encoders, asked = ctx[Encoders], list(queries.texts("train", "dev").values())
    # the corpus first: the backend is chosen on the first texts
    encoder = encoders.of(model.path, params, model.digest, texts(corpus.table))
    reader(BiEncoder(model.path, params, encoders, model.digest), how).index(corpus.table, ctx.progress)
    with ctx.progress.bar(len(asked), "texts") as advance:
        encoder.encode(asked, "query", advance)
    record = {"model": encoder.digest, "backend": encoder.backend, "precision": params.precision}
    write_json(out / _RECORD, record | ({} if how.whole else {"reading": how.as_dict()}))
    return {"gate": encoder.gate, "backend": encoder.backend}
