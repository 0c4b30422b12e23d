"""Epochs of a loader with a cache, every row of which is checked; alone, it is a second process.

    python fill_program.py IMAGES CACHE [--epochs N] [--name value ...]

Prints `begun` when the first epoch begins, and at the end a `Report` as JSON. The images must
bear no harm meanwhile: what is right is found out before, by a loader without a cache.
"""

from __future__ import annotations

import argparse
import faulthandler
import fcntl
import functools
import itertools
import json
import logging
import os
import resource
import signal
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from infeed import Batch, Cache, Loader, Manifest, Recipe, Sampler
from infeed.batch_work import Tool
from infeed.cache import decode_jpeg_into, encode_jpeg
from infeed.sample import to_float32

# A hang is a failure, with all stacks.
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Job:
    """A set, the form of its images, and where they are kept.

    Attributes:
        images: a folder of them.
        cache: the folder.
        threads: that make batches; 0: the calling thread does.
        batch_size: rows.
    """

    images: Path
    cache: Path
    size: int = 16
    color: str = "rgb"
    encoding: str = "raw"
    dtype: str = "uint8"
    limit: int | None = None
    threads: int = 0
    batch_size: int = 8

    def recipe(self) -> Recipe:
        return Recipe(self.size, self.size, color_mode=self.color)

    def loader(self, *, is_cached: bool = True) -> Loader:
        cache = Cache(self.cache, encoding=self.encoding, limit=self.limit)
        return Loader(
            Manifest.from_rows(names_in(self.images), images=self.images),
            self.recipe(),
            Sampler(7, batch_size=self.batch_size),
            cache=cache if is_cached else None,
            dtype=self.dtype,
            scale=1 / 255 if self.dtype == "float32" else None,
            threads=max(1, self.threads),
            max_bad=0,
        )

    def right(self) -> list[int]:
        """The checksum of each record's pixels, as they are without a cache.

        Pixels that are kept as JPEG go through it whether they come from the cache or not.
        """
        loader, recipe = replace(self, dtype="uint8").loader(is_cached=False), self.recipe()
        sums = [0] * len(loader.manifest)
        for batch in batches(loader, 0, is_threaded=False):
            for position, image in zip(batch.positions.tolist(), batch.images, strict=True):
                if self.encoding == "jpeg":
                    once = np.empty_like(image)
                    decode_jpeg_into(encode_jpeg(image, recipe), recipe, once)
                    image = once
                if self.dtype == "float32":
                    pixels = np.empty(image.shape, np.float32)
                    to_float32(image, 1 / 255, pixels)
                    image = pixels
                sums[position] = zlib.crc32(image)
        return sums


