"""Options that several commands share, and settings as options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

if TYPE_CHECKING:
    from denizen.engine.settings import Setting

Out = Annotated[Path, typer.Option(help="The run's folder. The same command again continues what is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON to standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Redo = Annotated[
    str | None,
    typer.Option(help="Replace this step and what was made from it, such as round-0/student.", metavar="STEP"),
]
_ADD = "_add_settings"


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """The options that stand on the command line."""
    return {name: value for name, value in settings.items() if value is not None}


def adapt_settings() -> Mapping[str, Setting]:
    """The settings of `adapt`."""
    from denizen.recipes.config import SETTINGS

    return SETTINGS


def without_effect() -> Collection[str]:
    """Those that decide on no result."""
    from denizen.recipes.config import WITHOUT_EFFECT

    return WITHOUT_EFFECT


def with_settings(
    command: Callable[..., None],
    settings: Callable[[], Mapping[str, Setting]],
    names: Callable[[], Collection[str]] | None = None,
) -> Callable[..., None]:
    """A command that takes settings as options beside its own; they arrive as keywords.

    They are looked up only when the command is called: the modules where they stand are heavier than `denizen --help`.

    Args:
        command: The command.
        settings: Finds all settings by name.
        names: Those that it takes; None: all.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [found for found in signature.parameters.values() if found.kind is not inspect.Parameter.VAR_KEYWORD]

    def add() -> None:
        taken = names() if names else None
        options = [
            _option(name, each)
            for name, each in settings().items()
            # what has no default is an argument of the command
            if not each.required and (taken is None or name in taken)
        ]
        command.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]

    command.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    setattr(command, _ADD, add)
    return command


def add_settings(command: Callable[..., Any]) -> bool:
    """Gives a command its settings; False where it has none."""
    add = getattr(command, _ADD, None)
    if add is None:
        return False
    add()
    return True


def _option(name: str, found: Setting) -> inspect.Parameter:
    """A setting as a keyword option that is None unless it is given, so that presets can fill in."""
    hint, default, metadata = found.hint, found.spec.default, found.spec.metadata
    literal, several = get_origin(hint) is Literal, get_origin(hint) is tuple
    choices = f" One of: {', '.join(get_args(hint))}." if literal else ""
    shown = "" if isinstance(default, bool) or default in ("", ()) else f" (default: {default})"
    text = f"{metadata['help']}{choices}{' May be given several times.' if several else ''}{shown}"
    option = typer.Option(help=text, show_default=False, rich_help_panel=found.panel, metavar=metadata.get("metavar"))
    value: Any = str if literal else list[str] if several else hint
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[value | None, option]
    )
