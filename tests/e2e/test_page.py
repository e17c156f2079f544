"""The page on which people try a run: what the server sends for it, and a real browser that asks, moves and grades."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from denizen.api import adapt
from denizen.data.formats.grades import read_grades
from denizen.data.formats.trec import read_trec_run
from denizen.data.tables import each, folded, rankings, read_table
from denizen.recipes.config import AdaptConfig
from denizen.reports.finished_run import FinishedRun
from denizen.reports.try_page import write_try_page
from tests.html_page import Page

from .conftest import SETTINGS
from .serving import Server, server

Finished = tuple[Path, dict[str, Any]]
KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def run(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of its own, where grades may be left."""
    copy = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(finished[0], copy)
    return copy


@pytest.fixture(scope="module")
def served(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("served") / "log", f"mine={run}") as found:
        yield found


@pytest.fixture(scope="module")
def keyed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key, of the run and of its retriever alone, which is no run."""
    place = tmp_path_factory.mktemp("keyed")
    shutil.copytree(run / "retriever", place / "alone")
    with server(place / "log", f"mine={run}", f"it={place / 'alone'}", keys=f"me:{KEY}") as found:
        yield found


@pytest.fixture
def http(served: Server) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


@pytest.fixture(scope="module")
def asked(run: Path) -> dict[str, str]:
    """Id to text of the questions of the test."""
    found = FinishedRun(run)
    return {query_id: found.queries[query_id]["text"] for query_id in found.known}


def grades_of(run: Path) -> list[tuple[str, int | None]]:
    path = run / "grades.jsonl"
    return [(one.doc_id, one.grade) for one in read_grades(path)] if path.exists() else []


def test_every_system_finds_what_the_run_has_measured(http: httpx.Client, run: Path, asked: dict[str, str]) -> None:
    told = http.get("/v1/systems").json()
    names = [system["name"] for system in told["systems"]]
    assert names[:2] == ["base", "bm25"] and set(names[2:]) <= {"adapted", "hybrid"} and told["shipped"] in names
    assert {question["text"] for question in told["questions"]} <= set(asked.values())
    for name in names:
        stored = rankings(read_trec_run(run / f"test/{name}.trec", own=True))
        for query_id, text in list(asked.items())[:6]:
            body = {"query": text, "system": name, "top_k": 5, "explain": True}
            (found,) = http.post("/v1/search", json=body).json()["data"]
            # scores of other batches differ in the last digits
            scores = [score for _, score in stored[query_id]]
            if all(one - other > 1e-3 for one, other in itertools.pairwise(scores[:6])):
                assert [each["doc_id"] for each in found["passages"]] == [doc_id for doc_id, _ in stored[query_id][:5]]
            assert set(found["ranking"][:20]) & {doc_id for doc_id, _ in stored[query_id][:20]}
            assert len(found["ranking"]) == len(set(found["ranking"])) <= 100
    refused = http.post("/v1/search", json={"query": "x", "system": "oracle"})
    assert refused.status_code == httpx.codes.BAD_REQUEST and "there are base, bm25" in refused.text


def test_the_page_may_load_nothing_but_its_own_files(http: httpx.Client) -> None:
    answer = http.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    page = Page(answer.text)
    assert "style" not in page.tags and "://" not in answer.text
    for name in ("denizen.css", "try.css", "try.js"):
        assert f"page/{name}" in answer.text
        assert http.get(f"/page/{name}").status_code == httpx.codes.OK
    for wrong in ("report.html.jinja", "..%2fapi.py"):
        assert http.get(f"/page/{wrong}").status_code == httpx.codes.NOT_FOUND


def test_grades_are_kept_and_come_from_this_page_alone(http: httpx.Client, run: Path, served: Server) -> None:
    doc_id = read_table(run / "corpus/corpus.parquet", "corpus")["doc_id"][0].as_py()
    body = {"query": "what is kept", "doc_id": doc_id, "grade": 3, "system": "base", "rank": 2}
    for headers in (
        {"Origin": "http://pages.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert http.post("/v1/grades", json=body, headers=headers).status_code == httpx.codes.FORBIDDEN, headers
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = http.post("/v1/grades", content=json.dumps(body), headers={"Content-Type": kind})
        assert answer.is_client_error and (doc_id, 3) not in grades_of(run), kind
    wrong = ({"grade": 5}, {"grade": 0}, {"grade": "4"}, {"grade": True}, {"doc_id": "none"}, {"query": " "}, {"x": 1})
    for changed in wrong:
        assert http.post("/v1/grades", json={**body, **changed}).is_client_error, changed
    assert grades_of(run) == []
    first = http.post("/v1/grades", json=body, headers={"Origin": served.url})
    assert first.status_code == httpx.codes.OK and first.json()["graded"] == 1
    # again the same is no new line, another one is, and then it is taken back
    assert http.post("/v1/grades", json=body).json()["graded"] == 1
    assert len((run / "grades.jsonl").read_bytes().splitlines()) == 1
    http.post("/v1/grades", json={**body, "query": "What is  KEPT", "grade": 4})
    assert grades_of(run) == [(doc_id, 4)]
    assert http.post("/v1/grades", json={**body, "grade": None}).json()["graded"] == 0
    assert grades_of(run) == []
    (run / "grades.jsonl").unlink()


def test_with_keys_the_page_asks_for_one(keyed: Server, run: Path) -> None:
    with keyed.client() as nobody:
        assert nobody.get("/").status_code == nobody.get("/page/try.js").status_code == httpx.codes.OK
        assert nobody.get("/v1/systems?model=mine").status_code == httpx.codes.UNAUTHORIZED
        assert nobody.post("/v1/grades", json={}).status_code == httpx.codes.UNAUTHORIZED
    body = {"query": "x", "model": "mine"}
    with keyed.client(KEY) as me:
        doc_id = me.post("/v1/search", json=body).json()["data"][0]["passages"][0]["doc_id"]
        assert me.post("/v1/grades", json={**body, "doc_id": doc_id, "grade": 1}).is_success
    (line,) = (run / "grades.jsonl").read_text().splitlines()
    assert json.loads(line)["by"] == "me"
    (run / "grades.jsonl").unlink()


def test_what_is_no_run_is_searched_and_not_graded(keyed: Server) -> None:
    with keyed.client(KEY) as client:
        told = client.get("/v1/systems?model=it").json()
        assert told["systems"] == [] and told["graded"] is None
        assert client.post("/v1/search", json={"query": "x", "model": "it"}).json()["data"][0]["passages"]
        answer = client.post("/v1/grades", json={"query": "x", "doc_id": "d1", "grade": 1, "model": "it"})
        assert answer.status_code == httpx.codes.BAD_REQUEST and "is no run of adapt" in answer.text


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser without a window."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'denizen[test]'")
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
    )
    if not path:
        pytest.skip("no Chromium is installed")
    with sync.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that has nothing to complain of at its end."""
    found = browser.new_page(viewport={"width": 1280, "height": 900})
    wrong: list[str] = []
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    found.set_default_timeout(60_000)
    yield found
    found.close()
    assert wrong == []


