"""The commands that make a corpus: ingest, download-filings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denizen.cli.app import app, set_debug
from denizen.cli.options import Debug, Json, Quiet, given, with_settings
from denizen.cli.printing import make_progress

if TYPE_CHECKING:
    from denizen.engine.settings import Setting


def _ingest(
    paths: Annotated[list[str], typer.Argument(help="Files and folders, of any kind; zip and tar are looked into.")],
    *,
    out: Annotated[Path, typer.Option(help="The corpus's folder. The same command again reads what has changed.")],
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Read files into a clean corpus of passages: PDF, HTML, filings, office files, mail, tables, text, archives."""
    set_debug(debug)
    from denizen.ingest.ingest import ingest, ingest_lines
    from denizen.ingest.settings import IngestConfig

    config = IngestConfig(tuple(paths), **given(settings))

    report = ingest(config, out, progress=make_progress(quiet))
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    elif not quiet:
        typer.echo("\n".join(ingest_lines(report, out)))


def _settings() -> Mapping[str, Setting]:
    from denizen.engine.settings import settings_of
    from denizen.ingest.settings import IngestConfig

    return settings_of(IngestConfig)


app.command(name="ingest")(with_settings(_ingest, _settings))


@app.command(name="download-filings")
def download_filings(  # noqa: PLR0913
    companies: Annotated[list[str], typer.Argument(help="Tickers or CIK numbers.")],
    *,
    out: Annotated[Path, typer.Option(help="The folder of the filings; what is there is not fetched again.")],
    form: Annotated[
        list[str] | None,
        typer.Option(
            help="A form type (default: 10-K), or paper: the 14 of arXiv 2512.08088; several times for several."
        ),
    ] = None,
    identity: Annotated[
        str, typer.Option(help="Who asks, as 'Company you@example.org' (or the variable SEC_IDENTITY); SEC wants that.")
    ] = "",
    since: Annotated[str, typer.Option(help="The earliest date of filing, as 2020-01-31.")] = "",
    until: Annotated[str, typer.Option(help="The latest date of filing.")] = "",
    limit: Annotated[int, typer.Option(help="Most filings of each company and form, newest first.", min=1)] = 10,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch SEC filings of companies, for ingest; the only command that uses a network by itself."""
    set_debug(debug)
    from denizen.ingest.download_filings import download_filings as run_download

    report = run_download(
        companies,
        form or ["10-K"],
        out,
        identity=identity,
        since=since,
        until=until,
        limit=limit,
        progress=make_progress(quiet),
    )
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    elif not quiet:
        forms = ", ".join(f"{name} {count:,}" for name, count in report["forms"].items())
        typer.echo(f"{report['downloaded']:,} filings fetched, {report['present']:,} were there: {forms or 'none'}")
        for address in report["missing"]:
            typer.echo(f"  missing: {address}")
