"""From the call of `fit` to the first batch of 200,000 rows, and the gaps that a training may feel.

    KERAS_BACKEND=jax python benchmarks/first_batch.py [--rows 200000] [--rounds 5]

Drawn leaves, each named many times over. The first figure is the time from calling `fit` to the
first batch in Keras' hands, in a process that has trained before (imports and the first compilation
are Keras' own). Then, with steps that take longer than their batches: how long Keras waits for the
first batch of a later epoch, for the first one after a validation, and for any other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

from infeed import ImageDataset, Loader, Manifest, Recipe, Sampler
from infeed.demo import draw_set

SIZE, BATCH, STEPS, EPOCHS = 224, 64, 12, 4
STEP_SECONDS = 0.15


class Watched(ImageDataset):
    """A data set that notes when batches were asked for, and when they came."""

    def __init__(self, loader: Loader) -> None:
        super().__init__(loader)
        self.asked: list[float] = []
        self.came: list[float] = []

    def __getitem__(self, index: int) -> Any:
        asked = time.perf_counter()
        batch = super().__getitem__(index)
        self.asked.append(asked)
        self.came.append(time.perf_counter())
        return batch

    @property
    def waits(self) -> list[float]:
        return [came - asked for asked, came in zip(self.asked, self.came, strict=True)]


class SlowSteps(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Makes each step take its time, without the processor."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        time.sleep(STEP_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        leaves = draw_set(Path(scratch) / "leaves", train=1000, validation=200, size=448)
        table = Manifest.from_json(leaves.train_manifest, images=leaves.train_images)
        validation = Manifest.from_json(leaves.validation_manifest, images=leaves.validation_images)
        large = table.subset(np.resize(np.arange(len(table)), arguments.rows))
        model = one_pixel(table.num_classes)
        train(model, watched(table), 1, None)
        firsts = []
        for seed in range(arguments.rounds):
            dataset = watched(large, seed=seed)
            start = time.perf_counter()
            train(model, dataset, 1, None, steps=STEPS)
            firsts.append(dataset.came[0] - start)
        print(
            f"{keras.backend.backend()}, {len(large):,} rows: the first batch "
            f"{statistics.median(firsts):.3f} s after fit was called "
            f"({min(firsts):.3f} to {max(firsts):.3f})"
        )
        gaps(model, table.subset(np.arange(STEPS * BATCH)), validation)


def gaps(model: Any, table: Manifest, validation: Manifest) -> None:
    """Prints how long Keras waits at the edges of epochs."""
    for held_out in (None, watched(validation, shuffle=False)):
        dataset = watched(table)
        train(model, dataset, EPOCHS, held_out, [SlowSteps()])
        # What Keras takes before the first epoch, to learn the shapes, does not count.
        waits = dataset.waits[-EPOCHS * STEPS :]
        firsts = waits[STEPS::STEPS]
        others = [wait for number, wait in enumerate(waits) if number % STEPS]
        print(
            f"waits with {'validation' if held_out else 'no validation'}: first batch of epochs 2 "
            f"to {EPOCHS} {max(firsts) * 1e3:.1f} ms at most, any other median "
            f"{statistics.median(others) * 1e3:.2f} ms, at most {max(others) * 1e3:.1f} ms"
        )
        if held_out is not None:
            held_out.close()


def watched(table: Manifest, *, seed: int = 0, shuffle: bool = True) -> Watched:
    sampler = Sampler(
        seed=seed,
        batch_size=BATCH,
        remainder="drop",
        sampling="shuffle" if shuffle else "sequential",
    )
    return Watched(Loader(table, Recipe(height=SIZE, width=SIZE), sampler, max_bad=1.0))


def train(
    model: Any,
    dataset: Watched,
    epochs: int,
    held_out: Any,
    callbacks: list[Any] | None = None,
    steps: int | None = None,
) -> None:
    with dataset:
        model.fit(
            dataset,
            epochs=epochs,
            steps_per_epoch=steps,
            validation_data=held_out,
            callbacks=callbacks,
            verbose=0,
        )


def one_pixel(classes: int) -> Any:
    """A model that looks at next to nothing."""
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3), dtype="uint8"),
            keras.layers.Lambda(lambda x: keras.ops.cast(x[:, ::64, ::64], "float32")),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss=loss)
    return model


if __name__ == "__main__":
    main()
