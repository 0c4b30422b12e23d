"""Samplings by class: exact quotas, and every image of a class before any comes again."""

from __future__ import annotations

import json
import math
from collections import Counter
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from infeed.order import ClassMembers, Sampler, describe, hash64, key
from infeed.order.permutation import permute_each
from infeed.order.quotas import class_quotas
from infeed.order.sampling import BY_CLASS

ALMOST_IMPOSSIBLE = 1e-6

# Shaped as the tutorial's set: 61 classes from 1 to 2,473 images.
SKEWED = [1, 1, 3, 12, 40, *range(60, 1660, 30), 2000, 2473, 0]


def labels_of(counts: list[int]) -> np.ndarray:
    """One label a record; classes are spread over the records."""
    return np.random.default_rng(5).permutation(np.repeat(np.arange(len(counts)), counts))


def order(sampler: Sampler, members: ClassMembers, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and turns of a whole epoch."""
    whole = Sampler(sampler.seed, len(members), sampler.sampling)
    plan = whole.plan(len(members), epoch, 0, members=members)
    return plan.positions, plan.turns


counts_of_classes = st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any)


@st.composite
def samplings(draw: st.DrawFn, counts: list[int]) -> str | dict[int, float]:
    if draw(st.booleans()):
        return draw(st.sampled_from(BY_CLASS))
    weights = st.one_of(st.just(0), st.integers(0, 100), st.floats(0, 1e6))
    drawn = {label: draw(weights) for label in range(len(counts))}
    present = [label for label, count in enumerate(counts) if count]
    drawn[draw(st.sampled_from(present))] = 1.5
    return drawn


# Quotas


@settings(max_examples=300, deadline=None)
@given(counts_of_classes, st.data())
def test_quotas_share_out_the_whole_epoch_and_forget_no_class(
    counts: list[int], data: st.DataObject
) -> None:
    sampling = Sampler(sampling=data.draw(samplings(counts))).stored_sampling
    quotas = class_quotas(sampling, counts)
    weights = [1] * len(counts) if isinstance(sampling, str) else [w for _, w in sampling]
    assert sum(quotas) == sum(counts)
    for quota, count, weight in zip(quotas, counts, weights, strict=True):
        assert (quota >= 1) == bool(count and weight)


@settings(max_examples=200, deadline=None)
@given(counts_of_classes, st.data())
def test_quotas_follow_the_weights_to_less_than_one_sample(
    counts: list[int], data: st.DataObject
) -> None:
    drawn = data.draw(st.lists(st.integers(0, 1000), min_size=12, max_size=12).filter(any))
    weights = [weight if count else 0 for weight, count in zip(drawn, counts, strict=False)]
    if not any(weights):
        return
    quotas = class_quotas(tuple(enumerate(weights)), counts)
    fixed = [c for c, w in enumerate(weights) if w and Fraction(w * sum(counts), sum(weights)) < 1]
    assert all(quotas[c] == 1 for c in fixed)
    if not fixed:
        for quota, weight in zip(quotas, weights, strict=True):
            assert abs(quota - Fraction(weight * sum(counts), sum(weights))) < 1


def test_balanced_gives_all_classes_the_same_and_the_rest_to_the_first() -> None:
    assert class_quotas("balanced", [5, 1, 0, 5]) == [4, 4, 0, 3]
    assert class_quotas("balanced", [1]) == [1]
    assert class_quotas("balanced", [0, 1, 1, 98]) == [0, 34, 33, 33]


def test_weights_are_shares_of_classes_not_of_images() -> None:
    assert class_quotas(((0, 1), (1, 3)), [90, 10]) == [25, 75]
    assert class_quotas(((0, 0.1), (1, 0.3)), [90, 10]) == [25, 75]
    assert class_quotas(((0, 0), (1, 1e-300)), [90, 10]) == [0, 100]
    assert class_quotas(((0, 1e-300), (1, 1e300)), [90, 10]) == [1, 99]


def test_sqrt_and_effective_shares_are_those_of_their_formulas() -> None:
    with localcontext() as context:
        context.prec = 60
        roots = [Decimal(count).sqrt() for count in SKEWED]
        beta = Decimal("0.999")
        # n / E(n), E(n) = (1 - beta^n) / (1 - beta): Cui et al. 2019.
        news = [count * (1 - beta) / (1 - beta**count) if count else Decimal(0) for count in SKEWED]
    for sampling, shares in (("sqrt", roots), ("effective", news)):
        pairs = tuple((c, Fraction(share)) for c, share in enumerate(shares))
        assert class_quotas(sampling, SKEWED) == class_quotas(pairs, SKEWED)


def test_effective_lies_between_balanced_and_the_sets_own_shares() -> None:
    balanced, effective, root = (class_quotas(s, SKEWED) for s in ("balanced", "effective", "sqrt"))
    smallest, largest = 0, SKEWED.index(2473)
    assert SKEWED[smallest] < root[smallest] < effective[smallest] < balanced[smallest]
    assert SKEWED[largest] > root[largest] > effective[largest] > balanced[largest]


# The order


@settings(max_examples=150, deadline=None)
@given(counts_of_classes, st.data(), st.integers(0, 5))
def test_every_epoch_has_exactly_the_quotas(
    counts: list[int], data: st.DataObject, epoch: int
) -> None:
    labels = labels_of(counts)
    members = ClassMembers(labels, len(counts))
    sampler = Sampler(3, 8, data.draw(samplings(counts)))
    positions, _ = order(sampler, members, epoch)
    drawn = np.bincount(labels[positions], minlength=len(counts))
    assert drawn.tolist() == class_quotas(sampler.stored_sampling, counts)


@settings(max_examples=100, deadline=None)
@given(counts_of_classes, st.data(), st.integers(1, 8))
def test_images_of_a_class_come_equally_often_up_to_one_at_the_end_of_every_epoch(
    counts: list[int], data: st.DataObject, epochs: int
) -> None:
    labels = labels_of(counts)
    members = ClassMembers(labels, len(counts))
    sampler = Sampler(4, 8, data.draw(samplings(counts)))
    came = np.zeros(len(labels), dtype=np.int64)
    for epoch in range(epochs):
        positions, turns = order(sampler, members, epoch)
        # A turn is how often the record has come before: 0, 1, 2, ... without a gap.
        for position, turn in sorted(zip(positions.tolist(), turns.tolist(), strict=True)):
            assert turn == came[position]
            came[position] += 1
        for label in range(len(counts)):
            times = came[labels == label]
            assert not times.size or times.max() - times.min() <= 1


def test_a_class_of_one_image_gives_it_at_every_turn() -> None:
    members = ClassMembers([0] * 9 + [1])
    positions, turns = order(Sampler(0, 4, "balanced"), members, 3)
    assert Counter(positions.tolist())[9] == 5
    assert sorted(turns[positions == 9].tolist()) == [15, 16, 17, 18, 19]


def test_epochs_seeds_and_classes_have_orders_of_their_own() -> None:
    members = ClassMembers(np.arange(200) % 2)
    orders = {
        tuple(order(Sampler(seed, 4, "balanced"), members, epoch)[0].tolist())
        for seed in range(10)
        for epoch in range(10)
    }
    assert len(orders) == 100
    positions, _ = order(Sampler(1, 4, "balanced"), members, 0)
    assert (positions[positions % 2 == 0] != positions[positions % 2 == 1] - 1).any()


def test_classes_are_mixed_within_an_epoch() -> None:
    labels = labels_of([500, 500])
    positions, _ = order(Sampler(7, 4, "balanced"), ClassMembers(labels), 0)
    halves = labels[positions].reshape(2, -1)
    table = [np.bincount(half, minlength=2) for half in halves]
    assert stats.chi2_contingency(table).pvalue > ALMOST_IMPOSSIBLE
    neighbours = labels[positions][:-1] * 2 + labels[positions][1:]
    assert stats.chisquare(np.bincount(neighbours, minlength=4)).pvalue > ALMOST_IMPOSSIBLE


# The permutations within the classes


def permutations(n: int, count: int, salt: int = 0) -> np.ndarray:
    """int64 (count, n): permutations of 0..n-1 by as many keys."""
    keys = np.repeat(hash64(key("test", salt), np.arange(count, dtype=np.uint64)), n)
    index, sizes = np.tile(np.arange(n), count), np.full(n * count, n)
    return permute_each(index, sizes, keys).reshape(count, n)


@pytest.mark.parametrize("n", [*range(1, 71), 81, 100, 1000, 1024, 1025, 2473])
def test_each_key_permutes(n: int) -> None:
    assert (np.sort(permutations(n, 20), axis=1) == np.arange(n)).all()


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_every_permutation_of_a_few_images_is_equally_likely(n: int) -> None:
    seen = Counter(map(tuple, permutations(n, 30_000).tolist()))
    assert len(seen) == math.factorial(n)
    assert stats.chisquare(list(seen.values())).pvalue > ALMOST_IMPOSSIBLE


@pytest.mark.parametrize("n", [6, 7, 10, 25, 50, 64, 65, 72, 81, 100])
def test_places_and_pairs_of_places_hold_all_records_equally_often(n: int) -> None:
    drawn = permutations(n, 5000)
    for place in (0, 1, n // 2, n - 1):
        assert stats.chisquare(np.bincount(drawn[:, place])).pvalue > ALMOST_IMPOSSIBLE
    row = math.isqrt(n - 1) + 1
    for other in (1, -(-n // row), n - 1):
        apart = np.bincount((drawn[:, other] - drawn[:, 0]) % n, minlength=n)
        assert apart[0] == 0
        assert stats.chisquare(apart[1:]).pvalue > ALMOST_IMPOSSIBLE


def test_an_entry_does_not_depend_on_its_company() -> None:
    sizes = np.array([1, 2, 3, 64, 65, 1000, 7, 2473])
    keys = hash64(3, np.arange(8, dtype=np.uint64))
    together = permute_each(sizes - 1, sizes, keys)
    alone = [
        permute_each(sizes[i : i + 1] - 1, sizes[i : i + 1], keys[i : i + 1]) for i in range(8)
    ]
    assert together.tolist() == np.concatenate(alone).tolist()
    assert permute_each(*(array[:0] for array in (sizes, sizes, keys))).shape == (0,)


# Members and settings


@given(st.lists(st.integers(0, 9), min_size=1, max_size=80))
def test_members_are_the_positions_of_each_class(labels: list[int]) -> None:
    members = ClassMembers(labels, 10)
    assert len(members) == len(labels)
    assert members.positions.dtype == np.int32
    for label in range(10):
        start, count = members.starts[label], members.counts[label]
        expected = [position for position, other in enumerate(labels) if other == label]
        assert members.positions[start : start + count].tolist() == expected


def test_labels_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^labels must be in \[0, 3\), got -1$"):
        ClassMembers([0, -1], 3)
    with pytest.raises(ValueError, match=r"^labels must be in \[0, 3\), got 3$"):
        ClassMembers([0, 3], 3)
    with pytest.raises(ValueError, match=r"^ClassMembers needs one label a record, got shape \(0"):
        ClassMembers(np.empty(0, np.int64))
    with pytest.raises(TypeError, match=r"^ClassMembers needs integers, got dtype float64$"):
        ClassMembers([0.0])


def test_a_plan_without_the_classes_names_the_cure() -> None:
    message = r"^sampling='balanced' needs the classes of the 4 records, got none\. Pass members="
    with pytest.raises(ValueError, match=message):
        Sampler(sampling="balanced").plan(4, 0, 0)
    with pytest.raises(ValueError, match=r"of the 4 records, got those of 3\."):
        Sampler(sampling="balanced").plan(4, 0, 0, members=ClassMembers([0, 0, 0]))
    with pytest.raises(ValueError, match=r"^epoch 4611686018427387904 of 4 samples lies beyond"):
        Sampler(sampling="balanced", batch_size=1).plan(
            4, 2**62, 0, members=ClassMembers([0, 0, 0, 0])
        )


@pytest.mark.parametrize(
    ("sampling", "error", "message"),
    [
        ({}, ValueError, r"must give a class a weight above 0, got \{\}"),
        ({0: 0, 1: 0.0}, ValueError, "must give a class a weight above 0"),
        ({-1: 1}, ValueError, "must name each class once, from 0, got -1"),
        (((0, 1), (0, 2)), ValueError, "must name each class once, from 0, got 0"),
        ({"rust": 1}, TypeError, "a class number of Sampler.sampling must be an int, got 'rust'"),
        ({0: "1"}, TypeError, "the weight of class 0 must be a number, got '1'"),
        ({0: True}, TypeError, "the weight of class 0 must be a number, got True"),
        ({3: -1.0}, ValueError, r"the weight of class 3 must be finite and >= 0, got -1\.0"),
        ({3: math.inf}, ValueError, "the weight of class 3 must be finite and >= 0, got inf"),
        ({3: math.nan}, ValueError, "the weight of class 3 must be finite and >= 0, got nan"),
        (7, ValueError, r"or a dict \{class number: weight\}, got 7"),
    ],
)
def test_weights_that_cannot_be_are_refused(
    sampling: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Sampler(sampling=sampling)


def test_weights_have_to_fit_the_classes() -> None:
    members = ClassMembers([0, 0, 1, 2, 2, 2], 4)
    with pytest.raises(ValueError, match="weight for class 4; the classes are 0 to 3"):
        members.quotas(((0, 1), (1, 1), (2, 1), (4, 1)))
    with pytest.raises(ValueError, match=r"for class 1 \(images: 1; classes like it: 2\)"):
        members.quotas(((0, 1),))
    with pytest.raises(ValueError, match="no class with images a weight above 0"):
        members.quotas(((0, 0), (1, 0), (2, 0), (3, 1)))
    assert members.quotas(((0, 1), (1, 1), (2, 0)))[0].tolist() == [3, 3, 0, 0]


def test_weights_survive_json_and_are_hashable_in_any_order() -> None:
    one = Sampler(sampling={1: np.float32(0.5), np.int64(0): 2})
    other = Sampler(sampling={0: 2, 1: 0.5})
    assert one == other
    assert hash(one) == hash(other)
    assert one.sampling == ((0, 2), (1, 0.5))
    assert Sampler.from_json(json.loads(json.dumps(one.to_json()))) == one


# Words


@pytest.mark.parametrize(
    ("sampling", "counts", "text"),
    [
        (
            "balanced",
            [1],
            (
                "sampling='balanced': every epoch draws 1 image, 1 from each class. "
                "Class 'a' has 1 image, which comes once an epoch."
            ),
        ),
        (
            "balanced",
            [30, 0, 2, 1],
            (
                "sampling='balanced': every epoch draws 33 images, 11 from each class. Class 'a' "
                "has 30 images, up to 11 of which come in an epoch, and all of them in the first "
                "3. Class 'd' has 1 image, which comes 11 times an epoch."
            ),
        ),
        (
            {0: 0, 1: 0, 2: 3, 3: 1},
            [6, 1, 3, 2],
            (
                "sampling by weights: every epoch draws 12 images, from 3 to 9 from "
                "a class. Class 'c' has 3 images, each of which comes 3 times an epoch. Class 'd' "
                "has 2 images, each of which comes 1.5 times an epoch on average. Left out, with "
                "weight 0: 'a', 'b', 7 images."
            ),
        ),
    ],
)
def test_what_a_sampling_means_is_said_in_plain_words(
    sampling: str | dict[int, float], counts: list[int], text: str
) -> None:
    members = ClassMembers(np.repeat(np.arange(len(counts)), counts), len(counts))
    assert describe(Sampler(sampling=sampling).stored_sampling, members, "abcd") == text


def test_the_words_are_true_of_the_order() -> None:
    labels = labels_of(SKEWED)
    members = ClassMembers(labels, len(SKEWED))
    sampler = Sampler(2, 64, "balanced")
    text = describe(sampler.stored_sampling, members, [f"c{n}" for n in range(len(SKEWED))])
    quota = sum(SKEWED) // (len(SKEWED) - 1) + 1
    assert f"Class 'c0' has 1 image, which comes {quota} times an epoch." in text
    one = int(np.flatnonzero(labels == 0)[0])
    large = SKEWED.index(2473)
    seen: set[int] = set()
    epochs = 0
    while len(seen) < 2473:
        positions, _ = order(sampler, members, epochs)
        assert (positions == one).sum() == quota
        seen |= set(positions[labels[positions] == large].tolist())
        epochs += 1
    assert f"and all of them in the first {epochs}." in text
