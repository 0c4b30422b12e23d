"""The speed at which this machine can copy an image set in memory into batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from infeed.bench.bare_process import BareProcess
from infeed.stages import PixelType

# Far more than any processor keeps for itself, and little enough to be free.
MOST_BYTES: Final = 512 * 1024 * 1024

# From here on a run is long beside the clock's own unrest.
SECONDS: Final = 0.2


def copy_limit(
    images: int,
    *,
    shape: Sequence[int],
    batch: int,
    batches: int,
    dtype: PixelType,
    scale: float | None = None,
) -> float:
    """Images a second that one bare process copies, row by row, in random order.

    From one array of uint8 into batches that are used in turn; where these are float32, through a
    row of uint8 batches and one multiplication. What hands out batches that are its reader's own
    and takes their pixels from anywhere in memory is hardly faster, with one thread; several may
    be where one does not use up what the memory gives.

    Args:
        images: how many there are; of more than 512 MiB only so many as fit.
        shape: of an image.
        batch: rows of a batch.
        batches: how many are used in turn.
        dtype: of the batches.
        scale: what float32 is multiplied with.

    Raises:
        RuntimeError: the process failed; with what it said.
    """
    order = {
        "images": max(1, min(images, MOST_BYTES // math.prod(shape))),
        "shape": list(shape),
        "batch": batch,
        "batches": batches,
        "dtype": dtype,
        "scale": 1.0 if scale is None else scale,
        "seconds": SECONDS,
    }
    with BareProcess("infeed.bench.bare_copier", order) as process:
        process.wait_until_ready()
        process.go()
        done, seconds = process.result()
    return done / seconds
