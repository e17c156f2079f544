"""Public bug reports, rebuilt small in ../shared/cases: each is run, with its calls moved to where they are now.

python -m pytest -m slow tests/e2e/test_public_reports.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared/cases"
MENDED = (
    "01-mail-charsets",
    "02-logprobs-403",
    "04-ollama-format-500",
    "05-answer-in-reasoning-content",
    "08-ollama-silent-truncation",
    "10-csv-sep-line",
    "11-tsv-with-quotes",
    "12-xlsx-formulas-without-values",
    "14-pptx-chart",
    "15-notebook-with-pictures",
    "16-semicolon-csv-pairs",
    "17-triplets-with-negatives",
    "18-nan-title",
    "19-queries-judged-irrelevant-only",
    "20-hub-bin-weights",
    "21-router-model",
    "23-mail-with-stub-as-plain-text",
    "26-strict-docx",
    "34-html-folded-answers",
    "35-html-article-in-template",
)
# where the cases look for what they call
_MOVED = {
    "denizen.core.formats import read_documents, read_source": (
        "denizen.data.formats import read_source; from denizen.data.formats.documents import read_documents"
    ),
    "denizen.core.formats": "denizen.data.formats",
    "denizen.core.tables": "denizen.data.tables",
    "denizen.core.errors": "denizen.engine.errors",
    "denizen.models.llm": "denizen.llm.client",
    "denizen.models.": "denizen.llm.",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MENDED)
def test_what_was_reported_is_right_here(name: str, tmp_path: Path) -> None:
    if not (CASES / name).is_dir():
        pytest.skip("the cases are not in ../shared/cases")
    # its folders cannot be written
    shutil.copytree(CASES, tmp_path / "cases", copy_function=shutil.copyfile)
    for path in (*(tmp_path / "cases").glob("*.py"), *(tmp_path / "cases").glob("*/*.py")):
        path.chmod(0o644)
        text = path.read_text(encoding="utf-8")
        for before, now in _MOVED.items():
            text = text.replace(before, now)
        path.write_text(text, encoding="utf-8")
    command = ["bash", str(tmp_path / "cases" / name / "run.sh")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PY": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
