"""What it costs to hand a finished batch to Keras, on the back end that KERAS_BACKEND names.

    KERAS_BACKEND=jax|tensorflow|torch python benchmarks/handover.py

`model.evaluate` of a model that looks at one pixel of each image, over batches of
64x224x224x3 uint8 that are ready in the loader's window, against the same over one array that
is always the same, given to Keras in the same way; alternating, medians of the runs. A run's
time goes from the end of its first batch to the end of its last, so that compiling and the
looks at the shapes are not in it. What Keras itself needs for a step is in both.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import cv2
import keras
import numpy as np

from infeed import ImageDataset, Loader, Manifest, MemoryStorage, Recipe, Sampler
from infeed.stream import aligned_empty

SIZE, BATCH, STEPS, ROUNDS = 224, 64, 24, 15


class Clock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Seconds a batch, from the end of the first one on."""

    def __init__(self) -> None:
        super().__init__()
        self.begin = self.seconds = 0.0

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self.begin = time.perf_counter()

    def on_test_end(self, logs: Any = None) -> None:
        self.seconds = (time.perf_counter() - self.begin) / (STEPS - 1)


class OneArray(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """The same batch again and again."""

    def __init__(self, batch: tuple[np.ndarray, np.ndarray]) -> None:
        super().__init__()
        self.batch = batch

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.batch


def main() -> None:
    images = aligned_empty((BATCH, SIZE, SIZE, 3), np.uint8)
    images.fill(127)
    batch = images, np.zeros(BATCH, np.int32)
    backend = keras.backend.backend()
    ways: dict[str, tuple[Callable[[ImageDataset], Any], Any]] = {
        "ImageDataset": (lambda dataset: dataset, OneArray(batch))
    }
    if backend == "tensorflow":
        import tensorflow as tf

        # The arrays are constants of the graph: nothing is handed over at all.
        constant = tf.data.Dataset.from_tensors(batch).repeat(STEPS).prefetch(2)
        ways["as_tf_dataset()"] = (ImageDataset.as_tf_dataset, constant)
    if backend == "torch":
        import torch

        tensors = tuple(torch.from_numpy(array) for array in batch)
        ready = torch.utils.data.DataLoader([tensors] * STEPS, batch_size=None)
        ways["as_torch_loader()"] = (ImageDataset.as_torch_loader, ready)
    model = one_pixel_model()
    loader = ready_loader()
    print(f"{backend}: ms a batch of {BATCH}x{SIZE}x{SIZE}x3 uint8, median of {ROUNDS} runs")
    for name, (way, theirs) in ways.items():
        ours = partial(evaluate_ready, model, loader, way)
        evaluate(model, theirs), ours()  # compiled, and warm
        pairs = [(ours(), evaluate(model, theirs)) for _ in range(ROUNDS)]
        mine, memory = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"  {name}: {mine:.2f}, from memory {memory:.2f}, ratio {ratio:.2f}")


def evaluate(model: Any, data: Any) -> float:
    """Seconds a batch."""
    clock = Clock()
    model.evaluate(data, callbacks=[clock], verbose=0)
    return clock.seconds


def evaluate_ready(model: Any, loader: Loader, way: Callable[[ImageDataset], Any]) -> float:
    """Seconds a batch, of batches that are all made before they are asked for."""
    with ImageDataset(loader) as dataset:
        before = loader.meter.read().images
        # What is begun and not read from stays ready for whoever comes.
        dataset.on_epoch_begin()
        dataset.on_epoch_end()
        while loader.meter.read().images - before < STEPS * BATCH:
            time.sleep(0.01)
        return evaluate(model, way(dataset))


def ready_loader() -> Loader:
    """One small picture under many names, and a window that holds a whole epoch."""
    picture = cv2.imencode(".jpg", np.full((SIZE, SIZE, 3), 127, np.uint8))[1].tobytes()
    names = [f"{number}.jpg" for number in range(STEPS * BATCH)]
    return Loader(
        Manifest.from_rows(names, [0] * len(names)),
        Recipe(height=SIZE, width=SIZE),
        # Of a sequential set nothing is made ahead of the epoch: no thread works meanwhile.
        Sampler(batch_size=BATCH, sampling="sequential"),
        storage=MemoryStorage(dict.fromkeys(names, picture)),
        depth=STEPS,
    )


def one_pixel_model() -> Any:
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    pixel = keras.ops.cast(image[:, 0, 0, :1], "float32")
    model = keras.Model(image, pixel)
    model.compile(loss="mse", jit_compile=False)
    return model


if __name__ == "__main__":
    main()
