"""`read_images`: the bytes of kept images, out of their segments, each checked."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import numpy as np
import numpy.typing as npt

from infeed.cache.format import checksum
from infeed.cache.segment import Segment
from infeed.cache.segments import Segments


@final
class CutOffError(OSError):
    """A file ends before an image does."""

    strerror = "the file is too short"


def read_images(
    segments: Segments, entries: npt.NDArray[np.int64], buffers: list[npt.NDArray[np.uint8]]
) -> dict[int, OSError | None]:
    """Fills the buffers; gives the numbers of those whose images could not be had, and why.

    Args:
        segments: where they are.
        entries: numbers in their index, by segment and offset.
        buffers: one for each, C-contiguous; undefined where its image could not be had.

    Returns:
        None as the reason where the bytes are not what was stored.
    """
    index = segments.index
    numbers, offsets, lengths = (
        index.segment[entries],
        index.offset[entries],
        index.length[entries],
    )
    sums = index.checksum[entries].tolist()
    # What lies one behind the other comes by one call. One that was forgotten meanwhile has
    # no length any more, and must not take its neighbour with it.
    is_next = (numbers[1:] == numbers[:-1]) & (offsets[1:] == offsets[:-1] + lengths[:-1])
    is_next &= lengths[1:] > 0
    cuts = [0, *(np.flatnonzero(~is_next) + 1).tolist(), len(entries)]
    files, begins, sizes = numbers.tolist(), offsets.tolist(), lengths.tolist()
    if segments.is_larger_than_memory:
        # The disk gets all that a task wants at once, and no more than that: measured 1.0 to
        # 1.6 times the images a second. What lies in memory needs none of it.
        for first, end in pairwise(cuts):
            segments[files[first]].announce(begins[first], sum(sizes[first:end]))
    failed: dict[int, OSError | None] = {}
    for first, end in pairwise(cuts):
        segment = segments[files[first]]
        if _reads(segment, buffers[first:end], begins[first], sum(sizes[first:end])):
            for i in range(first, end):  # while they are in the processor's cache
                if checksum(buffers[i]) != sums[i]:
                    failed[i] = None
            continue
        for i in range(first, end):
            # Of those that lie together some may be right: each by itself.
            error = _error_of(segment, buffers[i], begins[i], sizes[i])
            if error is not None or checksum(buffers[i]) != sums[i]:
                failed[i] = error
    return failed


def _reads(segment: Segment, buffers: list[npt.NDArray[np.uint8]], offset: int, size: int) -> bool:
    """Whether all buffers were filled."""
    try:
        return segment.read_into(buffers, offset, size)
    except OSError:
        return False


def _error_of(
    segment: Segment, buffer: npt.NDArray[np.uint8], offset: int, size: int
) -> OSError | None:
    """Fills one buffer; why that cannot be."""
    try:
        if not segment.read_into([buffer], offset, size):
            return CutOffError()
    except OSError as error:
        return error
    return None
