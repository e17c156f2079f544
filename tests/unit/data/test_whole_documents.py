"""Documents from their passages: order, titles, what stood between, and what stands on another side, too."""

from __future__ import annotations

import pyarrow as pa

from denizen.data.passages import cut, keep_whole, with_clusters
from denizen.data.tables import rows_table
from denizen.data.whole_documents import whole_documents


def corpus(*rows: tuple[str, int, str, str, int]) -> pa.Table:
    """Passages by document, start, title, text and cluster."""
    return rows_table(
        "corpus",
        [
            {
                "doc_id": f"{parent}-{start}",
                "parent_id": parent,
                "start": start,
                "end": start + len(text),
                "title": title,
                "text": text,
                "cluster": cluster,
                "parent_cluster": ord(parent[0]),
            }
            for parent, start, title, text, cluster in rows
        ],
    )


def sides(**of: str) -> pa.Table:
    return rows_table("documents", [{"parent_id": name, "split": side} for name, side in of.items()])


def test_passages_stand_in_their_order_with_what_was_between_them() -> None:
    rows = corpus(
        ("a", 16, "", "new one.", 3), ("a", 0, "", "One.", 1), ("a", 5, "", "Two.", 2), ("a", 24, "", "(4)", 4)
    )
    found = whole_documents(rows, sides(a="train"), "train")
    # one character between the first two, seven before the third, none before the last
    assert found.texts == {"a": "One. Two.\n\nnew one.(4)"}


def test_a_title_stands_once_and_again_where_it_changes() -> None:
    rows = corpus(("a", 0, "T", "x", 1), ("a", 2, "T", "y", 2), ("a", 4, "T > U", "z", 3))
    assert whole_documents(rows, sides(a="train"), "train").texts == {"a": "T\nx y\n\nT > U\nz"}


def test_a_text_that_was_cut_comes_back_whole() -> None:
    text = " ".join(f"Sentence {number} says something new." for number in range(60))
    documents = rows_table("corpus", [{"doc_id": "a", "text": text}])
    passages, _ = cut(documents, rows_table("qrels", []), 200)
    assert len(passages) > 5
    assert whole_documents(with_clusters(passages, 0.9), sides(a="test"), "test").texts == {"a": text}
    whole = with_clusters(keep_whole(documents), 0.9)
    assert whole_documents(whole, sides(a="test"), "test").texts == {"a": text}


def test_what_stands_on_the_other_side_too_is_left_out() -> None:
    rows = corpus(("a", 0, "", "known", 1), ("b", 0, "", "known", 1), ("b", 9, "", "new", 2), ("c", 0, "", "known", 1))
    division = sides(a="train", b="test", c="test")
    found = whole_documents(rows, division, "test", apart_from="train")
    assert (found.texts, found.groups, found.left_out) == ({"b": "new"}, [ord("b")], 2)
    assert whole_documents(rows, division, "test").left_out == 0
    assert [*whole_documents(rows, division, "train").texts] == ["a"]
