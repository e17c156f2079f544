"""Retrievers of several domains on scores by hand: federated, ensembles, joined vectors, routed; saved and loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from denizen.data.tables import rankings, rows_table
from denizen.engine.errors import InputError
from denizen.engine.progress import Silent
from denizen.retrievers.adapted import routed_adapters
from denizen.retrievers.bi_encoder import BiEncoder, Encoders
from denizen.retrievers.encoding import Encoding
from denizen.retrievers.ensemble import Concatenated, Ensemble
from denizen.retrievers.federated import Federated
from denizen.retrievers.loading import load_encoder
from denizen.retrievers.retriever import Retriever
from denizen.retrievers.routed import Routed
from denizen.retrievers.routing.decision import Route, Thresholds
from denizen.retrievers.routing.label_router import LabelRouter
from denizen.retrievers.routing.saved import save_router
from denizen.retrievers.saved import load
from denizen.retrievers.score_calibration import Isotonic, ScoreCalibration, ZScore
from denizen.retrievers.search import fuse
from denizen.retrievers.searchable import load_searchable, write_searchable

QUERIES = {"q": "what is gout", "r": "what is lupus"}
CORPUS = rows_table(
    "corpus",
    [
        {"doc_id": name, "text": text, "domain": domain}
        for name, text, domain in (
            ("a1", "gout is pain", "law"),
            ("a2", "lupus is fever", "law|health"),
            ("b1", "treat the child", "health"),
            ("c1", "dose of a drug", None),
        )
    ],
)
PLAIN = ZScore(0.0, 1.0)


@dataclass(frozen=True)
class Fixed:
    """A retriever that gives passages fixed scores for every query."""

    name: str
    scores: Mapping[str, float] = field(compare=False)
    kind = "fixed"
    parts: tuple[Retriever, ...] = ()

    @property
    def digest(self) -> str:
        return self.name

    def index(self, corpus: pa.Table, progress: Any) -> list[str]:
        return corpus["doc_id"].to_pylist()

    def search(self, index: list[str], queries: Mapping[str, str], depth: int, progress: Any) -> pa.Table:
        ranked = sorted(((self.scores[name], name) for name in index), key=lambda pair: (-pair[0], pair[1]))[:depth]
        return rows_table("run", [(query, name, score) for query in queries for score, name in ranked])

    def save(self, folder: Path) -> None:
        raise AssertionError("nobody saves it")


LAW = Fixed("law", {"a1": 0.8, "a2": 0.6, "b1": 0.1, "c1": 0.2})
HEALTH = Fixed("health", {"a1": 5.0, "a2": 9.0, "b1": 7.0, "c1": 4.0})


def ranked(retriever: Retriever, depth: int = 10, queries: Mapping[str, str] = QUERIES) -> list[tuple[str, float]]:
    run = retriever.search(retriever.index(CORPUS, Silent()), queries, depth, Silent())
    assert list(rankings(run)) == list(queries)
    return [(name, round(score, 4)) for name, score in rankings(run)[next(iter(queries))]]


def test_federated_takes_the_best_calibrated_score_of_each_passage_from_the_index_of_its_domain() -> None:
    """Law has a1, a2, c1 (none's is everyone's): z of mean .5, spread .1: 3, 1, -3. Health has a2, b1, c1 with mean 8
    and spread 2: .5, -.5, -2. So a1 3, a2 max(1, .5), b1 -.5, c1 max(-3, -2)."""
    found = Federated((LAW, HEALTH), ("law", "health"), (ZScore(0.5, 0.1), ZScore(8.0, 2.0)))
    assert ranked(found) == [("a1", 3.0), ("a2", 1.0), ("b1", -0.5), ("c1", -2.0)]
    assert ranked(found, 2) == [("a1", 3.0), ("a2", 1.0)]
    # without calibration one model's scale would decide alone
    assert ranked(Federated((LAW, HEALTH), ("law", "health"), (PLAIN, PLAIN)))[0] == ("a2", 9.0)


def test_an_ensemble_is_the_mean_of_calibrated_scores() -> None:
    """(3 - .75) / 2, (1 + .25) / 2, (-3 - 1) / 2, (-4 - .25) / 2."""
    found = Ensemble((LAW, HEALTH), (ZScore(0.5, 0.1), ZScore(8.0, 4.0)))
    assert ranked(found) == [("a1", 1.125), ("a2", 0.625), ("c1", -2.0), ("b1", -2.125)]


def test_what_a_part_has_not_found_counts_as_the_last_that_it_has() -> None:
    first = rows_table("run", [("q", "a1", 3.0), ("q", "a2", 1.0)])
    second = rows_table("run", [("q", "b1", 2.0), ("q", "a1", -1.0)])
    run = Ensemble((LAW, HEALTH), (PLAIN, PLAIN)).combine([first, second], {"q": ""}, 10)
    # a1 (3 - 1) / 2, b1 (1 + 2) / 2, a2 (1 - 1) / 2
    assert rankings(run)["q"] == [("b1", 1.5), ("a1", 1.0), ("a2", 0.0)]


@pytest.fixture
def models(tiny_encoder: Path, tmp_path: Path) -> list[BiEncoder]:
    """Three encoders of different weights, as a general one and two experts."""
    import torch

    encoders, found = Encoders(tmp_path / "store"), []
    for at in range(3):
        model = load_encoder(tiny_encoder)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(at)
            for weights in model.parameters():
                weights.add_(0.3 * torch.randn_like(weights) * weights.std().nan_to_num())
        model.save_pretrained(str(tmp_path / f"model-{at}"), create_model_card=False)
        found.append(BiEncoder(tmp_path / f"model-{at}", Encoding(backend="torch", precision="fp32"), encoders))
    return found


def run_of(retriever: Retriever, corpus: pa.Table = CORPUS) -> dict[str, list[tuple[str, float]]]:
    run = retriever.search(retriever.index(corpus, Silent()), QUERIES, 10, Silent())
    return {query: [(name, round(score, 5)) for name, score in found] for query, found in rankings(run).items()}


def test_joined_vectors_score_the_mean_of_the_cosines(models: list[BiEncoder]) -> None:
    found, parts = run_of(Concatenated(tuple(models))), [dict_of(run_of(model)) for model in models]
    for query, ranking in found.items():
        for name, score in ranking:
            assert score == pytest.approx(np.mean([of[query][name] for of in parts]), abs=1e-4)


def dict_of(found: Mapping[str, list[tuple[str, float]]]) -> dict[str, dict[str, float]]:
    return {query: dict(ranking) for query, ranking in found.items()}


def routed(models: list[BiEncoder], folder: Path, labels: Mapping[str, str], **how: Any) -> Routed:
    save_router(folder, LabelRouter(("health", "law"), labels), Thresholds(0.5, 1.0))
    return Routed((models[0], models[1], models[2]), ("health", "law"), folder, **how)


def test_a_query_goes_to_its_expert_and_one_of_none_to_the_general_model(
    models: list[BiEncoder], tmp_path: Path
) -> None:
    found = run_of(routed(models, tmp_path / "router", {"q": "law"}))
    of_law = CORPUS.filter(pa.array([True, True, False, True]))
    assert found["q"] == run_of(models[2], of_law)["q"] and found["r"] == run_of(models[0])["r"]
    everywhere = run_of(routed(models, tmp_path / "router", {"q": "law", "r": "health"}, everywhere=True))
    assert everywhere["q"] == run_of(models[2])["q"] and everywhere["r"] == run_of(models[1])["r"]


class Both(Routed):
    """Sends every query to two domains."""

    def routes(self, index: Any, queries: Mapping[str, str], progress: Any) -> list[Route]:
        return [Route(("law", "health"), 1.0) for _ in queries]


def test_a_query_of_two_domains_is_fused_over_both(models: list[BiEncoder], tmp_path: Path) -> None:
    one = routed(models, tmp_path / "router", {})
    both = Both(one.parts, one.domains, one.router, everywhere=True)
    runs = [of.search(of.index(CORPUS, Silent()), QUERIES, 10, Silent()) for of in (models[2], models[1])]
    expected = {query: [name for name, _ in found] for query, found in rankings(fuse(runs, 10)).items()}
    assert {query: [name for name, _ in found] for query, found in run_of(both).items()} == expected


def test_a_fusion_ranks_alike_however_deep_it_is_searched(models: list[BiEncoder], tmp_path: Path) -> None:
    """a2 is second in both, first in neither: by the first of each it would not be found."""
    health = Fixed("health", {"a1": 3.0, "a2": 8.0, "b1": 9.0, "c1": 4.0})
    router = routed(models, tmp_path / "router", {}).router
    both = Both((models[0], health, LAW), ("health", "law"), router, everywhere=True)
    assert ranked(both, 1) == ranked(both, 4)[:1]
    assert [name for name, _ in ranked(both, 1)] == ["a2"]


def test_a_router_of_other_domains_is_refused(models: list[BiEncoder], tmp_path: Path) -> None:
    save_router(tmp_path / "router", LabelRouter(("law", "tax"), {"q": "tax"}), Thresholds(0.5, 1.0))
    found = Routed(tuple(models), ("health", "law"), tmp_path / "router")
    with pytest.raises(InputError, match="sends queries to tax, and there is no such domain here"):
        found.search(found.index(CORPUS, Silent()), QUERIES, 1, Silent())


ISOTONIC = Isotonic((0.1, 0.9), (0.0, 1.0), ZScore(0.4, 0.2))
CALIBRATIONS: tuple[ScoreCalibration, ...] = (ZScore(0.4, 0.2), ISOTONIC)


def made(kind: str, models: list[BiEncoder], folder: Path) -> Retriever:
    if kind == "federated":
        return Federated((models[1], models[2]), ("health", "law"), CALIBRATIONS)
    if kind == "ensemble":
        return Ensemble((models[1], models[2]), CALIBRATIONS)
    if kind == "concatenated":
        return Concatenated((models[1], models[2]))
    return routed(models, folder, {"0": "law"})


@pytest.mark.parametrize("kind", ["federated", "ensemble", "concatenated", "routed"])
def test_what_is_saved_comes_back_and_finds_the_same(kind: str, models: list[BiEncoder], tmp_path: Path) -> None:
    retriever = made(kind, models, tmp_path / "router")
    write_searchable(tmp_path / "saved", retriever, CORPUS)
    found = load(tmp_path / "saved", Encoding(backend="torch", precision="fp32"), models[0].encoders)
    assert found == retriever and found.digest == retriever.digest and found.kind == kind
    searched = load_searchable(tmp_path / "saved")
    assert searched.retriever.digest == retriever.digest
    # by its own path, from the kept index
    run = retriever.search(retriever.index(CORPUS, Silent()), {"0": QUERIES["q"]}, 10, Silent())
    assert [passage.doc_id for passage in searched.search(QUERIES["q"])] == [name for name, _ in rankings(run)["0"]]


def test_a_digest_says_what_it_is_made_of(models: list[BiEncoder], tmp_path: Path) -> None:
    other = (ZScore(0.5, 0.2), ISOTONIC)
    parts, names = (models[1], models[2]), ("health", "law")
    found = [
        Federated(parts, names, CALIBRATIONS),
        Federated(parts, names, other),
        Federated(parts[::-1], names, CALIBRATIONS),
        Ensemble(parts, CALIBRATIONS),
        Ensemble(parts, other),
        Concatenated(parts),
        routed(models, tmp_path / "one", {"q": "law"}),
        routed(models, tmp_path / "two", {"q": "health"}),
        routed(models, tmp_path / "one", {"q": "law"}, everywhere=True),
    ]
    assert len({each.digest for each in found}) == len(found) == len(set(found))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"domains": ["health"]}, "cannot be; it needs as many of each"),
        ({"calibrations": [{"kind": "z", "mean": 0.0, "spread": 0.0}] * 2}, "a calibration of scores is damaged"),
    ],
)
def test_a_damaged_folder_is_refused(change: dict[str, Any], why: str, models: list[BiEncoder], tmp_path: Path) -> None:
    made("federated", models, tmp_path).save(tmp_path / "saved")
    path = tmp_path / "saved/retriever.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=why):
        load(tmp_path / "saved", Encoding(), models[0].encoders)


def test_parts_that_do_not_fit_are_refused(models: list[BiEncoder], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be joined; give 2 bi-encoders or more"):
        Concatenated((models[0],))
    with pytest.raises(InputError, match="the general part of a routed retriever is a fixed"):
        Routed((LAW, models[1], models[2]), ("health", "law"), tmp_path)
    with pytest.raises(InputError, match="of 3 parts and 3 domains cannot be"):
        Routed(tuple(models), ("a", "b", "c"), tmp_path)


def trained_adapter(base: Path, folder: Path, seed: int) -> Path:
    """A folder as the step that trains leaves it: whole weights with an adapter folded in, and that by itself."""
    pytest.importorskip("peft")
    import torch

    from denizen.retrievers.adapted import ADAPTER
    from denizen.training.adapters import attach, fold, save_adapters

    model = load_encoder(base)
    adapted = attach(model, 2)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for name, weights in adapted.named_parameters():
            if "lora_" in name:
                weights.copy_(0.5 * torch.randn_like(weights))
    save_adapters(adapted, folder / ADAPTER)
    whole = load_encoder(base)
    fold(whole, folder / ADAPTER)
    whole.save_pretrained(str(folder), create_model_card=False)
    return folder


def test_adapters_over_one_base_find_what_whole_models_find_and_stand_in_memory_once(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    encoders, encoding = Encoders(tmp_path / "store"), Encoding(backend="torch", precision="fp32")
    base = BiEncoder(tiny_encoder, encoding, encoders)
    folders = [trained_adapter(tiny_encoder, tmp_path / f"expert-{at}", at) for at in range(2)]
    router, names = tmp_path / "router", ("health", "law")
    save_router(router, LabelRouter(names, {"q": "law", "r": "health"}), Thresholds(0.5, 1.0))
    whole = Routed((base, *(BiEncoder(folder, encoding, encoders) for folder in folders)), names, router)
    shared = routed_adapters(base, [folder / "adapter" for folder in folders], names, router, everywhere=False)

    expected, found = dict_of(run_of(whole)), dict_of(run_of(shared))
    assert expected["q"] != dict_of(run_of(base))["q"]
    for query, scores in expected.items():
        assert list(found[query]) == list(scores) and found[query] == pytest.approx(scores, abs=1e-4)
    # whoever was on before, each adapter and the base itself are as they were
    for _ in range(2):
        for part, other in zip(shared.parts, whole.parts, strict=True):
            for query, scores in dict_of(run_of(other)).items():
                assert dict_of(run_of(part))[query] == pytest.approx(scores, abs=1e-4)
    models = {id(part.encoder.model) for part in shared.parts if isinstance(part, BiEncoder)}
    assert len(models) == 1

    write_searchable(tmp_path / "saved", shared, CORPUS)
    assert len(list((tmp_path / "saved").glob("model*/**/model.safetensors"))) == 1
    again = load_searchable(tmp_path / "saved")
    assert again.retriever.digest == shared.digest and again.retriever.kind == "routed-adapters"
    shutil.rmtree(tmp_path / "saved/adapters/law")
    with pytest.raises(InputError, match="there is no adapter of law"):
        load_searchable(tmp_path / "saved")
