"""`Scratch`: a thread's own memory for pictures on their way into a batch."""

from __future__ import annotations

import math
from typing import Final, final

import numpy as np
import numpy.typing as npt

from infeed.sample.budget import SHARED, DecodeBudget

KEPT_BYTES: Final = 64 * 1024 * 1024
"""What a thread keeps at most, per buffer; a picture larger than that gets its own memory."""

HUGE_BYTES: Final = 4 * 1024 * 1024
"""From this size on numpy asks Linux for huge pages, which saves 1 % of decoding: two threads
that decode share the few places in which the processor remembers where pages are."""


@final
class Scratch:
    """Two buffers that grow and are used again: one decoded picture, one turned picture.

    A fresh array for every picture would cost a page fault per 4 KiB. One `Scratch` belongs to
    one thread; what a method returned is overwritten by its next call.

    Args:
        kept_bytes: what one buffer keeps at most.
        budget: what large pictures in the making are taken from, by all threads together.

    Attributes:
        budget: likewise.
        header_seconds, decode_seconds, fit_seconds: what `decode_into` has spent with it; to be
            set back by whoever counts them. Turning upright belongs to fitting.
        source_pixels, least_pixels: of the pictures that it decoded with it: all of theirs, and
            those that decoding at reduced size has to make; to be set back likewise.
    """

    __slots__ = (
        "_decoded",
        "_kept_bytes",
        "_turned",
        "budget",
        "decode_seconds",
        "fit_seconds",
        "header_seconds",
        "least_pixels",
        "source_pixels",
    )

    def __init__(self, kept_bytes: int = KEPT_BYTES, budget: DecodeBudget = SHARED) -> None:
        if kept_bytes < 0:
            raise ValueError(f"kept_bytes must not be negative, got {kept_bytes}")
        self._kept_bytes = kept_bytes
        self.budget = budget
        self._decoded = np.empty(0, np.uint8)
        self._turned = np.empty(0, np.uint8)
        self.header_seconds = self.decode_seconds = self.fit_seconds = 0.0
        self.source_pixels = self.least_pixels = 0

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._decoded.nbytes + self._turned.nbytes

    def decoded(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """uint8 (at least `nbytes`,), contents undefined; where a decoder writes."""
        if nbytes <= self._decoded.nbytes:
            return self._decoded
        buffer = np.empty(self._grown(nbytes), np.uint8)
        if buffer.nbytes <= self._kept_bytes:
            self._decoded = buffer
        return buffer

    def turned(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """uint8 of `shape`, contents undefined; where a picture is turned upright."""
        nbytes = math.prod(shape)
        buffer = self._turned
        if nbytes > buffer.nbytes:
            buffer = np.empty(self._grown(nbytes), np.uint8)
            if buffer.nbytes <= self._kept_bytes:
                self._turned = buffer
        return buffer[:nbytes].reshape(shape)

    def _grown(self, nbytes: int) -> int:
        # Steps of 1/8 above the request, so that a set whose pictures grow slowly does not
        # allocate for each of them.
        roomy = max(nbytes + (nbytes >> 3), HUGE_BYTES)
        return roomy if roomy <= self._kept_bytes else nbytes
