import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.data import near_duplicates
from denizen.data.near_duplicates import clusters, similarity, tied

VOCABULARY = ["gout", "lupus", "pain", "fever", "knee", "heart", "drug", "dose", "rash", "cough", "sleep", "blood"]
small_texts = st.lists(st.lists(st.sampled_from(VOCABULARY), max_size=6).map(" ".join), max_size=10)


def partition(texts, threshold):
    """The clusters as sets of texts, whatever the positions."""
    groups = {}
    for text, number in zip(texts, clusters(texts, threshold), strict=True):
        groups.setdefault(number, set()).add(text)
    return {frozenset(group) for group in groups.values()}


def words_of(prefix, count):
    return [f"{prefix}{number}" for number in range(count)]


@settings(max_examples=60, deadline=None)
@given(small_texts, st.sampled_from([0.5, 0.9, 1.0]))
def test_equal_texts_share_a_cluster_named_after_its_first_text(texts, threshold):
    found = clusters(texts, threshold)
    assert len(found) == len(texts)
    for position, number in enumerate(found):
        assert number <= position
        assert found[number] == number
    for one, text in enumerate(texts):
        for other in range(one):
            if text == texts[other] and text:
                assert found[one] == found[other]


@settings(max_examples=60, deadline=None)
@given(small_texts.flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(texts))))
def test_the_order_of_the_texts_does_not_change_the_partition(orders):
    texts, permuted = (list(filter(None, order)) for order in orders)
    assert partition(texts, 0.6) == partition(permuted, 0.6)


def test_at_threshold_one_only_equal_word_sets_are_joined():
    texts = ["gout hurts", "Gout hurts!", "hurts, gout; hurts", "gout hurts much", "lupus hurts"]
    assert clusters(texts, 1.0) == [0, 0, 0, 3, 4]


def test_texts_without_words_are_alone():
    assert clusters(["", "", "...", "gout", "?!", "gout"], 0.5) == [0, 1, 2, 3, 4, 3]


@pytest.mark.parametrize("threshold", [0.8, 0.9, 1.0])
def test_hardly_a_pair_at_the_threshold_escapes_the_sketch(threshold):
    bands = near_duplicates._bands(threshold)
    assert (1 - threshold**6) ** bands <= 0.001
    assert bands == 10 or (1 - threshold**6) ** (bands - 1) > 0.001


def test_no_texts_give_no_clusters():
    assert clusters([], 0.9) == []


def test_template_questions_about_different_things_are_no_near_duplicates():
    diseases = ["gout", "lupus", "asthma", "rabies", "measles", "anemia", "scurvy", "cholera"]
    questions = [f"What are the symptoms of {disease} ?" for disease in diseases]
    assert clusters([*questions, "what are the symptoms of gout"], 0.9) == [*range(len(diseases)), 0]


@pytest.mark.parametrize("threshold, expected", [(0.91, [0, 0]), (0.92, [0, 1])])
def test_the_threshold_is_on_the_weighted_similarity(threshold, expected):
    """Two texts share 60 words (weight ln 3/2) and have one more each (weight ln 3).

    60 ln(3/2) / (60 ln(3/2) + 2 ln 3) = 24.328 / 26.525 = 0.9172; without weights it would be 60/62 = 0.968.
    """
    shared = words_of("w", 60)
    texts = [" ".join([*shared, "one"]), " ".join([*shared, "other"])]
    assert clusters(texts, threshold) == expected


def test_clusters_are_chains_and_carry_the_number_of_their_first_text():
    """Neighbours differ in two of 80 words, the ends of the chain in eight, so that only the chain joins them."""
    everything = words_of("w", 84)
    chain = [" ".join(everything[start : start + 80]) for start in (0, 2, 4)]
    weight = dict.fromkeys(everything, 1.0)
    ends = [frozenset(text.split()) for text in (chain[0], chain[2])]
    assert similarity(ends[0], ends[1], weight) == pytest.approx(76 / 84)
    unrelated = [" ".join(words_of(prefix, 60)) for prefix in ("x", "y")]
    threshold = 0.85
    assert clusters([unrelated[0], chain[0], chain[2], chain[1], unrelated[1]], 1.0) == [0, 1, 2, 3, 4]
    alone = clusters([chain[0], chain[2], *unrelated], threshold)
    joined = clusters([unrelated[0], chain[2], chain[0], unrelated[1], chain[1]], threshold)
    assert alone == [0, 1, 2, 3]
    assert joined == [0, 1, 1, 3, 1]


def test_every_planted_near_duplicate_is_found_among_unrelated_texts():
    """Each of 40 pairs differs in one of 60 words: similarity .96, which the sketch finds but for 1 in 10^5."""
    originals = [words_of(f"t{number}x", 60) for number in range(40)]
    copies = [[*words[:-1], f"changed{number}"] for number, words in enumerate(originals)]
    texts = [" ".join(words) for words in originals + copies]
    assert clusters(texts, 0.9) == [*range(40), *range(40)]


@given(st.lists(st.sets(st.integers(0, 12), max_size=3), max_size=12))
def test_items_are_tied_by_shared_keys_also_through_others_and_named_after_the_first(keys):
    found = tied(keys)
    expected = list(range(len(keys)))
    for _ in keys:
        for one, other in itertools.product(range(len(keys)), repeat=2):
            if keys[one] & keys[other]:
                expected[one] = expected[other] = min(expected[one], expected[other])
    assert found == expected


def test_the_similarity_is_the_shared_weight_over_the_whole_weight():
    weight = {"the": 0.5, "gout": 2.0, "lupus": 1.5}
    one, other = frozenset(["the", "gout"]), frozenset(["the", "lupus"])
    assert similarity(one, other, weight) == pytest.approx(0.5 / 4.0)
    assert similarity(other, one, weight) == similarity(one, other, weight)
    assert similarity(one, one, weight) == 1.0
    assert similarity(frozenset(), frozenset(), weight) == 0.0
    assert math.isclose(similarity(one, frozenset(["the"]), weight), 0.2)
