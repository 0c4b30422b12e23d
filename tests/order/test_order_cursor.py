"""The resumable place: what was seen before it and what is seen after it is everything, once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infeed.order import BatchPlan, Cursor, Place, Sampler, Shard
from infeed.order.cuts import REMAINDERS


@st.composite
def places(draw: st.DrawFn) -> tuple[Sampler, int, Cursor]:
    """A sampler, a number of records of which it makes batches, and a place among them."""
    remainder = draw(st.sampled_from(REMAINDERS))
    size = draw(st.integers(1, 40))
    count = draw(st.sampled_from([c for c in range(1, size + 1) if size % c == 0]))
    n = draw(st.integers(size if remainder == "drop" else 1, 120))
    sampler = Sampler(3, size // count, "shuffle", remainder, Shard(count - 1, count))
    return sampler, n, Cursor(draw(st.integers(0, 5)), draw(st.integers(0, n)))


def walk(sampler: Sampler, n: int, cursor: Cursor) -> Iterator[BatchPlan]:
    """The batches from a place on, as a loader makes them."""
    first, start, phase = sampler.place(n, cursor)
    for epoch in itertools.count(first):
        for number in range(start, sampler.steps(n, epoch, phase=phase)):
            yield sampler.plan(n, epoch, number, phase=phase)
        start = 0
        if sampler.remainder != "carry":
            phase = 0


@settings(deadline=None)
@given(places())
def test_advance_is_the_place_after_as_many_batches_one_by_one(
    place: tuple[Sampler, int, Cursor],
) -> None:
    sampler, n, cursor = place
    stepped = cursor = sampler.advance(n, cursor, 0)
    for number, plan in enumerate(itertools.islice(walk(sampler, n, cursor), 40)):
        assert sampler.place(n, stepped)[:2] == (plan.epoch, plan.number)
        assert sampler.cursor(n, plan.epoch, plan.number, phase=plan.phase) == stepped
        stepped = sampler.cursor(n, plan.epoch, plan.number + 1, phase=plan.phase)
        assert sampler.advance(n, cursor, number + 1) == stepped
        assert sampler.advance(n, sampler.advance(n, cursor, number), 1) == stepped


@settings(deadline=None)
@given(places())
def test_a_place_has_one_cursor_and_a_batch_begins_at_it(
    place: tuple[Sampler, int, Cursor],
) -> None:
    sampler, n, given_cursor = place
    cursor = sampler.advance(n, given_cursor, 0)
    assert cursor.sample < n
    if sampler.remainder == "drop":
        assert n - cursor.sample >= sampler.global_batch_size
    epoch, number, phase = sampler.place(n, given_cursor)
    assert sampler.place(n, cursor) == (epoch, number, phase)
    assert sampler.cursor(n, epoch, number, phase=phase) == cursor
    assert 0 <= number < sampler.steps(n, epoch, phase=phase)


def test_the_place_after_the_last_batch_is_the_next_epoch() -> None:
    keep = Sampler(batch_size=4)
    assert keep.cursor(10, 2, 3) == keep.advance(10, Cursor(2, 8), 1) == Cursor(3, 0)
    drop = Sampler(batch_size=4, remainder="drop")
    assert drop.cursor(10, 2, 2) == drop.advance(10, Cursor(2, 4), 1) == Cursor(3, 0)
    carry = Sampler(batch_size=4, remainder="carry")
    assert carry.cursor(10, 2, 2) == Cursor(2, 8)


def test_another_batch_size_goes_on_at_the_very_next_sample() -> None:
    sampler = Sampler(batch_size=4, sampling="sequential")
    epoch, number, phase = sampler.place(10, Cursor(2, 3))
    assert (epoch, number, phase) == Place(2, 0, 3)
    plans = [sampler.plan(10, 2, k, phase=phase) for k in range(sampler.steps(10, 2, phase=3))]
    assert [plan.positions.tolist() for plan in plans] == [[3, 4, 5, 6], [7, 8, 9]]
    assert [plan.phase for plan in plans] == [3, 3]


def test_with_carry_the_phase_is_that_of_the_whole_stream() -> None:
    sampler = Sampler(batch_size=4, sampling="sequential", remainder="carry")
    batches = [
        sampler.plan(10, epoch, number, phase=3).positions.tolist()
        for epoch in range(3)
        for number in range(sampler.steps(10, epoch, phase=3))
    ]
    assert [sampler.steps(10, epoch, phase=3) for epoch in range(3)] == [1, 3, 2]
    assert batches[:3] == [[3, 4, 5, 6], [7, 8, 9, 0], [1, 2, 3, 4]]
    assert sampler.cursor(10, 0, 0, phase=3) == Cursor(0, 3)


@pytest.mark.parametrize("remainder", REMAINDERS)
def test_phase_zero_is_the_plan_without_a_phase(remainder: str) -> None:
    sampler = Sampler(5, 4, "shuffle", remainder)
    for epoch in range(3):
        assert sampler.steps(30, epoch) == sampler.steps(30, epoch, phase=0)
        for number in range(sampler.steps(30, epoch)):
            plan = sampler.plan(30, epoch, number)
            again = sampler.plan(30, epoch, number, phase=0)
            assert np.array_equal(plan.positions, again.positions)
            assert plan.phase == 0


def test_a_place_far_away_costs_no_walk() -> None:
    for remainder in REMAINDERS:
        sampler = Sampler(0, 64, "shuffle", remainder)
        far = sampler.advance(196_434, Cursor(), 10**15)
        assert sampler.advance(196_434, far, 1) > far
        assert sampler.locate(196_434, 10**15) == sampler.place(196_434, far)[:2]


def test_drop_skips_a_saved_place_with_too_few_samples_for_a_larger_batch() -> None:
    assert Sampler(batch_size=8, remainder="drop").place(10, Cursor(1, 6)) == (2, 0, 0)


@given(st.integers(0, 2**70), st.integers(0, 2**62))
def test_a_cursor_survives_json(epoch: int, sample: int) -> None:
    cursor = Cursor(epoch, sample)
    assert Cursor.from_json(json.loads(json.dumps(cursor.to_json()))) == cursor
    assert list(cursor.to_json()) == ["cursor_version", "epoch", "sample"]


def test_a_place_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Cursor\.epoch must be at least 0, got -1$"):
        Cursor(-1)
    with pytest.raises(TypeError, match=r"^Cursor\.sample must be an int, got 1\.0$"):
        Cursor(0, 1.0)
    with pytest.raises(ValueError, match=r"cursor version 2, this infeed has 1\. Continue with"):
        Cursor.from_json({"cursor_version": 2, "epoch": 0, "sample": 0})
    with pytest.raises(ValueError, match=r"sample=11\) lies beyond the 10 samples of an epoch"):
        Sampler().place(10, Cursor(0, 11))
    with pytest.raises(ValueError, match=r"^phase must be in \[0, 6\), got 6$"):
        Sampler(batch_size=3, shard=Shard(0, 2)).plan(10, 0, 0, phase=6)
    with pytest.raises(ValueError, match=r"^batches must be at least 0, got -1$"):
        Sampler().advance(10, Cursor(), -1)
    with pytest.raises(IndexError, match=r"^number must be in \[0, 1\], got 2$"):
        Sampler().cursor(10, 0, 2)
    for none, n in ((Sampler(), 0), (Sampler(batch_size=11, remainder="drop"), 10)):
        with pytest.raises(ValueError, match=rf"^{n} records make no batch of "):
            none.place(n, Cursor())


@pytest.mark.parametrize("remainder", REMAINDERS)
def test_without_records_there_is_no_place(remainder: str) -> None:
    sampler = Sampler(batch_size=4, remainder=remainder, shard=Shard(2, 3))
    with pytest.raises(ValueError, match="0 records make no batch of 12"):
        sampler.cursor(0, 0, 0)
    with pytest.raises(ValueError, match="0 records make no batch of 12"):
        sampler.place(0, Cursor())


def test_a_place_in_an_epoch_beyond_all_is_refused_where_it_is_read() -> None:
    with pytest.raises(ValueError, match=r"epoch must be in \[0, 2\*\*62\]"):
        Sampler().place(10, Cursor(epoch=2**63))
