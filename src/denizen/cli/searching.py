"""The command that asks: search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denizen.cli.app import Told, command

if TYPE_CHECKING:
    from denizen.retrievers.searchable import FoundPassage

_SNIPPET_CHARS = 100


@command("search")
def search(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, or of a retriever with its corpus.")],
    query: Annotated[str, typer.Argument(help="What to look for.")],
    *,
    top_k: Annotated[int, typer.Option(help="How many passages to show.", min=1)] = 10,
    **settings: Any,
) -> Told:
    """Search a run's corpus with the retriever that it has made."""
    from denizen.retrievers.searchable import SearchableCorpus

    found = SearchableCorpus.load(run, settings["progress"]).search(query, top_k)
    return Told({"query": query, "passages": [asdict(passage) for passage in found]}, _lines(found))


def _lines(found: Sequence[FoundPassage]) -> list[str]:
    if not found:
        return ["nothing was found; try other words"]
    width = max(len(passage.doc_id) for passage in found)
    return [
        f"{passage.rank:>3}  {passage.score:8.4f}  {passage.doc_id:<{width}}  {_snippet(passage)}" for passage in found
    ]


def _snippet(passage: FoundPassage) -> str:
    """The beginning of a passage in one line, without what a terminal would obey."""
    text = " ".join(f"{passage.title}  {passage.text}".split())
    text = "".join(letter for letter in text if letter.isprintable())
    return text if len(text) <= _SNIPPET_CHARS else f"{text[:_SNIPPET_CHARS].rstrip()}…"
