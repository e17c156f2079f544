from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.data.passages import cut, keep_whole, merge_equal_queries, ordered, with_clusters, without_empty
from denizen.data.tables import SCHEMAS, table


def documents_of(texts: dict[str, str], **columns: list[str | None]) -> pa.Table:
    return table("corpus", {"doc_id": list(texts), "text": list(texts.values()), **columns})


def qrels_of(*links: tuple[str, str, int]) -> pa.Table:
    return table("qrels", {name: [link[at] for link in links] for at, name in enumerate(SCHEMAS["qrels"].names)})


def links_of(qrels: pa.Table) -> list[tuple[str, str, int]]:
    return [(row["query_id"], row["doc_id"], row["relevance"]) for row in qrels.to_pylist()]


def queries_of(*rows: tuple[str, str, str]) -> pa.Table:
    names = ("query_id", "text", "split")
    return table("queries", {name: [row[at] for row in rows] for at, name in enumerate(names)})


# words long and short, sentence ends, paragraphs, letters of more than one byte, and one of several code points
PIECES = st.sampled_from(["gout", "a", "hyperuricaemia", "naïve", "東京", "👩‍👩‍👧", "é", ". ", "? ", " ", "\n", "\n\n"])
BODIES = st.lists(PIECES, min_size=1, max_size=60).map("".join).filter(str.strip)


@given(st.lists(BODIES, min_size=1, max_size=3), st.integers(8, 50))
def test_passages_are_short_enough_and_their_offsets_give_back_their_text(bodies: list[str], limit: int) -> None:
    texts = {f"doc{at}": body for at, body in enumerate(bodies)}
    passages, _ = cut(documents_of(texts), qrels_of(), limit)
    assert passages.schema == SCHEMAS["corpus"]
    rows = passages.to_pylist()
    for row in rows:
        assert 0 < len(row["text"]) <= limit
        assert texts[row["parent_id"]][row["start"] : row["end"]] == row["text"]
    for doc_id, body in texts.items():
        own = [row for row in rows if row["parent_id"] == doc_id]
        # nothing but white space is lost, nothing is said twice
        assert "".join("".join(row["text"].split()) for row in own) == "".join(body.split())
        assert all(one["end"] <= other["start"] for one, other in itertools.pairwise(own))
        if len(body) <= limit:
            assert [row["doc_id"] for row in own] == [doc_id]
    assert len({row["doc_id"] for row in rows}) == len(rows)


def test_long_documents_are_cut_at_sentence_ends() -> None:
    one, other = "Gout is a painful disease of the joints.", "It comes from too much uric acid in blood."
    passages, _ = cut(documents_of({"a": f"{one} {other}"}), qrels_of(), 60)
    assert passages["text"].to_pylist() == [one, other]
    assert passages["doc_id"].to_pylist() == ["a-0", "a-1"]
    assert passages["parent_id"].to_pylist() == ["a", "a"]
    assert passages["start"].to_pylist() == [0, len(one) + 1]
    assert passages["end"].to_pylist() == [len(one), len(one) + 1 + len(other)]


@pytest.mark.parametrize(("length", "count"), [(100, 1), (101, 2)])
def test_a_document_of_exactly_the_limit_stays_one_passage(length: int, count: int) -> None:
    passages, _ = cut(documents_of({"a": "x" * length}), qrels_of(), 100)
    assert len(passages) == count
    assert passages["doc_id"].to_pylist()[0] == ("a" if count == 1 else "a-0")


def test_passages_keep_what_is_known_about_their_document() -> None:
    documents = documents_of({"a": "One. " * 30}, title=["Gout"], domain=["medicine"], source=["file"])
    passages, _ = cut(documents, qrels_of(), 100)
    assert len(passages) > 1
    assert {(row["title"], row["domain"], row["source"]) for row in passages.to_pylist()} == {
        ("Gout", "medicine", "file")
    }


def test_every_passage_of_a_relevant_document_is_relevant_with_its_grade() -> None:
    documents = documents_of({"long": "word " * 50, "short": "Brief."})
    passages, qrels = cut(documents, qrels_of(("q1", "long", 2), ("q2", "short", 1), ("q3", "long", 0)), 100)
    of_long = [name for name in passages["doc_id"].to_pylist() if name.startswith("long")]
    assert len(of_long) >= 3
    assert links_of(qrels) == [
        *(("q1", name, 2) for name in of_long),
        ("q2", "short", 1),
        *(("q3", name, 0) for name in of_long),
    ]


def test_documents_kept_whole_are_their_own_parents() -> None:
    whole = keep_whole(documents_of({"a": "Gout.", "b": ""}))
    assert whole["parent_id"].to_pylist() == ["a", "b"]
    assert whole["start"].to_pylist() == [0, 0]
    assert whole["end"].to_pylist() == [5, 0]
    assert whole["text"].to_pylist() == ["Gout.", ""]
    assert whole.schema == SCHEMAS["corpus"]


