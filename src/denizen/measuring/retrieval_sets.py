"""Sets on which forgetting is measured: general ones, and neighbours (the same field, other questions)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from denizen.data import passages as corpus_stage
from denizen.data.formats import Source, is_beir_folder, read_beir
from denizen.data.prepare import content_digest, source_digest
from denizen.data.tables import rankings, relevant, texts_by_id
from denizen.engine.errors import InputError
from denizen.retrievers.encoder import Kind

ROLES = ("general", "neighbour")
# a mean over 1,000 queries has a standard error of about .4 points of nDCG@10 (500: half a point, which is all that may
# be lost); more cost time in every measurement
_DECIDING = 1000
# a step draws some of them, so that more cost nothing but to be embedded once
_KEPT = 2000
# beyond it, the relevant passages and a sample of the others are searched
_PASSAGES = 20_000
# nDCG@10 sees ten ranks; a merge may bring up what stands a little below
_NARROWED = 20


@dataclass(frozen=True)
class RetrievalSet:
    """A corpus with queries and what is relevant to them.

    Attributes:
        name: The folder's name.
        role: general or neighbour.
        corpus: A `corpus` table in the order of doc_id.
        queries: Query id to text.
        qrels: A `qrels` table.
    """

    name: str
    role: str
    corpus: pa.Table
    queries: Mapping[str, str]
    qrels: pa.Table

    def narrowed(self, runs: Sequence[pa.Table]) -> RetrievalSet:
        """The same queries on a smaller corpus: what is relevant, and what the runs rank first."""
        known = relevant(self.qrels)
        inside = {doc_id for query_id in self.queries for doc_id in known[query_id]}
        for run in runs:
            inside |= {doc_id for ranking in rankings(run).values() for doc_id, _ in ranking[:_NARROWED]}
        return self._within(inside)

    def _within(self, inside: set[str]) -> RetrievalSet:
        kept = self.corpus.filter(pa.array([doc_id in inside for doc_id in self.corpus["doc_id"].to_pylist()]))
        return replace(self, corpus=kept)


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
        """Its role, general or neighbour."""
        return self.search.role


def read_parts(general: Sequence[str], neighbour: Sequence[str], seed: int) -> list[Parts]:
    """Reads BEIR folders and parts their queries into those that decide, those that measure, and those of training.

    Raises:
        InputError: When a folder is none, is given twice, or has too few queries.
    """
    folders = [(Path(path).expanduser(), role) for role, paths in _by_role(general, neighbour) for path in paths]
    names = _unique_names([path for path, _ in folders])
    found = []
    for name, (path, role) in zip(names, folders, strict=True):
        digest = hashlib.sha256(repr(sorted(source_digest(str(path)).items())).encode()).hexdigest()
        found.append(parts_of(read_folder(path), name, role, seed, digest))
    return found


def kept_texts(sets: Sequence[Parts]) -> dict[Kind, list[str]]:
    """Queries and passages that a student should keep near the base, none of which decides or measures.

    Passages that are relevant to a query that does are left out, so that both say something about texts that were not
    kept.
    """
    queries: list[str] = []
    passages: list[str] = []
    for part in sets:
        known, texts = relevant(part.search.qrels), texts_by_id(part.search.corpus)
        asked = {doc_id for query_id in (*part.test.queries, *part.search.queries) for doc_id in known[query_id]}
        own = dict.fromkeys(doc_id for query_id in part.kept for doc_id in known[query_id])
        queries += part.kept.values()
        passages += [texts[doc_id] for doc_id in own if doc_id not in asked and doc_id in texts]
    return {"query": queries, "document": passages}


def _by_role(general: Sequence[str], neighbour: Sequence[str]) -> list[tuple[str, list[str]]]:
    return [(ROLES[0], list(dict.fromkeys(general))), (ROLES[1], list(dict.fromkeys(neighbour)))]


def _unique_names(folders: Sequence[Path]) -> list[str]:
    """The folders' names.

    Raises:
        InputError: When a folder is no BEIR folder, is called as the run's own test is, or two have one name.
    """
    names: list[str] = []
    for path in folders:
        if not is_beir_folder(path):
            raise InputError(f"{path} is no BEIR folder (it has no corpus.jsonl or corpus.jsonl.gz)")
        if path.resolve().name in names:
            raise InputError(f"two of the sets are called {path.resolve().name}; each needs a name of its own")
        if path.resolve().name == "test":
            raise InputError(f"{path} is called test, as the figures of the domain are; give it another name")
        names.append(path.resolve().name)
    return names


def read_folder(path: Path, split: str | None = None) -> Source:
    """A BEIR folder with its equal ids told apart; unusable rows stop it."""
    return read_beir(path, split=split)


def parts_of(source: Source, name: str, role: str, seed: int, digest: str | None = None) -> Parts:
    """Parts a source that is read already; of one without a test split, or with nothing else, half are its test.

    Raises:
        InputError: When a part would have no query.
    """
    known = relevant(source.qrels)
    rows = [row for row in source.queries.to_pylist() if row["query_id"] in known]
    test = {row["query_id"] for row in rows if row["split"] == "test"}
    if not test or len(test) == len(rows):
        test = {row["query_id"] for row in rows if _draw(row["text"], 0) % 2}
    search = [row for row in rows if row["query_id"] not in test]
    # equal questions of both parts would let the decision see the measurement
    asked = {row["text"] for row in rows if row["query_id"] in test}
    search = sorted((row for row in search if row["text"] not in asked), key=lambda row: _draw(row["query_id"], seed))
    measured = [row for row in rows if row["query_id"] in test]
    half = (len(search) + 1) // 2
    decides, kept = search[: min(half, _DECIDING)], search[half : half + _KEPT]
    if not search or not measured:
        raise InputError(
            f"{role} set {name} has {len(rows)} usable queries; at least 2 with different texts are needed"
        )
    corpus = corpus_stage.ordered(corpus_stage.keep_whole(source.documents))
    whole = [
        _limited(RetrievalSet(name, role, corpus, {row["query_id"]: row["text"] for row in part}, source.qrels), seed)
        for part in (decides, measured)
    ]
    if digest is None:
        digest = hashlib.sha256(repr(sorted(content_digest(source).items())).encode()).hexdigest()
    # the seed draws the queries that decide and the passages of a large corpus
    drawn = hashlib.sha256(f"{digest}:{seed}".encode()).hexdigest()
    return Parts(whole[0], whole[1], {row["query_id"]: row["text"] for row in kept}, drawn)


def _limited(found: RetrievalSet, seed: int) -> RetrievalSet:
    if len(found.corpus) <= _PASSAGES:
        return found
    known = relevant(found.qrels)
    inside = {doc_id for query_id in found.queries for doc_id in known[query_id]}
    others = [doc_id for doc_id in found.corpus["doc_id"].to_pylist() if doc_id not in inside]
    room = max(0, _PASSAGES - len(inside))
    inside |= set(np.random.default_rng(seed).permutation(others)[:room].tolist())
    return found._within(inside)


def _draw(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{text}".encode()).digest()[:8], "big")
