"""Exit codes, messages and options of the command line; runs themselves are tested end to end."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from denizen import __version__, cli
from denizen.data.tables import table
from denizen.engine.errors import LeakError
from denizen.recipes.config import SETTINGS
from denizen.retrievers.bm25 import BM25
from denizen.retrievers.searchable import write_searchable

PAIRS = '{"question": "what is gout", "answer": "a disease"}\n'


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["denizen", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_every_setting_is_an_option_of_adapt(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, "adapt", "--help") == 0
    shown = capsys.readouterr().out
    for name, each in SETTINGS.items():
        if name != "source":
            flag = each.spec.metadata.get("flag", f"--{name.replace('_', '-')}")
            assert re.search(rf"{flag}\b", shown), name


@pytest.mark.parametrize(
    "command", ["gate", "evaluate", "mteb", "report", "explain", "audit", "pool", "retry", "merge", "demo", "search"]
)
def test_every_command_can_be_quiet_give_json_and_show_where_it_failed(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, command, "--help") == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"{option}\b", shown) for option in ("--quiet", "--json", "--debug"))


def test_settings_that_are_not_given_are_left_to_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def gate(model: str, base: str, **options: object) -> dict[str, object]:
        given.update(options, model=model, base=base)
        return {"met": True, "measure": "nDCG@10", "sets": {}}

    monkeypatch.setattr("denizen.recipes.gate.gate", gate)
    assert run(monkeypatch, "gate", "M", "--base", "B", "--general", "one", "--general", "two", "--quiet") == 0
    assert type(given.pop("progress")).__name__ == "Silent"
    assert given == {"model": "M", "base": "B", "general": ["one", "two"], "seed": None, "out": None, "store": ""}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adapt", "nowhere.jsonl", "--out", "run"], "'nowhere.jsonl' does not exist"),
        (["adapt", "pairs.jsonl"], "--out"),
        (["search", ".", "gout"], "holds no retriever with its corpus"),
        (["search", "nowhere", "gout"], "nowhere does not exist"),
        (["search", ".", "gout", "--top-k", "0"], "--top-k"),
        (["adapt", "pairs.jsonl", "--out", "run", "--rounds", "0"], "rounds is 0; it must be between 1 and 10"),
        (["adapt", "pairs.jsonl", "--out", "run", "--loss", "mse"], "loss is 'mse'; it must be one of"),
        (["adapt", "pairs.jsonl", "--out", "run", "--preset", "best"], "preset 'best' is unknown"),
        (["adapt", "pairs.jsonl", "--out", "run", "--batch-size", "many"], "--batch-size"),
        (["adapt", "pairs.jsonl", "--out", "pairs.jsonl", "--model", "MODEL"], "--out pairs.jsonl is a file"),
        (["adapt", "pairs.jsonl", "--out", "run", "--model", "."], "is no sentence-transformers model"),
        (["adapt", "empty.jsonl", "--out", "run", "--model", "MODEL"], "empty.jsonl is empty"),
        (["adapt", "broken.jsonl", "--out", "run", "--model", "MODEL"], "broken.jsonl, line 2: broken JSON"),
        (["adapt", "columns.csv", "--out", "run", "--model", "MODEL"], "has the columns ['left', 'right']"),
        (["adapt", "latin.jsonl", "--out", "run", "--model", "MODEL"], "latin.jsonl, line 1: not UTF-8"),
        (["adapt", "pairs.jsonl", "--out", "run", "--model", "MODEL"], "too few|nothing is left|group"),
        (["evaluate", "MODEL", "--data", "."], "is no BEIR folder"),
        (["nonsense"], "No such command"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_wrong_input_ends_with_2_and_leaves_nothing(
    arguments: list[str],
    message: str,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pairs.jsonl").write_text(PAIRS)
    Path("empty.jsonl").write_text("")
    Path("broken.jsonl").write_text(PAIRS + '{"question": \n')
    Path("columns.csv").write_text("left,right\na,b\n")
    Path("latin.jsonl").write_bytes(PAIRS.replace("gout", "g\xf6ut").encode("latin-1"))
    before = sorted(path.name for path in tmp_path.iterdir())
    code = run(monkeypatch, *[str(tiny_encoder) if word == "MODEL" else word for word in arguments])
    printed = capsys.readouterr()
    assert code == 2, printed.err
    assert re.search(re.escape(message) if "|" not in message else message, printed.err)
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (LeakError("it leaks"), 3, "it leaks"),
        (KeyboardInterrupt(), 130, "run the same command again"),
        (OSError(errno.ENOSPC, "No space left on device", "table.parquet"), 2, "table.parquet: no space is left"),
        (OSError(errno.EROFS, "Read-only file system", "run"), 2, "run: the file system is read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "run"), 2, "run: permission denied"),
        (RuntimeError("boom"), 1, "RuntimeError: boom (a fault of denizen; --debug shows where)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_failure_has_its_exit_code_and_no_traceback(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        raise error

    monkeypatch.setattr("denizen.api.adapt", fail)
    assert run(monkeypatch, "adapt", "x", "--out", "y") == code
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed


def test_debug_shows_where(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("denizen.api.adapt", fail)
    assert run(monkeypatch, "adapt", "x", "--out", "y", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_really_read_only_folder_is_a_clear_error(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(PAIRS)
    # nobody, root included, makes a folder in /proc
    command = [sys.executable, "-m", "denizen", "adapt", str(tmp_path / "pairs.jsonl"), "--out", "/proc/denizen-run"]
    done = subprocess.run([*command, "--model", str(tiny_encoder)], capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert "/proc/denizen-run" in done.stderr


def test_json_goes_to_standard_output_alone(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{at}", "title": "", "text": f"about topic {at}0"} for at in range(12)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))
    queries = [{"_id": f"q{at}", "text": f"topic {at}0"} for at in range(6)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    lines = ["query-id\tcorpus-id\tscore", *(f"q{at}\td{at}\t1" for at in range(6))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    assert run(monkeypatch, "evaluate", str(tiny_encoder), "--data", str(folder), "--out", str(out), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "metrics.json").read_text())
    name = tiny_encoder.parent.name
    assert set(report["means"]) == {name, "bm25"}
    assert report["queries"] == 6
    assert report["means"]["bm25"]["MRR@5"] == 1.0
    run_file = (out / "bm25.trec").read_text().splitlines()
    assert run_file[0].split()[:4] == ["q0", "Q0", "d0", "1"]
    assert (out / f"{name}.metrics.parquet").is_file()
    # its own folder may be written again, a run's may not
    assert run(monkeypatch, "evaluate", str(tiny_encoder), "--data", str(folder), "--out", str(out), "--quiet") == 0
    (out / "metrics.json").write_text('{"schema": 1, "best_round": 1}')
    assert run(monkeypatch, "evaluate", str(tiny_encoder), "--data", str(folder), "--out", str(out)) == 2
    assert "is not empty and holds no evaluation of denizen" in capsys.readouterr().err
    assert json.loads((out / "metrics.json").read_text()) == {"schema": 1, "best_round": 1}


def test_search_shows_what_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"gout\n\x1b[2J hurts{99 * ' much'}", "lupus"]
    corpus = table("corpus", {"doc_id": ["a", "long-name"], "title": ["Gout", ""], "text": texts})
    write_searchable(tmp_path / "run/retriever", BM25(), corpus)
    assert run(monkeypatch, "search", str(tmp_path / "run"), "Gout!", "--top-k", "1") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"  1 +\d\.\d{4}  a  Gout gout \[2J hurts( much)+…", line) and len(line) < 120
    assert run(monkeypatch, "search", str(tmp_path / "run/retriever"), "lupus", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["query"] == "lupus" and [each["doc_id"] for each in found["passages"]] == ["long-name"]
    assert run(monkeypatch, "search", str(tmp_path / "run"), "zebra") == 0
    assert capsys.readouterr().out == "nothing was found; try other words\n"


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"denizen {__version__}\n"
