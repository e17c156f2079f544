"""A served run as clients meet it: the real openai package, the requests that others send, and what they may not do."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import openai
import pytest
from torch import nn

from denizen.cli import main
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.cross_encoder import Reranker, load_cross_encoder, start_cross_encoder
from denizen.retrievers.loading import load_encoder
from denizen.retrievers.reranked import Reranked
from denizen.retrievers.searchable import SearchableCorpus
from tests.e2e.serving import Server, server
from tests.tiny_models import tiny_model

KEY, OTHER = "a-key-of-this-test", "another-key-of-this-test"
QUESTIONS = ["what is gout treated with", "lupus"]


@pytest.fixture(scope="module")
def asymmetric(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bi-encoder with a prompt before queries."""
    return tiny_model(tmp_path_factory.mktemp("qwen"), "qwen3")


@pytest.fixture(scope="module")
def reranked(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A retriever by words with a cross-encoder of random weights after it."""
    folder = tmp_path_factory.mktemp("reranked")
    start_cross_encoder(tiny_encoder, 1).save_pretrained(str(folder / "cross"), create_model_card=False)
    Reranked((BM25(),), Reranker(folder / "cross")).save(folder / "retriever")
    return folder / "retriever"


@pytest.fixture(scope="module")
def served(
    finished: tuple[Path, dict[str, Any]], asymmetric: Path, reranked: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A finished run, a model of another make, and a reranker."""
    log = tmp_path_factory.mktemp("serve") / "log"
    with server(log, f"mine={finished[0]}", f"qwen={asymmetric}", f"judge={reranked}") as found:
        yield found


@pytest.fixture
def http(served: Server) -> Iterator[httpx.Client]:
    """A client without an SDK."""
    with served.client() as client:
        yield client


def embedded(client: httpx.Client, **body: Any) -> np.ndarray[Any, Any]:
    answer = client.post("/v1/embeddings", json={"model": "qwen", **body})
    assert answer.status_code == httpx.codes.OK, answer.text
    found = answer.json()
    assert [each["index"] for each in found["data"]] == list(range(len(found["data"])))
    return np.array([each["embedding"] for each in found["data"]], dtype=np.float32)


def refused(client: httpx.Client, path: str = "/v1/embeddings", status: int = 400, **body: Any) -> str:
    answer = client.post(path, json={"model": "qwen", **body})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["message"])


def test_a_client_that_can_say_a_model_alone_says_behind_it_what_its_texts_are(http: httpx.Client) -> None:
    for side in ("query", "document"):
        said = embedded(http, input=QUESTIONS, input_type=side)
        np.testing.assert_array_equal(embedded(http, input=QUESTIONS, model=f"qwen:{side}"), said)
    twice = refused(http, input="gout", model="qwen:query", input_type="document")
    assert "input_type and model say the same" in twice
    assert "qwen:passages" in refused(http, status=404, input="gout", model="qwen:passages")


def test_the_openai_package_gets_the_vectors_of_the_run(served: Server, finished: tuple[Path, dict[str, Any]]) -> None:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == ["mine", "qwen", "judge"]
    assert client.models.retrieve("mine").id == "mine"
    model = load_encoder(finished[0] / "model")
    # base64 is what the package asks for where nothing is said
    usual = client.embeddings.create(model="mine", input=QUESTIONS)
    plain = client.embeddings.create(model="mine", input=QUESTIONS, encoding_format="float")
    one = client.embeddings.create(model="mine", input=QUESTIONS[1])
    wanted = model.encode_document(QUESTIONS)
    np.testing.assert_allclose([each.embedding for each in usual.data], wanted, atol=2e-3)
    np.testing.assert_allclose([each.embedding for each in plain.data], wanted, atol=2e-3)
    np.testing.assert_allclose(one.data[0].embedding, wanted[1], atol=2e-3)
    counts = [len(model.tokenizer(text)["input_ids"]) for text in QUESTIONS]
    assert usual.usage.prompt_tokens == usual.usage.total_tokens == sum(counts)
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'; there are mine, qwen, judge"):
        client.embeddings.create(model="gpt", input="x")
    with pytest.raises(openai.BadRequestError, match="text 2 of input is blank"):
        client.embeddings.create(model="mine", input=["x", " "])


