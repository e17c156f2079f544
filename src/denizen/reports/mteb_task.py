"""A user's data as a retrieval task of mteb (the extra `mteb`), so that any model can be measured there, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from denizen.measuring.mteb_tasks import beir_task, in_memory
from denizen.reports.finished_run import FinishedRun

if TYPE_CHECKING:
    from mteb.abstasks import AbsTaskRetrieval


def mteb_task(path: Path, split: str = "test") -> AbsTaskRetrieval:
    """The task of a BEIR folder, or of a finished run: its test queries, as the run has measured them.

    `mteb.evaluate(model, mteb_task(path), cache=None)` then gives the figures of `denizen evaluate` (mteb's "mrr_at_5"
    is MRR@5 here, "ndcg_at_10" nDCG@10, "recall_at_100" Recall@100).

    Args:
        path: A BEIR folder or the folder of a finished run.
        split: Which qrels of a BEIR folder; a run has only its test.

    Raises:
        InputError: When mteb is not installed, the folder is neither, or no query has a relevant document.
    """
    if not (path / "metrics.json").is_file():
        return beir_task(path, split)
    run = FinishedRun(path)
    texts = {query_id: row["text"] for query_id, row in run.queries.items()}
    return in_memory(path, run.corpus, texts, run.known, split)
