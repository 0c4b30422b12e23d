"""What it is worth that no more threads work than the window wants, inside `fit`.

    KERAS_BACKEND=jax python benchmarks/thread_count.py [MANIFEST IMAGES] [--rounds 7]

Epochs of `fit` in turns, each fed by the same loader but for its threads: one; as many as cores,
all at work whenever there is a place in the window; and as many as the window wants; the same with
64 threads. The model is the small CNN of `infeed train`, which computes on the same cores: from a
size where reading is the limit to one where the model is.
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
from unittest import mock

os.environ.setdefault("KERAS_BACKEND", "jax")

import infeed.stream.crew
from infeed import ImageDataset, Loader, Manifest, Recipe, Sampler
from infeed.demo import draw_set
from infeed.stream import usable_cores
from infeed.trainers.keras.models import make_model

BATCH = 64

WANTED = infeed.stream.crew.threads_wanted


def always(limit: int, depth: int, ready: int) -> int:
    """All threads, whenever there is a place."""
    return limit if ready < depth else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        manifest, images = arguments.manifest, arguments.images
        if manifest is None:
            leaves = draw_set(Path(scratch) / "leaves", train=1000, validation=20, size=448)
            manifest, images = leaves.train_manifest, leaves.train_images
        table = Manifest.from_json(manifest, images=images)
        for size in arguments.sizes:
            compare(table, size, arguments.rounds)


def compare(table: Manifest, size: int, rounds: int) -> None:
    """Prints images a second of each way, and its ratio to the one that infeed takes."""
    model = make_model(
        "small", input_shape=(size, size, 3), num_classes=table.num_classes, learning_rate=1e-3
    )
    cores = usable_cores()
    ways: dict[str, tuple[int, Callable[[int, int, int], int]]] = {
        "as the window wants": (cores, WANTED),
        "one": (1, WANTED),
        f"all {cores}": (cores, always),
        "64 as the window wants": (64, WANTED),
        "all 64": (64, always),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            threads, rule = ways[name]
            speed = epoch(model, table, size, threads, rule)
            if number:
                speeds[name].append(speed)
    for name, values in speeds.items():
        ratios = [
            value / own for value, own in zip(values, speeds["as the window wants"], strict=True)
        ]
        print(
            f"{size}x{size}, threads: {name}: {statistics.median(values):,.0f} images/s, "
            f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
            flush=True,
        )


def epoch(
    model: Any,
    table: Manifest,
    size: int,
    threads: int,
    rule: Callable[[int, int, int], int],
) -> float:
    """Images a second of an epoch of `fit`."""
    sampler = Sampler(batch_size=BATCH, remainder="drop")
    loader = Loader(table, Recipe(height=size, width=size), sampler, threads=threads, max_bad=1.0)
    with (
        mock.patch.object(infeed.stream.crew, "threads_wanted", rule),
        ImageDataset(loader) as data,
    ):
        start = time.perf_counter()
        model.fit(data, epochs=1, verbose=0)
        return len(data) * BATCH / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