def test_a_query_is_read_as_one_in_everybodys_words(http: httpx.Client, asymmetric: Path) -> None:
    model = load_encoder(asymmetric)
    query, document = model.encode_query(QUESTIONS), model.encode_document(QUESTIONS)
    assert np.abs(query - document).max() > 0.05
    for said in (
        {"input_type": "query"},
        {"input_type": "search_query"},
        {"task": "retrieval.query"},
        {"prompt_name": "query"},
    ):
        np.testing.assert_allclose(embedded(http, input=QUESTIONS, **said), query, atol=2e-3, err_msg=str(said))
    for said in ({}, {"input_type": "passage"}, {"input_type": "search_document"}, {"task": "retrieval.passage"}):
        np.testing.assert_allclose(embedded(http, input=QUESTIONS, **said), document, atol=2e-3, err_msg=str(said))
    answer = http.post("/v1/embeddings", json={"model": "qwen", "input": "x"})
    assert answer.headers["x-denizen-input-type"] == "document"
    assert "it must be one of query" in refused(http, input="x", input_type="question")
    assert "input_type and task say the same thing" in refused(
        http, input="x", input_type="query", task="retrieval.query"
    )
    assert "has no prompt 'sts'; it has 'query'" in refused(http, input="x", prompt_name="sts")


def test_what_cannot_be_right_is_refused_with_the_remedy(http: httpx.Client) -> None:
    assert "OpenAIEmbeddings(check_embedding_ctx_length=False)" in refused(http, input=[[1, 2], [3]])
    assert "check_embedding_ctx_length" in refused(http, input=[1, 2])
    assert "dimensions is 16, and qwen was trained for 32" in refused(http, input="x", dimensions=16)
    assert embedded(http, input="x", dimensions=32).shape == (1, 32)
    assert "encoding_format" in refused(http, input="x", encoding_format="int8")
    assert embedded(http, input="x", encoding_format=None).shape == (1, 32)
    assert "input is empty" in refused(http, input=[])
    assert "at most 2,048 are taken" in refused(http, input=["x"] * 2049)
    assert "input" in refused(http)
    assert "input" in refused(http, input=[None])
    assert refused(http, input=["x", 5]) == "input.1: Input should be a valid string"
    assert "cut at their end: give END or NONE" in refused(http, input="x", truncate="START")
    assert "input" in refused(http, input={"text": "x"})
    assert refused(http, "/v1/nothing", 404) == "there is no /v1/nothing here"
    assert http.get("/v1/embeddings").status_code == httpx.codes.METHOD_NOT_ALLOWED
    assert "has 1,000,001 characters" in refused(http, input="x" * 1_000_001)
    rebound = http.get("/v1/models", headers={"Host": "pages.example:8000"})
    assert rebound.status_code == httpx.codes.FORBIDDEN and "answers at localhost" in rebound.text
    assert http.get("/v1/models", headers={"Host": "[::1]:8000"}).status_code == httpx.codes.OK
    for body in (b"", b"[]", b"{", b'{"input": "x"', b"\xff", b"[" * 100_000, b'{"input": NaN}'):
        answer = http.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == httpx.codes.BAD_REQUEST, (body[:20], answer.text)
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_it_says_what_was_cut_and_more_than_one_batch_is_no_matter(http: httpx.Client) -> None:
    long = "gout " * 200
    answer = http.post("/v1/embeddings", json={"model": "qwen", "input": ["short", long, long + "more"]}).json()
    assert answer["truncated"] == [1, 2]
    assert "truncated" not in http.post("/v1/embeddings", json={"model": "qwen", "input": "short"}).json()
    assert "the first at place 1, are longer than the 64 tokens" in refused(http, input=["x", long], truncate="NONE")
    many = [f"text {at}" for at in range(500)]
    together = embedded(http, input=many)
    np.testing.assert_allclose(together[250:260], embedded(http, input=many[250:260]), atol=2e-3)