@dataclass
class Report:
    """What came out.

    Attributes:
        images: of the set.
        wrong: rows that were not what they should be.
        hits: of each epoch.
        counts: of the cache.
        warnings: in order.
    """

    images: int
    wrong: int = 0
    hits: list[int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether the last epoch decoded nothing."""
        return self.hits[-1] == self.images


@functools.cache
def names_in(folder: Path) -> tuple[str, ...]:
    """The names in a folder, looked at once."""
    return tuple(sorted(path.name for path in folder.iterdir()))


def batches(loader: Loader, epoch: int, *, is_threaded: bool) -> Iterator[Batch]:
    """Those of one epoch; made by threads, or in this one, whose system calls strace can count."""
    if not is_threaded:
        tool = Tool(loader._stages)
        for work in loader._works(epoch, 0, 0, endless=False):
            for part in range(work.parts):
                work.make(part, tool)
            yield work.result()
        return
    with loader.epoch(epoch) as stream:
        yield from stream


def wrong_rows(batch: Batch, right: list[int]) -> int:
    """How many rows of a batch are not the pixels of their records."""
    return sum(
        zlib.crc32(image) != right[position]
        for position, image in zip(batch.positions.tolist(), batch.images, strict=True)
    )


@contextmanager
def warnings_of_infeed() -> Iterator[list[str]]:
    """Collects what infeed logs."""
    said: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    collector = Collector(logging.WARNING)
    logging.getLogger("infeed").addHandler(collector)
    try:
        yield said
    finally:
        logging.getLogger("infeed").removeHandler(collector)


def run(job: Job, right: list[int], epochs: Iterable[int] = (0, 1)) -> Report:
    """Some epochs of a loader of its own."""
    report = Report(len(right))
    with warnings_of_infeed() as report.warnings, closing(job.loader()) as loader:
        for epoch in epochs:
            before = loader.cache_counts
            for batch in batches(loader, epoch, is_threaded=job.threads > 0):
                report.wrong += wrong_rows(batch, right)
            report.hits.append((loader.cache_counts - before).hits)
        report.counts = asdict(loader.cache_counts)
    return report


def stop_at_lock(kind: int, number: int) -> None:
    """Lets this process stop itself when it has got, or given back, its `number`-th lock.

    Args:
        kind: `fcntl.LOCK_EX` or `fcntl.LOCK_UN`.
        number: from 1.
    """
    numbers, flock = itertools.count(1), fcntl.flock

    def lock_and_stop(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        if operation & kind and next(numbers) == number:
            # To this very thread: sent to the process, it may go on for a moment.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    fcntl.flock = lock_and_stop


def run_with_child(job: Job, right: list[int]) -> tuple[Report, Report]:
    """A run that is forked while the cache is open and half filled: parent's and child's."""
    with closing(job.loader()) as loader, warnings_of_infeed() as said:
        steps = loader.steps(0)
        wrong = sum(wrong_rows(loader.batch(0, n), right) for n in range(steps // 2))
        segments = list(job.cache.glob("*/*.seg"))
        assert segments
        assert all(map(is_locked, segments))
        before = [path.read_bytes() for path in segments]
        reader, writer = os.pipe()
        child = os.fork()
        of_child = None
        if child:
            os.close(writer)
            with open(reader) as pipe:
                of_child = Report(**json.loads(pipe.read()))
            assert os.waitpid(child, 0)[1] == 0
            assert [path.read_bytes() for path in segments] == before
            assert all(map(is_locked, segments))
        report = Report(len(right), wrong)
        for epoch in (0, 1):
            counts = loader.cache_counts
            for number in range(steps):
                report.wrong += wrong_rows(loader.batch(epoch, number), right)
            report.hits.append((loader.cache_counts - counts).hits)
        report.warnings = list(said)
        if of_child is None:
            loader.close()
            os.write(writer, json.dumps(asdict(report)).encode())
            os._exit(0)
        return report, of_child


def is_locked(path: Path) -> bool:
    """Whether a process has the lock of a file."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def main() -> dict[str, Any]:
    faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--encoding", default="raw")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--largest-file", type=int, help="in bytes, as by `ulimit -f`")
    parser.add_argument("--user", type=int, help="whose rights the run has, if we are root")
    parser.add_argument("--stop-at-lock", type=int)
    parser.add_argument("--stop-at-unlock", type=int)
    parser.add_argument("--fork", action="store_true")
    options = parser.parse_args()
    job = Job(
        options.images,
        options.cache,
        size=options.size,
        encoding=options.encoding,
        threads=options.threads,
        limit=options.limit,
    )
    right = job.right()
    job.loader()  # which imports what another user may not
    if options.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.largest_file, options.largest_file))
    if options.user is not None and os.getuid() == 0:
        os.setgroups([])
        os.setgid(options.user)
        os.setuid(options.user)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    if options.stop_at_lock:
        stop_at_lock(fcntl.LOCK_EX, options.stop_at_lock)
    if options.stop_at_unlock:
        stop_at_lock(fcntl.LOCK_UN, options.stop_at_unlock)
    if options.fork:
        parent, child = run_with_child(job, right)
        return {"parent": asdict(parent), "child": asdict(child)}
    return asdict(run(job, right, range(options.epochs)))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
