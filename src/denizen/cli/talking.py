"""The commands that answer: chat and ask."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denizen.cli.app import Told, command

if TYPE_CHECKING:
    from denizen.answering.from_passages import Grounded
    from denizen.answering.speaker import Speaker
    from denizen.data.task_rows import Message
    from denizen.language_models.streaming import Decoding

_MODEL = "A finished run of language, or a causal language model: a folder, an id or a GGUF file."
_QUIT, _NEW = "/quit", "/new"
_SNIPPET_CHARS = 100

Expert = Annotated[
    str | None, typer.Option(help="Who answers: answering, structured, or residual for none (default: the router).")
]
Adapter = Annotated[Path | None, typer.Option(help="Adapters (PEFT) of a model that is no run.")]
# the longest answers of the tasks have a page; who wants more says so
Tokens = Annotated[int, typer.Option(help="Tokens of an answer at most.", min=1)]
Temperature = Annotated[float, typer.Option(help="0: the most probable token each time.", min=0, max=2)]
Seed = Annotated[int, typer.Option(help="Of drawing, where the temperature is above 0.", min=0)]


@command("chat")
def chat(
    model: Annotated[str, typer.Argument(help=_MODEL, metavar="RUN|MODEL")],
    *,
    expert: Expert = None,
    adapter: Adapter = None,
    system: Annotated[str | None, typer.Option(help="What the model is told before the conversation.")] = None,
    max_new_tokens: Tokens = 512,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    **settings: Any,
) -> Told:
    """Talk with a language model in the terminal; /new forgets, /quit ends, Ctrl-C ends an answer."""
    from denizen.answering.speaker import speaker_folders
    from denizen.api import speaker_of
    from denizen.data.task_rows import Message
    from denizen.language_models.streaming import Decoding

    speaker = speaker_of(speaker_folders(model, adapter), settings["progress"])
    if expert is not None:
        # a wrong name is told before anything is typed
        speaker.expert([], expert)
    begin = [] if system is None else [Message("system", system)]
    turns, decoding = list(begin), Decoding(max_new_tokens, temperature, seed=seed)
    settings["progress"].say(f"{_QUIT} ends, {_NEW} forgets what was said, Ctrl-C ends an answer")
    for said in _lines():
        if said == _NEW:
            turns = list(begin)
            continue
        turns = _answered(speaker, [*turns, Message("user", said)], decoding, expert)
    return Told({"turns": [asdict(turn) for turn in turns]}, [])


@command("ask")
def ask(
    model: Annotated[str, typer.Argument(help=_MODEL, metavar="RUN|MODEL")],
    docs: Annotated[
        Path,
        typer.Argument(help="What to search: a run of adapt or language, what ingest made, a table, or a BEIR folder."),
    ],
    question: Annotated[str, typer.Argument(help="The question.")],
    *,
    top_k: Annotated[int, typer.Option(help="Passages that the model is shown at most.", min=1)] = 4,
    expert: Expert = None,
    adapter: Adapter = None,
    max_new_tokens: Tokens = 256,
    **settings: Any,
) -> Told:
    """Answer a question from the documents, with the passages that it rests on."""
    from denizen.answering.speaker import speaker_folders
    from denizen.api import ask

    found = ask(
        speaker_folders(model, adapter),
        docs,
        question,
        top_k=top_k,
        expert=expert,
        max_new_tokens=max_new_tokens,
        progress=settings["progress"],
    )
    return Told(asdict(found), _answer_lines(found))


def _lines() -> Iterator[str]:
    """What a person says, until the end of the input or /quit."""
    if sys.stdin.isatty():
        # arrow keys and what was typed before
        import readline  # noqa: F401
    while True:
        try:
            said = input("> " if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()
            return
        if said == _QUIT:
            return
        if said:
            yield said


def _answered(speaker: Speaker, turns: list[Message], decoding: Decoding, expert: str | None) -> list[Message]:
    """Prints the answer to a conversation as it comes, and gives the conversation with it.

    A turn that is too long is told and forgotten.
    """
    from denizen.data.task_rows import Message
    from denizen.engine.errors import InputError

    try:
        read = speaker.recent(turns, decoding.max_new_tokens)
        asked = speaker.tokens(read)
    except InputError as error:
        typer.echo(f"denizen: {error}", err=True)
        return turns[:-1]
    chosen, confidence = speaker.expert(read, expert)
    if speaker.experts:
        sure = "" if confidence is None else f" {confidence:.0%}"
        typer.echo(f"[{chosen or 'residual'}{sure}] ", nl=False)
    texts, cut = list[str](), ""
    try:
        with closing(speaker.say(asked, chosen, decoding)) as said:  # type: ignore[type-var]
            for piece in said:
                texts.append(piece.text)
                typer.echo(_printable(piece.text), nl=False)
                cut = " […]" if piece.finish == "length" else ""
    except KeyboardInterrupt:
        cut = " [interrupted]"
    typer.echo(cut)
    return [*turns, Message("assistant", "".join(texts).strip())]


def _answer_lines(found: Grounded) -> list[str]:
    """An answer and its passages; those that it names are marked."""
    cut = " […]" if found.finish == "length" else ""
    lines = [_printable(found.answer) + cut]
    if not found.passages:
        return [*lines, "nothing was found in the documents, so the model was not asked; try other words"]
    lines.append("")
    for number, passage in enumerate(found.passages, start=1):
        text = " ".join(f"{passage.title}  {passage.text}".split())
        text = _printable(text if len(text) <= _SNIPPET_CHARS else f"{text[:_SNIPPET_CHARS].rstrip()}…")
        mark = "*" if number in found.cited else " "
        lines.append(f"{mark}[{number}]  {passage.parent_id or passage.doc_id}  {text}")
    if found.unknown:
        wrong = ", ".join(f"[{number}]" for number in found.unknown)
        lines.append(f"the answer names {wrong}, and there is no such passage")
    elif not found.cited:
        lines.append("the answer names none of them")
    return lines


def _printable(text: str) -> str:
    """A text without what a terminal would obey."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