def test_half_a_letter_and_letters_of_everywhere_are_texts(http: httpx.Client) -> None:
    body = json.dumps({"model": "mine", "input": ["\ud83d", "治疗", "علاج", "\u0000"]})
    answer = http.post("/v1/embeddings", content=body.encode(), headers={"Content-Type": "application/json"})
    assert answer.status_code == httpx.codes.OK, answer.text
    assert np.isfinite([each["embedding"] for each in answer.json()["data"]]).all()
    # where a text is in the answer, too
    for path, fields in {
        "/v1/rerank": {"query": "x", "documents": ["\ud83d"], "return_documents": True},
        "/rerank": {"query": "x", "texts": ["\ud83d"], "return_text": True},
        "/v1/search": {"query": "\ud83d"},
    }.items():
        content = json.dumps({"model": "mine", **fields}).encode()
        answer = http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == httpx.codes.OK, (path, answer.text)


def test_the_semantic_router_finds_what_it_expects(http: httpx.Client) -> None:
    # its client sends model, a list and, where it is set, dimensions; never encoding_format nor input_type
    for body in (
        {"model": "qwen", "input": ["one", "two"]},
        {"model": "qwen", "input": ["one", "two"], "dimensions": 32},
    ):
        found = http.post("/v1/embeddings", json=body).json()["data"]
        assert sorted(each["index"] for each in found) == [0, 1]
        assert all(isinstance(value, float) for each in found for value in each["embedding"])
        np.testing.assert_allclose([np.linalg.norm(each["embedding"]) for each in found], 1, atol=1e-3)


def test_base64_is_little_endian_floats(http: httpx.Client) -> None:
    answer = http.post("/v1/embeddings", json={"model": "qwen", "input": "x", "encoding_format": "base64"}).json()
    found = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), dtype="<f4")
    np.testing.assert_array_equal(found, embedded(http, input="x")[0])


def test_passages_are_those_of_the_run(http: httpx.Client, finished: tuple[Path, dict[str, Any]]) -> None:
    wanted = SearchableCorpus.load(finished[0]).search(QUESTIONS, 3)
    answer = http.post("/v1/search", json={"model": "mine", "query": QUESTIONS, "top_k": 3})
    assert answer.status_code == httpx.codes.OK, answer.text
    for own, found in zip(wanted, answer.json()["data"], strict=True):
        assert [each["doc_id"] for each in found["passages"]] == [each.doc_id for each in own]
        assert [each["rank"] for each in found["passages"]] == [1, 2, 3]
        np.testing.assert_allclose(
            [each["score"] for each in found["passages"]], [each.score for each in own], atol=2e-3
        )
        assert found["passages"][0]["text"] == own[0].text
    one = http.post("/v1/search", json={"model": "mine", "query": QUESTIONS[1], "top_k": 1}).json()["data"]
    assert one[0]["query"] == QUESTIONS[1] and len(one[0]["passages"]) == 1
    assert "no passage has the domain 'none'" in refused(http, "/v1/search", model="mine", query="x", domain="none")
    assert "has no corpus" in refused(http, "/v1/search", query="x")
    assert "blank" in refused(http, "/v1/search", model="mine", query=" ")
    assert "top_k" in refused(http, "/v1/search", model="mine", query="x", top_k=0)


def test_reranking_as_cohere_jina_and_tei_ask_for_it(http: httpx.Client, asymmetric: Path) -> None:
    texts = ["gout is treated with rest", "lupus", "rain"]
    model = load_encoder(asymmetric)
    scores = (model.encode_query("gout") @ model.encode_document(texts).T).tolist()
    order = sorted(range(3), key=lambda at: -scores[at])
    body = {"model": "qwen", "query": "gout", "documents": [texts[0], {"text": texts[1]}, texts[2]], "top_n": 2}
    found = http.post("/v1/rerank", json={**body, "return_documents": True}).json()
    assert [each["index"] for each in found["results"]] == order[:2]
    np.testing.assert_allclose([each["relevance_score"] for each in found["results"]], sorted(scores)[:0:-1], atol=2e-3)
    assert found["results"][0]["document"] == {"text": texts[order[0]]} and found["meta"]["scored_by"] == "embeddings"
    tei = http.post("/rerank", json={"model": "qwen", "query": "gout", "texts": texts}).json()
    assert [each["index"] for each in tei] == order and set(tei[0]) == {"index", "score"}
    # as vLLM's and Infinity's clients ask at the same address
    bare = http.post("/rerank", json={**body, "return_documents": True}).json()
    assert bare["results"] == found["results"]
    assert "give texts" in refused(http, "/rerank", query="x") and "give texts" in refused(
        http, "/rerank", query="x", texts=["x"], documents=["x"]
    )
    assert "documents is empty" in refused(http, "/v1/rerank", query="x", documents=[])
    assert "query is blank" in refused(http, "/v1/rerank", query="", documents=["x"])


