"""The command line: one thin function a command, the same words as the Python API, and the exit codes.

0 done, 1 a fault of ours, 2 wrong input or settings, 3 leak guard, 130 interrupted. Libraries are
imported inside the commands, so that `denizen --help` answers at once.
"""

from __future__ import annotations

import dataclasses
import errno
import inspect
import json
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from denizen.core.config import PANELS, WITHOUT_EFFECT, AdaptConfig
from denizen.core.errors import DenizenError

if TYPE_CHECKING:
    from denizen.core.progress import Progress

app = typer.Typer(
    name="denizen",
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

Out = Annotated[Path, typer.Option(help="The run's folder. The same command again continues what is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON to standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Redo = Annotated[
    str | None, typer.Option(help="Replace this stage and what follows, such as round-0/student.", metavar="STAGE")
]


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


def _adapt(
    source: Annotated[
        str,
        typer.Argument(help="BEIR folder, file of question-answer pairs, or data set id; with a teacher, documents."),
    ],
    *,
    out: Out,
    redo: Redo = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Adapt a bi-encoder to documents: with questions that belong to them, or with a teacher that writes and grades."""
    _set_debug(debug)
    config = AdaptConfig(source, **_given(settings))
    from denizen.recipes.adapt import adapt

    _show(adapt(config, out, redo=redo, progress=_progress(quiet)), quiet, as_json)


@app.command()
def demo(
    out: Annotated[Path | None, typer.Option(help="The run's folder (default: runs/demo, or runs/demo-full).")] = None,
    full: Annotated[bool, typer.Option("--full", help="Use all docstrings, not a part that takes minutes.")] = False,
    redo: Redo = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run the main job on embedded data: docstrings of installed packages and all-MiniLM-L6-v2, offline."""
    _set_debug(debug)
    from denizen.recipes.demo import run_demo

    out = out or Path("runs/demo-full" if full else "runs/demo")
    _show(run_demo(out, full=full, redo=redo, progress=_progress(quiet)), quiet, as_json)


@app.command()
def evaluate(  # noqa: PLR0913
    models: Annotated[list[str], typer.Argument(help="Models to measure; the first is compared with the others.")],
    data: Annotated[Path, typer.Option(help="A BEIR folder.")],
    split: Annotated[str, typer.Option(help="Which qrels to measure on.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Write metrics.json, per-query Parquet and TREC runs here.")] = None,
    bm25: Annotated[bool, typer.Option(help="Measure BM25, too.")] = True,
    backend: Annotated[str, typer.Option(help="What encodes: auto, torch, openvino or onnx.")] = "auto",
    precision: Annotated[str, typer.Option(help="Its arithmetic: auto, fp32, bf16 or int8.")] = "auto",
    store: Annotated[str, typer.Option(help="Folder of embeddings to share; none are kept without it.")] = "",
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Skip and count unreadable rows.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure any bi-encoders, and BM25, on a BEIR folder: every measure, with intervals and p values."""
    _set_debug(debug)
    from denizen.recipes.evaluate import evaluate as run_evaluate
    from denizen.recipes.results import comparison_lines

    report = run_evaluate(
        models,
        data,
        split=split,
        out=out,
        bm25=bm25,
        backend=backend,
        precision=precision,
        store=store,
        skip_bad_rows=skip_bad_rows,
        progress=_progress(quiet),
    )
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    elif not quiet:
        _print_table(comparison_lines(report))


def _audit(  # noqa: PLR0913
    run: Annotated[Path, typer.Argument(help="The folder of a run with --teacher llm.")],
    *,
    sample: Annotated[int, typer.Option(help="Judged pairs to look at.", min=2)] = 200,
    second_llm: Annotated[str, typer.Option(help="Another LLM that grades the same pairs.")] = "",
    second_endpoint: Annotated[
        str, typer.Option(help="Its endpoint, where it is not the run's (key: JUDGE_API_KEY).")
    ] = "",
    second_prices: Annotated[str, typer.Option(help="Its prices, as 0.15/0.60.")] = "",
    export: Annotated[Path | None, typer.Option(help="Write a sheet for people to grade (.csv, .xlsx).")] = None,
    people: Annotated[Path | None, typer.Option(help="A sheet that people have graded.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample.", min=0)] = 42,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Measure whether a run's LLM judge can be trusted: kappa against itself, known pairs, a second judge, people."""
    _set_debug(debug)
    from denizen.recipes.audit import audit as run_audit
    from denizen.recipes.audit import audit_lines

    found = run_audit(
        run,
        sample=sample,
        second_llm=second_llm,
        second_endpoint=second_endpoint,
        second_prices=second_prices,
        export=export,
        people=people,
        seed=seed,
        progress=_progress(quiet),
        **_given(settings),
    )
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif not quiet:
        typer.echo("\n".join(audit_lines(found)))


def _pool(  # noqa: PLR0913
    run: Annotated[Path, typer.Argument(help="The folder of a run with a teacher.")],
    models: Annotated[list[str] | None, typer.Argument(help="What to compare (default: base and result).")] = None,
    *,
    judge: Annotated[str, typer.Option(help="The LLM that grades: another one than the teacher.")],
    judge_endpoint: Annotated[
        str, typer.Option(help="Its endpoint, where it is not the run's (key: JUDGE_API_KEY).")
    ] = "",
    judge_prices: Annotated[str, typer.Option(help="Its prices, as 0.15/0.60.")] = "",
    queries: Annotated[int, typer.Option(help="Fresh queries to write for held-out documents.", min=1)] = 200,
    same_judge: Annotated[bool, typer.Option("--same-judge", help="Let the teacher grade its own student.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Compare models without labels: fresh queries on held-out documents, pooled results, another LLM's grades."""
    _set_debug(debug)
    from denizen.recipes.pool import pool, pool_lines

    found = pool(
        run,
        models or [],
        judge,
        judge_endpoint=judge_endpoint,
        judge_prices=judge_prices,
        queries=queries,
        same_judge=same_judge,
        progress=_progress(quiet),
        **_given(settings),
    )
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif not quiet:
        typer.echo("\n".join(pool_lines(found)))


def _retry(
    run: Annotated[Path, typer.Argument(help="The folder of a run with a teacher.")],
    *,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
    **settings: Any,
) -> None:
    """Ask the failed calls of a run again, and those that its budget cut off; what was answered is not paid twice."""
    _set_debug(debug)
    from denizen.recipes.retry import retry

    _show(retry(run, progress=_progress(quiet), **_given(settings)), quiet, as_json)


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _options_of(config: type[AdaptConfig], names: Collection[str] | None = None) -> list[inspect.Parameter]:
    """The settings as keyword options of a command, each None unless given, so that presets can fill in."""
    hints = get_type_hints(config)
    options = []
    for spec in dataclasses.fields(config):
        if spec.name == "source" or (names is not None and spec.name not in names):
            continue
        hint, default = hints[spec.name], spec.default
        literal = get_origin(hint) is Literal
        choices = f" One of: {', '.join(get_args(hint))}." if literal else ""
        shown = "" if isinstance(default, bool) or default == "" else f" (default: {default})"
        panel = next(name for name, inside in PANELS.items() if spec.name in inside)
        text = f"{spec.metadata['help']}{choices}{shown}"
        option = typer.Option(help=text, show_default=False, rich_help_panel=panel)
        value: Any = str if literal else hint
        kind = Annotated[value | None, option]
        options.append(inspect.Parameter(spec.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))
    return options


def _with_settings(command: Callable[..., None], names: Collection[str] | None = None) -> Callable[..., None]:
    signature = inspect.signature(command, eval_str=True)
    own = [found for found in signature.parameters.values() if found.kind is not inspect.Parameter.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *_options_of(AdaptConfig, names)])  # type: ignore[attr-defined]
    return command


app.command(name="adapt")(_with_settings(_adapt))
app.command(name="audit")(_with_settings(_audit, WITHOUT_EFFECT))
app.command(name="pool")(_with_settings(_pool, WITHOUT_EFFECT))
app.command(name="retry")(_with_settings(_retry, WITHOUT_EFFECT))


def _show(report: dict[str, Any], quiet: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    if quiet:
        return
    from denizen.recipes.results import result_lines, teacher_lines

    _print_table(result_lines(report))
    typer.echo(f"{report['queries']:,} test queries; intervals by bootstrap, p by paired randomisation")
    for line in teacher_lines(report):
        typer.echo(line)
    if report["warning"]:
        typer.echo(report["warning"])
    if report["best_round"] == 0:
        from denizen.recipes.results import BASE_STAYS

        typer.echo(BASE_STAYS)
    typer.echo(f"{'adapted ' if report['best_round'] else ''}model: {report['model']}")


def _print_table(lines: list[list[str]]) -> None:
    widths = [max(len(row[at]) for row in lines) for at in range(len(lines[0]))]
    for row in lines:
        first, *rest = (
            text.ljust(width) if at == 0 else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        typer.echo("  ".join([first, *rest]))


def _progress(quiet: bool) -> Progress:
    from denizen.core.progress import Silent, Terminal

    return Silent() if quiet else Terminal()


def _set_debug(debug: bool) -> None:
    global _debug
    _debug = debug


def _fail(message: str, code: int) -> None:
    if _debug:
        import traceback

        traceback.print_exc()
    if message:
        typer.echo(f"denizen: {message}", err=True)
    sys.exit(code)
