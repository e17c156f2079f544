"""Options that several commands share, and the settings of `adapt` as options."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from denizen.recipes.config import PANELS, AdaptConfig

Out = Annotated[Path, typer.Option(help="The run's folder. The same command again continues what is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON to standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Redo = Annotated[
    str | None, typer.Option(help="Replace this stage and what follows, such as round-0/student.", metavar="STAGE")
]


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """The options that stand on the command line."""
    return {name: value for name, value in settings.items() if value is not None}


def _options_of(
    config: type[Any], panels: Mapping[str, Collection[str]], names: Collection[str] | None
) -> list[inspect.Parameter]:
    """The settings as keyword options of a command, each None unless given, so that presets can fill in."""
    hints = get_type_hints(config)
    options = []
    for spec in dataclasses.fields(config):
        # what has no default is an argument of the command
        if spec.default is MISSING or (names is not None and spec.name not in names):
            continue
        hint, default = hints[spec.name], spec.default
        literal, several = get_origin(hint) is Literal, get_origin(hint) is tuple
        choices = f" One of: {', '.join(get_args(hint))}." if literal else ""
        shown = "" if isinstance(default, bool) or default in ("", ()) else f" (default: {default})"
        panel = next(name for name, inside in panels.items() if spec.name in inside)
        text = f"{spec.metadata['help']}{choices}{' May be given several times.' if several else ''}{shown}"
        option = typer.Option(help=text, show_default=False, rich_help_panel=panel, metavar=spec.metadata["metavar"])
        value: Any = str if literal else list[str] if several else hint
        kind = Annotated[value | None, option]
        options.append(inspect.Parameter(spec.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))
    return options


def with_settings(
    command: Callable[..., None],
    names: Collection[str] | None = None,
    *,
    config: type[Any] = AdaptConfig,
    panels: Mapping[str, Collection[str]] = PANELS,
) -> Callable[..., None]:
    """A command that takes settings (by name; None: all) as options beside its own.

    Args:
        command: The command; its settings arrive as keywords.
        names: The settings that it takes.
        config: The class of the settings.
        panels: How --help groups them.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [found for found in signature.parameters.values() if found.kind is not inspect.Parameter.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *_options_of(config, panels, names)])  # type: ignore[attr-defined]
    return command
