"""The `denizen` command: what all commands have, the exit codes, and what is said when something goes wrong."""

from __future__ import annotations

import errno
import inspect
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denizen.cli.options import Settings, as_option
from denizen.engine.errors import DenizenError, GateError

if TYPE_CHECKING:
    from denizen.engine.settings import Setting


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON to standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")]

app = typer.Typer(name="denizen", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
# name of a command that takes settings to what makes them its options
_completions: dict[str, Callable[[], None]] = {}
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


@dataclass(frozen=True)
class Told:
    """What a command has come to.

    Attributes:
        report: For machines.
        lines: For people.
        gate: What was measured of forgetting; where it is not met, the command ends with exit code 4.
    """

    report: dict[str, Any]
    lines: list[str]
    gate: dict[str, Any] | None = None


Work = Callable[..., Told]


def command(name: str, settings: Settings | None = None) -> Callable[[Work], Work]:
    """Makes a function a command that also has --quiet, --json and --debug.

    Args:
        name: The command.
        settings: What it takes beside its own options. Its `**settings` are those that are given, and `progress`.
    """

    def register(work: Work) -> Work:
        def run(*, quiet: Quiet = False, as_json: Json = False, debug: Debug = False, **given: Any) -> None:
            global _debug
            _debug = debug
            from denizen.engine.progress import Silent, Terminal

            if takes_settings:
                given["progress"] = Silent() if quiet else Terminal()
            told = work(**{key: value for key, value in given.items() if value is not None})
            if as_json:
                typer.echo(json.dumps(told.report, indent=2, ensure_ascii=False))
            elif not quiet:
                typer.echo("\n".join(told.lines))
            _check_gate(told.gate)

        own = [*_named(work), *_named(run)]
        takes_settings = len(_named(work)) < len(inspect.signature(work).parameters)

        def complete(more: Iterable[Setting] = ()) -> None:
            # what has no default is an argument of the command
            options = [as_option(each) for each in more if not each.required]
            run.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]

        complete()
        if settings:
            _completions[name] = lambda: complete(settings())
        app.command(name=name, help=work.__doc__)(run)
        return work

    return register


def _named(function: Callable[..., Any]) -> list[inspect.Parameter]:
    every = inspect.signature(function, eval_str=True).parameters.values()
    return [each for each in every if each.kind is not inspect.Parameter.VAR_KEYWORD]


def main() -> None:
    """The `denizen` command: runs the app and turns errors into messages and exit codes."""
    try:
        # what a command takes is looked up when it is called, for --help of all must answer at once
        for name in sys.argv[1:2]:
            _completions.get(name, lambda: None)()
        # typer gives the exit code back: 130 when it saw an interruption
        code = app(standalone_mode=False) or 0
        if code == _INTERRUPTED:
            _fail("interrupted; run the same command again to continue", code)
        sys.exit(code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; run the same command again to continue", _INTERRUPTED)
    except DenizenError as error:
        _fail(str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001
        usage = getattr(error, "format_message", None)
        if usage is not None:
            # bare `denizen` has printed its help and has nothing to add
            _fail(usage(), 2)
        if isinstance(error, OSError) and (advice := _MACHINE_ERRORS.get(error.errno or 0)):
            _fail(f"{error.filename}: {advice}" if error.filename else advice, 2)
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


def _check_gate(gate: dict[str, Any] | None) -> None:
    if gate is not None and not gate["met"]:
        changes = ", ".join(f"{role} {change:+.4f}" for role, change in gate["change"].items())
        what = f"{gate['measure']} changes by {changes}" if any(gate["change"].values()) else "nothing keeps the limit"
        raise GateError(
            f"the gate is not met: {what}, and a mean may fall by {gate['limit']:g} at most. Train less, merge with "
            "the base, or raise --forgetting-limit"
        )


def _fail(message: str, code: int) -> None:
    if _debug:
        import traceback

        traceback.print_exc()
    if message:
        typer.echo(f"denizen: {message}", err=True)
    sys.exit(code)
