"""What steps take and make is known by the digest of its content."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.artifact import Artifact, Value, digests, leaves
from denizen.engine.errors import InputError
from denizen.engine.files import file_digest, json_digest, tree_digest

artifacts = st.builds(lambda digest: Artifact(Path("a"), digest), st.text("0123456789abcdef", min_size=1, max_size=8))
inputs = st.recursive(
    artifacts | st.builds(Value, st.integers()) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class Letters(Artifact):
    @cached_property
    def content(self) -> str:
        return self.path.read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model/sub").mkdir(parents=True)
    (tmp_path / "model/weights").write_text("1 2 3")
    (tmp_path / "model/sub/words").write_text("a b")
    (tmp_path / "model/README.md").write_text("for people")
    return tmp_path / "model"


def test_what_comes_from_outside_is_known_by_its_content_and_not_by_where_it_lies(folder: Path, tmp_path: Path) -> None:
    found = Artifact.outside(folder)
    assert found.files == {name: file_digest(folder / name) for name in ("README.md", "sub/words", "weights")}
    assert found.digest == tree_digest(found.files) and not found.place and not found.pending
    moved = folder.rename(tmp_path / "moved")
    assert Artifact.outside(moved).digest == found.digest
    (moved / "weights").write_text("1 2 4")
    assert Artifact.outside(moved).digest != found.digest
    (moved / "weights").rename(moved / "sub/weights")
    (moved / "sub/weights").write_text("1 2 3")
    assert Artifact.outside(moved).digest != found.digest
    assert Artifact.outside(moved / "sub/weights").digest == file_digest(moved / "sub/weights")


def test_files_can_be_no_part_of_it(folder: Path) -> None:
    without = frozenset({"README.md"})
    found = Artifact.outside(folder, without=without)
    assert set(found.files) == {"sub/words", "weights"}
    (folder / "README.md").write_text("other words")
    assert Artifact.outside(folder, without=without).digest == found.digest


def test_nothing_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing does not exist; give a file or a folder"):
        Artifact.outside(tmp_path / "missing")


def test_a_part_is_what_it_would_be_by_itself(folder: Path) -> None:
    whole = Artifact(folder, "d", {"rows": 3}, Artifact.outside(folder).files, "corpus")
    words = whole.part("sub/words", Letters)
    assert words == Letters(folder / "sub/words", file_digest(folder / "sub/words"))
    assert words.content == "a b"
    assert (words.facts, words.place, words.pending) == ({"rows": 3}, "corpus", False)
    sub = whole.part("sub", Artifact)
    assert sub.digest == Artifact.outside(folder / "sub").digest and sub.files == Artifact.outside(folder / "sub").files
    assert sub.part("words", Letters) == words
    with pytest.raises(KeyError):
        whole.part("su", Artifact)


def test_the_parts_of_what_is_planned_differ_from_one_another_and_with_the_whole() -> None:
    one, other = (Artifact(Path("a"), digest, pending=True, place="corpus") for digest in "de")
    parts = [whole.part(name, Letters) for whole in (one, other) for name in ("x", "y")]
    assert len({part.digest for part in (one, other, *parts)}) == 6
    assert all(part.pending and part.place == "corpus" for part in parts)
    assert parts[0].part("z", Letters).digest not in {part.digest for part in parts}


def test_an_artifact_is_sent_without_what_was_read_of_it(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("before")
    found = Letters(tmp_path / "text", "d", place="here")
    assert found.content == "before"
    (tmp_path / "text").write_text("after")
    sent = pickle.loads(pickle.dumps(found))
    assert sent == found and sent.place == "here"
    assert sent.content == "after" and found.content == "before"


def test_where_it_came_from_does_not_make_it_another() -> None:
    assert Artifact(Path("a"), "d", {"rows": 1}, {}, "here") == Artifact(Path("a"), "d")
    assert Value([1, "a"], "there") == Value([1, "a"])
    assert Value([1, "a"], "there").digest == json_digest([1, "a"])


@given(inputs)
def test_digests_and_leaves_see_the_same(value: Any) -> None:
    def walk(shape: Any, name: str) -> Iterator[tuple[str, str]]:
        if isinstance(shape, str):
            yield name, shape
        for key, inner in (shape.items() if isinstance(shape, dict) else enumerate(shape or ())) if shape else ():
            if not isinstance(shape, str):
                yield from walk(inner, f"{name}.{key}")

    assert dict(walk(digests(value), "in")) == {name: leaf.digest for name, leaf in leaves(value, "in").items()}


def test_leaves_have_dotted_names() -> None:
    found = leaves({"sets": {"one": Value(1)}, "students": [Value(2), None, Value(3)], "none": None}, "inputs")
    assert {name: leaf.content for name, leaf in found.items() if isinstance(leaf, Value)} == {
        "inputs.sets.one": 1,
        "inputs.students.0": 2,
        "inputs.students.2": 3,
    }
