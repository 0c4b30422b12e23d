"""Randomness belongs to the sample: separate words, whatever batch it comes in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from infeed.order import ClassMembers, Cursor, Sampler, Shard, draws
from infeed.order.cuts import REMAINDERS
from infeed.order.sampling import SAMPLINGS

ALMOST_IMPOSSIBLE = 1e-6
MEMBERS = ClassMembers(np.arange(50) % 7 % 4)


def words_of(sampler: Sampler, number: int, phase: int = 0) -> dict[tuple[int, int, int], int]:
    """The word of each sample in a batch of epoch 2."""
    plan = sampler.plan(50, 2, number, phase=phase, members=MEMBERS)
    words = draws(sampler.seed, "test", plan.sample_epochs, plan.positions, plan.turns).tolist()
    samples = zip(
        plan.sample_epochs.tolist(), plan.positions.tolist(), plan.turns.tolist(), strict=True
    )
    return {
        sample: word
        for sample, word, weight in zip(samples, words, plan.weights, strict=True)
        if weight
    }


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("remainder", REMAINDERS)
def test_a_sample_has_its_word_in_whatever_batch_it_comes(sampling: str, remainder: str) -> None:
    whole = {
        sample: word
        for epoch_of_one in [Sampler(3, 10, sampling, remainder)]
        for number in range(epoch_of_one.steps(50, 2))
        for sample, word in words_of(epoch_of_one, number).items()
    }
    assert len(set(whole.values())) == 50
    shard = Sampler(3, 3, sampling, remainder, Shard(1, 2))
    _, number, phase = shard.place(50, Cursor(2, 20))
    elsewhere = words_of(shard, number, phase)
    assert len(elsewhere) == 3
    assert elsewhere.items() <= whole.items()


def test_every_word_of_the_key_counts_and_none_is_another() -> None:
    grid = np.stack(np.meshgrid(range(12), range(12), range(-3, 9), indexing="ij"), axis=-1)
    samples = grid.reshape(-1, 3)
    drawn = {
        word
        for seed in range(3)
        for purpose in ("flip", "crop")
        for word in draws(seed, purpose, *samples.T).tolist()
    }
    assert len(drawn) == 6 * len(samples)


def test_words_are_even_in_high_and_low_bits() -> None:
    drawn = draws(7, "flip", 0, np.arange(100_000), np.zeros(100_000, np.int64))
    for shift in (0, 30, 56):
        counts = np.bincount((drawn >> np.uint64(shift) & np.uint64(255)).astype(int))
        assert stats.chisquare(counts).pvalue > ALMOST_IMPOSSIBLE
    neighbours = drawn[:-1] >> np.uint64(63) ^ drawn[1:] >> np.uint64(63)
    assert stats.binomtest(int(neighbours.sum()), 99_999).pvalue > ALMOST_IMPOSSIBLE


def test_one_epoch_stands_for_that_of_every_row() -> None:
    positions, turns = np.arange(5), np.zeros(5, np.int64)
    one = draws(7, "flip", 3, positions, turns)
    assert one.dtype == np.uint64
    assert one.tolist() == draws(7, "flip", np.full(5, 3), positions, turns).tolist()
    assert draws(7, "flip", 3, positions[:0], turns[:0]).shape == (0,)
