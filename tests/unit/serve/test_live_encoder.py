"""What a server keeps of embeddings: the last ones, within a limit, and the same as without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.retrievers.encoding import Encoding
from denizen.retrievers.loading import load_encoder
from denizen.serve.live_encoder import LiveEncoders, VectorCache


@given(st.lists(st.integers(0, 20), max_size=200), st.integers(0, 10))
@settings(max_examples=50, deadline=None)
def test_a_cache_keeps_what_was_asked_for_last_and_no_more(asked: list[int], room: int) -> None:
    cache = VectorCache(room * 8)
    last: list[int] = []
    for key in asked:
        name = bytes([key])
        known = cache.find(name)
        assert (known is not None) is (key in last)
        if known is None:
            cache.keep(name, np.full(2, key, dtype=np.float32))
        else:
            assert known.tolist() == [key, key]
        last = [*(other for other in last if other != key), key][-room:] if room else []
    assert cache.hits + cache.misses == len(asked)


def test_vectors_are_the_models_own_and_a_second_time_are_not_computed(tiny_encoder: Path, tmp_path: Path) -> None:
    cache = VectorCache(1 << 20)
    encoder = LiveEncoders(tmp_path, cache).of(tiny_encoder, Encoding())
    texts = ["gout", "what is lupus", "gout"]
    found = encoder.encode(texts, "query")[:]
    np.testing.assert_allclose(found, load_encoder(tiny_encoder).encode_query(texts), atol=2e-3)
    assert (cache.hits, cache.misses) == (0, 3)
    assert encoder.encode(texts[:2], "query")[:].tolist() == found[:2].tolist() and cache.hits == 2
    # another prompt is another text
    encoder.encode(texts[:1], "document")
    assert cache.misses == 4
    assert encoder.encode([], "query").shape == (0, found.shape[1])
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".f32", ".bin")]
