"""`fit_steps`: steps fed from memory and by a loader."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from infeed import Loader, Manifest, MemoryStorage, Recipe, Sampler
from infeed.bench.fit_steps import FEWEST_STEPS, fit_steps
from infeed.trainers.keras.framework import keras

JPEG = cv2.imencode(".jpg", np.full((24, 32, 3), 90, np.uint8))[1].tobytes()


def loader_of(count, *, labels=True, **options):
    names = [f"{number}.jpg" for number in range(count)]
    return Loader(
        Manifest.from_rows(names, [n % 3 for n in range(count)] if labels else None),
        Recipe(height=8, width=8),
        Sampler(batch_size=4, remainder="drop"),
        storage=MemoryStorage(dict.fromkeys(names, JPEG)),
        threads=2,
        **options,
    )


def model():
    image = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.GlobalAveragePooling2D()(image)
    made = keras.Model(image, keras.layers.Dense(3, activation="softmax")(x), name="tiny")
    made.compile("sgd", loss="sparse_categorical_crossentropy")
    return made


@pytest.mark.parametrize("count", [4, 10, 400])
def test_both_ways_are_measured_whatever_the_length_of_an_epoch(count):
    result = fit_steps(loader_of(count), model(), runs=2, run_seconds=0.001)
    assert (result.model, result.runs) == ("tiny", 2)
    assert result.backend == keras.backend.backend()
    assert result.steps >= FEWEST_STEPS
    assert result.memory_step_ms > 0
    assert result.fed_images_per_second == pytest.approx(4000 / result.fed_step_ms)
    assert result.memory_images_per_second == pytest.approx(4000 / result.memory_step_ms)
    assert 0 <= result.wait_fraction <= 1


def test_each_way_is_told_in_turn():
    told = []
    fit_steps(loader_of(40), model(), runs=2, run_seconds=0.001, tell=told.append)
    assert list(dict.fromkeys(told)) == [
        "Compiling tiny",
        "Training tiny",
        *(f"Training tiny, {run}/2, {way}" for run in (1, 2) for way in ("from memory", "fed")),
    ]


def test_a_ctrl_c_while_it_is_fed_leaves_no_thread():
    def press(doing):
        if doing.endswith("fed"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_steps(loader_of(40), model(), runs=2, run_seconds=0.001, tell=press)
    assert not [each for each in threading.enumerate() if each.name.startswith("infeed-")]


def test_a_loader_without_labels_is_refused():
    with pytest.raises(ValueError, match="labels"):
        fit_steps(loader_of(8, labels=False), model())
