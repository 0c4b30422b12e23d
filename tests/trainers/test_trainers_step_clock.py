"""`StepClock` and `MemoryDataset`: steps of `fit`, and batches in memory, on any back end."""

from __future__ import annotations

import numpy as np
import pytest

from infeed.trainers.keras.framework import keras
from infeed.trainers.keras.step_clock import MemoryDataset, StepClock


def model():
    image = keras.Input((4, 4, 3), dtype="uint8")
    pixels = keras.ops.cast(image, "float32")
    made = keras.Model(image, keras.layers.Dense(1)(keras.layers.Flatten()(pixels)))
    made.compile("sgd", loss="mse")
    return made


def batches(count):
    return [
        (np.full((2, 4, 4, 3), number, np.uint8), np.zeros((2, 1), np.float32))
        for number in range(count)
    ]


def test_every_step_of_every_epoch_has_an_end_and_a_mark():
    counter = iter(range(100))
    ticks = []
    clock = StepClock(tick=lambda: ticks.append(0), mark=lambda: float(next(counter)))
    model().fit(
        MemoryDataset(batches(2), steps=3), epochs=2, verbose=0, shuffle=False, callbacks=[clock]
    )
    assert len(clock.ends) == len(clock.marks) == len(ticks) == 6
    assert clock.marked == 5
    assert clock.seconds == max(clock.ends) - min(clock.ends)


def test_batches_in_memory_come_in_turn():
    dataset = MemoryDataset(batches(2), steps=5)
    assert len(dataset) == 5
    assert [int(dataset[n][0][0, 0, 0, 0]) for n in range(5)] == [0, 1, 0, 1, 0]


def test_a_tick_may_end_the_training():
    def end():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model().fit(MemoryDataset(batches(1), steps=3), verbose=0, callbacks=[StepClock(tick=end)])