def wait_for_all(page: Any) -> None:
    # a function would be evaluated by the page, which its policy forbids
    page.wait_for_selector("#found:has(.column):not(:has([aria-busy=true]))")


def test_a_question_is_asked_and_graded_by_keys_alone(
    page: Any, served: Server, run: Path, asked: dict[str, str]
) -> None:
    text = next(iter(asked.values()))
    page.goto(served.url)
    page.wait_for_selector("#tries button")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    wait_for_all(page)
    columns = page.locator(".column").count()
    assert columns >= 3 and page.locator("#answer").is_visible()
    # one down in the first column, and then to the second
    page.keyboard.press("j")
    assert page.locator(".card.chosen").get_attribute("aria-label").startswith("Rank 2 by base")
    page.keyboard.press("l")
    card = page.locator(".card.chosen")
    assert card.count() == 1 and page.evaluate("document.activeElement.classList.contains('chosen')")
    label = card.get_attribute("aria-label")
    rank = int(label.split()[1])
    assert label.startswith(f"Rank {rank} by BM25") and rank <= 2
    doc_id = card.get_attribute("data-doc")
    page.keyboard.press("4")
    page.wait_for_selector(".card.chosen [aria-pressed=true]")
    assert page.locator("#said").inner_text() == "Graded 4: answers."
    assert grades_of(run) == [(doc_id, 4)]
    (line,) = [json.loads(row) for row in (run / "grades.jsonl").read_text().splitlines()]
    query_ids = [query_id for query_id, known in asked.items() if known == text]
    assert (line["query"], line["system"], line["rank"]) == (text, "bm25", rank) and line["query_id"] in query_ids
    # it is there again after the page was loaded anew, and is taken back by 0
    page.reload()
    wait_for_all(page)
    page.wait_for_selector(f".card[data-doc='{doc_id}'] [aria-pressed=true]")
    page.keyboard.press("j")
    page.keyboard.press("l")
    page.keyboard.press("0")
    page.wait_for_selector("#found:not(:has(.grades [aria-pressed=true]))")
    assert grades_of(run) == []
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_a_key_is_asked_for_and_kept_for_the_tab(browser: Any, keyed: Server) -> None:
    page = browser.new_page()
    page.goto(keyed.url)
    page.fill("#key", KEY)
    page.click("#unlock button")
    page.wait_for_selector("#tries button")
    assert not page.locator("#unlock").is_visible()
    page.close()


