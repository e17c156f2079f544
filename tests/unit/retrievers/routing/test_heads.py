"""The scores of centroids, neighbours and logistic regression, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.retrievers.routing.centroids import Centroids
from denizen.retrievers.routing.knn import Neighbours
from denizen.retrievers.routing.logistic import Logistic

EAST, NORTH = [1.0, 0.0], [0.0, 1.0]
FITS = {
    "centroids": lambda x, y: Centroids.fit(x, y),
    "knn": lambda x, y: Neighbours.fit(x, y, k=3),
    "logistic": lambda x, y: Logistic.fit(x, y, inverse_penalty=1.0),
}


def _of(*rows: list[float]) -> np.ndarray:
    return np.asarray(rows, dtype=np.float32)


def test_a_centroid_is_the_direction_of_the_mean() -> None:
    """(1,0) and (0,1) have the mean (.5,.5), whose direction is at 45 degrees: cosine .7071 to both axes."""
    head = Centroids.fit(_of(EAST, NORTH, [-1.0, 0.0]), ["b", "b", "a"])
    assert head.domains == ("a", "b")
    assert head.scores(_of(EAST)) == pytest.approx(np.asarray([[-1.0, 0.7071]]), abs=1e-4)


def test_with_several_centroids_the_nearest_counts() -> None:
    """With two centroids for b both of its queries are found again: cosine 1, not .7071."""
    head = Centroids.fit(_of(EAST, NORTH, [-1.0, 0.0]), ["b", "b", "a"], number=2)
    assert head.counts.tolist() == [1, 2]
    assert head.scores(_of(EAST, NORTH))[:, 1] == pytest.approx([1.0, 1.0], abs=1e-6)


def test_neighbours_are_each_domains_own_nearest() -> None:
    """For (1,0): b's cosines are 1, .6 and 0, the two best of which have the mean .8; a has one query alone, at .8."""
    head = Neighbours.fit(_of([0.6, 0.8], NORTH, EAST, [0.8, 0.6]), ["b", "b", "b", "a"], k=2)
    assert head.scores(_of(EAST)) == pytest.approx(np.asarray([[0.8, 0.8]]))


def test_of_too_many_neighbours_the_largest_domain_gives_way() -> None:
    """Six of b and two of a, five may be kept: a keeps both, b three; all of them were there before."""
    rows = np.eye(8, dtype=np.float32)
    head = Neighbours.fit(rows, ["b"] * 6 + ["a"] * 2, k=1, most=5)
    assert head.counts.tolist() == [2, 3]
    assert sorted(head.neighbours.argmax(axis=1).tolist())[-2:] == [6, 7]


def test_two_classes_have_logits_that_differ_by_the_librarys() -> None:
    """scikit-learn keeps one row for two classes; softmax over our two must be its sigmoid."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 3)).astype(np.float32)
    labels = ["a" if row[0] > 0 else "b" for row in rows]
    scores = Logistic.fit(rows, labels, inverse_penalty=1.0).scores(rows).astype(float)
    ours = 1 / (1 + np.exp(scores[:, 0] - scores[:, 1]))
    theirs = LogisticRegression(C=1.0).fit(rows, labels).predict_proba(rows)[:, 1]
    assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("kind", FITS)
def test_one_domain_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=r"two domains or more.*have 1: law.*denizen adapt"):
        FITS[kind](_of(EAST, NORTH), ["law", "law"])


@pytest.mark.parametrize("kind", FITS)
@given(seed=st.integers(0, 1000))
def test_scores_do_not_depend_on_what_stands_beside_a_query(kind: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(12, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    head = FITS[kind](rows, ["a", "b", "c"] * 4)
    together = head.scores(rows)
    assert together.shape == (12, 3)
    alone = np.concatenate([head.scores(rows[at : at + 1]) for at in range(12)])
    assert together == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize("kind", FITS)
def test_what_was_trained_on_is_closer_than_what_is_opposite(kind: str) -> None:
    """Of a logistic head, too, whose logits are higher the farther a query lies on its side."""
    random = np.random.default_rng(0)
    rows = np.asarray([[3.0, 0.5, 0.5], [0.5, 3.0, 0.5]] * 20) + random.normal(0, 0.1, (40, 3))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    head = FITS[kind](rows, ["a", "b"] * 20)
    near, far = rows[:5], _of([0.0, 0.0, 1.0], [0.0, 0.0, -1.0])
    assert head.closeness(near, head.scores(near)).min() > 0.9
    assert head.closeness(far, head.scores(far)).max() < 0.5