def test_documents_kept_whole_keep_a_parent_that_the_source_gave() -> None:
    whole = keep_whole(documents_of({"a": "Gout.", "b": "Lupus."}, parent_id=["book", None]))
    assert whole["parent_id"].to_pylist() == ["book", "b"]


def test_near_duplicate_passages_carry_the_same_number() -> None:
    texts = {
        "a": "Gout hurts the big toe at night",
        "b": "Lupus is a rash",
        "c": "gout hurts, the big toe; at night!",
    }
    numbers = with_clusters(documents_of(texts), 0.9)["cluster"].to_pylist()
    assert numbers[0] == numbers[2] != numbers[1]


def test_the_title_counts_for_near_duplicates() -> None:
    documents = documents_of({"a": "See below.", "b": "See below."}, title=["Gout", "Lupus"])
    numbers = with_clusters(documents, 0.9)["cluster"].to_pylist()
    assert numbers[0] != numbers[1]


def test_ordered_sorts_by_doc_id_as_text_does() -> None:
    names = ["b", "a-10", "é", "a-2", "a", "Z", "東", "🙂"]
    rows = ordered(documents_of({name: f"text of {name}" for name in names}))
    assert rows["doc_id"].to_pylist() == sorted(names)
    assert rows["text"].to_pylist() == [f"text of {name}" for name in sorted(names)]


def test_queries_without_a_relevant_passage_are_dropped() -> None:
    queries = queries_of(("q1", "gout", "train"), ("q2", "lupus", "train"), ("q3", "fever", "train"))
    kept = without_empty(queries, qrels_of(("q1", "a", 0), ("q3", "a", 1), ("gone", "a", 1)))
    assert kept["query_id"].to_pylist() == ["q3"]


def test_equal_queries_of_one_split_become_one_with_all_their_passages() -> None:
    queries = queries_of(
        ("q1", "What is gout?", "train"),
        ("q2", "What is lupus?", "train"),
        ("q3", "what is GOUT?", "train"),
        ("q4", "What is gout?", "test"),
    )
    qrels = qrels_of(("q3", "a", 2), ("q1", "a", 1), ("q2", "c", 1), ("q3", "b", 1), ("q4", "d", 1), ("gone", "a", 1))
    merged, links = merge_equal_queries(queries, qrels)
    assert merged["query_id"].to_pylist() == ["q1", "q2", "q4"]
    assert merged["text"].to_pylist() == ["What is gout?", "What is lupus?", "What is gout?"]
    assert sorted(links_of(links)) == [("q1", "a", 2), ("q1", "b", 1), ("q2", "c", 1), ("q4", "d", 1)]


def test_equal_queries_of_other_splits_can_be_left_apart() -> None:
    queries = queries_of(
        ("q1", "gout", "train"), ("q2", "Gout", "train"), ("q3", "gout", "test"), ("q4", "gout", "test")
    )
    qrels = qrels_of(("q1", "a", 1), ("q2", "b", 1), ("q3", "c", 1), ("q4", "d", 1))
    merged, links = merge_equal_queries(queries, qrels, ("train",))
    assert merged["query_id"].to_pylist() == ["q1", "q3", "q4"]
    assert sorted(links_of(links)) == [("q1", "a", 1), ("q1", "b", 1), ("q3", "c", 1), ("q4", "d", 1)]


def test_merging_different_queries_changes_nothing() -> None:
    queries = queries_of(("q1", "gout", "train"), ("q2", "lupus", "train"))
    qrels = qrels_of(("q1", "a", 1), ("q2", "a", 3))
    merged, links = merge_equal_queries(queries, qrels)
    assert merged.equals(queries)
    assert links.equals(qrels)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_relevant_document_without_text_does_not_stop_the_cutting(text: str) -> None:
    passages, _ = cut(documents_of({"a": text, "b": "Gout."}), qrels_of(("q", "a", 1), ("q", "b", 1)), 100)
    assert "b" in passages["doc_id"].to_pylist()


def test_passage_ids_are_distinct_even_where_a_document_has_the_name_of_a_passage() -> None:
    passages, _ = cut(documents_of({"a": "word " * 50, "a-1": "Brief."}), qrels_of(), 100)
    names = passages["doc_id"].to_pylist()
    assert len(names) == len(set(names))


def test_no_queries_at_all_stay_none() -> None:
    assert len(without_empty(queries_of(), qrels_of())) == 0


def test_merging_no_queries_gives_none() -> None:
    assert len(merge_equal_queries(queries_of(), qrels_of())[0]) == 0
