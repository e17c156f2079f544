"""The commands that make a model: adapt, experts, domains, language, demo, retry, merge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from denizen.cli.app import Told, command
from denizen.cli.options import ConfigFile, Out, Redo, of_adapt, of_domains, of_experts, of_language, without_effect
from denizen.cli.printing import closing_lines, domains_closing_lines, experts_closing_lines, language_closing_lines
from denizen.engine.errors import InputError


@command("adapt", of_adapt())
def adapt(
    source: Annotated[
        str | None,
        typer.Argument(
            help="BEIR folder, file of question-answer pairs, or data set id; with a teacher, documents of any kind."
        ),
    ] = None,
    *,
    out: Out,
    config: ConfigFile = None,
    redo: Redo = None,
    **settings: Any,
) -> Told:
    """Adapt a bi-encoder to documents: with questions that belong to them, or with a teacher that writes and grades."""
    from denizen.api import adapt
    from denizen.recipes.config import AdaptConfig, read_settings

    progress = settings.pop("progress")
    values = {**(read_settings(config) if config else {}), **settings}
    if source is not None:
        values["source"] = source
    if "source" not in values:
        raise InputError("there is no source: give it as the argument, or as source in the file of --config")
    report = adapt(AdaptConfig(**values), out, redo=redo, progress=progress)
    return Told(report, closing_lines(report), report["gate"])


@command("experts", of_experts)
def experts(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Labelled sources, each a slice; or one, whose column --slices names the slice."),
    ] = None,
    *,
    out: Out,
    config: ConfigFile = None,
    redo: Redo = None,
    **settings: Any,
) -> Told:
    """Train an expert for each slice of labelled data, search a merge of them on dev, and compare it with one model."""
    from denizen.api import experts
    from denizen.recipes.config import read_settings
    from denizen.recipes.experts_config import EXPERTS_SETTINGS, ExpertsConfig

    progress = settings.pop("progress")
    values = {**(read_settings(config, EXPERTS_SETTINGS) if config else {}), **settings}
    if sources:
        values["sources"] = sources
    if "sources" not in values:
        raise InputError("there is no source: give slices as arguments, or as sources in the file of --config")
    report = experts(ExpertsConfig(**values), out, redo=redo, progress=progress)
    return Told(report, experts_closing_lines(report))


@command("domains", of_domains)
def domains(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Labelled sources, each a domain; or one, whose column --slices names the domain."),
    ] = None,
    *,
    out: Out,
    config: ConfigFile = None,
    redo: Redo = None,
    replace: Annotated[
        str | None,
        typer.Option(help="A domain whose source has changed: it is made anew, others stay.", metavar="DOMAIN"),
    ] = None,
    **settings: Any,
) -> Told:
    """Compare what can be done with several domains: one model, routing, ensembles, merging; and recommend one."""
    from denizen.api import domains
    from denizen.recipes.config import read_settings
    from denizen.recipes.domains_config import DOMAINS_SETTINGS, DomainsConfig

    progress = settings.pop("progress")
    values = {**(read_settings(config, DOMAINS_SETTINGS) if config else {}), **settings}
    if sources:
        values["sources"] = sources
    if "sources" not in values:
        raise InputError("there is no source: give domains as arguments, or as sources in the file of --config")
    report = domains(DomainsConfig(**values), out, redo=redo, replace=replace, progress=progress)
    return Told(report, domains_closing_lines(report))


@command("language", of_language)
def language(
    source: Annotated[
        str | None, typer.Argument(help="Documents: files of any kind, a table, or a corpus that ingest made.")
    ] = None,
    *,
    base: Annotated[
        str | None,
        typer.Option(help="Base language model, before instruction tuning: a folder of transformers, an id, a GGUF."),
    ] = None,
    out: Out,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what it takes (tokens, memory, disk, hours), and train nothing.")
    ] = False,
    config: ConfigFile = None,
    redo: Redo = None,
    **settings: Any,
) -> Told:
    """Make a small LLM native to documents: pretrain its base on them, then add what instruction tuning gave."""
    from denizen.api import language, plan_language
    from denizen.recipes.config import read_settings
    from denizen.recipes.language_config import LANGUAGE_SETTINGS, LanguageConfig

    progress = settings.pop("progress")
    values = {**(read_settings(config, LANGUAGE_SETTINGS) if config else {}), **settings}
    values |= {name: given for name, given in (("source", source), ("base", base)) if given}
    if missing := [name for name in ("source", "base") if name not in values]:
        how = "it as the argument" if missing[0] == "source" else f"--{missing[0]}"
        raise InputError(f"there is no {missing[0]}: give {how}, or {missing[0]} in the file of --config")
    if plan and redo:
        raise InputError("--plan says what is left to be done and redoes nothing; give --plan or --redo")
    if plan:
        planned = plan_language(LanguageConfig(**values), out, progress=progress)
        return Told(planned, planned["lines"])
    report = language(LanguageConfig(**values), out, redo=redo, progress=progress)
    return Told(report, language_closing_lines(report))


@command("demo")
def demo(
    out: Annotated[Path | None, typer.Option(help="The run's folder (default: runs/demo, or runs/demo-full).")] = None,
    full: Annotated[bool, typer.Option("--full", help="Use all docstrings, not a part that takes minutes.")] = False,
    redo: Redo = None,
    **settings: Any,
) -> Told:
    """Run the main job on embedded data: docstrings of installed packages and all-MiniLM-L6-v2, offline."""
    from denizen.api import demo

    report = demo(out or Path("runs/demo-full" if full else "runs/demo"), full=full, redo=redo, **settings)
    return Told(report, closing_lines(report), report["gate"])


@command("retry", without_effect)
def retry(run: Annotated[Path, typer.Argument(help="The folder of a run with a teacher.")], **settings: Any) -> Told:
    """Ask the failed calls of a run again, and those that its budget cut off; what was answered is not paid twice."""
    from denizen.api import retry

    report = retry(run, **settings)
    if report["recipe"] == "language":
        return Told(report, language_closing_lines(report))
    return Told(report, closing_lines(report), report["gate"])


@command("merge")
def merge(
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
) -> Told:
    """Merge models with their base into one; the recipe goes onto its card."""
    from denizen.recipes.merge_models import merge_models

    given = read_weights(weights)
    found = merge_models(models, out, base=base, method=method, weights=given, density=density, seed=seed)
    return Told(found, [f"merged model: {found['model']}"])


def read_weights(text: str) -> tuple[float, ...]:
    """Weights such as "0.3,0.2".

    Raises:
        InputError: When one of them is not a number.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise InputError(f"weights {text!r} are not of the form 0.3,0.2 (a number for each model)") from None
