"""What a measurement has shown."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, Final, Literal

from infeed.bench.machine import Machine
from infeed.stream.meter import STAGES, Reading

EpochSource = Literal["decoded", "cache", "both"]

COLD_SHARE: Final = 0.05
"""Of files that were given up, as much may still be in memory for an epoch to be a cold one."""


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
        is_cold: whether memory was asked before to give up what it held of the files; such an
            epoch is no warm one, and a cold one if `files_in_memory` is next to nothing.
        files_in_memory: 0..1, the share of the image files that memory held at its beginning, and
            where it was asked to give them up, of the cache's files if that is larger; None where
            the system does not tell.
        stages: what the threads did, in thread seconds; all together threads * `seconds`. Those of
            `infeed.stream.meter.STAGES`, and `plan`: which records, and memory for them;
            `wait_for_slot`: the batches ahead were all made and the reader took none; `rest`:
            between the stages of a task, the engine's own and waiting for the interpreter;
            `no_task`: before a thread's first task, after its last, and from task to task.
        reader: what the reader did, in seconds; all together `seconds`: `wait` for a batch,
            `hand_over`: a ready batch is put together, and `own`.
    """

    epoch: int
    images: int
    seconds: float
    images_per_second: float
    source: EpochSource
    is_cold: bool
    files_in_memory: float | None
    stages: dict[str, float]
    reader: dict[str, float]


def thread_time(spent: Reading, *, threads: int, seconds: float) -> dict[str, float]:
    """`EpochResult.stages` of what a meter has counted in `seconds`."""
    stages = {name: spent.seconds[name] for name in STAGES}
    inside = sum(stages.values())
    counted = spent.busy_seconds + spent.idle_seconds + spent.plan_seconds
    return stages | {
        "plan": spent.plan_seconds,
        "wait_for_slot": spent.idle_seconds,
        "rest": max(0.0, spent.busy_seconds - inside),
        "no_task": max(0.0, threads * seconds - counted),
    }


def reader_time(spent: Reading, *, seconds: float) -> dict[str, float]:
    """`EpochResult.reader` of what a meter has counted in `seconds`."""
    own = max(0.0, seconds - spent.wait_seconds - spent.hand_over_seconds)
    return {"wait": spent.wait_seconds, "hand_over": spent.hand_over_seconds, "own": own}


@dataclass(frozen=True, slots=True)
class FitResult:
    """Training steps, fed from memory and fed by the loader, in turns.

    Attributes:
        model: its name.
        backend: of Keras.
        runs: calls of `fit` each way; of their figures these are medians.
        steps: of a run.
        memory_step_ms: milliseconds a step, fed from batches that lie in memory.
        fed_step_ms: fed by the loader.
        ratio: fed over memory, median of the runs' own.
        memory_images_per_second: likewise.
        fed_images_per_second: likewise.
        wait_fraction: the share of the time in which `fit` waited for the loader.
    """

    model: str
    backend: str
    runs: int
    steps: int
    memory_step_ms: float
    fed_step_ms: float
    ratio: float
    memory_images_per_second: float
    fed_images_per_second: float
    wait_fraction: float


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What a loader reached. Speeds are images a second of the median epoch of their kind.

    Attributes:
        epochs: each epoch.
        limit_images_per_second: what bare processes reach: see `decoder_limit`; the median of the
            `limit_runs`, which were in turn with the decoded epochs. Where these differ much,
            other programs used the machine.
        ratio: `decoded_images_per_second` over the limit; None where there is none.
        decoded_images_per_second: from image files that were not given up; None where no epoch
            was.
        cached_images_per_second: from the cache, likewise.
        cold_decoded_images_per_second: from image files that memory did not hold.
        cold_cached_images_per_second: from a cache that memory did not hold.
        copy_images_per_second: what a bare process copies: see `copy_limit`; None where no
            epoch came from the cache.
        cached_ratio: `cached_images_per_second` over that.
        cold_failure: why the last cold epoch was none, or may have been none; None where nothing is
            wrong.
        threads: threads of the loader; the limit has as many processes, but no more than cores.
        limit_processes: that many.
        bad_images: different images that could not be had.
        settings: what the loader does, as JSON values.
        set: what it reads: `records`, `fingerprint` of their names, and `bytes_per_image` of up to
            100 files.
        machine: what it runs on.
        fit: training steps, where somebody has measured them too: see `fit_steps`.
    """

    epochs: tuple[EpochResult, ...]
    limit_images_per_second: float
    limit_runs: tuple[float, ...]
    ratio: float | None
    decoded_images_per_second: float | None
    cached_images_per_second: float | None
    cold_decoded_images_per_second: float | None
    cold_cached_images_per_second: float | None
    copy_images_per_second: float | None
    cached_ratio: float | None
    cold_failure: str | None
    threads: int
    limit_processes: int
    bad_images: int
    settings: dict[str, Any]
    set: dict[str, Any]
    machine: Machine
    fit: FitResult | None = None

    @property
    def stages(self) -> dict[str, float]:
        """`EpochResult.stages` of all epochs together."""
        return {
            name: sum(epoch.stages[name] for epoch in self.epochs) for name in self.epochs[0].stages
        }


def median_speed(
    epochs: tuple[EpochResult, ...], source: EpochSource, *, is_cold: bool
) -> float | None:
    """Images a second of the median epoch of that kind; None where there is none.

    An epoch whose files could not be given up is neither warm nor cold.
    """
    speeds = [
        epoch.images_per_second
        for epoch in epochs
        if epoch.source == source
        and epoch.is_cold == is_cold
        and not (is_cold and (epoch.files_in_memory or 0.0) > COLD_SHARE)
    ]
    return statistics.median(speeds) if speeds else None
