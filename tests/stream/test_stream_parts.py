"""Buffers, batches, counters, quarantine, replacements."""

from __future__ import annotations

import itertools
import json
import logging
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infeed.errors import TooManyBadImagesError
from infeed.manifest import Manifest
from infeed.stream import (
    STAGES,
    BadImage,
    Batch,
    Meter,
    Quarantine,
    Recycler,
    aligned_empty,
    replacements,
)
from infeed.stream.quarantine import HOPELESS


@given(st.lists(st.integers(0, 9), max_size=4), st.sampled_from(["uint8", "float32", "int64"]))
def test_a_batch_array_is_aligned_contiguous_and_writable(shape: list[int], dtype: str) -> None:
    array = aligned_empty(tuple(shape), dtype)
    assert array.shape == tuple(shape)
    assert array.dtype == dtype
    assert array.size == 0 or array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable


@given(st.lists(st.integers(0, 9), max_size=4), st.sampled_from(["uint8", "float32"]))
def test_a_recycled_array_is_aligned_contiguous_and_writable(shape: list[int], dtype: str) -> None:
    recycler = Recycler()
    for _ in range(3):
        array = recycler.empty(tuple(shape), dtype)
        assert array.shape == tuple(shape)
        assert array.dtype == dtype
        assert array.size == 0 or array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous
        assert array.flags.writeable


def test_memory_is_used_again_only_when_no_view_of_it_is_left() -> None:
    recycler = Recycler()
    array = recycler.empty((100,), np.uint8)
    home = array.ctypes.data
    view = array.reshape(10, 10)[2:5].view(np.int8)
    del array
    assert recycler.empty((100,), np.uint8).ctypes.data != home
    del view
    assert recycler.empty((100,), np.uint8).ctypes.data == home


def test_memory_that_jax_aliases_is_not_used_again() -> None:
    import jax

    recycler = Recycler()
    array = recycler.empty((64, 64), np.uint8)
    array.fill(7)
    on_device = jax.device_put(array)
    doubled = jax.jit(lambda x: x * 2)(array)
    del array
    for _ in range(4):
        recycler.empty((64, 64), np.uint8).fill(9)
    assert (np.asarray(on_device) == 7).all()
    assert (np.asarray(doubled) == 14).all()


def test_no_more_memory_is_kept_than_asked() -> None:
    recycler = Recycler(keep=1)
    arrays = [recycler.empty((1000,), np.uint8) for _ in range(5)]
    homes = {array.ctypes.data for array in arrays}
    del arrays
    again = [recycler.empty((1000,), np.uint8) for _ in range(2)]
    assert again[0].ctypes.data in homes


def test_smaller_arrays_take_larger_memory_and_larger_ones_do_not_take_smaller() -> None:
    recycler = Recycler()
    home = recycler.empty((100,), np.uint8).ctypes.data  # given back at once
    small = recycler.empty((10,), np.uint8)
    assert small.ctypes.data == home
    del small
    large = recycler.empty((1000,), np.uint8)
    large.fill(1)
    assert len(large) == 1000


def batch() -> Batch:
    return Batch(
        images=np.zeros((2, 4, 4, 3), np.uint8),
        labels=np.array([0, 1], np.int32),
        weights=np.ones(2, np.float32),
        positions=np.arange(2),
        sources=np.arange(2),
        sample_epochs=np.full(2, 3),
        turns=np.zeros(2, np.int64),
        epoch=3,
        number=7,
    )


def test_a_batch_shows_where_it_comes_from_not_its_pixels() -> None:
    assert repr(batch()) == "Batch(epoch=3, number=7, images=uint8[2, 4, 4, 3])"
    assert len(batch()) == 2


def test_a_batch_is_handed_over_as_keras_takes_it() -> None:
    assert [len(batch().as_tuple()), len(batch().as_tuple(weights=True))] == [2, 3]


