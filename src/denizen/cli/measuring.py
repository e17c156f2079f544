"""The commands that measure and show: evaluate, gate, thresholds, mteb, report, explain, audit, pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from denizen.cli.app import Told, command
from denizen.cli.options import Store, of_adapt, without_effect
from denizen.cli.printing import in_columns

_ENDPOINT = typer.Option(help="Its endpoint, where it is not the run's (key: JUDGE_API_KEY); a GGUF file has none.")
_SEED = "Draws what is searched of a large set (default: the seed of the model's run, or 42 where none is known)."
_TASKS = (
    "A retrieval task of mteb, or a BEIR folder; may be given several times (default: the twelve of arXiv 2602.04731)."
)
_MTEB_OUT = "Write metrics.json, and results as mteb keeps them; what is there already is not run again."
# of a decoder-only LLM, as in adapt
_READING = ("pooling", "attention", "instruction")
_OLD = "A threshold of the base that is in use, to be mapped; may be given several times."
_PRICES = typer.Option(help="Its prices, as 0.15/0.60.")


@command("evaluate", of_adapt(*_READING, "backend", "precision", "skip_bad_rows"))
def evaluate(
    models: Annotated[list[str], typer.Argument(help="Models to measure; the first is compared with the others.")],
    data: Annotated[Path, typer.Option(help="A BEIR folder.")],
    split: Annotated[str, typer.Option(help="Which qrels to measure on.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Write metrics.json, per-query Parquet and TREC runs here.")] = None,
    bm25: Annotated[bool, typer.Option(help="Measure BM25, too.")] = True,
    store: Store = "",
    **settings: Any,
) -> Told:
    """Measure any bi-encoders, and BM25, on a BEIR folder: every measure, with intervals and p values."""
    from denizen.recipes.evaluate import evaluate
    from denizen.reports.results import analyser_lines, comparison_lines, dim_comparison_lines

    report = evaluate(models, data, split=split, out=out, bm25=bm25, store=store, **settings)
    tables = (comparison_lines(report), dim_comparison_lines(report))
    return Told(report, [*(line for rows in tables for line in in_columns(rows)), *analyser_lines(report)])


@command("gate", of_adapt("general", "neighbour", "forgetting_limit", *_READING, "backend", "precision"))
def gate(
    model: Annotated[str, typer.Argument(help="The model to measure.")],
    *,
    base: Annotated[str, typer.Option(help="The model that it was adapted from.")],
    seed: Annotated[int | None, typer.Option(help=_SEED)] = None,
    out: Annotated[Path | None, typer.Option(help="Write gate.json into this folder.")] = None,
    store: Store = "",
    **settings: Any,
) -> Told:
    """Measure what a model has forgotten; exit code 4 where that is more than the limit."""
    from denizen.recipes.gate import gate
    from denizen.reports.results import gate_lines

    report = gate(model, base, seed=seed, out=out, store=store, **settings)
    return Told(report, in_columns(gate_lines(report)), report)


@command("thresholds", of_adapt(*_READING, "backend", "precision", "skip_bad_rows"))
def thresholds(
    model: Annotated[str, typer.Argument(help="The model whose thresholds are sought.")],
    *,
    base: Annotated[str, typer.Option(help="The model that it was adapted from.")],
    data: Annotated[list[Path], typer.Option(help="A BEIR folder, a domain; may be given several times.")],
    split: Annotated[str, typer.Option(help="Which qrels to choose by; not those of the test.")] = "dev",
    old: Annotated[list[float] | None, typer.Option(help=_OLD)] = None,
    out: Annotated[Path | None, typer.Option(help="Write thresholds.json and thresholds.html here.")] = None,
    store: Store = "",
    **settings: Any,
) -> Told:
    """Measure what thresholds of cosine similarity are worth under a model, and which replace those of its base."""
    from denizen.recipes.thresholds import thresholds
    from denizen.reports.thresholds import at_lines, few_lines, mapping_lines, threshold_headline, thresholds_page

    report = thresholds(model, base, data, split=split, old=old or [], out=out, store=store, **settings)
    if out:
        thresholds_page(report, out / "thresholds.html")
    lines = [threshold_headline(report)]
    for name, of in report["domains"].items():
        lines += [f"{name}, {of['queries']:,} queries", *in_columns(mapping_lines(of)), *in_columns(at_lines(of))]
    return Told(report, [*lines, *few_lines(report)])


@command("mteb", of_adapt(*_READING, "backend", "precision"))
def mteb(
    model: Annotated[str, typer.Argument(help="The bi-encoder to measure: a folder or an id.")],
    *,
    tasks: Annotated[list[str] | None, typer.Option(help=_TASKS, metavar="TASK")] = None,
    cache: Annotated[str, typer.Option(help="Folder of data sets, as HF_HOME is one.", metavar="FOLDER")] = "",
    split: Annotated[str, typer.Option(help="Which qrels of a BEIR folder to measure on.")] = "test",
    out: Annotated[Path | None, typer.Option(help=_MTEB_OUT)] = None,
    store: Store = "",
    **settings: Any,
) -> Told:
    """Measure a bi-encoder on retrieval tasks of mteb, and on BEIR folders as such: nDCG@10, the paper's averages."""
    from denizen.recipes.mteb import mteb
    from denizen.reports.mteb import mteb_reasons, mteb_table

    found = mteb(model, tasks or [], cache=cache, split=split, out=out, store=store, **settings)
    return Told(found, [*in_columns(mteb_table(found)), *mteb_reasons(found)])


