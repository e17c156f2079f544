"""Where gains come from, by hand."""

from __future__ import annotations

import pytest

from denizen.data.tables import rankings, relevant, rows_table
from denizen.measuring import gains


def _run(ranked: dict[str, str]):
    rows = (
        {"query_id": query_id, "doc_id": doc_id, "score": 1.0 - at / 10}
        for query_id, docs in ranked.items()
        for at, doc_id in enumerate(docs)
    )
    return rankings(rows_table("run", rows))


KNOWN = relevant(
    rows_table(
        "qrels",
        [
            {"query_id": "up", "doc_id": "r", "relevance": 1},
            {"query_id": "down", "doc_id": "r", "relevance": 2},
            {"query_id": "same", "doc_id": "r", "relevance": 1},
            {"query_id": "same", "doc_id": "a", "relevance": 0},
            {"query_id": "lost", "doc_id": "r", "relevance": 1},
        ],
    )
)
BASE = _run({"up": "abcr", "down": "rab", "same": "arb", "lost": "ab"})
ADAPTED = _run({"up": "arb", "down": "bar", "same": "brc", "lost": "cr"})


def test_the_rank_of_the_first_relevant_passage() -> None:
    assert gains.first_relevant(BASE, KNOWN) == {"up": 4, "down": 1, "same": 2, "lost": None}


def test_what_moved_from_the_largest_gain_to_the_largest_loss() -> None:
    found = gains.moved(BASE, ADAPTED, KNOWN)
    # lost: 0 -> 1/2; up: 1/4 -> 1/2; down: 1 -> 1/3; same stays and is not there
    assert [(row.query_id, row.before, row.after) for row in found] == [
        ("lost", None, 2),
        ("up", 4, 2),
        ("down", 1, 3),
    ]
    assert [row.change for row in found] == pytest.approx([1 / 2, 1 / 4, -2 / 3])
    assert (found[2].first_before, found[2].first_after) == ("r", "b")


def test_scores_of_right_and_wrong_passages() -> None:
    right, wrong = gains.best_scores(BASE, KNOWN)
    assert right == pytest.approx([0.7, 1.0, 0.9])
    # the judged irrelevant one counts as wrong
    assert wrong == pytest.approx([1.0, 0.9, 1.0, 1.0])


def test_groups_in_their_order_and_small_ones_left_out() -> None:
    names = {f"q{at}": "few" if at < 40 else "many" for at in range(140)}
    base = dict.fromkeys(names, 0.0)
    adapted = {name: float(at % 2) for at, name in enumerate(names)}
    ((name, (found, count)),) = gains.by_group(names, base, adapted).items()
    assert (name, count, found.value) == ("many", 100, 0.5)
    assert found.low < 0.5 < found.high


def test_only_the_ten_largest_groups_are_kept() -> None:
    names = {f"{group}-{at}": str(group) for group in range(12) for at in range(50 + group)}
    values = dict.fromkeys(names, 1.0)
    assert list(gains.by_group(names, values, values)) == [str(at) for at in range(2, 12)]


def test_groups_about_few_documents_are_left_out_before_the_largest_are_taken() -> None:
    sizes = {**{f"large {at}": 70 for at in range(10)}, "of nine": 60, "of ten": 60}
    names = {f"{name}-{at}": name for name, size in sizes.items() for at in range(size)}
    parts = {**dict.fromkeys(sizes, 1), "of nine": 9, "of ten": 10}
    together = {query_id: int(query_id.rpartition("-")[2]) % parts[name] for query_id, name in names.items()}
    base = dict.fromkeys(names, 0.0)
    # 0 and 1 for the same number of documents, so that the mean is one half and its interval has a width
    adapted = {query_id: float(together[query_id] % 2) for query_id in names}
    ((name, (found, count)),) = gains.by_group(names, base, adapted, together).items()
    assert (name, count, found.value) == ("of ten", 60, 0.5) and found.low < 0.5 < found.high
    # where all are independent it is the number of queries alone that counts
    assert len(gains.by_group(names, base, adapted)) == 10


def test_thirds_by_length_and_parts_by_base_rank() -> None:
    lengths = gains.by_length({f"q{at}": "word " * at for at in range(1, 10)})
    assert list(lengths.values()) == ["up to 3 words"] * 3 + ["4 to 6 words"] * 3 + ["more than 6 words"] * 3
    ranks = {"a": None, "b": 1, "c": 5, "d": 6, "e": 21, "f": 100}
    assert gains.by_base_rank(ranks, 100) == {
        "b": "rank 1",
        "c": "ranks 2 to 5",
        "d": "ranks 6 to 20",
        "e": "ranks 21 to 100",
        "f": "ranks 21 to 100",
        "a": "below 100",
    }
    assert set(gains.by_base_rank({"a": None, "b": 3}, 5).values()) == {"ranks 2 to 5", "below 5"}
    assert set(gains.by_base_rank({"a": 700, "b": None}, 1000).values()) == {"ranks 101 to 1000", "below 1000"}
