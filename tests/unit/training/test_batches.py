from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from denizen.training.batches import EpochBatches, domain_batches, length_batches, similar_batches


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 5))
def test_length_batches_hold_every_row_once(rows: int, batch_size: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 500, rows)
    batches = length_batches(lengths, batch_size, np.random.default_rng(seed))
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert len(batches) == -(-rows // batch_size)
    assert max(map(len, batches)) <= batch_size


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 5))
def test_similar_batches_hold_every_row_once(rows: int, batch_size: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    batches = similar_batches(vectors, batch_size, np.random.default_rng(seed))
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert len(batches) == -(-rows // batch_size)
    assert max(map(len, batches)) <= batch_size


def test_similar_batches_of_equal_vectors_end() -> None:
    batches = similar_batches(np.ones((70, 4), np.float32), 8, np.random.default_rng(0))
    assert len(batches) == 9


def test_length_batches_save_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 3200)
    batches = length_batches(lengths, 32, np.random.default_rng(0))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.05 * lengths.sum()


def test_similar_batches_put_neighbours_together() -> None:
    """Eight groups of 16 in batches of 16: pairs of one group are three times as frequent as by chance (1/8)."""
    centres = np.eye(8, dtype=np.float32) * 10
    group = np.arange(128) % 8
    vectors = centres[group] + np.random.default_rng(0).normal(size=(128, 8)).astype(np.float32)
    batches = similar_batches(vectors, 16, np.random.default_rng(0))
    same = np.mean([np.mean(group[batch][:, None] == group[batch][None, :]) for batch in batches])
    assert same > 3 / 8


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(epoch: int) -> list[list[int]]:
        sampler = EpochBatches(
            range(50),
            8,
            3,
            lambda random: length_batches(np.arange(50), 8, random),  # type: ignore[arg-type]
        )
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1) == order(1)
    assert order(0) != order(1)
    assert len(order(0)) == 7


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(1, 20), st.integers(0, 3))
def test_batches_of_one_domain_hold_every_row_once_and_all_but_the_last_ones_one_domain(
    sizes: list[int], batch_size: int, seed: int
) -> None:
    domains = [f"d{at}" for at, size in enumerate(sizes) for _ in range(size)]
    vectors = np.random.default_rng(seed).normal(size=(len(domains), 4)).astype(np.float32)
    batches = domain_batches(vectors, domains, batch_size, np.random.default_rng(seed))
    assert sorted(row for batch in batches for row in batch) == list(range(len(domains)))
    assert len(batches) == -(-len(domains) // batch_size) and max(map(len, batches)) <= batch_size
    whole = [batch for batch in batches if len({domains[row] for row in batch}) == 1 and len(batch) == batch_size]
    assert len(whole) >= sum(size // batch_size for size in sizes)