@command("report")
def report(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    out: Annotated[Path | None, typer.Option(help="The page (default: report.html in the run's folder).")] = None,
) -> Told:
    """Write a run's report: one HTML page, no script, nothing loaded from outside."""
    from denizen.reports.report import report

    page = report(run, out).as_posix()
    return Told({"report": page}, [page])


@command("explain")
def explain(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    query_id: Annotated[str, typer.Argument(help="A query of any split.")],
) -> Told:
    """Show where a query and what was trained on it come from: passage, document, origin, judge's reply, price."""
    from denizen.reports.explain import explain, explain_lines

    found = explain(run, query_id)
    return Told(found, explain_lines(found))


@command("audit", without_effect)
def audit(  # noqa: PLR0913
    run: Annotated[Path, typer.Argument(help="The folder of a run with --teacher llm.")],
    *,
    sample: Annotated[int, typer.Option(help="Judged pairs to look at.", min=2)] = 200,
    second_llm: Annotated[str, typer.Option(help="Another LLM that grades the same pairs.")] = "",
    second_endpoint: Annotated[str, _ENDPOINT] = "",
    second_prices: Annotated[str, _PRICES] = "",
    export: Annotated[Path | None, typer.Option(help="Write a sheet for people to grade (.csv, .xlsx).")] = None,
    people: Annotated[
        Path | None,
        typer.Option(help="A sheet that people have graded, or RUN/grades.jsonl of serve's page."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample.", min=0)] = 42,
    **settings: Any,
) -> Told:
    """Measure whether a run's LLM judge can be trusted: kappa against itself, known pairs, a second judge, people."""
    from denizen.recipes.audit import audit
    from denizen.reports.audit import audit_lines

    second: dict[str, Any] = {
        "second_llm": second_llm,
        "second_endpoint": second_endpoint,
        "second_prices": second_prices,
    }
    found = audit(run, sample=sample, **second, export=export, people=people, seed=seed, **settings)
    return Told(found, audit_lines(found))


@command("pool", without_effect)
def pool(
    run: Annotated[Path, typer.Argument(help="The folder of a run with a teacher.")],
    models: Annotated[list[str] | None, typer.Argument(help="What to compare (default: base and result).")] = None,
    *,
    judge: Annotated[str, typer.Option(help="The LLM that grades: another one than the teacher.")],
    judge_endpoint: Annotated[str, _ENDPOINT] = "",
    judge_prices: Annotated[str, _PRICES] = "",
    queries: Annotated[int, typer.Option(help="Fresh queries to write for held-out documents.", min=1)] = 200,
    same_judge: Annotated[bool, typer.Option("--same-judge", help="Let the teacher grade its own student.")] = False,
    **settings: Any,
) -> Told:
    """Compare models without labels: fresh queries on held-out documents, pooled results, another LLM's grades."""
    from denizen.recipes.pool import pool
    from denizen.reports.pool import pool_lines

    who: dict[str, Any] = {"judge_endpoint": judge_endpoint, "judge_prices": judge_prices, "same_judge": same_judge}
    found = pool(run, models or [], judge, queries=queries, **who, **settings)
    return Told(found, pool_lines(found))
