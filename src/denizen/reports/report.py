"""`report`: a run as one page that people read, with no script and nothing loaded from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denizen.engine.errors import InputError
from denizen.engine.files import read_json, write_text
from denizen.measuring import gains
from denizen.measuring.students import ENOUGH
from denizen.reports.card import title
from denizen.reports.domains import DOMAINS_RECIPE
from denizen.reports.domains_page import domains_page
from denizen.reports.experts import RECIPE
from denizen.reports.experts_page import experts_page
from denizen.reports.finished_run import FinishedRun
from denizen.reports.language import LANGUAGE_RECIPE
from denizen.reports.language_page import language_page
from denizen.reports.picture import run_picture
from denizen.reports.rendering import render
from denizen.reports.results import WRITTEN_FOR, by_judge, headline, unchanged
from denizen.reports.sections import sections
from denizen.reports.try_page import TRY_PAGE, write_try_page


def report(run: Path, out: Path | None = None) -> Path:
    """Writes the report of a finished run, as report.html in its folder if not elsewhere, and says where it is.

    In the folder of a run of adapt its page to try it (`try_page`) is written, too.

    Raises:
        InputError: When the folder holds no finished run, or the page is a folder.
    """
    if out is not None and out.is_dir():
        raise InputError(f"--out {out} is a folder; give a file, such as {out / 'report.html'}")
    path = out or run / "report.html"
    metrics = read_json(run / "metrics.json")
    pages = {RECIPE: experts_page, DOMAINS_RECIPE: domains_page, LANGUAGE_RECIPE: language_page}
    if isinstance(metrics, dict) and metrics.get("recipe") in pages:
        path.parent.mkdir(parents=True, exist_ok=True)
        return pages[metrics["recipe"]](metrics, path)
    found = FinishedRun(run)
    page = render(
        "report.html.jinja",
        title=title(found.metrics),
        headline=headline(found.metrics),
        picture=run_picture(found),
        warnings=_warnings(found.metrics),
        # what lies elsewhere has no page beside it
        beside=TRY_PAGE if out is None else "",
        sections=sections(found),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if out is None:
        write_try_page(found)
    write_text(path, page)
    return path


def _warnings(metrics: dict[str, Any]) -> list[str]:
    found = [metrics["warning"]] if metrics["warning"] else []
    grouped = metrics["grouped"]
    if grouped["groups"] < gains.LEAST:
        things = "" if grouped["by"] == "query" else f" {grouped['by']}s"
        about = things and f" about {grouped['groups']}{things}"
        found.append(
            f"{metrics['queries']} test questions{about} are few: the intervals are narrower than they should be below "
            f"{gains.LEAST}{things}."
        )
    decided = metrics["decided"]["round"]
    if decided["by"] == "dev" and decided["queries"] < ENOUGH:
        found.append(
            f"{decided['queries']} dev queries decided, which are few: the best of them may be so by chance. "
            "--cross-fitting lets train decide, too."
        )
    if (trial := metrics.get("trial")) and not trial["passed"]:
        found.append(f"{trial['why'][0].upper()}{trial['why'][1:]}.")
    if metrics.get("judged_by") == WRITTEN_FOR:
        found.append(
            f"The test counts {WRITTEN_FOR} as the only answers, and an LLM wrote them: its figures compare systems, "
            "and say little of what people will find."
        )
    if by_judge(metrics):
        found.append(
            f"The test was graded by {metrics['judged_by']}. A teacher is kind to its own student: "
            "denizen pool RUN --judge ANOTHER-LLM asks another one."
        )
    if why := unchanged(metrics):
        found.append(why)
    elif metrics["gate"] and not metrics["gate"]["met"]:
        found.append("The gate is not met: the model has forgotten more than the limit allows.")
    broken = [str(of_seed["seed"]) for of_seed in metrics["seeds"][1:] if not of_seed["met"]]
    if broken:
        found.append(f"With another seed the gate is not met: {', '.join(broken)}.")
    return found
