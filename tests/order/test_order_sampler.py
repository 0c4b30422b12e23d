from __future__ import annotations

import functools
import itertools
import json
import pickle
import tracemalloc
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from infeed.order import ORDER_VERSION, BatchPlan, ClassMembers, Sampler, Shard, key, permute
from infeed.order.cuts import REMAINDERS
from infeed.order.sampling import SAMPLINGS

ONE_PASS = ("shuffle", "sequential")
WITHOUT_CLASSES = (*ONE_PASS, "replacement")


@functools.cache
def classes(n: int) -> ClassMembers | None:
    """Half of the records in class 0, a quarter in class 1, and so on."""
    if not n:
        return None
    numbers = np.arange(1, n + 1)
    return ClassMembers(np.log2(numbers & -numbers).astype(np.int64))


def class_weights(n: int) -> dict[int, float]:
    """A dict as `sampling`: odd classes are left out, the others weigh more and more."""
    members = classes(n)
    count = 1 if members is None else len(members.counts)
    return {label: 0 if label % 2 else 1.5**label for label in range(count)}


@st.composite
def jobs(
    draw: st.DrawFn,
    samplings: tuple[str, ...] = (*SAMPLINGS, "weights"),
    remainders: tuple[str, ...] = REMAINDERS,
    most_steps: int = 50,
) -> tuple[list[Sampler], int, int]:
    """The samplers of all shards of one job, its number of records, and an epoch."""
    n = draw(st.one_of(st.integers(0, 50), st.integers(0, 5000)))
    count = draw(st.integers(1, 9))
    # Not many steps, for time: small batches come with small manifests.
    batch_size = draw(st.integers(max(1, n // (most_steps * count)), 300))
    seed = draw(st.integers())
    sampling, remainder = draw(st.sampled_from(samplings)), draw(st.sampled_from(remainders))
    if sampling == "weights":
        sampling = class_weights(n)
    samplers = [
        Sampler(seed, batch_size, sampling, remainder, Shard(i, count)) for i in range(count)
    ]
    return samplers, n, draw(st.integers(0, 3))


def epoch_of(sampler: Sampler, n: int, epoch: int) -> list[BatchPlan]:
    steps = range(sampler.steps(n, epoch))
    return [sampler.plan(n, epoch, number, members=classes(n)) for number in steps]


def interleaved(plans: list[BatchPlan]) -> tuple[np.ndarray, np.ndarray]:
    """Positions and weights of a global batch, from the plans of all its shards."""
    positions = np.stack([plan.positions for plan in plans], axis=1)
    return positions.ravel(), np.stack([plan.weights for plan in plans], axis=1).ravel()


def counted(samplers: list[Sampler], n: int, epoch: int) -> np.ndarray:
    """The positions with weight 1 of all batches of all shards."""
    rows = [plan.positions[plan.weights > 0] for s in samplers for plan in epoch_of(s, n, epoch)]
    return np.concatenate([np.empty(0, dtype=np.int64), *rows])


def whole_epoch(sampler: Sampler, n: int, epoch: int) -> list[tuple[int, int, int]]:
    """The samples of an epoch in their order, as one batch of one process."""
    if not n:
        return []
    whole = Sampler(sampler.seed, n, sampler.sampling)
    return samples([whole.plan(n, epoch, 0, members=classes(n))])


def global_order(sampler: Sampler, n: int, epoch: int) -> np.ndarray:
    """The whole order of an epoch, as one batch of one process."""
    if not n:
        return np.empty(0, dtype=np.int64)
    whole = Sampler(sampler.seed, n, sampler.sampling)
    return whole.plan(n, epoch, 0, members=classes(n)).positions


def samples(plans: list[BatchPlan], *, padded: bool = False) -> list[tuple[int, int, int]]:
    """(epoch, position, turn) of all rows that count, or of all."""
    return [
        (epoch, position, turn)
        for plan in plans
        for epoch, position, turn, weight in zip(
            plan.sample_epochs.tolist(),
            plan.positions.tolist(),
            plan.turns.tolist(),
            plan.weights,
            strict=True,
        )
        if weight or padded
    ]


# All samplings and remainders


@settings(max_examples=1200, deadline=None)
@given(jobs(most_steps=20))
def test_shards_of_an_epoch_are_its_samples_as_a_multiset_in_equal_steps_and_shapes(
    job: tuple[list[Sampler], int, int],
) -> None:
    samplers, n, epoch = job
    plans = [epoch_of(sampler, n, epoch) for sampler in samplers]
    assert len({tuple(plan.positions.shape for plan in shard) for shard in plans}) == 1
    size, remainder = samplers[0].global_batch_size, samplers[0].remainder
    begin, end = epoch * n, (epoch + 1) * n
    if remainder == "drop":
        end -= n % size
    elif remainder == "carry":
        begin, end = begin // size * size, end // size * size
    expected = Counter(
        sample
        for e in range(begin // max(n, 1), epoch + 1)
        for place, sample in enumerate(whole_epoch(samplers[0], n, e), e * n)
        if begin <= place < end
    )
    assert Counter(sample for shard in plans for sample in samples(shard)) == expected
    everything = [sample for shard in plans for sample in samples(shard, padded=True)]
    assert len(set(everything)) == len(everything)


# One epoch, exactly once


@settings(deadline=None)
@given(jobs(ONE_PASS, ("keep", "pad")))
def test_an_epoch_over_all_shards_is_the_manifest_exactly_once(
    job: tuple[list[Sampler], int, int],
) -> None:
    samplers, n, epoch = job
    assert np.array_equal(np.sort(counted(samplers, n, epoch)), np.arange(n))


@settings(deadline=None)
@given(jobs(ONE_PASS, ("drop",)))
def test_drop_leaves_out_less_than_a_global_batch_and_repeats_nothing(
    job: tuple[list[Sampler], int, int],
) -> None:
    samplers, n, epoch = job
    positions = counted(samplers, n, epoch)
    assert len(np.unique(positions)) == len(positions)
    assert 0 <= n - len(positions) < samplers[0].global_batch_size
    assert all((plan.weights == 1).all() for s in samplers for plan in epoch_of(s, n, epoch))


@settings(deadline=None)
@given(jobs(remainders=("carry",)))
def test_carry_is_the_stream_of_epochs_cut_into_full_batches(
    job: tuple[list[Sampler], int, int],
) -> None:
    samplers, n, epochs = job
    size = samplers[0].global_batch_size
    batches: list[np.ndarray] = []
    for epoch in range(epochs + 1):
        for plans in zip(*(epoch_of(s, n, epoch) for s in samplers), strict=True):
            positions, weights = interleaved(list(plans))
            assert len(positions) == size
            assert (weights == 1).all()
            batches.append(positions)
        # The epoch owns the batches that end in it.
        assert len(batches) == (epoch + 1) * n // size
    orders = [global_order(samplers[0], n, epoch) for epoch in range(epochs + 1)]
    stream = np.concatenate([np.empty(0, dtype=np.int64), *orders])
    streamed = np.concatenate([np.empty(0, dtype=np.int64), *batches])
    assert np.array_equal(streamed, stream[: len(streamed)])
    assert 0 <= len(stream) - len(streamed) < size


@settings(deadline=None)
@given(jobs(remainders=("keep", "drop", "pad")))
def test_a_step_is_a_contiguous_range_of_the_epochs_order_whatever_the_shards(
    job: tuple[list[Sampler], int, int],
) -> None:
    samplers, n, epoch = job
    order, size = global_order(samplers[0], n, epoch), samplers[0].global_batch_size
    steps = zip(*(epoch_of(sampler, n, epoch) for sampler in samplers), strict=True)
    for number, plans in enumerate(steps):
        positions, weights = interleaved(list(plans))
        expected = order[number * size : (number + 1) * size]
        assert np.array_equal(positions[: len(expected)], expected)
        assert np.array_equal(weights, np.arange(len(positions)) < len(expected))
        # Padded rows: on from the beginning of the same order, round and round.
        padding = len(positions) - len(expected)
        assert np.array_equal(positions[len(expected) :], np.resize(order, padding))


# Shapes


@settings(deadline=None)
@given(jobs())
def test_all_shards_have_the_same_steps_and_shapes(job: tuple[list[Sampler], int, int]) -> None:
    samplers, n, epoch = job
    count, batch_size, size = len(samplers), samplers[0].batch_size, samplers[0].global_batch_size
    assert len({sampler.steps(n, epoch) for sampler in samplers}) == 1
    for sampler in samplers:
        for number, plan in enumerate(epoch_of(sampler, n, epoch)):
            assert (plan.epoch, plan.number) == (epoch, number)
            last = sampler.remainder == "keep" and number == n // size
            rows = -(-(n % size) // count) if last else batch_size
            assert plan.rows == rows
            assert (plan.positions.shape, plan.positions.dtype) == ((rows,), np.int64)
            assert (plan.weights.shape, plan.weights.dtype) == ((rows,), np.float32)
            assert ((plan.positions >= 0) & (plan.positions < n)).all()
            assert np.isin(plan.weights, (0, 1)).all()


@given(jobs(remainders=("carry",)))
def test_steps_of_carried_epochs_differ_by_one_at_most(
    job: tuple[list[Sampler], int, int],
) -> None:
    samplers, n, _ = job
    steps = [samplers[0].steps(n, epoch) for epoch in range(20)]
    assert max(steps) - min(steps) <= 1
    assert sum(steps) == 20 * n // samplers[0].global_batch_size


@pytest.mark.parametrize(
    ("remainder", "steps", "last_rows"),
    [("keep", 3070, 18), ("pad", 3070, 64), ("drop", 3069, 64), ("carry", 3069, 64)],
)
def test_the_tutorials_steps_are_counted(remainder: str, steps: int, last_rows: int) -> None:
    sampler = Sampler(batch_size=64, remainder=remainder)
    assert sampler.steps(196_434) == steps
    assert sampler.plan(196_434, 0, steps - 1).rows == last_rows


def test_carry_can_need_several_epochs_for_a_batch() -> None:
    sampler = Sampler(batch_size=8, sampling="sequential", remainder="carry")
    assert [sampler.steps(3, epoch) for epoch in range(6)] == [0, 0, 1, 0, 0, 1]
    assert sampler.plan(3, 2, 0).positions.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert sampler.plan(3, 5, 0).positions.tolist() == [2, 0, 1, 2, 0, 1, 2, 0]


def test_row_i_of_shard_w_is_sample_i_times_count_plus_w() -> None:
    shards = [Sampler(0, 4, "sequential", "keep", Shard(w, 3)) for w in range(3)]
    assert [s.plan(20, 0, 0).positions.tolist() for s in shards] == [
        [0, 3, 6, 9],
        [1, 4, 7, 10],
        [2, 5, 8, 11],
    ]
    last = [s.plan(20, 0, 1) for s in shards]
    assert [plan.positions.tolist() for plan in last] == [[12, 15, 18], [13, 16, 19], [14, 17, 0]]
    assert [plan.weights.tolist() for plan in last] == [[1, 1, 1], [1, 1, 1], [1, 1, 0]]


# A pure function


@settings(deadline=None)
@given(jobs())
def test_a_batch_does_not_depend_on_what_was_asked_before(
    job: tuple[list[Sampler], int, int],
) -> None:
    samplers, n, epoch = job
    forwards = epoch_of(samplers[-1], n, epoch)
    for number in reversed(range(len(forwards))):
        again = samplers[-1].plan(n, epoch, number, members=classes(n))
        assert np.array_equal(again.positions, forwards[number].positions)
        assert np.array_equal(again.weights, forwards[number].weights)


def test_shuffle_is_the_permutation_of_seed_and_epoch() -> None:
    for seed, epoch in product((-3, 0, 7, 2**70), (0, 1, 10**12)):
        order = global_order(Sampler(seed), 50, 0)
        assert np.array_equal(order, permute(np.arange(50), 50, key(seed, "shuffle", 0)))
        order = global_order(Sampler(seed), 50, epoch)
        assert np.array_equal(order, permute(np.arange(50), 50, key(seed, "shuffle", epoch)))


def test_seeds_and_epochs_are_separate_words() -> None:
    orders = {
        tuple(global_order(Sampler(seed), 100, epoch).tolist())
        for seed, epoch in product(range(-10, 10), range(20))
    }
    assert len(orders) == 400


@pytest.mark.parametrize("sampling", WITHOUT_CLASSES)
@pytest.mark.parametrize("remainder", REMAINDERS)
@pytest.mark.parametrize("n", [196_434, 2**40 + 1, 2**62])
def test_a_plan_needs_the_same_memory_for_any_n(n: int, remainder: str, sampling: str) -> None:
    sampler = Sampler(7, 64, sampling, remainder, Shard(2, 3))
    last = sampler.steps(n, 5) - 1
    sampler.plan(n, 5, last)
    tracemalloc.start()
    try:
        plan = sampler.plan(n, 5, last)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 32_768
    assert ((plan.positions >= 0) & (plan.positions < n)).all()
    if sampling != "replacement":
        real = plan.positions[plan.weights > 0]
        assert len(np.unique(real)) == len(real)


# Draws with replacement


def test_replacement_draws_every_record_equally_often_and_misses_a_third() -> None:
    n, epochs = 2000, 50
    sampler = Sampler(3, 64, "replacement")
    drawn = [counted([sampler], n, epoch) for epoch in range(epochs)]
    assert [len(draws) for draws in drawn] == [n] * epochs
    assert stats.chisquare(np.bincount(np.concatenate(drawn), minlength=n)).pvalue > 1e-6
    unseen = np.mean([n - len(np.unique(draws)) for draws in drawn]) / n
    assert unseen == pytest.approx((1 - 1 / n) ** n, abs=0.005)  # 36.8 %, as 1 / e


def test_replacement_draws_differ_between_seeds_and_epochs() -> None:
    orders = {
        tuple(global_order(Sampler(seed, 32, "replacement"), 100, epoch).tolist())
        for seed, epoch in product(range(20), range(20))
    }
    assert len(orders) == 400


# Values


def test_an_empty_manifest_has_no_steps() -> None:
    for sampling, remainder in product(SAMPLINGS, REMAINDERS):
        sampler = Sampler(0, 4, sampling, remainder)
        assert sampler.steps(0, 3) == 0
        with pytest.raises(IndexError, match=r"^epoch 3 over 0 records has 0 batches of 4 "):
            sampler.plan(0, 3, 0)


@pytest.mark.parametrize("number", [-1, 3, 10**30])
def test_a_number_outside_the_epoch_is_named_with_its_range(number: int) -> None:
    message = (
        rf"^epoch 2 over 10 records has 3 batches of 2 on each of 2 shards: "
        rf"number must be in \[0, 3\), got {number}$"
    )
    with pytest.raises(IndexError, match=message):
        Sampler(0, 2, shard=Shard(1, 2)).plan(10, 2, number)


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^epoch must be in \[0, 2\*\*62\], got -1$"):
        Sampler().steps(3, -1)
    with pytest.raises(ValueError, match=r"^n, the number of records, must be in \[0, 2\*\*62\], "):
        Sampler().plan(-1, 0, 0)
    with pytest.raises(ValueError, match=r"^n, the number of records, must be in .* got 46116860"):
        Sampler().steps(2**62 + 1)
    with pytest.raises(TypeError, match=r"^n must be an int, got 3\.0$"):
        Sampler().steps(3.0)
    with pytest.raises(TypeError, match=r"^number must be an int, got True$"):
        Sampler().plan(3, 0, True)


@pytest.mark.parametrize("batch_size", [0, -1, 2**31])
def test_a_batch_size_outside_its_range_is_refused(batch_size: int) -> None:
    message = rf"^Sampler\.batch_size must be in \[1, 2147483647\], got {batch_size}$"
    with pytest.raises(ValueError, match=message):
        Sampler(batch_size=batch_size)


def test_a_misspelt_choice_is_answered_with_the_choices() -> None:
    message = (
        r"^Sampler\.sampling must be one of 'shuffle', 'sequential', 'replacement', 'balanced', "
        r"'sqrt', 'effective', or a dict \{class number: weight\}, got 'shufle'$"
    )
    with pytest.raises(ValueError, match=message):
        Sampler(sampling="shufle")
    message = r"^Sampler\.remainder must be one of 'keep', 'drop', 'pad', 'carry', got None$"
    with pytest.raises(ValueError, match=message):
        Sampler(remainder=None)


def test_wrong_types_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^Sampler\.seed must be an int, got None$"):
        Sampler(seed=None)
    with pytest.raises(TypeError, match=r"^Sampler\.seed must be an int, got 1\.5$"):
        Sampler(seed=1.5)
    with pytest.raises(TypeError, match=r"^Sampler\.batch_size must be an int, got '32'$"):
        Sampler(batch_size="32")
    with pytest.raises(TypeError, match=r"^Sampler\.shard must be a Shard, got \(0, 2\)$"):
        Sampler(shard=(0, 2))


@given(jobs())
def test_a_sampler_survives_json_and_pickle_and_is_hashable(
    job: tuple[list[Sampler], int, int],
) -> None:
    for sampler in job[0]:
        again = Sampler.from_json(json.loads(json.dumps(sampler.to_json())))
        assert again == sampler == pickle.loads(pickle.dumps(sampler))
        assert hash(again) == hash(sampler)
    assert len(set(job[0])) == len(job[0])


def test_numpys_integers_give_the_order_of_pythons() -> None:
    sampler = Sampler(np.int64(7), np.uint8(4), remainder="carry")
    assert json.loads(json.dumps(sampler.to_json())) == sampler.to_json()
    plan = sampler.plan(np.int32(10), np.int64(2), np.uint8(1))
    expected = Sampler(7, 4, remainder="carry").plan(10, 2, 1)
    assert plan.positions.tolist() == expected.positions.tolist()


def test_json_of_another_infeed_is_refused() -> None:
    data = Sampler().to_json()
    with pytest.raises(ValueError, match=r"^Sampler\.from_json needs the keys .* got \['seed'\]\."):
        Sampler.from_json({"seed": 1})
    with pytest.raises(ValueError, match=r"^the sampler was saved with order version 99, this "):
        Sampler.from_json({**data, "order_version": 99})
    assert data["order_version"] == ORDER_VERSION


def test_values_are_frozen() -> None:
    plan = Sampler().plan(10, 0, 0)
    with pytest.raises(AttributeError):
        plan.epoch = 1
    with pytest.raises(AttributeError):
        Sampler().seed = 1
    for array in (plan.positions, plan.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@given(
    n=st.integers(1, 300),
    batch_size=st.integers(1, 50),
    count=st.integers(1, 4),
    remainder=st.sampled_from(REMAINDERS),
)
def test_every_step_of_the_stream_has_its_epoch_and_number(n, batch_size, count, remainder):
    sampler = Sampler(batch_size=batch_size, remainder=remainder, shard=Shard(0, count))
    if not any(sampler.steps(n, epoch) for epoch in range(batch_size * count)):
        with pytest.raises(ValueError, match="make no batch"):
            sampler.locate(n, 0)
        return
    walked = ((e, k) for e in itertools.count() for k in range(sampler.steps(n, e)))
    places = list(itertools.islice(walked, 40))
    assert [sampler.locate(n, step) for step in range(40)] == places


def test_a_step_before_the_first_is_refused():
    with pytest.raises(ValueError, match="step must be 0 or more, got -1"):
        Sampler().locate(10, -1)
