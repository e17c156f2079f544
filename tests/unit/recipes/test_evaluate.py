"""Names of the models that are compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from denizen.engine.errors import InputError
from denizen.recipes.evaluate import _names


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["runs/a/model", "runs/b/model"], ["a", "b"]),
        (["one/tuned", "two/tuned"], ["tuned", "tuned-2"]),
        (["bm25"], ["bm25-2"]),
        (["my model"], ["my_model"]),
    ],
)
def test_names_are_short_and_distinct(
    folders: list[str], names: list[str], tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in folders:
        shutil.copytree(tiny_encoder, folder)
    assert list(_names(folders)) == names


def test_a_model_that_is_given_twice_is_refused(tiny_encoder: Path) -> None:
    with pytest.raises(InputError, match="is given twice"):
        _names([str(tiny_encoder), f"{tiny_encoder}/../{tiny_encoder.name}"])
