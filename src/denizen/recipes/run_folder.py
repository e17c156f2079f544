"""The settings of a run's folder: never mixed with those of another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from denizen.engine.errors import ChangedError, InputError, reason
from denizen.engine.run_folder import probe
from denizen.engine.stage import differences, write_json
from denizen.recipes.config import WITHOUT_EFFECT, AdaptConfig


def read_config(run: Path, **changed: Any) -> AdaptConfig:
    """The settings of a run.

    Args:
        run: Its folder.
        changed: Other values for settings that do not decide results, such as endpoint, prices, the budgets.

    Raises:
        InputError: When the folder holds no run, or a setting is changed that decides results.
    """
    fixed = sorted(set(changed) - set(WITHOUT_EFFECT))
    if fixed:
        raise InputError(
            f"{', '.join(fixed)} cannot change in a finished run; there {', '.join(WITHOUT_EFFECT)} may change"
        )
    path = run / "config.json"
    if not path.is_file():
        raise InputError(f"{run} holds no run of denizen (it has no config.json)")
    return AdaptConfig(**{**json.loads(path.read_text(encoding="utf-8")), **changed})


def check_config(out: Path, config: AdaptConfig, redo: str | None) -> None:
    """Writes config.json for a new run, or refuses settings that differ from those of what is there.

    Raises:
        ChangedError: Naming each setting that differs, unless a stage is to be done anew.
    """
    path = out / "config.json"
    if path.is_file() and (out / "corpus").exists():
        # a run from before a setting was there used its default
        before = {**AdaptConfig("").as_dict(), **json.loads(path.read_text(encoding="utf-8"))}
        now = config.as_dict()
        # other seeds are done beside what is there
        for name in (*WITHOUT_EFFECT, "seeds"):
            del before[name], now[name]
        changed = differences(before, now)
        if changed and redo is None:
            raise ChangedError(
                f"{out} holds a run with other settings: {'; '.join(changed)}. Use another --out, or --redo STAGE "
                "(such as round-0/student) to replace that stage and what follows"
            )
    else:
        write_json(path, config.as_dict())


def store_of(config: AdaptConfig, out: Path) -> Path:
    """The folder of a run's embedding store."""
    return Path(config.store).expanduser().resolve() if config.store else out / "embeddings"


def check_encoding(backend: str, precision: str, store: str) -> None:
    """Makes sure that there is a backend and a place for embeddings, before the corpus is read and not after.

    Raises:
        InputError: When the backend is not installed, or nothing can be written into the store.
    """
    # torch stays away from those who only hold a folder
    from denizen.retrievers.backends import candidates

    candidates(backend, precision)
    if not store:
        return
    try:
        probe(Path(store).expanduser())
    except OSError as error:
        raise InputError(f"--store {store} cannot be used: {reason(error)}; give another folder") from error
