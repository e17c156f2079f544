"""A GGUF file that is really served: llama.cpp on a tiny model with random weights."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from denizen.engine.errors import InputError
from denizen.llm import local
from denizen.llm.answer import Answer, Prompt
from denizen.llm.budget import Budget, Prices
from denizen.llm.client import LLM
from denizen.llm.local import LocalEndpoint
from denizen.llm.replies import Replies
from denizen.supervision.asking import Asking, named
from tests.tiny_gguf import tiny_gguf

pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra local-llm")
pytest.importorskip("gguf", reason="the tiny model is written by gguf")

SOURCE = Path(local.__file__).parents[2]
ASKS = """
import os, sys
from pathlib import Path
from denizen.llm import local
from denizen.llm.answer import Prompt
from denizen.supervision.asking import Asking
from denizen.supervision.judging import Grade
llm = Asking().client(sys.argv[1], Path(sys.argv[2]))
llm.ask([Prompt((("user", "which grade?"),), Grade, 64)], "test")
print(llm.replies.spent().calls, *[server.process.pid for server in local._servers.values()], flush=True)
sys.stdin.read()
"""


class Choice(BaseModel):
    """What nonsense does not keep to by itself."""

    colour: Literal["red", "green"]
    grades: list[Literal[1, 2, 3, 4]]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    """Each test starts its own server and leaves none."""
    yield
    local.end_all()


def _llm(file: Path, folder: Path, **more: object) -> LLM:
    replies, budget = Replies(folder / "replies.sqlite", "run"), Budget(prices=Prices(0, 0))
    return LLM(str(file), replies, budget, **more)  # type: ignore[arg-type]


def _prompt(text: str, kind: type[BaseModel] = Choice) -> Prompt:
    return Prompt((("system", "You choose."), ("user", text)), kind, 200, logprobs=True)


def _is_gone(pid: int, seconds: float = 8.0) -> bool:
    return _within(seconds, lambda: not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in _status(pid))


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "\nState:\tZ"


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.05)
    return holds()


def _pids() -> list[int]:
    return [server.process.pid for server in local._servers.values()]


def test_nonsense_is_held_to_the_schema_and_has_probabilities(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a proxy that is not there, and a key that is none of its business
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses-secret-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    llm = _llm(file, tmp_path)
    first, second = llm.ask([_prompt("one"), _prompt("two")], "test")
    assert isinstance(first, Answer) and isinstance(second, Answer)
    assert isinstance(first.value, Choice) and first.logprob is not None and first.logprob < 0
    assert not llm.endpoint.parameters.refused
    # what llama.cpp and we know together, and nobody else
    assert llm.endpoint.hidden("sk-somebody-elses-secret-key") == "sk-somebody-elses-secret-key"
    assert llm.endpoint.hidden(local._servers[llm.model].key) == "***"


def test_what_prompts_begin_with_is_read_once(file: Path, tmp_path: Path) -> None:
    import asyncio

    from denizen.llm.endpoint import Completion

    endpoint = _llm(file, tmp_path).endpoint
    begin = "a long instruction " * 20

    async def ask(text: str) -> int:
        async with endpoint.open() as client:
            sent = {"model": "m", "messages": [{"role": "user", "content": begin + text}], "max_tokens": 1}
            done = await endpoint.call(client, sent)
        assert isinstance(done, Completion) and done.tokens
        assert done.tokens[0] >= len(begin)
        return done.cached

    assert asyncio.run(ask("one")) < 10
    assert asyncio.run(ask("two")) >= len(begin) - 10


def test_nothing_is_started_before_the_first_call_nor_for_what_is_stored(file: Path, tmp_path: Path) -> None:
    llm = _llm(file, tmp_path)
    assert not local._servers
    llm.ask([_prompt("one")], "test")
    assert len(_pids()) == 1
    local.end_all()
    again = _llm(file, tmp_path)
    assert isinstance(again.ask([_prompt("one")], "test")[0], Answer)
    assert not local._servers and again.replies.spent().calls == 1


def test_one_file_has_one_server_by_whatever_path(file: Path, tmp_path: Path) -> None:
    linked = tmp_path / "tiny.gguf"
    linked.symlink_to(file)
    for at, path in enumerate((file, linked, file)):
        _llm(path, tmp_path).ask([_prompt(str(at))], "test")
    assert len(_pids()) == 1
    other = tiny_gguf(tmp_path / "other.gguf", seed=1)
    _llm(other, tmp_path).ask([_prompt("one")], "test")
    assert len(_pids()) == 2


def test_another_file_of_the_same_name_pays_anew(file: Path, tmp_path: Path) -> None:
    one = _llm(file, tmp_path)
    (tmp_path / "other").mkdir()
    two = _llm(tiny_gguf(tmp_path / "other" / file.name, seed=1), tmp_path)
    assert one.key(_prompt("one")) != two.key(_prompt("one"))
    assert one.model.split("@")[0] == two.model.split("@")[0] == file.name


def test_no_more_calls_than_slots(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "threads", lambda: 6)
    assert [_llm(file, tmp_path, concurrency=wanted).concurrency for wanted in (1, 3, 64)] == [1, 3, 3]
    monkeypatch.setattr(local, "threads", lambda: 1)
    assert _llm(file, tmp_path, concurrency=64).concurrency == 1
    monkeypatch.setattr(local, "threads", lambda: 127)
    assert _llm(file, tmp_path, concurrency=64).concurrency == 4


def test_a_core_is_left_to_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, expected in ((1, 1), (2, 1), (8, 7)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: set(range(cores)))
        assert local.threads() == expected


def test_a_file_costs_nothing_unless_it_is_said_to(file: Path, tmp_path: Path) -> None:
    Asking().check(str(file))
    assert named(Asking().client(str(file), tmp_path)) == {
        "name": Asking().called(str(file)),
        "prices": {"input": 0.0, "output": 0.0},
    }
    assert Asking(prices="1/2").client(str(file), tmp_path).budget.prices == Prices(1, 2)
    with pytest.raises(InputError, match="the price of the LLM is not known"):
        # a name at an endpoint
        Asking(endpoint="http://127.0.0.1:9/v1").check(str(file))


def test_a_judge_that_is_a_file_is_served_here_wherever_the_run_s_llm_is(file: Path, tmp_path: Path) -> None:
    away = Asking(prices="5/5", endpoint="http://127.0.0.1:9/v1")
    judge = away.judge("tiny", tmp_path, str(file), "", "")
    assert isinstance(judge.endpoint, LocalEndpoint) and judge.budget.prices == Prices(0, 0)
    at_endpoint = away.judge("tiny", tmp_path, str(file), "http://127.0.0.1:8/v1", "1/1")
    assert (at_endpoint.model, at_endpoint.endpoint.url) == (str(file), "http://127.0.0.1:8/v1")


def test_that_the_run_s_own_file_is_free_says_nothing_of_another_llm(file: Path, tmp_path: Path) -> None:
    for prices in ("", "0/0"):
        with pytest.raises(InputError, match="the price of gpt is not known"):
            Asking(prices=prices).judge(str(file), tmp_path, "gpt", "", "")


def test_a_cut_file_is_named_with_what_llama_cpp_says(file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:200_000])
    told = r"llama.cpp cannot serve .*cut\.gguf: .*not within the file bounds.*\. Give a whole GGUF file"
    with pytest.raises(InputError, match=told):
        _llm(cut, tmp_path).ask([_prompt("one")], "test")
    assert not local._servers


def test_what_is_not_installed_is_named_with_its_extra(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'denizen\[local-llm\]'"):
        Asking().check(str(file))


def test_a_server_that_is_killed_ends_the_asking_and_the_next_starts_anew(file: Path, tmp_path: Path) -> None:
    llm = _llm(file, tmp_path, concurrency=1)
    llm.backoff = 0.01
    llm.ask([_prompt("one")], "test")
    server, news = local._servers[llm.model], []

    def progress(count: int) -> None:
        news.append(count)
        # the first news is of what is stored, the second of an answer
        if len(news) == 2:
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()

    told = r"llama.cpp, which served .*tiny\.gguf, has ended: killed by signal 9.* run the same command again"
    with pytest.raises(InputError, match=told):
        llm.ask([_prompt(text) for text in ("one", "two", "three")], "test", progress)
    assert llm.replies.spent().calls == 2
    assert isinstance(llm.ask([_prompt("three")], "test")[0], Answer)
    assert local._servers[llm.model] is not server


def _asking(file: Path, folder: Path) -> subprocess.Popen[str]:
    """A program that asks one thing and waits for the end of its input."""
    return subprocess.Popen(
        [sys.executable, "-c", ASKS, str(file), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc to see whether a process is there")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_server_ends_with_who_has_started_it_and_nothing_is_paid_again(
    how: signal.Signals | None, file: Path, tmp_path: Path
) -> None:
    asker = _asking(file, tmp_path)
    assert asker.stdin and asker.stdout
    calls, pid = map(int, asker.stdout.readline().split())
    assert calls == 1 and not _is_gone(pid, 0.3)
    if how:
        asker.send_signal(how)
    else:
        asker.stdin.close()
    asker.wait()
    assert _is_gone(pid)
    # one call in all, and no server
    assert _asking(file, tmp_path).communicate()[0] == "1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends when it has loaded")
def test_a_server_that_is_still_loading_ends_with_its_input(tmp_path: Path) -> None:
    """A module of that name stands for loading, in which no Python of the server runs."""
    (tmp_path / "xllamacpp.py").write_text("import signal, time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    server = subprocess.Popen(
        [sys.executable, "-P", str(local._PROGRAM)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert server.stdin and server.stderr
    server.stdin.write("{}\n")
    server.stdin.flush()
    assert server.stderr.readline() == "loading\n"
    server.stdin.close()
    assert server.wait(5) == -signal.SIGIO
