"""How passages are read: what is asked for, what the queries say, and when windows are left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from denizen.data.artifacts import Corpus, Model, Qrels, Queries, Run
from denizen.data.tables import table, write_table
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.files import read_json
from denizen.engine.step import Context
from denizen.measuring.keywords import keywords
from denizen.measuring.reading import ReadingChoice, _chosen, _gains, read
from denizen.measuring.students import Searching, look
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.index import Index, embed
from denizen.retrievers.model_ref import outside_model
from denizen.retrievers.windows import WHOLE, Reading

SOME = Reading(64, 32)


def chosen(whole: float, windows: float, queries: int) -> dict[str, object]:
    """Half of the queries have these values, the others nothing."""
    values = [np.array([value, 0.0] * (queries // 2)) for value in (whole, windows)]
    return _chosen([(WHOLE, 1.0), (SOME, 1.0)], values, list(range(queries)), 42)


def test_windows_are_taken_where_their_gain_is_proven() -> None:
    found = chosen(0.25, 1.0, 60)
    assert found["reading"] == {"window": 64, "stride": 32}
    assert found["gain"]["value"] == pytest.approx(0.375)  # type: ignore[index]
    assert found["MRR@5"] == {
        "whole passages": {"alone": 0.125, "fused": 0.125},
        "windows of 64 tokens by 32": {"alone": 0.5, "fused": 0.5},
    }


def test_without_a_proven_gain_passages_stay_whole() -> None:
    assert chosen(0.5, 0.5, 60)["reading"] == {"window": 0, "stride": 0}
    assert chosen(1.0, 0.5, 60)["reading"] == {"window": 0, "stride": 0}
    # two queries of four gain, which chance does, too
    assert chosen(0.25, 1.0, 4)["reading"] == {"window": 0, "stride": 0}


def test_the_gain_is_that_over_the_best_fusion_of_whole_passages() -> None:
    ways = [(WHOLE, 1.0), (WHOLE, 0.5), (SOME, 1.0), (SOME, 0.5)]
    alone, fused = np.full(40, 0.2), np.full(40, 0.9)
    found = _chosen(ways, [alone, fused, fused, fused], list(range(40)), 42)
    assert found["reading"] == {"window": 0, "stride": 0} and found["gain"]["value"] == 0.0


def test_windows_that_gain_nothing_fused_are_asked_no_further() -> None:
    ways = [(WHOLE, 1.0), (WHOLE, 0.5), (SOME, 1.0), (SOME, 0.5)]
    for fused, gains in ((0.9, False), (0.95, True)):
        values = [np.full(10, value) for value in (0.2, 0.9, 0.5, fused)]
        assert _gains(_chosen(ways, values, list(range(10)), 42), SOME) is gains


@pytest.mark.parametrize("value", ["", "64", "64/0", "32/64", "64/32/16", "none", "-1/-1", "64 / 32"])
def test_a_reading_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="windows"):
        ReadingChoice(windows=value)


def test_what_is_asked_for_is_not_measured() -> None:
    assert ReadingChoice().given() is None
    assert ReadingChoice(windows="whole").given() == WHOLE
    assert ReadingChoice(windows="48/24").given() == Reading(48, 24)


@pytest.mark.parametrize("long", [True, False])
def test_the_base_is_asked_where_there_is_something_to_choose(long: bool, tiny_encoder: Path, tmp_path: Path) -> None:
    filler = " ".join(["fever of the foot and pain in the body"] * (20 if long else 1))
    texts = [f"{filler} {word} {filler}" for word in ("gout", "lupus", "child", "dose", "drug", "cause")]
    names = [f"d{at}" for at in range(len(texts))]
    asked = [f"q{at}" for at in range(len(texts))]
    tables = {
        "corpus": table("corpus", {"doc_id": names, "title": [""] * 6, "text": texts}),
        "queries": table("queries", {"query_id": asked, "text": texts, "split": ["train"] * 3 + ["dev"] * 3}),
        "qrels": table("qrels", {"query_id": asked, "doc_id": names, "relevance": [1] * 6}),
    }
    for name, rows in tables.items():
        write_table(tmp_path / f"{name}.parquet", rows)
    here = {
        "corpus": Corpus(tmp_path, "", {"passages": 6}),
        "queries": Queries(tmp_path, "", {"queries": {"train": 3, "dev": 3}}),
    }
    model, ctx = outside_model(tiny_encoder), Context(resources={Encoders: Encoders(tmp_path / "store")})
    for name in ("index", "found", "keywords", "reading"):
        (tmp_path / name).mkdir()
    embed(tmp_path / "index", Encoding(), ctx, model=model, **here)
    index = Index(tmp_path / "index", "")
    look(tmp_path / "found", Searching(), ctx, model=model, index=index, splits=Value(["train", "dev"]), **here)
    keywords(tmp_path / "keywords", Searching(), ctx, **here)
    facts = read(
        tmp_path / "reading",
        ReadingChoice(),
        ctx,
        model=model,
        index=index,
        found=Run(tmp_path / "found", ""),
        keywords=Run(tmp_path / "keywords", ""),
        qrels=Qrels(tmp_path, ""),
        **here,
    )
    assert read_json(tmp_path / "reading/reading.json") == facts
    assert isinstance(model, Model) and facts["queries"] == 6
    assert ("gain" in facts) == long
    if long:
        assert (
            facts["rows_a_passage"]["windows of 32 tokens by 16"]
            > facts["rows_a_passage"]["windows of 64 tokens by 32"]
        )
