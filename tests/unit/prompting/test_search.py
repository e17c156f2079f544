"""The search for an instruction: halves, the cap on evaluations, what is taken, and what ends it.

Scores come from a table instead of a model, and sentences from a list instead of an LLM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.data.tables import rows_table
from denizen.engine.errors import InputError
from denizen.prompting.proposals import Proposer
from denizen.prompting.scoring import Scored, Scores, SpentError
from denizen.prompting.search import SHOWN, Halves, Telling, best_of, decided, find, halves, most_calls, tried
from denizen.retrievers.instruction import QueryPrompt


class TableOfScores(Scores):
    """Scores that a function of sentence and query gives; every one that is computed is counted."""

    def __init__(self, score: Callable[[str, str], float], queries: Sequence[str], cap: int | None = None) -> None:
        qrels = rows_table("qrels", [(query_id, f"right {query_id}", 1) for query_id in queries])
        texts = {query_id: f"text of {query_id}" for query_id in queries}
        super().__init__(cast("Any", None), None, QueryPrompt("", "own", "\n"), texts, qrels, cap)
        self.score = score
        self.computed: Counter[tuple[str, str]] = Counter()

    def _computed(self, sentence: str, query_ids: Sequence[str]) -> dict[str, Scored]:
        self.computed.update((sentence, query_id) for query_id in query_ids)
        return {query_id: Scored(self.score(sentence, query_id), ("wrong",)) for query_id in query_ids}


class Listed:
    """In the place of a proposer: sentences in turn, and then nothing but the first one's parent."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.left = list(sentences)
        self.failures: Counter[str] = Counter()
        self.shown: list[tuple[str, list[str]]] = []

    def propose(self, sentence: str, shown: Sequence[str]) -> str | None:
        self.shown.append((sentence, list(shown)))
        return self.left.pop(0) if self.left else None


def searched(scores: TableOfScores, proposer: Any, seen: Sequence[str], whole: int, seed: int = 0) -> str:
    pytest.importorskip("gepa", reason="the search is by gepa: pip install 'denizen[prompt-search]'")
    told = Telling(scores, {"wrong": "a wrong passage", **{f"right {name}": f"what answers {name}" for name in seen}})
    return find(scores, told, cast("Proposer", proposer), seen, list(seen)[:whole], seed, scores.cap or 500)


QUERIES = [f"q{number}" for number in range(20)]


# halves


