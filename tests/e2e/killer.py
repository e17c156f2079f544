"""Runs `adapt` in forked children and kills each one, for test_kill.py; not a test itself.

    python killer.py PAIRS MODEL OUT SETTINGS_JSON POINT...

A point is STAGE@WHAT:N. The child is killed with SIGKILL in that stage: at the N-th file that Python opens for writing
(`open`), before the N-th table is written (`write`), when the embedding store opens a file for the N-th time (`store`:
vectors, keys, vectors, ...), after the N-th training step of the child (`step`), or at the rename that finishes the
stage (`rename`). A last child finishes the run. What training resumed from is appended to
OUT.resumed. The parent only imports; it never computes, so forking it is safe.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sentence_transformers  # noqa: F401

from denizen.recipes.adapt import adapt
from denizen.recipes.config import AdaptConfig
from denizen.training import bi_encoder as train_encoder


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def counted(function: Callable[..., Any], at: int, applies: Callable[..., bool], before: bool) -> Callable[..., Any]:
    left = [at]

    def replacement(*arguments: Any, **keywords: Any) -> Any:
        if not applies(*arguments):
            return function(*arguments, **keywords)
        left[0] -= 1
        if before and left[0] == 0:
            die()
        result = function(*arguments, **keywords)
        if left[0] == 0:
            die()
        return result

    return replacement


def set_trap(point: str, out: Path) -> None:
    stage, _, rest = point.partition("@")
    what, _, number = rest.partition(":")
    folder, _, name = stage.rpartition("/")
    marker = f"{folder}/.{name}.partial" if folder else f".{name}.partial"
    left = [int(number)]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and what == "rename" and str(arguments[0]).endswith(marker):
            die()
        if event != "open" or str(arguments[1])[:1] not in "wxa":
            return
        path = str(arguments[0])
        stored = path.endswith((".f32", "keys.bin")) and list(out.glob(marker))
        if (what == "open" and marker in path) or (what == "store" and stored):
            left[0] -= 1
            if left[0] == 0:
                die()

    sys.addaudithook(hook)
    if what == "write":
        pq.write_table = counted(pq.write_table, left[0], lambda rows, path: marker in str(path), before=True)
    if what == "step":
        watch = train_encoder._Watch
        watch.on_step_end = counted(watch.on_step_end, left[0], lambda self, args, *_: marker in args.output_dir, False)


def log_resumption(path: Path) -> None:
    original = train_encoder._last_checkpoint

    def logged(checkpoints: Path) -> Path | None:
        found = original(checkpoints)
        with path.open("a") as file:
            file.write(f"{checkpoints.parent.parent.name} {found.name if found else 'start'}\n")
        return found

    train_encoder._last_checkpoint = logged


def main() -> None:
    pairs, model, out, settings, *points = sys.argv[1:]
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(settings).items()}
    config = AdaptConfig(pairs, model=model, **given)
    log_resumption(Path(f"{out}.resumed"))
    for point in [*points, ""]:
        child = os.fork()
        if child == 0:
            if point:
                set_trap(point, Path(out))
            adapt(config, Path(out))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        wanted = signal.SIGKILL if point else 0
        if status != wanted:
            sys.exit(f"point {point!r}: the child ended with status {status}, not {wanted}")


if __name__ == "__main__":
    main()
