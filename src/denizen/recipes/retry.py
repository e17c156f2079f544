"""`retry`: asks again what failed in a run, and nothing else; what follows is done anew where it changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from denizen.engine.errors import InputError
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import held
from denizen.engine.stage import STAGE_FILE
from denizen.recipes.adapt import adapt
from denizen.recipes.run_folder import read_config
from denizen.supervision import teachers


def retry(run: Path, *, progress: Progress | None = None, **changed: Any) -> dict[str, Any]:
    """Asks the failed calls of a run again, and those that its budget cut off, then goes on as `adapt`.

    Failed replies stay in the store beside their successors. A stage whose calls failed is put together anew, with all
    that was answered before at no cost; stages after it are done anew where what they read has changed.

    Args:
        run: The folder of a run with a teacher.
        progress: Receives what a person should see.
        changed: Settings that do not decide results, such as endpoint, prices, the budgets, concurrency, min_coverage.

    Returns:
        The contents of metrics.json.

    Raises:
        InputError: When the run has no LLM, nothing failed, or a setting is changed that decides results.
    """
    config = read_config(run, **changed)
    with held(run):
        llm = teachers.run_llm(config, run)
        stages = _with_failures(run)
        if not stages and (run / "metrics.json").is_file():
            raise InputError(f"nothing failed in {run}, and no budget cut anything off")
        llm.replies.supersede_failures(config.thinking_tokens)
        llm.replies.close()
    progress = progress or Silent()
    progress.say(f"stages put together anew: {', '.join(sorted(stages)) or 'none that is done'}")
    return adapt(config, run, refresh=frozenset(stages), progress=progress)


def _with_failures(run: Path) -> set[str]:
    """Finished stages whose calls failed or were cut off by the budget."""
    found = set()
    for path in run.rglob(STAGE_FILE):
        if path.parent.name.startswith("."):
            continue
        facts = json.loads(path.read_text(encoding="utf-8")).get("facts", {})
        if facts.get("failures") or facts.get("cut_off_by_budget"):
            found.add(path.parent.relative_to(run).as_posix())
    return found
