"""Options that several commands share, and settings as options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

if TYPE_CHECKING:
    from denizen.engine.settings import Setting

Out = Annotated[Path, typer.Option(help="The run's folder. The same command again continues what is there.")]
Redo = Annotated[
    str | None,
    typer.Option(help="Replace this step and what was made from it, such as round-0/student.", metavar="STEP"),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(help="A file of settings, YAML or JSON, as a run's config.json; options here come before it."),
]
Store = Annotated[str, typer.Option(help="Folder of embeddings to share; none are kept without it.")]
# what a command takes beside its own options, looked up when it is called: they stand in heavier modules than this one
Settings = Callable[[], Iterable["Setting"]]


def of_adapt(*names: str) -> Settings:
    """Some settings of `adapt`; without names all of them."""

    def found() -> Iterable[Setting]:
        from denizen.recipes.config import SETTINGS

        return [SETTINGS[name] for name in names or SETTINGS]

    return found


def of_experts() -> Iterable[Setting]:
    """The settings of `experts`."""
    from denizen.recipes.experts_config import EXPERTS_SETTINGS

    return EXPERTS_SETTINGS.values()


def of_domains() -> Iterable[Setting]:
    """The settings of `domains`."""
    from denizen.recipes.domains_config import DOMAINS_SETTINGS

    return DOMAINS_SETTINGS.values()


def of_language() -> Iterable[Setting]:
    """The settings of `language`."""
    from denizen.recipes.language_config import LANGUAGE_SETTINGS

    return LANGUAGE_SETTINGS.values()


def without_effect() -> Iterable[Setting]:
    """The settings of `adapt` that decide on no result."""
    from denizen.recipes.config import WITHOUT_EFFECT

    return of_adapt(*WITHOUT_EFFECT)()


def as_option(found: Setting) -> inspect.Parameter:
    """A setting as a keyword option that is None unless it is given, so that presets can fill in."""
    hint, default, metadata = found.hint, found.spec.default, found.spec.metadata
    literal, several = get_origin(hint) is Literal, get_origin(hint) is tuple
    choices = f" One of: {', '.join(get_args(hint))}." if literal else ""
    shown = "" if isinstance(default, bool) or default in ("", ()) else f" (default: {default})"
    text = f"{metadata['help']}{choices}{' May be given several times.' if several else ''}{shown}"
    flags = (metadata["flag"],) if "flag" in metadata else ()
    option = typer.Option(
        *flags, help=text, show_default=False, rich_help_panel=found.panel, metavar=metadata.get("metavar")
    )
    value: Any = str if literal else list[str] if several else hint
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(found.name, kind, default=None, annotation=Annotated[value | None, option])
