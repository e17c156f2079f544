"""What is exported in these tests: a tiny encoder with passages, some of which are long."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from denizen.data.tables import rows_table
from denizen.engine.progress import Silent
from denizen.exports.subject import Subject, Test
from denizen.retrievers.bi_encoder import BiEncoder
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.windows import Reading, reader
from denizen.serve.live_encoder import LiveEncoders, VectorCache
from tests.conftest import WORDS

Made = Callable[..., Subject]
PASSAGES = 40


@pytest.fixture(scope="session")
def passages() -> pa.Table:
    """40 passages in the order of their ids, every fourth of 60 words; one has what a file could stumble on."""
    drawn = random.Random(0)
    texts = [" ".join(drawn.choices(WORDS, k=60 if at % 4 == 0 else 8)) for at in range(PASSAGES)]
    texts[1] = 'a "drug", for\nlupus; \\N or an empty \tdose\n\\.\nin C:\\new\\r'
    rows = [
        {"doc_id": f"d{at:02d} x", "title": "what" if at % 3 == 0 else "", "text": text, "domain": None}
        for at, text in enumerate(texts)
    ]
    return rows_table("corpus", rows)


@pytest.fixture(scope="session")
def queries() -> dict[str, str]:
    """Some of their words."""
    drawn = random.Random(1)
    return {f"q{at}": " ".join(drawn.choices(WORDS, k=4)) for at in range(12)}


@pytest.fixture(scope="session")
def made(
    tiny_encoder: Path, passages: pa.Table, queries: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Made:
    """Makes what is exported of a model and a way of reading."""
    encoders = LiveEncoders(tmp_path_factory.mktemp("encoders"), VectorCache(1 << 22))

    def make(reading: Reading, folder: Path = tiny_encoder, **settings: object) -> Subject:
        model = BiEncoder(folder, Encoding().pinned("torch-fp32"), encoders, **settings)
        retriever = reader(model, reading)
        index = retriever.index(passages, Silent())
        test = Test(queries, rows_table("qrels", [(name, f"d{at:02d} x", 1) for at, name in enumerate(queries)]))
        return Subject("a run", retriever, passages, index, test)

    return make