def test_a_reranker_says_itself_how_well_documents_answer(http: httpx.Client, reranked: Path) -> None:
    texts = ["gout is treated with rest", "lupus", "rain"]
    raw = load_cross_encoder(reranked / "reranker").predict(
        [("gout", text) for text in texts], activation_fn=nn.Identity()
    )
    order = np.argsort(-raw).tolist()
    body = {"model": "judge", "query": "gout"}
    found = http.post("/v1/rerank", json={**body, "documents": texts}).json()
    assert [each["index"] for each in found["results"]] == order and found["meta"]["scored_by"] == "reranker"
    scores = [each["relevance_score"] for each in found["results"]]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-raw[order])), atol=1e-3)
    tei = http.post("/rerank", json={**body, "texts": texts, "raw_scores": True}).json()
    np.testing.assert_allclose([each["score"] for each in tei], raw[order], atol=1e-3)
    assert "has no embeddings" in refused(http, model="judge", input="x")


def test_it_tells_operators_how_it_is(http: httpx.Client) -> None:
    assert http.get("/health").json() == {"status": "ok"}
    assert http.get("/ready").json() == {"status": "ready", "models": ["mine", "qwen", "judge"]}
    embedded(http, input="seen once")
    embedded(http, input="seen once")
    http.get("/somewhere/else")
    text = http.get("/metrics").text
    assert 'denizen_requests_total{route="/v1/embeddings",status="200"}' in text
    assert 'denizen_requests_total{route="none",status="404"}' in text
    assert 'denizen_tokens_total{model="qwen"}' in text
    (hits,) = [line for line in text.splitlines() if line.startswith("denizen_cache_hits ")]
    assert float(hits.split()[1]) >= 1


def test_many_at_once_get_what_each_would_get_alone(served: Server) -> None:
    texts = [f"text {at} of {'many ' * (at % 9)}" for at in range(40)]
    with served.client() as client:
        alone = [embedded(client, input=text)[0] for text in texts]

    async def together() -> list[np.ndarray[Any, Any]]:
        async with httpx.AsyncClient(base_url=served.url, timeout=60) as client:
            # of another prompt in between, and others that leave at once
            bodies = [{"model": "qwen", "input": [text, text + "."]} for text in texts]
            leaving = [
                asyncio.ensure_future(client.post("/v1/embeddings", json={**body, "input_type": "query"}))
                for body in bodies[:10]
            ]
            asked = [asyncio.ensure_future(client.post("/v1/embeddings", json=body)) for body in bodies]
            await asyncio.sleep(0.01)
            for each in leaving:
                each.cancel()
            return [np.array(answer.json()["data"][0]["embedding"]) for answer in await asyncio.gather(*asked)]

    np.testing.assert_allclose(asyncio.run(together()), alone, atol=2e-3)


