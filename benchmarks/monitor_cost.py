"""What `InputMonitor` costs a step, on the back end that KERAS_BACKEND names.

    KERAS_BACKEND=jax|tensorflow|torch python benchmarks/monitor_cost.py

`fit` with it against `fit` without, alternating, on steps that do next to nothing; and the time
that its two methods of a step take by themselves, with a delivery to count between them.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import cv2
import keras
import numpy as np

from infeed import ImageDataset, InputMonitor, Loader, Manifest, MemoryStorage, Recipe, Sampler

STEPS, ROUNDS, CALLS = 1000, 9, 20_000


class Clock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Seconds of the second epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.begin = self.seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self.begin


def main() -> None:
    picture = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    names = [f"{number}.png" for number in range(STEPS)]
    loader = Loader(
        Manifest.from_rows(names, [0] * STEPS),
        Recipe(height=8, width=8),
        Sampler(batch_size=1),
        storage=MemoryStorage(dict.fromkeys(names, picture)),
    )
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), dtype="uint8"),
            keras.layers.Rescaling(1.0),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    with ImageDataset(loader) as dataset:
        step_of(model, dataset, [])
        pairs = [
            (
                step_of(model, dataset, [InputMonitor(verbose=0)]),
                step_of(model, dataset, []),
            )
            for _ in range(ROUNDS)
        ]
        with_it, without = (statistics.median(each) for each in zip(*pairs, strict=True))
        more = statistics.median(a - b for a, b in pairs)
        print(
            f"{keras.backend.backend()}: {1e6 * with_it:.0f} µs a step with the monitor, "
            f"{1e6 * without:.0f} without; median difference {1e6 * more:+.1f} µs"
        )
        print(f"its own methods: {1e6 * calls_of(model, dataset):.1f} µs a step")


def step_of(model: Any, dataset: ImageDataset, callbacks: list[Any]) -> float:
    """Seconds a step."""
    clock = Clock()
    model.fit(dataset, epochs=2, verbose=0, callbacks=[*callbacks, clock])
    return clock.seconds / STEPS


def calls_of(model: Any, dataset: ImageDataset) -> float:
    """Seconds that the methods of a step take."""
    monitor = InputMonitor(dataset, verbose=0)
    monitor.set_model(model)
    monitor.set_params({"steps": CALLS, "epochs": 2})
    monitor.on_train_begin()
    monitor.on_epoch_begin(0)
    logs: dict[str, float] = {}
    spent = 0.0
    for step in range(CALLS):
        now = time.perf_counter()
        monitor.on_train_batch_begin(step)
        spent += time.perf_counter() - now
        dataset.deliveries.add(now, now)
        now = time.perf_counter()
        monitor.on_train_batch_end(step, logs)
        spent += time.perf_counter() - now
    return spent / CALLS


if __name__ == "__main__":
    main()
