"""A small set of linked pairs, and one finished run on it that several tests look at."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from denizen import cli
from denizen.engine.progress import Silent
from denizen.recipes.config import AdaptConfig, Config
from tests.conftest import WORDS

SETTINGS: dict[str, Any] = {"rounds": 2, "epochs": 2.0, "batch_size": 8, "easy_negative_ranks": "16-20"}
SETTINGS |= {"hard_positive_ranks": "6-20", "precision": "fp32", "learning_rate": 1e-3, "baselines": False}
# five times the rounds more: test_cross_fitting does that once
SETTINGS |= {"cross_fitting": False}
# compiling a model for a faster backend takes longer than all that is embedded here
SETTINGS |= {"backend": "torch"}


# when a record was written, how long its step took, and whether it went on: all else in it is what was made
OWN = ("seconds", "resumed", "stats", "redo")


class Ended(NamedTuple):
    """What a command has left: its exit code, and what it has printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `denizen` with some arguments, here."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["denizen", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return Ended(int(stop.value.code or 0), *capsys.readouterr())

    return run


class Heard(Silent):
    """A progress that remembers which steps worked and which were done before, in order."""

    def __init__(self) -> None:
        self.worked: list[str] = []
        self.found: list[str] = []
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def skipped(self, step: str) -> None:
        self.found.append(step)

    @contextlib.contextmanager
    def working(self, step: str) -> Iterator[None]:
        self.worked.append(step)
        yield


class Killer:
    """A process of killer.py, where runs are killed with SIGKILL at chosen points; it is started when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors = folder / "errors.txt"
        self.server: subprocess.Popen[str] | None = None

    def run(
        self,
        config: Config,
        out: Path,
        *points: str,
        redo: str | None = None,
        finish: bool = True,
        plan: bool = False,
    ) -> list[list[str]]:
        """Runs `adapt` or `experts`, killed at each point in turn, and once more to the end where `finish` is set.

        Returns:
            What training resumed from and each of its steps, as killer.py describes it.
        """
        log = self.folder / f"{out.name}.log"
        log.write_text("")
        job = {"settings": config.as_dict(), "out": str(out), "redo": redo, "points": points}
        job |= {"log": str(log), "finish": finish, "plan": plan}
        server = self.server = self.server or self._started()
        assert server.stdin and server.stdout
        try:
            server.stdin.write(json.dumps(job) + "\n")
            server.stdin.flush()
            wrong = json.loads(server.stdout.readline() or '"the server has ended"')
        except BaseException:
            # out of time: what is still done for this test must not answer the next one
            self.end()
            raise
        assert wrong is None, f"{wrong}\n{self.errors.read_text()[-3000:]}"
        return [json.loads(line) for line in log.read_text().splitlines()]

    def end(self) -> None:
        """Ends the server and what it has begun."""
        if self.server:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()
        self.server = None

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.e2e.killer"]
        with self.errors.open("a") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            root = Path(__file__).parents[2]
            return subprocess.Popen(command, **pipes, text=True, cwd=root, start_new_session=True)


@pytest.fixture(scope="session")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    """One server for all tests: its imports take seconds."""
    found = Killer(tmp_path_factory.mktemp("killer"))
    yield found
    found.end()


def flags(settings: dict[str, Any]) -> list[str]:
    """Settings as the command line has them."""
    found = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            found += [f"--{flag}", str(value)]
    return found


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 questions with answers; each pair shares made-up words that no other pair has."""
    random.seed(7)
    syllables = [first + vowel + last for first in "bdfgklmnprst" for vowel in "aeiou" for last in "nrslt"]
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for _ in range(120):
            topic = ["".join(random.sample(syllables, 2)) for _ in range(3)]
            filler = random.sample(syllables, 12)
            answer = " ".join(random.sample(topic + filler, 15)).capitalize() + "."
            file.write(json.dumps({"question": f"What is {' '.join(topic)}?", "answer": answer}) + "\n")
    return path


