"""The report page, explain, and what other programs read of a run."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import ModelCard

from denizen.core.errors import InputError
from denizen.core.formats import read_trec_qrels, read_trec_run
from denizen.core.tables import read_table, write_table
from denizen.recipes.explain import explain, explain_lines
from denizen.recipes.report import report

Gated = tuple[Path, dict[str, Any]]
_VOID = {"meta", "link", "br", "hr", "img", "input"}


class _Page(HTMLParser):
    """Collects ids, links and tags, and fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in _VOID:
            self.open.append(tag)
        values = dict(attrs)
        assert not any(name.startswith("on") for name in values)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(gated: Gated) -> None:
    out, found = gated
    path = report(out)
    text = path.read_text(encoding="utf-8")
    page = _Page(text)
    assert path == out / "report.html"
    assert "script" not in page.tags and "svg" in page.tags
    assert len(page.ids) == len(set(page.ids))
    # it links to itself alone
    assert {link[1:] for link in page.links if link != "data:,"} <= set(page.ids)
    assert not re.findall(r"https?://|@import|url\(", text)
    assert f"{found['difference']['MRR@5']['value']:+.3f}" in text
    for name in ("learning_rate", "sentence-transformers", "forgettable", "Trade-off", "mean ± sd"):
        assert name in text


def test_what_it_is_given_cannot_break_it(gated: Gated, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(gated[0], run)
    path = run / "corpus/queries.parquet"
    rows = read_table(path, "queries")
    at = rows.schema.get_field_index("text")
    nasty = ["</details><script>alert(1)</script>"] * len(rows)
    write_table(path, rows.set_column(at, rows.schema.field(at), [nasty]))
    page = _Page(report(run, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags


def test_without_sets_it_says_that_forgetting_was_not_measured(finished: Gated, tmp_path: Path) -> None:
    text = report(finished[0], tmp_path / "page.html").read_text(encoding="utf-8")
    _Page(text)
    assert "Forgetting was not measured" in text


def test_it_needs_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no metrics\.json"):
        report(tmp_path)


def test_explain_leads_from_a_query_to_passages_and_documents(gated: Gated) -> None:
    out, _ = gated
    examples = read_table(out / "round-1/examples/examples.parquet", "examples").to_pylist()
    row = examples[0]
    found = explain(out, row["query_id"])
    assert found["query"]["split"] == "train" and found["test"] is None
    own = [example for example in found["examples"] if example["round"] == row["round"] + 1]
    assert row["positive_id"] in [example["positive"]["doc_id"] for example in own]
    document = own[0]["positive"]["document"]
    assert document["parent_id"] and document["end"] > document["start"]
    lines = "\n".join(explain_lines(found))
    assert row["positive_id"] in lines and "trained on in round 1" in lines and found["query"]["text"] in lines


def test_explain_shows_ranks_of_a_test_query(gated: Gated) -> None:
    out, _ = gated
    query_id = read_table(out / "test/base.metrics.parquet", "metrics")["query_id"][0].as_py()
    found = explain(out, query_id)
    assert found["test"]["ranks"]["base"] >= 1 and found["test"]["relevant"]
    assert "not trained on" in explain_lines(found)
    with pytest.raises(InputError, match="has no query 'nobody'"):
        explain(out, "nobody")


def test_other_programs_read_the_figures(gated: Gated) -> None:
    out, found = gated
    rows = pd.read_json(out / "results.json")
    mine = rows[(rows["set"] == "test") & (rows["system"] == "adapted") & (rows["measure"] == "MRR@5")]
    assert mine["value"].item() == pytest.approx(found["adapted"]["MRR@5"])
    assert mine["difference"].item() == pytest.approx(found["difference"]["MRR@5"]["value"])
    assert set(rows["set"]) == {"test", "forgettable"}
    card = ModelCard.load(out / "model/README.md")
    results = {(result.dataset_name, result.metric_name): result.metric_value for result in card.data.eval_results}
    assert results["test of pairs.jsonl", "MRR@5"] == pytest.approx(found["adapted"]["MRR@5"], abs=1e-4)
    assert ("forgettable", "nDCG@10") in results
    qrels = read_trec_qrels(out / "test/qrels.trec")
    assert len(set(qrels["query_id"].to_pylist())) == found["queries"]
    assert len(read_trec_run(out / "test/hybrid.trec")) > 0


_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_BROWSER = next((path for name in _BROWSERS if (path := shutil.which(name))), "")


@pytest.mark.skipif(not _BROWSER, reason="no Chromium is installed")
def test_a_real_browser_has_nothing_to_complain_of(gated: Gated, tmp_path: Path) -> None:
    """The page forbids itself to load anything (its content security policy), and a browser complains of each try."""

    def complaints(page: Path, wide: int) -> list[str]:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
        flags += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={wide},900", "--enable-logging=stderr"]
        command = [_BROWSER, *flags, "--virtual-time-budget=2000", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "What was forgotten" in done.stdout
        return [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    page = report(gated[0], tmp_path / "page.html")
    assert complaints(page, 1100) == []
    assert complaints(page, 390) == []
    other = tmp_path / "other.html"
    other.write_text(page.read_text().replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>'))
    assert len(complaints(other, 1100)) == 1
