"""Is it a good shuffle? Chi-square tests over many seeds and epochs, and bad shuffles that fail.

The draws are fixed, so that a test never passes today and fails tomorrow; a perfect shuffle
would have failed one of them with probability `ALMOST_IMPOSSIBLE` when the seeds were chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from math import comb, isqrt

import numpy as np
import pytest
from scipy import stats

from infeed.order import Sampler, hash64, key, permute
from infeed.order.permutation import feistel

ALMOST_IMPOSSIBLE = 1e-6

SEEDS, EPOCHS = 20, 50

Shuffle = Callable[[int, int, int], np.ndarray]


# Shuffles: (n, seed, epoch) -> the positions 0..n-1 in their order.


def ours(n: int, seed: int, epoch: int) -> np.ndarray:
    return permute(np.arange(n), n, key(seed, "shuffle", epoch))


def network(rounds: int) -> Shuffle:
    def shuffle(n: int, seed: int, epoch: int) -> np.ndarray:
        round_keys = hash64(key(seed, "shuffle", epoch), np.arange(rounds, dtype=np.uint64))
        return feistel(np.arange(n, dtype=np.uint64), n, round_keys)

    return shuffle


def affine(n: int, seed: int, epoch: int) -> np.ndarray:
    """Keyed and a bijection, and still a bad shuffle: (multiplier * i + shift) mod n."""
    multiplier = key(seed, "multiplier", epoch) % n
    while np.gcd(multiplier, n) != 1:
        multiplier += 1
    return (np.arange(n) * (multiplier % n) + key(seed, "shift", epoch) % n) % n


def summed(n: int, seed: int, epoch: int) -> np.ndarray:
    """A perfect permutation whose seed and epoch are added up."""
    return permute(np.arange(n), n, key(seed + epoch, "shuffle"))


# Statistics: orders (SEEDS, EPOCHS, n) -> the probability that a perfect shuffle does worse.


def goodness(observed: np.ndarray, expected: np.ndarray, freedom: int | None = None) -> float:
    """The chi-square p-value; cells with an expectation below 10 are left out."""
    enough = expected >= 10
    distance = ((observed - expected)[enough] ** 2 / expected[enough]).sum()
    cells = int(enough.sum())
    return float(stats.chi2.sf(distance, cells - 1 if freedom is None else freedom))


def even(values: np.ndarray, n: int) -> float:
    """Does each of 0..n-1 come equally often, in groups where it comes seldom?"""
    groups = min(n, values.size // 20)
    sizes = np.bincount(np.arange(n) * groups // n)
    return goodness(
        np.bincount(values.ravel() * groups // n, minlength=groups), sizes * (values.size / n)
    )


def table(one: np.ndarray, other: np.ndarray, n: int, groups: int = 8) -> float:
    """Are the groups of two positions independent? Both margins are those of a permutation."""
    sizes = np.bincount(np.arange(n) * groups // n)
    cells = (one * groups // n) * groups + other * groups // n
    observed = np.bincount(cells.ravel(), minlength=groups**2)
    expected = np.outer(sizes, sizes).ravel() * (one.size / n**2)
    distance = ((observed - expected) ** 2 / expected).sum() * (n - 1) / n
    return float(stats.chi2.sf(distance, (groups - 1) ** 2))


def landing(orders: np.ndarray) -> float:
    """Each place of the order holds a record of each sixteenth of the manifest equally often."""
    n, groups = orders.shape[-1], 16
    sizes = np.bincount(np.arange(n) * groups // n)
    cells = np.arange(n) * groups + orders.reshape(-1, n) * groups // n
    observed = np.bincount(cells.ravel(), minlength=n * groups)
    expected = np.tile(sizes, n) * (orders.size / n**2)
    distance = ((observed - expected) ** 2 / expected).sum() * (n - 1) / n
    return float(stats.chi2.sf(distance, (groups - 1) * (n - 1)))


def place(orders: np.ndarray) -> float:
    """Where a record stands in the manifest says nothing of when it comes."""
    n = orders.shape[-1]
    return table(np.broadcast_to(np.arange(n), orders.shape), orders, n)


def distances(lag: Callable[[int], int]) -> Callable[[np.ndarray], float]:
    """Two places `lag` apart hold records any distance apart (mod n), equally often."""

    def statistic(orders: np.ndarray) -> float:
        n = orders.shape[-1]
        apart = (np.roll(orders, -lag(n), axis=-1) - orders) % n
        return even(apart - 1, n - 1)

    return statistic


def columns(orders: np.ndarray) -> float:
    """Places that share a digit of the network hold records whose rows differ as any two do."""
    n = orders.shape[-1]
    b = -(-n // (isqrt(n - 1) + 1))
    rows = orders // b
    apart = np.roll(rows, -b, axis=-1) - rows
    sizes = np.bincount(rows[0, 0]).astype(float)
    pairs = np.correlate(sizes, sizes, "full")
    pairs[len(sizes) - 1] -= n  # a record and itself are no pair
    observed = np.bincount((apart + len(sizes) - 1).ravel(), minlength=len(pairs))
    return goodness(observed, pairs * (orders.size / pairs.sum()))


def epochs(orders: np.ndarray) -> float:
    """What an epoch has at a place says nothing of what the next epoch has there."""
    return table(orders[:, :-1], orders[:, 1:], orders.shape[-1])


def seeds(orders: np.ndarray) -> float:
    return table(orders[:-1], orders[1:], orders.shape[-1])


def shifts(orders: np.ndarray) -> float:
    """The distance (mod n) between the records of one place in two epochs, or of two seeds."""
    n = orders.shape[-1]
    between_epochs, between_seeds = orders[:, 1:] - orders[:, :-1], orders[1:] - orders[:-1]
    return even(np.concatenate([between_epochs.ravel(), between_seeds.ravel()]) % n, n)


def fixed_points(orders: np.ndarray) -> float:
    """The number of records that stay at their place is Poisson(1)."""
    n = orders.shape[-1]
    fixed = (orders.reshape(-1, n) == np.arange(n)).sum(axis=1)
    observed = np.bincount(np.minimum(fixed, 5), minlength=6)
    shares = stats.poisson.pmf(np.arange(5), 1)
    return goodness(observed, np.append(shares, 1 - shares.sum()) * len(fixed))


def repeats(orders: np.ndarray) -> float:
    """The number of records at the same place as in the (seed + 1, epoch - 1) is Poisson(1)."""
    same = (orders[1:, :-1] == orders[:-1, 1:]).sum(axis=-1).ravel()
    shares = stats.poisson.pmf(np.arange(5), 1)
    observed = np.bincount(np.minimum(same, 5), minlength=6)
    return goodness(observed, np.append(shares, 1 - shares.sum()) * len(same))


def ascents(orders: np.ndarray) -> float:
    """The number of ascents has mean (n - 1) / 2 and variance (n + 1) / 12, both to the sides."""
    n = orders.shape[-1]
    rising = (np.diff(orders.reshape(-1, n), axis=-1) > 0).sum(axis=-1)
    distance = ((rising - (n - 1) / 2) ** 2 / ((n + 1) / 12)).sum()
    below = float(stats.chi2.cdf(distance, len(rising)))
    return 2 * min(below, 1 - below)


def runs(orders: np.ndarray) -> float:
    """Four records in a row stand in each of their 24 orders equally often."""
    fours = orders[..., : orders.shape[-1] // 4 * 4].reshape(-1, 4)
    codes = np.argsort(fours, axis=-1) @ np.array([64, 16, 4, 1])
    expected = [np.dot(p, [64, 16, 4, 1]) for p in permutations(range(4))]
    observed = np.array([(codes == code).sum() for code in expected])
    return goodness(observed, np.full(24, len(codes) / 24))


def classes_per_batch(orders: np.ndarray) -> float:
    """Of a manifest sorted by class, a batch has as many classes as a random draw has.

    The exact distribution: 25 classes of equal size, drawn without replacement.
    """
    n, batch, classes = orders.shape[-1], 32, 25
    size = n // classes
    kept = orders[(orders < size * classes)].reshape(-1, size * classes)
    labels = kept[:, : size * classes // batch * batch].reshape(-1, batch) // size
    seen = (np.diff(np.sort(labels, axis=1), axis=1) > 0).sum(axis=1) + 1
    shares = [
        comb(classes, d)
        * sum((-1) ** j * comb(d, j) * comb((d - j) * size, batch) for j in range(d + 1))
        / comb(classes * size, batch)
        for d in range(classes + 1)
    ]
    observed = np.bincount(seen, minlength=classes + 1)
    return goodness(observed, np.array(shares) * len(seen))


STATISTICS = {
    "landing": landing,
    "place": place,
    "successors": distances(lambda n: 1),
    "next but one": distances(lambda n: 2),
    "one row on": distances(lambda n: -(-n // (isqrt(n - 1) + 1))),
    "columns": columns,
    "epochs": epochs,
    "seeds": seeds,
    "shifts": shifts,
    "fixed points": fixed_points,
    "repeats": repeats,
    "ascents": ascents,
    "runs": runs,
    "classes per batch": classes_per_batch,
}


def measured(shuffle: Shuffle, n: int) -> dict[str, float]:
    orders = np.array([[shuffle(n, s, e) for e in range(EPOCHS)] for s in range(SEEDS)])
    return {name: statistic(orders) for name, statistic in STATISTICS.items()}


# 1000: by rank. 1025, 1501, 2048: by the network, at its smallest, at a prime-like size and at
# a power of two.
@pytest.mark.parametrize("n", [1000, 1025, 1501, 2048])
def test_the_shuffle_cannot_be_told_from_chance(n: int) -> None:
    found = measured(ours, n)
    assert min(found.values()) > ALMOST_IMPOSSIBLE, found


@pytest.mark.parametrize("n", [300, 1025])
def test_the_network_alone_cannot_be_told_from_chance_where_it_is_smallest(n: int) -> None:
    found = measured(network(8), n)
    assert min(found.values()) > ALMOST_IMPOSSIBLE, found


@pytest.mark.parametrize(
    ("shuffle", "convicted_by"),
    [
        (affine, {"successors", "next but one", "one row on", "runs", "classes per batch"}),
        (network(2), {"successors", "columns", "fixed points", "ascents", "runs"}),
        (network(3), {"successors", "columns", "fixed points"}),
        (network(4), {"successors", "columns"}),
        (network(5), {"one row on"}),
        (summed, {"repeats"}),
        (lambda n, seed, epoch: np.arange(n), set(STATISTICS) - {"runs"}),
    ],
    ids=["affine", "2 rounds", "3 rounds", "4 rounds", "5 rounds", "seed + epoch", "none"],
)
def test_a_bad_shuffle_is_convicted(shuffle: Shuffle, convicted_by: set[str]) -> None:
    found = measured(shuffle, 1025)
    assert {name for name in convicted_by if found[name] > 1e-12} == set(), found


def test_orders_at_the_tutorials_size_cannot_be_told_from_chance() -> None:
    # 196,434 records sorted by 61 classes: batches of consecutive places, in few epochs.
    n = 196_434
    orders = np.array([[ours(n, seed, epoch) for epoch in range(3)] for seed in range(2)])
    for name in STATISTICS.keys() - {"landing", "repeats", "fixed points"}:
        assert STATISTICS[name](orders) > ALMOST_IMPOSSIBLE, name
    bad = np.array([[network(4)(n, seed, epoch) for epoch in range(3)] for seed in range(2)])
    assert columns(bad) < 1e-12


@pytest.mark.parametrize("n", [196_434, 10**9, 2**40, 2**62])
def test_places_of_a_large_epoch_hold_every_part_of_the_manifest_equally_often(n: int) -> None:
    places = np.concatenate([np.arange(8), n // 2 + np.arange(8), n - 1 - np.arange(8)])
    held = np.array([permute(places, n, key(seed, "shuffle", seed)) for seed in range(3000)])
    high = (held // (n // 16 + 1)) + 16 * np.arange(24)
    low = (held % 16) + 16 * np.arange(24)
    for cells in (high, low):
        observed = np.bincount(cells.ravel(), minlength=384)
        expected = np.full(384, 3000 / 16)
        assert goodness(observed, expected, freedom=24 * 15) > ALMOST_IMPOSSIBLE


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_every_permutation_of_a_few_records_comes_equally_often(n: int) -> None:
    found: dict[tuple[int, ...], int] = dict.fromkeys(permutations(range(n)), 0)
    per_order = 30
    for seed in range(per_order * len(found)):
        found[tuple(permute(np.arange(n), n, key(seed, "shuffle", 0)).tolist())] += 1
    assert stats.chisquare(list(found.values())).pvalue > ALMOST_IMPOSSIBLE


def test_classes_that_the_manifest_keeps_apart_are_mixed_in_the_batches() -> None:
    # Through the sampler, with a rare class: 1 % of the records, at the end of the manifest.
    n, batch_size = 20_000, 64
    sampler = Sampler(seed=1, batch_size=batch_size, remainder="drop")
    rare = [
        int((sampler.plan(n, epoch, number).positions >= n - n // 100).sum())
        for epoch in range(4)
        for number in range(sampler.steps(n))
    ]
    shares = stats.hypergeom.pmf(np.arange(4), n, n // 100, batch_size)
    observed = np.bincount(np.minimum(rare, 4), minlength=5)
    expected = np.append(shares, 1 - shares.sum()) * len(rare)
    assert goodness(observed, expected) > ALMOST_IMPOSSIBLE
