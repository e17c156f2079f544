import dataclasses

import pytest

from denizen.data.formats.source import SPLITS, Source
from denizen.data.tables import table


def source_with(splits):
    queries = table("queries", {"query_id": [f"q{n}" for n in range(len(splits))], "split": splits})
    return Source(table("corpus", {"doc_id": []}), queries, table("qrels", {"query_id": []}), cut=True, bad_rows=[])


@pytest.mark.parametrize(
    "splits, own",
    [([], set()), ([None, None], set()), (["train", None, "test", "train"], {"train", "test"})],
)
def test_the_own_splits_are_those_that_a_query_carries(splits, own):
    assert source_with(splits).splits == own


def test_the_three_parts_have_the_usual_names():
    assert SPLITS == ("train", "dev", "test")


def test_a_source_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        source_with([]).cut = False
