"""What an adaptation has to beat: plain fine-tuning on the same pairs, and the average of base and adapted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from denizen.data.tables import relevant, rows_table
from denizen.engine.errors import ChangedError, InputError
from denizen.merging import methods as merge
from denizen.recipes.config import AdaptConfig
from denizen.recipes.rounds import Rounds
from denizen.reports.results import installed
from denizen.retrievers.model_ref import model_digest

# of the run's settings, those that have nothing to do with how it mines and trains
_KEPT = ("model", "seed", "precision", "max_tokens", "passage_chars")


def plain(
    rounds: Rounds,
    base: Path,
    tables: Mapping[str, pa.Table],
    digests: Mapping[str, str],
    related: Callable[[list[str]], dict[str, frozenset[str]]],
) -> Path:
    """Stage baselines/plain: one epoch of InfoNCE on each training query and its first relevant passage.

    No mining and no rounds, batches as they come; what is known to be relevant is no in-batch negative here either.

    Args:
        rounds: The run.
        base: The model to train.
        tables: corpus, queries and qrels.
        digests: Of the tables.
        related: For query ids, the passages that must not be their negatives.

    Returns:
        The folder of the model.
    """
    from denizen.training import bi_encoder as train_encoder

    kept = rounds.config.only(*_KEPT)
    config = AdaptConfig(rounds.config.source, **kept, negatives=0, epochs=1.0, batches="length")
    inputs = {**digests, "base": model_digest(base), "arithmetic": rounds.training_arithmetic}

    def work(folder: Path) -> dict[str, Any]:
        known = relevant(tables["qrels"])
        ids = [row["query_id"] for row in tables["queries"].to_pylist() if row["split"] == "train"]
        pairs = [
            {"query_id": name, "positive_id": min(known[name]), "negative_ids": [], "teacher_scores": []}
            for name in ids
            if name in known
        ]
        near = related([pair["query_id"] for pair in pairs])
        rows = rows_table("examples", pairs)
        data = train_encoder.training_set(rows, tables["corpus"], tables["queries"], near, fill=True)
        with rounds.progress.bar(train_encoder.total_steps(len(pairs), config), "steps") as advance:
            return train_encoder.train(folder, base, data, config, base, None, advance)

    rounds.stage("baselines/plain", 1, config.only(*train_encoder.SETTINGS), inputs, work, resumable=True)
    return rounds.out / "baselines/plain"


def average(rounds: Rounds, base: Path, student: Path) -> Path | None:
    """Stage baselines/average: halfway between the base and the student by weights (LM-Cocktail, arXiv 2311.13534).

    Returns:
        The folder of the model; None where mergekit is not installed or does not know the model's architecture.
    """
    if not merge.is_available():
        rounds.progress.say("the average of base and adapted is not measured: pip install 'denizen[merge]'")
        return None

    def work(folder: Path) -> None:
        merged = merge.merge(base, [student], merge.Merge("linear", (0.5,)))
        merged.save_pretrained(str(folder), create_model_card=False)

    inputs = {"base": model_digest(base), "student": model_digest(student), "merging": installed("mergekit")}
    try:
        rounds.stage("baselines/average", 1, {}, inputs, work)
    except ChangedError:
        raise
    except InputError as error:
        # a baseline is no reason to lose a training
        rounds.progress.say(f"the average of base and adapted is not measured: {error}")
        return None
    return rounds.out / "baselines/average"
