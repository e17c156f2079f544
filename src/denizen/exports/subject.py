"""What is exported: the bi-encoder that a run ships, or one without a run, its passages, and what it is measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.formats.beir import is_beir_folder, read_beir
from denizen.data.formats.trec import read_trec_qrels
from denizen.data.tables import each, only, read_table, relevant
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress
from denizen.exports.rows import PassageRows, rows_of
from denizen.measuring.retrieval_sets import set_of
from denizen.reports.finished_run import FinishedRun
from denizen.reports.results import by_judge
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.loading import prompts_of
from denizen.retrievers.reranked import Reranked
from denizen.retrievers.retriever import MANIFEST, Index, Retriever, every_part
from denizen.retrievers.saved import find, load
from denizen.retrievers.searchable import RETRIEVER, load_searchable
from denizen.retrievers.store import Vectors
from denizen.retrievers.windows import WHOLE, Windowed

Reader = BiEncoder | Windowed


@dataclass(frozen=True)
class Test:
    """Queries that decided nothing, and what is known of their answers.

    Attributes:
        queries: Query id to text; each has a relevant passage.
        qrels: A `qrels` table.
        graded: Query and passage of all that a judge has graded; None: what no label names is not relevant.
    """

    # no class of tests
    __test__ = False

    queries: Mapping[str, str]
    qrels: pa.Table
    graded: frozenset[tuple[str, str]] | None = None


@dataclass(frozen=True)
class Subject:
    """What is exported.

    Attributes:
        name: What people call it.
        retriever: The bi-encoder, and how it reads passages.
        corpus: A `corpus` table, ascending by doc_id; None without passages.
        index: What the retriever has made of them.
        test: What it is measured on; None where there is nothing.
        card: The README.md that a run has written for its model; "" without one.
    """

    name: str
    retriever: Reader
    corpus: pa.Table | None = None
    index: Index = None
    test: Test | None = None
    card: str = ""

    @property
    def model(self) -> BiEncoder:
        """The bi-encoder."""
        return self.retriever.model if isinstance(self.retriever, Windowed) else self.retriever

    @property
    def passages(self) -> pa.Table:
        """The passages.

        Raises:
            InputError: When there are none.
        """
        if self.corpus is None:
            raise InputError(f"{self.name} is a model without passages; give a run, or --data and a BEIR folder")
        return self.corpus

    @cached_property
    def rows(self) -> PassageRows:
        """The vectors of the passages, a row or several each."""
        return rows_of(self.passages, self.retriever, self.index)

    def embed(self, queries: Sequence[str]) -> Vectors:
        """Queries as they are compared with the vectors, shape (queries, dim)."""
        return self.model.embed_queries(queries)

    @cached_property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self.model.dimensions

    def identity(self) -> str:
        """A digest of all that is exported and measured."""
        test = self.test and [dict(self.test.queries), self.test.qrels.to_pylist(), sorted(self.test.graded or ())]
        passages = None if self.corpus is None else self.corpus.to_pylist()
        return json_digest([self.name, self.retriever.digest, passages, test, self.card])

    def described(self) -> dict[str, Any]:
        """What who embeds queries elsewhere has to know of the model."""
        sentences = self.model.encoder.model
        most = sentences.max_seq_length or math.inf
        prompts = prompts_of(sentences)
        query = prompts["query"] if self.model.query_prompt is None else self.model.query_prompt
        pooling = [getattr(module, "pooling_mode", None) for module in sentences]
        modes = [list(mode) if isinstance(mode, tuple) else mode for mode in pooling if mode]
        return {
            "digest": self.model.digest,
            "dimensions": self.dim,
            "similarity": str(sentences.similarity_fn_name),
            "unit_length": self.model.lowest is not None,
            "query_prompt": query,
            "document_prompt": prompts["document"],
            "pooling": modes[0] if len(modes) == 1 else modes,
            # static embeddings read texts of any length
            "max_tokens": int(most) if math.isfinite(most) else None,
            "reading": (self.retriever.reading if isinstance(self.retriever, Windowed) else WHOLE).as_dict(),
        }


def subject_of(source: str, data: Path | None, encoders: Encoders, progress: Progress) -> Subject:
    """What a name stands for.

    Args:
        source: A finished run of adapt or domains, a saved retriever, or a model as of `locate`.
        data: A BEIR folder with a test split, whose passages and queries count instead of those of the run.
        encoders: What embeds.
        progress: Is shown bars where passages have to be embedded.

    Raises:
        InputError: When there is none, or it is made of several models.
    """
    folder = Path(source).expanduser()
    shipped, own = folder / RETRIEVER, folder / "metrics.json"
    is_run = own.is_file() and (shipped / MANIFEST).is_file()
    if own.is_file() and not is_run:
        raise InputError(f"{source} is a run that ships no retriever; give its model, as {source}/model, and --data")
    place = shipped if is_run else find(source)
    name = folder.resolve().name if folder.exists() else source
    card = _card(folder / "model" if is_run else place)
    if data is not None:
        return _on_data(name, _reader(load(place, Encoding(), encoders), source), data, card, progress)
    if not is_run:
        return Subject(name, _reader(load(place, Encoding(), encoders), source), card=card)
    found = load_searchable(place, progress, encoders=encoders)
    reader = _reader(found.retriever, source)
    index = _index_of(found.retriever, found.index, reader)
    if (folder / "union").is_dir():
        return Subject(name, reader, found.corpus, index, _test_of_domains(folder), card=card)
    run = FinishedRun(folder)
    return Subject(name, reader, found.corpus, index, _test_of(run), card)


def _card(folder: Path) -> str:
    path = folder / "README.md"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _reader(retriever: Retriever, source: str) -> Reader:
    """The only bi-encoder among the parts of a retriever."""
    windowed = [part for part in every_part(retriever) if isinstance(part, Windowed)]
    models = [part for part in every_part(retriever) if isinstance(part, BiEncoder)]
    if len(models) != 1:
        raise InputError(
            f"{source} ships a retriever of the kind {retriever.kind} with {len(models)} models, whose vectors cannot "
            "be compared; give one of its models, such as RUN/retriever/model, and --data"
        )
    return windowed[0] if windowed else models[0]


def _index_of(retriever: Retriever, index: Index, reader: Reader) -> Index:
    """What that part has made of the corpus."""
    if isinstance(retriever, Reranked):
        return _index_of(retriever.first, index.first, reader)
    if isinstance(retriever, Hybrid):
        at = next(at for at, part in enumerate(retriever.parts) if reader in every_part(part))
        return _index_of(retriever.parts[at], index[at], reader)
    return index


def _on_data(name: str, reader: Reader, data: Path, card: str, progress: Progress) -> Subject:
    if not is_beir_folder(data):
        raise InputError(f"{data} is no BEIR folder (it has no corpus.jsonl or corpus.jsonl.gz)")
    asked = set_of(read_beir(data, split="test"), f"split 'test' of {data}")
    index = reader.index(asked.corpus, progress)
    return Subject(name, reader, asked.corpus, index, Test(asked.queries, asked.qrels), card=card)


def _test_of(run: FinishedRun) -> Test:
    qrels = read_trec_qrels(run.folder / "test/qrels.trec", own=True)
    graded = frozenset(each(qrels, "query_id", "doc_id")) if by_judge(run.metrics) else None
    return Test({query_id: run.queries[query_id]["text"] for query_id in run.known}, qrels, graded)


def _test_of_domains(folder: Path) -> Test:
    queries = read_table(folder / "union/queries.parquet", "queries")
    qrels = read_table(folder / "union/qrels.parquet", "qrels")
    known = relevant(qrels)
    asked = {
        query_id: text
        for query_id, text, split in each(queries, "query_id", "text", "split")
        if split == "test" and query_id in known
    }
    return Test(asked, only(qrels, "query_id", asked))
