"""Measures a loader: images a second for each epoch, and where the time went."""

from __future__ import annotations

import itertools
import math
import os
import statistics
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numpy as np

from infeed.bench.copies import copy_limit
from infeed.bench.file_pages import give_up, share_in_memory
from infeed.bench.limit import decoder_limit
from infeed.bench.machine import Machine
from infeed.bench.result import (
    COLD_SHARE,
    BenchResult,
    EpochResult,
    EpochSource,
    median_speed,
    reader_time,
    thread_time,
)
from infeed.cache import Counts
from infeed.errors import BadImageError
from infeed.loader import Loader
from infeed.manifest.fingerprint import fingerprint
from infeed.sample import Scratch, decode_into
from infeed.stream import usable_cores

# Enough pictures for a steady figure, few enough to hold their files in memory; of large ones so
# many as one thread decodes in that time.
LIMIT_IMAGES = 1000
LIMIT_SECONDS = 5.0
LIMIT_RUNS = 10

# Pages that a core has only just taken up are not given up at once.
GIVING_UP = 3

Report = Callable[[int, int, int, float], None]


def bench(
    loader: Loader,
    *,
    epochs: int,
    cold: bool = False,
    report: Report = lambda epoch, step, steps, rate: None,
    tell: Callable[[str], None] = lambda doing: None,
) -> BenchResult:
    """Reads whole epochs as fast as they come, and measures the limits around them.

    The machine's speed drifts, so limits and epochs alternate, and medians are compared.

    Args:
        loader: what to measure; its images must be in a local folder.
        epochs: how many, from 1.
        cold: before every other epoch, from the first on, what memory holds of the images and of
            the cache is given up. Needs no rights; where it does not help, `cold_failure` says so.
        report: told (epoch, step, steps, images a second so far) after each batch.
        tell: told what is done outside epochs, in words, and told again as it goes on. May raise,
            to stop.
    """
    tell("Looking at the images")
    paths = _good_paths(loader, tell)
    if not paths:
        # Raises what is wrong with the first image, or too many bad ones.
        loader.batch(0, 0)
    results: list[EpochResult] = []
    limits: list[float] = []
    copies: list[float] = []
    failure = None
    for epoch in range(epochs):
        in_memory = share_in_memory(paths)
        was_cached = bool(results) and results[-1].source == "cache"
        if not limits or (len(limits) < LIMIT_RUNS and not was_cached):
            tell("Measuring the decoder alone")
            limits.append(_limit(loader, paths))
            in_memory = share_in_memory(paths)
        is_cold = cold and epoch % 2 == 0
        if is_cold:
            in_memory, failure = _give_up(loader, paths, tell)
        result = _epoch(loader, epoch, report, is_cold=is_cold, in_memory=in_memory)
        results.append(result)
        if result.source == "cache" and len(copies) < LIMIT_RUNS:
            tell("Measuring copies alone")
            copies.append(_copies(loader))
    return _result(loader, tuple(results), limits, copies, failure, paths)


def _result(
    loader: Loader,
    epochs: tuple[EpochResult, ...],
    limits: list[float],
    copies: list[float],
    cold_failure: str | None,
    paths: list[str],
) -> BenchResult:
    limit = statistics.median(limits)
    copied = statistics.median(copies) if copies else None
    decoded = median_speed(epochs, "decoded", is_cold=False)
    cached = median_speed(epochs, "cache", is_cold=False)
    return BenchResult(
        epochs=epochs,
        limit_images_per_second=limit,
        limit_runs=tuple(limits),
        ratio=None if decoded is None else decoded / limit,
        decoded_images_per_second=decoded,
        cached_images_per_second=cached,
        cold_decoded_images_per_second=median_speed(epochs, "decoded", is_cold=True),
        cold_cached_images_per_second=median_speed(epochs, "cache", is_cold=True),
        copy_images_per_second=copied,
        cached_ratio=None if cached is None or copied is None else cached / copied,
        cold_failure=cold_failure,
        threads=loader.threads,
        limit_processes=min(loader.threads, usable_cores()),
        bad_images=loader.quarantine.count(),
        settings=_settings(loader),
        set=_set(loader, paths),
        machine=Machine(),
    )


