"""What may import what, and that nothing heavy or forbidden comes along."""

from __future__ import annotations

import ast
import importlib.util
import resource
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "denizen"
# a room imports from those that stand before its own line, and from its own line
ROOMS = [
    {"engine"},
    {"data"},
    {"llm", "retrievers", "language_models"},
    {"training", "supervision", "merging", "measuring", "prompting", "tasks", "answering"},
    {"recipes"},
    {"reports", "serve", "exports", "api", "cli"},
]
# a package of its own that little ties to the rest; tests/architecture holds what
APART = "ingest"
# where nothing is computed and nobody is called
FORBIDDEN = {"torch", "transformers", "sentence_transformers", "huggingface_hub", "requests", "httpx", "openai"}
HEAVY = {"torch", "transformers", "sentence_transformers", "datasets", "numpy", "scipy", "pyarrow", "datasketch"}


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """What a file imports anywhere in it, modules and what is taken from them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            # a relative import would hide where it goes
            assert node.module and not node.level, ast.unparse(node)
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def _rooms(path: Path) -> set[str]:
    """Which rooms a file imports from, without its own."""
    names = {name.split(".")[1] for name in _imports(path) if name.startswith("denizen.")}
    return names - {"__version__", _room(path)}


FILES = sorted(SOURCE.rglob("*.py"))
ROOM_OF = {name: at for at, rooms in enumerate(ROOMS) for name in rooms}


def _shown(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=_shown)
def test_imports_go_one_way(path: Path) -> None:
    room, others = _room(path), _rooms(path)
    if room in ROOM_OF:
        assert {other for other in others - {APART} if ROOM_OF[other] > ROOM_OF[room]} == set()
        assert APART not in others or room in ("recipes", "cli")
    elif room == APART:
        assert others <= {"engine", "data"}
    else:
        assert (room, others) in (("__init__", {"api", "recipes", "retrievers"}), ("__main__", {"cli"}))
    if room == "engine":
        assert not {name.partition(".")[0] for name in _imports(path)} & FORBIDDEN


def test_no_two_rooms_need_one_another() -> None:
    """Those of one line, too, stand in an order: none of them comes back to itself."""
    needs: dict[str, set[str]] = {}
    for path in FILES:
        needs.setdefault(_room(path), set()).update(_rooms(path))
    order = list(TopologicalSorter(needs).static_order())
    assert order.index("engine") < order.index("data") < order.index("recipes") < order.index("cli")


def test_every_room_is_known() -> None:
    there = {_room(path) for path in FILES} - {"__init__", "__main__"}
    assert there == {*ROOM_OF, APART}


@pytest.mark.parametrize(
    "name, without",
    [
        ("engine.pipeline", FORBIDDEN | HEAVY),
        ("recipes.config", {"torch", "transformers", "datasets"}),
        ("recipes.language_config", {"torch", "transformers", "datasets", "sentence_transformers"}),
    ],
)
def test_steps_and_settings_are_listed_without_what_computes(name: str, without: set[str]) -> None:
    code = f"import sys, denizen.{name}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    found = _loaded(code)
    assert "denizen" in found and not found & without


def _loaded(code: str) -> set[str]:
    """The packages that a program has loaded, which it prints."""
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_no_file_is_named_after_nothing() -> None:
    stems = {word for path in SOURCE.rglob("*.py") for word in path.stem.split("_")}
    assert not stems & {"utils", "util", "helpers", "helper", "manager", "handler", "common", "misc"}


def test_torchvision_is_not_installed() -> None:
    assert importlib.util.find_spec("torchvision") is None, "torchvision breaks sentence-transformers; uninstall it"


def test_help_answers_at_once() -> None:
    """The work of seven starts of Python with what any command loads, the best of five of both: a slow machine is no
    fault of ours, nor is waiting for others."""
    modules = "argparse, dataclasses, inspect, json, pathlib"
    start = min(_work([sys.executable, "-c", f"import {modules}"])[0] for _ in range(5))
    answers = [_work([sys.executable, "-m", "denizen", "--help"]) for _ in range(5)]
    assert all("adapt" in printed and "evaluate" in printed for _, printed in answers)
    assert min(work for work, _ in answers) < 7 * start


def _work(command: list[str]) -> tuple[float, str]:
    """Seconds of processor that a command takes, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def test_reading_documents_needs_no_torch() -> None:
    code = "import sys, denizen.ingest.ingest; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    assert not {"torch", "transformers", "sentence_transformers"} & _loaded(code)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, denizen.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    assert not HEAVY & _loaded(code)
