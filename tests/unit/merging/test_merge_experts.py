"""Merging experts: what a recipe does to them, a search that is stopped, and what is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from denizen.data.artifacts import Evaluation, Model
from denizen.engine.artifact import Value
from denizen.engine.errors import InputError
from denizen.engine.files import read_json
from denizen.engine.settings import Params
from denizen.engine.step import Context
from denizen.measuring.students import Choice
from denizen.merging import merge_experts
from denizen.merging.merge_experts import (
    MergedExperts,
    MergeSearch,
    average_experts,
    called,
    choose_shipped,
    merged,
    search_merges,
)
from denizen.merging.methods import Merge
from denizen.retrievers.bi_encoder import Encoders
from denizen.retrievers.loading import load_encoder
from tests.tiny_models import tiny_model

pytest.importorskip("mergekit", reason="merging is an extra")


@pytest.fixture(scope="module")
def family(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A base and three experts near it."""
    import torch

    folders = [tiny_encoder]
    for seed in (1, 2, 3):
        model = load_encoder(tiny_encoder)
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(torch.randn(weights.shape, generator=random) * 0.02)
        folder = tmp_path_factory.mktemp("experts") / f"expert-{seed}"
        model.save_pretrained(str(folder), create_model_card=False)
        folders.append(folder)
    return folders


def vectors(model: Any) -> np.ndarray:
    found: np.ndarray = model.encode(["what is gout", "fever and pain"], normalize_embeddings=False)
    return found


def test_an_expert_alone_at_weight_1_is_itself(family: list[Path]) -> None:
    base, *experts = family
    for method in ("linear", "task_arithmetic", "ties"):
        found = merged(base, experts, Merge(method, (0.0, 1.0, 0.0), density=1.0))
        np.testing.assert_allclose(vectors(found), vectors(load_encoder(experts[1])), atol=1e-5)


def test_slerp_of_two_goes_from_the_first_to_the_second(family: list[Path]) -> None:
    base, one, other, _ = family
    for weights, same in (((1.0, 0.0), one), ((0.0, 1.0), other)):
        found = merged(base, [one, other], Merge("slerp", weights))
        np.testing.assert_allclose(vectors(found), vectors(load_encoder(same)), atol=1e-5)


def test_the_order_of_experts_does_not_matter(family: list[Path]) -> None:
    base, one, other, _ = family
    found = merged(base, [one, other], Merge("ties", (0.3, 0.6)))
    swapped = merged(base, [other, one], Merge("ties", (0.6, 0.3)))
    np.testing.assert_allclose(vectors(found), vectors(swapped), atol=1e-5)


def test_equal_experts_average_to_themselves(family: list[Path], tmp_path: Path) -> None:
    base, one = (Model.outside(path) for path in family[:2])
    out = tmp_path / "out"
    average_experts(out, Params(), Context(), base=base, experts={"a": one, "b": one, "c": one}, merging=Value(""))
    np.testing.assert_allclose(vectors(load_encoder(out)), vectors(load_encoder(one.path)), atol=1e-5)


def test_models_of_another_shape_are_refused(family: list[Path], tmp_path: Path) -> None:
    wider = tiny_model(tmp_path / "wider", "bert", dim=64)
    with pytest.raises(InputError, match="cannot be merged with"):
        merged(family[0], [family[1], wider], Merge("linear", (0.5, 0.5)))


def test_people_are_told_methods_weights_and_density() -> None:
    assert called(Merge("ties", (0.5, 0.25), 0.3), ["law", "health"]) == "ties of law 0.5, health 0.25, density 0.3"
    assert called(Merge("linear", (0.5, 0.5)), ["law", "health"]) == "linear of law 0.5, health 0.5"


class StoppedError(Exception):
    """Stands for a kill."""


def test_a_stopped_search_measures_nothing_again_and_leaves_no_merge(
    family: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Path] = []

    def on_dev(folder: Path, *rest: Any) -> dict[str, float]:
        if len(measured) == 2 and not stopped:
            stopped.append(True)
            raise StoppedError
        measured.append(folder)
        # the more it differs from the base, the better
        return {"a": float(np.abs(vectors(load_encoder(folder)) - vectors(load_encoder(family[0]))).mean()), "b": 0.0}

    stopped: list[bool] = []
    monkeypatch.setattr(merge_experts, "on_dev", on_dev)
    names = ("a", "b")
    dev = {name: Evaluation(tmp_path, name, {"dev": {"a": 0.1, "b": 0.2}}) for name in names}
    inputs: dict[str, Any] = {
        "base": Model.outside(family[0]),
        "experts": {name: Model.outside(path) for name, path in zip(names, family[1:], strict=False)},
        "dev": dev,
        "indexes": {},
        "parts": {},
        "merging": Value(""),
    }
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    ctx = Context(scratch=scratch, resources={Encoders: Encoders(tmp_path / "store")})
    with pytest.raises(StoppedError):
        search_merges(out, MergeSearch(merge_evaluations=5), ctx, **inputs)
    found = search_merges(out, MergeSearch(merge_evaluations=5), ctx, **inputs)
    assert len(measured) == 5 == found["measured"] == len(list(scratch.glob("*.json")))
    assert not (scratch / "measured").exists() and not list(scratch.glob("*/"))
    points = read_json(out / "points.json")["points"]
    assert max(points, key=lambda point: point["mean"])["method"] == found["method"]
    again = merged(family[0], family[1:3], Merge(found["method"], tuple(found["weights"])))
    np.testing.assert_allclose(vectors(load_encoder(out / "model")), vectors(again), atol=1e-6)


def shipped(tmp_path: Path, means: dict[str, float], merge: float) -> dict[str, Any]:
    models = {}
    for name in means:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
        models[name] = Model.outside(tmp_path / name)
    (tmp_path / "merge/model").mkdir(parents=True)
    (tmp_path / "merge/model/config.json").write_text("merged")
    dev = {name: Evaluation(tmp_path, name, {"dev": {"a": mean, "b": mean}}) for name, mean in means.items()}
    (tmp_path / "out").mkdir()
    best = MergedExperts(tmp_path / "merge", "m", {"mean": merge}, {"model/config.json": "x"}, "merge")
    return choose_shipped(tmp_path / "out", Params(), Context(), models=models, dev=dev, merge=best)


@pytest.mark.parametrize(
    ("merge", "taken"), [(0.7, "merged"), (0.6, "all"), (0.5, "all")], ids=["better", "only as good", "worse"]
)
def test_the_merged_model_is_shipped_where_it_is_better_than_all_others(
    tmp_path: Path, merge: float, taken: str
) -> None:
    found = shipped(tmp_path, {"base": 0.3, "expert-a": 0.5, "all": 0.6, "uniform": 0.4}, merge)
    assert found["taken"] == taken
    assert (Choice.outside(tmp_path / "out").path / "model/config.json").read_text() == taken


def test_of_equals_the_plainest_is_shipped(tmp_path: Path) -> None:
    assert shipped(tmp_path, {"base": 0.5, "expert-a": 0.5}, 0.5)["taken"] == "base"