@pytest.mark.parametrize("wide", [390, 1280])
def test_nothing_runs_out_of_the_window_and_everything_has_a_name(browser: Any, served: Server, wide: int) -> None:
    page = browser.new_page(viewport={"width": wide, "height": 844})
    page.goto(served.url)
    page.click("#tries button")
    wait_for_all(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    unnamed = """[...document.querySelectorAll('button, input, select, section, .card')]
      .filter((each) => !(each.getAttribute('aria-label') || each.labels?.length || each.textContent.trim()))
      .map((each) => each.outerHTML.slice(0, 80))"""
    assert page.evaluate(unnamed) == []
    page.close()


def test_one_file_needs_no_server(page: Any, run: Path, asked: dict[str, str], tmp_path: Path) -> None:
    """Its policy forbids to load anything, and a browser would complain of each try."""
    path = write_try_page(FinishedRun(run))
    text = path.read_text(encoding="utf-8")
    Page(text)
    assert str(run) not in text
    page.goto(path.as_uri())
    page.click("#tries button")
    wait_for_all(page)
    stored = rankings(read_trec_run(run / "test/base.trec", own=True))
    query = page.input_value("#question")
    query_id = next(name for name, known in asked.items() if known == query)
    shown = (
        page.locator(".column").first.locator(".card").evaluate_all("cards => cards.map((card) => card.dataset.doc)")
    )
    assert shown == [doc_id for doc_id, _ in stored[query_id][:5]]
    page.keyboard.press("2")
    page.wait_for_selector("#download:not([hidden])")
    with page.expect_download() as coming:
        page.click("#download")
    coming.value.save_as(tmp_path / "grades.jsonl")
    (one,) = read_grades(tmp_path / "grades.jsonl")
    assert (one.query, one.doc_id, one.grade, one.query_id) == (query, shown[0], 2, query_id)
    page.fill("#question", "a question of my own")
    page.keyboard.press("Enter")
    wait_for_all(page)
    assert "denizen serve RUN" in page.locator(".message").first.inner_text()


def test_texts_cannot_break_out_of_the_file(run: Path, tmp_path: Path) -> None:
    nasty = tmp_path / "nasty"
    shutil.copytree(run, nasty)
    from denizen.data.tables import with_column, write_table

    path = nasty / "corpus/queries.parquet"
    rows = read_table(path, "queries")
    write_table(path, with_column(rows, "text", ["</script><img src=x onerror=alert(1)><!-- <script>"] * len(rows)))
    text = write_try_page(FinishedRun(nasty)).read_text(encoding="utf-8")
    assert Page(text) and "img" not in Page(text).tags


def test_grades_of_the_page_are_labels_of_the_next_run(
    http: httpx.Client, run: Path, pairs: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    corpus = read_table(run / "corpus/corpus.parquet", "corpus").to_pylist()
    answers = {f"who asks about number {at}": corpus[at]["doc_id"] for at in range(12)}
    for query, doc_id in answers.items():
        assert http.post("/v1/grades", json={"query": query, "doc_id": doc_id, "grade": 4}).is_success
    config = {**SETTINGS, "rounds": 1, "epochs": 0.2, "windows": "whole", "grades": str(run / "grades.jsonl")}
    report = adapt(AdaptConfig(str(pairs), model=str(tiny_encoder), **config), tmp_path / "next")
    queries = dict(each(read_table(tmp_path / "next/corpus/queries.parquet", "queries"), "text", "query_id"))
    qrels = {
        (query_id, doc_id): relevance
        for query_id, doc_id, relevance in each(
            read_table(tmp_path / "next/corpus/qrels.parquet", "qrels"), "query_id", "doc_id", "relevance"
        )
    }
    assert {folded(query) for query in answers} <= {folded(text) for text in queries}
    assert all(qrels[queries[query], doc_id] == 1 for query, doc_id in answers.items())
    examples = read_table(tmp_path / "next/round-0/examples/examples.parquet", "examples").to_pylist()
    learnt = {(example["query_id"], example["positive_id"]) for example in examples}
    assert learnt & {(queries[query], doc_id) for query, doc_id in answers.items()}
    assert report["config"]["grades"] and str(run) not in (tmp_path / "next/model/README.md").read_text()
    (run / "grades.jsonl").unlink()
