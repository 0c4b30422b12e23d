"""Later epochs, from the cache, against a plain copy of the same batches in memory.

    python benchmarks/cached_epochs.py [--images 4000] [--rounds 9] [--size 224] [--batch 64]

Draws noise-free pictures, fills a cache in one epoch, and then alternates whole epochs in true
random order: the loader, which takes every image from files in the page cache and checks it; and
one thread that copies the same images in the same order, row by row, from one array in memory
into batches that are used in turn, as many as the loader has under way. With float32 the copy
goes through one fused multiply besides. Speeds inside `fit` are those of a model that does
nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import cv2
import numpy as np

from infeed import Loader, Manifest, Recipe, Sampler
from infeed.stream import aligned_empty

SCALE = 1 / 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work [the temporary folder]")
    parser.add_argument("--no-fit", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        images = Path(scratch) / "images"
        draw(images, arguments.images, arguments.size)
        for dtype in ("uint8", "float32"):
            compare(arguments, images, Path(scratch) / "cache", dtype)


def draw(folder: Path, count: int, size: int) -> None:
    """Small JPEGs that all differ, a minute old as far as their times say."""
    folder.mkdir()
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 8, 8, 3), np.uint8)
    for number in range(count):
        image = cv2.resize(coarse[number], (size, size), interpolation=cv2.INTER_CUBIC)
        path = folder / f"{number:06}.jpg"
        path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
        os.utime(path, (time.time() - 60,) * 2)


def compare(arguments: argparse.Namespace, images: Path, cache: Path, dtype: Any) -> None:
    size, batch = arguments.size, arguments.batch
    manifest = Manifest.from_folders(images, labelled=False)
    loader = Loader(
        manifest,
        Recipe(height=size, width=size),
        Sampler(batch_size=batch, remainder="drop"),
        cache=cache,
        dtype=dtype,
        scale=SCALE if dtype == "float32" else None,
        threads=arguments.threads,
    )
    ways: dict[str, Callable[[int], float]] = {
        "infeed": lambda epoch: read_epoch(loader, epoch),
        "memory": Memory(loader, dtype).copy_epoch,
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(arguments.rounds):
        for name, way in ways.items():
            seconds = way(epoch)
            speeds[name].append(loader.steps() * batch / seconds)
    counts = loader.cache_counts
    assert counts.damaged == 0
    print(
        f"{dtype}, {len(manifest)} images of {size}x{size}, batch {batch}, {arguments.threads} "
        f"threads, {arguments.rounds} rounds; cache: {counts}"
    )
    for name, values in speeds.items():
        print(f"  {name:>8}: median {statistics.median(values):,.0f} images/s")
    ratios = [a / b for a, b in zip(speeds["infeed"], speeds["memory"], strict=True)]
    print(
        f"  infeed / memory: median of the rounds {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )
    if not arguments.no_fit:
        print(f"  in fit: {fit_speed(loader):,.0f} images/s")
    loader.close()


def read_epoch(loader: Loader, epoch: int) -> float:
    start = time.perf_counter()
    with loader.epoch(epoch) as batches:
        for _ in batches:
            pass
    return time.perf_counter() - start


class Memory:
    """The set as one array, and batches that are copied out of it."""

    def __init__(self, loader: Loader, dtype: str) -> None:
        n = len(loader.manifest)
        self.loader = loader
        self.images = np.empty((n, *loader.recipe.shape), np.uint8)
        plain = Loader(
            loader.manifest,
            loader.recipe,
            Sampler(batch_size=loader.sampler.batch_size, sampling="sequential"),
            cache=loader.cache,
        )
        with plain.epoch(0) as batches:  # fills the cache, too
            for batch in batches:
                self.images[batch.positions] = batch.images
        plain.close()
        shape = (loader.sampler.batch_size, *loader.recipe.shape)
        self.batches = [aligned_empty(shape, dtype) for _ in range(loader.depth + 1)]
        self.row = aligned_empty(shape, np.uint8)
        self.is_float = dtype == "float32"

    def copy_epoch(self, epoch: int) -> float:
        plans = [
            self.loader.sampler.plan(len(self.images), epoch, number).positions
            for number in range(self.loader.steps())
        ]
        start = time.perf_counter()
        for positions, batch in zip(plans, itertools.cycle(self.batches), strict=False):
            rows = self.row if self.is_float else batch
            for row, position in enumerate(positions.tolist()):
                np.copyto(rows[row], self.images[position])
            if self.is_float:
                np.multiply(rows, np.float32(SCALE), out=batch, dtype=np.float32)
        return time.perf_counter() - start


def fit_speed(loader: Loader) -> float:
    """Images a second in `fit`, from the first batch's end on, with a model of one pixel."""
    import keras

    from infeed import ImageDataset

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            super().__init__()
            self.ends: list[float] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.ends.append(time.perf_counter())

    image = keras.Input(loader.recipe.shape, dtype=loader.dtype)
    pixel = keras.layers.Dense(1)(keras.ops.cast(image[:, 0, 0], "float32"))
    model = keras.Model(image, pixel)
    model.add_loss(keras.ops.mean(pixel)) if hasattr(model, "add_loss") else None
    clock = Clock()
    with ImageDataset(loader) as dataset:
        model.compile("sgd", loss=None)
        model.fit(dataset, epochs=5, verbose=0, callbacks=[clock])
    batches = len(clock.ends) - 1
    return batches * loader.sampler.batch_size / (clock.ends[-1] - clock.ends[0])


if __name__ == "__main__":
    main()
