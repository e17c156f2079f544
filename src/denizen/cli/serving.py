"""The command that serves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denizen.cli.app import Told, command

if TYPE_CHECKING:
    from denizen.engine.settings import Setting


def _settings() -> Iterable[Setting]:
    from denizen.engine.settings import settings_of
    from denizen.serve.settings import Serving

    return settings_of(Serving).values()


@command("serve", _settings)
def serve(
    models: Annotated[
        list[str],
        typer.Argument(help="Runs, saved retrievers, models or language models; NAME=WHERE to call one otherwise."),
    ],
    corpus: Annotated[
        Path | None,
        typer.Option(help="A BEIR corpus, or one of ingest, to search (default: that of each run)."),
    ] = None,
    **settings: Any,
) -> Told:
    """Serve embeddings, reranking, search and answers over HTTP, as OpenAI's and Cohere's clients ask for them."""
    from denizen.serve.server import serve
    from denizen.serve.settings import Serving

    progress = settings.pop("progress")

    def started(address: str, names: Sequence[str], keys: bool) -> None:
        progress.say(f"serving {', '.join(names)} at {address}{' to whoever has a key' if keys else ''}")

    serve(models, Serving.of(settings), corpus, started)
    return Told({}, ["stopped; what had begun was answered"])
