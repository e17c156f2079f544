"""Which candidates become examples: the settings of that, and how examples of several rounds are written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denizen.data.artifacts import Examples
from denizen.data.tables import write_table
from denizen.engine.errors import InputError
from denizen.engine.progress import Progress
from denizen.engine.settings import Seeded, setting
from denizen.supervision import examples
from denizen.supervision.examples import Example
from denizen.training.train import LossChoice

NEGATIVES = "Mined passages of a row beside the positive; 3 where the loss is listwise or graded-bce."


@dataclass(frozen=True)
class Selecting(LossChoice, Seeded):
    """Which candidates become examples."""

    panel = "Mining"

    hard_positive_ranks: str = setting("6-100", "Ranks where a relevant passage makes a hard example.")
    negatives: int = setting(1, NEGATIVES, least=0, most=64)
    positives: int = setting(1, "Relevant passages of a query that become InfoNCE or GIST rows; 0: all.", least=0)
    easy_per_hard: float = setting(2.0, "Triplets: at most this many easy ones for each hard one.", least=0, most=1000)

    def planned(self, queries: int, rounds: int) -> Mapping[str, Any]:
        """How many examples some queries make in some rounds at most, and how many passages each has.

        A query gives a hard and an easy triplet at most, or a row for each relevant passage that is taken; all rounds'
        examples are trained on again in each later round.
        """
        each = 2 if self.triplets else self.positives or 1
        return {"examples": queries * each * rounds, "texts_a_row": 2 if self.triplets else 1 + self.negatives}


def write_examples(
    out: Path, made: Sequence[Example], number: int, earlier: Examples | None, progress: Progress, *, bare: bool
) -> dict[str, Any]:
    """Writes a round's examples with those of all rounds before.

    Args:
        out: Where to.
        made: The round's examples.
        number: The round.
        earlier: Those of the rounds before.
        progress: Told how many there are.
        bare: Whether an example without a negative is worth a remark.
    """
    rows = examples.cumulate([earlier.table] if earlier else [], examples.examples_table(made, number))
    write_table(out / "examples.parquet", rows)
    kinds = rows["kind"].to_pylist()
    hard, easy = kinds.count("hard"), kinds.count("easy")
    without = sum(not ids for ids in rows["negative_ids"].to_pylist()) if bare else 0
    progress.note(f"{len(rows):,} examples: {hard:,} hard, {easy:,} easy; mined in this round: {len(made):,}")
    if without:
        progress.note(f"{without:,} without a mined negative")
    return {"examples": len(rows), "new": len(made), "hard": hard, "easy": easy, "without_negative": without}


def ranks(window: str) -> tuple[int, int]:
    """Reads a rank window such as "6-100" (both ends included, ranks count from 1).

    Raises:
        InputError: When it is not two numbers with 1 <= first <= last.
    """
    found = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", window)
    if found and 1 <= int(found[1]) <= int(found[2]):
        return int(found[1]), int(found[2])
    raise InputError(f"rank window {window!r} is not of the form 6-100 (from rank 6 to rank 100)")
