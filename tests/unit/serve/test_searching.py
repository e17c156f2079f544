"""`/v1/search` with filters: by what a BEIR corpus says of passages, and what ingest says of documents."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from denizen.data.tables import rows_table, write_table
from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.serve.app import create_app
from denizen.serve.catalogue import Catalogue
from denizen.serve.settings import Serving

pytestmark = pytest.mark.anyio
TEXTS = ("gout is treated with rest", "gout in the knee", "lupus", "rain and snow", "gout again")
SAID = (
    {"year": 2023, "kinds": ["a", "b"]},
    {"year": 2024, "kinds": ["b"]},
    {"year": 2024, "draft": True},
    {},
    {"year": "2024"},
)


@pytest.fixture(params=["beir", "ingest"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    ids = [f"p{at}" for at in range(len(TEXTS))]
    if request.param == "beir":
        rows = [
            {"_id": name, "text": text, "metadata": said} for name, text, said in zip(ids, TEXTS, SAID, strict=True)
        ]
        (tmp_path / "corpus.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return tmp_path
    passages = [
        {"doc_id": f"{name}#1", "text": text, "parent_id": name, "start": 0, "end": len(text), "domain": "care"}
        for name, text in zip(ids, TEXTS, strict=True)
    ]
    documents = [{"doc_id": name, "metadata": json.dumps(said)} for name, said in zip(ids, SAID, strict=True)]
    write_table(tmp_path / "corpus.parquet", rows_table("corpus", passages))
    write_table(tmp_path / "texts.parquet", rows_table("texts", documents))
    write_json(tmp_path / "ingest.json", {})
    return tmp_path


@pytest.fixture
async def http(corpus: Path, tiny_encoder: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Serving()
    catalogue = Catalogue({"mine": str(tiny_encoder)}, settings, corpus)
    transport = httpx.ASGITransport(create_app(catalogue, settings, {}))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client
    catalogue.close()


async def found(http: httpx.AsyncClient, **fields: Any) -> list[dict[str, Any]]:
    answer = await http.post("/v1/search", json={"query": "gout", "top_k": 10, **fields})
    assert answer.status_code == httpx.codes.OK, answer.text
    return list(answer.json()["data"][0]["passages"])


async def test_only_passages_of_which_the_corpus_says_it(http: httpx.AsyncClient) -> None:
    def texts(passages: list[dict[str, Any]]) -> set[int]:
        return {TEXTS.index(each["text"]) for each in passages}

    assert texts(await found(http)) == {0, 1, 2, 3, 4}
    # a text is no number, though it looks like one
    assert texts(await found(http, filter={"year": 2024})) == {1, 2}
    assert texts(await found(http, filter={"year": [2023, 2024]})) == {0, 1, 2}
    # of what has several values, one is enough
    assert texts(await found(http, filter={"kinds": "b"})) == {0, 1}
    assert texts(await found(http, filter={"year": 2024, "kinds": ["a", "b"]})) == {1}
    assert texts(await found(http, filter={"draft": True})) == {2}
    (passage,) = await found(http, filter={"year": "2024"})
    assert (passage["rank"], passage["metadata"]) == (1, {"year": "2024"})


@pytest.mark.parametrize(
    "filter, why",
    [
        ({"colour": "red"}, "the corpus says nothing of 'colour'; it says 'draft', 'kinds', 'year'"),
        ({"year": {"least": 3}}, "filter"),
        ("year", "filter"),
    ],
)
async def test_what_is_no_filter_is_refused(http: httpx.AsyncClient, filter: Any, why: str) -> None:
    answer = await http.post("/v1/search", json={"query": "gout", "filter": filter})
    assert answer.status_code == httpx.codes.BAD_REQUEST and why in answer.text


async def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no BEIR folder"):
        Catalogue({"mine": "x"}, Serving(), tmp_path)
