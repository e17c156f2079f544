"""Sides inside documents: where there are too few whole ones, sections with a band between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.data.leaks import find_leaks
from denizen.data.passages import with_parent_clusters
from denizen.data.sections import Sectioned
from denizen.data.sides import documents_with_sides, queries_with_sides
from denizen.data.tables import rows_table
from denizen.engine.errors import InputError
from tests.unit.data.linked_queries import qrels_of, queries_of

SHARES = {"test": 0.2, "dev": 0.1}
REAL = ("train", "dev", "test")


def documents_of(lengths: Mapping[str, int], copies: Mapping[int, int] | None = None, overlap: int = 0) -> pa.Table:
    """Documents of so many passages of 100 characters; `copies` names passages that are near-duplicates of others.

    With `overlap`, each passage begins so many characters before the end of the one before it.
    """
    rows = []
    for document, length in lengths.items():
        for place in range(length):
            at, start = len(rows), place * 100
            cluster = (copies or {}).get(at, at)
            text = " ".join(f"{document}{place}word{number}" for number in range(3))
            rows.append(
                {
                    "doc_id": f"{document}-{place:04}",
                    "text": text,
                    "domain": "law",
                    "parent_id": document,
                    "start": max(0, start - overlap),
                    "end": start + 100,
                    "cluster": cluster,
                }
            )
    return with_parent_clusters(rows_table("corpus", rows), 0.9)


def divided(
    corpus: pa.Table, seed: int = 1, known: Mapping[str, str] | None = None
) -> tuple[Sectioned, dict[str, str]]:
    """The passages, and the side of each."""
    sectioned, documents = documents_with_sides(corpus, lambda _: known or {}, SHARES, seed, 0.9)
    side = {row["parent_id"]: row["split"] for row in documents.to_pylist()}
    assert {row["domain"] for row in documents.to_pylist()} == {"law"}
    assert set(side) == set(sectioned.corpus["parent_id"].to_pylist())
    # nothing but the document that a passage counts to is changed
    kept = ["doc_id", "text", "start", "end", "cluster"]
    assert sectioned.corpus.select(kept).equals(corpus.select(kept))
    return sectioned, {row["doc_id"]: side[row["parent_id"]] for row in sectioned.corpus.to_pylist()}


def touching(corpus: pa.Table, side: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of passages on two sides that are next to one another, overlap, or are near-duplicates; said anew."""
    rows = sorted(corpus.to_pylist(), key=lambda row: (row["parent_id"], row["start"], row["end"]))
    pairs = []
    for (at, one), (then, other) in combinations(enumerate(rows), 2):
        same = one["parent_id"] == other["parent_id"]
        near = same and (then == at + 1 or other["start"] < one["end"])
        sides = side.get(one["doc_id"]), side.get(other["doc_id"])
        if (near or one["cluster"] == other["cluster"]) and len(set(sides)) == 2 and set(sides) <= set(REAL):
            pairs.append((one["doc_id"], other["doc_id"]))
    return pairs


@settings(max_examples=12, deadline=None)
@given(
    st.integers(20, 90),
    st.integers(0, 9),
    st.dictionaries(st.integers(0, 89), st.integers(0, 89), max_size=4),
    st.sampled_from([0, 30, 150]),
)
def test_one_document_has_three_sides_that_do_not_touch(
    length: int, seed: int, copies: dict[int, int], overlap: int
) -> None:
    corpus = documents_of({"act": length}, copies, overlap)
    sectioned, side = divided(corpus, seed)
    assert sectioned.inside == ["act"]
    assert touching(corpus, side) == []
    counts = Counter(side.values())
    assert min(counts[part] for part in REAL) >= 1 and counts["test"] <= 0.2 * length + 0.5


@pytest.mark.parametrize("seed", range(4))
def test_a_side_of_a_long_document_comes_from_several_places_and_little_is_lost(seed: int) -> None:
    """Of 300 passages dev is 30 in sections of 10, test 60; of nine borders each takes a passage at either end."""
    corpus = documents_of({"act": 300})
    _, side = divided(corpus, seed)
    counts = Counter(side.values())
    assert 50 <= counts["test"] <= 60 and 20 <= counts["dev"] <= 30 and counts["guard"] <= 18
    stretches = Counter(
        part for part, before in zip(side.values(), [None, *side.values()], strict=False) if part != before
    )
    assert stretches["test"] >= 2 and stretches["dev"] >= 2
    assert divided(corpus, seed)[1] == side and divided(corpus, seed + 1)[1] != side


