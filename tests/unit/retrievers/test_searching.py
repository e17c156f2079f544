"""Retrievers side by side on one corpus: each works once, bars have names, and a fusion is that of its parts."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from denizen.data.tables import rows_table, table
from denizen.engine.errors import InputError
from denizen.engine.progress import Advance, Progress, Silent
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.hybrid import Hybrid
from denizen.retrievers.retriever import Fusion, Retriever
from denizen.retrievers.search import first, fuse, in_order
from denizen.retrievers.searching import CorpusSearch, search_each

CORPUS = table("corpus", {"doc_id": ["a", "b", "c"], "text": ["gout", "lupus", "gout fever"]})
QUERIES = {"q3": "zebra", "q2": "lupus", "q1": "gout"}


@dataclass(frozen=True)
class Fixed:
    """Finds the same passages for every query, and says when it works."""

    kind: ClassVar[str] = "fixed"
    parts: ClassVar[tuple[Retriever, ...]] = ()

    found: str
    done: list[str] = field(default_factory=list, compare=False)
    digest: str = ""

    def index(self, corpus: pa.Table, progress: Progress) -> int:
        self.done.append(f"index {self.found}")
        return len(corpus)

    def search(self, index: int, queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        self.done.append(f"search {self.found}")
        with progress.bar(len(queries), "queries") as advance:
            advance(len(queries))
        with progress.bar(index, "texts"):
            progress.note("a fact")
        rows = [
            {"query_id": query_id, "doc_id": doc_id, "score": -float(rank)}
            for query_id in queries
            for rank, doc_id in enumerate(self.found[:depth])
        ]
        return rows_table("run", rows)

    def save(self, folder: Path) -> None:
        raise NotImplementedError


class Bars(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)

    @contextmanager
    def bar(self, total: int, unit: str) -> Iterator[Advance]:
        self.told.append(f"{total} {unit}")
        yield lambda count: None


def test_a_retriever_works_once_also_as_a_part_of_fusions_and_in_any_order() -> None:
    done: list[str] = []
    one, other = Fixed("abc", done), Fixed("cb", done)
    inner = Hybrid((one, other))
    systems = {"inner": inner, "one": one, "again": Fixed("abc", done), "outer": Hybrid((other, inner)), "other": other}
    runs = search_each(systems, QUERIES, CORPUS, 3, Silent())
    assert done == ["index abc", "search abc", "index cb", "search cb"]
    assert runs["again"] is runs["one"] and list(runs) == list(systems)
    assert runs["inner"] == fuse([runs["one"], runs["other"]], 3)
    assert runs["outer"] == fuse([runs["other"], runs["inner"]], 3)


def test_a_fusion_alone_finds_what_it_finds_beside_its_parts() -> None:
    hybrid = Hybrid((BM25(), Fixed("bca")), constant=3)
    assert isinstance(hybrid, Fusion) and not isinstance(BM25(), Fusion)
    alone = hybrid.search(hybrid.index(CORPUS, Silent()), QUERIES, 3, Silent())
    assert CorpusSearch(CORPUS, QUERIES, 3, Silent()).run("h", hybrid) == alone
    # BM25 finds nothing for q3, and yet the queries stand as they were given
    assert list(dict.fromkeys(alone["query_id"].to_pylist())) == ["q3", "q2", "q1"]
    by_query = {name: [row["doc_id"] for row in alone.to_pylist() if row["query_id"] == name] for name in QUERIES}
    # constant 3: q2 has b first twice; q1 has a: 1/4 + 1/6, c: 1/5 + 1/5, b: 1/4
    assert by_query == {"q2": ["b", "c", "a"], "q1": ["a", "c", "b"], "q3": ["b", "c", "a"]}
    assert alone["score"].to_pylist()[3] == pytest.approx(2 / 4)


def test_bars_of_queries_say_whose_they_are_and_other_news_passes() -> None:
    bars = Bars()
    CorpusSearch(CORPUS, QUERIES, 3, bars).run("base", Fixed("a"))
    CorpusSearch(CORPUS, QUERIES, 3, bars, "queries of nq").run("base", Fixed("a"))
    CorpusSearch(CORPUS, QUERIES, 3, bars, "queries of nq").run("", Fixed("a"))
    texts = ["3 texts", "a fact"]
    units = ["queries by base", "queries of nq by base", "queries of nq"]
    assert bars.told == [line for unit in units for line in (f"3 {unit}", *texts)]


def test_hybrids_are_equal_by_what_they_fuse_and_how() -> None:
    one = Hybrid((BM25(), Fixed("abc", digest="1" * 64)))
    assert one == Hybrid((BM25(), Fixed("abc", digest="1" * 64))) and len(one.digest) == 64
    others = [
        Hybrid((BM25(), Fixed("abc", digest="2" * 64))),
        Hybrid((Fixed("abc", digest="1" * 64), BM25())),
        Hybrid(one.parts, constant=61),
        Hybrid(one.parts, fusion="convex"),
        Hybrid(one.parts, weights=(1, 2)),
        Hybrid((BM25("de"), one.parts[1])),
        BM25(),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 8
    assert one == Hybrid(one.parts, weights=(1, 1)) and one.digest == Hybrid(one.parts, weights=(1, 1)).digest


@pytest.mark.parametrize("fusion", ["rrf", "convex"])
def test_what_has_all_the_weight_is_the_whole(fusion: str) -> None:
    """Also where scores are next to one another: made to lie from 0 to 1 they would be equal, and a before b."""
    close = table("run", {"query_id": ["q", "q"], "doc_id": ["b", "a"], "score": [0.5 + 2**-24, 0.5]})
    other = table("run", {"query_id": ["q", "q"], "doc_id": ["a", "c"], "score": [9.0, 8.0]})
    parts = (Fixed("b", digest="1"), BM25())
    assert Hybrid(parts, fusion=fusion, weights=(1, 0)).combine([close, other], {"q": ""}, 2) == close
    assert Hybrid(parts, fusion=fusion, weights=(0, 0.1)).combine([close, other], {"q": ""}, 2) == other


def test_a_convex_hybrid_knows_how_low_the_scores_of_its_parts_can_be(tiny_encoder: Path, tmp_path: Path) -> None:
    model = BiEncoder(tiny_encoder, Encoding(), Encoders(tmp_path))
    assert (model.lowest, BM25.lowest, Hybrid.lowest) == (-1.0, 0.0, 0.0)
    dot = tmp_path / "dot"
    shutil.copytree(tiny_encoder, dot)
    settings = json.loads((dot / "config_sentence_transformers.json").read_text())
    (dot / "config_sentence_transformers.json").write_text(json.dumps(settings | {"similarity_fn_name": "dot"}))
    assert BiEncoder(dot, Encoding(), Encoders(tmp_path)).lowest is None
    runs = [table("run", {"query_id": ["q", "q"], "doc_id": ["a", "b"], "score": [1.0, 0.5]})] * 2
    # (1.5 / 2 + .5 / 1) / 2: a cosine from -1, keywords from 0
    found = Hybrid((model, BM25()), fusion="convex").combine(runs, {"q": ""}, 2)
    assert found["score"].to_pylist() == pytest.approx([1.0, 0.625])
    # Fixed says nothing of its scores, so the last one counts nothing
    found = Hybrid((Fixed("ab"), BM25()), fusion="convex").combine(runs, {"q": ""}, 2)
    assert found["score"].to_pylist() == pytest.approx([1.0, 0.25])


@pytest.mark.parametrize(("parts", "constant"), [((), 60), ((BM25(),), 60), ((BM25(), BM25()), -1)])
def test_what_cannot_be_fused_is_refused(parts: tuple[Retriever, ...], constant: int) -> None:
    with pytest.raises(InputError, match="at least 2 parts"):
        Hybrid(parts, constant)


@pytest.mark.parametrize(
    "weights", [(1,), (1, 1, 1), (0, 0), (-1, 2), (math.nan, 1), (math.inf, 1), "ab", 1, (True, 1)]
)
def test_weights_that_weigh_nothing_are_refused(weights: Any) -> None:
    with pytest.raises(InputError, match="one number of 0 or more for each"):
        Hybrid((BM25(), BM25()), weights=weights)


def test_a_fusion_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="no fusion 'sum'; there are rrf, convex"):
        Hybrid((BM25(), BM25()), fusion="sum")


def test_a_run_in_the_given_order_keeps_the_order_of_passages() -> None:
    rows = [{"query_id": query_id, "doc_id": doc_id, "score": 1.0} for query_id in "bca" for doc_id in "yxz"]
    found = in_order(rows_table("run", rows), ["a", "none", "b", "c"])
    assert found["query_id"].to_pylist() == list("aaabbbccc")
    assert found["doc_id"].to_pylist() == list("yxz") * 3


def test_a_hybrid_ranks_alike_however_deep_its_parts_are_searched() -> None:
    """What stands below the first hundred of a part counts as not found there."""
    ids = [f"d{at:03}" for at in range(300)]
    deep = [rows_table("run", [("q", name, 300.0 - at) for at, name in enumerate(order)]) for order in (ids, ids[::-1])]
    shallow = [first(run, 100) for run in deep]
    assert [len(run) for run in shallow] == [100, 100]
    for fusion in ("rrf", "convex"):
        hybrid = Hybrid((BM25(), BM25("de")), fusion=fusion, weights=(0.7, 0.3))
        assert hybrid.combine(deep, {"q": ""}, 300).equals(hybrid.combine(shallow, {"q": ""}, 300))
        assert len(hybrid.combine(deep, {"q": ""}, 300)) == 200
