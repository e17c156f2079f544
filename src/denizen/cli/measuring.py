"""The commands that measure and show: evaluate, gate, report, explain, audit, pool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from denizen.cli.app import app, set_debug
from denizen.cli.options import Debug, Json, Quiet, adapt_settings, given, with_settings, without_effect
from denizen.cli.printing import check_gate, make_progress, print_table


@app.command()
def evaluate(  # noqa: PLR0913
    models: Annotated[list[str], typer.Argument(help="Models to measure; the first is compared with the others.")],
    data: Annotated[Path, typer.Option(help="A BEIR folder.")],
    split: Annotated[str, typer.Option(help="Which qrels to measure on.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Write metrics.json, per-query Parquet and TREC runs here.")] = None,
    bm25: Annotated[bool, typer.Option(help="Measure BM25, too.")] = True,
    backend: Annotated[str, typer.Option(help="What encodes: auto, torch, openvino or onnx.")] = "auto",
    precision: Annotated[str, typer.Option(help="Its arithmetic: auto, fp32, bf16 or int8.")] = "auto",
    store: Annotated[str, typer.Option(help="Folder of embeddings to share; none are kept without it.")] = "",
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Skip and count unreadable rows.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure any bi-encoders, and BM25, on a BEIR folder: every measure, with intervals and p values."""
    set_debug(debug)
    from denizen.recipes.evaluate import evaluate as run_evaluate
    from denizen.reports.results import comparison_lines

    report = run_evaluate(
        models,
        data,
        split=split,
        out=out,
        bm25=bm25,
        backend=backend,
        precision=precision,
        store=store,
        skip_bad_rows=skip_bad_rows,
        progress=make_progress(quiet),
    )
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    elif not quiet:
        print_table(comparison_lines(report))


@app.command()
def gate(  # noqa: PLR0913
    model: Annotated[str, typer.Argument(help="The model to measure.")],
    *,
    base: Annotated[str, typer.Option(help="The model that it was adapted from.")],
    general: Annotated[
        list[str] | None,
        typer.Option(metavar="FOLDER", help="BEIR folder of a general set; several times for several."),
    ] = None,
    neighbour: Annotated[
        list[str] | None, typer.Option(metavar="FOLDER", help="BEIR folder of the same field with other questions.")
    ] = None,
    forgetting_limit: Annotated[
        float, typer.Option(help="How far the mean nDCG@10 of the general sets, and of the neighbours, may fall.")
    ] = 0.005,
    out: Annotated[Path | None, typer.Option(help="Write gate.json into this folder.")] = None,
    backend: Annotated[str, typer.Option(help="What encodes: auto, torch, openvino or onnx.")] = "auto",
    precision: Annotated[str, typer.Option(help="Its arithmetic: auto, fp32, bf16 or int8.")] = "auto",
    store: Annotated[str, typer.Option(help="Folder of embeddings to share; none are kept without it.")] = "",
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure what a model has forgotten; exit code 4 where that is more than the limit."""
    set_debug(debug)
    from denizen.recipes.gate import gate as run_gate
    from denizen.reports.results import gate_lines

    report = run_gate(
        model,
        base,
        general=general or (),
        neighbour=neighbour or (),
        forgetting_limit=forgetting_limit,
        out=out,
        backend=backend,
        precision=precision,
        store=store,
        progress=make_progress(quiet),
    )
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    elif not quiet:
        print_table(gate_lines(report))
    check_gate(report)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    out: Annotated[Path | None, typer.Option(help="The page (default: report.html in the run's folder).")] = None,
    debug: Debug = False,
) -> None:
    """Write a run's report: one HTML page, no script, nothing loaded from outside."""
    set_debug(debug)
    from denizen.reports.report import report as write_report

    typer.echo(write_report(run, out).as_posix())


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    query_id: Annotated[str, typer.Argument(help="A query of any split.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show where a query and what was trained on it come from: passage, document, origin, judge's reply, price."""
    set_debug(debug)
    from denizen.reports.explain import explain as run_explain
    from denizen.reports.explain import explain_lines

    found = run_explain(run, query_id)
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else "\n".join(explain_lines(found)))


def _audit(  # noqa: PLR0913
    run: Annotated[Path, typer.Argument(help="The folder of a run with --teacher llm.")],
    *,
    sample: Annotated[int, typer.Option(help="Judged pairs to look at.", min=2)] = 200,
    second_llm: Annotated[str, typer.Option(help="Another LLM that grades the same pairs.")] = "",
    second_endpoint: Annotated[
        str, typer.Option(help="Its endpoint, where it is not the run's (key: JUDGE_API_KEY).")
    ] = "",
    second_prices: Annotated[str, typer.Option(help="Its prices, as 0.15/0.60.")] = "",
    export: Annotated[Path | None, typer.Option(help="Write a sheet for people to grade (.csv, .xlsx).")] = None,
    people: Annotated[Path | None, typer.Option(help="A sheet that people have graded.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample.", min=0)] = 42,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Measure whether a run's LLM judge can be trusted: kappa against itself, known pairs, a second judge, people."""
    set_debug(debug)
    from denizen.recipes.audit import audit as run_audit
    from denizen.reports.audit import audit_lines

    found = run_audit(
        run,
        sample=sample,
        second_llm=second_llm,
        second_endpoint=second_endpoint,
        second_prices=second_prices,
        export=export,
        people=people,
        seed=seed,
        progress=make_progress(quiet),
        **given(settings),
    )
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif not quiet:
        typer.echo("\n".join(audit_lines(found)))


def _pool(  # noqa: PLR0913
    run: Annotated[Path, typer.Argument(help="The folder of a run with a teacher.")],
    models: Annotated[list[str] | None, typer.Argument(help="What to compare (default: base and result).")] = None,
    *,
    judge: Annotated[str, typer.Option(help="The LLM that grades: another one than the teacher.")],
    judge_endpoint: Annotated[
        str, typer.Option(help="Its endpoint, where it is not the run's (key: JUDGE_API_KEY).")
    ] = "",
    judge_prices: Annotated[str, typer.Option(help="Its prices, as 0.15/0.60.")] = "",
    queries: Annotated[int, typer.Option(help="Fresh queries to write for held-out documents.", min=1)] = 200,
    same_judge: Annotated[bool, typer.Option("--same-judge", help="Let the teacher grade its own student.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Compare models without labels: fresh queries on held-out documents, pooled results, another LLM's grades."""
    set_debug(debug)
    from denizen.recipes.pool import pool
    from denizen.reports.pool import pool_lines

    found = pool(
        run,
        models or [],
        judge,
        judge_endpoint=judge_endpoint,
        judge_prices=judge_prices,
        queries=queries,
        same_judge=same_judge,
        progress=make_progress(quiet),
        **given(settings),
    )
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif not quiet:
        typer.echo("\n".join(pool_lines(found)))


app.command(name="audit")(with_settings(_audit, adapt_settings, without_effect))
app.command(name="pool")(with_settings(_pool, adapt_settings, without_effect))
