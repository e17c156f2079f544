"""The command that exports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from denizen.cli.app import Told, command
from denizen.cli.printing import in_columns
from denizen.engine.errors import InputError

_TO = (
    "onnx, openvino, int8, hub-folder (models); binary, faiss, qdrant, lancedb, pgvector (vectors); semantic-router "
    "(a configuration); of a language run: merged, vllm, gguf, ollama."
)
_DATA = (
    "A BEIR folder that is exported and measured instead of the run's passages and test. For semantic-router: "
    "queries that are of none of the run's domains."
)


@command("export")
def export(
    source: Annotated[
        str,
        typer.Argument(help="A finished run, a saved retriever, a model, or a language model.", metavar="RUN|MODEL"),
    ],
    *,
    to: Annotated[str, typer.Option(help=_TO, metavar="KIND")],
    out: Annotated[Path, typer.Option(help="A new folder; the same command again continues.")],
    data: Annotated[Path | None, typer.Option(help=_DATA)] = None,
    expert: Annotated[
        str | None, typer.Option(help="Of a language run: the expert that is folded in (default: none).")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Take it though it loses more than .005 nDCG@10 (an LLM: .001 of likelihood)."),
    ] = False,
    **settings: Any,
) -> Told:
    """Export what a run ships to other tools; each is measured on the run's test first (exit code 4: refused)."""
    from denizen.exports.export import export
    from denizen.exports.language import LANGUAGE_KINDS, export_language
    from denizen.reports.export import export_lines, export_notes, language_lines, router_lines, router_notes

    if to in LANGUAGE_KINDS:
        if data is not None:
            raise InputError("--data is for retrievers; a language model is measured on what its run has held out")
        told = export_language(source, to, out, expert=expert, force=force, progress=settings["progress"])
        return Told(told, [*in_columns(language_lines(told)), out.as_posix()])
    if expert is not None:
        raise InputError(f"--expert is for {', '.join(LANGUAGE_KINDS)}, and not for {to}; leave it out")
    report = export(source, to, out, data=data, force=force, progress=settings["progress"])
    if to == "semantic-router":
        return Told(report, [*in_columns(router_lines(report)), *router_notes(report), out.as_posix()])
    return Told(report, [*in_columns(export_lines(report)), *export_notes(report), out.as_posix()])
