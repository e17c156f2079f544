"""`pool`: models compared without labels, on fresh queries and by the grades of another LLM than the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from denizen.data.tables import texts
from denizen.engine.errors import InputError
from denizen.engine.files import write_json
from denizen.engine.progress import Progress, Silent
from denizen.engine.run_folder import held
from denizen.measuring import pooling
from denizen.recipes.run_folder import is_own_llm, judge_of, llm_of, read_config, store_of
from denizen.retrievers.encoder import Encoder
from denizen.retrievers.loading import locate
from denizen.supervision import pool as questions
from denizen.supervision.asking import spending
from denizen.supervision.synthesis import read_styles, tasks


def pool(  # noqa: PLR0913
    run: Path,
    models: Sequence[str],
    judge: str,
    *,
    judge_endpoint: str = "",
    judge_prices: str = "",
    queries: int = 200,
    same_judge: bool = False,
    progress: Progress | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """Compares models on the held-out documents of a run, and writes RUN/pool.json.

    Args:
        run: The folder of a run with a teacher.
        models: Folders or ids; none: the run's base and its adapted model. The first is the one compared with.
        judge: The LLM that grades: a GGUF file, or its name at its endpoint.
        judge_endpoint: Its endpoint, whose key is in JUDGE_API_KEY; empty: that of the run, and none for a file.
        judge_prices: Its prices; empty: as free as those of the run.
        queries: Fresh queries that are written, by the run's LLM.
        same_judge: Allow the teacher to grade its own student.
        progress: Receives what a person should see.
        changed: Settings of the run that do not decide results: endpoint, prices, budgets.

    Returns:
        The contents of pool.json: for both drawings, means with standard errors and paired differences, by domain, too.

    Raises:
        InputError: When the judge is the teacher and same_judge is not set, or the run has no held-out documents.
    """
    progress, config = progress or Silent(), read_config(run, **changed)
    if not same_judge and is_own_llm(config, run, judge, judge_endpoint):
        raise InputError(
            f"judge is {judge!r}, the teacher itself, which would reward its own taste; name another LLM, or same_judge"
        )
    with held(run), progress.working(questions.STAGE):
        writer = llm_of(config, run)
        grader = judge_of(config, run, judge, judge_endpoint, judge_prices)
        corpus, documents = questions.held_out(run)
        # another seed than that of the run, whose own queries would come again
        wanted = tasks(corpus, documents, {"test": queries}, read_styles(config.styles), config.seed + 1)[:queries]
        wrote = questions.write_queries(wanted, corpus, config.near_duplicate, config.min_coverage, writer, progress)
        asked, domains = [query.text for query in wrote], [query.domain for query in wrote]
        passages, views = texts(corpus), {}
        for name in models or (config.model, str(run / "model")):
            encoder = Encoder(locate(name), store_of(config, run), backend=config.backend, precision=config.precision)
            views[name] = pooling.view(encoder, passages, asked, progress)
        units = pooling.pooled_units(views, questions.documents_of(corpus), config.found_by)
        most = sum(len(unit.pooled) for unit in units)
        progress.say(f"at most {most:,} grades by {grader.model}, fewer if the figures are sure before")
        answers = partial(questions.answers, grader, asked, passages, progress)
        found = {"judge": grader.model, "teacher": writer.model, "models": list(views), "queries": len(asked)}
        found |= pooling.compare(units, next(iter(views.values())), answers, config.seed, domains)
        found["spending"] = spending(grader)["by_stage"].get(questions.STAGE, {})
        write_json(run / "pool.json", found)
    return found
