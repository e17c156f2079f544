"""Readers that hang, crash, take all memory and reach outside: each costs its own file, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from denizen.engine.errors import DenizenError
from denizen.ingest import document, parts
from denizen.ingest import sandbox as sandbox_module
from denizen.ingest.document import Document, Limits
from denizen.ingest.sandbox import Request, Result, Sandbox

LIMITS = Limits(seconds=60, memory_mb=300, characters=100_000, unpacked_mb=10)
READERS = '''
    """What no reader does, unless a document makes it."""
    import os, signal, socket, subprocess, sys, time
    from pathlib import Path
    from denizen.ingest.document import Block, Document

    def said(text):
        return Document([Block("text", str(text))])

    def fine(path, limits):
        yield said(path.read_text())

    def sleep(path, limits):
        yield said("before")
        time.sleep(600)

    def nap(path, limits):
        time.sleep(0.7)
        yield said("rested")

    def stubborn(path, limits):
        yield said("before")
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass

    def hog(path, limits):
        yield said("before")
        kept = []
        while True:
            kept.append(bytearray(1 << 24))

    def leave(path, limits):
        yield said("before")
        os._exit(9)

    def crash(path, limits):
        yield said("before")
        os.kill(os.getpid(), signal.SIGSEGV)

    def abort(path, limits):
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'")
        os.abort()
        yield

    def stop(path, limits):
        sys.exit("enough")
        yield

    def spill(path, limits):
        raise ValueError("no such thing as someone@example.org")
        yield

    def spill_and_stop(path, limits):
        sys.exit("enough of someone@example.org")
        yield

    def connect(path, limits):
        yield said(socket.create_connection(("127.0.0.1", 9)))

    def resolve(path, limits):
        yield said(socket.getaddrinfo("denizen.invalid", 80))

    def spawn(path, limits):
        yield said(subprocess.run(["true"]))

    def fork(path, limits):
        yield said(os.fork())

    def shell(path, limits):
        yield said(os.system("true"))

    def write(path, limits):
        yield said(Path(path.parent / "written").write_text("x"))

    def remove(path, limits):
        yield said(path.unlink())

    def rename(path, limits):
        yield said(path.rename(path.parent / "moved"))

    def inside(path, limits):
        Path("folder").mkdir()
        Path("folder/file").write_text("x")
        import tempfile
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
        yield said(sorted(found.name for found in Path.cwd().iterdir()))

    def noise(path, limits):
        print('{"done": true, "documents": 99}')
        os.write(1, b"noise\\n")
        yield said(repr(sys.stdin.read()))

    def environment(path, limits):
        yield said(sorted(os.environ))

    def half(path, limits):
        yield Document([Block("text", "half a pair: \\ud800")], title="\\udfff")

    def huge(path, limits):
        import resource
        yield said(resource.getrlimit(resource.RLIMIT_CORE))
        with open("large", "wb") as file:
            for _ in range(1 << 20):
                file.write(bytes(1 << 20))
'''
KINDS = [line.split("(")[0].split()[1] for line in READERS.splitlines() if line.strip().startswith("def ")][1:]
REFUSED = ["connect", "resolve", "spawn", "fork", "shell", "write", "remove", "rename"]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Runs the worker with kinds of our own."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "made_up_readers.py").write_text(textwrap.dedent(READERS), encoding="utf-8")
    code = f"""
        import sys
        sys.path.insert(0, {str(folder)!r})
        from denizen.ingest import kinds, worker
        import made_up_readers
        for kind in {KINDS!r}:
            kinds.READERS[kind] = f"made_up_readers:{{kind}}"
            kinds.SUFFIXES[f".{{kind}}"] = kind
        worker.main()
    """
    return [sys.executable, "-P", "-c", textwrap.dedent(code)]


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert _processes(str(tmp_path)) == []
    scratch = tmp_path / "scratch"
    assert not scratch.exists() or list(scratch.iterdir()) == []


@pytest.fixture
def requests(tmp_path: Path) -> Callable[..., list[Request]]:
    files = tmp_path / "files"
    files.mkdir()
    (tmp_path / "out").mkdir()

    def made(*names: str) -> list[Request]:
        found = []
        for number, kind in enumerate(names):
            path = files / f"{number}.{kind}"
            path.write_text(f"words of {number}", encoding="utf-8")
            found.append(Request(path, f"{number}.{kind}", f"{number}-{kind}", tmp_path / "out" / f"{number}.jsonl"))
        return found

    return made


def _processes(mark: str) -> list[int]:
    """The processes that have a mark in their command line, this one left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.request.out.read_text(encoding="utf-8").splitlines()]


