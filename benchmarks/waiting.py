"""How long `fit` waits for data, on JAX.

    python benchmarks/waiting.py [MANIFEST IMAGES]

`fit` with a step that takes three times as long per image as the loader needs: the share of
the training time in which the training loop waited for data. The step sleeps, as the host does
while an accelerator computes; a step that computes on the CPU would take the decoder's cores.
The same with the small CNN of `infeed train`, which does compute on the CPU.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np

from infeed import ImageDataset, InputMonitor, Loader, Manifest, Recipe, Sampler
from infeed.demo import draw_set
from infeed.trainers.keras.models import make_model

SIZE, BATCH = 224, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("images", type=Path, nargs="?")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        manifest, images = arguments.manifest, arguments.images
        if manifest is None:
            leaves = draw_set(Path(scratch) / "leaves", train=1000, validation=20, size=448)
            manifest, images = leaves.train_manifest, leaves.train_images
        table = Manifest.from_json(manifest, images=images)
        waiting(table)


def loader_of(table: Manifest) -> Loader:
    # Whole batches only: a last short one would be compiled in the middle of the measurement.
    sampler = Sampler(batch_size=BATCH, remainder="drop")
    return Loader(table, Recipe(height=SIZE, width=SIZE), sampler)


def waiting(table: Manifest) -> None:
    """The share of time in which `fit` waits for batches."""
    loader = loader_of(table)
    start = time.perf_counter()
    with loader.epoch(0) as batches:
        count = sum(len(batch) for batch in batches)
    seconds_per_image = (time.perf_counter() - start) / count
    model = sleeping_model(3 * BATCH * seconds_per_image)
    fit_and_tell(model, loader, f"a step of {3 * BATCH * seconds_per_image:.3f} s that sleeps")
    small = make_model(
        "small", input_shape=(SIZE, SIZE, 3), num_classes=table.num_classes, learning_rate=1e-3
    )
    fit_and_tell(small, loader, "the small CNN, computed on the same cores")


def fit_and_tell(model: Any, loader: Loader, name: str) -> None:
    with ImageDataset(loader) as dataset:
        monitor = InputMonitor(dataset, verbose=0)
        model.fit(dataset, epochs=3, verbose=0, callbacks=[monitor])
    print(
        f"waiting for data in fit, {name}: {monitor.total.wait_fraction:.2%} of "
        f"{monitor.total.seconds:.1f} s, {monitor.total.images_per_second:,.0f} images/s. "
        f"{monitor.verdict}"
    )


def sleeping_model(seconds: float) -> Any:
    """A model whose step takes `seconds` and no processor."""

    class Sleeping(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        def call(self, x: Any) -> Any:
            x = keras.ops.cast(x[:, ::32, ::32], "float32")

            def sleep(value: np.ndarray) -> np.ndarray:
                time.sleep(seconds)
                return np.asarray(value)

            return jax.pure_callback(sleep, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

        def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
            return (shape[0], -(-SIZE // 32), -(-SIZE // 32), 3)

    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3), dtype="uint8"),
            Sleeping(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(100),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss=loss)
    return model


if __name__ == "__main__":
    main()
