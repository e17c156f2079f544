"""What people's clients get of a served run, by the packages themselves: the vectors and the figures of its evaluation.

A test is skipped whose package is not there. Not all of them can be installed side by side; each can be put into a
folder of its own, which PYTHONPATH then names:

    python -m pip install --target CLIENTS/langchain langchain-openai
    PYTHONPATH=CLIENTS/langchain python -m pytest -m slow tests/e2e/test_serve_clients.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pyarrow.parquet as pq
import pytest

from denizen.data.tables import read_table
from denizen.measuring import retrieval
from denizen.retrievers.loading import load_encoder
from denizen.retrievers.search import search
from tests.e2e.serving import Server, server

pytestmark = pytest.mark.slow

Finished = tuple[Path, dict[str, Any]]
Vectors = Sequence[Sequence[float]]
# bf16, and other batches
_APART = 2e-3
KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def served(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A finished run, behind a key as behind any provider."""
    with server(tmp_path_factory.mktemp("serve") / "log", f"mine={finished[0]}", keys=f"test:{KEY}") as found:
        yield found


@pytest.fixture
def is_the_run(finished: Finished) -> Callable[[Callable[[list[str]], Vectors], Callable[[list[str]], Vectors]], None]:
    """Holds what a client gets, for passages and for questions, against the run: vectors, and nDCG@10 of its test."""
    run, report = finished
    corpus, qrels = (
        read_table(run / "corpus/corpus.parquet", "corpus"),
        read_table(run / "corpus/qrels.parquet", "qrels"),
    )
    asked = {
        row["query_id"]: row["text"]
        for row in pq.read_table(run / "corpus/queries.parquet").to_pylist()
        if row["split"] == "test"
    }
    model = load_encoder(run / "model")
    passages = corpus["text"].to_pylist()

    def check(embed_passages: Callable[[list[str]], Vectors], embed_questions: Callable[[list[str]], Vectors]) -> None:
        of_passages, of_questions = (
            np.asarray(embed(given), dtype=np.float32)
            for embed, given in ((embed_passages, passages), (embed_questions, list(asked.values())))
        )
        assert np.abs(of_passages - model.encode_document(passages, show_progress_bar=False)).max() < _APART
        assert np.abs(of_questions - model.encode_query(list(asked.values()), show_progress_bar=False)).max() < _APART
        found = search(list(asked), of_questions, corpus["doc_id"].to_pylist(), of_passages, 100)
        metrics = retrieval.measure(found, qrels, list(asked))
        values = retrieval.per_query(metrics)["nDCG@10"]
        assert float(values.mean()) == pytest.approx(report["adapted"]["nDCG@10"], abs=0.001)

    return check


def test_openai(served: Server, is_the_run: Any) -> None:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEY)

    def embed(given: list[str], kind: str) -> Vectors:
        found = client.embeddings.create(model="mine", input=given, extra_body={"input_type": kind})
        return [each.embedding for each in found.data]

    is_the_run(lambda given: embed(given, "document"), lambda given: embed(given, "query"))


def test_openai_for_node(served: Server, is_the_run: Any, tmp_path: Path) -> None:
    """NODE_PATH names the folder node_modules that has the package."""
    if not shutil.which("node") or not Path(os.environ.get("NODE_PATH", "-"), "openai").is_dir():
        pytest.skip("node, or the package openai of NODE_PATH, is not here")
    program = tmp_path / "embed.cjs"
    program.write_text(
        """
        const { OpenAI } = require("openai");
        const [baseURL, apiKey, texts] = process.argv.slice(2);
        const client = new OpenAI({ baseURL, apiKey });
        client.embeddings
          .create({ model: "mine", input: JSON.parse(require("fs").readFileSync(texts, "utf8")) })
          .then((found) => console.log(JSON.stringify(found.data.map((each) => each.embedding))));
        """
    )

    def embed(given: list[str]) -> Vectors:
        (tmp_path / "texts.json").write_text(json.dumps(given))
        command = ["node", str(program), f"{served.url}/v1", KEY, str(tmp_path / "texts.json")]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        found: Vectors = json.loads(ended.stdout)
        return found

    is_the_run(embed, embed)


def test_curl(served: Server, is_the_run: Any, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not here")

    def embed(given: list[str]) -> Vectors:
        (tmp_path / "body.json").write_text(json.dumps({"model": "mine", "input": given}))
        command = ["curl", "--silent", "--fail", f"{served.url}/v1/embeddings", "--data", f"@{tmp_path}/body.json"]
        command += ["--header", "Content-Type: application/json", "--header", f"Authorization: Bearer {KEY}"]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        return [each["embedding"] for each in json.loads(ended.stdout)["data"]]

    is_the_run(embed, embed)


def test_langchain(served: Server, is_the_run: Any) -> None:
    """With `check_embedding_ctx_length`, its default, it sends the tokens of another tokenizer, which are refused."""
    langchain = pytest.importorskip("langchain_openai")
    told = {"model": "mine", "base_url": f"{served.url}/v1", "api_key": KEY}
    client = langchain.OpenAIEmbeddings(**told, check_embedding_ctx_length=False)
    is_the_run(client.embed_documents, lambda given: [client.embed_query(text) for text in given])


def test_llama_index(served: Server, is_the_run: Any) -> None:
    llama = pytest.importorskip("llama_index.embeddings.openai_like")
    client = llama.OpenAILikeEmbedding("mine", api_base=f"{served.url}/v1", api_key=KEY)
    questions = client.get_query_embedding
    is_the_run(client.get_text_embedding_batch, lambda given: [questions(text) for text in given])


def test_haystack(served: Server, is_the_run: Any) -> None:
    haystack = pytest.importorskip("haystack")
    embedders = pytest.importorskip("haystack.components.embedders")
    told = {
        "model": "mine",
        "api_base_url": f"{served.url}/v1",
        "api_key": haystack.utils.Secret.from_token(KEY),
    }
    passages, questions = (
        embedders.OpenAIDocumentEmbedder(**told, progress_bar=False),
        embedders.OpenAITextEmbedder(**told),
    )

    def embed(given: list[str]) -> Vectors:
        found = passages.run([haystack.Document(id=str(at), content=text) for at, text in enumerate(given)])
        return [each.embedding for each in found["documents"]]

    is_the_run(embed, lambda given: [questions.run(text)["embedding"] for text in given])


def test_litellm(served: Server, is_the_run: Any) -> None:
    litellm = pytest.importorskip("litellm")

    def embed(given: list[str]) -> Vectors:
        found = litellm.embedding("openai/mine", input=given, api_base=f"{served.url}/v1", api_key=KEY)
        return [each["embedding"] for each in found.data]

    is_the_run(embed, embed)


def test_chromadb(served: Server, is_the_run: Any) -> None:
    functions = pytest.importorskip("chromadb.utils.embedding_functions")
    embed = functions.OpenAIEmbeddingFunction(api_key=KEY, model_name="mine", api_base=f"{served.url}/v1")
    is_the_run(embed, embed)


def test_cohere(served: Server) -> None:
    cohere = pytest.importorskip("cohere")
    documents = ["a text about gout", "a text about lupus", "what is gout treated with"]
    client = cohere.ClientV2(api_key=KEY, base_url=served.url)
    found = client.rerank(model="mine", query="what is gout treated with", documents=documents, top_n=2)
    assert len(found.results) == 2 and found.results[0].index == 2
    assert found.results[0].relevance_score == pytest.approx(1.0, abs=0.01)