def _texts(result: Result) -> list[str]:
    """The texts of a result's documents, and "!" and the error of its failures."""
    found = []
    for row in _rows(result):
        if "document" in row:
            found.append("".join(block.text for block in Document.from_dict(row["document"]).blocks))
        else:
            found.append("!" + row["failure"]["error"])
    return found


def test_each_file_that_kills_its_process_costs_only_itself(
    tmp_path: Path, command: list[str], requests: Callable[..., list[Request]]
) -> None:
    wanted = requests("fine", "hog", "leave", "crash", "abort", "stop", "fine", "huge", "half")
    with Sandbox(2, LIMITS, {}, tmp_path / "scratch", command) as sandbox:
        results = {result.request.key: result for result in sandbox.read_all(wanted)}
    assert sorted(results) == sorted(request.key for request in wanted)
    assert {key: result.failure for key, result in results.items()} == {
        "0-fine": None,
        "1-hog": None,
        "2-leave": "its reader ended without an answer (exit status 9)",
        "3-crash": "its reader crashed (signal 11)",
        "4-abort": "needed more than 300 MB (--memory-mb)",
        "5-stop": "SystemExit: enough",
        "6-fine": None,
        "7-huge": None,
        "8-half": None,
    }
    assert _texts(results["0-fine"]) == ["words of 0"]
    assert _texts(results["1-hog"]) == ["before", "!needed more than 300 MB (--memory-mb)"]
    assert _texts(results["2-leave"]) == _texts(results["3-crash"]) == ["before"]
    assert _texts(results["4-abort"]) == []
    assert _texts(results["7-huge"])[0] == "(0, 0)" and _texts(results["7-huge"])[1] == "!OSError: File too large"
    assert {key for key, result in results.items() if result.limited} == {"1-hog", "7-huge"}
    assert _texts(results["8-half"]) == ["half a pair: ?"]
    fine, crashed = results["6-fine"], results["3-crash"]
    assert (fine.kind, fine.documents, fine.failures, fine.characters) == ("fine", 1, 0, 10)
    assert (crashed.documents, crashed.failures, crashed.characters) == (1, 0, 6)


