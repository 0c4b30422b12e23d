"""Epochs of `fit` fed by a warm cache against the same fed from arrays in memory.

    KERAS_BACKEND=jax python benchmarks/fit_from_cache.py [--size 64] [--images 4096] [--rounds 7]

The small CNN of `infeed train`; shuffled, whole batches, the same images and steps either way. An
epoch is a `fit` of its own, in turns; the first of each, which compiles, is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

from infeed import Cache, ImageDataset, Loader, Manifest, Recipe, Sampler
from infeed.demo import draw_set
from infeed.trainers.keras.models import make_model

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dtype", choices=["uint8", "float32"], default="uint8")
    arguments = parser.parse_args()
    size = arguments.size
    with tempfile.TemporaryDirectory() as scratch:
        leaves = draw_set(Path(scratch) / "leaves", train=512, validation=20, size=size * 2)
        for picture in leaves.train_images.rglob("*"):
            os.utime(picture, (1.7e9, 1.7e9))  # what has changed just now is not kept
        table = Manifest.from_json(leaves.train_manifest, images=leaves.train_images)
        table = table.subset(np.resize(np.arange(len(table)), arguments.images))
        loader = Loader(
            table,
            Recipe(height=size, width=size),
            Sampler(batch_size=BATCH, remainder="drop"),
            cache=Cache(Path(scratch) / "cache", encoding="raw"),
            dtype=arguments.dtype,
        )
        with loader.epoch(0) as batches:
            parts = [(batch.images.copy(), batch.labels) for batch in batches]
        images = np.concatenate([part[0] for part in parts])
        labels = np.concatenate([part[1] for part in parts])
        model = make_model(
            "small", input_shape=(size, size, 3), num_classes=table.num_classes, learning_rate=1e-3
        )
        with ImageDataset(loader) as dataset:
            compare(model, dataset, images, labels, arguments.rounds)


def compare(
    model: Any, dataset: ImageDataset, images: np.ndarray, labels: np.ndarray, rounds: int
) -> None:
    """Prints both epoch times and their ratio."""
    cache: list[float] = []
    arrays: list[float] = []
    counts = dataset.loader.cache_counts
    for number in range(rounds + 1):
        ways: list[tuple[list[float], Callable[[], Any]]] = [
            (cache, lambda: model.fit(dataset, epochs=1, verbose=0)),
            (arrays, lambda: model.fit(images, labels, batch_size=BATCH, epochs=1, verbose=0)),
        ]
        # Who comes first takes turns, too.
        for seconds, fit in ways if number % 2 else ways[::-1]:
            start = time.perf_counter()
            fit()
            if number:
                seconds.append(time.perf_counter() - start)
    used = dataset.loader.cache_counts - counts
    ratios = [one / other for one, other in zip(cache, arrays, strict=True)]
    print(
        f"{keras.backend.backend()}, {images.dtype} {images.shape[1]}x{images.shape[2]}, "
        f"{len(images):,} images: warm cache {statistics.median(cache):.2f} s an epoch, arrays "
        f"{statistics.median(arrays):.2f} s; median of the ratios {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}); {used.hits:,} hits, {used.misses:,} misses"
    )


if __name__ == "__main__":
    main()
