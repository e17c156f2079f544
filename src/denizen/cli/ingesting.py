"""The commands that make a corpus: ingest, download-filings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denizen.cli.app import Told, command

if TYPE_CHECKING:
    from denizen.engine.settings import Setting


def _settings() -> Iterable[Setting]:
    from denizen.engine.settings import settings_of
    from denizen.ingest.settings import IngestConfig

    return settings_of(IngestConfig).values()


@command("ingest", _settings)
def ingest(
    paths: Annotated[list[str], typer.Argument(help="Files and folders, of any kind; zip and tar are looked into.")],
    *,
    out: Annotated[Path, typer.Option(help="The corpus's folder. The same command again reads what has changed.")],
    explain_drops: Annotated[
        bool, typer.Option("--explain-drops", help="List each text that was left out, by reason.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write report.html: one page on what became of it all.")
    ] = False,
    **settings: Any,
) -> Told:
    """Read files into a clean corpus of passages: PDF, HTML, filings, office files, mail, tables, text, archives."""
    from denizen.ingest.ingest import ingest, ingest_lines
    from denizen.ingest.settings import IngestConfig

    progress = settings.pop("progress")
    found = ingest(IngestConfig(tuple(paths), **settings), out, progress=progress)
    lines = ingest_lines(found, out, explain_drops)
    if report:
        from denizen.reports.ingest_page import ingest_page

        lines.append(f"report: {ingest_page(out).as_posix()}")
    return Told(found, lines)


@command("download-filings")
def download_filings(
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
    **settings: Any,
) -> Told:
    """Fetch SEC filings of companies, for ingest; the only command that uses a network by itself."""
    from denizen.ingest.download_filings import download_filings

    when: dict[str, Any] = {"since": since, "until": until}
    report = download_filings(companies, form or ["10-K"], out, identity=identity, **when, limit=limit, **settings)
    forms = ", ".join(f"{name} {count:,}" for name, count in report["forms"].items())
    lines = [f"{report['downloaded']:,} filings fetched, {report['present']:,} were there: {forms or 'none'}"]
    return Told(report, [*lines, *(f"  missing: {address}" for address in report["missing"])])