def test_time_is_up_by_the_alarm_within_and_by_the_parent_outside(
    tmp_path: Path, command: list[str], requests: Callable[..., list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_module, "_GRACE_SECONDS", 0.5)
    # only here; the processes have the full total
    monkeypatch.setattr(document, "_WHOLE", 2)
    limits = dataclasses.replace(LIMITS, seconds=0.5)
    with Sandbox(2, limits, {}, tmp_path / "scratch", command) as sandbox:
        results = {result.request.key: result for result in sandbox.read_all(requests("sleep", "stubborn"))}
    assert results["0-sleep"].failure == "took longer than 0.5 s (--timeout)"
    assert results["1-stubborn"].failure == "took longer than 1 s with all files inside (2 times --timeout)"
    for key in ("0-sleep", "1-stubborn"):
        assert _texts(results[key]) == ["before"] and results[key].documents == 1
    # the one has answered itself, the other was killed
    assert (results["0-sleep"].kind, results["1-stubborn"].kind) == ("sleep", "")


@pytest.mark.parametrize("whole", [20, 1])
def test_each_file_inside_has_its_own_time_within_the_total(tmp_path: Path, command: list[str], whole: int) -> None:
    """Three members take 2.1 s, one of them 0.7 s; the limit is 1.6 s, and the total 20 times that or no more."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in "abc":
            archive.writestr(f"{name}.nap", "x")
    code = f"from denizen.ingest import document; document._WHOLE = {whole}\n{command[-1]}"
    limits = dataclasses.replace(LIMITS, seconds=1.6)
    with Sandbox(1, limits, {}, tmp_path / "scratch", [*command[:-1], code]) as sandbox:
        [result] = sandbox.read_all([Request(path, path.name, "", tmp_path / "rows")])
    if whole == 20:
        assert (result.failure, result.documents) == (None, 3)
    else:
        assert result.failure == "took longer than 1.6 s with all files inside (1 times --timeout)"
        assert result.documents < 3


def test_a_reader_reaches_nothing_outside(
    tmp_path: Path, command: list[str], requests: Callable[..., list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused is refused as an error of that file; the same process reads the next one."""
    monkeypatch.setenv("HF_TOKEN", "made-up")
    monkeypatch.setenv("OPENAI_API_KEY", "made-up")
    wanted = requests(*REFUSED, "inside", "inside", "noise", "environment")
    with Sandbox(1, LIMITS, {}, tmp_path / "scratch", command) as sandbox:
        results = {result.request.key.partition("-")[2]: _texts(result) for result in sandbox.read_all(wanted)}
        assert sandbox._started == 1
    for kind in REFUSED:
        assert len(results[kind]) == 1 and results[kind][0].startswith("!PermissionError: "), kind
        assert results[kind][0].endswith("refused to readers of documents")
    assert all(request.path.exists() for request in wanted)
    assert not (tmp_path / "files" / "written").exists()
    # the second time as the first: what a file leaves is gone before the next one
    assert results["inside"] == ["['folder']"]
    assert results["noise"] == ["''"]
    names = set(json.loads(results["environment"][0].replace("'", '"')))
    assert not {"HF_TOKEN", "OPENAI_API_KEY"} & names and {"HF_HUB_OFFLINE", "PATH"} <= names


def test_what_was_read_before_is_replaced(
    tmp_path: Path, command: list[str], requests: Callable[..., list[Request]]
) -> None:
    wanted = requests("leave", "fine")
    for request in wanted:
        request.out.write_text('{"inner": "", "document": {"blocks": []}}\n' * 5, encoding="utf-8")
    with Sandbox(1, LIMITS, {}, tmp_path / "scratch", command) as sandbox:
        results = {result.request.key: result for result in sandbox.read_all(wanted)}
    assert _texts(results["0-leave"]) == ["before"] and _texts(results["1-fine"]) == ["words of 1"]


def test_a_process_that_dies_before_it_writes_leaves_no_rows_of_before(
    tmp_path: Path, requests: Callable[..., list[Request]]
) -> None:
    [request] = requests("fine")
    request.out.write_text('{"inner": "", "document": {"blocks": []}}\n', encoding="utf-8")
    dying = [sys.executable, "-c", "input(); print('{\"ready\": true}', flush=True); input(); raise SystemExit(3)"]
    with Sandbox(1, LIMITS, {}, tmp_path / "scratch", dying) as sandbox:
        [result] = sandbox.read_all([request])
    assert (result.failure, result.documents) == ("its reader ended without an answer (exit status 3)", 0)
    assert _rows(result) == []


def test_rows_are_cut_after_the_last_whole_one(tmp_path: Path) -> None:
    out = tmp_path / "rows"
    document = {"inner": "", "document": Document([]).as_dict()}
    failure = {"inner": "", "failure": {"name": "", "error": "x", "raw": ""}}
    whole = f"{json.dumps(document)}\n{json.dumps(failure)}\n"
    for rest in ('{"inner": "", "docu', '{"inner": ""}', "not JSON\n{}\n", '{"document": {"blocks": [1]}}\n'):
        out.write_text(whole + rest, encoding="utf-8")
        result = sandbox_module._partial(Request(out, "x", "x", out), "stopped")
        assert (out.read_text(encoding="utf-8"), result.documents, result.failures) == (whole, 1, 1)


def test_a_row_that_is_too_long_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_LONGEST_ROW", 100)
    out = tmp_path / "rows"
    short = json.dumps({"inner": "", "failure": {"name": "", "error": "x", "raw": ""}}) + "\n"
    out.write_text(f"{short}{short.replace('x', 'x' * 100)}{short}", encoding="utf-8")
    assert sandbox_module._partial(Request(out, "x", "x", out), "stopped").failures == 1
    assert out.read_text(encoding="utf-8") == short


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ('"x" * 3_000_000, end=""', "its reader crashed"),
        ("'{\"done\": true}'", "its reader ended without an answer (exit status 0)"),
        ("'[' * 100_000", "its reader ended without an answer (exit status 0)"),
    ],
)
def test_a_reader_that_was_taken_over_may_answer_anything(
    tmp_path: Path, requests: Callable[..., list[Request]], answer: str, failure: str
) -> None:
    code = f"input(); print('{{\"ready\": true}}', flush=True); input(); print({answer}, flush=True)"
    with Sandbox(1, LIMITS, {}, tmp_path / "scratch", [sys.executable, "-c", code]) as sandbox:
        [result] = sandbox.read_all(requests("fine"))
    assert result.failure == failure


def test_errors_name_nobody(tmp_path: Path, command: list[str], requests: Callable[..., list[Request]]) -> None:
    settings = {"cleaning": {"personal_data": True}, "secret": "00" * 16}
    with Sandbox(1, LIMITS, settings, tmp_path / "scratch", command) as sandbox:
        results = {result.request.key: result for result in sandbox.read_all(requests("spill", "spill_and_stop"))}
    [error] = _texts(results["0-spill"])
    assert error.startswith("!ValueError: no such thing as [EMAIL-")
    assert str(results["1-spill_and_stop"].failure).startswith("SystemExit: enough of [EMAIL-")


