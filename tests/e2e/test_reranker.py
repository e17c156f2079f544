"""A run with a reranker: trained, decided on, measured beside what is shipped, saved, and searched with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import CrossEncoder

from denizen.api import adapt
from denizen.data.tables import rankings
from denizen.engine.progress import Silent
from denizen.engine.settings import Params
from denizen.engine.step import Context
from denizen.measuring.reranking import SHARES, decide_reranking
from denizen.recipes.config import AdaptConfig
from denizen.retrievers.cross_encoder import Reranker
from denizen.retrievers.reranked import Reranked, mixed, scored
from denizen.retrievers.searchable import SearchableCorpus

from .conftest import SETTINGS, Heard
from .test_again import STEPS

DECIDED = ("reranker", "reranking", "latency")


@pytest.fixture(scope="module")
def run(
    pairs: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], Heard]:
    """A finished run whose reranker is taken, as if it had been proven."""
    known, heard = decide_reranking.function, Heard()

    def taken(out: Path, params: Params, ctx: Context, **inputs: Any) -> Any:
        return {**known(out, params, ctx, **inputs), "taken": True, "share": 0.3}

    out = tmp_path_factory.mktemp("runs") / "reranked"
    config = AdaptConfig(
        str(pairs), model=str(tiny_encoder), **{**SETTINGS, "epochs": 0.2, "rounds": 1, "reranker": True}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide_reranking, "function", taken)
        patch.setattr("denizen.measuring.reranking._TIMED", 3)
        return out, adapt(config, out, progress=heard), heard


def test_its_steps_come_after_fusion_and_the_test_reads_them(run: tuple[Path, dict[str, Any], Heard]) -> None:
    _, _, heard = run
    assert set(heard.worked) - set(STEPS) == set(DECIDED)
    at = heard.worked.index("fusion") + 1
    assert heard.worked[at : at + 3] == list(DECIDED) and "test" in heard.worked[at + 3 :]


def test_metrics_say_what_it_gives_and_costs(run: tuple[Path, dict[str, Any], Heard]) -> None:
    out, report, _ = run
    found, before = report["reranker"], "hybrid" if report["shipped"]["first_stage"] == "hybrid" else "adapted"
    assert found["deploy"] and found["model"] == (out / "reranker").as_posix()
    for measure in ("MRR@5", "nDCG@10"):
        apart = report["reranked"][measure] - report[before][measure]
        assert found["difference"][measure]["value"] == pytest.approx(apart, abs=1e-9)
        assert found["means"] == {"alone": report[before], "reranked": report["reranked"]}
    # rescored is what was found
    assert report["reranked"]["Recall@100"] == report[before]["Recall@100"]
    took = found["milliseconds"]
    assert 0 < took["alone"] < took["reranked"]
    assert (report["shipped"]["name"], report["shipped"]["means"]) == ("reranked", report["reranked"])
    gain = f"{found['decided']['gain']['value']:+.3f}"
    said = f"(its score counts 30%, that before 70%, both spread over those) changes MRR@5 by {gain}"
    assert 0.3 in SHARES
    assert found["decided"]["queries"] == report["decided"]["round"]["queries"]
    for text in ((out / "report.html").read_text(), (out / "model/README.md").read_text()):
        assert said in text and "eploy the reranker after what finds passages" in text


def test_it_is_a_plain_cross_encoder_and_what_is_searched_with_ranks_by_it(
    run: tuple[Path, dict[str, Any], Heard],
) -> None:
    out, _, _ = run
    loaded = SearchableCorpus.load(out)
    assert isinstance(loaded.retriever, Reranked)
    source = json.loads((out / "config.json").read_text())["source"]
    query = json.loads(Path(source).read_text().splitlines()[0])["question"]
    assert loaded.retriever.share == 0.3
    ids = [each.doc_id for each in loaded.search(query, 10)]
    first = loaded.retriever.first.search(
        loaded.retriever.first.index(loaded.corpus, Silent()), {"q": query}, 100, Silent()
    )
    scores = scored(Reranker(out / "reranker"), first, {"q": query}, loaded.corpus, Silent())
    assert ids == [doc_id for doc_id, _ in rankings(mixed(first, scores, 0.3, 10))["q"]]
    model = CrossEncoder(str(out / "reranker"), device="cpu")
    assert model.num_labels == 1 and float(model.predict(("gout", "lupus"))) != float(model.predict(("gout", "pain")))
