"""From a folder of mixed documents, through a scripted teacher, to a model and its report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from denizen.api import adapt
from denizen.data.tables import read_table
from denizen.recipes.config import AdaptConfig
from tests.document_files import WRITERS, Content, Section
from tests.llm_server import ScriptedServer

from .teacher.conftest import TEACHER

KINDS = [kind for kind in WRITERS if kind not in ("zip", "parquet")]


def documents(pairs: Path, folder: Path) -> dict[str, str]:
    """A document of a kind for each pair, kind after kind; returns the first words of each answer and its topic."""
    known = {}
    for at, line in enumerate(pairs.read_text().splitlines()):
        row = json.loads(line)
        kind = KINDS[at % len(KINDS)]
        target = folder / kind.replace(".", "_") / f"{at:03}.{kind}"
        target.parent.mkdir(parents=True, exist_ok=True)
        text = f"{row['answer']} {'And so on, and so forth. ' * 8}".strip()
        WRITERS[kind](Content(f"Paper number {at}", [Section("What it says", [text])]), target)
        known[row["answer"]] = row["question"].removeprefix("What is ").rstrip("?")
    return known


@pytest.fixture(scope="module")
def run(
    pairs: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], dict[str, str]]:
    root = tmp_path_factory.mktemp("mixed")
    known = documents(pairs, root / "papers")
    (root / "papers/broken.pdf").write_bytes(b"%PDF-1.7\n" + bytes(500))

    def answer(body: dict[str, Any]) -> str:
        system, *_, user = (message["content"] for message in body["messages"])
        passages = re.findall(r"<(passage(?: \d+)?)>\n(.*?)\n</\1>", user, re.DOTALL)
        words = [next((known[text] for text in known if text in passage), "nothing") for _, passage in passages]
        if '"questions"' in system:
            asked = re.findall(r"^- (.*)$", user, re.MULTILINE)
            return json.dumps({"questions": [f"{line} or else {len(line)}" for line in asked]})
        if '"question"' in system:
            return json.dumps({"question": f"what is {words[0]}"})
        query = set(re.findall(r"\w+", user.partition("<passage")[0].lower()))
        return json.dumps({"grade": 4 if len(set(words[0].split()) & query) >= 2 else 1})

    out = root / "run"
    with ScriptedServer(answer) as server:
        config = AdaptConfig(str(root / "papers"), model=str(tiny_encoder), endpoint=server.url, **TEACHER)
        return out, adapt(config, out), known


def test_every_kind_of_document_is_in_the_corpus(run: tuple[Path, dict[str, Any], dict[str, str]]) -> None:
    out, report, known = run
    rows = read_table(out / "corpus/corpus.parquet", "corpus").to_pylist()
    assert {row["domain"] for row in rows} >= {"rows", "10-K", "pdf", "docx", "eml", "html"}
    for answer in known:
        assert any(answer in row["text"] for row in rows), answer
    assert report["data"]["read"]["failures"] == 1


def test_the_model_loads_and_the_report_says_what_was_not_read(
    run: tuple[Path, dict[str, Any], dict[str, str]],
) -> None:
    out, report, _ = run
    assert SentenceTransformer(str(out / "model"), device="cpu").encode("a").shape == (32,)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "What was not read" in page
    assert "papers/broken.pdf" in page
    assert report["queries"] > 0


def test_the_same_command_again_reads_and_asks_nothing(run: tuple[Path, dict[str, Any], dict[str, str]]) -> None:
    out, report, _ = run
    before = (out / "corpus/corpus.parquet").stat().st_mtime_ns
    config = AdaptConfig(**json.loads((out / "config.json").read_text()))
    assert adapt(config, out)["adapted"] == report["adapted"]
    assert (out / "corpus/corpus.parquet").stat().st_mtime_ns == before
