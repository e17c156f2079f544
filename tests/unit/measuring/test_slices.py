"""Measuring on slices: which part of dev is asked, and what a comparison over slices says, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.artifacts import Corpus, Evaluation, Qrels, Queries
from denizen.data.tables import rows_table, write_table
from denizen.engine.artifact import Artifact
from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.settings import Params
from denizen.engine.step import Context
from denizen.measuring.slices import DevPart, DevSize, compare, mean_of, part_of_dev, told


def table(folder: Path, kind: Any, rows: list[Any]) -> Any:
    path = folder / f"{kind.schema}.parquet"
    write_table(path, rows_table(kind.schema, rows))
    return kind.outside(path)


def dev_of(folder: Path, size: int, queries: int, passages: int, answers: int = 1) -> tuple[DevPart, dict[str, Any]]:
    """The part of a slice whose n-th query is answered by the passages from n * answers on."""
    folder.mkdir()
    corpus = table(folder, Corpus, [{"doc_id": f"d{at:03}", "text": f"text {at}"} for at in range(passages)])
    asked = [{"query_id": f"q{at}", "text": f"what {at}", "split": "dev"} for at in range(queries)]
    asked += [{"query_id": "t", "text": "of test", "split": "test"}, {"query_id": "n", "text": "no", "split": "dev"}]
    links = [(f"q{at}", f"d{at * answers + more:03}", 1) for at in range(queries) for more in range(answers)]
    about = {"queries": table(folder, Queries, asked), "qrels": table(folder, Qrels, [*links, ("t", "d000", 1)])}
    out = folder / "out"
    out.mkdir()
    facts = part_of_dev(out, DevSize(dev_passages=size), Context(), corpus=corpus, **about)
    return DevPart.outside(out), facts


def test_dev_queries_bring_their_answers_and_others_fill_up(tmp_path: Path) -> None:
    part, facts = dev_of(tmp_path / "a", 10, queries=4, passages=30)
    assert facts == {"queries": 4, "passages": 10}
    shown = set(part.corpus.table["doc_id"].to_pylist())
    # neither the query of the test nor the one without an answer is asked
    assert set(part.queries.table["query_id"].to_pylist()) == {f"q{at}" for at in range(4)}
    assert shown >= {f"d{at:03}" for at in range(4)} and len(shown) == 10
    assert part.corpus.table["doc_id"].to_pylist() == sorted(shown)


def test_where_passages_are_few_so_are_the_queries(tmp_path: Path) -> None:
    """With three answers each, ten passages have room for three queries and one other passage."""
    _, facts = dev_of(tmp_path / "a", 10, queries=8, passages=30, answers=3)
    assert facts == {"queries": 3, "passages": 10}


def test_a_small_slice_is_taken_whole(tmp_path: Path) -> None:
    _, facts = dev_of(tmp_path / "a", 1000, queries=4, passages=30)
    assert facts == {"queries": 4, "passages": 30}


def test_at_most_300_queries_are_asked(tmp_path: Path) -> None:
    _, facts = dev_of(tmp_path / "a", 1000, queries=320, passages=400)
    assert facts == {"queries": 300, "passages": 400}


def test_what_is_drawn_does_not_depend_on_what_else_there_is(tmp_path: Path) -> None:
    parts = [dev_of(tmp_path / str(count), 40, queries=9, passages=count)[0] for count in (41, 80)]
    asked = [part.queries.table["query_id"].to_pylist() for part in parts]
    assert asked[0] == asked[1]


def test_without_an_answered_dev_query_nothing_can_be_searched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no dev query has a relevant passage"):
        dev_of(tmp_path / "a", 10, queries=0, passages=30)


def test_slices_are_told_with_their_values() -> None:
    assert told({"law": 0.5, "health": 0.25}) == "law 0.500, health 0.250"
    assert mean_of({"law": 0.5, "health": 0.25}) == 0.375


def evaluated(folder: Path, values: dict[str, list[float]]) -> Evaluation:
    """A test of one slice: of each system the same values by both measures."""
    folder.mkdir()
    names = [f"q{at}" for at in range(len(next(iter(values.values()))))]
    for system, found in values.items():
        rows = [
            (measure, name, value) for measure in ("nDCG@10", "MRR@5") for name, value in zip(names, found, strict=True)
        ]
        write_table(folder / f"{system}.metrics.parquet", rows_table("metrics", rows))
    write_json(folder / "groups.json", {name: at for at, name in enumerate(names)})
    means = {system: dict.fromkeys(("nDCG@10", "MRR@5"), sum(found) / len(found)) for system, found in values.items()}
    facts = {"means": means, "differences": {}, "queries": len(names)}
    return Evaluation(folder, Artifact.outside(folder).digest, facts)


def test_means_and_differences_are_over_slices_and_not_over_queries(tmp_path: Path) -> None:
    """law has 2 queries and health 8: of merged the means are .5 and .25, which makes .375 and not .3."""
    tests = {
        "law": evaluated(tmp_path / "law", {"base": [0.0, 0.5], "all": [0.5, 1.0], "merged": [0.5, 0.5]}),
        "health": evaluated(tmp_path / "health", {"base": [0.25] * 8, "all": [0.25] * 8, "merged": [0.25] * 8}),
    }
    (tmp_path / "out").mkdir()
    found = compare(tmp_path / "out", Params(), Context(), tests=tests)
    assert found["means"]["merged"]["nDCG@10"]["value"] == pytest.approx(0.375)
    # .25 and 0 over the base; of all data .5 and 0
    assert found["differences"]["merged"]["nDCG@10"]["value"] == pytest.approx(0.125)
    assert found["differences"]["all"]["MRR@5"]["value"] == pytest.approx(0.25)
    # merged - all: -.25 and 0
    assert found["advantages"]["all"]["nDCG@10"]["value"] == pytest.approx(-0.125)
    assert set(found["advantages"]) == {"base", "all"} and set(found["differences"]) == {"all", "merged"}
    assert found["slices"]["law"]["queries"] == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_a_mean_lies_between_its_slices(values: list[float]) -> None:
    found = mean_of({str(at): value for at, value in enumerate(values)})
    assert min(values) - 1e-12 <= found <= max(values) + 1e-12
