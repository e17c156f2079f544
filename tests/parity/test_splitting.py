from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from denizen.data.splitting import split_by_row
from denizen.data.tables import table

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("seed", [0, 42, 1234])
@pytest.mark.parametrize(("count", "share"), [(10, 0.2), (97, 0.2), (1000, 0.2), (1001, 0.2), (333, 0.35)])
def test_the_test_part_of_the_row_split_is_that_of_scikit_learn(count: int, share: float, seed: int) -> None:
    query_ids = [f"q{at}" for at in range(count)]
    queries = split_by_row(table("queries", {"query_id": query_ids, "text": query_ids}), 0.1, share, seed)
    splits = np.array(queries["split"].to_pylist())
    train, test = train_test_split(query_ids, test_size=share, random_state=seed)
    assert set(np.array(query_ids)[splits == "test"]) == set(test)
    assert set(np.array(query_ids)[splits != "test"]) == set(train)