def test_small_files_need_little_memory(tmp_path: Path) -> None:
    """The least that may be set, and a cleaner that loads a model of languages."""
    paths = [tmp_path / "a.txt", tmp_path / "a.html"]
    for path in paths:
        text = "The harbour is closed today, and all the boats wait for the morning; write to someone@example.org."
        path.write_text(f"<html><body><p>{text}</p></body></html>")
    settings = {"cleaning": {"personal_data": True}, "secret": "00" * 16}
    wanted = [Request(path, path.name, "", tmp_path / f"{path.suffix}.rows") for path in paths]
    # each is the first of its process, and bears what that has not loaded before
    with Sandbox(2, Limits(memory_mb=128), settings, tmp_path / "scratch") as sandbox:
        results = list(sandbox.read_all(wanted))
    assert [(result.failure, result.documents, result.failures) for result in results] == [(None, 1, 0)] * 2


def test_a_process_that_does_not_start_is_an_error_and_no_loop(
    tmp_path: Path, requests: Callable[..., list[Request]]
) -> None:
    broken = [sys.executable, "-c", "raise SystemExit('no such library')"]
    with (
        Sandbox(2, LIMITS, {}, tmp_path / "scratch", broken) as sandbox,
        pytest.raises(DenizenError, match="does not start: no such library"),
    ):
        list(sandbox.read_all(requests("fine", "fine", "fine")))


def test_leaving_early_ends_all_processes(
    tmp_path: Path, command: list[str], requests: Callable[..., list[Request]]
) -> None:
    asked = []

    def endless() -> Iterator[Request]:
        for request in requests("fine", *["stubborn"] * 9):
            asked.append(request)
            yield request

    with Sandbox(2, LIMITS, {}, tmp_path / "scratch", command) as sandbox:
        found = sandbox.read_all(endless())
        assert next(found).request.key == "0-fine"
        assert _processes(str(tmp_path))
        found.close()  # type: ignore[attr-defined]
        assert _processes(str(tmp_path)) == []
    assert len(asked) <= 5


def test_an_error_of_the_caller_ends_all_processes(
    tmp_path: Path, command: list[str], requests: Callable[..., list[Request]]
) -> None:
    kept = []

    def interrupted() -> None:
        with Sandbox(2, LIMITS, {}, tmp_path / "scratch", command) as sandbox:
            # kept, so that it is not closed on its own
            kept.append(sandbox.read_all(requests("fine", "stubborn")))
            next(kept[0])
            assert _processes(str(tmp_path))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert _processes(str(tmp_path)) == []


def test_a_process_ends_with_its_parent(
    tmp_path: Path, command: list[str], requests: Callable[..., list[Request]]
) -> None:
    """The parent is killed while its process reads a file that does not end."""
    [request] = requests("stubborn")
    code = textwrap.dedent(f"""
        from pathlib import Path
        from denizen.ingest.document import Limits
        from denizen.ingest.sandbox import Request, Sandbox
        request = Request(Path({str(request.path)!r}), "0.stubborn", "", Path({str(request.out)!r}))
        with Sandbox(1, Limits(), {{}}, Path({str(tmp_path / "killed")!r}), {command!r}) as sandbox:
            list(sandbox.read_all([request]))
    """)
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        _wait(lambda: request.out.exists() and request.out.stat().st_size > 0)
        assert len(_processes(str(tmp_path))) == 2
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _wait(lambda: _processes(str(tmp_path)) == [])


def test_the_worker_as_it_is_run(tmp_path: Path, requests: Callable[..., list[Request]]) -> None:
    """With its own command and cleaning: an address is replaced in a text, and in a bad row."""
    found = tmp_path / "files" / "rows.jsonl"
    found.write_text('{"text": "Please write to someone@example.org about it."}\n["someone@example.org"]\n')
    request = Request(found, "rows.jsonl", "", tmp_path / "out" / "rows")
    settings = {"cleaning": {"personal_data": True}, "secret": "00" * 16}
    with Sandbox(1, LIMITS, settings, tmp_path / "scratch") as sandbox:
        [result] = sandbox.read_all([request])
    assert (result.failure, result.kind, result.documents, result.failures) == (None, "jsonl", 1, 1)
    assert "about it" in _texts(result)[0]
    assert "someone@example.org" not in request.out.read_text(encoding="utf-8")


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
