"""Where the time went, measured from outside the stages."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

STAGES: Final[tuple[str, ...]] = ("read", "decode", "convert", "from_cache", "to_cache")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter shows at one moment. Subtract two for what happened between them.

    Attributes:
        images: samples made, replacements of bad images included.
        seconds: thread seconds a stage, by stage; with 2 threads a second of wall time
            holds up to 2.
        wait_seconds: wall time in which the reader waited for a batch.
        first_wait_seconds: the part of it spent on the first batch of a stream, which no
            prefetching can hide.
    """

    images: int
    seconds: dict[str, float]
    wait_seconds: float
    first_wait_seconds: float

    def __sub__(self, earlier: Reading) -> Reading:
        return Reading(
            images=self.images - earlier.images,
            seconds={name: self.seconds[name] - earlier.seconds[name] for name in STAGES},
            wait_seconds=self.wait_seconds - earlier.wait_seconds,
            first_wait_seconds=self.first_wait_seconds - earlier.first_wait_seconds,
        )


class Meter:
    """Counters that many threads add to, a slice of a batch at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images = 0
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._wait = 0.0
        self._first_wait = 0.0

    def add(self, images: int, seconds: Iterable[float]) -> None:
        """Counts `images` samples and the seconds of each stage, in the order of `STAGES`."""
        with self._lock:
            self._images += images
            for name, spent in zip(STAGES, seconds, strict=True):
                self._seconds[name] += spent

    def add_wait(self, seconds: float, *, first: bool) -> None:
        """Counts time in which a reader waited; `first` for a stream's first batch."""
        with self._lock:
            self._wait += seconds
            if first:
                self._first_wait += seconds

    def read(self) -> Reading:
        """All counters at this moment."""
        with self._lock:
            return Reading(self._images, dict(self._seconds), self._wait, self._first_wait)
