"""The report page, explain, and what other programs read of a run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import ModelCard

from denizen import cli
from denizen.data.formats.trec import read_trec_qrels, read_trec_run
from denizen.data.tables import read_table, write_table
from denizen.engine.errors import InputError
from denizen.reports.explain import explain, explain_lines
from denizen.reports.finished_run import FinishedRun
from denizen.reports.report import report
from tests.html_page import Page

Gated = tuple[Path, dict[str, Any]]


def test_the_page_is_whole_and_needs_nothing_else(gated: Gated) -> None:
    out, found = gated
    path = report(out)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert path == out / "report.html"
    assert "script" not in page.tags and "svg" in page.tags
    assert len(page.ids) == len(set(page.ids))
    # it links to itself alone, and to the page beside it
    assert {link[1:] for link in page.links if link not in ("data:,", "try.html")} <= set(page.ids)
    assert "try.html" in page.links and (out / "try.html").is_file()
    assert "The answer moved from rank" in text and f"{1 / found['base']['MRR@5']:.1f}" in text
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
    page = Page(report(run, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags


def test_without_sets_it_says_that_forgetting_was_not_measured(finished: Gated, tmp_path: Path) -> None:
    text = report(finished[0], tmp_path / "page.html").read_text(encoding="utf-8")
    Page(text)
    assert "Forgetting was not measured" in text


def test_report_and_explain_as_commands(
    gated: Gated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, found = gated
    query_id = read_table(out / "test/base.metrics.parquet", "metrics")["query_id"][0].as_py()

    def run(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["denizen", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return int(left.value.code or 0)

    assert run("report", out, "--out", tmp_path / "new/page.html") == 0
    assert capsys.readouterr().out.strip() == (tmp_path / "new/page.html").as_posix()
    assert run("report", out, "--out", tmp_path) == 2
    assert "is a folder; give a file" in capsys.readouterr().err
    assert list(tmp_path.rglob("*.partial")) == []
    assert run("explain", out, query_id) == 0
    assert query_id in capsys.readouterr().out
    assert run("explain", out, "nobody") == 2
    assert found["queries"] < 50 and "test questions are few" in (tmp_path / "new/page.html").read_text()


def test_it_shows_what_the_chosen_model_was_trained_on(gated: Gated, tmp_path: Path) -> None:
    """Of a merge the last of its rounds, of the base nothing."""
    run = tmp_path / "run"
    shutil.copytree(gated[0], run)
    metrics = json.loads((run / "metrics.json").read_text())
    counts = [len(read_table(run / f"round-{at}/examples/examples.parquet", "examples")) for at in (0, 1)]
    assert counts[0] < counts[1]
    for chosen, best, expected in (("round 1", 1, counts[0]), ("round 2", 2, counts[1]), ("base", 0, 0)):
        gate = {**metrics["gate"], "points": []}
        (run / "metrics.json").write_text(json.dumps({**metrics, "chosen": chosen, "best_round": best, "gate": gate}))
        assert len(FinishedRun(run).examples) == expected
        text = report(run, tmp_path / "page.html").read_text(encoding="utf-8")
        Page(text)
        assert (f"{expected:,} examples of" if expected else "this is the unchanged base model") in text


def test_it_needs_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no metrics\.json"):
        report(tmp_path)
    (tmp_path / "metrics.json").write_text('{"means": {}}')
    with pytest.raises(InputError, match="results of another command; give the folder of a run"):
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
