from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from denizen.data.tables import SCHEMAS, rows_table
from denizen.engine.errors import InputError
from denizen.retrievers import search as retrieval
from denizen.retrievers.search import fuse, fuse_scores, search


def ids(count: int, letter: str = "d") -> list[str]:
    return [f"{letter}{number:06d}" for number in range(count)]


def full_sort(queries: np.ndarray, corpus: np.ndarray, depth: int) -> list[tuple[str, str]]:
    """What search must find: every score, sorted by (-score, doc_id)."""
    names = ids(len(corpus))
    found = []
    for number, query in enumerate(queries):
        scores = corpus.astype(np.float64) @ query.astype(np.float64)
        best = np.lexsort((np.arange(len(corpus)), -scores))[:depth]
        found += [(f"q{number:06d}", names[position]) for position in best]
    return found


def pairs(run: pa.Table) -> list[tuple[str, str]]:
    return list(zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True))


def search_all(queries: np.ndarray, corpus: np.ndarray, depth: int, **options: object) -> pa.Table:
    return search(ids(len(queries), "q"), queries, ids(len(corpus)), corpus, depth, **options)  # type: ignore[arg-type]


SHAPES = [(1, 1), (1, 4), (2, 3), (3, 1), (4, 50), (7, 61), (100, 17), (100, 1000)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("depth", [1, 5, 60, 61, 200])
def test_search_equals_a_full_sort_for_random_vectors(
    shape: tuple[int, int], depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(depth)
    queries = random.normal(size=(7, 16)).astype(np.float32)
    corpus = random.normal(size=(61, 16)).astype(np.float32)
    monkeypatch.setattr(retrieval, "_block_shape", lambda *given: shape)
    run = search_all(queries, corpus, depth)
    assert run.schema == SCHEMAS["run"]
    assert pairs(run) == full_sort(queries, corpus, depth)
    score = {(f"q{row:06d}", f"d{column:06d}"): value for (row, column), value in np.ndenumerate(queries @ corpus.T)}
    assert run["score"].to_pylist() == pytest.approx([score[pair] for pair in pairs(run)], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("depth", [1, 2, 7, 30, 61])
def test_search_equals_a_full_sort_when_almost_all_scores_are_tied(
    shape: tuple[int, int], depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(depth)
    queries = random.integers(-1, 2, size=(7, 3)).astype(np.float32)
    corpus = random.integers(-1, 2, size=(61, 3)).astype(np.float32)
    monkeypatch.setattr(retrieval, "_block_shape", lambda *given: shape)
    assert pairs(search_all(queries, corpus, depth)) == full_sort(queries, corpus, depth)


def test_search_equals_a_full_sort_when_the_memory_setting_makes_several_blocks() -> None:
    random = np.random.default_rng(0)
    queries = random.integers(-2, 3, size=(20, 4)).astype(np.float32)
    corpus = random.integers(-2, 3, size=(40_000, 4)).astype(np.float32)
    finished: list[int] = []
    run = search_all(queries, corpus, 100, memory_mb=8, progress=finished.append)
    assert pairs(run) == full_sort(queries, corpus, 100)
    assert sum(finished) == 20 and len(finished) > 1
    # a block of scores alone, 4 bytes each, may not take more than the setting
    assert max(finished) * 32_768 * 4 <= 8 * 2**20


@pytest.mark.parametrize("memory_mb", [8, 64, 512])
@pytest.mark.parametrize("passages", [50, 5000, 1_000_000])
def test_a_block_of_scores_stays_within_the_memory_setting(memory_mb: int, passages: int) -> None:
    query_rows, corpus_rows = retrieval._block_shape(10_000, passages, 384, 50, memory_mb)
    assert query_rows >= 1 and corpus_rows >= 50
    assert query_rows * corpus_rows * 4 <= memory_mb * 2**20
    # and so do its passages, exact and rounded
    assert corpus_rows * 384 * 6 <= memory_mb * 2**20


def test_search_reads_a_memory_mapped_corpus(tmp_path) -> None:
    corpus = np.eye(6, dtype=np.float32)
    np.save(tmp_path / "corpus.npy", corpus)
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    assert pairs(search_all(corpus[2:3], mapped, 2)) == [("q000000", "d000002"), ("q000000", "d000000")]


class _Store:
    """Vectors that can be read by contiguous slices and in no other way."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors, self.shape = vectors, vectors.shape

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice) -> np.ndarray:
        assert isinstance(rows, slice) and rows.step is None
        return self.vectors[rows]


def test_search_reads_a_store_by_slices_and_the_memory_setting_changes_nothing() -> None:
    """Blocks of 1,365 passages (2 MiB), of 8,192 (512 MiB): the same run, to the last bit of every score."""
    random = np.random.default_rng(3)
    queries = random.normal(size=(100, 64)).astype(np.float32)
    corpus = random.normal(size=(9000, 64)).astype(np.float32)
    corpus[4000:4500] = corpus[7000]
    runs = [search_all(queries, _Store(corpus), 30, memory_mb=memory) for memory in (2, 8, 512)]
    assert runs[0] == runs[1] == runs[2] == search_all(queries, corpus, 30)
    assert pairs(runs[0]) == full_sort(queries, corpus, 30)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_vectors_that_are_not_finite_are_refused_by_their_number(value: float) -> None:
    corpus = np.ones((300, 4), np.float32)
    corpus[257, 2] = value
    with pytest.raises(InputError, match="vector 257 of 300"):
        search_all(np.ones((2, 4), np.float32), corpus, 3)


def test_ivf_finds_everything_in_all_clusters_and_says_how_much_it_misses_in_one() -> None:
    pytest.importorskip("faiss")
    random = np.random.default_rng(0)
    queries = random.normal(size=(30, 16)).astype(np.float32)
    corpus = random.normal(size=(3000, 16)).astype(np.float32)
    names = ids(30, "q"), queries, ids(3000), corpus, 10
    # 4 sqrt(3000) = 219 clusters
    run, recall = retrieval.search_ivf(*names, probes=219)
    assert recall == 1 and pairs(run) == full_sort(queries, corpus, 10)
    run, recall = retrieval.search_ivf(*names, probes=1)
    wanted = set(full_sort(queries, corpus, 10))
    assert recall == len(wanted & set(pairs(run))) / len(wanted) < 0.9
    assert run.schema == SCHEMAS["run"]


def test_search_without_queries_gives_an_empty_run() -> None:
    run = search([], np.zeros((0, 4), np.float32), ids(3), np.zeros((3, 4), np.float32), 2)
    assert len(run) == 0 and run.schema == SCHEMAS["run"]


@pytest.mark.parametrize("doc_ids", [["b", "a"], ["a", "a"], ["a", "c", "b"]])
def test_doc_ids_that_are_not_ascending_are_refused(doc_ids: list[str]) -> None:
    corpus = np.zeros((len(doc_ids), 2), np.float32)
    with pytest.raises(InputError, match="ascending"):
        search(["q"], np.zeros((1, 2), np.float32), doc_ids, corpus, 1)


def test_search_in_an_empty_corpus_gives_an_empty_run() -> None:
    assert len(search(["q"], np.zeros((1, 4), np.float32), [], np.zeros((0, 4), np.float32), 2)) == 0


_PEAK = """
import resource, sys
import numpy as np
from denizen.retrievers.search import search

random = np.random.default_rng(0)
corpus = np.load(sys.argv[1], mmap_mode="r")
ids = [f"{at:07d}" for at in range(len(corpus))]
queries = random.normal(size=(2000, 16)).astype(np.float32)
search([f"q{at}" for at in range(50)], queries[:50], ids[:5000], corpus[:5000], 20, memory_mb=32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
search([f"q{at}" for at in range(2000)], queries, ids, corpus, 20, memory_mb=32)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_peak_memory_follows_the_setting_and_not_queries_times_corpus(tmp_path: Path) -> None:
    """2,000 x 200,000 scores are 1,526 MiB; the process may grow by a block (32 MiB) and the corpus (13)."""
    np.save(tmp_path / "corpus.npy", np.random.default_rng(1).normal(size=(200_000, 16)).astype(np.float32))
    command = [sys.executable, "-c", _PEAK, str(tmp_path / "corpus.npy")]
    grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 120


def test_reciprocal_rank_fusion_by_hand():
    one = rows_table("run", [{"query_id": "q", "doc_id": name, "score": 1.0} for name in "abc"])
    other = rows_table("run", [{"query_id": "q", "doc_id": name, "score": 1.0} for name in "cd"])
    fused = fuse([one, other], 3)
    # c: 1/63 + 1/61; a: 1/61; b and d: 1/62 each, so b comes first by its id
    assert fused["doc_id"].to_pylist() == ["c", "a", "b"]
    np.testing.assert_allclose(fused["score"].to_pylist(), [1 / 63 + 1 / 61, 1 / 61, 1 / 62], rtol=1e-6)


def test_fusion_keeps_queries_that_one_run_alone_has():
    one = rows_table("run", [{"query_id": "q", "doc_id": "a", "score": 1.0}])
    other = rows_table("run", [{"query_id": "r", "doc_id": "b", "score": 1.0}])
    assert fuse([one, other], 5)["query_id"].to_pylist() == ["q", "r"]


def one_query(**scores: float) -> pa.Table:
    return rows_table("run", [{"query_id": "q", "doc_id": name, "score": value} for name, value in scores.items()])


def found(run: pa.Table) -> dict[str, float]:
    return dict(zip(run["doc_id"].to_pylist(), run["score"].to_pylist(), strict=True))


def test_weighted_reciprocal_rank_fusion_by_hand() -> None:
    one, other = one_query(a=9.0, b=8.0), one_query(b=1.0, c=0.5)
    # constant 1: a 3/2, b 3/3 + 1/2, c 1/3
    assert found(fuse([one, other], 3, 1, [3, 1])) == pytest.approx({"a": 1.5, "b": 1.5, "c": 1 / 3})
    assert found(fuse([one, other], 3, 1, [1, 3])) == pytest.approx({"b": 1 / 3 + 3 / 2, "c": 1.0, "a": 0.5})
    assert fuse([one, other], 3, 1, [1, 1]) == fuse([one, other], 3, 1)


def test_the_convex_combination_by_hand() -> None:
    """Keywords are at least 0 and best at 8; cosines at least -1 and best at .6, so that 1.6 becomes 1."""
    keywords, cosines = one_query(a=8.0, b=4.0, c=2.0), one_query(b=0.6, d=0.2, a=-0.2)
    # at depth 3 both are full: d counts as the last of the keywords, 1/4; c as the last cosine, .8 / 1.6
    fused = found(fuse_scores([keywords, cosines], 3, [1, 3], [0.0, -1.0]))
    assert fused == pytest.approx({"b": 0.5 / 4 + 3 / 4, "d": 0.25 / 4 + 0.75 * 3 / 4, "a": 1 / 4 + 0.5 * 3 / 4})
    assert list(fused) == ["b", "a", "d"], "a and d have .625 each"
    # at depth 4 there was no more to be found: d has no keyword, and the cosine of c is as low as can be
    fused = found(fuse_scores([keywords, cosines], 4, [1, 3], [0.0, -1.0]))
    assert fused["d"] == pytest.approx(0.75 * 3 / 4) and fused["c"] == pytest.approx(0.25 / 4)


def test_without_a_known_least_score_the_last_passage_counts_nothing() -> None:
    products, keywords = one_query(a=30.0, b=20.0, c=10.0), one_query(d=5.0)
    fused = found(fuse_scores([products, keywords], 4, [1, 1], [None, 0.0]))
    assert fused == pytest.approx({"a": 0.5, "d": 0.5, "b": 0.25, "c": 0.0})
    assert list(fused) == ["a", "d", "b", "c"], "ties by doc_id"


@pytest.mark.parametrize("least", [None, 0.0, 2.0])
def test_scores_that_are_all_the_same_count_fully(least: float | None) -> None:
    same, none = one_query(b=2.0, a=2.0), one_query()
    assert found(fuse_scores([same, none], 2, [1, 1], [least, 0.0])) == {"a": 0.5, "b": 0.5}
