"""The first epoch with a cache that fills against the same epoch without one.

    python benchmarks/cache_filling.py [MANIFEST IMAGES] [--rounds 5] [--images 4000]

Without a manifest it draws a set of leaves of about 30 KB each. A small set is copied several
times over under other names, up to `--images`, since a file that is named twice would come from
the cache. In each round, in turns: an epoch without a cache, one that fills an empty cache with
raw images, and one that fills it with JPEGs. Between epochs, outside the timing, the cache is
removed and everything is written to disk.

A virtual machine may have given memory that nobody uses back to its host, and gets it again page
by page, at ten times the cost of writing to it. So memory for the cache is put ready before each
epoch, with and without a cache alike, and given to the kernel batch by batch; `--no-ready-memory`
lets the kernel find it.

Where other programs run on the same cores, the processor's time is the figure to believe.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infeed import Cache, Loader, Manifest, Recipe, Sampler
from infeed.demo import draw_set

WAYS: Final = ("without", "raw", "jpeg")
ZEROS: Final = bytes(1 << 20)
AHEAD: Final = 64 * 1024**2  # given before the first batch is made


@dataclass(frozen=True)
class Epoch:
    """One epoch: images a second, and what it cost in microseconds an image."""

    speed: float
    user: float
    system: float
    to_cache: float

    @property
    def processor(self) -> float:
        return self.user + self.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("images_folder", type=Path, nargs="?", metavar="IMAGES")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work [the temporary folder]")
    parser.add_argument("--no-ready-memory", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        manifest, images = arguments.manifest, arguments.images_folder
        if manifest is None:
            leaves = draw_set(Path(scratch) / "leaves", train=1000, validation=20, size=448)
            # The one that is cut off would not be kept.
            (leaves.train_images / leaves.truncated).write_bytes(
                (leaves.train_images / leaves.duplicate[0]).read_bytes()
            )
            manifest, images = leaves.train_manifest, leaves.train_images
        table = Manifest.from_json(manifest, images=images)
        copies = Path(scratch) / "copies"
        copy_images(table, images, copies, arguments.images)
        compare(arguments, copies, Path(scratch))


def copy_images(table: Manifest, images: Path, folder: Path, count: int) -> None:
    """Copies under names of their own, a minute old as far as their times say."""
    folder.mkdir()
    past = time.time() - 60
    for number in range(count):
        source = images / table.uri(number % len(table))
        path = folder / f"{number:06}{source.suffix}"
        shutil.copyfile(source, path)
        os.utime(path, (past, past))


def compare(arguments: argparse.Namespace, images: Path, scratch: Path) -> None:
    cache = scratch / "cache"
    epochs: dict[str, list[Epoch]] = {way: [] for way in WAYS}
    first_epoch(arguments, images, cache, "without", 0)  # brings the files into memory
    for number in range(arguments.rounds):
        for turn in range(len(WAYS)):
            way = WAYS[(number + turn) % len(WAYS)]
            os.sync()
            epochs[way].append(first_epoch(arguments, images, cache, way, number))
            shutil.rmtree(cache, ignore_errors=True)
        print(
            f"round {number}: "
            + ", ".join(f"{way} {values[-1].speed:,.0f}" for way, values in epochs.items()),
            flush=True,
        )
    size = arguments.size
    print(
        f"{arguments.images} images, {size}x{size}, batch {arguments.batch}, "
        f"{arguments.threads} threads; medians of {arguments.rounds} rounds"
    )
    for way, values in epochs.items():
        medians = {
            name: statistics.median(getattr(each, name) for each in values)
            for name in ("speed", "user", "system", "to_cache")
        }
        print(
            f"  {way:>7}: {medians['speed']:,.0f} images/s; an image takes the processor "
            f"{medians['user']:.0f} µs and {medians['system']:.0f} µs in the system; "
            f"{medians['to_cache']:.0f} µs to the cache"
        )
    for way in WAYS[1:]:
        pairs = list(zip(epochs[way], epochs["without"], strict=True))
        for what, ratios in (
            ("images/s", [a.speed / b.speed for a, b in pairs]),
            ("processor time", [a.processor / b.processor for a, b in pairs]),
        ):
            print(
                f"  {way} / without, {what}: median of the rounds {statistics.median(ratios):.3f} "
                f"({min(ratios):.3f} to {max(ratios):.3f})"
            )


def first_epoch(
    arguments: argparse.Namespace, images: Path, cache: Path, way: Any, epoch: int
) -> Epoch:
    """One epoch of a loader that has just been made."""
    loader = Loader(
        Manifest.from_folders(images, labelled=False),
        Recipe(height=arguments.size, width=arguments.size),
        Sampler(batch_size=arguments.batch),
        cache=None if way == "without" else Cache(cache, encoding=way),
        threads=arguments.threads,
        max_bad=0,
    )
    pixels = arguments.size**2 * 3
    size = 0 if arguments.no_ready_memory else pixels * arguments.images
    memory = ReadyMemory(images.with_name("memory"), size)
    begin = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    count = 0
    with loader.epoch(epoch) as batches:
        for each in batches:
            memory.give(len(each) * pixels)
            count += len(each)
    loader.close()
    seconds = time.perf_counter() - start
    end = resource.getrusage(resource.RUSAGE_SELF)
    counts = loader.cache_counts
    if way != "without" and (counts.stored, counts.misses) != (count, count):
        raise SystemExit(f"{way}: {count} images were to be stored, it is {counts}")
    return Epoch(
        speed=count / seconds,
        user=(end.ru_utime - begin.ru_utime) / count * 1e6,
        system=(end.ru_stime - begin.ru_stime) / count * 1e6,
        to_cache=loader.meter.read().seconds["to_cache"] / count * 1e6,
    )


class ReadyMemory:
    """Memory that is there, to be given to the kernel, which takes the next pages from it.

    Args:
        path: of a file that is made, whose pages these are; it never gets to the disk.
        size: in bytes.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._file = path.open("wb", buffering=0)
        path.unlink()
        self._left = size + AHEAD if size else 0
        for _ in range(0, self._left, len(ZEROS)):
            self._file.write(ZEROS)
        self.give(AHEAD)

    def give(self, size: int) -> None:
        """Gives so many bytes away, until there are none."""
        self._left = max(0, self._left - size)
        self._file.truncate(self._left)


if __name__ == "__main__":
    main()
