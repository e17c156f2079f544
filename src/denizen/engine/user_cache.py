"""What is made once for a user, whatever the run: kept in the user's cache, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from denizen.engine.errors import InputError, reason
from denizen.engine.files import json_digest, locked, write_json
from denizen.engine.run_folder import probe, writing


def cache() -> Path:
    """Where this user keeps what was made once: DENIZEN_CACHE, or denizen in XDG_CACHE_HOME, or in ~/.cache."""
    if own := os.environ.get("DENIZEN_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "denizen"


def made_once(kind: str, record: str, made: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """A folder of the cache, made where it is not there yet; who comes meanwhile waits for it.

    Args:
        kind: The part of the cache.
        record: The file in the folder that says what has decided it, and that it is whole.
        made: What decides the contents.
        make: Writes them into a folder that is not there yet.

    Raises:
        InputError: When the cache cannot be used.
    """
    kept = cache() / kind
    place = kept / json_digest(made)[:32]
    try:
        probe(kept)
    except OSError as error:
        raise InputError(f"{kept} cannot be used ({reason(error)}); set DENIZEN_CACHE to another folder") from error
    with writing(kept), locked(kept, f"{place.name}.lock"):
        if not (place / record).is_file():
            for left in kept.glob(f".making.{place.name}.*"):
                # of somebody who was killed: who makes it holds the lock
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=kept, prefix=f".making.{place.name}.") as folder:
                partial = Path(folder, "model")
                make(partial)
                write_json(partial / record, made)
                partial.rename(place)
    return place
