"""The figures in README.md are those of the committed benchmark results."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_results_table_of_the_readme_is_the_one_of_the_results() -> None:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "bench" / "tables.py")
    assert spec is not None and spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    rows = tables.results_table().splitlines()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(rows) > 2
    assert [row for row in rows if row not in readme] == []
    assert tables.per_row_sentence() in " ".join(readme.split())
