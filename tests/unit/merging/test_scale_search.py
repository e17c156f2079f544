"""The choice of a scale: the rule by hand, and a search that is stopped between two scales."""

from __future__ import annotations

from pathlib import Path

import pytest

from denizen.data.artifacts import Corpus, Documents, Model
from denizen.data.tables import rows_table, write_table
from denizen.engine.errors import InputError
from denizen.engine.files import read_json
from denizen.engine.step import Context
from denizen.measuring.instruction_checks import INSTRUCTIONS, KINDS
from denizen.measuring.instructions import TEST_PROMPTS, chosen, of_dev
from denizen.merging import scale_search
from denizen.merging.scale_search import SCALES, ScaleMeasuring, Tried, best_scale
from tests.tiny_pair import tiny_pair

SHORT = ScaleMeasuring(max_length=32, max_new_tokens=8, precision="fp32")


def test_the_best_likelihood_of_those_that_lose_no_more_than_two_points() -> None:
    found = [Tried(0.25, 0.20, 1.0), Tried(0.5, 0.48, 1.1), Tried(1.0, 0.50, 1.2)]
    assert best_scale(found, 0.50).scale == 0.5
    # one that just keeps the limit, and none that does
    assert best_scale(found, 0.22).scale == 0.25
    assert best_scale(found, 0.90).scale == 1.0


def test_of_equals_the_one_nearest_to_the_residual_as_it_is() -> None:
    assert best_scale([Tried(scale, 0.5, 1.0) for scale in SCALES], 0.5).scale == 1.0


def test_what_chooses_is_no_test() -> None:
    of_test, chooses = chosen(TEST_PROMPTS), of_dev()
    assert len(of_test) + len(chooses) == len(INSTRUCTIONS) and not {*of_test} & {*chooses}
    # two of each kind
    assert len(chooses) == 2 * KINDS and len({each.kind for each in chooses}) == KINDS


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model | Corpus | Documents]:
    folder = tmp_path_factory.mktemp("scale")
    base, instruct = (Model(path, path.name) for path in tiny_pair(folder))
    rows = [
        {"doc_id": f"d{at}", "text": f"rain and wind on day {at}", "parent_id": f"d{at}", "start": 0, "end": 9}
        for at in range(4)
    ]
    listed = [{**row, "cluster": at, "parent_cluster": at} for at, row in enumerate(rows)]
    sides = [{"parent_id": f"d{at}", "split": split} for at, split in enumerate(("train", "dev", "dev", "test"))]
    for name, table in (("corpus", rows_table("corpus", listed)), ("documents", rows_table("documents", sides))):
        write_table(folder / f"{name}.parquet", table)
    tables = {
        "corpus": Corpus(folder / "corpus.parquet", "c"),
        "documents": Documents(folder / "documents.parquet", "d"),
    }
    return {"pretrained": base, "base": base, "instruct": instruct, **tables}


def test_every_scale_is_measured_once_even_when_the_search_is_stopped(
    inputs: dict[str, Model | Corpus | Documents], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, whole = list[float](), scale_search.add_residual

    def add(out: Path, params: scale_search.Residual, ctx: Context, **pair: Model) -> object:
        made.append(params.scale)
        if len(made) == 3:
            raise KeyboardInterrupt
        return whole(out, params, ctx, **pair)

    monkeypatch.setattr(scale_search, "add_residual", add)
    ctx, out = Context(scratch=tmp_path / "scratch"), tmp_path / "out"
    for folder in (ctx.scratch, out):
        folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        scale_search.search_scale(out, SHORT, ctx, **inputs)
    found = scale_search.search_scale(out, SHORT, ctx, **inputs)
    assert made == [0.25, 0.5, 0.75, 0.75, 1.0, 1.25]
    assert [its["scale"] for its in found["tried"]] == list(SCALES) and found["scale"] in SCALES
    # the base was not trained, so that the residual as it is gives the instruct model
    assert found["tried"][3] == found["instruct"] and read_json(out / "tried.json") == found["tried"]
    assert (found["prompts"], found["documents"]) == (2 * KINDS, 2)
    assert not (ctx.scratch / "model").exists()


def test_without_a_document_of_dev_nothing_is_chosen(
    inputs: dict[str, Model | Corpus | Documents], tmp_path: Path
) -> None:
    write_table(
        tmp_path / "documents.parquet",
        rows_table("documents", [{"parent_id": f"d{at}", "split": "test"} for at in range(4)]),
    )
    other = {**inputs, "documents": Documents(tmp_path / "documents.parquet", "o")}
    with pytest.raises(InputError, match="no document is on the dev side; add other documents"):
        scale_search.search_scale(tmp_path, SHORT, Context(scratch=tmp_path), **other)