def test_keys_limits_and_the_log(asymmetric: Path, tmp_path: Path) -> None:
    options = (
        "--requests-a-minute",
        "20",
        "--body-mb",
        "1",
        "--deadline",
        "2",
        "--token-ids",
        "--queue-tokens",
        "1024",
    )
    with server(tmp_path / "log", f"qwen={asymmetric}", *options, keys=f"me:{KEY},you:{OTHER}") as found:
        with found.client() as nobody:
            answer = nobody.post("/v1/embeddings", json={"input": "x"})
            assert answer.status_code == httpx.codes.UNAUTHORIZED and answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["type"] == "authentication_error"
            assert nobody.get("/health").status_code == httpx.codes.OK
            assert nobody.get("/metrics").status_code == httpx.codes.UNAUTHORIZED
        with found.client(KEY[:-1]) as nearly:
            assert nearly.get("/v1/models").status_code == httpx.codes.UNAUTHORIZED
        with found.client(KEY) as me, found.client(OTHER) as you:
            model = load_encoder(asymmetric)
            ids = model.tokenizer("gout hurts", add_special_tokens=False)["input_ids"]
            # the only model needs no name
            own = me.post("/v1/embeddings", json={"input": ids}).json()["data"][0]["embedding"]
            np.testing.assert_allclose(own, model.encode_document("gout hurts"), atol=2e-3)
            assert "is none of the" in me.post("/v1/embeddings", json={"input": [10**9]}).json()["error"]["message"]
            large = me.post("/v1/embeddings", content=b" " * (1 << 20) + b"x")
            assert large.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
            limited = [me.post("/v1/embeddings", json={"input": "x"}) for _ in range(20)]
            last = limited[-1]
            assert last.status_code == httpx.codes.TOO_MANY_REQUESTS and int(last.headers["retry-after"]) >= 1
            assert you.post("/v1/embeddings", json={"input": "x"}).status_code == httpx.codes.OK
        host, port = found.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as slow:
            lines = ["POST /v1/embeddings HTTP/1.1", "Host: x", f"Authorization: Bearer {OTHER}", "Content-Length: 50"]
            slow.sendall("\r\n".join([*lines, "", '{"input": "secret ']).encode())
            assert b"408" in slow.recv(1000)
        said = found.log.read_text()
    assert "secret" not in said and KEY not in said and "Traceback" not in said


def test_what_has_begun_is_answered_when_it_is_told_to_stop(asymmetric: Path, tmp_path: Path) -> None:
    answers: list[int] = []

    def ask(url: str) -> None:
        texts = [f"{at} " + "long " * 60 for at in range(1500)]
        answers.append(httpx.post(f"{url}/v1/embeddings", json={"input": texts}, timeout=60).status_code)

    with server(tmp_path / "log", f"qwen={asymmetric}") as found:
        asking = threading.Thread(target=ask, args=(found.url,))
        asking.start()
        time.sleep(0.3)
        found.process.send_signal(signal.SIGTERM)
        asking.join(60)
        assert found.process.wait(60) == 0
    assert answers == [httpx.codes.OK]
    assert "stopped" in (tmp_path / "log").read_text()


def test_a_new_version_takes_the_place_of_the_old_without_a_failed_request(
    asymmetric: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "current"
    place.symlink_to(tiny_encoder)
    with server(tmp_path / "log", f"it={place}") as found, found.client() as client:
        before = client.post("/v1/embeddings", json={"input": "gout"}).json()
        (tmp_path / "next").symlink_to(asymmetric)
        (tmp_path / "next").rename(place)
        found.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        after = before
        while after["data"] == before["data"] and time.monotonic() < deadline:
            answer = client.post("/v1/embeddings", json={"input": "gout"})
            assert answer.status_code == httpx.codes.OK
            after = answer.json()
        np.testing.assert_allclose(
            after["data"][0]["embedding"], load_encoder(asymmetric).encode_document("gout"), atol=2e-3
        )
        assert "exchanged: it" in found.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "keys", "message"),
    [
        (["nowhere/at/all", "--host", "0.0.0.0"], "", "host 0.0.0.0 lets others in, and there is no key"),
        (["./nowhere"], "", "there is no such file or folder"),
        (["{model}", "--host", "0.0.0.0"], "me:short", "has 5 characters; give 16 or more"),
        (["a={model}", "a=other"], "", "would both be called 'a'; give one as NAME="),
        (["{model}", "--corpus", "{model}"], "", "is no BEIR folder"),
        (["{model}", "--port", "{taken}"], "", "give another --host or --port"),
        (["{model}", "--port", "70000"], "", "70000"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    arguments: list[str],
    keys: str,
    message: str,
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = {"model": tiny_encoder, "taken": taken.getsockname()[1]}
        asked = [argument.format(**values) for argument in arguments]
        monkeypatch.setattr("sys.argv", ["denizen", "serve", *asked])
        monkeypatch.setenv("DENIZEN_API_KEYS", keys)
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2 and message in capsys.readouterr().err
