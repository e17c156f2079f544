"""Which steps a step goes back to, as the pipeline's own records say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denizen.engine.artifact import Artifact
from denizen.engine.pipeline import Pipeline, records
from denizen.engine.settings import Params
from denizen.engine.step import Context, step
from denizen.reports.lineage import made_from


@step(version=1, makes=Artifact)
def write(out: Path, params: Params, ctx: Context, **inputs: Any) -> None:
    """Writes the same whatever it has read, so that contents do not tell who made what."""
    (out / "same").write_text("same")


@step(version=1, makes=Artifact)
def join(out: Path, params: Params, ctx: Context, *, parts: list[Artifact], also: Artifact | None = None) -> None:
    """Reads several."""
    (out / "joined").write_text("joined")


def test_each_step_stands_after_those_that_it_has_read(tmp_path: Path) -> None:
    run = Pipeline(tmp_path)
    with run.scope("z"):
        first = run(write)
    with run.scope("a"):
        second = run(join, parts=[first], also=Artifact.outside(Path(__file__)))
    with run.scope("unused"):
        run(join, parts=[second])
    run(join, parts=[second, first])
    steps = records(tmp_path)
    assert made_from(steps, "join") == ["z/write", "a/join", "join"]
    assert made_from(steps, "z/write") == ["z/write"]
    assert made_from(steps, "nowhere") == []


def test_places_of_another_run_are_left_out_and_make_no_circle() -> None:
    steps = {"a": {"made_from": ["elsewhere", "b"]}, "b": {"made_from": ["a", "c"]}, "c": {"made_from": []}}
    assert made_from(steps, "a") == ["c", "b", "a"]
