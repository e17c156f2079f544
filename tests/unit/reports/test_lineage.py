"""Who made what, found by the digests of what was read and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denizen.engine.artifact import Artifact
from denizen.engine.files import tree_digest
from denizen.reports.lineage import made_from


def _step(inputs: Any = None, **files: str) -> dict[str, Any]:
    named = {name.replace("_", "."): sha for name, sha in files.items()}
    return {"inputs": inputs or {}, "files": named, "digest": tree_digest(named)}


def test_each_step_stands_after_those_that_it_has_read() -> None:
    corpus = _step(corpus_parquet="sha-corpus")
    run = _step({"corpus": "sha-corpus", "setting": "sha-of-something-outside"}, run_parquet="sha-run")
    other = _step({"corpus": corpus["digest"]}, other="sha-other")
    examples = _step({"found": [run["digest"], None], "by": {"name": "sha-corpus"}}, examples="sha-examples")
    steps = {"z/run": run, "other": other, "examples": examples, "corpus": corpus}
    assert made_from(steps, "examples") == ["corpus", "z/run", "examples"]
    assert made_from(steps, "corpus") == ["corpus"]
    assert made_from(steps, "nowhere") == []


def test_a_folder_within_a_step_is_known_by_the_digest_that_artifacts_have(tmp_path: Path) -> None:
    for name in ("students/one/weights", "students/one/deep/config", "students/two/weights", "log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    whole = Artifact.outside(tmp_path)
    made = {"inputs": {}, "files": whole.files, "digest": whole.digest}
    for part in ("students", "students/one", "students/one/deep", "log"):
        reader = _step({"model": whole.part(part, Artifact).digest})
        assert made_from({"merge": made, "test": reader}, "test") == ["merge", "test"]
    of_files = tree_digest({"weights": whole.files["students/one/weights"]})
    assert made_from({"merge": made, "test": _step({"model": of_files})}, "test") == ["test"]


def test_of_several_that_wrote_the_same_the_nearest_is_taken() -> None:
    same = _step(run="sha")
    steps = dict.fromkeys(("round-0/run", "seed-43/round-0/run", "seed-43/round-1/run"), same)
    steps |= {f"{place}/examples": _step({"run": "sha"}) for place in ("round-0", "seed-43/round-0", "seed-43/round-1")}
    for place in ("round-0", "seed-43/round-0", "seed-43/round-1"):
        assert made_from(steps, f"{place}/examples") == [f"{place}/run", f"{place}/examples"]


def test_steps_that_write_what_they_read_make_no_circle() -> None:
    steps = {name: _step({"in": "sha"}, same="sha") for name in ("a", "b", "c")}
    found = made_from(steps, "b")
    assert sorted(found) == ["a", "b", "c"] and found[-1] == "b"
