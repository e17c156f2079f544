"""BM25: what plain keyword search finds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from denizen.data.tables import SCHEMAS, texts
from denizen.engine.errors import InputError, reason
from denizen.engine.files import json_digest, read_json, write_json
from denizen.engine.progress import Progress
from denizen.retrievers.analyser import Analyser
from denizen.retrievers.corpus_language import corpus_language
from denizen.retrievers.retriever import Retriever, save_composite
from denizen.retrievers.search import check_order, run_table

_Scores = np.ndarray[Any, np.dtype[np.float32]]
_RECORD = "analyser.json"
_Positions = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class _Terms:
    """The passages by their terms (an index of bm25s; None: no passage has any) and their ids."""

    bm25: Any
    doc_ids: list[str]


@dataclass(frozen=True)
class BM25:
    """BM25 (bm25s with its defaults: Lucene's variant, k1 1.5, b .75) over the terms that an `Analyser` sees.

    Passages that share no term with the query are not in the run.

    Attributes:
        language: That of the analyser.
        pairs: Whether pairs of neighbouring words are terms, too.
    """

    kind: ClassVar[str] = "bm25"
    parts: ClassVar[tuple[Retriever, ...]] = ()
    lowest: ClassVar[float | None] = 0.0

    language: str = "en"
    pairs: bool = False

    def __post_init__(self) -> None:
        """Checks what may come from a file.

        Raises:
            InputError: When the language is no code, or pairs is no bool.
        """
        Analyser(self.language, self.pairs)

    @classmethod
    def fitting(cls, corpus: pa.Table, *, pairs: bool = False) -> BM25:
        """That of the language of most passages of a `corpus` table."""
        return cls(corpus_language(texts(corpus)), pairs)

    @property
    def analyser(self) -> Analyser:
        """What makes terms of texts."""
        return Analyser(self.language, self.pairs)

    @property
    def digest(self) -> str:
        """What it is."""
        pairs = {"pairs": True} if self.pairs else {}
        return json_digest({"kind": self.kind, "language": self.language, **pairs})

    def index(self, corpus: pa.Table, progress: Progress) -> _Terms:
        """Counts the terms of all passages."""
        import bm25s

        doc_ids = corpus["doc_id"].to_pylist()
        check_order(doc_ids)
        terms = self.analyser.terms(texts(corpus))
        numbers = {term: number for number, term in enumerate(dict.fromkeys(itertools.chain.from_iterable(terms)))}
        if not numbers:
            return _Terms(None, doc_ids)
        found = bm25s.BM25()
        found.index(([[numbers[term] for term in listed] for listed in terms], numbers), show_progress=False)
        return _Terms(found, doc_ids)

    def search(self, index: _Terms, queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        """A `run`."""
        if index.bm25 is None:
            return SCHEMAS["run"].empty_table()

        def blocks() -> Iterator[tuple[_Scores, _Positions]]:
            for terms in self.analyser.terms(queries.values()):
                known = [term for term in terms if term in index.bm25.vocab_dict]
                scores = index.bm25.get_scores(known) if known else np.zeros(0, dtype=np.float32)
                positions = best(scores, depth)
                advance(1)
                yield scores[None, positions], positions[None]

        with progress.bar(len(queries), "queries by BM25") as advance:
            return run_table(list(queries), index.doc_ids, blocks())

    def save_index(self, index: _Terms, folder: Path) -> None:
        """Writes the terms as bm25s does (arrays and JSON, no pickle), and what decided them."""
        if index.bm25 is not None:
            index.bm25.save(folder, show_progress=False)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _RECORD, {**self.analyser.record, "terms": index.bm25 is not None})

    def load_index(self, folder: Path, corpus: pa.Table, progress: Progress) -> _Terms:
        """What was kept; where words would be cut otherwise today, the corpus is indexed anew.

        Raises:
            InputError: When a file is damaged.
        """
        record = read_json(folder / _RECORD)
        own = {"pairs": None, **self.analyser.record}
        if not isinstance(record, dict) or {name: record.get(name) for name in own} != own:
            return self.index(corpus, progress)
        doc_ids = corpus["doc_id"].to_pylist()
        if not record.get("terms"):
            return _Terms(None, doc_ids)
        import bm25s

        try:
            found = bm25s.BM25.load(folder, mmap=True, show_progress=False)
            if found.scores["num_docs"] != len(doc_ids):
                raise ValueError(f"it is of {found.scores['num_docs']} passages, and there are {len(doc_ids)}")
        except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
            raise InputError(f"the keyword index {folder} is damaged ({reason(error)}); delete that folder") from error
        return _Terms(found, doc_ids)

    def save(self, folder: Path) -> None:
        """Writes what it is; it has no weights."""
        save_composite(folder, self, {"language": self.language, "pairs": self.pairs})


def best(scores: _Scores, depth: int) -> _Positions:
    """The positions of the `depth` highest scores above 0, by (-score, position).

    Args:
        scores: Shape (passages,).
        depth: How many at most.
    """
    found = np.flatnonzero(scores > 0)
    if len(found) > depth:
        # all that are as good as the last one, so that ties at the border are broken by position, too
        found = found[scores[found] >= np.partition(scores[found], -depth)[-depth]]
    order: _Positions = found[np.argsort(-scores[found], kind="stable")][:depth]
    return order
