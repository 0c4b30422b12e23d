"""What more or fewer threads are worth inside `fit`.

    KERAS_BACKEND=jax python benchmarks/thread_count.py [MANIFEST IMAGES] [--rounds 7]

Epochs of `fit` in turns, each fed by the same loader but for its threads: as many as cores (the
default), one, and 64. The model is the small CNN of `infeed train`, which computes on the same
cores: from a size where reading is the limit to one where the model is.
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

from infeed import ImageDataset, Loader, Manifest, Recipe, Sampler
from infeed.demo import draw_set
from infeed.stream import usable_cores
from infeed.trainers.keras.models import make_model

BATCH = 64


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
    """Prints images a second of each way, and its ratio to the default."""
    model = make_model(
        "small", input_shape=(size, size, 3), num_classes=table.num_classes, learning_rate=1e-3
    )
    ways = {f"{count}": count for count in (usable_cores(), 1, 64)}
    default = next(iter(ways))
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            speed = epoch(model, table, size, ways[name])
            if number:
                speeds[name].append(speed)
    for name, values in speeds.items():
        ratios = [value / own for value, own in zip(values, speeds[default], strict=True)]
        print(
            f"{size}x{size}, threads: {name}: {statistics.median(values):,.0f} images/s, "
            f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
            flush=True,
        )


def epoch(model: Any, table: Manifest, size: int, threads: int) -> float:
    """Images a second of an epoch of `fit`."""
    sampler = Sampler(batch_size=BATCH, remainder="drop")
    loader = Loader(table, Recipe(height=size, width=size), sampler, threads=threads, max_bad=1.0)
    with ImageDataset(loader) as data:
        start = time.perf_counter()
        model.fit(data, epochs=1, verbose=0)
        return len(data) * BATCH / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
