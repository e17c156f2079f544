"""What reads files is tied to the rest by the corpus table alone, and a table needs none of its libraries."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from denizen.ingest.libraries import LIBRARIES

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/denizen"
FILES = sorted(SOURCE.rglob("*.py"))
INSIDE = [path for path in FILES if path.is_relative_to(SOURCE / "ingest")]
OUTSIDE = [path for path in FILES if path not in INSIDE]
OURS = (
    "denizen.__version__",
    "denizen.engine",
    "denizen.ingest",
    "denizen.data.tables",
    "denizen.data.decoding",
    "denizen.data.delimited",
    "denizen.data.passages",
    "denizen.data.near_duplicates",
)
# what denizen itself brings, and docling, an extra of its own
FOREIGN = {"pyarrow", "semantic_text_splitter", "tokenizers", "huggingface_hub", "docling", "docling_core"}
# rich, which denizen itself needs, brings markdown-it-py
WITHOUT = sorted(set(LIBRARIES) - {"markdown_it"})


def imported(tree: ast.AST) -> Iterator[str]:
    """All that is imported anywhere below a node, with the name that is taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            # a relative import would hide where it goes
            assert node.module and not node.level, ast.unparse(node)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def names_ingest(tree: ast.AST) -> set[str]:
    """What is imported of ingest, or named for importlib."""
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    found = {*imported(tree), *texts}
    return {name for name in found if re.fullmatch(r"denizen\.ingest[\w.:]*", name)}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", INSIDE, ids=shown)
def test_ingest_imports_the_engine_and_the_corpus_table_alone(path: Path) -> None:
    for name in imported(tree_of(path)):
        top = name.partition(".")[0]
        if top == "denizen":
            assert any(name == one or name.startswith(f"{one}.") for one in OURS), name
        else:
            assert top in sys.stdlib_module_names or top in {*FOREIGN, *LIBRARIES}, name


@pytest.mark.parametrize("path", OUTSIDE, ids=shown)
def test_ingest_is_imported_by_its_command_and_where_a_run_reads_files(path: Path) -> None:
    tree, name = tree_of(path), shown(path)
    if name == "cli/ingesting.py":
        return
    if name == "recipes/document_source.py":
        (reads,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "documents_of")
        assert names_ingest(reads)
        tree.body.remove(reads)
    assert not names_ingest(tree)


@pytest.mark.parametrize("path", OUTSIDE, ids=shown)
def test_nothing_else_imports_the_libraries_that_read_files(path: Path) -> None:
    tree, libraries = tree_of(path), set(LIBRARIES)
    if shown(path) == "data/formats/grading_sheet.py":
        tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
    assert not {name.partition(".")[0] for name in imported(tree)} & libraries


def test_the_extra_brings_what_ingest_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert "denizen[xlsx]" in extras["ingest"]
    wanted = {distribution(one) for one in [*extras["ingest"], *extras["xlsx"]]} - {"denizen"}
    brought_by = packages_distributions()
    assert {distribution(brought_by[name][0]) for name in LIBRARIES} == wanted
    assert not wanted & {distribution(one) for one in project["dependencies"]}
    assert "denizen[ingest]" in extras["docling"]
    assert "ingest" in extras["test"][0]


def distribution(requirement: str) -> str:
    return re.sub("[-_.]+", "-", re.split(r"[\[<>=]", requirement)[0]).lower()


def run_without(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a program for which the libraries that read files cannot be imported."""
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({WITHOUT!r}))\n{code}"
    return subprocess.run([sys.executable, "-c", blocked, *map(str, arguments)], capture_output=True, text=True)


def test_all_but_reading_files_works_without_the_libraries_that_read_files(tmp_path: Path) -> None:
    rows = [{"_id": f"p{at}", "text": f"Passage {at} of the act says what it says."} for at in range(3)]
    questions = [{"_id": f"q{at}", "text": f"What does passage {at} say?"} for at in range(3)]
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    pairs = [{"query": f"What does passage {at} say?", "positive": f"Passage {at} of the act."} for at in range(3)]
    for path, lines in (
        (tmp_path / "table.jsonl", rows),
        (beir / "corpus.jsonl", rows),
        (beir / "queries.jsonl", questions),
        (tmp_path / "pairs.jsonl", pairs),
    ):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (beir / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tp0\t1\n", encoding="utf-8")
    code = """
import importlib, pkgutil
from pathlib import Path
import denizen
for module in pkgutil.walk_packages(denizen.__path__, "denizen."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from denizen.data.formats import read_source
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.recipes.config import AdaptConfig
from denizen.recipes.document_source import documents_of

folder = Path(sys.argv[1])
def documents(name):
    config = AdaptConfig(str(folder / name), teacher="llm", llm="x")
    return documents_of(config, folder / "run", Silent()).load().documents

assert len(documents("table.jsonl")) == len(documents("beir")) == 3
assert len(read_source(str(folder / "beir")).documents) == 3
assert len(read_source(str(folder / "pairs.jsonl")).documents) == 3
(folder / "files").mkdir()
(folder / "files/note.txt").write_text("A note.")
try:
    documents("files")
except InputError as error:
    print(error)
"""
    done = run_without(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pip install 'denizen[ingest]'" in done.stdout
    assert not (tmp_path / "run").exists()


def test_ingest_without_its_libraries_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("A note.")
    arguments = ["ingest", tmp_path / "note.txt", "--out", tmp_path / "corpus"]
    done = run_without("from denizen.cli import main\nmain()", *arguments)
    assert done.returncode == 2
    assert f"denizen: reading files needs {', '.join(WITHOUT)}: pip install 'denizen[ingest]'" in done.stderr
    assert not (tmp_path / "corpus").exists()
