"""The page on which people try a run, as one file: its test questions, and what each system had found for them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from denizen.data.formats.trec import read_trec_run
from denizen.data.tables import rankings
from denizen.engine.files import write_text
from denizen.reports.card import title
from denizen.reports.finished_run import FinishedRun
from denizen.reports.rendering import read_template, render
from denizen.reports.results import SYSTEMS

TRY_PAGE = "try.html"
BASE = "base"
# side by side, from before to now
_COMPARED = (BASE, "bm25", "adapted", "hybrid", "reranked")
# questions of a test in one file, drawn evenly: with what all systems have found they are about a megabyte
_MOST_QUESTIONS = 100
# of those whose passages a judge has graded, beside them
_MOST_JUDGED = 50
# passages that are shown of a system; below them people do not look
_SHOWN = 5
# how deep it is told where a passage stood
_DEPTH = 100


def systems_of(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The systems of a run that can be tried, by name, and what people call them, from before to now."""
    model = str(metrics["shipped"]["model"])
    names = [name for name in _COMPARED if name in metrics]
    if model == BASE:
        # that is the base again
        names.remove("adapted")
    if metrics["shipped"]["name"] != "reranked":
        names = [name for name in names if name != "reranked"]
    called = {**SYSTEMS, "hybrid": "base + BM25"} if model == BASE else SYSTEMS
    return {name: called[name] for name in names}


def described(run: FinishedRun) -> dict[str, Any]:
    """What a page shows of a run before anything is asked."""
    metrics = run.metrics
    return {
        "title": title(metrics),
        "shipped": metrics["shipped"]["name"],
        "measured_on": metrics["queries"],
        "systems": [
            {"name": name, "called": called, "MRR@5": metrics[name]["MRR@5"]}
            for name, called in systems_of(metrics).items()
        ],
    }


def offered(run: FinishedRun) -> list[dict[str, Any]]:
    """Questions to begin with: of the test, and of those whose passages a judge has graded; drawn evenly."""
    tested = [name for name in run.known if name in run.queries]
    judged = sorted(run.judged_queries & run.queries.keys() - set(tested))
    drawn = [*_evenly(tested, _MOST_QUESTIONS), *_evenly(judged, _MOST_JUDGED)]
    return [
        {
            "query_id": name,
            "text": run.queries[name]["text"],
            "set": "test" if name in run.known else "graded by the judge",
            "relevant": sorted(run.known.get(name, ())),
        }
        for name in drawn
    ]


def try_page(run: FinishedRun) -> str:
    """The page as one file that loads nothing: questions of the test, and what was found for them when it was read."""
    ranked = {
        name: rankings(read_trec_run(run.folder / f"test/{name}.trec", own=True)) for name in systems_of(run.metrics)
    }
    questions, shown = [], dict[str, dict[str, Any]]()
    for question in (each for each in offered(run) if each["query_id"] in run.known):
        of_question = {name: listed.get(question["query_id"], [])[:_DEPTH] for name, listed in ranked.items()}
        first = {doc_id for listed in of_question.values() for doc_id, _ in listed[:_SHOWN]}
        shown |= {doc_id: _passage(run, doc_id) for doc_id in sorted(first)}
        questions.append({**question, "found": {name: _found(of, first) for name, of in of_question.items()}})
    return _filled({**described(run), "questions": questions, "passages": shown})


def write_try_page(run: FinishedRun) -> Path:
    """Writes the page into the run's folder, and says where it is."""
    path = run.folder / TRY_PAGE
    write_text(path, try_page(run))
    return path


def served_page() -> str:
    """The page as a server sends it: styles and script come from beside it."""
    return render("try.html.jinja", stored=None, style="", script="", policy="")


def _filled(stored: Mapping[str, Any]) -> str:
    style = read_template("denizen.css") + read_template("try.css")
    script = read_template("try.js")
    hashes = {name: _hash(text) for name, text in (("style", style), ("script", script))}
    policy = f"default-src 'none'; style-src {hashes['style']}; script-src {hashes['script']}; img-src data:"
    # "</script>" and "<!--" within a text would end it
    data = json.dumps(stored, ensure_ascii=False).replace("<", "\\u003c")
    return render("try.html.jinja", stored=Markup(data), style=Markup(style), script=Markup(script), policy=policy)


def _hash(text: str) -> str:
    """What a content security policy knows an inline text by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _found(listed: Sequence[tuple[str, float]], wanted: set[str]) -> dict[str, Any]:
    """What a system had found first, and where others of these passages stood: a whole ranking would be too much."""
    return {
        "passages": [{"doc_id": doc_id, "score": round(score, 4)} for doc_id, score in listed[:_SHOWN]],
        "ranks": {doc_id: at for at, (doc_id, _) in enumerate(listed, start=1) if doc_id in wanted},
    }


def _passage(run: FinishedRun, doc_id: str) -> dict[str, Any]:
    row = run.passages[doc_id]
    return {name: row[name] for name in ("title", "text", "parent_id", "domain") if row[name]}


def _evenly(names: Sequence[str], most: int) -> list[str]:
    """So many of some at most, from the first to the last at equal steps."""
    if len(names) <= most:
        return list(names)
    return [names[at * len(names) // most] for at in range(most)]
