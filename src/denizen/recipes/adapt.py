"""`adapt`: documents and a general bi-encoder in, a domain bi-encoder and the proof of its worth out.

What is relevant is said by the source's labels, or by a teacher (an LLM, a cross-encoder). Every stage is a folder on
disk; running the same command again continues where the last run stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denizen.data.formats import Source
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import held
from denizen.engine.stage import StageRunner
from denizen.measuring.retrieval_sets import Parts, kept_texts, read_parts
from denizen.merging.methods import check_base, is_available
from denizen.recipes import distill, labelled
from denizen.recipes.config import AdaptConfig
from denizen.recipes.rounds import Rounds
from denizen.recipes.run_folder import check_config, check_encoding
from denizen.reports.report import report
from denizen.retrievers.encoder import load_encoder, locate
from denizen.supervision import teachers


def adapt(
    config: AdaptConfig,
    out: Path,
    *,
    redo: str | None = None,
    refresh: frozenset[str] | None = None,
    progress: Progress | None = None,
    source: Source | None = None,
    sets: Sequence[Parts] | None = None,
) -> dict[str, Any]:
    """Adapts a bi-encoder to documents.

    Args:
        config: The settings.
        out: The run's folder; a run with the same settings that was stopped there goes on.
        redo: The stage from which to do everything anew, such as "round-0/student".
        refresh: Stages to put together anew; those after them are done anew where what they read has changed.
        progress: Receives what a person should see.
        source: Documents and queries that are read already (the demo's); `config.source` only names them then.
        sets: General and neighbour sets that are read already, instead of `config.general` and `config.neighbour`.

    Returns:
        The contents of `metrics.json`; the page that people read is `report.html` beside it.

    Raises:
        InputError: On wrong input or settings, or when `out` holds another run.
        LeakError: When the splits leak and neither drop_leaks nor allow_leak is set.
    """
    gold = config.teacher == "gold"
    stages = labelled.stage_names(config) if gold else distill.stage_names(config)
    if redo is not None and redo not in stages:
        raise InputError(f"there is no stage {redo!r} to redo; there are {', '.join(stages)}")
    base = locate(config.model)
    guide = locate(config.guide) if config.guide else base
    check_encoding(config.backend, config.precision, config.store)
    sets = read_parts(config.general, config.neighbour, config.seed) if sets is None else sets
    if sets and config.merge_evaluations and not is_available():
        raise InputError(
            "a merge that keeps the limit on forgetting needs mergekit: pip install 'denizen[merge]', or set "
            "merge_evaluations to 0"
        )
    if redo == "gate" and not sets:
        raise InputError("there is no gate to redo: no general and no neighbour set is given")
    if redo in ("baselines/plain", "baselines/average") and not config.baselines:
        raise InputError(f"there is no {redo} to redo: baselines is off")
    if not gold:
        teachers.check(config)
    with held(out, begun=("corpus", "documents")):
        check_config(out, config, redo)
        if not (out / "corpus").exists():
            # a model that cannot be used is better known before the corpus is read
            load_encoder(base)
            if sets and config.merge_evaluations:
                check_base(base)
        runner = StageRunner(out, redo, progress or Silent(), refresh)
        rounds = Rounds(config, out, runner, base, kept_texts(sets))
        if gold:
            found = labelled.adapt_with_labels(rounds, base, guide, sets, source)
        else:
            found = distill.adapt_with_teacher(rounds, base, guide, sets)
        report(out)
        return found
