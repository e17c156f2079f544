"""A user's data as a retrieval task of mteb (the extra `mteb`), so that any model can be measured there, offline."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denizen.data.formats.beir import read_beir
from denizen.data.tables import relevant
from denizen.engine.errors import InputError
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
    try:
        from datasets import Dataset
        from mteb.abstasks import AbsTaskRetrieval
        from mteb.abstasks.task_metadata import TaskMetadata
    except ImportError:
        raise InputError("a task of mteb needs mteb: pip install 'denizen[mteb]'") from None

    if (path / "metrics.json").is_file():
        run = FinishedRun(path)
        documents, texts, known = run.corpus, {key: row["text"] for key, row in run.queries.items()}, run.known
    else:
        source = read_beir(path, split=split)
        documents, known = source.documents, relevant(source.qrels)
        texts = {row["query_id"]: row["text"] for row in source.queries.to_pylist()}
    if not known:
        raise InputError(f"split {split!r} of {path} has no query with a relevant document; label some with 1 or more")
    rows = documents.to_pylist()
    corpus = [{"id": row["doc_id"], "title": row["title"] or "", "text": row["text"]} for row in rows]
    queries = [{"id": query_id, "text": texts[query_id]} for query_id in known]

    class Task(AbsTaskRetrieval):
        """The data, in memory already."""

        metadata = TaskMetadata(
            name=f"Denizen{re.sub(r'[^0-9A-Za-z]', '', path.resolve().name).title()}",
            description=f"Retrieval on {path.resolve().name}.",
            dataset={"path": "local", "revision": "local"},
            type="Retrieval",
            category="t2t",
            eval_splits=[split],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )
        k_values = (1, 3, 5, 10, 100)

        def load_data(self, num_proc: int | None = None, **settings: Any) -> None:
            """Nothing is fetched."""
            data: Any = {"corpus": Dataset.from_list(corpus), "queries": Dataset.from_list(queries), "top_ranked": None}
            self.dataset = {"default": {split: data | {"relevant_docs": known}}}
            self.data_loaded = True

    return Task()
