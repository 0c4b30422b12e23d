"""Where the time went, measured from outside the stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from infeed.process_lock import ProcessLock

STAGES: Final[tuple[str, ...]] = (
    "read",
    "header",
    "decode",
    "fit",
    "augment",
    "convert",
    "from_cache",
    "to_cache",
)
"""What a thread does for an image, in the order in which it is done."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter shows at one moment. Subtract two for what happened between them.

    Thread seconds are those of all threads together: with 2 threads a second of wall time holds up
    to 2.

    Attributes:
        images: samples made, replacements of bad images included.
        seconds: thread seconds a stage, by stage.
        busy_seconds: thread seconds from taking a task to its end. What the stages leave of it is
            the engine's own, and waiting for the interpreter.
        idle_seconds: thread seconds in which a thread had nothing to take: all batches ahead were
            made, or in the hands of others, or enough of them for the threads that were at it.
        plan_seconds: thread seconds spent on planning batches, and on memory for them.
        hand_over_seconds: time in which a ready batch was put together in the reader's thread.
        wait_seconds: wall time in which the reader waited for a batch.
        first_wait_seconds: the part of it spent on the first batch of a stream, which no
            prefetching can hide.
        cpu_seconds: processor's time of the stages.
        decoded: images that were decoded, not taken from a cache.
        source_bytes: of their files.
        source_pixels: of their pictures, whole.
        least_pixels: those of them that decoding at reduced size has to make.
    """

    images: int
    seconds: dict[str, float]
    busy_seconds: float
    idle_seconds: float
    plan_seconds: float
    hand_over_seconds: float
    wait_seconds: float
    first_wait_seconds: float
    cpu_seconds: float
    decoded: int
    source_bytes: int
    source_pixels: int
    least_pixels: int

    def __sub__(self, earlier: Reading) -> Reading:
        return Reading(
            images=self.images - earlier.images,
            seconds={name: self.seconds[name] - earlier.seconds[name] for name in STAGES},
            busy_seconds=self.busy_seconds - earlier.busy_seconds,
            idle_seconds=self.idle_seconds - earlier.idle_seconds,
            plan_seconds=self.plan_seconds - earlier.plan_seconds,
            hand_over_seconds=self.hand_over_seconds - earlier.hand_over_seconds,
            wait_seconds=self.wait_seconds - earlier.wait_seconds,
            first_wait_seconds=self.first_wait_seconds - earlier.first_wait_seconds,
            cpu_seconds=self.cpu_seconds - earlier.cpu_seconds,
            decoded=self.decoded - earlier.decoded,
            source_bytes=self.source_bytes - earlier.source_bytes,
            source_pixels=self.source_pixels - earlier.source_pixels,
            least_pixels=self.least_pixels - earlier.least_pixels,
        )


class Meter:
    """Counters that many threads add to, a slice of a batch at a time.

    Args:
        clock: seconds, of what the threads time themselves with; another one in tests.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = ProcessLock()
        self._images = 0
        self._seconds = [0.0] * len(STAGES)
        self._busy = 0.0
        self._idle = 0.0
        self._resting = 0  # threads that are idle now
        self._rests_began = 0.0  # the sum of when they began to be
        self._plan = 0.0
        self._hand_over = 0.0
        self._wait = 0.0
        self._first_wait = 0.0
        self._cpu = 0.0
        self._decoded = 0
        self._source_bytes = 0
        self._source_pixels = 0
        self._least_pixels = 0

    def add(
        self,
        images: int,
        seconds: Iterable[float],
        *,
        cpu_seconds: float = 0.0,
        decoded: int = 0,
        source_bytes: int = 0,
        source_pixels: int = 0,
        least_pixels: int = 0,
    ) -> None:
        """Counts `images` samples and the seconds of each stage, in the order of `STAGES`.

        The rest is what `Reading` calls so.
        """
        with self._lock.here():
            self._images += images
            self._cpu += cpu_seconds
            self._decoded += decoded
            self._source_bytes += source_bytes
            self._source_pixels += source_pixels
            self._least_pixels += least_pixels
            for stage, spent in enumerate(seconds):
                self._seconds[stage] += spent

    def begin_idle(self) -> float:
        """A thread has nothing to do from now on; when that is, of the clock."""
        with self._lock.here():
            now = self._clock()
            self._resting += 1
            self._rests_began += now
            return now

    def end_idle(self, began: float) -> None:
        """It has, again, or it ends; `began` is what `begin_idle` has told."""
        with self._lock.here():
            # The time is taken here: a reading that came before has counted up to its own.
            self._resting -= 1
            self._rests_began -= began
            self._idle += self._clock() - began

    def add_turn(self, *, busy: float, plan: float) -> None:
        """Counts what a thread did from the end of one task to the end of the next."""
        with self._lock.here():
            self._busy += busy
            self._plan += plan

    def add_delivery(self, *, wait: float, hand_over: float, first: bool) -> None:
        """Counts what a batch cost its reader; `first` for a stream's first batch."""
        with self._lock.here():
            self._wait += wait
            self._hand_over += hand_over
            if first:
                self._first_wait += wait

    def read(self) -> Reading:
        """All counters at this moment."""
        with self._lock.here():
            return Reading(
                images=self._images,
                seconds=dict(zip(STAGES, self._seconds, strict=True)),
                busy_seconds=self._busy,
                # With what those have rested who rest now: no part of it belongs to a later time.
                idle_seconds=self._idle + self._resting * self._clock() - self._rests_began,
                plan_seconds=self._plan,
                hand_over_seconds=self._hand_over,
                wait_seconds=self._wait,
                first_wait_seconds=self._first_wait,
                cpu_seconds=self._cpu,
                decoded=self._decoded,
                source_bytes=self._source_bytes,
                source_pixels=self._source_pixels,
                least_pixels=self._least_pixels,
            )
