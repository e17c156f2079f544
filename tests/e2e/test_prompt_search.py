"""An instruction is searched for a tiny decoder-only LLM: what is written, killed and gone on, and wrong input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from denizen.api import adapt
from denizen.recipes.config import AdaptConfig
from denizen.recipes.prompt_search import prompt_search
from denizen.retrievers.loading import load_encoder, locate
from tests.llm_server import ScriptedServer
from tests.tiny_models import tiny_llm

from .conftest import SETTINGS, Command

GEPA = "the search is by gepa: pip install 'denizen[prompt-search]'"
SEARCH = {"evaluations": 200, "dev_share": 0.35, "prices": "0/0", "backend": "torch", "precision": "fp32"}


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # its tokens are bytes
    return tiny_llm(tmp_path_factory.mktemp("llm"), "qwen3", tokens=512)


class Writer:
    """Writes another sentence in each call; kills a process before it answers one of them."""

    def __init__(self) -> None:
        self.calls = 0
        self.kill_at = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, body: dict[str, Any]) -> str:
        self.calls += 1
        if self.process and self.calls == self.kill_at:
            os.kill(self.process.pid, signal.SIGKILL)
        sentence = f"{'Find the reply to this. ' * (self.calls % 4)}Way {self.calls * 7919}."
        return json.dumps({"kind": "replies", "sentence": sentence})


def arguments(llm: Path, pairs: Path, out: Path, endpoint: str) -> list[str]:
    given = {**SEARCH, "endpoint": endpoint, "out": out, "llm": "tiny"}
    options = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return ["prompt-search", str(llm), str(pairs), *options]


def test_the_model_is_written_with_what_was_taken_and_a_killed_search_is_the_same(
    llm: Path, pairs: Path, tmp_path: Path, command: Command
) -> None:
    pytest.importorskip("gepa", reason=GEPA)
    writer = Writer()
    with ScriptedServer(writer) as server:
        ended = command(*arguments(llm, pairs, tmp_path / "whole", server.url))
        assert ended.code == 0, ended.err
        whole_calls = writer.calls
        # killed between a call and its reply, which never comes and is asked for again
        writer.calls, writer.kill_at = 0, 4
        child = [sys.executable, "-m", "denizen", *arguments(llm, pairs, tmp_path / "killed", server.url)]
        writer.process = subprocess.Popen(child, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert writer.process.wait() == -signal.SIGKILL
        writer.process, writer.calls = None, 3
        last = command(*arguments(llm, pairs, tmp_path / "killed", server.url))
        assert last.code == 0 and writer.calls == whole_calls
        # another search is not mixed with it, nor is there a step that it does not have
        for more, told in (
            (["--evaluations", "90"], "made with something else"),
            (["--redo", "x"], "there is no step"),
        ):
            refused = command(*arguments(llm, pairs, tmp_path / "killed", server.url), *more)
            assert refused.code == 2 and told in refused.err, refused.err
        # what is done is not done again, and a search that is asks what it has asked
        again = command(*arguments(llm, pairs, tmp_path / "killed", server.url), "--redo", "search")
        assert again.code == 0, again.err
        assert command(*arguments(llm, pairs, tmp_path / "killed", server.url)).code == 0
        assert writer.calls == whole_calls
    one, other = (json.loads((tmp_path / name / "prompt-search.json").read_text()) for name in ("whole", "killed"))
    search = one["search"]
    assert other["search"] == search and other["test"] == one["test"]
    for name in ("search/search.json", "model/config_sentence_transformers.json", "model/model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name
    # whole_calls is what the store holds, and what was said before
    assert search["calls"] == whole_calls == one["spending"]["calls"] <= 20
    assert search["evaluations"] <= 200 and len(search["tried"]) == search["sentences"] > 3
    assert search["queries"]["scored_whole"] == min(search["queries"]["seen"], 25)
    assert search["evaluations_of_the_proof"] in (0, 2 * search["queries"]["unseen"])
    shipped = SentenceTransformer(str(tmp_path / "whole/model"), device="cpu")
    own = load_encoder(locate(str(llm))).prompts
    assert shipped.prompts == {**own, "query": f"{search['taken'] or search['own']}\nQuery: "}
    assert ("after" in one["test"]["means"]) == (search["taken"] is not None)
    assert f"model: {tmp_path / 'whole/model'}" in ended.out and search["why"] in ended.out


def test_a_run_with_labels_keeps_its_sides_and_a_budget_can_be_raised(llm: Path, pairs: Path, tmp_path: Path) -> None:
    pytest.importorskip("gepa", reason=GEPA)
    one_round = {**SETTINGS, "rounds": 1, "epochs": 0.2, "max_tokens": 256, "dev_share": 0.35, "generic_prompts": 7}
    adapt(AdaptConfig(str(pairs), model=str(llm), **one_round), tmp_path / "run")
    student = tmp_path / "run/round-0/student"
    # what it was trained with is not what it says
    assert load_encoder(student).prompts == load_encoder(locate(str(llm))).prompts
    writer, how = Writer(), {"prices": "0/0", "evaluations": 100}
    with ScriptedServer(writer) as server:
        given = (str(student), str(tmp_path / "run"), "tiny", tmp_path / "out")
        found = [prompt_search(*given, endpoint=server.url, budget_calls=most, **how) for most in (2, 2, 50)]
    assert [each["search"]["calls"] for each in found[:2]] == [2, 2] and found[0]["search"] == found[1]["search"]
    assert found[0]["search"]["ended"] == "the budget of the LLM"
    assert found[2]["search"]["ended"] == "the evaluations" and writer.calls == found[2]["search"]["calls"] > 2
    # no reply was paid twice, and the first two sentences are the same
    assert [row["sentence"] for row in found[2]["search"]["tried"][:3]] == [
        row["sentence"] for row in found[0]["search"]["tried"]
    ]
    queries = json.loads((tmp_path / "run/corpus/step.json").read_text())["facts"]["queries"]
    parts = found[2]["search"]["queries"]
    assert parts["seen"] + parts["unseen"] == queries["dev"] and found[2]["test"]["queries"] == queries["test"]


def test_wrong_input_is_told_before_anything_is_paid(
    llm: Path, tiny_encoder: Path, pairs: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    refused = command("adapt", pairs, "--model", tiny_encoder, "--out", out, "--generic-prompts", 5)
    assert refused.code == 2 and "puts nothing before a query" in refused.err and "generic_prompts 0" in refused.err
    refused = command("adapt", pairs, "--model", llm, "--out", out, "--generic-prompts", 51)
    assert refused.code == 2 and "generic_prompts is 51; it must be between 0 and 50" in refused.err
    monkeypatch.setattr("denizen.prompting.search.importlib.util.find_spec", lambda name: None)
    refused = command(*arguments(llm, pairs, out, "http://127.0.0.1:9/v1"))
    assert refused.code == 2 and "needs gepa: pip install 'denizen[prompt-search]'" in refused.err
    monkeypatch.setattr("denizen.recipes.prompt_search.check_installed", lambda: None)
    for given, told in (
        (arguments(tiny_encoder, pairs, out, "http://127.0.0.1:9/v1"), "puts nothing before a query"),
        (arguments(llm, tmp_path / "nowhere.csv", out, "http://127.0.0.1:9/v1"), "does not exist"),
        ([*arguments(llm, pairs, out, "http://127.0.0.1:9/v1"), "--evaluations", 10], "evaluations is 10; it must be"),
        ([*arguments(llm, pairs, out, "http://127.0.0.1:9/v1"), "--prices", ""], "price"),
        ([*arguments(llm, pairs, out, "http://127.0.0.1:9/v1"), "--dev-share", 0.05], "dev queries of"),
    ):
        refused = command(*given)
        assert refused.code == 2 and told in refused.err, refused.err
    assert not out.exists() or not (out / "prompt-search.json").exists()
