"""Later epochs, from the cache, against plain copies of the same batches in memory.

    python benchmarks/cached_epochs.py [--images 4000] [--rounds 9] [--size 224] [--batch 64]

Draws noise-free pictures, fills a raw cache in one epoch, and then alternates whole epochs in
true random order, all of the same batches:

- infeed: the loader, which takes every image from files in the page cache and checks it;
- memcpy: one thread that copies row by row from one array in memory into batches that are used in
  turn, as many as the loader has under way; with float32 the copy goes through one fused multiply
  besides;
- calls (with uint8): threads without a loader between them that do nothing but the three calls that
  an image cannot do without: lstat of its source, preadv of its pixels, their checksum;
- fresh: what a program does that has the set in memory and hands out arrays that their reader may
  keep, `images[positions]`, with float32 multiplied into another fresh array.

Speeds inside `fit` are those of a model that looks at one pixel, on JAX; on the CPU JAX queues
steps together with their batches unless it is told not to, as here.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("KERAS_BACKEND", "jax")

import cv2
import numpy as np

from infeed import Cache, Loader, Manifest, Recipe, Sampler
from infeed.cache import checksum
from infeed.stream import aligned_empty

SCALE: Final = 1 / 256
FITS: Final = 3
FIT_EPOCHS: Final = 5


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
    names = sorted(path.name for path in images.iterdir())
    manifest = Manifest.from_rows(names, [0] * len(names), images=images)
    loader = Loader(
        manifest,
        Recipe(height=size, width=size),
        Sampler(batch_size=batch, remainder="drop"),
        cache=Cache(cache, encoding="raw"),
        dtype=dtype,
        scale=SCALE if dtype == "float32" else None,
        threads=arguments.threads,
    )
    memory = Memory(loader, dtype)
    ways: dict[str, Callable[[int], float]] = {
        "infeed": lambda epoch: read_epoch(loader, epoch),
        "memcpy": memory.copy_epoch,
        "fresh": memory.take_epoch,
    }
    if dtype == "uint8":
        calls = Calls(memory, images, cache.with_name("pixels"), arguments.threads)
        ways["calls"] = calls.epoch
    read_epoch(loader, 0)  # finds the entries
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    turns = list(ways)
    for epoch in range(arguments.rounds):
        for name in turns:
            speeds[name].append(loader.steps() * batch / ways[name](epoch))
        turns.append(turns.pop(0))
    check_hits(loader, (arguments.rounds + 1) * loader.steps() * batch)
    print(
        f"{dtype}, {len(manifest)} images of {size}x{size}, batch {batch}, {arguments.threads} "
        f"threads, {arguments.rounds} rounds"
    )
    for name, values in speeds.items():
        print(f"  {name:>7}: median {statistics.median(values):,.0f} images/s")
    pairs = [("infeed", "memcpy"), ("infeed", "fresh")]
    if dtype == "uint8":
        pairs.append(("calls", "memcpy"))
        calls.close()
    for way, other in pairs:
        ratios = [a / b for a, b in zip(speeds[way], speeds[other], strict=True)]
        print(
            f"  {way} / {other}: median of the rounds {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    if not arguments.no_fit:
        fits = fit_speeds(loader)
        print(
            f"  in fit: median of {FITS} {statistics.median(fits):,.0f} images/s "
            f"({min(fits):,.0f} to {max(fits):,.0f})",
            flush=True,
        )
    loader.close()


def check_hits(loader: Loader, images: int) -> None:
    """Stops the program where less than all images came from the cache."""
    counts = loader.cache_counts
    if counts.misses or counts.damaged or counts.hits < images:
        raise SystemExit(f"{images} images were to come from the cache, it is {counts}")


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
            max_bad=0,
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
        plans = self.plans(epoch)
        start = time.perf_counter()
        for positions, batch in zip(plans, itertools.cycle(self.batches), strict=False):
            rows = self.row if self.is_float else batch
            for row, position in enumerate(positions.tolist()):
                np.copyto(rows[row], self.images[position])
            if self.is_float:
                np.multiply(rows, np.float32(SCALE), out=batch, dtype=np.float32)
        return time.perf_counter() - start

    def take_epoch(self, epoch: int) -> float:
        plans = self.plans(epoch)
        start = time.perf_counter()
        for positions in plans:
            batch = self.images[positions]
            if self.is_float:
                batch = np.multiply(batch, np.float32(SCALE), dtype=np.float32)
        return time.perf_counter() - start

    def plans(self, epoch: int) -> list[np.ndarray]:
        """The records of each batch."""
        return [
            self.loader.sampler.plan(len(self.images), epoch, number).positions
            for number in range(self.loader.steps())
        ]


class Calls:
    """The same epochs by bare system calls, from one file that holds all pixels."""

    def __init__(self, memory: Memory, images: Path, file: Path, threads: int) -> None:
        self.memory = memory
        self.sources = [bytes(path) for path in sorted(images.iterdir())]
        self.size = memory.images[0].nbytes
        memory.images.tofile(file)
        self.descriptor = os.open(file, os.O_RDONLY)
        self.threads = threads
        self.checksums = [checksum(image) for image in memory.images]

    def epoch(self, epoch: int) -> float:
        plans = self.memory.plans(epoch)
        workers = [
            threading.Thread(
                target=self.read,
                args=(plans[number :: self.threads], self.memory.batches[number :: self.threads]),
            )
            for number in range(self.threads)
        ]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - start

    def read(self, plans: list[np.ndarray], batches: list[np.ndarray]) -> None:
        for plan, batch in zip(plans, itertools.cycle(batches), strict=False):
            positions = plan.tolist()
            for position in positions:
                os.lstat(self.sources[position])
            for row, position in enumerate(positions):
                os.preadv(self.descriptor, [batch[row]], position * self.size)
                if checksum(batch[row]) != self.checksums[position]:
                    raise SystemExit(f"image {position} is not what was written")

    def close(self) -> None:
        os.close(self.descriptor)


def fit_speeds(loader: Loader) -> list[float]:
    """Images a second in each `fit`, from its first batch's end on."""
    import keras

    from infeed import ImageDataset

    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_cpu_enable_async_dispatch", False)

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            super().__init__()
            self.ends: list[float] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.ends.append(time.perf_counter())

    image = keras.Input(loader.recipe.shape, dtype=loader.dtype)
    pixel = keras.layers.Dense(1)(keras.ops.cast(image[:, 0, 0], "float32"))
    model = keras.Model(image, pixel)
    model.compile(keras.optimizers.SGD(1e-6), loss="mse")
    speeds = []
    for _ in range(FITS):
        clock = Clock()
        before = loader.cache_counts.hits
        with ImageDataset(loader) as dataset:
            model.fit(dataset, epochs=FIT_EPOCHS, verbose=0, callbacks=[clock])
        images = FIT_EPOCHS * loader.steps() * loader.sampler.batch_size
        check_hits(loader, before + images)
        batches = len(clock.ends) - 1
        seconds = clock.ends[-1] - clock.ends[0]
        speeds.append(batches * loader.sampler.batch_size / seconds)
    return speeds


if __name__ == "__main__":
    main()
