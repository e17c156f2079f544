"""Corpora with queries, and how the queries of a set are parted: those that decide, that measure, that are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from denizen.data import passages
from denizen.data.artifacts import Corpus, Qrels, Queries
from denizen.data.formats.beir import is_beir_folder, read_beir
from denizen.data.formats.source import Source
from denizen.data.prepare import content_digest, source_digest
from denizen.data.tables import each, only, relevant, run_ranks, texts_by_id
from denizen.engine.errors import InputError
from denizen.engine.files import json_digest
from denizen.engine.progress import Silent
from denizen.measuring.retrieval import firsts
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.loading import Kind

ROLES = ("general", "neighbour")
# the test of the run that another one goes on from, which takes its name from that, too
EARLIER = "earlier"
# a mean over 1,000 queries has a standard error of about .4 points of nDCG@10 (500: half a point, which is all that may
# be lost); more cost time in every measurement
_DECIDING = 1000
# a step draws some of them, so that more cost nothing but to be embedded once
_KEPT = 2000
# beyond it, the relevant passages and what BM25 takes for relevant are searched: on nq_general changes of nDCG@10 are
# then within .001 of those on all passages, less than their standard error, and cost half as much (docs/LOG.md)
_PASSAGES = 5_000
# nDCG@10 sees ten ranks; a student may bring up what stands a little below
_NARROWED = 20
# of which that is drawn: a larger corpus would take minutes to be read
_DRAWN = 20_000
# nobody looks further down than that for what is hard
_HARD = 50


@dataclass(frozen=True)
class RetrievalSet:
    """A corpus with queries and what is relevant to them.

    Attributes:
        name: The folder's name.
        role: general or neighbour; earlier: the test of an earlier run; domain: what is adapted to.
        corpus: A `corpus` table in the order of doc_id.
        queries: Query id to text; each has at least one relevant passage.
        qrels: A `qrels` table.
    """

    name: str
    role: str
    corpus: pa.Table
    queries: Mapping[str, str]
    qrels: pa.Table

    def narrowed(self, runs: Sequence[pa.Table]) -> RetrievalSet:
        """The same queries on a smaller corpus: what is relevant, and what the runs rank first."""
        return self._within(firsts(runs, self.qrels, self.queries, _NARROWED))

    def limited(self, seed: int) -> RetrievalSet:
        """The same queries on at most 5,000 passages: what is relevant, and what BM25 ranks first for them."""
        if len(self.corpus) <= _PASSAGES:
            return self
        inside = self._relevant()
        others = [doc_id for doc_id in self.corpus["doc_id"].to_pylist() if doc_id not in inside]
        room = max(0, _DRAWN - len(inside))
        drawn = self._within(inside | set(np.random.default_rng(seed).permutation(others)[:room].tolist()))
        bm25 = BM25.fitting(drawn.corpus)
        run = bm25.search(bm25.index(drawn.corpus, Silent()), self.queries, _HARD, Silent())
        by_rank = sorted((rank, doc_id) for (_, doc_id), rank in run_ranks(run).items())
        # best ranks first, whichever query they are of
        hard = [doc_id for doc_id in dict.fromkeys(doc_id for _, doc_id in by_rank) if doc_id not in inside]
        return self._within(inside | set(hard[: max(0, _PASSAGES - len(inside))]))

    def _relevant(self) -> set[str]:
        known = relevant(self.qrels)
        return {doc_id for query_id in self.queries for doc_id in known[query_id]}

    def _within(self, inside: set[str]) -> RetrievalSet:
        return replace(self, corpus=only(self.corpus, "doc_id", inside))


@dataclass(frozen=True)
class Parts:
    """A set in parts that share its corpus and no query.

    Attributes:
        search: The queries that decide on a model: half of those of train and dev, at most 1,000.
        test: The queries on which the decision is measured: those of test.
        kept: Of the other half at most 2,000: what training may keep near the base. A gate that was asked about
            queries which training had seen would be told what it wants to hear.
        digest: Of all that the parts come from.
    """

    search: RetrievalSet
    test: RetrievalSet
    kept: Mapping[str, str]
    digest: str

    @property
    def name(self) -> str:
        """The name of the set."""
        return self.search.name

    @property
    def role(self) -> str:
        """Its role: general, neighbour or earlier."""
        return self.search.role


def set_of(source: Source, name: str, role: str = "domain") -> RetrievalSet:
    """A source with whole documents as passages, and the queries that have a relevant one.

    Raises:
        InputError: When there is no such query.
    """
    known = relevant(source.qrels)
    queries = {query_id: text for query_id, text in each(source.queries, "query_id", "text") if query_id in known}
    if not queries:
        raise InputError(
            f"{name} has no query with a relevant document: none of {len(source.qrels):,} labels of "
            f"{len(source.queries):,} queries is above 0; label what answers a query with 1 or more"
        )
    return RetrievalSet(name, role, passages.ordered(passages.keep_whole(source.documents)), queries, source.qrels)


def read_parts(general: Sequence[str], neighbour: Sequence[str], seed: int) -> list[Parts]:
    """Reads BEIR folders and parts their queries into those that decide, those that measure, and those of training.

    Raises:
        InputError: When a folder is none, is given twice, is called as the run's own test is, or has too few queries.
    """
    folders: dict[str, tuple[Path, str]] = {}
    for role, paths in zip(ROLES, (general, neighbour), strict=True):
        for path in (Path(given).expanduser() for given in dict.fromkeys(paths)):
            name = path.resolve().name
            if not is_beir_folder(path):
                raise InputError(f"{path} is no BEIR folder (it has no corpus.jsonl or corpus.jsonl.gz)")
            if name in folders:
                raise InputError(f"two of the sets are called {name}; each needs a name of its own")
            if name in ("test", EARLIER):
                raise InputError(
                    f"{path} is called {name}, as the figures of a run's own tests are; give it another name"
                )
            folders[name] = path, role
    return [
        parts_of(read_beir(path), name, role, seed, json_digest(source_digest(str(path))))
        for name, (path, role) in folders.items()
    ]


def earlier_parts(corpus: Corpus, queries: Queries, qrels: Qrels, seed: int) -> Parts:
    """The test of an earlier run: its dev queries decide, those of its test measure, and training keeps none.

    Neither are trained on, in that run or in the next one. Of a large corpus a part is searched.

    Raises:
        InputError: When one of both has no query with an answer.
    """
    known, asked = relevant(qrels.table), {side: queries.texts(side) for side in ("dev", "test")}
    texts = {side: {name: text for name, text in of.items() if name in known} for side, of in asked.items()}
    for side, of in texts.items():
        if not of:
            raise InputError(f"none of the {len(asked[side])} {side} queries of the earlier run has an answer")
    whole = RetrievalSet(EARLIER, EARLIER, corpus.table, {**texts["dev"], **texts["test"]}, qrels.table).limited(seed)
    digest = json_digest([corpus.digest, queries.digest, qrels.digest, seed])
    return Parts(replace(whole, queries=texts["dev"]), replace(whole, queries=texts["test"]), {}, digest)


def kept_texts(sets: Sequence[Parts]) -> dict[Kind, list[str]]:
    """Queries and passages that a student should keep near the base, none of which decides or measures.

    Passages that are relevant to a query that does are left out, so that both say something about texts that were not
    kept.
    """
    queries: list[str] = []
    kept: list[str] = []
    for part in sets:
        known, texts = relevant(part.search.qrels), texts_by_id(part.search.corpus)
        asked = {doc_id for query_id in (*part.test.queries, *part.search.queries) for doc_id in known[query_id]}
        own = dict.fromkeys(doc_id for query_id in part.kept for doc_id in known[query_id])
        queries += part.kept.values()
        kept += [texts[doc_id] for doc_id in own if doc_id not in asked and doc_id in texts]
    return {"query": queries, "document": kept}


def parts_of(source: Source, name: str, role: str, seed: int, digest: str | None = None) -> Parts:
    """Parts a source that is read already; of one without a test split, or with nothing else, half are its test.

    Raises:
        InputError: When a part would have no query.
    """
    whole = set_of(source, f"{role} set {name}", role)
    splits = dict(each(source.queries, "query_id", "split"))
    test = [query_id for query_id in whole.queries if splits[query_id] == "test"]
    if len(test) in (0, len(whole.queries)):
        test = [query_id for query_id, text in whole.queries.items() if _draw(text, 0) % 2]
    # equal questions of both parts would let the decision see the measurement
    asked = {whole.queries[query_id] for query_id in test}
    others = [query_id for query_id, text in whole.queries.items() if text not in asked]
    if not others or not test:
        raise InputError(
            f"{whole.name} has {len(whole.queries)} usable queries; at least 2 with different texts are needed"
        )
    others.sort(key=lambda query_id: _draw(query_id, seed))
    half = (len(others) + 1) // 2

    def part(ids: Sequence[str]) -> RetrievalSet:
        return replace(whole, name=name, queries={query_id: whole.queries[query_id] for query_id in ids})

    # the seed draws the queries that decide and the passages of a large corpus
    drawn = json_digest([digest or content_digest(source), seed])
    search, kept = others[: min(half, _DECIDING)], others[half : half + _KEPT]
    corpus = part([*search, *test, *kept]).limited(seed).corpus
    parts = [replace(part(ids), corpus=corpus) for ids in (search, test)]
    return Parts(parts[0], parts[1], part(kept).queries, drawn)


def _draw(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{text}".encode()).digest()[:8], "big")