def test_the_time_of_a_rest_is_taken_under_the_lock() -> None:
    """Were it before, a reading in between would have counted beyond the end of the rest."""
    ticks = iter((3.0, 4.0, 5.0, 7.0, 8.0))

    def clock() -> float:
        assert meter._lock.here().locked()
        return next(ticks)

    meter = Meter(clock=clock)
    began = meter.begin_idle()
    readings = [meter.read(), meter.read()]
    meter.end_idle(began)
    readings.append(meter.read())
    assert [reading.idle_seconds for reading in readings] == [1.0, 2.0, 4.0]


def test_counters_add_up_over_threads() -> None:
    times = threading.local()

    def clock() -> float:  # each thread rests from 3.0 to 3.25, again and again
        times.ticks = getattr(times, "ticks", None) or itertools.cycle((3.0, 3.25))
        return next(times.ticks)

    meter = Meter(clock=clock)
    before = meter.read()

    def work() -> None:
        for _ in range(1000):
            meter.add(
                2,
                (0.5, 0.25, 0.0, 0.125, 0.0, 0.0, 0.0, 0.0),
                cpu_seconds=0.25,
                decoded=1,
                source_bytes=5,
                source_pixels=8,
                least_pixels=2,
            )
            meter.add_turn(busy=0.5, plan=0.125)
            meter.end_idle(meter.begin_idle())
            meter.add_delivery(wait=0.5, hand_over=0.25, first=False)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = meter.read() - before
    assert spent.images == 8000
    assert spent.seconds == dict.fromkeys(STAGES, 0.0) | {
        "read": 2000.0,
        "header": 1000.0,
        "fit": 500.0,
    }
    assert (spent.busy_seconds, spent.idle_seconds, spent.plan_seconds) == (2000, 1000, 500)
    assert (spent.wait_seconds, spent.hand_over_seconds) == (2000, 1000)
    assert spent.first_wait_seconds == 0
    assert (spent.cpu_seconds, spent.decoded, spent.source_bytes) == (1000, 4000, 20000)
    assert (spent.source_pixels, spent.least_pixels) == (32000, 8000)


def bad(position: int, reason: str = "missing") -> BadImage:
    return BadImage(position, f"{position}.jpg", reason, f"record {position}: no such file")


def test_a_bad_image_counts_once_however_often_it_comes() -> None:
    quarantine = Quarantine(1, records=10)
    for _ in range(5):
        quarantine.add(bad(4))
    assert quarantine.count() == 1
    assert quarantine.bad == (bad(4),)


def test_one_more_than_the_budget_stops_with_count_reasons_and_examples() -> None:
    quarantine = Quarantine(2, records=100)
    quarantine.add(bad(9))
    quarantine.add(bad(5, "truncated"))
    with pytest.raises(TooManyBadImagesError) as caught:
        quarantine.add(bad(7))
    text = str(caught.value)
    assert text.startswith("3 bad images, and max_bad allows 2: 2 missing, 1 truncated")
    assert "record 5: no such file" in text
    assert text.endswith("Mend or remove them, or pass a larger max_bad.")


@pytest.mark.parametrize(("max_bad", "budget"), [(0, 0), (7, 7), (0.05, 10), (0.0, 0), (1.0, 200)])
def test_a_budget_is_a_count_or_a_share(max_bad: float, budget: int) -> None:
    assert Quarantine(max_bad, records=200).budget == budget


@pytest.mark.parametrize(
    ("max_bad", "records", "budget"),
    [(0.07, 100, 7), (0.14, 50, 7), (0.55, 100, 55), (0.07, 101, 8), (0.001, 10, 1)],
)
def test_a_share_is_rounded_up_but_not_for_the_error_of_a_float(
    max_bad: float, records: int, budget: int
) -> None:
    assert Quarantine(max_bad, records=records).budget == budget


@pytest.mark.parametrize("max_bad", [-1, -0.1, 1.5, True, float("nan")])
def test_a_budget_that_cannot_be_is_refused(max_bad: float) -> None:
    with pytest.raises(ValueError, match="max_bad must be a count of 0 or more"):
        Quarantine(max_bad, records=200)


