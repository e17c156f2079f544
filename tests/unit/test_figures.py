"""The figures in README.md and docs are those of the committed benchmark results."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "bench" / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("table", "page"),
    [
        ("results_table", "README.md"),
        ("encoding_table", "docs/speed.md"),
        ("speed_table", "docs/speed.md"),
        ("speed_table", "README.md"),
        ("growth_table", "docs/speed.md"),
        ("distill_table", "docs/teacher.md"),
        ("local_llm_table", "docs/teacher.md"),
        ("grading_table", "docs/teacher.md"),
        ("real_teacher_table", "docs/teacher.md"),
        ("proof_table", "docs/proof.md"),
        ("ingest_table", "docs/ingest.md"),
        ("ingest_growth_table", "docs/ingest.md"),
        ("few_labels_table", "README.md"),
        ("router_table", "docs/domains.md"),
        ("router_confusion_table", "docs/domains.md"),
    ],
)
def test_a_table_on_a_page_is_the_one_of_the_results(table: str, page: str, tables: ModuleType) -> None:
    rows = getattr(tables, table)().splitlines()
    text = (ROOT / page).read_text(encoding="utf-8")
    assert len(rows) > 2
    assert [row for row in rows if row not in text] == []


def test_the_sentence_of_published_figures_is_the_one_of_the_results(tables: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert tables.per_row_sentence() in " ".join(readme.split())


def test_the_sentence_on_teachers_is_the_one_of_the_results(tables: ModuleType) -> None:
    page = (ROOT / "docs/teacher.md").read_text(encoding="utf-8")
    assert tables.distill_sentence() in " ".join(page.split())


def test_no_result_says_where_on_a_machine_anything_lay() -> None:
    results = sorted((ROOT / "bench" / "results").rglob("*.json"))
    assert results
    for path in results:
        assert not re.findall(r'"/[^"\s]*/[^"\s]*"', path.read_text(encoding="utf-8")), path.name