def test_groups_go_to_the_half_that_has_fewer_and_stay_whole() -> None:
    """Groups of 4, 4, 4 and 4 queries in any order make halves of 8."""
    made = halves({f"q{at}": at // 4 for at in range(16)}, 0)
    assert (len(made.seen), len(made.unseen)) == (8, 8)
    assert {int(name[1:]) // 4 for name in made.seen} & {int(name[1:]) // 4 for name in made.unseen} == set()
    assert made.groups == [int(name[1:]) // 4 for name in made.unseen]
    assert made == halves({f"q{at}": at // 4 for at in range(16)}, 0)
    assert len({tuple(halves({f"q{at}": at // 4 for at in range(16)}, seed).seen) for seed in range(8)}) > 1


@given(st.lists(st.integers(0, 8), min_size=2 * SHOWN, max_size=60), st.integers(0, 5))
def test_no_group_stands_in_both_halves_and_no_query_is_lost(numbers: list[int], seed: int) -> None:
    group_of = {f"q{at}": number for at, number in enumerate(numbers)}
    try:
        made = halves(group_of, seed)
    except InputError:
        return
    assert sorted([*made.seen, *made.unseen]) == sorted(group_of)
    assert not {group_of[name] for name in made.seen} & {group_of[name] for name in made.unseen}
    assert abs(len(made.seen) - len(made.unseen)) <= max(Counter(numbers).values())


def test_queries_about_one_document_cannot_be_parted() -> None:
    with pytest.raises(InputError, match=r"^12 dev queries of 1 group\(s\) .* halves of 12 and 0; each needs 5"):
        halves(dict.fromkeys(QUERIES[:12], 3), 0)


# the cap


def test_what_goes_beyond_the_cap_is_not_computed() -> None:
    scores = TableOfScores(lambda sentence, query: 0.5, QUERIES, cap=7)
    assert [each.score for each in scores.of("a", QUERIES[:4])] == [0.5] * 4
    # three are new
    scores.of("a", QUERIES[:6])
    with pytest.raises(SpentError):
        scores.of("b", QUERIES[:2])
    assert scores.evaluations == 6 and "b" not in scores.known
    # what is there costs nothing, and twice the same is one
    scores.of("a", QUERIES[:6])
    scores.of("a", ["q7", "q7"])
    assert scores.evaluations == 7 == sum(scores.computed.values())


@settings(max_examples=25)
@given(
    cap=st.integers(50, 250),
    queries=st.integers(5, 40),
    seed=st.integers(0, 99),
    scale=st.sampled_from([0.0, 0.3, 1.0]),
    replies=st.sampled_from([3, 200]),
)
def test_a_search_never_goes_beyond_its_cap_and_scores_nothing_twice(
    cap: int, queries: int, seed: int, scale: float, replies: int
) -> None:
    names = [f"q{number}" for number in range(queries)]
    values = {sentence: at for at, sentence in enumerate(["own", *(f"s{number}" for number in range(200))])}
    scores = TableOfScores(lambda sentence, query: min(1.0, scale * (0.2 + values[sentence] / 100)), names, cap)
    # where the list is at its end, the LLM says nothing of use
    proposer = Listed(list(values)[1:replies])
    ended = searched(scores, proposer, names, max(SHOWN, cap // 8), seed)
    assert ended == "the evaluations"
    assert scores.evaluations == sum(scores.computed.values()) <= cap
    assert set(scores.computed.values()) == {1}
    # as the plan says
    assert len(proposer.shown) <= most_calls(cap)


def test_what_nothing_can_improve_ends_by_itself() -> None:
    scores = TableOfScores(lambda sentence, query: 1.0, QUERIES, cap=500)
    proposer = Listed(["never asked"])
    assert searched(scores, proposer, QUERIES, 10) == "the evaluations"
    assert not proposer.shown and scores.evaluations == 20


# what is shown, found and taken


def test_the_llm_is_shown_what_the_sentence_led_to() -> None:
    scores = TableOfScores(lambda sentence, query: {"own": 0.2, "new": 0.9}[sentence], QUERIES, cap=100)
    proposer = Listed(["new"])
    searched(scores, proposer, QUERIES, 10)
    sentence, shown = proposer.shown[0]
    assert sentence == "own" and len(shown) == SHOWN
    name = shown[0].partition("text of ")[2].partition("\n")[0]
    assert shown[0] == (
        f"query: text of {name}\nscore: 0.20\nwrongly first: a wrong passage\nanswers: what answers {name}"
    )
    # what was better there goes on
    assert {sentence for sentence, _ in proposer.shown[1:]} & {"new"}
    best = best_of(scores, QUERIES[:10])
    assert best == {"sentence": "new", "score": pytest.approx(0.9), "own_score": pytest.approx(0.2)}
    rows = {row["sentence"]: row for row in tried(scores, QUERIES[:10])}
    assert rows["new"]["scored_whole"] and rows["new"]["score"] == pytest.approx(0.9)


def test_the_same_search_is_made_again() -> None:
    def once(seed: int) -> dict[str, dict[str, Scored]]:
        scores = TableOfScores(lambda sentence, query: hash_of(sentence, query), QUERIES, cap=300)
        searched(scores, Listed([f"s{number}" for number in range(50)]), QUERIES, 10, seed)
        return scores.known

    def hash_of(sentence: str, query: str) -> float:
        return (sum(map(ord, sentence)) * 31 + int(query[1:]) * 17) % 97 / 97

    one = once(1)
    assert one == once(1) and list(one) == list(once(1))
    assert {name: list(known) for name, known in one.items()} != {name: list(known) for name, known in once(2).items()}


def test_equal_means_leave_the_model_its_own_sentence() -> None:
    scores = TableOfScores(lambda sentence, query: 0.5, QUERIES)
    scores.of("own", QUERIES)
    scores.of("as good", QUERIES)
    # better, but not on all that decide
    scores.score = lambda sentence, query: 1.0
    scores.of("lucky", QUERIES[:3])
    best = best_of(scores, QUERIES)
    assert best["sentence"] == "own"
    found = decided(best, TableOfScores(lambda *_: 0.0, QUERIES), Halves([], QUERIES, [0] * 20))
    assert found == {"taken": None, "why": "no sentence was better on the queries of the search", "unseen": None}


@pytest.mark.parametrize(
    ("gain", "taken"), [(0.1, "better"), (0.0, None), (-0.1, None)], ids=["gains", "gains nothing", "loses"]
)
def test_a_sentence_is_taken_only_where_the_unseen_half_gains(gain: float, taken: str | None) -> None:
    """On what the search saw it is better by .4 in all three cases."""
    seen, unseen = QUERIES[:10], QUERIES[10:]

    def score(sentence: str, query: str) -> float:
        return 0.5 + (sentence == "better") * (0.4 if query in seen else gain)

    scores, proof = TableOfScores(score, QUERIES), TableOfScores(score, QUERIES)
    scores.of("own", seen)
    scores.of("better", seen)
    best = best_of(scores, seen)
    assert best["sentence"] == "better"
    found = decided(best, proof, Halves(seen, unseen, list(range(10))))
    assert found["taken"] == taken and found["unseen"]["value"] == pytest.approx(gain)
    assert f"{gain:+.4f} nDCG@10 on 10 dev queries" in found["why"]
    assert set(proof.computed) == {(sentence, query) for sentence in ("better", "own") for query in unseen}


# what stops it


def test_the_end_of_the_llms_budget_ends_the_search_with_what_there_is() -> None:
    class Poor(Listed):
        def propose(self, sentence: str, shown: Sequence[str]) -> str | None:
            found = super().propose(sentence, shown)
            self.failures["budget"] += found is None
            return found

    scores = TableOfScores(lambda sentence, query: 0.2 + 0.5 * (sentence == "new"), QUERIES, cap=500)
    proposer = Poor(["new"])
    assert searched(scores, proposer, QUERIES, 10) == "the budget of the LLM"
    assert len(proposer.shown) == 2 and best_of(scores, QUERIES[:10])["sentence"] == "new"


def test_an_llm_that_cannot_be_asked_stops_the_search_at_once() -> None:
    class Broken(Listed):
        def propose(self, sentence: str, shown: Sequence[str]) -> str | None:
            super().propose(sentence, shown)
            raise InputError("no key")

    proposer = Broken([])
    with pytest.raises(InputError, match=r"^no key$"):
        searched(TableOfScores(lambda sentence, query: 0.2, QUERIES, cap=500), proposer, QUERIES, 10)
    assert len(proposer.shown) == 1
