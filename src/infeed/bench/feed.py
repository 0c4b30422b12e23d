"""Measures a loader: images a second for each epoch, and where the time went."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np

from infeed.bench.limit import decoder_limit
from infeed.cache import Counts
from infeed.errors import BadImageError
from infeed.loader import Loader
from infeed.sample import Scratch, decode_into
from infeed.stream import usable_cores

# Enough pictures for a steady figure, few enough to hold their files in memory.
LIMIT_IMAGES = 1000
LIMIT_RUNS = 3

EpochSource = Literal["decoded", "cache", "both"]


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One epoch.

    Attributes:
        epoch: its number, from 0.
        images: images delivered.
        seconds: wall time.
        images_per_second: their ratio.
        source: `decoded`: from the image files; `cache`: all that can be kept came from the
            cache; `both`.
        stages: thread seconds spent in each stage.
    """

    epoch: int
    images: int
    seconds: float
    images_per_second: float
    source: EpochSource
    stages: dict[str, float]


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What a loader reached.

    Attributes:
        epochs: each epoch.
        limit_images_per_second: what bare processes reach: see `decoder_limit`.
        ratio: the speed of the median epoch that was decoded over the limit; None where none was.
        cached_images_per_second: of the median epoch that came from the cache; None where none did.
        threads: threads of the loader; the limit has as many processes, but no more than cores.
        bad_images: different images that could not be had.
    """

    epochs: tuple[EpochResult, ...]
    limit_images_per_second: float
    ratio: float | None
    cached_images_per_second: float | None
    threads: int
    bad_images: int

    @property
    def limit_processes(self) -> int:
        """How many bare processes the limit was measured with."""
        return min(self.threads, usable_cores())


def bench(
    loader: Loader,
    *,
    epochs: int,
    report: Callable[[int, int, int, float], None] = lambda epoch, step, steps, rate: None,
) -> BenchResult:
    """Reads whole epochs as fast as they come, and measures the decoder's limit around them.

    The machine's speed drifts, so limit and epochs alternate, and medians are compared.

    Args:
        loader: what to measure; its images must be in a local folder.
        epochs: how many, from 1.
        report: told (epoch, step, steps, images a second so far) after each batch.
    """
    paths = _good_paths(loader)
    if not paths:
        # Raises what is wrong with the first image, or too many bad ones.
        loader.batch(0, 0)
    results, limits = [], []
    for epoch in range(epochs):
        if epoch < LIMIT_RUNS:
            limits.append(_limit(loader, paths))
        results.append(_epoch(loader, epoch, report))
    limit = statistics.median(limits)
    decoded = _median_speed(results, "decoded")
    return BenchResult(
        epochs=tuple(results),
        limit_images_per_second=limit,
        ratio=None if decoded is None else decoded / limit,
        cached_images_per_second=_median_speed(results, "cache"),
        threads=loader.threads,
        bad_images=loader.quarantine.count(),
    )


def _median_speed(results: Sequence[EpochResult], source: EpochSource) -> float | None:
    speeds = [result.images_per_second for result in results if result.source == source]
    return statistics.median(speeds) if speeds else None


def _limit(loader: Loader, paths: list[str]) -> float:
    recipe = loader.recipe
    return decoder_limit(
        paths,
        height=recipe.height,
        width=recipe.width,
        # More than cores do no more, and each takes memory and open files.
        processes=min(loader.threads, usable_cores()),
        reduced=recipe.decode == "fast",
    )


def _good_paths(loader: Loader) -> list[str]:
    """Files, evenly over the manifest, that decode: what the limit is taken over."""
    manifest, folder = loader.manifest, loader.manifest.images or ""
    scratch, row = Scratch(), np.empty(loader.recipe.shape, np.uint8)
    paths: list[str] = []
    n = len(manifest)
    count = min(n, LIMIT_IMAGES)
    for position in (index * n // count for index in range(count)):
        uri = manifest.uri(position)
        try:
            decode_into(loader.storage.read(uri), loader.recipe, row, scratch)
        except BadImageError:
            continue
        paths.append(os.path.join(folder, uri))  # noqa: PTH118 - bytes that are no text survive
    return paths


def _epoch(
    loader: Loader, epoch: int, report: Callable[[int, int, int, float], None]
) -> EpochResult:
    before, counts = loader.meter.read(), loader.cache_counts
    steps, images, replaced = loader.steps(epoch), 0, 0
    start = perf_counter()
    with loader.epoch(epoch) as batches:
        for step, batch in enumerate(batches, 1):
            images += len(batch)
            replaced += int((batch.sources != batch.positions).sum())
            report(epoch, step, steps, images / (perf_counter() - start))
    seconds = perf_counter() - start
    spent = loader.meter.read() - before
    return EpochResult(
        epoch=epoch,
        images=images,
        seconds=seconds,
        images_per_second=images / seconds,
        source=_source(
            loader.cache_counts - counts,
            replaced=replaced,
            recovered=len(loader.quarantine.recovered),
        ),
        stages=spent.seconds,
    )


def _source(counts: Counts, *, replaced: int, recovered: int) -> EpochSource:
    """Where the images of an epoch came from; bad ones and what replaced them do not count."""
    if counts.hits <= replaced:
        return "decoded"
    return (
        "both"
        if counts.stored + counts.stored_by_others + counts.not_stored + recovered
        else "cache"
    )
