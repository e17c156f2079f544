"""Scores with another instruction are those of a model that is saved with it, in an index that stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sentence_transformers import SentenceTransformer

from denizen.data.tables import rows_table, table
from denizen.engine.progress import Silent
from denizen.measuring.retrieval import measure, per_query
from denizen.prompting.scoring import MEASURE, Scores
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoder import Encoder
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.instruction import query_prompt
from denizen.retrievers.loading import load_encoder, locate
from tests.tiny_models import tiny_llm

WORDS = ["gout", "lupus", "fever", "pain", "drug", "dose", "child", "cause", "treat", "which", "are", "how"]
OTHER = "Name the illness."


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return locate(str(tiny_llm(tmp_path_factory.mktemp("llm"), "qwen3", tokens=256)))


def tables() -> tuple[pa.Table, dict[str, str], pa.Table]:
    ids = sorted(WORDS)
    corpus = table(
        "corpus", {"doc_id": ids, "title": [""] * len(ids), "text": [f"about {word} and its like" for word in ids]}
    )
    queries = {word: f"what is {word}" for word in WORDS}
    return corpus, queries, rows_table("qrels", [(word, word, 1) for word in WORDS])


def test_another_instruction_scores_as_a_model_that_is_saved_with_it(base: Path, tmp_path: Path) -> None:
    corpus, queries, qrels = tables()
    own = BiEncoder(base, Encoding(), Encoders(tmp_path / "store"))
    prompt = query_prompt(load_encoder(base), "llm")
    scores = Scores(own, own.index(corpus, Silent()), prompt, queries, qrels)
    replace(own, query_prompt=prompt.saying(OTHER)).save(tmp_path / "saved")
    saved = BiEncoder(tmp_path / "saved", Encoding(), Encoders(tmp_path / "other"))
    found: dict[str, Any] = {}
    for sentence, retriever in ((prompt.sentence, own), (OTHER, saved)):
        run = retriever.search(retriever.index(corpus, Silent()), queries, 10, Silent())
        expected = per_query(measure(run, qrels, list(queries)))[MEASURE]
        found[sentence] = [each.score for each in scores.of(sentence, list(queries))]
        np.testing.assert_allclose(found[sentence], expected)
    assert found[prompt.sentence] != found[OTHER] and scores.evaluations == 24
    model = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert model.prompts == {**load_encoder(base).prompts, "query": f"{OTHER}\nQuery: "}
    # nothing else of the folder is another
    for path in base.rglob("*"):
        if path.is_file() and path.name not in ("config_sentence_transformers.json", "README.md"):
            assert (tmp_path / "saved" / path.relative_to(base)).read_bytes() == path.read_bytes()
    before, after = (
        json.loads((folder / "config_sentence_transformers.json").read_text()) for folder in (base, tmp_path / "saved")
    )
    assert {name for name in before if before[name] != after[name]} == {"prompts"}


def test_embeddings_are_kept_by_the_prompt_that_was_before_the_text(base: Path, tmp_path: Path) -> None:
    encoder = Encoder(base, tmp_path)
    own = encoder.encode(["what is gout"], "query")[:]
    other = encoder.encode(["what is gout"], "query", prompt=f"{OTHER}\nQuery: ")[:]
    assert np.abs(own - other).max() > 1e-3
    again = Encoder(base, tmp_path)
    counted: list[int] = []
    np.testing.assert_array_equal(again.encode(["what is gout"], "query", counted.append)[:], own)
    assert counted == [1]
    said = load_encoder(base).encode([f"{OTHER}\nQuery: what is gout"], prompt="")
    np.testing.assert_allclose(other, said, atol=1e-5)
