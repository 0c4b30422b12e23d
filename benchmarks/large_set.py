"""Epochs of a set whose pixels are more than memory holds, kept as raw and as jpeg.

    python benchmarks/large_set.py FOLDER SOURCE_IMAGES [--images 196434] [--epochs 3]

Makes the set in FOLDER once and takes it again in later runs: JPEGs of 224 to 300 pixels a side,
cut at random out of the photos in SOURCE_IMAGES. For each encoding a process of its own fills an
empty cache in its first epoch and reads it in the others, in true random order; without a cache
it decodes once for comparison. Before each of the first two epochs what memory holds of sources and
cache is given up, so that the second comes from the disk; later ones find what the last has left.
Needs 35 GB of disk with the defaults: a cache is removed before the next one is filled.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import simplejpeg

from infeed import Cache, Loader, Manifest, Recipe, Sampler
from infeed.cache.space import bytes_used, format_bytes, free_memory

IMAGES: Final = 196_434  # of the set that asked for this
SIDES: Final = (224, 300)
QUALITIES: Final = (85, 90)
MARKER: Final = "made.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("source", type=Path, metavar="SOURCE_IMAGES")
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--encodings", nargs="+", choices=["none", "raw", "jpeg"], default=["none", "raw", "jpeg"]
    )
    arguments = parser.parse_args()
    images = arguments.folder / f"images-{arguments.images}"
    make_set(images, arguments.source, arguments.images)
    spawn = multiprocessing.get_context("spawn")
    for encoding in arguments.encodings:
        process = spawn.Process(target=run, args=(arguments, images, encoding))
        process.start()
        process.join()
        shutil.rmtree(cache_folder(arguments), ignore_errors=True)
        if process.exitcode:
            raise SystemExit(f"{encoding} failed with {process.exitcode}")


def make_set(folder: Path, source: Path, count: int) -> None:
    """Distinct small JPEGs, a minute old as far as their times say; found or made."""
    if (folder / MARKER).exists():
        return
    start = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    photos = sorted(source.glob("*.jpg"))
    if not photos:
        raise SystemExit(f"{source} holds no .jpg files")
    cut = partial(cut_images, folder, photos, count)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        size = sum(pool.map(cut, range(len(photos))))
    (folder / MARKER).write_text(json.dumps({"images": count, "bytes": size}), "utf-8")
    seconds = time.perf_counter() - start
    print(f"made {count:,} images, {format_bytes(size)}, in {seconds:.0f} s", flush=True)


def cut_images(folder: Path, photos: list[Path], count: int, first: int) -> int:
    """Writes each image that is cut out of one photo; gives their bytes.

    Args:
        folder: where they go.
        photos: all of them; image i is cut out of photo i modulo their number.
        count: of the set.
        first: the photo.
    """
    photo = simplejpeg.decode_jpeg(photos[first].read_bytes(), "RGB")
    total = 0
    past = time.time() - 60
    for number in range(first, count, len(photos)):
        random = np.random.default_rng((0, number))
        longest = min(*photo.shape[:2], SIDES[1])
        side = int(random.integers(min(SIDES[0], longest), longest + 1))
        top, left = (int(random.integers(0, length - side + 1)) for length in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        if random.integers(2):
            crop = crop[:, ::-1]
        data = simplejpeg.encode_jpeg(
            np.ascontiguousarray(crop), quality=int(random.integers(QUALITIES[0], QUALITIES[1] + 1))
        )
        path = folder / f"{number:06}.jpg"
        path.write_bytes(data)
        os.utime(path, (past, past))
        total += len(data)
    return total


def cache_folder(arguments: argparse.Namespace) -> Path:
    folder: Path = arguments.folder / "cache"
    return folder


def run(arguments: argparse.Namespace, images: Path, encoding: Any) -> None:
    """The epochs of one encoding, in a process of its own."""
    size, batch = arguments.size, arguments.batch
    folder = cache_folder(arguments)
    shutil.rmtree(folder, ignore_errors=True)
    manifest = Manifest.from_folders(images, labelled=False)
    loader = Loader(
        manifest,
        Recipe(height=size, width=size),
        Sampler(batch_size=batch),
        cache=None if encoding == "none" else Cache(folder, encoding=encoding),
        threads=arguments.threads,
        max_bad=0,
    )
    memory = free_memory()
    print(
        f"{encoding}: {len(manifest):,} images of {size}x{size}, "
        f"{format_bytes(len(manifest) * size * size * 3)} raw; batch {batch}, "
        f"{arguments.threads} threads; {format_bytes(memory or 0)} of memory free",
        flush=True,
    )
    for epoch in range(1 if encoding == "none" else arguments.epochs):
        if epoch < 2:
            give_up_memory(images, folder)
        before, disk, begin = loader.cache_counts, bytes_from_disk(), os.times()
        start = time.perf_counter()
        count, peak = 0, 0
        with loader.epoch(epoch) as batches:
            for each in batches:
                count += len(each)
                if each.number % 16 == 0:
                    peak = max(peak, anonymous_bytes())
        seconds = time.perf_counter() - start
        end = os.times()
        counts = loader.cache_counts - before
        print(
            f"  epoch {epoch}: {count / seconds:,.0f} images/s, {seconds:.1f} s (processor "
            f"{end.user - begin.user:.1f} user, {end.system - begin.system:.1f} system), "
            f"{format_bytes(bytes_from_disk() - disk)} read from disk, anonymous memory at most "
            f"{format_bytes(peak)}; {counts}",
            flush=True,
        )
    loader.close()
    if encoding != "none":
        print(f"  cache: {format_bytes(bytes_used(folder))}", flush=True)


def give_up_memory(*folders: Path) -> None:
    """Writes everything to disk, and has the kernel forget what the folders' files hold."""
    os.sync()
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


def bytes_from_disk() -> int:
    """Bytes that this process has had read from disks so far."""
    lines = Path("/proc/self/io").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def anonymous_bytes() -> int:
    """RssAnon: private memory, without the page cache."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
