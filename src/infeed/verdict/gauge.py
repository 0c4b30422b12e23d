"""What is counted of a loader between two moments."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import final

from infeed.cache import Counts
from infeed.cache.space import free_memory, room_on_disk
from infeed.loader import Loader
from infeed.read import StampedStorage
from infeed.stream.cores import usable_cores
from infeed.stream.meter import Reading
from infeed.verdict.facts import CacheFacts, Facts
from infeed.verdict.judge import MOST_THREADS


@final
@dataclass(frozen=True, slots=True)
class Mark:
    """What a loader's counters show at one moment.

    Attributes:
        seconds: of `time.perf_counter`.
        cpu_seconds: processor's time of the whole process.
        free_cpu_seconds: what all cores together had left over since the machine started; None:
            the system does not tell.
        reading: the meter.
        counts: the cache.
    """

    seconds: float
    cpu_seconds: float
    free_cpu_seconds: float | None
    reading: Reading
    counts: Counts


def mark(loader: Loader) -> Mark:
    """The counters of a loader now."""
    return Mark(
        time.perf_counter(),
        time.process_time(),
        free_cpu_seconds(),
        loader.meter.read(),
        loader.cache_counts,
    )


def facts_between(
    begin: Mark, end: Mark, loader: Loader, *, stall_seconds: float, steps: int, images: int
) -> Facts:
    """What happened from one moment to another.

    Args:
        stall_seconds: what of it training stood still for want of a batch; may be a little more
            than the time itself, by the error of two clocks.
        steps: batches trained meanwhile.
        images: images trained meanwhile.
    """
    seconds = max(0.0, end.seconds - begin.seconds)
    free: float | None = None
    if begin.free_cpu_seconds is not None and end.free_cpu_seconds is not None:
        free = max(0.0, end.free_cpu_seconds - begin.free_cpu_seconds)
    spent, recipe = end.reading - begin.reading, loader.recipe
    return Facts(
        seconds=seconds,
        stall_seconds=min(max(0.0, stall_seconds), seconds),
        steps=steps,
        images=images,
        made=spent.images,
        stage_seconds=spent.seconds,
        busy_seconds=spent.busy_seconds,
        # A difference of sums of floats: of nothing, it may be a little less than that.
        idle_seconds=max(0.0, spent.idle_seconds),
        input_cpu_seconds=spent.cpu_seconds,
        cpu_seconds=end.cpu_seconds - begin.cpu_seconds,
        threads=loader.threads,
        tasks=_tasks(loader),
        cores=usable_cores(),
        free_cpu_seconds=free,
        decoded=spent.decoded,
        source_bytes=spent.source_bytes,
        source_pixels=spent.source_pixels,
        least_pixels=spent.least_pixels,
        image_pixels=recipe.height * recipe.width,
        image_bytes=recipe.height * recipe.width * recipe.channels,
        dtype=loader.dtype,
        is_exact=recipe.decode == "exact",
        set_images=len(loader.manifest),
        cache=_cache(loader, end.counts - begin.counts),
        can_skip_reads=_can_skip_reads(loader),
        disk_bytes=_room(Path.cwd() if loader.cache is None else loader.cache.folder),
        memory_bytes=free_memory(),
    )


def _tasks(loader: Loader) -> int:
    """As many threads as would have something to do at once."""
    return max((n for n in range(1, MOST_THREADS + 1) if loader.tasks(n) >= n), default=1)


def free_cpu_seconds(*, proc: Path = Path("/proc")) -> float | None:
    """Seconds in which cores had nothing to do, or waited for disks, since the machine started.

    None where the system does not tell.

    Args:
        proc: where the process file system is; another folder in tests.
    """
    try:
        with (proc / "stat").open(encoding="ascii") as file:
            fields = file.readline().split()
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _cache(loader: Loader, counts: Counts) -> CacheFacts | None:
    if loader.cache is None or loader.cache_choice is None:
        return None
    complaints = loader.cache_complaints
    return CacheFacts(
        encoding=loader.cache_choice.encoding,
        hits=counts.hits,
        misses=counts.misses,
        not_stored=counts.not_stored,
        is_closed=bool({"limit", "stop"} & complaints.keys()),
        limit_bytes=loader.cache.max_bytes if "limit" in complaints else None,
    )


def _can_skip_reads(loader: Loader) -> bool:
    """Whether a cache knows an image without reading it."""
    if not isinstance(loader.storage, StampedStorage):
        return False
    return loader.cache is None or loader.cache.identity == "stat"


def _room(folder: Path) -> int | None:
    try:
        return room_on_disk(next(each for each in (folder, *folder.parents) if each.is_dir()))
    except (OSError, StopIteration):
        return None
