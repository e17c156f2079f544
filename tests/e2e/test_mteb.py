"""The same figures in mteb as here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from denizen.engine.errors import InputError
from denizen.recipes.evaluate import evaluate
from denizen.reports.mteb_task import mteb_task

mteb = pytest.importorskip("mteb", reason="mteb is an extra")
pytestmark = pytest.mark.parity


def _scores(model: Any, task: Any) -> dict[str, float]:
    (result,) = mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results
    ((scores,),) = result.scores.values()
    return scores


def test_a_beir_folder_has_the_same_figures_in_mteb(tiny_encoder: Path, forgettable: Path) -> None:
    from sentence_transformers import SentenceTransformer

    ours = evaluate([str(tiny_encoder)], forgettable, bm25=False, precision="fp32", backend="torch")["means"]
    (found,) = ours.values()
    theirs = _scores(SentenceTransformer(str(tiny_encoder)), mteb_task(forgettable))
    pairs = (("MRR@5", "mrr_at_5"), ("nDCG@10", "ndcg_at_10"), ("Recall@5", "recall_at_5"))
    for name, other in pairs:
        assert theirs[other] == pytest.approx(found[name], abs=1e-4), name


def test_a_run_has_the_same_figures_in_mteb(gated: tuple[Path, dict[str, Any]]) -> None:
    from sentence_transformers import SentenceTransformer

    out, report = gated
    theirs = _scores(SentenceTransformer(str(out / "model")), mteb_task(out))
    assert theirs["mrr_at_5"] == pytest.approx(report["adapted"]["MRR@5"], abs=1e-4)
    assert theirs["ndcg_at_10"] == pytest.approx(report["adapted"]["nDCG@10"], abs=1e-4)


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        mteb_task(tmp_path)
