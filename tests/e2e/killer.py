"""Runs `adapt` in forked children and kills each one at a point of its own; a server for `Killer`, not a test itself.

A job is a line of JSON on standard input: `settings` of the run with `source` (with `sources` it is one of `experts` or
`domains`, with `instruct` one of `language`), `out`, `redo`, `points`, `log`, and `plan` (whether the run plans aloud,
which takes most of the time of a child that is killed early). The answer is a line of JSON: what went wrong, or null.

A point is PLACE@WHAT:N. The child is killed with SIGKILL in that step: at the N-th file that Python opens for writing
in its folder (`open`) or moves to its name there (`move`), before the N-th table is written (`write`), at the N-th file
that is linked (`link`), before its record is written (`record`), at the rename that finishes it (`rename`), when it is
in its place and what it kept beside that is not yet gone (`placed`), when the N-th file of what is replaced is removed
(`remove`), at the N-th file that is opened for writing in its scratch folder (`scratch`), when the embedding store
opens a file for the N-th time (`store`: vectors, keys, vectors, ...), after the N-th training step of the child
(`step`), or when the N-th reply of an LLM is kept (`reply`). Without a place, files are those that lie in the run's
folder itself. A last child finishes the run.

Children append to `log` what training resumed from (["resumed", PLACE, CHECKPOINT or ""]) and each training step
(["step", PLACE]). The parent only imports; it never computes, so forking it is safe.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sentence_transformers  # noqa: F401

from denizen.api import adapt, domains, experts, language
from denizen.engine import pipeline
from denizen.llm.replies import Replies
from denizen.recipes.config import AdaptConfig
from denizen.recipes.domains_config import DomainsConfig
from denizen.recipes.experts_config import ExpertsConfig
from denizen.recipes.language_config import LanguageConfig
from denizen.reports import experts_plan, language_plan, plan, report  # noqa: F401
from denizen.training import trainer


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Trap:
    """Counts what happens at a place, and kills at the N-th time."""

    def __init__(self, point: str, out: Path) -> None:
        place, _, rest = point.partition("@")
        what, _, number = rest.partition(":")
        self.what, self.left = what, int(number or 1)
        self.folder = out / place
        self.place = place
        self.partial = str(self.folder.with_name(f".{self.folder.name}.partial")) if place else str(out)
        self.scratch = str(self.folder.with_name(f".{self.folder.name}."))
        self.removing = False

    def count(self, what: str) -> None:
        if what == self.what:
            self.left -= 1
            if self.left == 0:
                die()

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[0]) == self.partial:
            self.count("rename")
        elif event == "os.rename" and self.inside(arguments[0]):
            self.count("move")
        elif event == "os.link" and self.inside(arguments[1]):
            self.count("link")
        elif event == "shutil.rmtree":
            self.removing = str(arguments[0]) == str(self.folder)
        elif event == "os.remove" and self.removing:
            self.count("remove")
        elif event == "open" and str(arguments[1])[:1] in "wxa":
            self.opened(str(arguments[0]))

    def opened(self, path: str) -> None:
        if path.endswith((".f32", "keys.bin")):
            if os.path.isdir(self.partial):
                self.count("store")
        elif path == f"{self.partial}/.step.json.partial":
            self.count("record")
        elif self.inside(path):
            self.count("open")
        elif path.startswith(self.scratch) and ".scratch/" in path:
            self.count("scratch")

    def inside(self, path: object) -> bool:
        return str(path).startswith(f"{self.partial}/") and (bool(self.place) or Path(str(path)).parent == self.folder)

    def counted(self, function: Callable[..., Any], what: str, mine: Callable[..., bool]) -> Callable[..., Any]:
        """A function that counts before it works (`write`), or after."""

        def replacement(*arguments: Any, **keywords: Any) -> Any:
            if what == "write" and mine(*arguments):
                self.count(what)
            result = function(*arguments, **keywords)
            if what != "write" and mine(*arguments):
                self.count(what)
            return result

        return replacement

    def set(self) -> None:
        sys.addaudithook(self.hook)
        pq.write_table = self.counted(pq.write_table, "write", lambda rows, path: self.inside(path))
        watch = trainer.Watch
        watch.on_step_end = self.counted(  # type: ignore[method-assign]
            watch.on_step_end, "step", lambda self_, args, *rest: str(args.output_dir).startswith(self.scratch)
        )
        Replies.add = self.counted(  # type: ignore[method-assign]
            Replies.add, "reply", lambda self_, reply: reply.stage == self.place
        )
        pipeline.replace_folder = self.counted(
            pipeline.replace_folder, "placed", lambda new, place: place == self.folder
        )


def log_training(log: Path, out: Path) -> None:
    def note(*said: str) -> None:
        with log.open("a") as file:
            file.write(json.dumps(said) + "\n")

    def place(checkpoints: Path) -> str:
        scratch = checkpoints.parent
        return (scratch.parent.relative_to(out) / scratch.name.split(".")[1]).as_posix()

    last, stepped = trainer.last_checkpoint, trainer.Watch.on_step_end

    def logged(checkpoints: Path) -> Path | None:
        found = last(checkpoints)
        note("resumed", place(checkpoints), found.name if found else "")
        return found

    def counted(self: Any, args: Any, *rest: Any, **more: Any) -> None:
        note("step", place(Path(args.output_dir)))
        stepped(self, args, *rest, **more)

    trainer.last_checkpoint = logged
    trainer.Watch.on_step_end = counted  # type: ignore[method-assign]


def work(job: dict[str, Any], point: str) -> None:
    """In the child: the run, to its end or to the point."""
    out = Path(job["out"])
    log_training(Path(job["log"]), out)
    if not job["plan"]:
        plan.plan_lines = experts_plan.experts_plan_lines = lambda *arguments: []  # type: ignore[assignment]
        language_plan.measured_speed = lambda *arguments: None  # type: ignore[assignment]
    if point:
        Trap(point, out).set()
    if "sources" in job["settings"]:
        of_domains = "sampling_temperature" in job["settings"]
        config = (DomainsConfig if of_domains else ExpertsConfig)(**job["settings"])
        (domains if of_domains else experts)(config, out, redo=job["redo"])
    elif "instruct" in job["settings"]:
        language(LanguageConfig(**job["settings"]), out, redo=job["redo"])
    else:
        adapt(AdaptConfig(**job["settings"]), out, redo=job["redo"])


def outcome(job: dict[str, Any], point: str) -> str | None:
    """Has a child work; what is wrong with how it ended, or None."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(job, point)
            code = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    wanted = signal.SIGKILL if point else 0
    return None if status == wanted else f"point {point!r}: the child ended with status {status}, not {wanted}"


def main() -> None:
    # what is here is here to stay: looked through in each child, its pages would be copied
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        wrong = None
        for point in [*job["points"], *([""] if job["finish"] else [])]:
            wrong = outcome(job, point)
            if wrong:
                break
        print(json.dumps(wrong), flush=True)


if __name__ == "__main__":
    main()
