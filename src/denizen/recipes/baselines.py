"""What an adaptation has to beat: plain fine-tuning on the same pairs, and the average of base and adapted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denizen.data.artifacts import Examples, Model, Qrels, Queries
from denizen.data.tables import relevant, rows_table, write_table
from denizen.engine.artifact import Value
from denizen.engine.errors import ChangedError, InputError
from denizen.engine.pipeline import Pipeline
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.engine.versions import installed
from denizen.measuring.students import Choice
from denizen.merging.average import average
from denizen.merging.methods import is_available
from denizen.recipes.config import AdaptConfig
from denizen.supervision.supervision import Texts
from denizen.training.train import Training, train


def baselines(run: Pipeline, config: AdaptConfig, base: Model, texts: Texts, choice: Choice) -> dict[str, Model]:
    """Steps plain and average, the latter where a student was chosen and mergekit knows the model's architecture."""
    found = {}
    with run.scope("baselines"):
        found["plain"] = _plain(run, config, base, texts)
        if choice.best and not is_available():
            run.context.progress.say("the average of base and adapted is not measured: pip install 'denizen[merge]'")
        elif choice.best:
            merging = Value(installed("mergekit"))
            try:
                found["average"] = run(average, base=base, student=choice.model, merging=merging)
            except ChangedError:
                raise
            except InputError as error:
                # a baseline is no reason to lose a training
                run.context.progress.say(f"the average of base and adapted is not measured: {error}")
    return found


def _plain(run: Pipeline, config: AdaptConfig, base: Model, texts: Texts) -> Model:
    """One epoch of InfoNCE on each training query and its first relevant passage.

    No mining and no rounds, batches as they come; what is known to be relevant is no in-batch negative here either.
    """
    # of the run's settings, those that have nothing to do with how it mines and trains
    kept = {name: getattr(config.training, name) for name in ("seed", "precision", "max_tokens", "lora_rank")}
    params = Training(**kept, epochs=1.0, batches="length").on_this_machine()
    pairs = run(pair, queries=texts.queries, qrels=texts.pairs)
    shared = {"corpus": texts.corpus, "queries": texts.queries, "qrels": texts.pairs}
    return run(train.named("plain"), params, start=base, examples=pairs, **shared)


def _planned(params: Params, *, queries: Queries, **inputs: Any) -> dict[str, Any]:
    return {"examples": queries.facts.get("queries", {}).get("train", 0), "texts_a_row": 1}


@step(version=1, makes=Examples, name="pairs", plan=_planned)
def pair(out: Path, params: Params, ctx: Context, *, queries: Queries, qrels: Qrels) -> dict[str, Any]:
    """Each training query with its first relevant passage, as examples."""
    known = relevant(qrels.table)
    pairs = [
        {"query_id": name, "positive_id": min(known[name]), "negative_ids": [], "teacher_scores": []}
        for name in queries.texts("train")
        if name in known
    ]
    write_table(out / "examples.parquet", rows_table("examples", pairs))
    return {"examples": len(pairs), "texts_a_row": 1}
