"""The command that searches for an instruction: prompt-search."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denizen.cli.app import Told, command
from denizen.cli.options import Out, Redo, Store
from denizen.cli.printing import in_columns

if TYPE_CHECKING:
    from denizen.engine.settings import Setting


def _settings() -> Iterable[Setting]:
    from denizen.recipes.prompt_search import SETTINGS

    return SETTINGS.values()


@command("prompt-search", _settings)
def prompt_search(
    model: Annotated[str, typer.Argument(help="A model with an instruction before queries, or a decoder-only LLM.")],
    data: Annotated[str, typer.Argument(help="A labelled source as of adapt, or the folder of a run with labels.")],
    *,
    llm: Annotated[str, typer.Option(help="Who writes instructions: a GGUF file, or the model at the endpoint.")],
    out: Out,
    redo: Redo = None,
    store: Store = "",
    **settings: Any,
) -> Told:
    """Search for a better instruction before a model's queries on dev; write the model with it, and read test."""
    from denizen.recipes.prompt_search import prompt_search
    from denizen.reports.prompt_search import prompt_search_lines, tried_lines

    found = prompt_search(model, data, llm, out, redo=redo, store=store, **settings)
    return Told(found, [*in_columns(tried_lines(found)), *prompt_search_lines(found), f"model: {out / 'model'}"])
