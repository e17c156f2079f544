"""What is to be written, and queries in the voice of a persona, over real HTTP."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.tables import table
from denizen.engine.errors import InputError
from denizen.llm.answer import Failure
from denizen.llm.budget import Budget
from denizen.llm.client import LLM
from denizen.llm.replies import Replies
from denizen.retrievers.backends import Vectors
from denizen.supervision.synthesis import STYLES, Persona, persona_calls, read_styles, tasks
from tests.llm_server import ScriptedServer


def corpus_of(documents: dict[str, int], domain: str = "", chars: int = 120) -> pa.Table:
    """Documents with a number of passages; d has d-0, d-1, ..."""
    rows = [(f"{name}-{at}", name) for name, count in documents.items() for at in range(count)]
    columns: dict[str, list[Any]] = {
        "doc_id": [doc_id for doc_id, _ in rows],
        "text": [f"{doc_id} {'x' * chars}" for doc_id, _ in rows],
        "domain": [domain] * len(rows),
        "parent_id": [parent for _, parent in rows],
        "cluster": list(range(len(rows))),
    }
    return table("corpus", columns)


def sides_of(documents: dict[str, str], domain: str = "") -> pa.Table:
    names = list(documents)
    return table(
        "documents", {"parent_id": names, "domain": [domain] * len(names), "split": [documents[name] for name in names]}
    )


def test_every_document_is_asked_about_before_any_a_second_time() -> None:
    found = tasks(
        corpus_of({"a": 5, "b": 1, "c": 2}), sides_of(dict.fromkeys("abc", "train")), {"train": 5}, ["long"], 0
    )
    asked = [task.sources[0][0] for task in found]
    assert sorted(asked[:3]) == ["a", "b", "c"] and sorted(asked[3:]) == ["a", "c"]
    assert len({task.sources for task in found}) == 5


def test_where_passages_run_out_each_gets_further_styles_but_none_twice() -> None:
    found = tasks(
        corpus_of({"a": 1, "b": 1}), sides_of(dict.fromkeys("ab", "train")), {"train": 9}, list(STYLES)[:3], 0
    )
    assert Counter((task.sources, task.style) for task in found).most_common(1)[0][1] == 1
    assert len(found) == 6


def test_short_passages_and_near_duplicates_are_not_asked_about() -> None:
    corpus = corpus_of({"a": 2, "b": 1})
    twins = corpus.set_column(corpus.schema.get_field_index("cluster"), "cluster", pa.array([0, 0, 1], pa.int64()))
    assert len(tasks(twins, sides_of(dict.fromkeys("ab", "train")), {"train": 9}, ["long"], 0)) == 2
    assert tasks(corpus_of({"a": 3}, chars=90), sides_of({"a": "train"}), {"train": 9}, ["long"], 0) == []


def test_a_multi_hop_task_has_neighbours_and_falls_back_where_there_is_none() -> None:
    found = tasks(corpus_of({"a": 4, "b": 1}), sides_of(dict.fromkeys("ab", "train")), {"train": 9}, ["multi-hop"], 0)
    by_first = {task.sources: task.style for task in found}
    assert by_first == {
        ("a-0", "a-1"): "multi-hop",
        ("a-0", "a-1", "a-2"): "multi-hop",
        ("a-1", "a-2", "a-3"): "multi-hop",
        ("a-2", "a-3"): "multi-hop",
        ("b-0",): "question",
    }


@given(first=st.integers(1, 100), train=st.integers(1, 60), dev=st.integers(1, 30))
def test_any_first_part_of_the_tasks_has_its_share_of_every_side(first: int, train: int, dev: int) -> None:
    corpus = corpus_of({f"t{at}": 1 for at in range(60)} | {f"d{at}": 1 for at in range(30)})
    sides = sides_of({f"t{at}": "train" for at in range(60)} | {f"d{at}": "dev" for at in range(30)})
    found = tasks(corpus, sides, {"train": train, "dev": dev}, ["long"], 0)
    assert len(found) == train + dev
    part = found[:first]
    of_train = sum(task.split == "train" for task in part)
    assert of_train == pytest.approx(len(part) * train / (train + dev), abs=1)


@pytest.mark.parametrize("styles", ["", "question,haiku", ","])
def test_an_unknown_style_is_named(styles: str) -> None:
    with pytest.raises(InputError, match="there are question"):
        read_styles(styles)


def embed(texts: Sequence[str]) -> Vectors:
    """Two far-apart groups: those that begin with a and the others."""
    return np.array([[1.0, 0.0] if text.startswith("a") else [0.0, 1.0] for text in texts], dtype=np.float32)


def persona(folder: Path, url: str, **limits: Any) -> Persona:
    llm = LLM("tiny", Replies(folder / "r.sqlite", "run"), Budget(allow_unpriced=True, **limits), endpoint=url)
    return Persona(llm, "synthesis", embed, seed=0)


EXAMPLES = [f"a{at}" for at in range(6)] + [f"b{at}" for at in range(6)]


def test_a_persona_sees_examples_from_every_group_and_repeats_nothing(tmp_path: Path) -> None:
    numbers = iter(range(1000))

    def reply(body: dict[str, Any]) -> str:
        new = [f"new {next(numbers)}" for _ in range(3)]
        return json.dumps({"questions": [*new, new[0], "A1"]})

    with ScriptedServer(reply) as server:
        found, replies = persona(tmp_path, server.url).write(EXAMPLES, "gout", 8, None, lambda count: None)
        shown = [body["messages"][-1]["content"] for body in server.requests]
        assert not any("gout" in body["messages"][0]["content"] for body in server.requests)
        assert all("\ndomain: gout\n" in text for text in shown)
    texts = [query.text for query in found]
    assert len(texts) == 8 == len(set(texts)) and all(text.startswith("new") for text in texts)
    assert {query.origin for query in found} == {"persona"} and {query.split for query in found} == {"train"}
    # two calls of five, then one more for the two that are missing
    assert len(replies) == len(shown) == 3 and persona_calls(8) == 2
    assert all("- a" in text and "- b" in text for text in shown)


def test_a_persona_that_repeats_itself_is_given_up(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: json.dumps({"questions": ["always the same"]})) as server:
        found, replies = persona(tmp_path, server.url).write(EXAMPLES, "", 10, None, lambda count: None)
    assert [query.text for query in found] == ["always the same"]
    assert 4 <= len(replies) <= 6


def test_a_persona_stops_at_its_part_of_the_budget_and_names_what_it_left_out(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: json.dumps({"questions": []})) as server:
        found, replies = persona(tmp_path, server.url).write(EXAMPLES, "", 20, 3, lambda count: None)
        assert len(server.requests) == 3
    assert found == [] and [getattr(reply, "kind", "") for reply in replies] == ["", "", "", "budget"]


def test_failed_calls_are_returned_beside_what_came(tmp_path: Path) -> None:
    replies_of = iter(["no questions", *[json.dumps({"questions": ["x", "y"]})] * 9])
    with ScriptedServer(lambda body: next(replies_of)) as server:
        found, replies = persona(tmp_path, server.url).write(EXAMPLES, "", 6, None, lambda count: None)
    assert {query.text for query in found} == {"x", "y"}
    assert sum(isinstance(reply, Failure) for reply in replies) == 1


def test_nobody_is_asked_about_what_stands_on_several_sides() -> None:
    corpus = corpus_of({"a": 2, "b": 2, "c": 1})
    footers = corpus.set_column(corpus.schema.get_field_index("cluster"), "cluster", pa.array([0, 9, 1, 9, 2]))
    sides = sides_of({"a": "train", "b": "test", "c": "train"})
    found = tasks(footers, sides, {"train": 9, "test": 9}, ["long"], 0)
    assert sorted(task.sources[0] for task in found) == ["a-0", "b-0", "c-0"]
