"""Runs `adapt` in forked children and kills each one, for test_kill.py; not a test itself.

    python killer.py PAIRS MODEL OUT SETTINGS_JSON STAGE...

For every named stage a child is killed with SIGKILL at its n-th write into the stage's partial folder (or at the
rename that finishes it), n from the child's number. A last child finishes the run. The parent only imports; it
never computes, so forking it is safe.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import sentence_transformers  # noqa: F401

import denizen.stages.train_encoder  # noqa: F401
from denizen.core.config import AdaptConfig
from denizen.recipes.adapt import adapt


def watch(stage: str, countdown: int) -> None:
    folder, _, name = stage.rpartition("/")
    marker = f"{folder}/.{name}.partial" if folder else f".{name}.partial"
    left = [countdown]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and str(arguments[0]).endswith(marker):
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "open" and marker in str(arguments[0]) and str(arguments[1] or "")[:1] in ("w", "x", "a"):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main() -> None:
    pairs, model, out, settings, *stages = sys.argv[1:]
    config = AdaptConfig(pairs, model=model, **json.loads(settings))
    for number, stage in enumerate([*stages, ""]):
        child = os.fork()
        if child == 0:
            if stage:
                watch(stage, 1 + 2 * (number % 4))
            adapt(config, Path(out))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        wanted = signal.SIGKILL if stage else 0
        if status != wanted:
            sys.exit(f"stage {stage!r}: the child ended with status {status}, not {wanted}")


if __name__ == "__main__":
    main()
