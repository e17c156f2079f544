"""The settings of a run's folder: never mixed with those of another run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.engine.errors import ChangedError, InputError
from denizen.engine.files import read_json, write_json
from denizen.engine.pipeline import RECORD, differences
from denizen.engine.redo import stopped_redo
from denizen.llm.client import LLM
from denizen.recipes.config import WITHOUT_EFFECT, AdaptConfig, Config
from denizen.supervision.taught import Taught

if TYPE_CHECKING:
    from denizen.recipes.language_config import LanguageConfig

_CONFIG = "config.json"
# what the first step of a command makes
_BEGUN = ("corpus", "slices")
# a setting of runs from before personas were called so
_OLD_SETTING = "expert_queries"
# of the settings on the card that a run writes for its model
_CARD_SEED = re.compile(r"^## Settings$.*?^seed: (\d+)$", re.MULTILINE | re.DOTALL)


def read_config(run: Path, **changed: Any) -> AdaptConfig:
    """The settings of a run.

    Args:
        run: Its folder.
        changed: Other values for settings that do not decide results, such as endpoint, prices, the budgets.

    Raises:
        InputError: When the folder holds no run, or a setting is changed that decides results.
    """
    found = _settings_kept(run, changed, WITHOUT_EFFECT)
    if "source" not in found or "instruct" in found:
        raise InputError(f"{run} holds a run of another command than adapt; give the folder of a run of adapt")
    return AdaptConfig(**{**found, **changed})


def read_language_config(run: Path, **changed: Any) -> LanguageConfig:
    """The same of a run of language models."""
    from denizen.recipes.language_config import LANGUAGE_WITHOUT_EFFECT, LanguageConfig

    found = _settings_kept(run, changed, LANGUAGE_WITHOUT_EFFECT)
    return LanguageConfig(**{**found, **changed})


def is_of_language_models(run: Path) -> bool:
    """Whether a folder holds a run of `language`."""
    return "instruct" in settings_of_run(run)


def _settings_kept(run: Path, changed: Mapping[str, Any], without_effect: Collection[str]) -> dict[str, Any]:
    if fixed := sorted(set(changed) - set(without_effect)):
        raise InputError(
            f"{', '.join(fixed)} cannot change in a finished run; there {', '.join(without_effect)} may change"
        )
    check_version(run)
    found: dict[str, Any] | None = read_json(run / _CONFIG)
    if found is None:
        raise InputError(f"{run} holds no run of denizen (it has no {_CONFIG})")
    return found


def settings_of_run(run: Path) -> dict[str, Any]:
    """The settings of a run of any command, as its config.json has them; none where there is no such file."""
    found = read_json(run / _CONFIG)
    return found if isinstance(found, dict) else {}


def seed_of(model: Path) -> int | None:
    """The seed of the run that a model comes from, by the run's folder or by the model's card; None: not known."""
    for folder in model.resolve().parents:
        if (folder / "corpus" / RECORD).is_file() and (config := read_json(folder / _CONFIG)):
            return int(config["seed"])
    card = model / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    found = _CARD_SEED.search(text) if "Denizen" in text else None
    return int(found[1]) if found else None


def check_version(run: Path) -> None:
    """Refuses a run that another trunk has made.

    Raises:
        InputError: When there is one.
    """
    if (run / "corpus/stage.json").is_file() or _OLD_SETTING in (read_json(run / _CONFIG) or {}):
        replies = run / "replies.sqlite"
        paid = f", and --replies {replies} so that no reply is paid twice" if replies.is_file() else ""
        raise InputError(f"{run} was made by an older version of denizen; run adapt again with a new --out{paid}")


def check_config(
    out: Path,
    config: Config,
    redo: str | None,
    without_effect: Collection[str] = WITHOUT_EFFECT,
    grows: Collection[str] = ("seeds",),
) -> None:
    """Writes config.json for a new run, or refuses settings that differ from those of what is there.

    Args:
        out: The run's folder.
        config: Its settings now.
        redo: A step that is to be done anew.
        without_effect: Settings that decide on no result.
        grows: Settings whose other values are done beside what is there.

    Raises:
        InputError: When another command has made what is there.
        ChangedError: Naming each setting that differs, unless a step is to be done anew. Where a redoing was stopped,
            its settings are those that count.
    """
    check_version(out)
    left = stopped_redo(out)
    before, now = (left and left["wanted"]) or read_json(out / _CONFIG), config.as_dict()
    if before is None and (out / "metrics.json").exists():
        raise InputError(f"{out} holds the results of another command, which would be overwritten; use another --out")
    if before is None or not any((out / name).exists() for name in _BEGUN):
        write_json(out / _CONFIG, now)
        return
    # a run from before a setting was there used its default
    try:
        before = {**type(config)(**before).as_dict(), **before}
    except (InputError, TypeError):
        told = ", ".join(sorted(before)[:5])
        raise InputError(
            f"{out} holds a run of another command or version, with other settings ({told}, ...); use another --out"
        ) from None
    for name in (*without_effect, *grows):
        before.pop(name, None)
        now.pop(name, None)
    changed = differences(before, now)
    if changed and redo is None:
        raise ChangedError(
            f"{out} holds a run with other settings: {'; '.join(changed)}. Use another --out, or --redo STEP "
            "(such as round-0/student) to replace that step and what follows"
        )


def store_of(config: Config, out: Path) -> Path:
    """The folder of a run's embedding store."""
    return Path(config.store).expanduser().resolve() if config.store else out / "embeddings"


def taught_by_llm(config: AdaptConfig, run: Path) -> Taught:
    """The settings of a run's teacher.

    Raises:
        InputError: When no LLM has a part in it.
    """
    supervision = config.supervision
    if not isinstance(supervision, Taught) or not supervision.llm:
        raise InputError(f"{run} has no LLM; give the folder of a run with --llm")
    return supervision


def llm_of(config: AdaptConfig, run: Path) -> LLM:
    """The client of a run's LLM.

    Raises:
        InputError: When it has none.
    """
    supervision = taught_by_llm(config, run)
    return supervision.asking.client(supervision.llm, run)


def is_own_llm(config: AdaptConfig, run: Path, llm: str, endpoint: str) -> bool:
    """Whether another LLM is the run's own, by whatever path its file is given."""
    taught = taught_by_llm(config, run)
    return replace(taught.asking, endpoint=endpoint).called(llm) == taught.llm_called


def judge_of(config: AdaptConfig, run: Path, llm: str, endpoint: str, prices: str) -> LLM:
    """The client of another LLM than the run's, on the run's budget; the arguments are those of `Asking.judge`.

    Raises:
        InputError: When its price is not known.
    """
    supervision = taught_by_llm(config, run)
    return supervision.asking.judge(supervision.llm, run, llm, endpoint, prices)
