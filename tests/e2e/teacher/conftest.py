"""Documents without labels, a scripted LLM that knows what they are about, and one finished run with it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from denizen.api import adapt
from denizen.recipes.config import AdaptConfig
from tests.e2e.conftest import SETTINGS
from tests.llm_server import ScriptedServer

Answer = Callable[[dict[str, Any]], Any]
TEACHER = {
    **{name: value for name, value in SETTINGS.items() if name != "easy_negative_ranks"},
    "epochs": 1.0,
    "teacher": "llm",
    "llm": "tiny",
    "prices": "1/2",
    "passages": 30,
    "round_trip": 0,
    "persona_queries": 0.2,
    "styles": "question,keyword",
    "graded_top": 2,
}
COUNT = 80
# what makes a passage long enough to be asked about
MORE = "And so on. " * 10


@pytest.fixture(scope="session")
def documents(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The answers of the first pairs as documents without labels."""
    path = tmp_path_factory.mktemp("documents") / "documents.jsonl"
    rows = [json.loads(line) for line in pairs.read_text().splitlines()[:COUNT]]
    texts = [{"id": f"d{at}", "text": f"{row['answer']} {MORE}"} for at, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in texts))
    return path


@pytest.fixture(scope="session")
def known(pairs: Path) -> dict[str, list[str]]:
    """The first words of an answer to the words of its question."""
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    return {row["answer"]: row["question"].removeprefix("What is ").rstrip("?").split() for row in rows}


@pytest.fixture(scope="session")
def answer(known: dict[str, list[str]]) -> Answer:
    """Writes the question that belongs to a passage and grades by whether it shares two of its three words."""

    def reply(body: dict[str, Any]) -> str:
        system, *_, user = (message["content"] for message in body["messages"])
        passages = re.findall(r"<(passage(?: \d+)?)>\n(.*?)\n</\1>", user, re.DOTALL)
        if '"questions"' in system:
            words = re.findall(r"^- (.*)$", user, re.MULTILINE)
            return json.dumps({"questions": [f"{line} or else {len(line)}" for line in words]})
        if '"question"' in system:
            words = known[passages[0][1].split(" And so on.")[0]]
            asked = " ".join(words) if "key words" in user else f"What is {' '.join(words)}?"
            return json.dumps({"question": asked})
        query = re.findall(r"<query>\n(.*?)\n</query", user, re.DOTALL)[0]
        grades = [grade(query, text) for _, text in passages]
        return json.dumps({"grades": grades} if '"grades"' in system else {"grade": grades[0]})

    def grade(query: str, passage: str) -> int:
        # in a decoy it stands among other words
        words = next(words for text, words in known.items() if text in passage)
        shared = len(set(query.rstrip("?").split()) & set(words))
        return {0: 1, 1: 2}.get(shared, 4)

    return reply


@pytest.fixture(scope="session")
def finished_run(documents: Path, tiny_encoder: Path, answer: Answer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one round; its endpoint is gone."""
    out = tmp_path_factory.mktemp("taught") / "run"
    with ScriptedServer(answer) as server:
        adapt(config(documents, tiny_encoder, server.url, rounds=1), out)
    return out


@pytest.fixture
def taught(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def config(documents: Path, model: Path, url: str, **settings: Any) -> AdaptConfig:
    """The settings of a run with the scripted LLM."""
    return AdaptConfig(str(documents), **{**TEACHER, "model": str(model), "endpoint": url, **settings})


def labelled(pairs: Path, folder: Path) -> Path:
    """A BEIR folder of sixty of the answers, with labelled queries for train and, about twenty of them, for test."""
    rows = [json.loads(line) for line in pairs.read_text().splitlines()[:COUNT]]
    (folder / "qrels").mkdir(parents=True)
    lines = [
        json.dumps({"_id": f"d{at}", "title": "", "text": f"{row['answer']} {MORE}"}) for at, row in enumerate(rows)
    ]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = [json.dumps({"_id": f"q{at}", "text": row["question"]}) for at, row in enumerate(rows)]
    (folder / "queries.jsonl").write_text("\n".join(queries))
    for name, part in (("train", range(20, 60)), ("test", range(20))):
        links = "".join(f"q{at}\td{at}\t1\n" for at in part)
        (folder / f"qrels/{name}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{links}")
    return folder


@pytest.fixture(scope="session")
def cross_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random cross-encoder with one output."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("cross-encoder")
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_encoder))
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    made = BertConfig(vocab_size=len(tokenizer), num_labels=1, **sizes)
    BertForSequenceClassification(made).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def cross_encoder_settings(pairs: Path, cross_encoder: Path, folder: Path) -> dict[str, Any]:
    """The settings of a run that a cross-encoder teaches from a log of queries, without any LLM."""
    log = folder / "queries.txt"
    log.write_text("\n".join(json.loads(line)["question"] for line in pairs.read_text().splitlines()) + "\n\n")
    of_llm = {"llm", "prices", "hard_positive_ranks"}
    of_llm |= {"passages", "round_trip", "persona_queries", "styles"}
    shared = {name: value for name, value in TEACHER.items() if name not in of_llm}
    own = {"teacher": "cross-encoder", "cross_encoder": str(cross_encoder), "query_log": str(log)}
    return {**shared, **own, "rounds": 1}


def contents(run: Path) -> dict[str, bytes]:
    """Name to content of what a run has made, without what says how it came about and what that cost."""
    told = {".lock", "config.json", "metrics.json", "report.html", "step.json"}
    files = {path.relative_to(run).as_posix(): path for path in sorted(run.rglob("*")) if path.is_file()}
    left_out = ("replies.sqlite", "embeddings/")
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if path.name not in told and not name.startswith(left_out)
    }
