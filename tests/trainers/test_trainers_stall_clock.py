"""How long training stood still, by events whose times are given."""

from __future__ import annotations

import pytest

from infeed.trainers.deliveries import Deliveries, Delivery
from infeed.trainers.stall_clock import StallClock

HERE, ELSEWHERE = 1, 2


def ours(asked: float, delivered: float) -> Delivery:
    return Delivery(asked, delivered, HERE)


def read_ahead(asked: float, delivered: float) -> Delivery:
    return Delivery(asked, delivered, ELSEWHERE)


def jax() -> StallClock:
    return StallClock(asks_in_step=True, is_asynchronous=True)


def test_a_wait_with_no_step_under_way_is_a_stall() -> None:
    clock = jax()
    clock.begin_step(0.0, [], HERE)
    clock.begin_step(2.0, [ours(0.0, 1.0)], HERE)
    clock.end_step(1, 2.5)
    # Step 1 ended at 2.5, its successor's batch came at 9.
    assert clock.settle([ours(2.0, 9.0)], HERE) == pytest.approx(1.0 + 6.5)


def test_a_wait_beside_a_step_under_way_is_none_even_if_its_end_is_told_late() -> None:
    clock = jax()
    clock.begin_step(0.0, [], HERE)
    clock.begin_step(0.1, [ours(0.0, 0.0)], HERE)
    assert clock.settle([ours(0.1, 5.0)], HERE) == 0.0
    clock.end_step(1, 6.0)
    assert clock.seconds == 0.0


def test_a_wait_is_held_against_the_last_step_dispatched_not_the_first() -> None:
    clock = jax()
    for number in range(4):  # three steps are in the queue when the fourth asks
        deliveries = [ours(number - 1, number - 1)] if number else []
        clock.begin_step(float(number), deliveries, HERE)
    clock.settle([ours(3.0, 30.0)], HERE)
    clock.end_step(1, 10.0)
    clock.end_step(2, 20.0)
    assert clock.seconds == 0.0
    clock.end_step(3, 28.0)
    assert clock.seconds == pytest.approx(2.0)


def test_ends_may_be_told_in_any_order() -> None:
    clock = jax()
    for number in range(3):
        deliveries = [ours(number - 1, number - 1)] if number else []
        clock.begin_step(float(number), deliveries, HERE)
    clock.settle([ours(2.0, 30.0)], HERE)
    clock.end_step(2, 20.0)
    clock.end_step(1, 21.0)
    assert clock.seconds == pytest.approx(10.0)


def test_a_batch_that_is_asked_for_before_its_step_is_waited_for_too() -> None:
    clock = StallClock(asks_in_step=False, is_asynchronous=False)
    clock.begin_step(1.0, [ours(0.0, 1.0)], HERE)
    clock.begin_step(5.0, [ours(3.0, 5.0)], HERE)
    assert clock.seconds == pytest.approx(3.0)


def test_on_a_device_of_its_own_such_a_step_may_still_be_under_way() -> None:
    clock = StallClock(asks_in_step=False, is_asynchronous=True)
    clock.begin_step(1.0, [], HERE)
    clock.begin_step(5.0, [ours(1.0, 5.0)], HERE)
    clock.end_step(1, 4.0)
    assert clock.seconds == pytest.approx(1.0)


def test_what_another_thread_has_read_ahead_is_not_waited_for() -> None:
    clock = jax()
    ready = [read_ahead(0.0, 4.0), read_ahead(4.0, 8.0), read_ahead(8.0, 9.0)]
    clock.begin_step(10.0, ready, HERE)
    clock.end_step(1, 11.0)
    clock.begin_step(11.0, [], HERE)
    clock.end_step(2, 12.0)
    clock.begin_step(12.0, [], HERE)
    clock.end_step(3, 13.0)
    assert clock.seconds == 0.0
    clock.begin_step(13.0, [], HERE)
    clock.end_step(4, 17.0)
    # The fourth came three seconds after it was wanted.
    clock.begin_step(17.0, [read_ahead(9.0, 16.0)], HERE)
    assert clock.seconds == pytest.approx(3.0)


def test_a_new_pass_drops_what_was_read_and_never_used() -> None:
    clock = jax()
    clock.begin_step(0.0, [read_ahead(0.0, 0.0)] * 3, HERE)
    clock.end_step(1, 1.0)
    clock.begin_pass()
    clock.begin_step(5.0, [], HERE)
    assert clock.settle([read_ahead(4.0, 7.0)], HERE) == pytest.approx(2.0)


def test_a_step_of_several_batches_waits_for_each_of_them() -> None:
    clock = StallClock(asks_in_step=True, is_asynchronous=True, batches_a_step=2)
    clock.begin_step(0.0, [], HERE)
    assert clock.settle([read_ahead(0.0, 1.0), read_ahead(2.0, 4.0)], HERE) == pytest.approx(3.0)


def test_readers_of_deliveries_keep_their_own_place() -> None:
    deliveries = Deliveries()
    deliveries.add(0.0, 1.0)
    seen = deliveries.count
    deliveries.add(1.0, 2.0)
    assert [each.delivered for each in deliveries.since(seen)] == [2.0]
    assert [each.delivered for each in deliveries.since(0)] == [1.0, 2.0]
    assert deliveries.since(2) == []
