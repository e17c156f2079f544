"""The commands that make a model: adapt, demo, retry, merge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from denizen.cli.app import app, set_debug
from denizen.cli.options import Debug, Json, Out, Quiet, Redo, adapt_settings, given, with_settings, without_effect
from denizen.cli.printing import check_gate, make_progress, show
from denizen.engine.errors import InputError


def _adapt(
    source: Annotated[
        str | None,
        typer.Argument(
            help="BEIR folder, file of question-answer pairs, or data set id; with a teacher, documents of any kind."
        ),
    ] = None,
    *,
    out: Out,
    config: Annotated[
        Path | None,
        typer.Option(help="A file of settings, YAML or JSON, as a run's config.json; options here come before it."),
    ] = None,
    redo: Redo = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Adapt a bi-encoder to documents: with questions that belong to them, or with a teacher that writes and grades."""
    set_debug(debug)
    from denizen.api import adapt
    from denizen.recipes.config import AdaptConfig, read_settings

    values = {**(read_settings(config) if config else {}), **given(settings)}
    if source is not None:
        values["source"] = source
    if "source" not in values:
        raise InputError("there is no source: give it as the argument, or as source in the file of --config")
    report = adapt(AdaptConfig(**values), out, redo=redo, progress=make_progress(quiet))
    show(report, quiet, as_json)
    check_gate(report["gate"])


app.command(name="adapt")(with_settings(_adapt, adapt_settings))


@app.command()
def demo(
    out: Annotated[Path | None, typer.Option(help="The run's folder (default: runs/demo, or runs/demo-full).")] = None,
    full: Annotated[bool, typer.Option("--full", help="Use all docstrings, not a part that takes minutes.")] = False,
    redo: Redo = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run the main job on embedded data: docstrings of installed packages and all-MiniLM-L6-v2, offline."""
    set_debug(debug)
    from denizen.api import demo as run_demo

    out = out or Path("runs/demo-full" if full else "runs/demo")
    report = run_demo(out, full=full, redo=redo, progress=make_progress(quiet))
    show(report, quiet, as_json)
    check_gate(report["gate"])


def _retry(
    run: Annotated[Path, typer.Argument(help="The folder of a run with a teacher.")],
    *,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Ask the failed calls of a run again, and those that its budget cut off; what was answered is not paid twice."""
    set_debug(debug)
    from denizen.api import retry

    report = retry(run, progress=make_progress(quiet), **given(settings))
    show(report, quiet, as_json)
    check_gate(report["gate"])


app.command(name="retry")(with_settings(_retry, adapt_settings, without_effect))


@app.command()
def merge(  # noqa: PLR0913
    models: Annotated[list[str], typer.Argument(help="Models that were fine-tuned from the base.")],
    *,
    base: Annotated[str, typer.Option(help="The model that they were fine-tuned from.")],
    out: Annotated[Path, typer.Option(help="The new model's folder.")],
    method: Annotated[
        str, typer.Option(help="linear, slerp, task_arithmetic, ties, dare_ties or model_stock.")
    ] = "linear",
    weights: Annotated[
        str, typer.Option(help="How far to go towards each model, as 0.3,0.2 (default: halfway, in equal parts).")
    ] = "",
    density: Annotated[float, typer.Option(help="Share of a task vector that ties and dare_ties keep.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of what dare_ties drops.", min=0)] = 42,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Merge models with their base into one; the recipe goes onto its card."""
    set_debug(debug)
    from denizen.recipes.merge_models import merge_models, read_weights

    found = merge_models(
        models, out, base=base, method=method, weights=read_weights(weights), density=density, seed=seed
    )
    typer.echo(json.dumps(found, indent=2) if as_json else f"merged model: {found['model']}")
