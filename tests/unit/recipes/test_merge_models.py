"""Merging as a command does it: halfway by default, the recipe beside the model, nobody's paths on the card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from denizen.cli.adapting import read_weights
from denizen.engine.errors import InputError
from denizen.merging.merge_card import name_on_card
from denizen.recipes.merge_models import merge_models
from denizen.retrievers.loading import load_encoder
from denizen.retrievers.model_ref import model_digest

pytest.importorskip("mergekit", reason="merging is an extra")


def test_without_weights_it_is_halfway_and_the_recipe_lies_beside_the_model(tiny_encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "merged"
    found = merge_models([str(tiny_encoder)] * 2, out, base=str(tiny_encoder))
    assert found["weights"] == [0.25, 0.25] and found["digests"] == [model_digest(tiny_encoder)] * 3
    assert {**json.loads((out / "merge.json").read_text()), "model": out.as_posix()} == found
    assert load_encoder(out).get_embedding_dimension() == 32
    assert [path.name for path in out.parent.iterdir()] == ["merged"]


def test_a_method_without_weights_needs_none(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = merge_models([str(tiny_encoder)] * 2, tmp_path / "empty", base=str(tiny_encoder), method="model_stock")
    assert found["method"] == "model_stock" and "weights" not in found
    with pytest.raises(InputError, match="leave the weights out"):
        merge_models([str(tiny_encoder)] * 2, tmp_path / "x", base=str(tiny_encoder), method="model_stock", weights=[1])


def test_the_card_has_hub_ids_as_base_models_and_no_path(tiny_encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    merge_models([str(tiny_encoder)], out, base=str(tiny_encoder), weights=[0.25])
    text = (out / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert "base_model" not in front and "merge" in front["tags"]
    assert "method: linear" in text and str(tiny_encoder.parent) not in text
    assert name_on_card("all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"
    assert name_on_card("org/model") == "org/model"
    # the model of a run is called after the run
    assert name_on_card(str(tiny_encoder)) == tiny_encoder.parent.name


@pytest.mark.parametrize(("models", "message"), [([], "at least 1 model"), (["x"], "'soup' is unknown")])
def test_what_does_not_fit_is_refused_before_a_model_is_looked_for(
    models: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        merge_models(models, tmp_path / "out", base="nowhere", method="soup" if models else "linear")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        merge_models(["x"], tmp_path, base="y")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_weights_are_read() -> None:
    assert read_weights("0.3, 0.2") == (0.3, 0.2) and read_weights(" ") == ()
    with pytest.raises(InputError, match=r"0\.3,0\.2"):
        read_weights("half")
