"""Bodies of requests: a wrong one costs no more than a right one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from denizen.serve.embedding import EmbeddingsRequest
from denizen.serve.reranking import BareRequest, RerankRequest


@pytest.mark.parametrize(
    ("body", "given"),
    [
        (EmbeddingsRequest, {"input": [0.5] * 1000}),
        (EmbeddingsRequest, {"input": [[0.5] * 1000]}),
        (RerankRequest, {"query": "x", "documents": [0.5] * 1000}),
        (BareRequest, {"query": "x", "texts": [0.5] * 1000}),
    ],
)
def test_one_wrong_item_ends_the_reading(body: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as told:
        body.model_validate(given)
    assert len(told.value.errors()) <= 4