def _set(loader: Loader, paths: list[str]) -> dict[str, Any]:
    manifest = loader.manifest
    # The same again, whether or not labels are read with the names, and whichever time it takes.
    sizes = [os.stat(path).st_size for path in paths[:100]]  # noqa: PTH116 - as in `_path`
    return {
        "records": len(manifest),
        "fingerprint": fingerprint(manifest.arena, manifest.offsets, None, None, ()),
        "bytes_per_image": round(statistics.mean(sizes)),
    }


def _settings(loader: Loader) -> dict[str, Any]:
    choice = loader.cache_choice
    return {
        "recipe": loader.recipe.to_json(),
        "batch_size": loader.sampler.batch_size,
        "threads": loader.threads,
        "depth": loader.depth,
        "dtype": loader.dtype,
        "scale": loader.scale,
        "cache": None if choice is None else choice.encoding,
    }


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


def _copies(loader: Loader) -> float:
    return copy_limit(
        len(loader.manifest),
        shape=loader.recipe.shape,
        batch=loader.sampler.batch_size,
        # As many as the loader has out and under way.
        batches=loader.depth + 1,
        dtype=loader.dtype,
        scale=loader.scale,
    )


def _good_paths(loader: Loader, tell: Callable[[str], None]) -> list[str]:
    """Files, evenly over the manifest, that decode: what the limit is taken over."""
    manifest = loader.manifest
    scratch, row = Scratch(), np.empty(loader.recipe.shape, np.uint8)
    paths: list[str] = []
    n = len(manifest)
    end = perf_counter() + LIMIT_SECONDS
    for position in _spread(n, min(n, LIMIT_IMAGES)):
        uri = manifest.uri(position)
        tell("Looking at the images")
        try:
            decode_into(loader.storage.read(uri), loader.recipe, row, scratch)
        except BadImageError:
            continue
        paths.append(_path(loader, uri))
        # Each process is to have one at least.
        if perf_counter() > end and len(paths) >= loader.threads:
            break
    return paths


def _spread(n: int, count: int) -> Iterator[int]:
    """`count` different positions below `n`, of which any first part lies evenly over all."""
    # Steps of the golden ratio: Weyl's sequence, in whole numbers.
    step = max(1, round(n * 0.6180339887))
    while math.gcd(step, n) != 1:
        step += 1
    return (index * step % n for index in range(count))


def _path(loader: Loader, uri: str) -> str:
    folder = loader.manifest.images or ""
    return os.path.join(folder, uri)  # noqa: PTH118 - bytes that are no text survive


def _give_up(
    loader: Loader, paths: list[str], tell: Callable[[str], None]
) -> tuple[float | None, str | None]:
    """The share of the files that memory still holds then, and what is wrong with that.

    Of the images or of the cache, whichever share is larger: either makes an epoch a warm one.
    """
    kept: list[str] = []
    if loader.cache is not None:
        for folder, _, names in os.walk(loader.cache.folder):
            kept += [os.path.join(folder, name) for name in names]  # noqa: PTH118 - as above
    manifest = loader.manifest
    shares: list[float] = []
    is_told = True
    for _ in range(GIVING_UP):
        images = (_path(loader, manifest.uri(position)) for position in range(len(manifest)))
        give_up(
            itertools.chain(images, kept),
            check=lambda: tell("Giving up what memory holds of the files"),
        )
        told = [share_in_memory(each) for each in (paths, kept) if each]
        shares = [share for share in told if share is not None]
        is_told = len(shares) == len(told)
        if is_told and max(shares) <= COLD_SHARE:
            return max(shares), None
    if max(shares, default=0) <= COLD_SHARE:
        return None, "whether memory still held the files cannot be told on this system"
    return max(shares), (
        f"memory still held {max(shares):.0%} of the files after they were given up, as it does on "
        "a file system that lives in memory, or while another program uses them"
    )


def _epoch(
    loader: Loader, epoch: int, report: Report, *, is_cold: bool, in_memory: float | None
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
        is_cold=is_cold,
        files_in_memory=in_memory,
        stages=thread_time(spent, threads=loader.threads, seconds=seconds),
        reader=reader_time(spent, seconds=seconds),
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
