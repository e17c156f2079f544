"""The page of a run made by hand."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from denizen.data.tables import read_table, with_column, write_table
from denizen.engine.errors import InputError
from denizen.reports.report import report
from tests.html_page import Page

from .conftest import CHANGE, METRICS


def _text(run: Path, **changed: Any) -> str:
    (run / "metrics.json").write_text(json.dumps({**METRICS, **changed}))
    text = report(run).read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.ids) == len(set(page.ids)) and "script" not in page.tags
    return re.sub(r"\s+", " ", text)


def test_every_section_stands_where_its_link_leads(run: Path) -> None:
    page = Page(report(run).read_text(encoding="utf-8"))
    names = [
        "gain",
        "rounds",
        "forgetting",
        "where",
        "scores",
        "moved",
        "data",
        "lineage",
        "teacher",
        "cost",
        "settings",
    ]
    assert [link[1:] for link in page.links if link.startswith("#")] == names
    assert [name for name in page.ids if name in names] == names


def test_what_the_sections_say(run: Path) -> None:
    text = _text(run)
    assert "<h1>owner/general, adapted to papers</h1>" in text
    assert "1 queries find their answer higher up than before, 0 lower down, 1 as before." in text
    assert '<span class="up">rank 2 → rank 1</span> what is beta</summary>' in text
    assert "<blockquote>beta &lt;/pre&gt;&lt;script&gt;</blockquote>" in text
    assert "1 examples of 1 queries; 1 of them with all that they come from." in text
    assert "grade 4 by judge in round-0/judgments" in text
    assert '<dt class="faint">time in all</dt><dd>0.1 minutes</dd>' in text
    assert "not measured: denizen audit RUN" in text and "2 test questions about 2 documents are few" in text
    assert "<td>endpoint</td><td>http://secret.example</td>" in text
    assert '<p class="faint">BM25: German, stemmed</p>' in text


def test_every_domain_has_its_row_and_one_alone_has_none(run: Path) -> None:
    assert "Every domain" not in _text(run)
    corpus = read_table(run / "corpus/corpus.parquet", "corpus")
    write_table(run / "corpus/corpus.parquet", with_column(corpus, "domain", ["10-Q", "10-K", "10-Q"]))
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", _text(run))]
    # q2 asks for b and q3 for c; a single query has no interval
    assert ["10-K", "1", "0.500", "1.000", "+0.500"] in cells
    assert ["10-Q", "1", "1.000", "1.000", "+0.000"] in cells


def test_the_steps_that_made_the_examples(run: Path) -> None:
    (table,) = re.findall(r"The steps that made them</summary>.*?</table>", _text(run))
    places = re.findall(r"<td>([^<]*)</td><td>1.5</td>", table)
    assert places == ["corpus", "synthesis", "round-0/judgments", "round-0/examples"]


def test_what_was_done_once_counts_once(run: Path) -> None:
    path = run / "corpus/step.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": 600.0}))
    (run / "seed-43").mkdir()
    shutil.copy(path, run / "seed-43/step.json")
    text = _text(run)
    assert "<td>corpus</td><td>600.0</td>" in text and "<td>seed-43</td><td>600.0</td>" in text
    assert "<dd>10.1 minutes</dd>" in text


def test_without_a_teacher_there_is_no_section_of_it(run: Path) -> None:
    text = _text(run, config={**METRICS["config"], "teacher": "gold"}, judged_by="labels")
    assert 'id="teacher"' not in text and 'href="#teacher"' not in text and "kind to its own student" not in text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"warning": "The splits leak."}, "The splits leak."),
        ({"chosen": "base", "best_round": 0}, "No round beat the base"),
        ({"chosen": "base"}, "The student broke the limit on forgetting"),
        ({"seeds": [{"met": True}, {"met": False, "seed": 43}]}, "With another seed the gate is not met: 43."),
    ],
)
def test_warnings(changed: dict[str, Any], said: str, run: Path) -> None:
    seeds = [
        {"seed": 42, "difference": {"MRR@5": CHANGE}, "change": {}, "chosen": "base", **of}
        for of in changed.pop("seeds", [])
    ]
    assert f'<p class="warning">{said}' in _text(run, **changed, seeds=seeds)


@pytest.mark.parametrize(
    ("by", "groups", "said"),
    [
        (
            "document",
            12,
            "400 test questions about 12 documents are few: the intervals are narrower than they should be ",
        ),
        ("passage", 49, "400 test questions about 49 passages are few: "),
        ("query", 49, "49 test questions are few: the intervals are narrower than they should be below 50."),
        ("document", 50, ""),
    ],
)
def test_few_test_questions_are_counted_by_what_is_independent(by: str, groups: int, said: str, run: Path) -> None:
    text = _text(run, queries=49 if by == "query" else 400, grouped={"by": by, "groups": groups})
    assert (f'<p class="warning">{said}' in text) if said else ("are few" not in text)


@pytest.mark.parametrize(("by", "said"), [("document", ", or about fewer than 10 documents,"), ("query", "")])
def test_what_gains_are_left_out_is_said(by: str, said: str, run: Path) -> None:
    text = _text(run, grouped={"by": by, "groups": 2})
    assert f"Groups of fewer than 50 queries{said} are left out: " in text


@pytest.mark.parametrize("key", ["shipped", "decided", "grouped"])
@pytest.mark.parametrize("paid", [True, False])
def test_a_run_of_an_earlier_version_is_refused_in_a_sentence(key: str, paid: bool, run: Path) -> None:
    (run / "metrics.json").write_text(json.dumps({name: value for name, value in METRICS.items() if name != key}))
    if not paid:
        (run / "replies.sqlite").unlink()
    with pytest.raises(InputError) as refused:
        report(run)
    again = f", and --replies {run / 'replies.sqlite'} so that no reply is paid twice" if paid else ""
    assert str(refused.value) == f"{run} was made by an older version; run adapt again with a new --out{again}"


def test_the_trade_off_shows_the_worse_of_the_roles_and_what_was_taken(run: Path) -> None:
    found = {"queries": 9, "means": {name: {"nDCG@10": 0.5} for name in ("base", "adapted")}}
    found |= {"differences": {"adapted": {"nDCG@10": {**CHANGE, "value": -0.25}}}}
    sets = {
        "one": {**found, "role": "general"},
        "two": {**found, "role": "general"},
        "law": {**found, "role": "neighbour"},
    }
    point = {"name": "round 1", "domain": 0.5, "items": 9, "inside": False, "merge": None, "chosen": False}
    point |= {"changes": {"one": -0.5, "two": 0.25, "law": 0.125}}
    merged = {**point, "name": "linear 0.5", "merge": {"rounds": [1]}, "inside": True, "chosen": True}
    gate = {"met": False, "limit": 0.005, "measure": "nDCG@10", "change": {"general": 0, "neighbour": 0}}
    text = _text(run, gate={**gate, "sets": sets, "points": [point, merged]})
    # the mean of -.5 and .25, and not .125
    assert "<title>round 1: -0.1250, 0.500</title>" in text
    assert '<g class="student hollow">' in text and '<g class="chosen">' in text
    assert "The gate is not met: the model has forgotten more" in text
    assert (
        "<td>round 1</td><td>0.500</td><td>-0.5000</td><td>+0.2500</td><td>+0.1250</td><td>9</td><td>no</td><td>no</td>"
        in text
    )


def test_why_rows_files_and_leaks_were_left_out(run: Path) -> None:
    from denizen.data.tables import rows_table, write_table

    dropped = [{"text": "what", "reason": "too short"}] * 2
    write_table(run / "synthesis/dropped_queries.parquet", rows_table("dropped_queries", dropped))
    failures = [{"stage": "corpus", "key": "bad.pdf", "error": "not a PDF"}]
    write_table(run / "corpus/failures.parquet", rows_table("failures", failures))
    (run / "corpus/leaks.json").write_text(json.dumps([{"query": "q1", "other": "q2"}] * 60))
    read = {"dropped": {"duplicate": 7}, "languages": {"en": 3}, "personal_data": {}}
    data = {**METRICS["data"], "read": read, "parts_left_out": ["x", "y"]}
    text = _text(run, data=data)
    assert "<td>ingest</td><td>duplicate</td><td>7</td>" in text
    assert "<td>synthesis</td><td>too short</td><td>2</td>" in text
    assert "<summary>1 files, or parts of files</summary>" in text and "<td>bad.pdf</td><td>not a PDF</td>" in text
    assert "<summary>50 shown</summary>" in text and text.count("<td>q1</td><td>q2</td>") == 50
    assert "<dd>1 without answer</dd>" in text and "<dd>x, y</dd>" in text and "<dd>en 3</dd>" in text
