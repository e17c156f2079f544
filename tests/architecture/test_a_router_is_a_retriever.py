"""A kind of retriever that the source knows nothing of is measured, gated and loaded as any other.

The retriever here sends a query to one of two encoders of different width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from denizen.data.formats.trec import read_trec_run
from denizen.data.tables import rankings
from denizen.engine.files import json_digest
from denizen.engine.progress import Progress
from denizen.recipes.evaluate import evaluate
from denizen.recipes.gate import gate
from denizen.retrievers import saved
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.retriever import Retriever, save_composite
from denizen.retrievers.search import in_order
from tests.conftest import WORDS
from tests.e2e.conftest import write_beir


@dataclass(frozen=True)
class Router:
    """Sends queries that hold a word to the first of two retrievers, and all others to the second."""

    kind: ClassVar[str] = "router"

    parts: tuple[Retriever, ...]
    word: str

    @property
    def digest(self) -> str:
        return json_digest([self.kind, self.word, [part.digest for part in self.parts]])

    def index(self, corpus: pa.Table, progress: Progress) -> list[Any]:
        return [part.index(corpus, progress) for part in self.parts]

    def search(self, index: list[Any], queries: Mapping[str, str], depth: int, progress: Progress) -> pa.Table:
        routed: list[dict[str, str]] = [{}, {}]
        for query_id, text in queries.items():
            routed[self.word not in text.split()][query_id] = text
        found = [
            part.search(own, asked, depth, progress) for part, own, asked in zip(self.parts, index, routed, strict=True)
        ]
        return in_order(pa.concat_tables(found), queries)

    def save(self, folder: Path) -> None:
        save_composite(folder, self, {"word": self.word})


@pytest.fixture
def router(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a saved router over the tiny encoder and one of half its width."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    narrow = SentenceTransformer(str(tiny_encoder), device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        narrow.append(Dense(32, 16))
    narrow.save_pretrained(str(tmp_path / "narrow"), create_model_card=False)
    monkeypatch.setitem(saved.KINDS, "router", lambda folder, kept, parts: Router(parts, kept["word"]))
    encoders, encoding = Encoders(tmp_path / "store"), Encoding()
    parts = [BiEncoder(folder, encoding, encoders) for folder in (tmp_path / "narrow", tiny_encoder)]
    assert [part.encoder.loaded(["gout"])[0].get_embedding_dimension() for part in parts] == [16, 32]
    made = Router(tuple(parts), "gout")
    made.save(tmp_path / "router")
    assert saved.load(tmp_path / "router", encoding, encoders) == made
    return tmp_path / "router"


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Questions half of which are about gout."""
    passages = [f"{WORDS[at % 11]} {WORDS[at % 7 + 12]} {WORDS[at % 5 + 3]}" for at in range(60)]
    queries = [f"{text.split()[0]} {'gout' if at % 2 else 'lupus'} {at}" for at, text in enumerate(passages)]
    return write_beir(tmp_path / "beir", 60, passages, queries)


def test_it_is_evaluated_beside_its_parts(router: Path, tiny_encoder: Path, beir: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    report = evaluate([str(router), str(tmp_path / "narrow"), str(tiny_encoder)], beir, out=out)
    assert list(report["means"]) == ["router", "narrow", tiny_encoder.parent.name, "bm25"]
    assert report["backends"] == dict.fromkeys(["router", "narrow", tiny_encoder.parent.name], "torch-fp32")
    routed, narrow, wide = (
        rankings(read_trec_run(out / f"{name}.trec")) for name in ("router", "narrow", tiny_encoder.parent.name)
    )
    assert len(routed) == 60 and narrow != wide
    for query_id, ranking in routed.items():
        assert ranking == (narrow if int(query_id[1:]) % 2 else wide)[query_id]


def test_it_is_gated(router: Path, tiny_encoder: Path, beir: Path, tmp_path: Path) -> None:
    report = gate(str(router), str(tiny_encoder), general=[str(beir)], forgetting_limit=1.0)
    (measured,) = report["sets"].values()
    means = {name: found["nDCG@10"] for name, found in measured["means"].items()}
    assert means["base"] != means["adapted"] and report["met"]
    assert report["change"] == {"general": pytest.approx(means["adapted"] - means["base"])}
    assert len(set(report["models"].values())) == 2
    same = gate(str(router), str(router), general=[str(beir)], forgetting_limit=0.0)
    assert same["change"] == {"general": 0.0} and same["met"]
