"""A retriever and the corpus that it searches as one folder, with what it takes to search at once.

Beside what `save` writes there is `corpus/`: the passages (`corpus.parquet`), in `index/` what the retriever and its
parts keep of them (embeddings, keyword index), and `index.json`, which says of which retriever and passages that is.
What is missing of these, or is of others, is made anew from the passages.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from denizen.data.tables import rankings, read_table, write_table
from denizen.engine.errors import InputError
from denizen.engine.files import file_digest, read_json, write_json
from denizen.engine.progress import Progress, Silent
from denizen.engine.versions import installed
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.hybrid import FUSED_DEPTH, Hybrid
from denizen.retrievers.reranked import Reranked
from denizen.retrievers.retriever import MANIFEST, Index, Keeping, Retriever, every_part, kept_index
from denizen.retrievers.saved import load, save
from denizen.retrievers.windows import Windowed

# where a run keeps what is shipped
RETRIEVER = "retriever"
CORPUS = "corpus"
_PASSAGES = "corpus.parquet"
_INDEX = "index"
_RECORD = "index.json"


@dataclass(frozen=True)
class FoundPassage:
    """A passage that a query has found.

    Attributes:
        rank: From 1.
        score: What the retriever gives it; comparable within a query.
        doc_id: The passage.
        title: Its title, "" without one.
        text: The passage itself.
        parent_id: The document that it was cut from; None where that is not known.
        start: Where in that document it begins, in characters; or None.
        end: Where it ends; or None.
    """

    rank: int
    score: float
    doc_id: str
    title: str
    text: str
    parent_id: str | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, eq=False)
class SearchableCorpus:
    """A retriever with an indexed corpus.

    Attributes:
        retriever: What searches.
        corpus: The `corpus` table, ascending by doc_id.
        index: What the retriever made of it.
        store: Where embeddings of queries are kept as long as this lives; None: the retriever has a place of its own.
    """

    retriever: Retriever
    corpus: pa.Table
    index: Index
    store: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @classmethod
    def load(cls, folder: str | Path, progress: Progress | None = None) -> SearchableCorpus:
        """The retriever of a run with its corpus: `Retriever.load("runs/mine").search("how is gout treated")`.

        Args:
            folder: A run's folder, or one that `write_searchable` has written.
            progress: Receives what a person should see, should passages have to be indexed anew.

        Raises:
            InputError: When there is none, or it is damaged.
        """
        path = Path(folder).expanduser()
        for place in (path / RETRIEVER, path):
            if is_searchable(place):
                return load_searchable(place, progress)
        if not path.exists():
            raise InputError(
                f"{folder} does not exist; give the folder of a run, or one with a retriever and its corpus"
            )
        raise InputError(
            f"{folder} holds no retriever with its corpus (retriever.json and corpus/corpus.parquet, there or in "
            f"{folder}/{RETRIEVER}); give the folder of a finished run of adapt"
        )

    @overload
    def search(self, query: str, top_k: int = 10) -> list[FoundPassage]: ...

    @overload
    def search(self, query: list[str], top_k: int = 10) -> list[list[FoundPassage]]: ...

    def search(self, query: str | list[str], top_k: int = 10) -> list[FoundPassage] | list[list[FoundPassage]]:
        """The best passages for a query, best first; for several queries, those of each.

        Raises:
            InputError: When a query is blank, or `top_k` is below 1.
        """
        asked = [query] if isinstance(query, str) else query
        if top_k < 1:
            raise InputError(f"top_k is {top_k}; it must be 1 or more")
        if not all(text.strip() for text in asked):
            raise InputError("a query is blank; give one with words")
        # what a terminal hands on may be no text
        texts = {str(at): text.encode("utf-8", "replace").decode() for at, text in enumerate(asked)}
        run = self.retriever.search(self.index, texts, max(top_k, FUSED_DEPTH), Silent())
        ranked = rankings(run)
        found = [self._passages(ranked.get(name, [])[:top_k]) for name in texts]
        return found[0] if isinstance(query, str) else found

    def windows(self, query: str, passages: Sequence[FoundPassage]) -> list[tuple[int, int] | None]:
        """Where in the text of each passage what speaks most to a query stands, in characters.

        None where it was read whole, or speaks by its title.
        """
        read = next(((stage, index) for stage, index in self.stages() if isinstance(stage, Windowed)), None)
        if read is None or not passages:
            return [None] * len(passages)
        reader, index = read
        spans = reader.best_spans(index, [(query, each.doc_id) for each in passages])
        found: list[tuple[int, int] | None] = []
        for (begin, end), each in zip(spans, passages, strict=True):
            # as `texts` joins both
            joined = f"{each.title} {each.text}"
            before = len(each.title) + 1 - (len(joined) - len(joined.lstrip())) if each.title else 0
            inside = max(0, begin - before), min(len(each.text), max(0, end - before))
            found.append(inside if inside[0] < inside[1] and inside != (0, len(each.text)) else None)
        return found

    def stages(self) -> Iterator[tuple[Retriever, Index]]:
        """The retriever and those that it is made of, as far as all search these passages, each with its index."""
        waiting: list[tuple[Retriever, Index]] = [(self.retriever, self.index)]
        while waiting:
            retriever, index = waiting.pop(0)
            yield retriever, index
            if isinstance(retriever, Hybrid):
                waiting += zip(retriever.parts, index, strict=True)
            elif isinstance(retriever, Reranked):
                waiting.append((retriever.first, index.first))

    def _passages(self, ranking: Sequence[tuple[str, float]]) -> list[FoundPassage]:
        found = self.corpus.take([self._rows[doc_id] for doc_id, _ in ranking]).to_pylist() if ranking else []
        return [
            FoundPassage(
                rank,
                score,
                doc_id,
                row["title"] or "",
                row["text"] or "",
                row["parent_id"],
                row["start"],
                row["end"],
            )
            for rank, ((doc_id, score), row) in enumerate(zip(ranking, found, strict=True), start=1)
        ]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {doc_id: row for row, doc_id in enumerate(self.corpus["doc_id"].to_pylist())}


def write_searchable(
    folder: Path, retriever: Retriever, corpus: pa.Table, progress: Progress | None = None
) -> dict[str, Any]:
    """Saves a retriever with a corpus, ready to be searched.

    Args:
        folder: Where to.
        retriever: What is to search; embeddings that its store holds already are not computed again.
        corpus: A `corpus` table, ascending by doc_id.
        progress: Is shown bars of "texts".

    Returns:
        The contents of `index.json`.

    Raises:
        InputError: When doc_ids do not ascend.
    """
    index = retriever.index(corpus, progress or Silent())
    own = folder / CORPUS
    own.mkdir(parents=True, exist_ok=True)
    # what lies there from before is of no use while it is replaced
    (own / _RECORD).unlink(missing_ok=True)
    save(folder, retriever)
    write_table(own / _PASSAGES, corpus)
    if isinstance(retriever, Keeping):
        retriever.save_index(index, own / _INDEX)
    record = {**_identity(retriever, own), **_told(retriever), "passages": len(corpus)}
    write_json(own / _RECORD, record)
    return record


def is_searchable(folder: Path) -> bool:
    """Whether a folder holds what `write_searchable` has written."""
    # a run has a folder `corpus`, too
    return (folder / MANIFEST).is_file() and (folder / CORPUS / _PASSAGES).is_file()


def load_searchable(
    folder: Path,
    progress: Progress | None = None,
    corpus: pa.Table | None = None,
    encoders: Encoders | None = None,
) -> SearchableCorpus:
    """What `write_searchable` has saved; a model is loaded when the first query comes.

    Args:
        folder: The folder.
        corpus: Other passages, ascending by doc_id, for any saved retriever; they are indexed anew.
        progress: Is shown bars of "texts" where passages have to be indexed anew.
        encoders: What embeds; None: what keeps embeddings as long as this lives.

    Raises:
        InputError: When there is no retriever with a corpus, or a file is damaged.
    """
    own, progress = folder / CORPUS, progress or Silent()
    store = tempfile.TemporaryDirectory(prefix="denizen-") if encoders is None else None
    retriever = load(folder, Encoding(), encoders or Encoders(Path(store.name if store else "")))
    if corpus is not None:
        return SearchableCorpus(retriever, corpus, retriever.index(corpus, progress), store)
    corpus, record = read_table(own / _PASSAGES, "corpus"), read_json(own / _RECORD)
    if isinstance(record, dict) and {**record, **_identity(retriever, own)} == record:
        index = kept_index(retriever, own / _INDEX, corpus, progress)
    else:
        index = retriever.index(corpus, progress)
    return SearchableCorpus(retriever, corpus, index, store)


def _identity(retriever: Retriever, own: Path) -> dict[str, str]:
    return {"retriever": retriever.digest, "corpus": file_digest(own / _PASSAGES)}


def _told(retriever: Retriever) -> dict[str, Any]:
    """What a reader of the folder wants to know of it."""
    found: dict[str, Any] = {"kind": retriever.kind}
    if isinstance(retriever, Hybrid):
        found |= {"fusion": retriever.fusion, "weights": list(retriever.weights)}
    if analysers := sorted({part.analyser.name for part in every_part(retriever) if isinstance(part, BM25)}):
        found["analyser"] = "; ".join(analysers)
    packages = ("denizen", "bm25s", "PyStemmer", "sentence-transformers")
    return {**found, "versions": {package: installed(package) for package in packages}}
