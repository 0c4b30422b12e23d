"""What infeed itself costs an image, outside the codecs.

    python benchmarks/own_cost.py [MANIFEST IMAGES ...] [--rounds 11] [--size 224] [--batch 64]

For each set of photos, processor time (user and system, all threads) of an image, alternating:

- bare: one thread without a loader does the same calls on the same files in the same order: opens
  and reads them, decodes them at the same reduced size into a buffer that is used again, and
  resizes them into rows of batches that are used in turn, as many as the loader has;
- 1 thread, all threads: an epoch of a `Loader`.

A loader's time beyond the bare one is its own, and what threads lose by sharing a processor's
caches. Counted in the process, so that other programs move it little.

And the time with the interpreter's lock held, which is the ceiling on a host with many cores: an
epoch whose codec calls return ready arrays at once and whose files lie in a dict. What the
processor then does for an image is Python and the calls that it makes, all of it under the lock
but for taking it (`stub`, one thread); with real files, of 1 KB, its part in the system is outside
of the lock (`stub, files`). What that makes possible with 64 threads shows `engine_ceiling.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

import cv2
import numpy as np
import simplejpeg

from infeed import Loader, Manifest, MemoryStorage, Recipe, Sampler
from infeed.demo import draw_set
from infeed.sample.fit import reduction, shrinks
from infeed.sample.header import read_header
from infeed.stream import aligned_empty, usable_cores

EPOCH_SECONDS: Final = 4.0
STUB_IMAGES: Final = 20_000
# No pixel is made, so its memory is kept out of what is measured.
STUB_RECIPE: Final = Recipe(height=8, width=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sets", type=Path, nargs="*", metavar="MANIFEST IMAGES")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--only", choices=["photos", "stub"])
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    if arguments.only in (None, "photos"):
        with tempfile.TemporaryDirectory() as scratch:
            sets = list(zip(arguments.sets[::2], arguments.sets[1::2], strict=True))
            if not sets:
                leaves = draw_set(Path(scratch) / "leaves", train=1000, validation=20, size=448)
                sets = [(leaves.train_manifest, leaves.train_images)]
            for manifest, images in sets:
                of_photos(arguments, manifest, images)
    if arguments.only in (None, "stub"):
        of_a_stub(arguments)


def of_photos(arguments: argparse.Namespace, path: Path, images: Path) -> None:
    manifest = Manifest.open(path, images=images, labelled=False, duplicates="keep")
    recipe = Recipe(height=arguments.size, width=arguments.size)
    sampler = Sampler(batch_size=arguments.batch)
    cores = usable_cores()
    files = len(manifest)
    once = spent_by(Bare(manifest, recipe, sampler).epoch, 0).cpu
    # What an epoch costs at its beginning, such as fresh memory, would be much of a short one.
    manifest = manifest.subset(np.tile(np.arange(files), max(1, round(EPOCH_SECONDS / once))))
    bare = Bare(manifest, recipe, sampler)
    ways: dict[str, Callable[[int], Spent]] = {"bare": partial(spent_by, bare.epoch)}
    for threads in sorted({1, cores}):
        # No bad image is borne: each would cost a second one.
        loader = Loader(manifest, recipe, sampler, threads=threads, max_bad=0)
        ways[f"{threads} threads"] = partial(spent_by, partial(read_epoch, loader))
    rows = alternate(ways, arguments.rounds)
    n = len(manifest)
    mean = statistics.mean(Path(path).stat().st_size for path in bare.paths)
    print(
        f"{path.stem}: {files} files of {mean / 1000:.0f} KB, epochs of {n} images, "
        f"{arguments.size}x{arguments.size}, batch {arguments.batch}, "
        f"{arguments.rounds} rounds; microseconds of the processor an image"
    )
    for name, values in rows.items():
        own = [1e6 * (a.cpu - b.cpu) / n for a, b in zip(values, rows["bare"], strict=True)]
        share = [(a.cpu - b.cpu) / b.cpu for a, b in zip(values, rows["bare"], strict=True)]
        whole = 1e6 * statistics.median(each.cpu for each in values) / n
        system = 1e6 * statistics.median(each.system for each in values) / n
        speed = n / statistics.median(each.wall for each in values)
        faults = statistics.median(each.faults for each in values) / n
        text = (
            f"  {name:>10}: {whole:9.1f}, {system:6.1f} of it in the system, {faults:.1f} page "
            f"faults; {speed:6,.0f} images/s"
        )
        if name != "bare":
            text += (
                f"; beyond bare {statistics.median(own):6.1f} us ({min(own):.1f} to {max(own):.1f})"
                f", {statistics.median(share):.1%} ({min(share):.1%} to {max(share):.1%})"
            )
        print(text, flush=True)


def of_a_stub(arguments: argparse.Namespace) -> None:
    """One thread, with codecs that take no time, from a dict and from files."""
    report_stub(stub_loader(arguments, STUB_IMAGES, threads=1), "stub")
    with tempfile.TemporaryDirectory() as scratch:
        names = [f"{number:07}.jpg" for number in range(STUB_IMAGES)]
        for name in names:
            (Path(scratch) / name).write_bytes(stub_picture())
        manifest = Manifest.from_rows(names, [0] * len(names), images=scratch)
        sampler = Sampler(batch_size=arguments.batch)
        report_stub(Loader(manifest, STUB_RECIPE, sampler, threads=1), "stub, files")


def report_stub(loader: Loader, name: str) -> None:
    with codecs_that_do_nothing():
        read_epoch(loader, 0)
        spent = [spent_by(partial(read_epoch, loader), n) for n in range(5)]
    own = [1e6 * each.cpu / STUB_IMAGES for each in spent]
    system = 1e6 * statistics.median(each.system for each in spent) / STUB_IMAGES
    print(
        f"{name}: {statistics.median(own):.1f} us of the processor an image ({min(own):.1f} to "
        f"{max(own):.1f}), {system:.1f} of it in the system, with codecs that take no time"
    )


def stub_picture() -> bytes:
    picture = np.full((256, 256, 3), 127, np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def stub_loader(arguments: argparse.Namespace, count: int, *, threads: int) -> Loader:
    """Of files that are one photo under many names, in memory."""
    names = [f"folder/{number:07}.jpg" for number in range(count)]
    return Loader(
        Manifest.from_rows(names, [0] * count),
        STUB_RECIPE,
        Sampler(batch_size=arguments.batch),
        storage=MemoryStorage(dict.fromkeys(names, stub_picture())),
        threads=threads,
    )


def codecs_that_do_nothing() -> contextlib.ExitStack:
    """Within the block, decoding returns a ready array, and resizing does nothing."""
    ready = np.zeros((32, 32, 3), np.uint8)

    def decode_jpeg(*_: object, **__: object) -> np.ndarray:
        return ready

    def resize(image: np.ndarray, size: object, *, dst: np.ndarray, interpolation: int) -> Any:
        return dst

    blocks = contextlib.ExitStack()
    blocks.enter_context(mock.patch.object(simplejpeg, "decode_jpeg", decode_jpeg))
    blocks.enter_context(mock.patch.object(cv2, "resize", resize))
    return blocks


class Bare:
    """The calls of an epoch without a loader, in one thread."""

    def __init__(self, manifest: Manifest, recipe: Recipe, sampler: Sampler) -> None:
        self.manifest, self.recipe, self.sampler = manifest, recipe, sampler
        folder = manifest.images or ""
        self.paths = [
            os.path.join(folder, manifest.uri(position))  # noqa: PTH118 - bytes that are no text
            for position in range(len(manifest))
        ]
        # Known beforehand: the loader's own look at the header is its own cost.
        self.sides = []
        for path in self.paths:
            header = read_header(Path(path).read_bytes())
            if header.format != "jpeg" or header.orientation != 1:
                raise SystemExit(f"{path} is no upright JPEG: other files are not compared here")
            factor = reduction(header.height, header.width, recipe)
            coarse = shrinks(header.height, header.width, recipe)
            self.sides.append((-(-header.height // factor), -(-header.width // factor), coarse))
        self.buffer = np.empty(max(h * w for h, w, _ in self.sides) * 3, np.uint8)
        shape = (sampler.batch_size, *recipe.shape)
        self.batches = [aligned_empty(shape, np.uint8) for _ in range(4)]

    def epoch(self, epoch: int) -> None:
        n, size = len(self.manifest), (self.recipe.width, self.recipe.height)
        steps = self.sampler.steps(n, epoch)
        plans = [self.sampler.plan(n, epoch, number).positions.tolist() for number in range(steps)]
        for positions, batch in zip(plans, itertools.cycle(self.batches), strict=False):
            for row, position in enumerate(positions):
                descriptor = os.open(self.paths[position], os.O_RDONLY)
                data = os.read(descriptor, os.fstat(descriptor).st_size)
                os.close(descriptor)
                height, width, coarse = self.sides[position]
                image = simplejpeg.decode_jpeg(
                    data,
                    "RGB",
                    fastupsample=coarse,
                    min_height=height,
                    min_width=width,
                    buffer=self.buffer,
                )
                cv2.resize(image, size, dst=batch[row], interpolation=cv2.INTER_LINEAR)


def read_epoch(loader: Loader, epoch: int) -> None:
    with loader.epoch(epoch) as batches:
        for _ in batches:
            pass


class Spent:
    """Seconds of the processor, of it in the system, and of the clock; pages that were faulted."""

    def __init__(self, cpu: float, system: float, wall: float, faults: int) -> None:
        self.cpu, self.system, self.wall, self.faults = cpu, system, wall, faults


def spent_by(work: Callable[[int], None], epoch: int) -> Spent:
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work(epoch)
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - start
    system = after.ru_stime - before.ru_stime
    user = after.ru_utime - before.ru_utime
    return Spent(user + system, system, wall, after.ru_minflt - before.ru_minflt)


def alternate(ways: dict[str, Callable[[int], Spent]], rounds: int) -> dict[str, list[Spent]]:
    """What each way has spent in each round; each begins a round in its turn."""
    rows: dict[str, list[Spent]] = {name: [] for name in ways}
    for way in ways.values():
        way(0)
    turns = list(ways)
    for number in range(rounds):
        for name in turns:
            rows[name].append(ways[name](number + 1))
        turns.append(turns.pop(0))
    return rows


if __name__ == "__main__":
    main()