def test_bad_images_are_named_in_the_log_until_there_are_many(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quarantine = Quarantine(1000, records=1000)
    with caplog.at_level(logging.WARNING):
        for position in range(500):
            quarantine.add(bad(position))
    assert "bad image (missing): record 0: no such file" in caplog.text
    assert len(caplog.records) == 21
    assert quarantine.count() == 500


def test_where_nothing_is_good_the_run_ends_whatever_share_is_allowed() -> None:
    quarantine = Quarantine(0.9, records=100_000)
    for position in range(HOPELESS - 1):
        quarantine.add(bad(position))
    with pytest.raises(TooManyBadImagesError, match="64 bad images, and not a single good one"):
        quarantine.add(bad(HOPELESS))


def test_one_good_image_is_enough_to_go_on_as_far_as_the_share_allows() -> None:
    quarantine = Quarantine(0.9, records=1000)
    quarantine.add_good()
    for position in range(900):
        quarantine.add(bad(position))
    with pytest.raises(TooManyBadImagesError, match="901 bad images, and max_bad allows 900"):
        quarantine.add(bad(900))


def test_whoever_bears_all_bears_all() -> None:
    quarantine = Quarantine(1.0, records=200)
    for position in range(200):
        quarantine.add(bad(position))
    assert quarantine.count() == 200


def test_reasons_and_positions_are_known_of_all_not_only_of_the_examples() -> None:
    quarantine = Quarantine(5000, records=5000)
    quarantine.add_good()
    for position in range(3000):
        quarantine.add(bad(position, "missing" if position % 3 else "corrupt"))
    assert len(quarantine.bad) == 1000
    assert quarantine.reasons == {"missing": 2000, "corrupt": 1000}
    assert quarantine.positions.tolist() == list(range(3000))


def test_what_was_met_is_known_to_a_run_that_goes_on() -> None:
    quarantine = Quarantine(5000, records=5000)
    quarantine.add_good()
    for position in range(1500):
        quarantine.add(bad(position, "missing" if position % 3 else "corrupt"))
    quarantine.add_recovered(bad(4000, "recovered"))
    again = Quarantine(5000, records=5000)
    again.load_state_dict(json.loads(json.dumps(quarantine.state_dict())))
    assert again.reasons == quarantine.reasons
    assert again.positions.tolist() == quarantine.positions.tolist()
    assert again.bad == quarantine.bad
    assert again.count_recovered() == 1


def test_a_summary_is_logged_when_there_is_something_new(caplog: pytest.LogCaptureFixture) -> None:
    quarantine = Quarantine(10, records=100)
    quarantine.add_good()
    with caplog.at_level(logging.WARNING):
        quarantine.tell()
        quarantine.add(bad(1))
        quarantine.add(bad(2, "truncated"))
        quarantine.tell()
        quarantine.tell()
    assert [r.message for r in caplog.records if "so far" in r.message] == [
        "2 bad images so far: 1 missing, 1 truncated"
    ]


def manifest(labels: list[int]) -> Manifest:
    return Manifest.from_rows([f"{i}.jpg" for i in range(len(labels))], labels)


def test_a_replacement_is_another_of_the_same_class_first() -> None:
    table = manifest([0] * 20 + [1] * 20)
    tries = list(replacements(table, seed=1, epoch=2, position=25))
    assert tries
    assert 25 not in tries
    assert all(20 <= position < 40 for position in tries[:5])


def test_a_replacement_depends_on_seed_epoch_and_position_and_nothing_else() -> None:
    table = manifest([0, 1] * 50)
    first = list(replacements(table, seed=1, epoch=2, position=9))
    assert list(replacements(table, seed=1, epoch=2, position=9)) == first
    others = [
        list(replacements(table, seed=seed, epoch=epoch, position=position))
        for seed, epoch, position in [(2, 1, 9), (2, 2, 9), (1, 3, 9), (1, 2, 11)]
    ]
    assert all(other != first for other in others)


def test_a_class_of_one_image_is_replaced_by_any_other() -> None:
    table = manifest([0] * 10 + [1])
    tries = list(replacements(table, seed=1, epoch=0, position=10))
    assert tries
    assert all(position < 10 for position in tries)


def test_a_manifest_of_one_image_has_no_replacement() -> None:
    assert list(replacements(manifest([0]), seed=1, epoch=0, position=0)) == []
