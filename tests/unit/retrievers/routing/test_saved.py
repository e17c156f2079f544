"""Routers that are saved and read again; what is damaged is said to be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from denizen.engine.errors import InputError
from denizen.retrievers.routing.decision import Thresholds
from denizen.retrievers.routing.fitting import best_of, fit_embedding_routers
from denizen.retrievers.routing.label_router import LabelRouter
from denizen.retrievers.routing.labelled import LabelledQueries, unit
from denizen.retrievers.routing.saved import EMBEDDING_ROUTERS, load_router, save_router

NEAR = {"law": [1.0, 0.0, 0.0, 0.0], "medicine": [0.0, 1.0, 0.0, 0.0], "": [0.0, 0.0, 0.0, 1.0]}


def queries(number: int, seed: int, domains: tuple[str, ...] = ("law", "medicine")) -> LabelledQueries:
    """Queries around a direction of their own for each domain."""
    random = np.random.default_rng(seed)
    labels = [name for name in domains for _ in range(number)]
    rows = np.asarray([NEAR[name] for name in labels]) + random.normal(0, 0.2, (len(labels), 4))
    texts = {f"q{at}": f"question {at}" for at in range(len(labels))}
    return LabelledQueries(texts, labels, unit(rows.astype(np.float32)))


@pytest.mark.parametrize("kind", EMBEDDING_ROUTERS)
@pytest.mark.parametrize("domains", [("law", "medicine"), ("law", "medicine", "")])
def test_a_router_reads_as_it_was_saved(kind: str, domains: tuple[str, ...], tmp_path: Path) -> None:
    train, dev = queries(30, 1, domains), queries(20, 2, domains)
    tried = fit_embedding_routers(train, dev, "0" * 64, seed=3)
    router = tried[best_of(tried, (kind,))].router
    save_router(tmp_path, router, Thresholds(0.55, 0.2))
    again, thresholds = load_router(tmp_path)
    assert (again.name, again.domains, thresholds) == (kind, ("law", "medicine"), Thresholds(0.55, 0.2))
    asked = dev.texts, dev.embeddings
    assert np.array_equal(again.probabilities(*asked), router.probabilities(*asked))
    found = router.probabilities(*asked)
    inside = np.asarray(dev.places(router.domains)) >= 0
    assert (found.argmax(axis=1) == dev.places(router.domains))[inside].mean() > 0.9
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".pkl", ".pickle", ".joblib", ".partial")]


def test_what_was_trained_twice_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tried = fit_embedding_routers(queries(30, 1), queries(20, 2), "0" * 64, seed=3)
        save_router(tmp_path / name, tried["centroids 4"].router, Thresholds(0.0, 1.0))
    one, two = (sorted(path.read_bytes() for path in (tmp_path / name).iterdir()) for name in ("one", "two"))
    assert one == two


def test_arrays_of_another_router_are_noticed(tmp_path: Path) -> None:
    tried = fit_embedding_routers(queries(30, 1), queries(20, 2), "0" * 64, seed=3)
    save_router(tmp_path / "one", tried["knn 1"].router, Thresholds(0.0, 1.0))
    save_router(tmp_path / "two", tried["knn 3"].router, Thresholds(0.0, 1.0))
    (tmp_path / "two" / "router.safetensors").replace(tmp_path / "one" / "router.safetensors")
    with pytest.raises(InputError, match=r"no whole router.*not the file.*train it again"):
        load_router(tmp_path / "one")


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (None, "holds no router"),
        ({"kind": "oracle"}, "of the kind 'oracle'; there are centroids, knn, labels, llm, logistic"),
        ({"kind": "knn"}, "holds no whole router"),
        ({"kind": "llm", "llm": "m"}, "asks m, and no LLM is given"),
    ],
)
def test_what_is_no_router_is_refused(saved: dict[str, str] | None, said: str, tmp_path: Path) -> None:
    if saved is not None:
        (tmp_path / "router.json").write_text(json.dumps(saved))
    with pytest.raises(InputError, match=said):
        load_router(tmp_path)


def test_embeddings_of_another_model_are_refused() -> None:
    tried = fit_embedding_routers(queries(30, 1), queries(20, 2), "abc" * 21, seed=3)
    with pytest.raises(InputError, match=r"embeddings of 3 dimensions.*abcabc"):
        tried["logistic 1"].router.probabilities({"q": "?"}, np.ones((1, 3), dtype=np.float32))


def test_labels_are_certain_of_what_they_know_and_silent_else(tmp_path: Path) -> None:
    save_router(tmp_path, LabelRouter(("law", "medicine"), {"a": "medicine", "b": "weather"}), Thresholds(0.0, 1.0))
    router, _ = load_router(tmp_path)
    found = router.probabilities({"a": "", "b": "", "c": ""}, np.zeros((3, 4), dtype=np.float32))
    assert found.tolist() == [[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


def test_a_side_without_a_domain_is_refused() -> None:
    only_law = queries(20, 2, ("law",))
    with pytest.raises(InputError, match="no dev query is of medicine"):
        fit_embedding_routers(queries(30, 1), only_law, "0", seed=3)
    with pytest.raises(InputError, match="two domains or more"):
        fit_embedding_routers(only_law, queries(20, 2), "0", seed=3)