@pytest.fixture(scope="session")
def finished(pairs: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the report of a finished run."""
    from denizen.api import adapt

    out = tmp_path_factory.mktemp("runs") / "finished"
    config = AdaptConfig(str(pairs), model=str(tiny_encoder), **SETTINGS)
    return out, adapt(config, out)


@pytest.fixture(scope="session")
def short(pairs: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AdaptConfig]:
    """The folder and the settings of a finished run with two rounds of two or three steps, to be copied and changed."""
    from denizen.api import adapt

    out = tmp_path_factory.mktemp("runs") / "short"
    config = AdaptConfig(str(pairs), model=str(tiny_encoder), **{**SETTINGS, "epochs": 0.2})
    adapt(config, out)
    return out, config


@pytest.fixture(scope="session")
def forgettable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A general set of the words that the tiny encoder knows whole, which training on syllables spoils."""
    random.seed(7)
    folder = tmp_path_factory.mktemp("sets") / "forgettable"
    passages = [random.sample(WORDS, 5) for _ in range(200)]
    queries = [" ".join(sorted(words[:4])) for words in passages]
    write_beir(folder, 200, [" ".join(words) for words in passages], queries)
    return folder


@pytest.fixture(scope="session")
def gated(
    pairs: Path, tiny_encoder: Path, forgettable: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The folder and the report of a finished run whose student forgets too much, with two seeds and all baselines."""
    pytest.importorskip("mergekit", reason="merging is an extra")
    from denizen.api import adapt

    out = tmp_path_factory.mktemp("runs") / "gated"
    return out, adapt(gated_config(pairs, tiny_encoder, forgettable), out)


def gated_config(pairs: Path, tiny_encoder: Path, forgettable: Path, **changed: Any) -> AdaptConfig:
    """The settings of the run `gated`."""
    settings = {**SETTINGS, "learning_rate": 3e-3, "near_base": 0.0, "merge_evaluations": 6, "seeds": 2}
    settings |= {"baselines": True, "forgetting_limit": 0.1, **changed}
    return AdaptConfig(str(pairs), model=str(tiny_encoder), general=(str(forgettable),), **settings)


def write_beir(folder: Path, count: int, passages: list[str] | None = None, queries: list[str] | None = None) -> Path:
    """A BEIR folder of passages that each answer one question, by default about a number."""
    (folder / "qrels").mkdir(parents=True)
    passages = passages or [f"passage about topic {at}0" for at in range(count)]
    queries = queries or [f"topic {at}0" for at in range(count)]
    rows = [{"_id": f"d{at}", "title": "", "text": passages[at]} for at in range(count)]
    asked = [{"_id": f"q{at}", "text": queries[at]} for at in range(count)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    links = "".join(f"q{at}\td{at}\t1\n" for at in range(count))
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + links)
    return folder


def assert_same(whole: Path, other: Path) -> None:
    """All that two runs have written is the same but what tells when and where; neither has left anything behind."""
    names = [_names(run) for run in (whole, other)]
    assert names[0] == names[1]
    for name in names[0]:
        texts = [(run / name).read_bytes() for run in (whole, other)]
        if name.name in ("step.json", "metrics.json"):
            found = [json.loads(text) for text in texts]
            for each in found:
                for key in (*OWN, "model"):
                    each.pop(key, None)
                for router in (each.get("facts"), (each.get("experts") or {}).get("router")):
                    # how long a decision took
                    (router or {}).pop("milliseconds", None)
            assert found[0] == found[1], name
        elif name.name != "report.html":
            assert texts[0] == texts[1], name
    assert not [path for path in other.rglob("*") if path.name.endswith((".partial", ".scratch"))]


def _names(run: Path) -> list[Path]:
    """All files, without the backends that were chosen: a run that goes on asks for the one it began with."""
    found = sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())
    return [name for name in found if name.parts[0] != "embeddings" or name.suffix != ".json"]


def resumptions(log: Sequence[list[str]], place: str) -> int:
    """How often the training of a step went on from a checkpoint."""
    return sum(what == "resumed" and at == place and bool(rest[0]) for what, at, *rest in log)