@pytest.mark.parametrize(
    ("lengths", "inside"),
    [
        ({"a": 40, "b": 40}, ["a", "b"]),
        ({"a": 40, "b": 40, "c": 40}, ["a", "b", "c"]),
        # one that holds nearly all; the others stay whole
        ({"a": 200, **{f"small{at}": 2 for at in range(5)}}, ["a"]),
        ({f"d{at}": 10 for at in range(8)}, []),
        ({"a": 60, **{f"d{at}": 10 for at in range(20)}}, []),
    ],
)
def test_documents_are_cut_only_where_whole_ones_leave_a_side_without_its_share(
    lengths: dict[str, int], inside: list[str]
) -> None:
    corpus = documents_of(lengths)
    sectioned, side = divided(corpus)
    assert sectioned.inside == inside and touching(corpus, side) == []
    assert bool(inside) == ("guard" in side.values())
    whole = set(lengths) - set(inside)
    for name in whole:
        assert len({part for doc_id, part in side.items() if doc_id.startswith(f"{name}-")}) == 1


def test_a_copy_of_a_document_that_is_cut_stands_on_no_side() -> None:
    """Two copies are cut into passages at other places, so that no passage is like one of the other."""
    corpus = documents_of({"act": 60, "copy": 60})
    corpus = corpus.set_column(
        corpus.schema.get_field_index("parent_cluster"), "parent_cluster", pa.array([0] * 120, pa.int32())
    )
    sectioned, side = divided(corpus)
    assert sectioned.inside == ["act"]
    assert {part for doc_id, part in side.items() if doc_id.startswith("copy")} == {"guard"}
    assert set(REAL) < {part for doc_id, part in side.items() if doc_id.startswith("act")}


def test_a_section_s_name_is_no_document_s() -> None:
    sectioned, _ = divided(documents_of({"act": 60, "act#1": 1, "act#guard": 1}))
    assert {"act#1", "act#guard"}.isdisjoint(sectioned.home)
    assert {"act##1", "act##guard"} <= set(sectioned.home)


def test_what_cannot_be_parted_is_refused_with_what_there_is() -> None:
    with pytest.raises(InputError, match=r"^2 passages of 1 document\(s\) .*nothing is left for .*: add documents"):
        divided(documents_of({"act": 2}))
    # the same passage over and over
    with pytest.raises(InputError, match="nothing is left for"):
        divided(documents_of({"act": 30}, dict.fromkeys(range(30), 0)))


@settings(max_examples=8, deadline=None)
@given(st.integers(24, 60), st.integers(0, 5), st.sampled_from([0, 150]))
def test_queries_about_one_document_are_split_inside_it_and_the_guard_agrees(
    length: int, seed: int, overlap: int
) -> None:
    corpus = documents_of({"act": length}, overlap=overlap)
    names = corpus["doc_id"].to_pylist()
    queries = queries_of([f"query{at}" for at in range(length)])
    qrels = qrels_of([(f"q{at}", name) for at, name in enumerate(names)])
    sectioned, made = queries_with_sides(queries, qrels, corpus, SHARES, seed, 0.9)
    side = {names[int(row["query_id"][1:])]: row["split"] for row in made.to_pylist()}
    assert set(side.values()) == set(REAL) and touching(corpus, side) == []
    assert sectioned.inside == ["act"] and find_leaks(made, qrels, sectioned.corpus, 0.9) == []
    # those between the sides are left out, one passage at either end of a border at most
    assert 0 < length - len(made) <= length / 2


def test_queries_that_all_passages_answer_cannot_be_split_inside() -> None:
    corpus = documents_of({"act": 30})
    links = [(f"q{at}", name) for at in range(25) for name in corpus["doc_id"].to_pylist()]
    told = r"^the 25 queries form 1 group\(s\) .*nothing is left for dev, test: add documents, or split by row"
    with pytest.raises(InputError, match=told):
        queries_with_sides(queries_of([f"query{at}" for at in range(25)]), qrels_of(links), corpus, SHARES, 1, 0.9)


def test_queries_of_many_documents_are_split_by_documents() -> None:
    corpus = documents_of({f"d{at:02}": 3 for at in range(40)})
    links = [(f"q{at}", f"d{at:02}-0001") for at in range(40)]
    sectioned, made = queries_with_sides(
        queries_of([f"query{at}" for at in range(40)]), qrels_of(links), corpus, SHARES, 1, 0.9
    )
    assert sectioned.inside == [] and sectioned.corpus is corpus
    assert Counter(made["split"].to_pylist()) == {"train": 28, "dev": 4, "test": 8}
