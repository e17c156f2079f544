"""Whether a hybrid is shipped, by hand: which way is best, and whether that holds on queries that did not choose it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.artifacts import Corpus, Folds, Qrels, Queries, Run
from denizen.data.tables import rows_table, write_table
from denizen.engine.files import write_json
from denizen.engine.settings import Seeded
from denizen.engine.step import Context
from denizen.measuring.fusion import Fused, fuse, unseen
from denizen.measuring.students import Choice
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.encoding import Encoding

COUNT = 60


def test_each_part_is_measured_with_the_way_that_was_best_on_the_others() -> None:
    # the first way is right on part 0 alone, the second on all others
    first, second = np.array([1.0, 1, 0, 0, 0, 0, 0, 0]), np.array([0.0, 0, 1, 1, 1, 1, 1, 1])
    assert unseen([first, second], np.zeros(8), [0, 0, 1, 1, 2, 2, 3, 3]).tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


@given(st.integers(0, 2**32 - 1))
def test_of_ways_that_are_all_noise_the_best_gains_nothing_unseen(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = list(random.normal(size=(10, 600)))
    parts = (np.arange(600) % 5).tolist()
    # the best of ten looks better than it is by about .06; unseen its mean is that of any of them
    nothing = np.zeros(600)
    assert abs(float(unseen(values, nothing, parts).mean())) < 0.2
    assert unseen([values[0]], nothing, parts).tolist() == values[0].tolist()
    # with one part there is nothing else to choose by
    assert unseen(values, nothing, [0] * 600).tolist() == nothing.tolist()


class World:
    """Queries whose answer stands at a rank for each of the two, and what `fuse` makes of that."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        at = folder / "choice"
        at.mkdir()
        (at / "model").symlink_to(model)
        write_json(at / "encoder.json", {"backend": "torch-fp32", "precision": "fp32"})
        self.model = model

    def table(self, kind: Any, name: str, rows: Any) -> Any:
        path = self.folder / f"{name}.parquet"
        write_table(path, rows_table(kind.schema, rows))
        return kind.outside(path)

    def fuse(self, by_keywords: list[int], by_model: list[int], *, folds: bool = False) -> dict[str, Any]:
        ids = [f"q{number:02}" for number in range(len(by_model))]

        def run(name: str, ranks: list[int], best: float, step: float) -> Run:
            rows = []
            for query_id, rank in zip(ids, ranks, strict=True):
                ranked = [f"{name}-wrong-{at}" for at in range(5)]
                ranked.insert(rank - 1, query_id)
                rows += [(query_id, doc_id, best - step * at) for at, doc_id in enumerate(ranked)]
            return self.table(Run, name, rows)

        words, model = run("words", by_keywords, 10.0, 2.0), run("model", by_model, 0.9, 0.1)
        choice = Choice.outside(self.folder / "choice")
        write_table(self.folder / "choice/run.parquet", model.table)
        choice = Choice(choice.path, choice.digest, {}, {"model/a": "1", "encoder.json": "2", "run.parquet": "3"})
        names = [*ids, *(f"{name}-wrong-{at}" for name in ("words", "model") for at in range(5))]
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        return fuse(
            out,
            Seeded(),
            Context(resources={Encoders: Encoders(self.folder / "store")}),
            model=choice,
            keywords=words,
            queries=self.table(Queries, "queries", [(name, name, "", "dev") for name in ids]),
            qrels=self.table(Qrels, "qrels", [(name, name, 1) for name in ids]),
            corpus=self.table(Corpus, "corpus", [{"doc_id": name, "text": name, "parent_id": name} for name in names]),
            folds=self.table(Folds, "folds", [(name, at % 5) for at, name in enumerate(ids)]) if folds else None,
        )


@pytest.fixture
def world(tmp_path: Path, tiny_encoder: Path) -> World:
    return World(tmp_path, tiny_encoder)


@pytest.mark.parametrize("folds", [False, True])
def test_where_each_knows_half_the_hybrid_is_shipped(world: World, folds: bool) -> None:
    half = [1, 3] * (COUNT // 2)
    found = world.fuse(half, half[::-1], folds=folds)
    assert found["taken"] and found["gain"]["low"] > 0 and found["queries"] == COUNT
    assert found["MRR@5"]["alone"] == pytest.approx(2 / 3) and found["MRR@5"]["fused"] > 2 / 3


def test_where_keywords_know_nothing_the_model_is_shipped_alone(world: World) -> None:
    found = world.fuse([6] * COUNT, [1] * COUNT)
    assert not found["taken"] and found["MRR@5"]["alone"] == 1.0


def test_a_gain_need_not_be_proven(world: World) -> None:
    found = world.fuse([1] * COUNT, [1] * (COUNT - 3) + [2, 2, 2])
    assert found["taken"] and found["gain"]["value"] > 0
    assert found["gain"]["low"] <= 0 or found["gain"]["p"] > 0.1


def test_the_best_way_is_what_fuses(world: World) -> None:
    found = world.fuse([1] * COUNT, [3] * COUNT)
    fused = Fused(world.folder / "out", "digest", found)
    encoders = Encoders(world.folder / "store")
    hybrid = fused.hybrid(BM25(), BiEncoder(world.model, Encoding(), encoders))
    assert (hybrid.fusion, list(hybrid.weights)) == (found["fusion"], found["weights"])
    assert [part.kind for part in hybrid.parts] == ["bm25", "bi-encoder"]


def test_a_plan_counts_on_a_hybrid() -> None:
    assert Fused(Path("nowhere"), "digest", pending=True).taken
