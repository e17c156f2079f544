"""The forgetting gate in whole runs on a tiny encoder: kept, mended by a merge, and not met."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from denizen.core.config import AdaptConfig
from denizen.recipes.adapt import adapt

from .conftest import SETTINGS, write_beir

pytest.importorskip("mergekit", reason="merging is an extra")


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_beir(tmp_path_factory.mktemp("sets") / "general", 60)


@pytest.fixture(scope="module")
def gated(pairs: Path, tiny_encoder: Path, general: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("runs") / "gated"
    config = AdaptConfig(str(pairs), model=str(tiny_encoder), general=(str(general),), merge_evaluations=6, **SETTINGS)
    return out, adapt(config, out)


def test_what_it_writes(gated: tuple[Path, Any]) -> None:
    out, report = gated
    print(json.dumps(report["gate"], indent=1), report["chosen"])
    print(
        json.dumps(
            {
                k: v["MRR@5"]
                for k, v in report.items()
                if isinstance(v, dict) and "MRR@5" in v and isinstance(v["MRR@5"], float)
            }
        )
    )
    raise AssertionError
