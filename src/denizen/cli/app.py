"""The `denizen` command: the app, its exit codes, and what it says when something goes wrong."""

from __future__ import annotations

import errno
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from denizen.cli.options import add_settings
from denizen.engine.errors import DenizenError


class _Group(TyperGroup):
    """The commands; settings become options of the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Completes the command before it is looked up."""
        info = next((each for each in app.registered_commands if args and each.name == args[0]), None)
        if info is not None and info.callback is not None and add_settings(info.callback):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command(name=info.name)(info.callback)
            self.commands[args[0]] = typer.main.get_command(alone)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="denizen",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# set by the command that runs, read by main() when something goes wrong
_debug = False

_INTERRUPTED = 130

# the user's machine, not a fault of ours: exit code 2
_MACHINE_ERRORS = {
    errno.ENOSPC: "no space is left on the device; free some, then run the same command again: it continues",
    errno.EDQUOT: "the disk quota is used up; free some, then run the same command again: it continues",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.EACCES: "permission denied; choose another --out or change the permissions",
    errno.EPERM: "operation not permitted; choose another --out or change the permissions",
    errno.EEXIST: "a file of that name is there; choose another --out",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long for this file system",
}


def main() -> None:
    """The `denizen` command: runs the app and turns errors into messages and exit codes."""
    try:
        # typer gives the exit code back: 130 when it saw an interruption
        code = app(standalone_mode=False) or 0
        if code == _INTERRUPTED:
            _fail("interrupted; run the same command again to continue", code)
        sys.exit(code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; run the same command again to continue", _INTERRUPTED)
    except DenizenError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        advice = _MACHINE_ERRORS.get(error.errno or 0)
        if advice is None:
            _fail(f"{type(error).__name__}: {error} (a fault of denizen; --debug shows where)", 1)
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{advice}", 2)
    except Exception as error:  # noqa: BLE001
        usage = getattr(error, "format_message", None)
        if usage is not None:
            # bare `denizen` has printed its help and has nothing to add
            _fail(usage(), 2)
        _fail(f"{type(error).__name__}: {error} (a fault of denizen; --debug shows where)", 1)


def _show_version(wanted: bool) -> None:
    if wanted:
        from denizen import __version__

        typer.echo(f"denizen {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Makes a general retrieval model a native of your documents, and proves what that was worth."""


def set_debug(debug: bool) -> None:
    """Whether an error shows its traceback."""
    global _debug
    _debug = debug


def _fail(message: str, code: int) -> None:
    if _debug:
        import traceback

        traceback.print_exc()
    if message:
        typer.echo(f"denizen: {message}", err=True)
    sys.exit(code)
